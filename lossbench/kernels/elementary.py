"""exp, log and what is made of them, without branches, for either format: LLVM makes vectors of the loops around them.

Sources:
    J.-M. Muller, Elementary Functions (2016), chapters 3 and 11: reduction by two parts of ln 2, polynomials.
    T. J. Dekker, Numerische Mathematik 18 (1971): what the rounding of a sum has taken.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lossbench.kernels.machine import FORMATS, Bits, Format, Number, Truth, polynomial, where

_LN2 = 0xB17217F7D1CF79ABC9E3B39803F2F6AF  # times 2**-128
_POLYNOMIALS = tomllib.loads((Path(__file__).parent / "polynomials.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _Constants:
    """Numbers that depend on the format.

    Attributes:
        high, low: ln 2 in two parts, of which the first times a whole number is exact.
        magic: Added to a number it leaves a whole number in the last bits.
        largest, least: Beyond these exp is infinite, and 0.
        most: Beyond it sinh and cosh are infinite.
        nothing: Below it expm1 is -1.
        tiny: Below it x is the nearest number to expm1(x), log1p(x) and tanh(x).
    """

    high: float
    low: float
    magic: float
    largest: float
    most: float
    least: float
    nothing: float
    tiny: float
    exp: list[float]
    log: list[float]
    sinh: list[float]


@cache
def _constants(format_: Format) -> _Constants:
    single = format_.name == "float32"
    kept = 128 - (15 if single else 40)
    high = _LN2 >> kept << kept
    return _Constants(
        high=high / 2**128,
        low=(_LN2 - high) / 2**128,
        magic=1.5 * 2**format_.fraction,
        largest=89.0 if single else 710.0,
        most=89.6 if single else 710.6,
        least=-104.0 if single else -746.0,
        nothing=-20.0 if single else -40.0,
        tiny=2.0**-100 if single else 2.0**-1000,
        exp=_POLYNOMIALS[format_.name]["exp"]["coefficients"],
        log=_POLYNOMIALS[format_.name]["log"]["coefficients"],
        sinh=[1 / math.factorial(2 * at + 3) for at in range(5 if single else 9)],  # Taylor's, for abs(x) < 1
    )


def _between(low: float, x: Number, high: float) -> Number:
    """*x*, at least *low* and at most *high*; nan stays."""
    return at_least(low, where(x > high, high, x))


def at_least(low: float, x: Number) -> Number:
    return where(x < low, low, x)


def _reduced(x: Number, lost: Number | None = None) -> tuple[Bits, Number]:
    """n and expm1(r) for the sum x + lost = n*ln 2 + r; n in the last bits of a number."""
    c = _constants(x.format)
    shifted = x.times_plus(1 / math.log(2), c.magic)
    n = shifted - c.magic
    r = n.times_plus(-c.low, n.times_plus(-c.high, x))
    if lost is not None:
        r = r + lost
    power = (r * r).times_plus(polynomial(c.exp, r), r)
    return shifted.bits() - x.format.bits(c.magic), power


def _power_of_two(n: Bits, more: int) -> Number:
    """2**(n + more), where that is a normal number."""
    return ((n + (n.format.bias + more)) << n.format.fraction).number()


def _scaled(x: Number, n: Bits) -> Number:
    """x*2**n in two steps, each of a normal factor: the second rounds if the result is subnormal."""
    doubled = n + 2 * n.format.bias
    half = doubled >> 1
    return x * (half << n.format.fraction).number() * ((doubled - half) << n.format.fraction).number()


def exp(x: Number) -> Number:
    c = _constants(x.format)
    n, power = _reduced(_between(c.least, x, c.largest))
    return _scaled(1.0 + power, n)


def exp_difference(a: Number, b: Number) -> Number:
    """exp(a - b), with what the rounding of a - b has taken (Knuth): that may be many ulps of the power."""
    c = _constants(a.format)
    difference = a - b
    added = difference - a
    lost = (a - (difference - added)) - (b + added)
    near = abs(difference) < -c.least  # neither infinite nor nan
    n, power = _reduced(_between(c.least, difference, c.largest), where(near, lost, 0.0))
    return _scaled(1.0 + power, n)


def expm1(x: Number) -> Number:
    c = _constants(x.format)
    n, power = _reduced(_between(c.nothing, x, c.largest))
    half = _power_of_two(n, -1)  # 2**n itself may be beyond the format
    result = half.times_plus(power, half - 0.5)
    return where(abs(x) < c.tiny, x, result + result)


def _log_of(f: Number, k: Number) -> Number:
    """k*ln 2 + log(1 + f), for f from sqrt(1/2) - 1 to sqrt(2) - 1."""
    c = _constants(f.format)
    tail = f.times_plus(polynomial(c.log, f), -0.5)
    rest = (f * f).times_plus(tail, k * c.low)
    return _sum_of(k * c.high, f, rest)


def _sum_of(large: Number, small: Number, rest: Number) -> Number:
    """large + small + rest, where large is 0 or not below small, and rest far below both (Dekker)."""
    total = large + small
    return total + (((large - total) + small) + rest)


def _exponent(x: Number) -> tuple[Bits, Bits]:
    """A positive normal x as m*2**k, m from sqrt(1/2) to sqrt(2): its bits for m, and k with the bias."""
    format_ = x.format
    moved = x.bits() + (format_.bits(1.0) - format_.bits(math.sqrt(0.5)))
    return moved, moved >> format_.fraction


def _as_number(biased: Bits) -> Number:
    """A biased exponent as a number."""
    format_ = biased.format
    return (biased | format_.bits(2.0**format_.fraction)).number() - (2.0**format_.fraction + format_.bias)


def log(x: Number) -> Number:
    format_ = x.format
    subnormal = x < 2.0 ** (1 - format_.bias)
    more = format_.fraction + 1
    moved, biased = _exponent(where(subnormal, x * 2.0**more, x))
    f = ((moved & (2**format_.fraction - 1)) + format_.bits(math.sqrt(0.5))).number() - 1.0
    k = _as_number(biased) - where(subnormal, x.constant(more), 0.0)
    ends = where(x.equals(0.0), -math.inf, where(x < 0.0, math.nan, x))
    return where((x > 0.0) & (x < math.inf), _log_of(f, k), ends)


def log1p(x: Number) -> Number:
    c = _constants(x.format)
    _, biased = _exponent(1.0 + x)
    # x*2**-k + (2**-k - 1) is exact; 2**-k itself may be subnormal.
    quarter = ((2 * x.format.bias + 2) - biased) << x.format.fraction
    scale = quarter.number()  # 2**(2 - k)
    f = (x * 0.25).times_plus(scale, scale.times_plus(0.25, -1.0))
    ends = where(x.equals(-1.0), -math.inf, where(x < -1.0, math.nan, x))
    inside = (x > -1.0) & (x < math.inf) & (abs(x) >= c.tiny)
    return where(inside, _log_of(f, _as_number(biased)), ends)


def _decay(x: Number) -> tuple[Number, Number]:
    """exp(-abs(x)), and what is lost by its rounding."""
    c = _constants(x.format)
    n, power = _reduced(at_least(c.least, -abs(x)))
    one = 1.0 + power
    lost = power - (one - 1.0)
    more = x.format.fraction + 1  # n is at least -(bias + fraction)
    scale, down = _power_of_two(n, more), 2.0**-more
    return one * scale * down, lost * scale * down


def softplus(x: Number) -> Number:
    """log(1 + exp(x)): max(x, 0) and log1p of a power of at most 1."""
    c = _constants(x.format)
    power, lost = _decay(x)
    large = power > math.sqrt(2) - 1
    f = where(large, power.times_plus(0.5, -0.5), power)
    # The slope of log1p, 1/(1 + power), by which *lost* counts, need not be exact.
    correction = lost * power.times_plus(-0.5, 1.0)
    tail = f.times_plus(polynomial(c.log, f), -0.5)
    rest = (f * f).times_plus(tail, correction)
    return where(x > 0.0, x, 0.0) + _sum_of(where(large, x.constant(math.log(2)), 0.0), f, rest)


def sigmoid(x: Number) -> Number:
    """1/(1 + exp(-x)), by the exponential that cannot overflow."""
    power, lost = _decay(x)
    total = 1.0 + power
    missing = (1.0 - total) + power + lost  # from the sum
    inverse = 1.0 / total
    inverse = inverse.times_plus((-inverse).times_plus(total, 1.0) - missing * inverse, inverse)
    return where(x < 0.0, power.times_plus(inverse, lost * inverse), inverse)


def tanh(x: Number) -> Number:
    below = expm1(-2.0 * abs(x))
    return (-below / (2.0 + below)).with_sign_of(x)


def sinh(x: Number) -> Number:
    """expm1(a)*(1 + exp(-a))/2, by a quarter of each power: the last ones are beyond the format."""
    c = _constants(x.format)
    size = abs(x)
    n, power = _reduced(where(size > c.most, c.most, size))
    scale = _power_of_two(n, -2)
    decay = 0.25 / scale.times_plus(power, scale)
    quarter = scale.times_plus(power, scale - 0.25)
    result = (quarter.times_plus(decay, quarter) * 2.0).with_sign_of(x)
    square = where(size < 1.0, x * x, 0.0)
    near = (square * x).times_plus(polynomial(c.sinh, square), x)  # to half an ulp
    return where(size < 1.0, near, result)


def cosh(x: Number) -> Number:
    c = _constants(x.format)
    size = abs(x)
    n, power = _reduced(where(size > c.most, c.most, size))
    scale = _power_of_two(n, -2)
    quarter = scale.times_plus(power, scale)
    return (quarter + 0.0625 / quarter) * 2.0


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
    magic = _constants(x.format).magic
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


def nan_of(operand: Number, chosen: Number) -> Number:
    """*chosen*, but nan where the operand of the comparison that chose it is nan."""
    return where(operand.is_nan, operand, chosen)


def weighed(weight: Number, x: Number) -> Number:
    """weight*x; a weight of 0 makes 0 even of infinity, for it makes the function 0 everywhere."""
    return where(weight.equals(0.0) & x.equals(x), weight, weight * x)
