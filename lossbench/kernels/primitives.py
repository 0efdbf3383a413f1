"""The functions of one number that generated kernels call; each takes and returns the kernel's own dtype.

`nan` in is `nan` out, and the ends are exact: softplus(-inf) is 0, log(0) is -inf, sigmoid(inf) is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])

# Contracting a*b + c to one rounding is the only liberty: more would delete the treatment of nan and infinity.
FASTMATH = {"contract"}


def inlined(function: Function) -> Function:
    """*function*, compiled where it is called."""
    return cast(Function, numba.njit(function, error_model="numpy", fastmath=FASTMATH))


@inlined
def maximum(a: float, b: float) -> float:
    return a if a > b or a != a else b


@inlined
def minimum(a: float, b: float) -> float:
    return a if a < b or a != a else b


@inlined
def sign(x: float) -> float:
    one = type(x)(1)
    return one if x > 0 else (-one if x < 0 else x)


@inlined
def exp(x: float) -> float:
    return math.exp(x)


@inlined
def exp_difference(a: float, b: float) -> float:
    """exp(a - b), corrected for what the rounding of a - b has taken (Knuth): that may be many ulps of the power."""
    difference = a - b
    added = difference - a
    lost = (a - (difference - added)) - (b + added)
    power = math.exp(difference)
    corrected = power + power * lost
    return corrected if corrected == corrected else power


@inlined
def expm1(x: float) -> float:
    return math.expm1(x)


@inlined
def log(x: float) -> float:
    return math.log(x)


@inlined
def log1p(x: float) -> float:
    return math.log1p(x)


@inlined
def sqrt(x: float) -> float:
    return math.sqrt(x)


@inlined
def sinh(x: float) -> float:
    return math.sinh(x)


@inlined
def cosh(x: float) -> float:
    return math.cosh(x)


@inlined
def tanh(x: float) -> float:
    return math.tanh(x)


@inlined
def softplus(x: float) -> float:
    """log(1 + exp(x)): exp never overflows, and log1p keeps what is small beside 1."""
    return maximum(x, type(x)(0)) + math.log1p(math.exp(-abs(x)))


@inlined
def sigmoid(x: float) -> float:
    """1/(1 + exp(-x)), by the exponential that cannot overflow."""
    one = type(x)(1)
    power = math.exp(-abs(x))
    return (power if x < 0 else one) / (one + power)


@inlined
def xlogy(x: float, y: float) -> float:
    """x*log(y), and 0 for x = 0 unless y is nan."""
    zero = type(x)(0)
    return zero if x == 0 and y == y else x * math.log(y)


@inlined
def power(a: float, exponent: float) -> float:
    return exponent if exponent != exponent else math.pow(a, exponent)  # C has 1**nan = 1


@inlined
def power_slope(a: float, exponent: float) -> float:
    """The derivative of a**exponent by a; 0 for the constant a**0."""
    return type(a)(0) if exponent == 0 else exponent * math.pow(a, exponent - type(a)(1))


@inlined
def nan_of(operand: float, chosen: float) -> float:
    """*chosen*, but nan where the operand of the comparison that chose it is nan."""
    return operand if operand != operand else chosen


@inlined
def weighed(weight: float, x: float) -> float:
    """weight*x; a weight of 0 makes 0 even of infinity, for it makes the function 0 everywhere."""
    return weight if weight == 0 and x == x else weight * x
