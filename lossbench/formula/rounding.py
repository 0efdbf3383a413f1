"""From proved numbers to floats: correctly rounded float64 with remainder and radius, then once more to less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb, fmpq

from lossbench.formula.extended import Number, exact

_FORMATS = {"float32": (24, -126, 127), "bfloat16": (8, -126, 127), "float16": (11, -14, 15)}
_TINY = arb(2) ** -1140  # far below half of the smallest double
_SMALLEST = 5e-324
_SURE = 1 - 2.0**-40  # of half a gap: the bounds beside it are floats too
_FINE = 2.0**-45  # of half a gap: the widest ball that is called decided, so that high + low has about 100 bits


@dataclass(frozen=True)
class Doubles:
    """Numbers as `high` + `low` +- `radius`, each an array.

    `high` is the nearest double (inf, -inf or nan where the number is so); `decided` says whether that is proved.
    """

    high: np.ndarray
    low: np.ndarray
    radius: np.ndarray
    decided: np.ndarray


def doubles(balls: Sequence[arb]) -> Doubles:
    """Many balls at once; those of overflowing, tiny or infinite numbers stay undecided: see `double`."""
    high = np.array([float(one) for one in balls], dtype=np.float64)
    rests = [one - nearest for one, nearest in zip(balls, high.tolist(), strict=True)]
    low = np.array([float(rest) for rest in rests], dtype=np.float64)
    width = np.array([float(one.rad()) for one in balls], dtype=np.float64)
    # Not `rest != nearest`: that is certain inequality, and a radius below every double would be forgotten.
    same = [rest == nearest for rest, nearest in zip(rests, low.tolist(), strict=True)]
    left = ~np.array(same, dtype=bool)
    vanished = np.zeros_like(left)
    for index in np.flatnonzero((high == 0) & left).tolist():
        vanished[index] = abs(balls[index]) < _TINY
    with np.errstate(invalid="ignore", over="ignore"):
        bound = np.nextafter(width * (1 + 2.0**-50) + np.abs(low) * 2.0**-52, np.inf)
        radius = np.where(left, bound, 0.0)
        above = (np.nextafter(high, np.inf) - high) / 2 * _SURE
        below = (high - np.nextafter(high, -np.inf)) / 2 * _SURE
        inside = (low + bound < above) & (-low + bound < below) & (width <= below * _FINE)
    finite = np.isfinite(high) & np.isfinite(low) & np.isfinite(radius)
    decided = finite & (inside | (radius == 0) | vanished)
    high = high + 0.0  # no negative zero
    return Doubles(high, np.where(finite, low, 0.0), np.where(finite, radius, np.inf), decided)


def double(number: Number) -> tuple[float, float, float, bool]:
    """The nearest double, the remainder, its radius, and whether the rounding is proved."""
    if type(number) is float:
        return number, 0.0, 0.0, True
    if type(number) is fmpq:
        high = _quotient(number)
        if high - high != 0:
            return high, 0.0, 0.0, True
        rest = number - exact(high)
        low = _quotient(rest)
        return high, low, 0.0 if exact(low) == rest else _above(abs(low) * 2.0**-52), True
    if not number.is_finite():
        return float("nan"), 0.0, float("inf"), False
    if abs(number) < _TINY:  # rounds to zero, whatever its sign
        return 0.0, 0.0, 0.0 if number == 0 else _SMALLEST, True
    lower, upper = float(number.lower()), float(number.upper())
    high = (lower if lower == upper else float(number)) + 0.0
    if high - high != 0:
        return (high, 0.0, 0.0, True) if lower == upper else (float("nan"), 0.0, float("inf"), False)
    rest = number - high
    low = float(rest)
    if rest == low:
        return high, low, 0.0, True
    width = float(rest.rad()) * (1 + 2.0**-50)
    fine = width <= float(np.spacing(abs(high))) * _FINE / 4
    return high, low, _above(width + abs(low) * 2.0**-52), lower == upper and fine


def narrowed(high: np.ndarray, low: np.ndarray, dtype: str) -> np.ndarray:
    """The exact numbers `high` + `low` rounded once to *dtype*: float64 for float64, else in a float32 array.

    A double half way between two neighbours hides on which side of it the number lies; the remainder tells. Where
    `low` is 0 the tie is exact and goes to even, as it does where the radius leaves the side open.
    """
    if dtype == "float64":
        return np.array(high, dtype=np.float64)
    precision, emin, emax = _FORMATS[dtype]
    with np.errstate(invalid="ignore", over="ignore"):
        exponent = np.maximum(np.frexp(high)[1] - 1, emin) - precision + 1
        units = np.ldexp(high, -exponent)
        nearest = np.rint(units)
        tie = np.abs(units - np.trunc(units)) == 0.5
        nearest = np.where(tie & (low != 0), np.floor(units) + (low > 0), nearest)
        result = np.ldexp(nearest, exponent)
        largest = np.ldexp(2.0 - 2.0 ** (1 - precision), emax)
        result = np.where(np.abs(result) > largest, np.copysign(np.inf, high), result)
        return np.where(np.isfinite(high), result, high).astype(np.float32)


def _quotient(number: fmpq) -> float:
    try:
        return int(number.p) / int(number.q)  # Python rounds the quotient of integers correctly
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _above(value: float) -> float:
    return float(np.nextafter(value, np.inf))
