"""Where a series stepped from one level to another, how far, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lossbench.errors import LossbenchError

LEAST = 0.03  # of a level: a smaller step of a noisy series is none
SHORTEST = 2  # points of a level: a lone one is an accident
EQUAL = 1e-9  # relative: how far two equal numbers may be apart
ORDERS = 1999  # random ones of the permutation test: a p-value of 0.0005 is the smallest
RESAMPLES = 1000
CONFIDENCE = 0.95

Segment = tuple[int, int]  # first point, and the one behind the last


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a series.

    Attributes:
        last, first: The last point measured before it, and the first behind it.
        before, after: The levels: medians.
        low, high: The ends of the 95 % bootstrap interval of after / before; nan of levels of fewer than 3 points.
        p: How often the same points in random order, from the level before to the end of that behind, have somewhere a
            division as clear as their clearest; 0 where the series has no noise.
    """

    last: int
    first: int
    before: float
    after: float
    low: float
    high: float
    p: float

    @property
    def ratio(self) -> float:
        """After to before; infinite from 0."""
        if self.before == self.after:
            return 1.0
        return self.after / self.before if self.before else math.inf


@dataclass(frozen=True, kw_only=True)
class Level:
    """What a series is between two steps: its points from `start` to before `stop`, and their median."""

    start: int
    stop: int
    value: float


def exact(values: np.ndarray) -> tuple[list[Level], list[Step]]:
    """The levels and steps of a series without noise: each other number is one."""
    levels: list[Level] = []
    for place in np.flatnonzero(~np.isnan(values)):
        value = float(values[place])
        if levels and math.isclose(levels[-1].value, value, rel_tol=EQUAL):
            levels[-1] = Level(start=levels[-1].start, stop=int(place) + 1, value=levels[-1].value)
        else:
            levels.append(Level(start=int(place), stop=int(place) + 1, value=value))
    steps = [
        Step(last=one.stop - 1, first=two.start, before=one.value, after=two.value, low=math.nan, high=math.nan, p=0.0)
        for one, two in pairwise(levels)
    ]
    return levels, steps


def noisy(values: np.ndarray, method: str = "steps") -> tuple[list[Level], list[Step]]:
    """The levels and steps of a series of positive numbers with relative noise, nan where nothing was measured.

    Args:
        values: Shape (n,).
        method: One of `METHODS`.
    """
    known = np.flatnonzero(np.isfinite(values))
    numbers = values[known].astype(np.float64)
    if len(numbers) < 2 * SHORTEST:
        found = [(0, len(numbers))] if len(numbers) else []
    else:
        found = METHODS[method](np.log(np.maximum(numbers, np.finfo(np.float64).tiny)))
    kept = _merged([one for one in found if one[1] - one[0] >= SHORTEST] or found[:1], numbers)
    medians = [float(np.median(numbers[start:stop])) for start, stop in kept]
    levels = [
        Level(start=int(known[start]), stop=int(known[stop - 1]) + 1, value=median)
        for (start, stop), median in zip(kept, medians, strict=True)
    ]
    steps = []
    for (one, two), before, after in zip(pairwise(kept), medians, medians[1:], strict=False):
        low, high = _interval(numbers[slice(*one)], numbers[slice(*two)])
        p = _chance(numbers[one[0] : two[1]])
        last, first = int(known[one[1] - 1]), int(known[two[0]])
        steps.append(Step(last=last, first=first, before=before, after=after, low=low, high=high, p=p))
    return levels, steps


def _merged(found: Sequence[Segment], numbers: np.ndarray) -> list[Segment]:
    """Segments whose medians are at least `LEAST` apart, so that small steps one after the other add up to one."""
    kept: list[Segment] = []
    for start, stop in found:
        if kept:
            before, after = np.median(numbers[slice(*kept[-1])]), np.median(numbers[start:stop])
            if abs(after - before) < LEAST * min(before, after):
                kept[-1] = (kept[-1][0], stop)
                continue
        kept.append((start, stop))
    return kept


def _asv(logs: np.ndarray) -> list[Segment]:
    try:
        from asv import step_detect
    except ModuleNotFoundError as error:
        told = f"asv is not installed ({error}); try: pip install 'lossbench[asv]'"
        raise LossbenchError(f"{told}, or --method kernel") from None
    return [(start, stop) for start, stop, *_ in step_detect.detect_steps(logs.tolist())]


def _kernel(logs: np.ndarray) -> list[Segment]:
    try:
        import ruptures
    except ModuleNotFoundError as error:
        told = f"ruptures is not installed ({error}); try: pip install 'lossbench[history]'"
        raise LossbenchError(f"{told}, or --method steps") from None
    spread = np.median(np.abs(np.diff(logs))) or 1.0  # of neighbours, which a step hardly changes
    scaled = ((logs - np.median(logs)) / spread)[:, None]
    found = ruptures.KernelCPD(kernel="rbf", min_size=SHORTEST).fit(scaled).predict(pen=1.5 * math.log(len(logs)))
    return list(zip([0, *found], found, strict=False))


# By name; each takes the logarithms of a series, without gaps, and finds its segments.
METHODS: Mapping[str, Callable[[np.ndarray], list[Segment]]] = {"steps": _asv, "kernel": _kernel}


def _interval(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    if min(len(before), len(after)) < 3:
        return math.nan, math.nan
    random = np.random.default_rng(0)
    medians = [np.median(random.choice(some, (RESAMPLES, len(some))), axis=1) for some in (before, after)]
    beyond = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(medians[1] / medians[0], [beyond, 100 - beyond])
    return float(low), float(high)


def _chance(numbers: np.ndarray) -> float:
    """See `Step.p`. The place of the step is looked for in every order: it was, too, in the one that was measured."""
    ranks = np.argsort(np.argsort(numbers)) - (len(numbers) - 1) / 2
    random = np.random.default_rng(0)
    orders = np.vstack([ranks, random.permuted(np.tile(ranks, (ORDERS, 1)), axis=1)])
    before = np.arange(1, len(numbers))
    sums = np.abs(np.cumsum(orders, axis=1)[:, :-1]) / np.sqrt(before * (len(numbers) - before))
    clearest = sums.max(axis=1)
    return float(np.mean(clearest >= clearest[0] - EQUAL))
