"""The elementary functions of numbers with a bound: their own assumed error, and how far they carry that of theirs."""

from __future__ import annotations

import math

from lossbench.formula.filter_bounds import FLOOR, SLACK, SMALL, UNIT, UNKNOWN, Bounded, add, fma, inlined, mul

LIBM = 4 * 2.0**-52  # assumed of every elementary function, relative; glibc documents at most half of it
_VANISHED = -750.0  # exp of less is below 2**-1080


@inlined
def _grown(d: float) -> float:
    """At least exp(d) - 1, for d up to 1."""
    return d * (1 + d) if d <= 1 else UNKNOWN


@inlined
def _rounded(x: float) -> float:
    """What the assumed accuracy of a function leaves open about its result x."""
    return LIBM * abs(x) + (FLOOR if abs(x) < SMALL and x != 0 else 0.0)


@inlined
def exp(a: Bounded) -> Bounded:
    if a[0] + a[1] < _VANISHED:
        return 0.0, UNIT
    power = math.exp(a[0])
    return power, power * _grown(a[1]) + LIBM * power + (FLOOR if power < SMALL else 0.0)


@inlined
def expm1(a: Bounded) -> Bounded:
    if a[0] + a[1] < -40:
        return -1.0, 2.0**-57  # exp of less than -40 is smaller
    less = math.expm1(a[0])
    return less, (1 + max(less, 0.0)) * _grown(a[1]) + _rounded(less)


@inlined
def log(a: Bounded) -> Bounded:
    least = a[0] - a[1]
    if not least > 0:
        return 0.0, UNKNOWN
    found = math.log(a[0])
    return found, a[1] / least + _rounded(found)


@inlined
def log1p(a: Bounded) -> Bounded:
    least = (1 + a[0]) - a[1]
    if not least > SLACK * (1 + a[0]):
        return 0.0, UNKNOWN
    found = math.log1p(a[0])
    return found, a[1] / least + _rounded(found) + (UNIT if 0 < a[1] < SMALL else 0.0)


@inlined
def sqrt(a: Bounded) -> Bounded:
    if not (a[0] > SMALL and a[0] > a[1]):
        return 0.0, 0.0 if a[0] == 0 and a[1] == 0 else UNKNOWN
    root = math.sqrt(a[0])
    return root, (a[1] + abs(fma(-root, root, a[0]))) / root


@inlined
def sinh(a: Bounded) -> Bounded:
    found = math.sinh(a[0])
    return found, (1 + abs(found)) * a[1] * (1 + 2 * _grown(a[1])) + _rounded(found)


@inlined
def cosh(a: Bounded) -> Bounded:
    found = math.cosh(a[0])
    return found, found * a[1] * (1 + 2 * _grown(a[1])) + _rounded(found)


@inlined
def tanh(a: Bounded) -> Bounded:
    found = math.tanh(a[0])
    slope = 1.0 if abs(a[0]) - a[1] < 20 else 2.0**-55  # the derivative at 20 is below 2**-55
    return found, slope * a[1] + _rounded(found)


@inlined
def softplus(a: Bounded) -> Bounded:
    if a[0] + a[1] < _VANISHED:
        return 0.0, UNIT
    power = math.exp(-abs(a[0]))
    tail = math.log1p(power)
    missed = 3 * LIBM * tail + (FLOOR if tail < SMALL else 0.0)
    if a[0] <= 0:
        return tail, missed + min(a[1], power * _grown(a[1]))
    return add((a[0], a[1]), (tail, missed))


@inlined
def sigmoid(a: Bounded) -> Bounded:
    if a[0] + a[1] < _VANISHED:
        return 0.0, UNIT
    power = math.exp(-abs(a[0]))
    found = (power if a[0] < 0 else 1.0) / (1.0 + power)
    return found, 3 * LIBM * found + power * _grown(a[1]) + (FLOOR if found < SMALL else 0.0)


@inlined
def xlogy(a: Bounded, b: Bounded) -> Bounded:
    if a[0] == 0 and a[1] == 0 and b[0] - b[1] > -UNKNOWN:
        return 0.0, 0.0
    return mul(a, log(b))


@inlined
def power(a: Bounded, b: Bounded) -> Bounded:
    """a**b of a positive a; 0 for 0**b, b positive."""
    least = a[0] - a[1]
    if not least > 0:
        return 0.0, 0.0 if a[0] == 0 and a[1] == 0 and b[0] > b[1] else UNKNOWN
    found = math.pow(a[0], b[0])
    moved = abs(b[0]) * (a[1] / least) + b[1] * (abs(math.log(a[0])) + a[1] / least) * (1 + LIBM)
    return found, found * _grown(moved) + LIBM * found + (FLOOR if found < SMALL else 0.0)
