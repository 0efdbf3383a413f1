"""What came out beside what must, as a part of a tally: categories, a histogram of errors, the worst inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lossbench import verdicts
from lossbench.shown import hexadecimal
from lossbench.sweeps.shard import BAD, CATEGORIES, RIGHT, Extreme, Part
from lossbench.ulp import FORMATS, Entries, Exact, entries

LARGEST = float(np.finfo(np.float64).max)  # JSON has no infinity

_STEPS = 2.0**30  # of a binade, for errors from 2**10 on


def part(got: np.ndarray, exact: Exact, excused: np.ndarray, given: Mapping[str, np.ndarray]) -> Part:
    """The part of one array, of value or gradient.

    Args:
        got: What came out, shape (n,).
        exact: What must.
        excused: Shape (n,): where the spec declares a convention.
        given: Every input, shape (n,), and every parameter, shape ().
    """
    found = entries(got, exact, tolerated=verdicts.tolerated(exact.terms))
    kinds = categories(got, exact, found, excused)
    ulps, judged = (np.where(excused, np.nan, one) for one in (found.ulps, found.judged))

    def extreme(index: int | None) -> Extreme | None:
        if index is None:
            return None
        at = {name: hexadecimal(float(array if array.ndim == 0 else array[index])) for name, array in given.items()}
        interval = f"[{exact.lower[index]!s}, {exact.upper[index]!s}]"
        return Extreme(
            at=at,
            got=hexadecimal(got[index]),
            exact=interval if exact.kink[index] else str(exact.high[index]),
            ulps=_number(ulps[index]),
            judged=_number(judged[index]),
            condition=min(float(exact.condition[index]), LARGEST),
        )

    counted = np.bincount(kinds, minlength=len(CATEGORIES)).tolist()
    counts = {name: count for name, count in zip(CATEGORIES, counted, strict=True) if count}
    first = {name: int(np.argmax(kinds == CATEGORIES.index(name))) for name in BAD if name in counts}
    return Part(
        counts=counts,
        histogram=histogram(ulps),
        worst=extreme(_largest(ulps)),
        conditioned=extreme(_largest(np.where(ulps <= verdicts.EXACT, np.nan, judged))),
        examples={name: one for name, index in first.items() if (one := extreme(index)) is not None},
    )


def categories(got: np.ndarray, exact: Exact, found: Entries, excused: np.ndarray) -> np.ndarray:
    """The category of each entry, as its index in `CATEGORIES`."""
    infinite, pole = np.isinf(got), np.isinf(exact.high)
    agrees = found.distance == 0  # what `entries` says of infinities that belong where they came out
    size = np.abs(exact.high)
    kinds = {
        "convention": excused,
        "undefined": found.undefined,
        "nan": found.nan,
        "missed overflow": found.finite,
        "overflowed spuriously": found.inf | (infinite & ~pole & ~agrees),
        "kink": exact.kink,
        "pole": pole,
        "overflowed rightly": infinite,
        "flushed": found.flushed,
        "missed zero": found.missed,
        "zero": size == 0,
        "subnormal": size < FORMATS[exact.dtype].normal,
    }
    order = [CATEGORIES.index(name) for name in kinds]
    return np.select(list(kinds.values()), order, CATEGORIES.index("normal"))


def histogram(ulps: np.ndarray) -> dict[int, int]:
    """How many errors lie in (2**(k-1), 2**k] ulps, by k; those up to half an ulp, and nothing beyond, by -1."""
    measured = ulps[~np.isnan(ulps)]
    with np.errstate(divide="ignore"):
        above = np.maximum(np.ceil(np.log2(measured)), 0)
    bins = np.where(measured <= verdicts.EXACT, RIGHT, above).astype(int)
    return {int(key): int(count) for key, count in zip(*np.unique(bins, return_counts=True), strict=True)}


def graded(errors: np.ndarray) -> np.ndarray:
    """Errors in steps of about a millionth of an ulp: of inputs whose errors differ by less the first is the worst.

    Where all results are right, such as 1 for tanh(1e10), nothing finer is worth a proof of each.
    """
    significand, power = np.frexp(errors)
    with np.errstate(over="ignore"):
        coarse = np.ldexp(np.rint(significand * _STEPS), power - 30)
        return np.asarray(np.where(errors < 1024, np.rint(errors * 2.0**20) / 2.0**20, coarse))


def _largest(errors: np.ndarray) -> int | None:
    """The index of the first of the largest, None where all are nan."""
    return None if np.isnan(errors).all() else int(np.nanargmax(graded(errors)))


def _number(error: np.floating) -> float | None:
    return None if np.isnan(error) else float(error)
