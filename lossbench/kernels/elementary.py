"""exp, log and what is made of them, without branches, for either format: LLVM makes vectors of the loops around them.

Sources:
    J.-M. Muller, Elementary Functions (2016), chapters 3 and 11: reduction by two parts of ln 2, polynomials.
    T. J. Dekker, Numerische Mathematik 18 (1971): what the rounding of a sum has taken.
"""

from __future__ import annotations

import math

from lossbench.kernels.coefficients import coefficients
from lossbench.kernels.machine import Bits, Format, Number, polynomial, where

_NEAR = 0.75  # of zero, where log(cosh(x)) and tanh(x) are polynomials


def _polynomial(name: str, x: Number) -> Number:
    return polynomial(coefficients(x.format).polynomials[name], x)


def _between(low: float, x: Number, high: float) -> Number:
    """*x*, at least *low* and at most *high*; nan stays."""
    return at_least(low, where(x > high, high, x))


def at_least(low: float, x: Number) -> Number:
    return where(x < low, low, x)


def _divided(x: Number, magic: Number | float) -> tuple[Number, Number]:
    """n and r with x = n*ln 2 + r; n in the last bits of a number, beside what *magic* has there."""
    c = coefficients(x.format)
    shifted = x.times_plus(1 / math.log(2), magic)
    n = shifted - magic
    return shifted, n.times_plus(-c.low, n.times_plus(-c.high, x))


def _exponential(r: Number) -> tuple[Number, Number]:
    """exp(r) for small r, and a slope with exp(r) = 1 + r*slope."""
    slope = r.times_plus(_polynomial("exp", r), 1.0)
    return r.times_plus(slope, 1.0), slope


def _power_below(shifted: Number) -> Number:
    """2**n for the n in the last bits, which counts from the least exponent."""
    return (shifted.bits() << shifted.format.fraction).number()


def exp(x: Number) -> Number:
    return _exp(x, None)


def exp_difference(a: Number, b: Number) -> Number:
    """exp(a - b), with what the rounding of a - b has taken (Knuth): that may be many ulps of the power."""
    difference = a - b
    added = difference - a
    lost = (a - (difference - added)) - (b + added)
    near = abs(difference) < -coefficients(a.format).least  # neither infinite nor nan
    return _exp(difference, where(near, lost, 0.0))


def exp_below(a: Number, b: Number) -> Number:
    """exp(a - b) for an *a* that is not above *b*, of their exact difference; 1 where they are equal.

    Far from 0 the difference is exact where it counts; else both are divided by ln 2. What depends on *b* alone, LLVM
    computes once for a loop.
    """
    c, inverse = coefficients(a.format), 1 / math.log(2)
    far = abs(b) > -2.0 * c.least
    base, rest = where(far, b, 0.0), where(far, 0.0, b)
    k = rest.times_plus(inverse, c.magic) - c.magic
    below = k.times_plus(-c.low, k.times_plus(-c.high, rest))
    least, moved, magic = rest + c.least, rest * -inverse, rest.constant(c.magic + a.format.bias + c.more)
    x = a - base
    x = where(x < least, least, x)
    shifted = x.times_plus(inverse, moved) + magic
    n = shifted - (magic - k)
    one, _ = _exponential(n.times_plus(-c.low, n.times_plus(-c.high, x)) - below)
    return where(a.equals(b), 1.0, one * _power_below(shifted) * 2.0**-c.more)


def _exp(x: Number, lost: Number | None) -> Number:
    """exp(x + lost)."""
    c, bias = coefficients(x.format), x.format.bias
    x = _between(c.least, x, c.largest)
    # The power in two steps, each of a normal factor: the second rounds if the result is subnormal, or is too much.
    above = x > 0.0
    magic = where(above, x.constant(c.magic + bias - c.more), c.magic + bias + c.more)
    shifted, r = _divided(x, magic)
    one, _ = _exponential(r if lost is None else r + lost)
    return one * _power_below(shifted) * where(above, x.constant(2.0**c.more), 2.0**-c.more)


def _reduced(x: Number) -> tuple[Bits, Number]:
    """n and expm1(r) for x = n*ln 2 + r."""
    c = coefficients(x.format)
    shifted, r = _divided(x, c.magic)
    power = (r * r).times_plus(_polynomial("expm1", r), r)
    return shifted.bits() - x.format.bits(c.magic), power


def _power_of_two(n: Bits, more: int) -> Number:
    """2**(n + more), where that is a normal number."""
    return ((n + (n.format.bias + more)) << n.format.fraction).number()


