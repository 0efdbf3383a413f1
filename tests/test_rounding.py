"""Rounding to float64, float32, bfloat16 and float16: once, correctly, ties to even."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from flint import arb, ctx, fmpq
from hypothesis import given
from hypothesis import strategies as st

from lossbench.formula.extended import HALF, NAN
from lossbench.formula.rounding import double, doubles, narrowed

FORMATS = {"float32": (24, -126, 127), "bfloat16": (8, -126, 127), "float16": (11, -14, 15)}


def nearest(value: Fraction, precision: int, emin: int, emax: int) -> float:
    """The nearest float of a format, straight from the definition."""
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = math.floor(math.log2(size.numerator) - math.log2(size.denominator))
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while size < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, emin) - precision + 1)
    rounded = round(size / unit) * unit  # Python rounds a half to even
    if rounded > (2 - Fraction(2) ** (1 - precision)) * Fraction(2) ** emax:
        return math.inf if value > 0 else -math.inf
    return float(rounded if value > 0 else -rounded)


fractions = st.builds(
    lambda top, bottom, shift: Fraction(top, bottom) * Fraction(2) ** shift,
    st.integers(-(2**60), 2**60),
    st.integers(1, 2**30),
    st.integers(-1140, 1000),
)


@given(fractions)
def test_double_of_a_rational(value):
    high, low, radius, decided = double(fmpq(value.numerator, value.denominator))

    assert decided
    assert high == nearest(value, 53, -1022, 1023)
    if math.isfinite(high):
        assert abs(value - Fraction(high) - Fraction(low)) <= Fraction(radius)


@given(fractions, st.integers(60, 400))
def test_double_of_a_ball_is_right_where_it_is_decided(value, precision):
    kept, ctx.prec = ctx.prec, precision
    try:
        ball = arb(fmpq(value.numerator, value.denominator))
        one, many = double(ball), doubles([ball])
    finally:
        ctx.prec = kept
    several = many.high[0], many.low[0], many.radius[0], many.decided[0]
    for high, low, radius, decided in (one, several):
        if decided:
            assert high == nearest(value, 53, -1022, 1023)
        if math.isfinite(high) and math.isfinite(radius):
            assert abs(value - Fraction(float(high)) - Fraction(float(low))) <= Fraction(float(radius))


def test_a_ball_around_a_tie_is_not_decided():
    kept, ctx.prec = ctx.prec, 200
    try:
        tie = arb(1) + arb(2) ** -53
        around = arb(tie, arb(2) ** -150)

        assert double(tie)[0] == 1.0
        assert double(tie)[3]
        assert doubles([tie]).decided[0]
        assert not double(around)[3]
        assert not doubles([around]).decided[0]
    finally:
        ctx.prec = kept


@pytest.mark.parametrize(("number", "expected"), [(math.inf, math.inf), (-math.inf, -math.inf), (HALF, 0.5)])
def test_double_of_exact_numbers(number, expected):
    assert double(number) == (expected, 0.0, 0.0, True)


def test_double_of_nan_is_nan():
    assert math.isnan(double(NAN)[0])


def test_an_overflowing_number_rounds_to_infinity():
    assert double(fmpq(10) ** 400)[0] == math.inf
    assert double(-(arb(10) ** 400))[0] == -math.inf
    assert double(fmpq(2) ** 1024 - fmpq(2) ** 970)[0] == math.inf
    assert double(fmpq(2) ** 1024 - fmpq(2) ** 970 - 1)[0] == np.finfo(float).max


def test_a_tiny_ball_around_zero_is_zero():
    assert double(arb(0, arb(2) ** -1200))[::3] == (0.0, True)


@pytest.mark.parametrize("dtype", FORMATS)
@given(data=st.data())
def test_narrowed_rounds_once(dtype, data):
    precision, emin, emax = FORMATS[dtype]
    exponent = data.draw(st.integers(emin - precision - 3, emax + 2))
    # Numbers whose tails decide: a short head, a half of its last place, and something far below.
    head = data.draw(st.integers(2 ** (precision - 1), 2**precision - 1))
    half = data.draw(st.integers(0, 3))
    tail = data.draw(st.sampled_from([-1, 0, 1])) * Fraction(2) ** -70
    sign = data.draw(st.sampled_from([-1, 1]))
    value = sign * (head + Fraction(half, 4) + tail) * Fraction(2) ** (exponent - precision + 1)
    high, low, _, _ = double(fmpq(value.numerator, value.denominator))

    assert narrowed(np.array([high]), np.array([low]), dtype)[0] == nearest(value, precision, emin, emax)


def test_rounding_twice_would_be_wrong():
    tie = 1 + 2.0**-24  # half way between two float32
    high = np.full(3, tie)
    low = np.array([-(2.0**-80), 0.0, 2.0**-80])

    assert narrowed(high, low, "float32").tolist() == [1.0, 1.0, 1 + 2.0**-23]
    assert high.astype(np.float32).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", FORMATS)
def test_narrowed_agrees_with_the_formats_themselves(dtype):
    kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    bits = np.arange(2**16, dtype=np.uint16) if kind.itemsize == 2 else np.arange(2**16, dtype=np.uint32) << 16
    with np.errstate(invalid="ignore"):
        values = bits.view(kind).astype(np.float64)
    values = values[~np.isnan(values)]

    np.testing.assert_array_equal(narrowed(values, np.zeros_like(values), dtype), values.astype(np.float32))


def test_narrowed_to_float64_is_the_nearest_double():
    assert narrowed(np.array([1 / 3]), np.array([1e-17]), "float64").tolist() == [1 / 3]


@pytest.mark.parametrize("dtype", FORMATS)
def test_ties_and_subnormals_are_rounded_once(dtype):
    precision, emin, emax = FORMATS[dtype]
    whole = [0, 1, 2, 3, 2 ** (precision - 1), 2**precision - 2, 2**precision - 1]
    tiny = Fraction(1, 2**200)
    parts = [0, Fraction(1, 4), Fraction(1, 2) - tiny, Fraction(1, 2), Fraction(1, 2) + tiny, Fraction(1, 3)]
    exponents = [emin - 1, emin, emin + 1, 0, emax - 1, emax]
    values = [
        sign * (top + part) * Fraction(2) ** (exponent - precision + 1)
        for sign in (1, -1) for exponent in exponents for top in whole for part in parts
    ]  # fmt: skip
    pairs = [double(fmpq(value.numerator, value.denominator))[:2] for value in values]
    high, low = map(np.array, zip(*pairs, strict=True))

    expected = [nearest(value, precision, emin, emax) for value in values]
    np.testing.assert_array_equal(narrowed(high, low, dtype), expected)
