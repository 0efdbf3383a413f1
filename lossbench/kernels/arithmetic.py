"""Roots, powers, signs and choices of numbers without branches, as `elementary` has exp and log."""

from __future__ import annotations

import math

from lossbench.kernels.elementary import common_log, exp, log
from lossbench.kernels.machine import FORMATS, Number, Truth, where


def sqrt(x: Number) -> Number:
    return x.sqrt()


def power(a: Number, exponent: Number) -> Number:
    """a**exponent: in float32 by way of float64; nan of nan, but a**0 is 1."""
    if a.format.name == "float64":
        return where(exponent.is_nan, exponent, a.libm_power(exponent))
    return _power(a.to(FORMATS["float64"]), exponent.to(FORMATS["float64"])).to(a.format)


def power_slope(a: Number, exponent: Number) -> Number:
    """The derivative of a**exponent by a; 0 for the constant a**0."""
    if a.format.name == "float64":
        return where(exponent.equals(0.0), 0.0, exponent * power(a, exponent - 1.0))
    a, exponent = a.to(FORMATS["float64"]), exponent.to(FORMATS["float64"])
    return where(exponent.equals(0.0), 0.0, exponent * _power(a, exponent - 1.0)).to(FORMATS["float32"])


def _power(a: Number, exponent: Number) -> Number:
    """To fewer digits than the format has."""
    size = exp(exponent * log(abs(a)))
    whole, even = _is_whole(exponent), _is_whole(exponent * 0.5)
    signed = where(even, size, where(whole, size.with_sign_of(a), where(a < 0.0, math.nan, size)))
    return where(exponent.equals(0.0), 1.0, signed)


def _is_whole(x: Number) -> Truth:
    magic: float = 1.5 * 2**x.format.fraction  # added to a number it leaves a whole one
    return (((x + magic) - magic).equals(x)) | (abs(x) > magic)


def maximum(a: Number, b: Number) -> Number:
    """The larger; nan if either is."""
    return where((a > b) | a.is_nan, a, b)


def minimum(a: Number, b: Number) -> Number:
    return where((a < b) | a.is_nan, a, b)


def sign(x: Number) -> Number:
    return where(x > 0.0, 1.0, where(x < 0.0, x.constant(-1.0), x))


def xlogy(x: Number, y: Number) -> Number:
    """x*log(y), and 0 for x = 0 unless y is nan."""
    return where(x.equals(0.0) & y.equals(y), 0.0, x * log(y))


def common_xlogy(x: Number, y: Number) -> Number:
    """The same where y is not `uncommon`."""
    return where(x.equals(0.0), 0.0, x * common_log(y))


def nan_of(operand: Number, chosen: Number) -> Number:
    """*chosen*, but nan where the operand of the comparison that chose it is nan."""
    return where(operand.is_nan, operand, chosen)


def weighed(weight: Number, x: Number) -> Number:
    """weight*x; a weight of 0 makes 0 even of infinity, for it makes the function 0 everywhere."""
    return where(weight.equals(0.0) & x.equals(x), weight, weight * x)
