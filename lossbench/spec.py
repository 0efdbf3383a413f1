"""Specs: how a loss's file is found and read.

Raises `SpecError` with file and line for everything that is wrong in a file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lossbench import toml
from lossbench.checks import check, check_name, exact
from lossbench.errors import SpecError
from lossbench.loss import Loss
from lossbench.text import Dtype, Number, Numbers, Reduction, Text, axes_of

__all__ = [
    "FOLDER",
    "Dtype",
    "Loss",
    "Number",
    "Numbers",
    "Reduction",
    "aliases",
    "axes_of",
    "exact",
    "load",
    "load_all",
    "names",
]

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
        near = difflib.get_close_matches(key, sorted({*names(), *aliases()}), n=3)
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
    check_name(name)
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


def _folded(alias: str) -> str:
    return re.sub(r"[\s_-]+", "_", alias.strip().lower())


@cache
def _read(path: Path) -> Loss:
    source, text = toml.read(path, Text, SpecError)
    loss = Loss(
        **{field: getattr(text, field) for field in Text.__struct_fields__},
        name=path.stem,
        path=path,
        source=source,
    )
    check(loss)
    return loss
