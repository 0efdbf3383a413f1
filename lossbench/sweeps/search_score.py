"""How bad an answer is: of each point and quantity the error that a search makes as large as it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench import answers, conditioning, inputs, verdicts
from lossbench.adapters import reference
from lossbench.records import REFERENCE, Case
from lossbench.sweeps.search_excuses import MOVED, conventional, moved
from lossbench.sweeps.search_space import Points, Space
from lossbench.text import Number
from lossbench.ulp import FORMATS, Entries, Exact, entries

QUANTITIES = ("value", "gradient")
NONE = -1.0  # where there is no such error
JUMP, PROPORTION = 2.0**-6, 16.0  # of the largest entry; how far estimates of a condition may differ
EXPLAINED = 4.0  # times as far as a result moves with the rounding of inputs an error is one of rounding

Parameters = Mapping[str, Number | list[Number]]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The answer to a batch beside what must come out: arrays by `value` and `gradient.<input>`.

    Attributes:
        excused: Which points stand where the spec declares that there is more than one answer.
        moved: How far each array moves at each point when inputs move by a few units in the last place.
    """

    got: Mapping[str, np.ndarray]
    exact: Mapping[str, Exact]
    entries: Mapping[str, Entries]
    excused: np.ndarray
    moved: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of one array, each of shape (points, entries)."""

    ulps: np.ndarray
    judged: np.ndarray
    amiss: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Score:
    """What came out of many points; each array has shape (points,).

    Attributes:
        ulps: The largest error of any entry, in ulps of the exact number; `NONE` where there is none.
        judged: The same after conditioning.
        amiss: Whether any entry differs in kind: nan for a number, an infinity for another number, and the like.
    """

    ulps: np.ndarray
    judged: np.ndarray
    amiss: np.ndarray


def problems(space: Space, points: Points, parameters: Mapping[str, np.ndarray]) -> list[inputs.Problem]:
    """The calls that ask for all points: one, or one for each point of a loss of whole batches."""
    arrays = space.arrays(points)
    each = [arrays]
    if space.loss.batchwise:
        each = [{name: array[index] for name, array in arrays.items()} for index in range(len(points))]
    return [inputs.problem(space.loss, {**one, **parameters}, dtype=space.dtype, reduction="none") for one in each]


def compared(
    problem: inputs.Problem, framework: str, got: Mapping[str, np.ndarray], *, certified: bool = True
) -> Compared:
    """What *framework* gave, entry by entry, beside certified numbers, or beside what float64 makes of the formula."""
    loss, dtype = problem.loss, problem.dtype
    given = problem.arrays | {name: np.asarray(value) for name, value in problem.parameters.items()}
    if certified:
        arrays = reference.open(REFERENCE).prepare(problem).arrays()
    else:
        arrays = {name: one.number for name, one in conditioning.estimates(loss, given).items()}
    case = Case(loss=loss.name, digest=loss.digest, dtype=dtype, points="worst")  # type: ignore[arg-type]
    exact = answers.exact(case, loss, arrays, given)
    shaped = {name: np.asarray(got[name]).reshape(one.high.shape) for name, one in exact.items()}
    found = {name: entries(shaped[name], one, tolerated=verdicts.tolerated(one.terms)) for name, one in exact.items()}
    excused = conventional(loss, framework, dtype, given)
    odd = np.zeros(len(excused), bool)
    for name, one in found.items():
        beyond = np.fmax(one.judged, one.ulps) > verdicts.tolerated(exact[name].terms)
        odd |= beyond.reshape(len(excused), -1).any(axis=1)
    return Compared(got=shaped, exact=exact, entries=found, excused=excused, moved=_moved(problem, given, odd))


def _moved(problem: inputs.Problem, given: Mapping[str, np.ndarray], odd: np.ndarray) -> dict[str, np.ndarray]:
    """As `moved`, of the points that are *odd*; 0 of the others, which need no explanation."""
    found = {
        name: np.zeros(len(odd)) for name in ("value", *(f"gradient.{one}" for one in problem.loss.formula.gradients))
    }
    if odd.any():
        few = {name: array[odd] for name, array in problem.arrays.items()} if not problem.loss.batchwise else {}
        for name, array in moved(problem.loss, problem.dtype, {**given, **few}).items():
            found[name][odd] = array
    return found


def errors(found: Compared, name: str) -> Errors:
    """Those of one array; none where there is more than one answer, or where only rounding near a jump makes them."""
    one, exact, count = found.entries[name], found.exact[name], len(found.excused)
    # What is made of numbers that underflow is no news. In float16 that is nearly everything, and only their loss none.
    form, size = FORMATS[exact.dtype], np.abs(exact.high)
    tiny = (size < form.normal) & (found.got[name] == 0)
    lost = (size > 0) & (tiny if exact.dtype == "float16" else size < np.ldexp(form.normal, form.precision))
    excused = found.excused.reshape(-1, 1)
    with np.errstate(invalid="ignore"):
        rounding = (one.judged > verdicts.tolerated(exact.terms)).reshape(count, -1)
        rounding &= one.distance.reshape(count, -1) <= EXPLAINED * found.moved[name].reshape(-1, 1)
    if name != "value":
        rounding |= _jumps(exact, found.moved[name]).reshape(-1, 1)
    amiss = (one.nan | one.inf | one.finite).reshape(count, -1) & ~excused
    none = lost.reshape(count, -1) | rounding | amiss | excused
    ulps, judged = (
        np.where(none | np.isnan(flat := array.reshape(count, -1)), NONE, flat) for array in (one.ulps, one.judged)
    )
    return Errors(ulps=ulps, judged=judged, amiss=amiss)


def _jumps(exact: Exact, moved: np.ndarray) -> np.ndarray:
    """Where a gradient moves by much, and not in proportion to how far its inputs do: it jumps between them."""
    count = len(moved)
    largest = np.abs(np.nan_to_num(exact.high, posinf=0.0, neginf=0.0)).reshape(count, -1).max(axis=1)
    step = MOVED * np.ldexp(1.0, 1 - FORMATS[exact.dtype].precision)
    in_proportion = step * np.broadcast_to(exact.moved, exact.high.shape).reshape(count, -1).max(axis=1)
    odd = (moved > PROPORTION * in_proportion) | (in_proportion > PROPORTION * moved)
    return np.asarray(odd & (moved > JUMP * largest))


def score(found: Sequence[Compared]) -> dict[str, Score]:
    """Of the value, and of all gradients together."""
    scores = {}
    for quantity in QUANTITIES:
        each = [[errors(one, name) for name in one.entries if name.partition(".")[0] == quantity] for one in found]
        scores[quantity] = Score(
            ulps=np.concatenate([_largest([part.ulps for part in parts]) for parts in each]),
            judged=np.concatenate([_largest([part.judged for part in parts]) for parts in each]),
            amiss=np.concatenate([_largest([part.amiss for part in parts]) for parts in each]) > 0,
        )
    return scores


def _largest(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.concatenate(parts, axis=1).astype(np.float64).max(axis=1, initial=NONE))