def expm1(x: Number) -> Number:
    c = coefficients(x.format)
    n, power = _reduced(_between(c.nothing, x, c.largest))
    half = _power_of_two(n, -1)  # 2**n itself may be beyond the format
    result = half.times_plus(power, half - 0.5)
    return where(abs(x) < c.tiny, x, result + result)


def _log1p_of(f: Number, name: str) -> tuple[Number, Number]:
    """s and w with log(1 + f) = 2*atanh(s) = f - s*w, by the polynomial of that name for 2*atanh(s) - 2*s."""
    s = f / (2.0 + f)
    square = s * s
    return s, (-square).times_plus(_polynomial(name, square), f)


def _log_of(f: Number, k: Number, lost: Number | None = None) -> Number:
    """k*ln 2 + log(1 + f + lost), for f from sqrt(1/2) - 1 to sqrt(2) - 1."""
    c = coefficients(f.format)
    s = f / (2.0 + f)
    square, half = s * s, f * 0.5 * f
    # log(1 + f) = f - half + s*(half + (2*atanh(s) - 2*s)/s): s counts for little.
    rest = s.times_plus(square.times_plus(_polynomial("log", square), half), k.times_plus(c.low, -half))
    if lost is not None:
        rest = rest + lost
    large = k * c.high  # 0 or not below f
    total = large + f
    return total + (((large - total) + f) + rest)  # Dekker's sum


def _exponent(x: Number) -> tuple[Bits, Bits]:
    """A positive normal x as m*2**k, m from sqrt(1/2) to sqrt(2): its bits for m, and k with the bias."""
    format_ = x.format
    moved = x.bits() + (format_.bits(1.0) - format_.bits(math.sqrt(0.5)))
    return moved, moved >> format_.fraction


def _offset(format_: Format) -> float:
    """What is beside a biased exponent in `_as_number`."""
    return 2.0**format_.fraction + format_.bias


def _as_number(biased: Bits) -> Number:
    """A biased exponent as a number, too large by `_offset`."""
    return (biased | biased.format.bits(2.0**biased.format.fraction)).number()


def log(x: Number) -> Number:
    format_ = x.format
    subnormal = x < 2.0 ** (1 - format_.bias)
    more = format_.fraction + 1
    offset = where(subnormal, x.constant(_offset(format_) + more), _offset(format_))
    ends = where(x.equals(0.0), -math.inf, where(x < 0.0, math.nan, x))
    return where((x > 0.0) & (x < math.inf), _log_from(where(subnormal, x * 2.0**more, x), offset), ends)


def common_log(x: Number) -> Number:
    """The same for numbers that are not `uncommon`."""
    return _log_from(x, x.constant(_offset(x.format)))


def uncommon(x: Number) -> Number:
    """0 for a positive normal number, 1 for another."""
    return where((x >= 2.0 ** (1 - x.format.bias)) & (x < math.inf), 0.0, x.constant(1.0))


def _log_from(x: Number, offset: Number) -> Number:
    """log(x), x positive and normal, but for what is beside its exponent."""
    format_ = x.format
    moved, biased = _exponent(x)
    f = ((moved & (2**format_.fraction - 1)) + format_.bits(math.sqrt(0.5))).number() - 1.0
    return _log_of(f, _as_number(biased) - offset)


def log_ratio(a: Number, b: Number) -> Number:
    """log(a/b), with one division, which neither overflows nor vanishes.

    With a = m*2**k*b, m some 1 and its half at most away from it, that is k*ln 2 + 2*atanh(s), s = (m - 1)/(m + 1).
    """
    c, format_ = coefficients(a.format), a.format
    least, more = 2.0 ** (1 - format_.bias), format_.fraction + 1
    low, below = a < least, b < least
    numerator, denominator = where(low, a * 2.0**more, a).bits(), where(below, b * 2.0**more, b).bits()
    scaled = (denominator & (2**format_.fraction - 1)) + format_.bits(1.0)
    distance, half, sign = numerator - denominator, 2 ** (format_.fraction - 1), -(2 ** (format_.integer.width - 1))
    shifted = (distance + (sign + half)) >> format_.fraction
    upper = (scaled + distance + sign - (shifted << format_.fraction)).number()
    lower = scaled.number()
    offset = 2.0**format_.fraction - (sign >> format_.fraction)
    k = _as_number(shifted) - offset - where(low, a.constant(more), 0.0) + where(below, a.constant(more), 0.0)
    s = (upper - lower) / (upper + lower)  # of which the difference is exact
    square = s * s
    double = s + s
    small = (square * s).times_plus(_polynomial("log1p", square), k * c.low)
    large = k * c.high
    total = large + double
    found = total + (((large - total) + double) + small)
    ends = where((a < 0.0) | (b < 0.0), math.nan, (a - b) * math.inf)
    # Positive and finite, by integers: of numbers LLVM makes twice as many instructions for it.
    last = format_.bits(math.inf) - 1
    return where((a.bits() - 1).below(last) & (b.bits() - 1).below(last), found, ends)


