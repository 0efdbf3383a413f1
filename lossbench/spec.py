"""Specs: how a loss's file is found, read and checked.

Raises `SpecError` with file and line for everything that is wrong in a file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from lossbench.errors import SpecError
from lossbench.formula import Graph
from lossbench.formula.parse import parse
from lossbench.lines import line_of
from lossbench.loss import DOMAINS, RESERVED, Dtype, Loss, Number, Numbers, Reduction, Text

__all__ = ["FOLDER", "Dtype", "Loss", "Number", "Numbers", "Reduction", "aliases", "exact", "load", "load_all", "names"]

FOLDER = Path(__file__).parent / "specs"


def names() -> list[str]:
    """Every loss, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | Path) -> Loss:
    """The loss of that name or alias, or of the spec file at that path.

    Raises:
        SpecError: No such loss or file, or something in the file is wrong.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return _read(path)
    key = str(name)
    if key in names():
        return _read(FOLDER / f"{key}.toml")
    canonical = aliases().get(_folded(key))
    if canonical is None:
        near = difflib.get_close_matches(key, [*names(), *aliases()], n=3)
        hint = f"; did you mean: {', '.join(near)}" if near else ""
        raise SpecError(f"unknown loss {key!r}{hint}; `lossbench list` shows all")
    return _read(FOLDER / f"{canonical}.toml")


def load_all() -> list[Loss]:
    """Every loss."""
    return [load(name) for name in names()]


@cache
def aliases() -> Mapping[str, str]:
    """Each alias, folded to lower case without blanks, and the loss it means."""
    found: dict[str, str] = {}
    for name in names():
        loss = _read(FOLDER / f"{name}.toml")
        for alias in (name, loss.title, *loss.aliases):
            other = found.setdefault(_folded(alias), name)
            if other != name:
                raise SpecError(f"specs/{name}.toml: the alias {alias!r} already means {other}; remove it from one")
    return found


def start(name: str, folder: Path) -> Path:
    """Write a commented spec that already loads; return its path.

    Raises:
        SpecError: The name is no identifier in lower case, or the file exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SpecError(f"{name!r} is no name for a loss; expected lower case letters, digits and _, such as my_loss")
    path = folder / f"{name}.toml"
    if path.exists():
        raise SpecError(f"{path} exists; choose another name or remove it")
    template = (Path(__file__).parent / "template.toml").read_text(encoding="utf-8")
    try:
        path.write_text(template.format(name=name, title=name.replace("_", " ").capitalize()), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out") from None
    return path


def forget() -> None:
    """Read every file again when it is next asked for."""
    _read.cache_clear()
    aliases.cache_clear()


@cache
def exact(text: Number) -> Fraction | float:
    """The number that *text* says: a fraction, or a float where it is infinite, nan or a negative zero.

    Raises:
        SpecError: *text* is no exact number.
    """
    if text in ("inf", "-inf", "nan", "-0"):
        return float(text)
    value = parse(str(text), {}, Graph(), where=repr(text)).value
    if not isinstance(value, Fraction):
        raise SpecError(f"{text!r} is not an exact number; expected a decimal, a quotient, inf, -inf or nan")
    return value


def _folded(alias: str) -> str:
    return re.sub(r"[\s_-]+", "_", alias.strip().lower())


@cache
def _read(path: Path) -> Loss:
    shown = f"{path.parent.name}/{path.name}"
    try:
        source = path.read_text(encoding="utf-8")
        text = msgspec.convert(tomllib.loads(source), Text)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); expected a spec file") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{shown}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        at = line[1] if line else len(source.splitlines())
        raise SpecError(f"{shown}:{at}: not TOML: {error}") from None
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        raise _invalid(source, shown, reason, where.rstrip("`")) from None
    loss = Loss(
        **{field: getattr(text, field) for field in Text.__struct_fields__},
        name=path.stem,
        path=path,
        source=source,
    )
    _check(loss, shown)
    return loss


