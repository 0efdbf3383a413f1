"""Errors beside bounds in place of proved numbers, entry by entry: what is certain, and what is left to the reference.

Categories, bins and errors are those of `part` and `ulp`; an entry whose bounds allow for two answers is OPEN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from lossbench import verdicts
from lossbench.formula.filter_bounds import FLOOR
from lossbench.sweeps.shard import CATEGORIES, RIGHT
from lossbench.ulp import FORMATS

OPEN = -1
INFINITY = -2  # came out for a number; how far beyond it is depends on its condition too
NO_BIN = -2  # of what has no error in ulps
_NO_ONE_BIN = -3
_NEAR = 2.0**-40  # a logarithm of what is nearer to a power of two may be that of the power itself
_ROUNDING = 2.0**-50  # more than that of the measurement itself, here and there
_MOST = float(np.finfo(np.float64).max)
_EXACT = verdicts.EXACT
_NORMAL, _SUBNORMAL, _ZERO, _FLUSHED, _NAN, _OVERFLOWED, _CONVENTION = (
    CATEGORIES.index(name)
    for name in ("normal", "subnormal", "zero", "flushed", "nan", "overflowed rightly", "convention")
)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is certain of each entry; arrays of shape (n,).

    Attributes:
        kinds: Its category, as an index into `CATEGORIES`; OPEN or INFINITY.
        bins: Its bin in the histogram of a tally; NO_BIN where it is in none.
        low, high: Its error in ulps lies between them; nan where there is none, or it is not known.
    """

    kinds: np.ndarray
    bins: np.ndarray
    low: np.ndarray
    high: np.ndarray


def judge(got: np.ndarray, estimate: np.ndarray, bound: np.ndarray, excused: np.ndarray, dtype: str) -> Judged:
    """What is certain of the numbers *got*, of *dtype*, where the exact ones are in *estimate* +- *bound*.

    All have shape (n,); *excused* says where the spec declares a convention.
    """
    form = FORMATS[dtype]
    number = len(got)
    found = Judged(
        kinds=np.full(number, OPEN, np.int8),
        bins=np.full(number, NO_BIN, np.int16),
        low=np.full(number, np.nan),
        high=np.full(number, np.nan),
    )
    subnormal = bool(is_subnormal(got, dtype).any())
    limits = (form.precision, form.emin, form.emax, form.normal, form.largest, form.beyond)
    _judge(got, estimate, bound, excused, subnormal, limits, found.kinds, found.bins, found.low, found.high)
    return found


def is_subnormal(got: np.ndarray, dtype: str) -> np.ndarray:
    """Where a subnormal number came out: if it does anywhere, zeros are no sign of flushing."""
    return np.asarray((np.abs(got) < FORMATS[dtype].normal) & (got != 0))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _judge(got, estimate, bound, excused, subnormal, limits, kinds, bins, low, high):  # type: ignore[no-untyped-def]
    precision, emin, emax, normal, largest, beyond = limits
    for i in range(got.shape[0]):
        if excused[i]:
            kinds[i] = _CONVENTION
            continue
        y, x, d = float(got[i]), estimate[i], bound[i]
        if not d < math.inf:
            continue
        if y != y:
            kinds[i] = _NAN
            continue
        size = abs(x)
        margin = d + _ROUNDING * size if d > 0 else 0.0
        least, most = size - margin, size + margin
        infinite = abs(y) == math.inf
        if infinite and least >= largest + beyond and (y > 0) == (x > 0):
            kinds[i], bins[i], low[i], high[i] = _OVERFLOWED, RIGHT, 0.0, 0.0
        if most >= largest:
            continue
        if x == 0 and d < FLOOR:  # see filter_bounds: its nearest double is 0
            if y == 0:
                kinds[i], bins[i], low[i], high[i] = _ZERO, RIGHT, 0.0, 0.0
            continue
        if least <= 0 or (least < normal <= most):
            continue
        distance = abs(math.copysign(largest, y) - x) + beyond if infinite else abs(y - x)
        rounding = _ROUNDING * distance if d > 0 else 0.0
        nearest, farthest = max(distance - d - rounding, 0.0), distance + d + rounding
        # Of which binade a number is that may be a power of two, or below it, is not known: then both ulps count.
        fewest = min(math.ldexp(nearest, precision - 1 - _exponent(most, emin, emax)), _MOST)
        greatest = min(math.ldexp(farthest, precision - 1 - _exponent(least, emin, emax)), _MOST)
        if infinite:
            kinds[i], low[i], high[i] = INFINITY, fewest, greatest
            continue
        if y == 0 and most < normal and not subnormal and greatest > 1:
            if fewest > 1:
                kinds[i] = _FLUSHED
            continue
        one = _bin(fewest)
        if one == _bin(greatest) and one != _NO_ONE_BIN:
            kinds[i] = _NORMAL if least >= normal else _SUBNORMAL
            bins[i], low[i], high[i] = one, fewest, greatest


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _exponent(size, emin, emax):  # type: ignore[no-untyped-def]
    return min(max(math.frexp(size)[1] - 1, emin), emax)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _bin(ulps):  # type: ignore[no-untyped-def]
    """As `part.histogram`."""
    if ulps <= _EXACT:
        return RIGHT
    significand, power = math.frexp(ulps)
    if significand == 0.5:
        return max(power - 1, 0)
    return _NO_ONE_BIN if significand < 0.5 + _NEAR else max(power, 0)