def log1p(x: Number) -> Number:
    c = coefficients(x.format)
    _, biased = _exponent(1.0 + x)
    # 2**-k itself may be subnormal.
    quarter = ((2 * x.format.bias + 2) - biased) << x.format.fraction
    scale = quarter.number()  # 2**(2 - k)
    part, without = x * 0.25, scale.times_plus(0.25, -1.0)
    f = part.times_plus(scale, without)
    lost = part.times_plus(scale, -(f - without))
    ends = where(x.equals(-1.0), -math.inf, where(x < -1.0, math.nan, x))
    inside = (x > -1.0) & (x < math.inf) & (abs(x) >= c.tiny)
    return where(inside, _log_of(f, _as_number(biased) - _offset(x.format), lost), ends)


def _decay(x: Number) -> tuple[Number, Number]:
    """exp(-abs(x)), and what is lost by its rounding."""
    c = coefficients(x.format)
    shifted, r = _divided(at_least(c.least, -abs(x)), c.magic + x.format.bias + c.more)
    one, slope = _exponential(r)
    lost = r.times_plus(slope, -(one - 1.0))
    scale = _power_below(shifted) * 2.0**-c.more
    return one * scale, lost * scale


def softplus(x: Number) -> Number:
    """log(1 + exp(x)): max(x, 0) and log1p of a power of at most 1."""
    power, lost = _decay(x)
    s, w = _log1p_of(power, "log1p")
    # The slope of log1p, 1/(1 + power), by which *lost* counts, need not be exact.
    rest = (-s).times_plus(w, lost * s.times_plus(-1.5, 1.0))
    return power + (rest + where(x > 0.0, x, 0.0))


def sigmoid(x: Number) -> Number:
    """1/(1 + exp(-x)), by the exponential that cannot overflow."""
    power, lost = _decay(x)
    total = 1.0 + power
    missing = (1.0 - total) + power + lost  # from the sum
    above = x > 0.0
    top = where(above, 1.0, power)
    quotient = top / total
    rest = (-quotient).times_plus(total, top) + where(above, 0.0, lost)
    rest = (-quotient).times_plus(missing, rest)
    # Over the sum, that is times sigmoid(abs(x)), which need not be exact.
    return rest.times_plus(where(above, quotient, 1.0 - quotient), quotient)


def _small(x: Number) -> Number:
    """exp(-2*abs(x)), right enough beside abs(x), or beside 1."""
    c = coefficients(x.format)
    magic = c.magic + x.format.bias
    double = -2.0 * where(abs(x) > c.none, c.none, abs(x))
    shifted = double.times_plus(1 / math.log(2), magic)
    one, _ = _exponential((shifted - magic).times_plus(-math.log(2), double))  # ln 2 in one part
    return one * _power_below(shifted)


def log_cosh(x: Number) -> Number:
    """log(cosh(x)): no power overflows, and small x keep their digits."""
    size = abs(x)
    s, w = _log1p_of(power := _small(x), "tail")
    far = (size - math.log(2)) + (-s).times_plus(w, power)
    half = x * 0.5
    square = half * x  # halved
    lost = half.times_plus(x, -square)
    near = square + square.times_plus(square * _polynomial("log_cosh", square), lost)
    return where(size < _NEAR, near, far)


def tanh(x: Number) -> Number:
    power = _small(x)
    far = 1.0 - (power + power) / (1.0 + power)
    size = abs(x)
    square = x * x
    near = (square * size).times_plus(_polynomial("tanh", square), size)
    return where(size < _NEAR, near, far).with_sign_of(x)


def sinh(x: Number) -> Number:
    """expm1(a)*(1 + exp(-a))/2, by a quarter of each power: the last ones are beyond the format."""
    c = coefficients(x.format)
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
    c = coefficients(x.format)
    size = abs(x)
    n, power = _reduced(where(size > c.most, c.most, size))
    scale = _power_of_two(n, -2)
    quarter = scale.times_plus(power, scale)
    return (quarter + 0.0625 / quarter) * 2.0
