"""Specs: how a loss's file is found and read.

Raises `SpecError` with file and line for everything that is wrong in a file.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from lossbench import toml
from lossbench.checks import check, check_name, exact
from lossbench.errors import SpecError
from lossbench.lines import shown
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
VARIABLE = "LOSSBENCH_SPECS"  # folders of specs of one's own, as PATH has them
GROUP = "lossbench.specs"  # the entry points of packages that have a folder of specs: the package's name


def folders() -> list[Path]:
    """Where losses are looked for: lossbench's own, those of the variable, and those of other packages.

    Raises:
        SpecError: One of them is not there.
    """
    said = [Path(one) for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    for one in said:
        if not one.is_dir():
            raise SpecError(f"{one}: no such folder; expected one with spec files (at --specs or {VARIABLE})")
    for entry in entry_points(group=GROUP):
        found = importlib.util.find_spec(entry.value)
        if found is None or not found.submodule_search_locations:
            raise SpecError(f"the entry point {entry.name} of {GROUP} says {entry.value}; expected a package")
        said += map(Path, found.submodule_search_locations)
    return [FOLDER, *said]


def names() -> list[str]:
    """Every loss, in alphabetical order."""
    return sorted(_paths())


def load(name: str | Path) -> Loss:
    """The loss of that name or alias, or of the spec file at that path.

    Raises:
        SpecError: No such loss or file, or something in the file is wrong.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return _read(path)
    key = str(name)
    if key in _paths():
        return _read(_paths()[key])
    canonical = aliases().get(_folded(key))
    if canonical is None:
        near = difflib.get_close_matches(key, sorted({*names(), *aliases()}), n=3)
        hint = f"; did you mean: {', '.join(near)}" if near else ""
        raise SpecError(f"unknown loss {key!r}{hint}; `lossbench list` shows all")
    return _read(_paths()[canonical])


def load_all() -> list[Loss]:
    """Every loss."""
    return [load(name) for name in names()]


@cache
def aliases() -> Mapping[str, str]:
    """Each alias, folded to lower case without blanks, and the loss it means."""
    found: dict[str, str] = {}
    for name, path in _paths().items():
        loss = _read(path)
        for alias in (name, loss.title, *loss.aliases):
            other = found.setdefault(_folded(alias), name)
            if other != name:
                raise SpecError(f"{shown(path)}: the alias {alias!r} already means {other}; remove it from one")
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
    _paths.cache_clear()
    _read.cache_clear()
    aliases.cache_clear()


@cache
def _paths() -> dict[str, Path]:
    """The file of each loss, by its name."""
    found: dict[str, Path] = {}
    for path in sorted(path for folder in folders() for path in folder.glob("*.toml")):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise SpecError(f"{shown(path)}: {shown(other)} has the same name; rename one")
    return found


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
