"""Directed search for the worst inputs: hill climbing over bit patterns, many climbers at once, with restarts.

Every round asks the target for one batch of always the same shape, so that nothing is compiled again. What float64
makes of the formula tells which of its points may be steps up, and only those are certified: a climber steps on no
other, and nothing else is reported. In float64, and for whole batches, all are certified. The result is a lower bound
of the worst error, never a proof that there is no worse.

Climbers are our own because SciPy's optimisers do not fit: `dual_annealing` and `direct` ask for one point at a time,
which costs a call of the framework each. `differential_evolution` takes whole populations, but its steps are
differences of points, seldom the powers of two that change the last bits: for torch's squared_log_error it found 57
ulps after conditioning in 20,000 evaluations for that aim alone, the climbers 1,500 beside their five other aims; for
log_cosh 1.2 and 1.7, for sigmoid_cross_entropy 8.4e6 and 1.2e7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lossbench import inputs
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.sweeps.search_moves import children
from lossbench.sweeps.search_score import QUANTITIES, Parameters, Score, compared, problems, score
from lossbench.sweeps.search_space import Points, Space, numbers, sizes_of
from lossbench.sweeps.search_tally import distance, parts, together
from lossbench.sweeps.seeds import Seeds, random_of
from lossbench.sweeps.shard import Part

POINTS = 2048  # asked at once
TABLES = 512
BATCHES = 32  # of a loss of whole batches, each a call of its own
TABLE_COST, BATCH_COST = 8, 200  # evaluations that one of a table, or of a whole batch, counts for
FRESH = 4  # one point in so many begins anew
CLIMBERS = 8  # of each aim
PATIENCE = 5  # rounds without a step up, after which a climber begins anew
TRIED = 2  # children of each climber that are certified in a round
ALMOST = 0.1  # of its height, by which a child may seem lower before it is certified
CLASSES = 3  # of a row: few, because it is the numbers that are searched
Aim = tuple[str, str]
AIMS: tuple[Aim, ...] = tuple((quantity, by) for quantity in QUANTITIES for by in ("ulps", "judged", "amiss"))

Ask = Callable[..., Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes:
        evaluations: At how many points the target was asked.
        parts: Of `value` and each `gradient.<input>`, over the points that were certified.
    """

    evaluations: int
    parts: dict[str, Part]


def covers(loss: Loss) -> bool:
    """Whether a search can be made: not of a mean that is kept in a state, whose error is that of its history."""
    return not loss.accumulated


