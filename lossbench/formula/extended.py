"""The numbers that the oracle computes with: exact rationals as long as possible, then Arb balls; infinities, nan.

A number is an `fmpq` (exact), an `arb` (a ball that contains it), or one of the floats inf, -inf and nan. nan is
"undefined" (0/0, inf - inf, 0*inf, log of a negative number, a division by an exact zero): `limits` then looks whether
the function has a limit there. A ball that is not finite is a number not pinned down at this precision.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from flint import arb, ctx, fmpq

Number: TypeAlias = Any  # fmpq | arb | float; flint has no types

ZERO, ONE, HALF = fmpq(0), fmpq(1), fmpq(1, 2)
INF, NAN = math.inf, math.nan
HIGHEST = 16384  # bits at which refining ends


class Undecided(ArithmeticError):
    """The balls of this precision do not tell which of two numbers is the greater one."""


def exact(value: float) -> Number:
    """The number that a float is."""
    return fmpq(*value.as_integer_ratio()) if math.isfinite(value) else value


def is_nan(a: Number) -> bool:
    return type(a) is float and a != a


def is_infinite(a: Number) -> bool:
    return type(a) is float and a == a


def ball(a: Number) -> arb:
    return a if type(a) is arb else arb(a)


def sign(a: Number) -> int:
    """-1, 0 or 1, of a number that is not nan.

    Raises:
        Undecided: A ball contains zero and is not exactly zero.
    """
    if a > 0:
        return 1
    if a < 0:
        return -1
    if a == 0:
        return 0
    raise Undecided


def compare(a: Number, b: Number) -> int | None:
    """The sign of a - b; None where it has none: of nan, and of two equal infinities.

    Balls that 16384 bits cannot tell apart count as equal: a tie of numbers that are no rationals looks like that.

    Raises:
        Undecided: More bits may tell.
    """
    if type(a) is float or type(b) is float:
        if is_nan(a) or is_nan(b) or a == b:
            return None
        return (1 if a > 0 else -1) if type(a) is float else (-1 if b > 0 else 1)
    if a > b:
        return 1
    if a < b:
        return -1
    if a == b:
        return 0
    if ctx.prec < HIGHEST:
        raise Undecided
    return 0 if ball(a).is_finite() and ball(b).is_finite() else None


def add(a: Number, b: Number) -> Number:
    if type(a) is float:
        return a + b if type(b) is float else a
    return b if type(b) is float else a + b


def neg(a: Number) -> Number:
    return -a


def sub(a: Number, b: Number) -> Number:
    return add(a, -b)


def mul(a: Number, b: Number) -> Number:
    """The product; an exact zero makes zero of every finite number and nan of an infinite one."""
    if type(a) is float or type(b) is float:
        if is_nan(a) or is_nan(b):
            return NAN
        signs = sign(a), sign(b)
        return NAN if 0 in signs else INF * signs[0] * signs[1]
    if a == 0 or b == 0:
        return ZERO
    return a * b


def div(a: Number, b: Number) -> Number:
    if is_nan(a) or is_nan(b) or (is_infinite(a) and is_infinite(b)):
        return NAN
    if type(b) is float:
        return ZERO
    if b == 0:
        return NAN
    if type(a) is float:
        return a * sign(b)
    return ZERO if a == 0 else a / b


def maximum(a: Number, b: Number) -> Number:
    if is_nan(a) or is_nan(b):
        return NAN
    if type(a) is float:
        return a if a > 0 else b
    if type(b) is float:
        return b if b > 0 else a
    return a if a > b else b if b > a else a if a == b else ball(a).max(ball(b))


def minimum(a: Number, b: Number) -> Number:
    return neg(maximum(neg(a), neg(b)))


def absolute(a: Number) -> Number:
    return abs(a)


def mean(total: Number, divisor: Number) -> Number:
    """The quotient, whose divisor is never negative: 0/0 is nan, and more than 0 over 0 is infinite."""
    if divisor == 0 and total != 0:
        return mul(INF, total)
    return div(total, divisor)
