"""The parts of a tally at the speed of float64: a filter decides nearly all inputs, the reference the few others.

The result is that of the reference alone, to the last count: what the filter's bounds do not settle is proved, and so
is whatever may be the worst. It rests on what the filter assumes of the C library, which the reference does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial

import numpy as np

from lossbench import conditioning, verdicts
from lossbench.formula import filter as filters
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.sweeps import fast_judge
from lossbench.sweeps.fast_judge import INFINITY, NO_BIN, OPEN, Judged
from lossbench.sweeps.part import graded, part
from lossbench.sweeps.shard import BAD, CATEGORIES, RIGHT, Part, joined
from lossbench.ulp import Exact

MANY = 1 << 18  # inputs of one loss from which on compiling its filter pays
_FIRST, _GROWTH = 4096, 8  # candidates for the worst conditioned error that are weighed first; then ever more
_NOTHING = 2.0**-21  # errors up to it are graded 0
_MARGIN = 2.0**-40  # more than the error of a condition that a bound stands in for

Prove = Callable[[Problem], Mapping[str, Exact]]


def pays(loss: Loss, inputs: int) -> bool:
    """Whether so many inputs of *loss* are better filtered than all proved."""
    return inputs >= MANY and filters.covers(loss.formula)


def bounds(problem: Problem) -> dict[str, filters.Bounds]:
    """What `value` and each `gradient.<input>` are, of a loss whose inputs are inside its domain."""
    parameters = {name: Fraction(float(one)) for name, one in problem.parameters.items()}
    return filters.filter_of(problem.loss.formula, parameters)(problem.arrays)


def parts(
    problem: Problem,
    known: Mapping[str, filters.Bounds],
    got: Mapping[str, np.ndarray],
    excused: np.ndarray,
    prove: Prove,
) -> dict[str, Part]:
    """The part of each array of *got*, as `part.part` makes it of proved numbers.

    Args:
        known: The `bounds` of *problem*.
        got: What came out: `value` and each `gradient.<input>`, shape (n,).
        excused: Shape (n,): where the spec declares a convention.
        prove: Gives what must come out of fewer inputs.
    """
    judged = {
        name: fast_judge.judge(got[name], one.estimate, one.bound, excused, problem.dtype)
        for name, one in known.items()
    }
    hard = np.zeros(problem.entries, bool)
    for name, one in judged.items():
        _settle(one, known[name].estimate, partial(_moved, problem, name))
        hard |= one.kinds == OPEN
    for name, one in judged.items():
        for index in _shown(one, got[name], problem.dtype):
            hard[index] = True
        hard[_worst(one.low, one.high)] = True
        hard[_conditioned(one, known[name].estimate, partial(_moved, problem, name))] = True
    few = np.flatnonzero(hard)
    left = taken(problem, few)
    proved = prove(left)
    return {
        name: joined([_counted(one, ~hard), part(got[name][few], proved[name], excused[few], _given(left))])
        for name, one in judged.items()
    }


def taken(problem: Problem, chosen: np.ndarray) -> Problem:
    """Some of the inputs of a problem."""
    return dataclasses.replace(problem, arrays={name: array[chosen] for name, array in problem.arrays.items()})


def _moved(problem: Problem, name: str, at: np.ndarray) -> np.ndarray:
    """How far the results *at* some inputs move: what their condition is made of."""
    few = taken(problem, at)
    return conditioning.estimates(few.loss, _given(few))[name].moved


def _given(problem: Problem) -> dict[str, np.ndarray]:
    return problem.arrays | {name: np.asarray(one) for name, one in problem.parameters.items()}


Weigh = Callable[[np.ndarray], np.ndarray]


def _settle(judged: Judged, estimate: np.ndarray, weigh: Weigh) -> None:
    """Call an infinity that came out for a number spurious, where that is far enough from it; else leave it open."""
    at = np.flatnonzero(judged.kinds == INFINITY)
    if not len(at):
        return
    low, _ = _after_conditioning(judged, at, estimate, weigh)
    judged.kinds[at] = np.where(low > verdicts.tolerated(), CATEGORIES.index("overflowed spuriously"), OPEN)
    judged.low[at] = judged.high[at] = np.nan


def _shown(judged: Judged, got: np.ndarray, dtype: str) -> list[int]:
    """The first of each bad category, which is an example of it, and the first subnormal number that came out: without
    it the others would be taken for flushed."""
    found = [judged.kinds == CATEGORIES.index(name) for name in BAD]
    found.append(fast_judge.is_subnormal(got, dtype))
    return [int(np.argmax(one)) for one in found if one.any()]


def _worst(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The indices of those that may be the first of the largest once they are graded; they lie between *low* and
    *high*."""
    if np.isnan(low).all():
        return np.zeros(0, int)
    if np.nanmax(high) <= _NOTHING:
        return np.asarray(np.flatnonzero(~np.isnan(low))[:1])
    possible = np.flatnonzero(high >= np.nanmax(low) * (1 - 2.0**-28) - 4 * _NOTHING)
    low, high = graded(low[possible]), graded(high[possible])
    most = np.nanmax(low)
    certain = np.flatnonzero((low == most) & (high == most))[:1]
    kept = high >= most
    if len(certain):
        kept[certain[0] + 1 :] &= high[certain[0] + 1 :] > most  # those that are at best equal are not the first
    return np.asarray(possible[kept])


def _conditioned(judged: Judged, estimate: np.ndarray, weigh: Weigh) -> np.ndarray:
    """The indices of those whose error after conditioning may be the largest; it is at most that in ulps."""
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    left = np.flatnonzero(judged.bins > RIGHT)
    number = _FIRST
    while len(left):
        cut = max(0, len(left) - number)
        order = np.argpartition(judged.high[left], cut) if cut else np.arange(len(left))
        at = left[order[cut:]]
        low[at], high[at] = _after_conditioning(judged, at, estimate, weigh)
        left = left[order[:cut]]
        left = left[graded(judged.high[left]) >= graded(np.nanmax(low))]
        number *= _GROWTH
    return _worst(low, high)


def _after_conditioning(
    judged: Judged, at: np.ndarray, estimate: np.ndarray, weigh: Weigh
) -> tuple[np.ndarray, np.ndarray]:
    low, high, size = judged.low[at], judged.high[at], np.abs(estimate[at])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = 1.0 + np.where(size > 0, weigh(at) / size, 0.0)
    exact = low == high
    return np.where(exact, low, low * (1 - _MARGIN)) / factor, np.where(exact, high, high * (1 + _MARGIN)) / factor


def _counted(judged: Judged, chosen: np.ndarray) -> Part:
    """The part of *chosen* entries, without examples and the worst."""
    counts = np.bincount(judged.kinds[chosen], minlength=len(CATEGORIES)).tolist()
    bins, number = np.unique(judged.bins[chosen], return_counts=True)
    return Part(
        counts={name: count for name, count in zip(CATEGORIES, counts, strict=True) if count},
        histogram={key: count for key, count in zip(bins.tolist(), number.tolist(), strict=True) if key != NO_BIN},
    )