def _invalid(source: str, shown: str, reason: str, key: str) -> SpecError:
    """What msgspec says, with the line and, where a word is not one of the known ones, those."""
    line = line_of(source, key)
    strange = re.match(r"Invalid enum value '(.*)'", reason)
    if strange:
        reason += f"; expected one of: {', '.join(_options(key))}"
        quoted = rf"""\b{key.rpartition(".")[2]}\s*=\s*["']{re.escape(strange[1])}["']"""
        line = next((at for at, text in enumerate(source.splitlines(), 1) if re.search(quoted, text)), line)
    at = f" (at {key})" if key else ""
    return SpecError(f"{shown}:{line}: {reason[:1].lower()}{reason[1:]}{at}")


def _options(key: str) -> list[str]:
    """The words that the field at the dotted *key* may take."""
    kind: Any = Text
    for part in re.findall(r"[^.\[\]]+|\[[^\]]*\]", key):
        kind = get_args(kind)[-1] if part.startswith("[") else get_type_hints(kind)[part]
    return sorted(get_args(kind))


def _check(loss: Loss, shown: str) -> None:
    """What types cannot say."""

    def fail(key: str, reason: str) -> SpecError:
        return SpecError(f"{shown}:{line_of(loss.source, key)}: {reason}")

    for name in (*loss.inputs, *loss.parameters):
        if not name.isidentifier() or name in RESERVED:
            raise fail("inputs", f"the name {name!r} is reserved or no identifier; choose another")
    if not any(one.grad for one in loss.inputs.values()):
        raise fail("inputs", "no input has `grad = true`; expected at least one")
    for name, one in loss.inputs.items():
        if one.domain not in DOMAINS[one.kind]:
            options = ", ".join(DOMAINS[one.kind])
            raise fail(f"inputs.{name}", f"{name!r} is a {one.kind} of domain {one.domain}; expected one of: {options}")
    both = set(loss.inputs) & set(loss.parameters)
    if both:
        raise fail("parameters", f"{min(both)!r} is an input and a parameter; choose another name")
    if len(loss.edges) < 1 and loss.path.parent == FOLDER:
        raise fail("edges", "no [[edges]]; expected at least eight points with a decided answer")
    loss.formula  # noqa: B018  parsed here, so that a broken formula is found when a file is read
    for name, parameter in loss.parameters.items():
        _check_numbers([parameter.default, *parameter.values], partial(fail, f"parameters.{name}"))
    tables: list[tuple[str, int, dict[str, Numbers]]] = [
        *(("edges", index, edge.at) for index, edge in enumerate(loss.edges)),
        *(("divergences", index, one.when) for index, one in enumerate(loss.divergences)),
        *(("references", index, one.at) for index, one in enumerate(loss.references)),
    ]
    known = {*loss.inputs, *loss.parameters, "sample_weight"}
    for table, index, at in tables:
        key = f"{table}[{index}]"
        strange, missing = set(at) - known, set(loss.inputs) - set(at)
        if strange:
            raise fail(key, f"unknown name {min(strange)!r} in {key}; expected one of: {', '.join(sorted(known))}")
        if missing:
            raise fail(key, f"{key} gives no {min(missing)!r}; expected every input")
        _check_numbers(list(at.values()), partial(fail, key))
    for index, divergence in enumerate(loss.divergences):
        if divergence.region:
            key = f"divergences[{index}].region"
            line = line_of(loss.source, key)
            condition = parse(divergence.region, loss.formula.names, Graph(), where=shown, line=line)
            if condition.kind not in ("bool", "mask"):
                raise fail(key, f"the region {divergence.region!r} is a {condition.kind}; expected a condition")
    for framework, call in loss.frameworks.items():
        if "sample_weight" not in (text := call.weighted or call.call) and "reduce(" not in text:
            raise fail(
                f"frameworks.{framework}",
                "the call takes no sample_weight; use it, wrap the call in reduce(...), or add `weighted`",
            )


def _check_numbers(value: object, fail: Callable[[str], SpecError]) -> None:
    for number in _flat(value):
        try:
            exact(number)
        except SpecError as error:
            raise fail(str(error)) from None


def _flat(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield str(value)
