"""What a search has found, as parts of a tally: each point counts once, by its worst entry."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from lossbench.inputs import Problem
from lossbench.shown import hexadecimal
from lossbench.sweeps.part import LARGEST, categories, histogram
from lossbench.sweeps.search_score import NONE, Compared, errors
from lossbench.sweeps.shard import BAD, CATEGORIES, Extreme, Part, joined


def parts(problems: Sequence[Problem], found: Sequence[Compared], far: np.ndarray) -> dict[str, Part]:
    """Those of one round, of `value` and each `gradient.<input>`.

    Args:
        problems: What was asked.
        found: What came of each.
        far: Of each point how far from ordinary its inputs are: the nearest is the example of a category.
    """
    every: dict[str, list[Part]] = {}
    start = 0
    for problem, one in zip(problems, found, strict=True):
        for name in one.entries:
            every.setdefault(name, []).append(_part(problem, one, name, far[start : start + len(one.excused)]))
        start += len(one.excused)
    return {name: joined(several) for name, several in every.items()}


def _part(problem: Problem, found: Compared, name: str, far: np.ndarray) -> Part:
    measured, exact, count = errors(found, name), found.exact[name], len(found.excused)
    got = found.got[name].reshape(count, -1)
    excused = np.repeat(found.excused, got.shape[1]).reshape(exact.high.shape)
    each = categories(found.got[name], exact, found.entries[name], excused).reshape(count, -1)
    points = np.arange(count)
    worst = np.where(measured.amiss, np.inf, measured.ulps).argmax(axis=1)
    kinds = each[points, worst]
    ulps = measured.ulps.max(axis=1)

    def extreme(point: int, entry: int) -> Extreme:
        at = {one: text(array if problem.loss.batchwise else array[point]) for one, array in problem.arrays.items()}
        at |= {one: text(np.asarray(value)) for one, value in problem.parameters.items()}
        low, high, middle = (
            float(array.reshape(count, -1)[point, entry]) for array in (exact.lower, exact.upper, exact.high)
        )
        return Extreme(
            at=at,
            got=hexadecimal(got[point, entry]),
            exact=f"[{low!s}, {high!s}]" if low < high else str(middle),
            ulps=_number(measured.ulps[point, entry]),
            judged=_number(measured.judged[point, entry]),
            condition=min(
                float(np.broadcast_to(exact.condition, exact.high.shape).reshape(count, -1)[point, entry]), LARGEST
            ),
        )

    def largest(array: np.ndarray) -> Extreme | None:
        point, entry = np.unravel_index(array.argmax(), array.shape)
        return extreme(int(point), int(entry)) if array.max() > NONE else None

    def example(kind: int) -> Extreme:
        point = int(np.where(kinds == kind, far, np.inf).argmin())
        return extreme(point, int(worst[point]))

    counted = np.bincount(kinds, minlength=len(CATEGORIES)).tolist()
    return Part(
        counts={one: number for one, number in zip(CATEGORIES, counted, strict=True) if number},
        histogram=histogram(np.where(ulps == NONE, np.nan, ulps)),
        worst=largest(measured.ulps),
        conditioned=largest(measured.judged),
        examples={one: example(kind) for kind, one in enumerate(CATEGORIES) if one in BAD and counted[kind]},
    )


def together(one: Part, other: Part) -> Part:
    """Two parts as one; of each category the example that is nearer to ordinary numbers."""
    examples = {**other.examples, **one.examples}
    for name, example in other.examples.items():
        if _far(example) < _far(examples[name]):
            examples[name] = example
    return replace(joined([one, other]), examples={name: examples[name] for name in CATEGORIES if name in examples})


def distance(points: np.ndarray) -> np.ndarray:
    """How many powers of two the farthest number of each point, shape (points, reals), is from 1; 0 is as near as 1."""
    sizes = np.abs(points)
    powers = np.abs(np.log2(np.where(sizes == 0, 1.0, sizes)))
    return np.asarray(powers.max(axis=1, initial=0.0))


def _far(example: Extreme) -> float:
    found = [float.fromhex(number) for number in re.findall(r"-?0x[^], ]+", " ".join(example.at.values()))]
    return float(distance(np.array([found]))[0])


def text(array: np.ndarray) -> str:
    """An input bit by bit: a number in hexadecimal, a label in decimal, a row of them in brackets."""
    if array.ndim:
        return f"[{', '.join(text(one) for one in array)}]"
    return str(int(array)) if array.dtype.kind in "iu" else hexadecimal(float(array))


def _number(error: float) -> float | None:
    return None if error == NONE else float(error)
