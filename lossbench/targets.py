"""Who is measured, as people say it: one text for each target, in a file too, and what a suite makes of it."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from msgspec.structs import replace

from lossbench import toml
from lossbench.errors import LossbenchError
from lossbench.records import CEILING, REFERENCE, Struct, Target

ADAPTERS = Path(__file__).parent / "adapters"
ENTRY_POINTS = "lossbench.adapters"
TEXT = re.compile(
    r"(?:(?P<label>[^:*!@=]*)=)?(?P<framework>[^:*!@=]*)(?::(?P<mode>[^:*!@=]*))?(?::(?P<device>[^:*!@=]*))?"
    r"(?:\*(?P<threads>[1-9]\d*))?(?P<plain>!plain)?(?:@(?P<interpreter>.*))?"
)
LABEL = re.compile(r"[\w.+-]+")


class _File(Struct, frozen=True, kw_only=True):
    targets: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a text says; empty or 0 what it does not say."""

    text: str
    label: str
    framework: str
    mode: str
    device: str
    threads: int
    plain: bool
    interpreter: str

    def fits(self, planned: Target) -> bool:
        """Whether *planned* is one of those that the text may mean."""
        said = self.framework == planned.framework
        return said and self.mode in ("", planned.mode) and self.device in ("", planned.device)

    def of(self, planned: Target) -> Target:
        """*planned* with what the text adds to it."""
        threads = self.threads or planned.threads
        return replace(
            planned,
            interpreter=self.interpreter or planned.interpreter,
            threads=threads,
            plain=self.plain or planned.plain,
            label=self._label(planned, threads) or planned.label,
        )

    def _label(self, planned: Target, threads: int) -> str:
        """The label with what it leaves open, so that each of several targets has one of its own."""
        if not self.label:
            return ""
        mode = "" if self.mode or planned.mode == modes(self.framework)[0] else f":{planned.mode}"
        device = "" if self.device or planned.device == "cpu" else f":{planned.device}"
        return f"{self.label}{mode}{device}{'' if threads == self.threads else f'*{threads}'}"


def target(text: str) -> Target:
    """The target that *text* says: `torch`, `torch:compiled:cuda*2!plain`, `torch-old=torch:eager@/path/to/python`.

    Raises:
        LossbenchError: No such framework, or it has no such mode.
    """
    wish = read(text)
    if wish.framework not in (*frameworks(), CEILING):
        options = ", ".join(frameworks())
        raise LossbenchError(f"unknown framework {wish.framework!r} in {text!r}; expected one of: {options}")
    if wish.mode and wish.mode not in modes(wish.framework):
        options = ", ".join(modes(wish.framework))
        raise LossbenchError(f"{wish.framework} has no mode {wish.mode!r} (in {text!r}); expected one of: {options}")
    mode = wish.mode or modes(wish.framework)[0]
    return wish.of(Target(framework=wish.framework, mode=mode, device=wish.device or "cpu"))


def read(text: str) -> Wish:
    """What *text* says.

    Raises:
        LossbenchError: It is no target, or its label has other characters than those of a word.
    """
    found = TEXT.fullmatch(text)
    if found is None:
        form = "framework:mode:device*threads!plain@interpreter"
        raise LossbenchError(
            f"{text!r} is no target; expected {form}, all but the first optional, with LABEL= before it or not"
        )
    said = {name: part or "" for name, part in found.groupdict().items()}
    if found["label"] is not None and not LABEL.fullmatch(said["label"]):
        raise LossbenchError(f"{text!r} has the label {said['label']!r}; expected letters, digits and . _ + -")
    if found["interpreter"] == "":
        raise LossbenchError(f"{text!r} ends with @; expected the path of a Python behind it")
    threads, plain, python = said.pop("threads"), said.pop("plain"), said.pop("interpreter")
    return Wish(text=text, threads=int(threads or 0), plain=bool(plain), interpreter=_python(python), **said)


def listed(path: str | Path) -> list[str]:
    """The texts of a targets file: its table `targets` gives each label its text.

    Where an interpreter has a relative path, it starts at the file's folder.

    Raises:
        LossbenchError: Something in the file is wrong.
    """
    path = Path(path)
    _, found = toml.read(path, _File, LossbenchError)
    texts = []
    for label, text in found.targets.items():
        name, at, python = text.partition("@")
        if os.sep in python and not python.startswith("~"):
            python = os.path.join(os.path.abspath(path.parent), python)
        texts.append(f"{label}={name}{at}{python}")
        try:
            target(texts[-1])
        except LossbenchError as error:
            raise LossbenchError(f"{path}: {error} (at targets.{label})") from None
    if not texts:
        raise LossbenchError(f'{path}: no targets; expected lines such as torch-old = "torch:eager@/path/to/python"')
    return texts


def chosen(wanted: Sequence[str] | None, own: Iterable[str]) -> list[Target]:
    """The targets of *own*, a grid's, that are wanted; exact wishes are served though the grid has them not.

    Raises:
        LossbenchError: One of them is unknown, or two have one name.
    """
    planned = [target(text) for text in own]
    if not wanted:
        return planned
    found: dict[Target, str] = {}
    for text in wanted:
        wish = read(text)
        for one in [wish.of(one) for one in planned if wish.fits(one)] or [target(text)]:
            found.setdefault(one, text)
    named: dict[str, str] = {}
    for one, text in found.items():
        if one.name in named:
            raise LossbenchError(f"{named[one.name]} and {text} are both called {one.name}; give each its own label")
        named[one.name] = text
    return list(found)


def threaded(one: Target, threads: int) -> Target:
    """*one* with that many threads, or its own where they are 0; its label says so."""
    if threads in (0, one.threads):
        return one
    return replace(one, threads=threads, label=one.label and f"{one.label}*{threads}")


def frameworks() -> list[str]:
    """Every framework that can be measured, in alphabetical order: those with an adapter here, and entry points."""
    own = {path.stem for path in ADAPTERS.glob("*.py") if "\nMODES" in path.read_text(encoding="utf-8")}
    return sorted((own | {entry.name for entry in entry_points(group=ENTRY_POINTS)}) - {REFERENCE.framework, CEILING})


def modes(framework: str) -> tuple[str, ...]:
    """The modes of a framework, the default first, read from its adapter's text: importing it would load the framework.

    Raises:
        LossbenchError: The adapter is not there, or names no modes.
    """
    path = ADAPTERS / f"{framework}.py"
    for entry in entry_points(group=ENTRY_POINTS, name=framework):
        found = importlib.util.find_spec(entry.module)
        if found is None or found.origin is None:
            raise LossbenchError(f"the adapter of {framework} is the module {entry.module}, which is not there")
        path = Path(found.origin)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="MODES")], value=value):
                return tuple(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="MODES"), value=ast.expr() as value):
                return tuple(ast.literal_eval(value))
    raise LossbenchError(f"{path}: no MODES; expected a tuple of names, the default first")


def _python(said: str) -> str:
    """The interpreter's own path, for workers run in another folder; links stay, since an environment is one."""
    if os.sep not in said:
        return shutil.which(said) or said if said else ""
    return os.path.abspath(os.path.expanduser(said))
