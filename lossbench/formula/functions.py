"""The functions of the formula language over extended numbers: exact at the rationals where they are rational.

A root, or a power with a fraction, of a ball that still contains zero at the last precision is taken of what the ball
holds from zero on: below zero it would be undefined. The enclosure is proved under that assumption, which is that of
`extended.compare` too: what the most bits do not tell from zero is no reason to call a loss undefined.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flint import arb, ctx, fmpq

from lossbench.formula.extended import (
    HALF,
    HIGHEST,
    INF,
    NAN,
    ONE,
    ZERO,
    Number,
    ball,
    is_nan,
    mul,
    neg,
    sign,
)

_WIDEST = 1 << 15  # bits of an exact rational beyond which a ball is used


def power(a: Number, b: Number) -> Number:
    """a**b; nan of a negative number to a power that is no integer, and where b is infinite.

    a**0 is 1 for every a, nan too: it is the constant to which a parameter of 0 simplifies the power.
    """
    if type(b) is fmpq and b == 0:
        return ONE
    if is_nan(a) or type(b) is float:
        return NAN
    if type(b) is fmpq:
        if b.q == 1:
            return _integer_power(a, int(b.p))
        if b.q == 2:
            root = sqrt(a)
            return root if b.p == 1 else _integer_power(root, int(b.p))
    if type(a) is arb and _hides_zero(a):
        return arb(0).union(arb(a.upper()) ** ball(b)) if b > 0 else arb("nan")
    side = sign(a)
    if side == -1:
        return NAN
    if side == 0 or type(a) is float:
        towards = sign(b)
        if towards == 0:
            return NAN
        return (ZERO if side == 0 else INF) if towards == 1 else (INF if side == 0 else ZERO)
    return ball(a) ** ball(b)


def _hides_zero(a: arb) -> bool:
    """Whether the most bits do not tell a number from zero."""
    return ctx.prec >= HIGHEST and bool(a.is_finite()) and not (a > 0 or a < 0 or a == 0)


def _integer_power(a: Number, n: int) -> Number:
    if is_nan(a):
        return NAN
    if type(a) is float:
        return ZERO if n < 0 else -INF if a < 0 and n % 2 else INF
    if type(a) is fmpq:
        if a == 0:
            return ZERO if n > 0 else NAN
        if a.height_bits() * abs(n) <= _WIDEST:
            return a**n
    return _ball_power(ball(a), n)


def _ball_power(a: arb, n: int) -> arb:
    """a**n by squaring: flint's own gives nan where the ball contains zero."""
    result = a
    for bit in f"{abs(n):b}"[1:]:
        result = result * result * a if bit == "1" else result * result
    return 1 / result if n < 0 else result


def xlogy(a: Number, b: Number) -> Number:
    """a*log(b), and 0 where a is exactly 0, whatever b is but nan."""
    if is_nan(b):
        return NAN
    return ZERO if a == 0 else mul(a, log(b))


def _of(
    at_minus_infinity: Number, at_infinity: Number, known: dict[fmpq, fmpq], function: Callable[[arb], arb]
) -> Callable[[Number], Number]:
    """A function that is defined everywhere, exact at the *known* rationals."""

    def apply(a: Number) -> Number:
        if type(a) is arb:
            return function(a)
        if type(a) is fmpq:
            return known[a] if a in known else function(arb(a))
        return NAN if a != a else at_infinity if a > 0 else at_minus_infinity

    return apply


def softplus_ball(a: arb) -> arb:
    """log(1 + exp(a)), without cancellation on either side."""
    return a + (-a).exp().log1p() if a > 0 else a.exp().log1p()


def sigmoid_ball(a: arb) -> arb:
    return 1 / (1 + (-a).exp())


def minus_expm1(a: Number) -> Number:
    """1 - exp(a), without cancellation."""
    return neg(expm1(a))


exp = _of(ZERO, INF, {ZERO: ONE}, arb.exp)
expm1 = _of(-ONE, INF, {ZERO: ZERO}, arb.expm1)
sinh = _of(-INF, INF, {ZERO: ZERO}, arb.sinh)
cosh = _of(INF, INF, {ZERO: ONE}, arb.cosh)
tanh = _of(-ONE, ONE, {ZERO: ZERO}, arb.tanh)
softplus = _of(ZERO, INF, {}, softplus_ball)
sigmoid = _of(ZERO, ONE, {ZERO: HALF}, sigmoid_ball)


def log(a: Number) -> Number:
    if type(a) is fmpq:
        return ZERO if a == 1 else arb(a).log() if a > 0 else -INF if a == 0 else NAN
    if type(a) is arb:
        return NAN if a < 0 else a.log()
    return a if a > 0 else NAN


def log1p(a: Number) -> Number:
    if type(a) is fmpq:
        return ZERO if a == 0 else arb(a).log1p() if a > -1 else -INF if a == -1 else NAN
    if type(a) is arb:
        return NAN if a < -1 else a.log1p()
    return a if a > 0 else NAN


def sqrt(a: Number) -> Number:
    """The square root, exact where it is rational."""
    if type(a) is fmpq:
        if a < 0:
            return NAN
        p, q = int(a.p), int(a.q)
        roots = math.isqrt(p), math.isqrt(q)
        return fmpq(*roots) if roots[0] ** 2 == p and roots[1] ** 2 == q else arb(a).sqrt()
    if type(a) is arb:
        return NAN if a < 0 else arb(0).union(arb(a.upper()).sqrt()) if _hides_zero(a) else a.sqrt()
    return a if a > 0 else NAN
