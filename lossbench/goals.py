"""How fast the local kernels are beside their ceiling, the frameworks and themselves, and what they are to reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lossbench import shown, toml
from lossbench.errors import LossbenchError
from lossbench.formula.elements import FAR
from lossbench.loss import Loss
from lossbench.records import CEILING, Case, Struct, Target, Timing
from lossbench.speed import _interval
from lossbench.store import Store
from lossbench.timed import NUMBER_BYTES

FILE = Path(__file__).parent / "kernels" / "goals.toml"
OURS = "numba"
# What a ratio is to, and the columns that have it, the ends of its interval and the name of the other side.
AGAINST = {"ceiling": "of_ceiling", "frameworks": "to_best", "one thread": "to_one"}
_RATIOS = [f"{name}{end}" for name in AGAINST.values() for end in ("", "_low", "_high")]
_COLUMNS = ["loss", "dtype", "measure", "shape", "sizes", "elements", "threads", "outputs", "target", "traffic"]
_OTHERS = ["ceiling", "ceiling_seconds", "best", "best_seconds"]
COLUMNS = [*_COLUMNS, "seconds", *_OTHERS, *_RATIOS, "best_of_ceiling"]


class Goal(Struct, frozen=True, kw_only=True):
    """What some losses are to reach at some sizes.

    Attributes:
        groups, losses: Of whom; the losses of these groups and these.
        against: "one thread" where there are several, the others on one.
        least: The ratio.
        elements: From the first to the second number of elements, both included; of any size where not given.
        shapes: Only these.
        below: Only where the best framework reaches less than this share of the ceiling.
    """

    name: str
    against: Literal["ceiling", "frameworks", "one thread"]
    least: float
    groups: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    measures: tuple[Literal["forward", "gradient"], ...] = ("forward", "gradient")
    elements: tuple[int, int] | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    below: float | None = None


class Goals(Struct, frozen=True, kw_only=True):
    """All of them, and the groups that they speak of."""

    groups: dict[str, tuple[str, ...]]
    goals: tuple[Goal, ...]

    def losses(self, goal: Goal) -> set[str]:
        """Those that *goal* is for."""
        return {*goal.losses, *(loss for group in goal.groups for loss in self.groups[group])}


def load(path: Path = FILE) -> Goals:
    """The goals of lossbench's own kernels, or of that file.

    Raises:
        LossbenchError: Something in the file is wrong.
    """
    _, found = toml.read(path, Goals, LossbenchError)
    for goal in found.goals:
        unknown = [group for group in goal.groups if group not in found.groups]
        if unknown:
            known = ", ".join(sorted(found.groups))
            raise LossbenchError(f"{path}: unknown group {unknown[0]!r}; expected one of: {known} (at goals)")
    return found


def ratios(store: Store) -> pd.DataFrame:
    """One row for each timing of a local kernel on the processor, beside the others of the same case and turns.

    Of each turn the quickest sample counts, and ratios are taken within turns; what a machine does to all of them for a
    while is then in none. Every `_low` and `_high` is an end of the 95 % interval of the median ratio.

    Columns:
        loss, dtype, measure, shape, sizes, elements: Of the case; `sizes` is the shape as numbers.
        threads: How many; 0 for all that the run had.
        outputs: Whether gradients go into "fresh" arrays or into the same, "reused"; "" where there are none.
        target: Its name.
        traffic: Bytes that one call has to move at least.
        seconds: The median over the turns; so are `ceiling_seconds` and `best_seconds`.
        ceiling, of_ceiling: The quickest of the ceiling's ways to move the bytes, on as many threads or on one, and the
            share of its speed that the kernel has; nan where it was not measured. Past the caches only where gradients
            are too long to stay there: shorter ones the next reader would miss, for more than that saves.
        best, to_best: The fastest framework on as many threads, and how many times as fast the kernel is.
        best_of_ceiling: The share that this framework has.
        to_one: How many times as fast as on one thread.
    """
    timings: dict[tuple[Case, str], dict[Target, dict[int, float]]] = {}
    traffic: dict[tuple[Case, str], int] = {}
    for one in store.records():
        if isinstance(one, Timing) and one.job.target.device == "cpu" and not one.job.target.twin:
            traffic[one.job.case, one.job.measure] = one.traffic
            timings.setdefault((one.job.case, one.job.measure), {})[one.job.target] = _turns(one)
    losses = store.losses()
    rows = []
    for (case, measure), by_target in timings.items():
        loss = losses[case.loss]
        for target, seconds in by_target.items():
            if target.framework == OURS and (measure == "gradient" or target.mode != "reused"):  # there it is no other
                rows.append(
                    {
                        "loss": loss.name,
                        "dtype": case.dtype,
                        "measure": measure,
                        "shape": shown.shape(case.shape, loss.dimensions if loss.has_sizes else ()),
                        "sizes": case.shape,
                        "elements": loss.elements(case.shape),
                        "threads": target.threads,
                        "outputs": _outputs(target) if measure == "gradient" else "",
                        "target": target.name,
                        "traffic": traffic[case, measure],
                        "seconds": _median(seconds),
                        **_beside(target, measure, by_target, past=_written(loss, case) >= FAR),
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def judged(found: pd.DataFrame, goals: Goals) -> pd.DataFrame:
    """One row for each goal and case of `ratios` that it is for, and that was measured beside what it speaks of.

    Columns:
        goal, against, least: As the goal says.
        ratio, low, high: What was reached.
        reached: Whether the median is enough.
        row: The index in *found*; and all of its columns.
    """
    parts = []
    for goal in goals.goals:
        column = AGAINST[goal.against]
        fits = found["loss"].isin(goals.losses(goal)) & found["measure"].isin(goal.measures) & found[column].notna()
        fits &= (found["threads"] != 1) if goal.against == "one thread" else (found["threads"] == 1)
        if goal.elements is not None:
            fits &= found["elements"].between(*goal.elements)
        if goal.shapes:
            fits &= found["sizes"].isin(list(goal.shapes))
        if goal.below is not None:
            fits &= found["best_of_ceiling"] < goal.below
        part = found[fits].copy()
        part = part.assign(goal=goal.name, against=goal.against, least=goal.least, row=part.index)
        part = part.assign(ratio=part[column], low=part[f"{column}_low"], high=part[f"{column}_high"])
        parts.append(part.assign(reached=part["ratio"] >= goal.least))
    return pd.concat(parts, ignore_index=True)


def _turns(timing: Timing) -> dict[int, float]:
    """The quickest call of each turn."""
    found: dict[int, float] = {}
    for turn, seconds in zip(timing.turns, timing.seconds, strict=True):
        found[turn] = min(found.get(turn, np.inf), seconds / timing.calls)
    return found


def _outputs(target: Target) -> str:
    """What a kernel or the ceiling does with gradients."""
    return "reused" if target.mode in ("reused", "streamed") else "fresh"


def _written(loss: Loss, case: Case) -> int:
    """Bytes of its gradients."""
    sizes = dict(zip(loss.dimensions, case.shape, strict=True))
    numbers = [prod(sizes[axis] for axis in loss.along(name)) for name, one in loss.inputs.items() if one.grad]
    return NUMBER_BYTES[case.dtype] * sum(numbers)


def _beside(ours: Target, measure: str, by_target: dict[Target, dict[int, float]], *, past: bool) -> dict[str, object]:
    """The columns that compare *ours* with others of its case; *past* is whether the ceiling may write past caches."""
    mine = by_target[ours]
    ceilings = [
        one
        for one in by_target
        if one.framework == CEILING and one.threads in (1, ours.threads)
        if measure == "forward" or (_outputs(one) == _outputs(ours) and (past or one.mode != "streamed"))
    ]
    others = [one for one in by_target if one.framework not in (OURS, CEILING) and one.threads == ours.threads]
    alone = [one for one in by_target if (one.framework, one.mode, one.threads) == (ours.framework, ours.mode, 1)]
    ceiling, best = _quickest(ceilings, by_target), _quickest(others, by_target)
    one = alone[0] if alone and ours.threads != 1 else None
    found: dict[str, object] = {
        "ceiling": ceiling.name if ceiling else "",
        "ceiling_seconds": _median(by_target[ceiling]) if ceiling else np.nan,
        "best": best.name if best else "",
        "best_seconds": _median(by_target[best]) if best else np.nan,
        "best_of_ceiling": _paired(by_target[ceiling], by_target[best])[0] if ceiling and best else np.nan,
    }
    for name, other in (("of_ceiling", ceiling), ("to_best", best), ("to_one", one)):
        ends = _paired(by_target[other], mine) if other else (np.nan,) * 3
        found |= {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), ends, strict=True)}
    return found


def _quickest(targets: Iterable[Target], by_target: dict[Target, dict[int, float]]) -> Target | None:
    """The one whose median turn is the quickest."""
    return min(targets, key=lambda one: _median(by_target[one]), default=None)


def _median(seconds: dict[int, float]) -> float:
    return float(np.median([*seconds.values()]))


def _paired(theirs: dict[int, float], mine: dict[int, float]) -> Sequence[float]:
    """The median of the ratios of their seconds to mine over the turns of both, and the ends of its interval."""
    found = [theirs[turn] / mine[turn] for turn in mine if turn in theirs]
    return _interval(found) if found else (np.nan,) * 3