def search(
    loss: Loss,
    dtype: str,
    framework: str,
    ask: Ask,
    *,
    parameters: Parameters | None = None,
    evaluations: int = 100_000,
    seed: int = 0,
    classes: int = CLASSES,
) -> Found:
    """The largest errors of *framework* that were found, in ulps and after conditioning, of value and of gradient.

    The same from the same arguments, as long as the target gives the same numbers.

    Args:
        loss: Beside its file the worst inputs found before are read; all begin where those are, too.
        dtype: Of inputs and parameters.
        framework: Whose declared conventions are left out.
        ask: `ask(arrays, parameters)` gives `value` and `gradient.<input>`, shape (n, ...), without reduction.
        parameters: Exact numbers; those left out take their defaults.
        evaluations: At how many elements or rows, to the end of a round; at less tables and whole batches, which cost
            more.
        seed: Of all that is drawn.
        classes: How long a row is.

    Raises:
        LossbenchError: The loss is kept in a state.
    """
    if not covers(loss):
        raise LossbenchError(f"{loss.name} is kept in a state; expected a loss of elements, rows or batches")
    said, sizes = parameters or {}, sizes_of(loss, classes)
    told = inputs.parameters_of(loss, said, sizes)
    marks = tuple(int(told[name]) for name, one in loss.parameters.items() if one.kind == "label")
    space = Space(loss=loss, dtype=dtype, sizes=sizes, marks=marks)
    random = random_of(f"{loss.name} {dtype}", seed)
    climb = _Climb(space, Seeds(space, told, random), random)
    rough = dtype != "float64" and not loss.batchwise
    every: dict[str, Part] = {}
    done = 0
    limit = max(evaluations // (BATCH_COST if loss.batchwise else TABLE_COST if loss.has_sizes else 1), 1)
    while done < limit:
        points = climb.next()
        done += len(points)
        asked = problems(space, points, told)
        got = [ask(one.arrays, said) for one in asked]
        far = distance(numbers(points.places, dtype))
        chosen = np.arange(len(points))
        if rough:
            guessed = score([compared(asked[0], framework, got[0], certified=False)])
            chosen = climb.candidates({aim: _height(guessed, aim, far) for aim in AIMS})
            asked = problems(space, points[chosen], told)
            got = [{name: array[chosen] for name, array in got[0].items()}]
        answered = [compared(one, framework, out) for one, out in zip(asked, got, strict=True)]
        for name, part in parts(asked, answered, far[chosen]).items():
            every[name] = together(every[name], part) if name in every else part
        proved = score(answered)
        heights = {aim: np.full(len(points), -np.inf) for aim in AIMS}
        for aim, height in heights.items():
            height[chosen] = _height(proved, aim, far[chosen])
        climb.learn(points, heights)
    return Found(evaluations=done, parts=every)


class _Climb:
    """Climbers, each with an aim, a point and how high it stands."""

    def __init__(self, space: Space, seeds: Seeds, random: np.random.RandomState) -> None:
        self.space, self.seeds, self.random = space, seeds, random
        whole = BATCHES if space.loss.batchwise else TABLES if space.loss.has_sizes else POINTS
        each = max(whole // len(AIMS) // FRESH, 1)  # of a few batches, fewer climbers with fewer children
        self.aims = [aim for aim in AIMS for _ in range(min(CLIMBERS, each))]
        self.broods = (whole - whole // FRESH) // len(self.aims)
        self.fresh = whole - self.broods * len(self.aims)
        self.parents: Points | None = None
        self.height = np.full(len(self.aims), -np.inf)
        self.still = np.zeros(len(self.aims), int)

    def next(self) -> Points:
        """The points of the next round: always as many."""
        if self.parents is None:
            return self.seeds.draw(self.broods * len(self.aims) + self.fresh)
        brood = self.parents[np.repeat(np.arange(len(self.aims)), self.broods)]
        return children(self.space, brood, self.random) + self.seeds.draw(self.fresh)

    def candidates(self, heights: Mapping[Aim, np.ndarray]) -> np.ndarray:
        """The points that may be steps up, by heights that are not proved, and the best places to begin anew."""
        found = []
        for climber, aim in enumerate(self.aims):
            height = heights[aim]
            own, anew = self._own(climber, len(height)), self._anew(climber, len(height))
            best = own[np.argsort(-height[own], kind="stable")[:TRIED]]
            found += best[height[best] > self.height[climber] - ALMOST * abs(self.height[climber])].tolist()
            if self.still[climber] >= PATIENCE and len(anew):
                found.append(int(anew[height[anew].argmax()]))
        return np.array(sorted({0, *found}))

    def learn(self, points: Points, heights: Mapping[Aim, np.ndarray]) -> None:
        """Each climber goes to the best of its children if that is higher, or begins anew where it stands too long."""
        chosen = np.full(len(self.aims), -1)
        for climber, aim in enumerate(self.aims):
            height = heights[aim]
            own, anew = self._own(climber, len(points)), self._anew(climber, len(points))
            best = own[height[own].argmax()]
            if self.parents is not None and height[best] <= self.height[climber]:
                self.still[climber] += 1
                if self.still[climber] <= PATIENCE or not len(anew):
                    continue
                best = anew[height[anew].argmax()]
            chosen[climber], self.height[climber], self.still[climber] = best, height[best], 0
        old = self.parents if self.parents is not None else points[np.zeros(len(chosen), int)]
        stays = (chosen < 0)[:, None]
        new = points[np.maximum(chosen, 0)]
        self.parents = Points(np.where(stays, old.places, new.places), np.where(stays, old.labels, new.labels))

    def _own(self, climber: int, count: int) -> np.ndarray:
        """Where the children of a climber are; before it has any, its part of the points of every sort."""
        if self.parents is None:
            return np.arange(climber % CLIMBERS, count, CLIMBERS)
        return np.arange(climber * self.broods, (climber + 1) * self.broods)

    def _anew(self, climber: int, count: int) -> np.ndarray:
        """Where it may begin anew."""
        return np.arange(len(self.aims) * self.broods + climber % CLIMBERS, count, CLIMBERS)


def _height(scores: Mapping[str, Score], aim: Aim, far: np.ndarray) -> np.ndarray:
    """What a climber makes as large as it can; of mismatches of kind, how near to ordinary numbers they are."""
    quantity, by = aim
    if by == "amiss":
        return np.where(scores[quantity].amiss, -far, -np.inf)
    return np.asarray(getattr(scores[quantity], by))
