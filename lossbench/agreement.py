"""How far a whole output agrees with the reference: what remains of its entries, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossbench import verdicts
from lossbench.ulp import Entries, Exact, entries, normwise


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The agreement of one output, value or gradient, with the reference.

    Attributes:
        max_ulp, p99_ulp, median_ulp: Over entries that can be measured in ulps; nan where there are none.
        condition: That of the entry of `max_ulp`: by how many ulps one ulp of every input moves it.
        conditioned: The largest error in ulps after conditioning (see `ulp.Entries.judged`).
        normwise: The largest error in ulps of the largest entry of its vector, or of the whole array.
        nan, inf, finite: Mismatches of kind, counted by what came out.
        flushed, missed, undefined: Subnormal numbers that came out as 0; exact zeros that did not; points at which
            mathematics says nothing.
        at_zero: The largest error at an exact zero, a plain number.
        grades: Of each entry, as indices into `verdicts.GRADES`; the output's shape.
        worst: Flat index of the worst entry, None in an empty output.
        worst_ulp: Its error; nan where that has no ulps.
    """

    max_ulp: float
    p99_ulp: float
    median_ulp: float
    condition: float
    conditioned: float
    normwise: float
    nan: int
    inf: int
    finite: int
    flushed: int
    missed: int
    undefined: int
    at_zero: float
    grades: np.ndarray
    worst: int | None
    worst_ulp: float

    @property
    def verdict(self) -> verdicts.Verdict:
        """The worst grade of any entry."""
        return verdicts.GRADES[int(self.grades.max(initial=0))]


def compare(got: np.ndarray, exact: Exact, *, nan_required: bool = False) -> Accuracy:
    """Measure *got* against what the reference certified.

    One ulp is the spacing of floats of the dtype at the exact value, so a correctly rounded result scores at most 0.5.

    Args:
        got: Any shape with as many entries as *exact*.
        exact: What must come out.
        nan_required: Whether a number is wrong where the exact value is undefined.
    """
    found = entries(got, exact, tolerated=verdicts.tolerated(exact.terms), nan_required=nan_required)
    grades = verdicts.grades(found, exact)
    median, p99, most = _quantiles(found.ulps)
    worst = _worst(found, grades)
    return Accuracy(
        max_ulp=most,
        p99_ulp=p99,
        median_ulp=median,
        condition=np.nan if np.isnan(most) else float(exact.condition.ravel()[np.nanargmax(found.ulps)]),
        conditioned=_largest(found.judged),
        normwise=normwise(found, exact),
        nan=int(found.nan.sum()),
        inf=int(found.inf.sum()),
        finite=int(found.finite.sum()),
        flushed=int(found.flushed.sum()),
        missed=int(found.missed.sum()),
        undefined=int(found.undefined.sum()),
        at_zero=_largest(np.where(found.missed, found.distance, np.nan)) if found.missed.any() else 0.0,
        grades=grades,
        worst=worst,
        worst_ulp=np.nan if worst is None else float(found.ulps.ravel()[worst]),
    )


def together(parts: Sequence[Accuracy]) -> Accuracy:
    """One accuracy for the gradients by several inputs: their largest errors, all their mismatches.

    `p99_ulp` and `median_ulp` are those of the input where they are largest; `worst` and `grades` are of the part with
    the worst entry.
    """
    if len(parts) == 1:
        return parts[0]
    worst = max(parts, key=lambda part: (part.grades.max(initial=0), np.nan_to_num(part.conditioned)))
    largest: dict[str, Any] = {
        name: _largest(np.array([getattr(part, name) for part in parts]))
        for name in ("max_ulp", "p99_ulp", "median_ulp", "conditioned", "normwise", "at_zero")
    }
    counts: dict[str, Any] = {
        name: sum(getattr(part, name) for part in parts)
        for name in ("nan", "inf", "finite", "flushed", "missed", "undefined")
    }
    farthest = max(parts, key=lambda part: np.nan_to_num(part.max_ulp, nan=-1.0))
    return replace(worst, condition=farthest.condition, **largest, **counts)


def _quantiles(ulps: np.ndarray) -> tuple[float, float, float]:
    measured = ulps[~np.isnan(ulps)]
    if measured.size == 0:
        return np.nan, np.nan, np.nan
    # Not interpolated: each is an error that was seen.
    median, p99, most = np.quantile(measured, [0.5, 0.99, 1.0], method="inverted_cdf")
    return float(median), float(p99), float(most)


def _largest(numbers: np.ndarray) -> float:
    """The largest that is not nan; nan if none is."""
    kept = numbers[~np.isnan(numbers)]
    return float(kept.max()) if kept.size else np.nan


def _worst(found: Entries, grades: np.ndarray) -> int | None:
    """By grade, then mismatches before numbers, then by judged error, then by plain ulps."""
    if grades.size == 0:
        return None
    candidates = np.flatnonzero(grades.ravel() == grades.max())
    judged = found.judged.ravel()[candidates]
    mismatch = np.isnan(judged) & (grades.max() >= verdicts.GRADES.index("wrong"))
    ulps = np.nan_to_num(found.ulps.ravel()[candidates])
    rank = np.lexsort((ulps, np.where(mismatch, np.inf, np.nan_to_num(judged))))
    return int(candidates[rank[-1]])
