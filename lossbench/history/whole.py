"""A history as a whole: every series with its levels, and every step as a table, what got worse first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lossbench.errors import LossbenchError
from lossbench.history import series, steps
from lossbench.history.steps import Level, Step

EXACT = ("ulp", "numbers", "cases")  # units without noise
FEWEST = 6  # points: of fewer no step of a noisy series is sure
WELCOME = ("exact", "faithful", "accurate")  # verdicts
TAKEN = ("convention", "unsupported", "refused")  # more or fewer of them are neither better nor worse
PAGE = 4096.0  # bytes: memory comes in pages, and less than one is none


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series.

    Attributes:
        key: Its values of the columns `series.KEY`.
        points: Its rows of `series.gathered`, in the order of time.
        levels: Between its steps.
    """

    key: dict[str, str]
    points: pd.DataFrame
    levels: Sequence[Level]
    steps: Sequence[Step]

    @property
    def exact(self) -> bool:
        """Whether it has no noise."""
        return self.key["unit"] in EXACT

    @property
    def values(self) -> np.ndarray:
        """Shape (n,); nan where nothing was measured."""
        return np.asarray(self.points["value"], np.float64)


@dataclass(frozen=True)
class History:
    """Every series of a folder."""

    path: Path
    series: Sequence[Series]
    unread: Sequence[str] = ()  # why runs were left out

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row for each step: what got worse first, then the largest first.

        Columns:
            those of `series.KEY`: Whose it is.
            change: "worse", "better", or "other" of counts of verdicts that are neither.
            before, after, ratio: The levels, in `unit`, and the one divided by the other.
            low, high: The ends of the ratio's 95 % bootstrap interval over points; nan of exact series.
            p: See `steps.Step`; 0 of exact series.
            last, at: What the points on both sides are called.
            run: The folder of the run behind the step; empty of asv.
            date: Of the point behind the step.
            versions: What of the target's versions differs between these points: "jax 0.9.2 -> 0.10.2".
            still: Whether the series has not come back since.
            series: The place of the series in `History.series`.
        """
        rows = [_row(place, one, step) for place, one in enumerate(self.series) for step in one.steps]
        found = pd.DataFrame(rows, columns=COLUMNS)
        order = found["change"].map(("worse", "better", "other").index)
        with np.errstate(divide="ignore"):
            size = -np.abs(np.log(found["ratio"].astype(float)))
        return found.iloc[np.lexsort((size, order))].reset_index(drop=True)

    @property
    def short(self) -> int:
        """How many noisy series have so few points that no step in them is sure."""
        return sum(not one.exact and int(np.isfinite(one.values).sum()) < FEWEST for one in self.series)

    @property
    def searched(self) -> int:
        """How many noisy series have enough."""
        return sum(not one.exact for one in self.series) - self.short


COLUMNS = (
    *series.KEY,
    *(
        "change",
        "before",
        "after",
        "ratio",
        "low",
        "high",
        "p",
        "last",
        "at",
        "run",
        "date",
        "versions",
        "still",
        "series",
    ),
)


def of(
    folder: Path | str,
    *,
    losses: Sequence[str] = (),
    targets: Sequence[str] = (),
    measures: Sequence[str] = (),
    method: str = "steps",
    kept: Path | None = None,
    progress: series.Progress | None = None,
) -> History:
    """The history of the runs, and asv's results, below a folder.

    Args:
        folder: Such as `reports`, or `.asv/results`.
        losses, targets, measures: Only these; a target is one by its name or its framework.
        method: Of `steps.METHODS`, for times and memory.
        kept, progress: See `series.gathered`.

    Raises:
        LossbenchError: There is nothing to be read, or nothing of these; or the method's library is not installed.
    """
    if method not in steps.METHODS:
        raise LossbenchError(f"unknown method {method!r}; expected one of: {', '.join(sorted(steps.METHODS))}")
    found, unread = series.gathered(folder, kept, progress)
    for names, columns in ((losses, ("loss",)), (targets, ("target", "framework")), (measures, ("measure",))):
        if names:
            there = sorted({str(one) for column in columns for one in found[column]})
            if strange := set(names) - set(there):
                raise LossbenchError(f"no {columns[0]} {min(strange)!r} in {folder}; there are: {', '.join(there)}")
            found = found[found[list(columns)].isin(names).any(axis=1)]
    if found.empty:
        raise LossbenchError(f"nothing in {folder} is of all that was asked for; leave something out")
    groups = found.groupby(list(series.KEY), sort=True, dropna=False)
    return History(Path(folder), [_series(key, group, method) for key, group in groups], unread)


def _series(key: tuple[object, ...], points: pd.DataFrame, method: str) -> Series:
    named = dict(zip(series.KEY, map(str, key), strict=True))
    values = points["value"].to_numpy(np.float64)
    if named["unit"] in EXACT:
        levels, found = steps.exact(values)
    else:
        known = np.maximum(values, PAGE) if named["unit"] == "bytes" else values
        levels, found = steps.noisy(known, method)
    return Series(key=named, points=points.reset_index(drop=True), levels=levels, steps=found)


def _row(place: int, one: Series, step: Step) -> dict[str, object]:
    before, after = (one.points.iloc[at] for at in (step.last, step.first))
    change = _change(one.key["measure"], step)
    later = [level.value for level in one.levels if level.start > step.first]
    up = step.after > step.before
    back = any(value <= step.before if up else value >= step.before for value in later)
    return {
        **one.key,
        "change": change,
        **{name: getattr(step, name) for name in ("before", "after", "ratio", "low", "high", "p")},
        "last": before["at"],
        "at": after["at"],
        "run": after["run"],
        "date": after["date"],
        "versions": _differences(str(before["versions"]), str(after["versions"])),
        "still": not back,
        "series": place,
    }


def _change(measure: str, step: Step) -> str:
    verdict = measure.partition("verdicts: ")[2]
    if verdict in TAKEN:
        return "other"
    up = step.after > step.before
    return "better" if up == (verdict in WELCOME) else "worse"


def _differences(before: str, after: str) -> str:
    """Of two lists of versions, those that are not the same."""
    was, now = (dict(one.rsplit(" ", 1) for one in text.split(", ") if " " in one) for text in (before, after))
    changed = {name: (was.get(name, "none"), now.get(name, "none")) for name in (*was, *now)}
    return ", ".join(f"{name} {one} -> {other}" for name, (one, other) in changed.items() if one != other)
