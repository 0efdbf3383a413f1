"""Numbers with a bound of their error, in float64: what generated filters are made of.

A number is a pair (x, d): the exact number lies in [x - d, x + d]. A bound that is nan or infinite says nothing. Bounds
are themselves rounded; that of a result is to be widened by SLACK, which is more than a million roundings take.

Below the normal numbers a bound counts in UNITs: fewer than 16 of them on 0 stand for a number of less than 2**-1076,
whose nearest double is 0. Every rounding below the normal numbers adds FLOOR, which is 16.

Source:
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 3.3 (running error analysis);
    Knuth (the error of a sum); the error of a product and a quotient is that of a fused multiply-add.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.extending import intrinsic

SLACK = 2.0**-30
UNIT = 2.0**-1074
FLOOR = 2.0**-1070
SMALL = 2.0**-900  # far above what rounding errors of normal numbers need
_HALF_RANGE = 2.0**540
UNKNOWN = math.inf

Bounded = tuple[float, float]
Function = TypeVar("Function", bound=Callable[..., object])


def inlined(function: Function) -> Function:
    """*function*, compiled where it is called; without the kernels' liberties: a contracted sum has another error."""
    return cast(Function, numba.njit(function, error_model="numpy"))


@intrinsic  # type: ignore[untyped-decorator]
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a*b + c, rounded once."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    wide = numba.float64
    return wide(wide, wide, wide), code


@inlined
def given(x: float) -> Bounded:
    """An input: exact, unless it is no number."""
    return x, 0.0 if x - x == 0 else UNKNOWN


@inlined
def finished(a: Bounded, sure: bool) -> Bounded:
    """The pair with its final bound; one that says nothing where a branch was taken in doubt."""
    bound = a[1] * (1 + SLACK)
    return a[0], bound if sure and bound < UNKNOWN and a[0] - a[0] == 0 else UNKNOWN


@inlined
def add(a: Bounded, b: Bounded) -> Bounded:
    total = a[0] + b[0]
    return total, a[1] + b[1] + abs(_rest(a[0], b[0], total))


@inlined
def _rest(a: float, b: float, total: float) -> float:
    """Exactly what the rounded sum lacks."""
    added = total - a
    return (a - (total - added)) + (b - added)


@inlined
def neg(a: Bounded) -> Bounded:
    return -a[0], a[1]


@inlined
def sub(a: Bounded, b: Bounded) -> Bounded:
    return add(a, neg(b))


@inlined
def mul(a: Bounded, b: Bounded) -> Bounded:
    product = a[0] * b[0]
    bound = abs(a[0]) * b[1] + abs(b[0]) * a[1] + a[1] * b[1] + abs(fma(a[0], b[0], -product))
    if abs(product) + bound > SMALL:
        return product, bound
    return _small_product(a, b, product, bound)


@inlined
def _small_product(a: Bounded, b: Bounded, product: float, bound: float) -> Bounded:
    if not bound < UNKNOWN:
        return product, UNKNOWN
    if (a[0] == 0 and a[1] == 0) or (b[0] == 0 and b[1] == 0):
        return 0.0, 0.0
    if a[0] == 0 or b[0] == 0:
        return 0.0, bound + 2 * UNIT
    if ((abs(a[0]) + a[1]) * _HALF_RANGE) * ((abs(b[0]) + b[1]) * _HALF_RANGE) < 0.5:
        return 0.0, UNIT
    return product, bound + FLOOR


@inlined
def div(a: Bounded, b: Bounded) -> Bounded:
    least = abs(b[0]) - b[1]
    if not least > 0:
        return 0.0, UNKNOWN
    quotient = a[0] / b[0]
    bound = (a[1] + abs(quotient) * b[1] + abs(fma(-quotient, b[0], a[0]))) / least
    if abs(quotient) > SMALL and abs(a[0]) > SMALL:
        return quotient, bound
    if a[0] == 0:
        return 0.0, bound + UNIT if a[1] > 0 else bound
    return quotient, bound + FLOOR / least + FLOOR


@inlined
def maximum(a: Bounded, b: Bounded) -> Bounded:
    if a[0] - a[1] > b[0] + b[1]:
        return a
    if b[0] - b[1] > a[0] + a[1]:
        return b
    return max(a[0], b[0]), max(a[1], b[1]) + 0 * (a[1] + b[1])


@inlined
def minimum(a: Bounded, b: Bounded) -> Bounded:
    return neg(maximum(neg(a), neg(b)))


@inlined
def absolute(a: Bounded) -> Bounded:
    return abs(a[0]), a[1]


@inlined
def sign(a: Bounded) -> Bounded:
    if abs(a[0]) > a[1]:
        return math.copysign(1.0, a[0]), 0.0
    return 0.0, UNKNOWN


@inlined
def less(a: Bounded, b: Bounded, lean_a: float, lean_b: float) -> int:
    """1 for a < b, -1 for a > b, 0 where both are known to be equal; 2 where the bounds do not tell.

    Where both stand for themselves by the same float, their leans decide: by how much exactly they differ from it, or
    nan where that is not known.
    """
    gap = b[0] - a[0]
    doubt = (a[1] + b[1]) * (1 + SLACK)
    if gap == 0:
        return 1 if lean_b > lean_a else -1 if lean_b < lean_a else 0 if lean_b == lean_a else 2
    return 1 if gap > doubt else -1 if gap < -doubt else 2


@inlined
def or_zero(a: Bounded, open_: bool) -> Bounded:
    """A number that may also be 0, if that is *open_*."""
    return a[0], max(a[1], abs(a[0])) + 0 * a[1] if open_ else a[1]


@inlined
def lean(a: Bounded) -> float:
    """By how much a number differs from the float that stands for it: by nothing where that is exact."""
    return 0.0 if a[1] == 0 else math.nan


@inlined
def lean_of_sum(a: Bounded, b: Bounded) -> float:
    """What rounding took from the sum of exact numbers."""
    return _rest(a[0], b[0], a[0] + b[0]) if a[1] == 0 and b[1] == 0 else math.nan


@inlined
def lean_of_absolute(a: Bounded, lean_a: float) -> float:
    return lean_a if a[0] > 0 else -lean_a if a[0] < 0 else math.nan
