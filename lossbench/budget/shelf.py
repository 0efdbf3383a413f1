"""Which budgets a run is compared with: those given, those beside specs of one's own, and lossbench's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from lossbench import spec
from lossbench.budget.file import load, write
from lossbench.budget.model import Budget
from lossbench.errors import LossbenchError
from lossbench.loss import Loss

FOLDER = spec.FOLDER.parent / "budgets"


def load_all(given: Path) -> list[Budget]:
    """The budget of that file, or all of that folder.

    Raises:
        LossbenchError: There is none.
    """
    if not given.is_dir():
        return [load(given)]
    paths = sorted(given.glob("*.toml"))
    if not paths:
        raise LossbenchError(f"{given} has no budgets; expected files such as torch-2.13.0.toml")
    return [load(path) for path in paths]


def known() -> list[str]:
    """Lossbench's own budgets, as `torch-2.13.0`."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def gathered(losses: Sequence[Loss], given: Sequence[Path]) -> dict[str, Budget]:
    """What a run of *losses* is compared with before lossbench's own budgets, as `chosen` takes them.

    That are the *given* files and folders and, for losses that are not lossbench's own, the folders `budgets` beside
    their specs. A given file is for every version of its framework, the budgets of a folder are for their own.

    Raises:
        LossbenchError: A file or folder is missing or broken.
    """
    names = {loss.name for loss in losses}
    beside = {loss.path.parent / FOLDER.name for loss in losses if loss.path.parent != spec.FOLDER}
    found: dict[str, Budget] = {}
    for place in (*sorted(place for place in beside if place.is_dir()), *given):
        for one in load_all(place):
            name = one.stem if place.is_dir() else one.framework
            before = found.get(name, one)
            kept = one.of(names)
            found[name] = replace(kept, cells=before.of(names).cells | kept.cells) if before.stem == one.stem else kept
    return found


def keep(budgets: Mapping[str, Budget], run: Path) -> None:
    """Let them travel with a *run*, in its folder."""
    for name, one in budgets.items():
        write(one, run / FOLDER.name / f"{name}.toml")


def carried(run: Path) -> dict[str, Budget]:
    """What `keep` left in the folder of a *run*."""
    return {path.stem: load(path) for path in sorted((run / FOLDER.name).glob("*.toml"))}


def chosen(framework: str, version: str, carried: Mapping[str, Budget]) -> list[Budget]:
    """The budgets of a version, those that speak first before the others: the given, a spec's own, lossbench's."""
    stem = f"{framework}-{version}"
    own = [load(FOLDER / f"{stem}.toml")] if stem in known() else []
    return [carried[name] for name in (framework, stem) if name in carried] + own
