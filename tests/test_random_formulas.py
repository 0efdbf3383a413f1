"""Random formulas at ordinary, special and extreme points: the oracle against mpmath, kernels against the oracle."""

import math
import random
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
import random_formulas
import second_opinion
from flint import arb, ctx, fmpq
from formulas import KINDS, formula
from mpmath import mp, mpf
from random_formulas import CLASSES, EXTREME, ORDINARY, SPECIAL
from second_opinion import Undefined, exactly, number
from test_kernel import of_formula

from lossbench.errors import SpecError
from lossbench.formula import oracle
from lossbench.formula.batch import Batch
from lossbench.formula.exact import Evaluator
from lossbench.formula.extended import Undecided, ball, is_infinite, is_nan

DIGITS = 1400
NEAR, NEARER = mpf(10) ** -900, mpf(10) ** -920  # steps below every gap that extreme doubles leave
SMALL = mpf(10) ** -340


@pytest.mark.parametrize("seed", range(8))
def test_enclosures_of_random_formulas_hold_what_mpmath_finds(seed):
    choose = random.Random(seed).choice
    held = 0
    for _ in range(40):
        text = random_formulas.number(choose, choose((1, 2, 3, 3)))
        at = random_formulas.point(choose, choose((ORDINARY, SPECIAL, ORDINARY + SPECIAL, SPECIAL + EXTREME)))
        held += assert_certified(text, at)
    assert held >= 20


def assert_certified(text, at) -> bool:
    """The oracle agrees with mpmath at one point; whether mpmath could tell."""
    try:
        one = formula(text)
    except SpecError:
        return False  # a constant division by zero, or an exponent that is differentiated
    if not set(one.names) & {"x", "z", "y", "p", "q"} or ("onehot" in text and not one.has_rows):
        return False
    arrays = {name: np.array([at[name]], int if name == "j" else float) for name in one.names if name != "c"}
    found = oracle.certify(one, arrays, {"c": at["c"]} if "c" in one.names else {})
    with mp.workdps(DIGITS):
        exact = exactly(at)
        try:
            value = second_opinion.evaluate(text, exact)
            with mp.workdps(second_opinion.DIGITS):
                rough = second_opinion.evaluate(text, exact)
        except Undefined:
            return False
        if abs(value - rough) > mpf(10) ** -60 * abs(value):
            return False  # too little is left after a cancellation
        assert_holds(found.value, (0,), value, abs(value) * mpf(10) ** -1000)
        if continuous(text, exact, one.differentiated, value):
            for name in one.differentiated:
                for entry in range(CLASSES) if KINDS[name] == "row" else (None,):
                    assert_sides(text, exact, name, entry, found.gradient[name])
        return True


def assert_holds(enclosure, place, value, slack):
    """The number lies in the enclosure, and `high` is its nearest double."""
    high, low, radius = (float(part[place]) for part in (enclosure.high, enclosure.low, enclosure.radius))
    if math.isinf(radius):
        return
    assert high in (nearest(value - slack), nearest(value + slack))
    if math.isfinite(high):
        assert abs(number(high) + number(low) - value) <= number(radius) + slack


def assert_sides(text, exact, name, entry, gradient):
    """The slopes on both sides are the gradient, or the ends of its interval; of a row they lie between these."""
    place = (0,) if entry is None else (0, entry)
    sides = [slope(text, exact, name, entry, side) for side in (-1, 1)]
    if None in sides or math.isinf(gradient.radius[place]) or math.isnan(gradient.high[place]):
        return  # nan: the arithmetic of the extended reals ends, and there is no limit
    (left, slack), (right, other) = sides
    lower, upper = float(gradient.lower[place]), float(gradient.upper[place])
    if lower == upper and abs(right - left) <= 10 * (slack + other):
        assert_holds(gradient, place, right, slack + other)
    elif entry is None:
        assert [lower, upper] == sorted((nearest(left), nearest(right)))
    else:
        for one in (left, right):
            assert lower - abs(lower) * 2**-50 <= one <= upper + abs(upper) * 2**-50


def slope(text, exact, name, entry, side):
    """The slope on one side and how exact it is; None where differences do not tell."""
    x = exact[name] if entry is None else exact[name][entry]
    found = []
    for times in (NEAR, NEARER):
        step = side * times * max(abs(x), mpf(2) ** -40)
        row = exact[name]
        new = x + step if entry is None else [*row[:entry], x + step, *row[entry + 1 :]]
        try:
            there, here = (second_opinion.evaluate(text, at) for at in (exact | {name: new}, exact))
        except Undefined:
            return None
        found.append((there - here) / step)
        noise = (abs(there) + abs(here)) * mpf(10) ** (15 - DIGITS) / abs(step)
    far, near = found
    error = abs(far - near)
    if max(noise, error) > mpf(10) ** -60 * abs(near) + SMALL:
        return None
    return near, 4 * error + noise + abs(near) * mpf(10) ** -250 + SMALL


def continuous(text, exact, names, value):
    """Whether small steps aside, in all inputs at once, hardly change the value."""
    random_ = random.Random(5)

    def moved(x):
        return x + mpf(10) ** -300 * random_.uniform(-1, 1) * max(abs(x), mpf(2) ** -40)

    for _ in range(6):
        aside = {name: list(map(moved, x)) if isinstance(x := exact[name], list) else moved(x) for name in names}
        try:
            if abs(second_opinion.evaluate(text, exact | aside) - value) > mpf(10) ** -30 * (abs(value) + 1):
                return False
        except Undefined:
            return False
    return True


def nearest(value):
    """The nearest double, subnormals too."""
    sign, mantissa, exponent, size = mpf(value)._mpf_
    if not mantissa or exponent + size < -1200:
        return 0.0
    result = math.inf
    if exponent + size < 1100:
        fraction = Fraction(mantissa) * Fraction(2) ** exponent
        with suppress(OverflowError):
            result = fraction.numerator / fraction.denominator  # Python rounds the quotient of integers correctly
    return -result if sign else result


def kernel_case(seed):
    """A formula that has a gradient and 60 points, some of them infinite or nan."""
    choose = random.Random(seed).choice
    while True:
        text = random_formulas.number(choose, 3)
        try:
            one = formula(text)
        except SpecError:
            continue
        # A literal such as 0.1 is rounded in a kernel, and then no longer equal to the exact one.
        if len(set(one.names) & {"x", "z", "p"}) > 1 and not any(part in text for part in ("0.1", "1/3", "1e-7")):
            break
    some = ORDINARY + SPECIAL
    values = (some, SPECIAL, (*some, *EXTREME), (*some, math.inf, -math.inf), (*some, math.nan))
    return text, one, [random_formulas.point(choose, values[index % 5]) for index in range(60)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(12))  # two compilations each
def test_kernels_of_random_formulas_follow_the_oracle(seed, dtype):
    text, one, points = kernel_case(seed)
    with np.errstate(over="ignore"):
        arrays = {
            name: np.array([at[name] for at in points], np.int64 if name == "j" else dtype)
            for name in one.names
            if name != "c"
        }
    wide = {name: array if name == "j" else array.astype(np.float64) for name, array in arrays.items()}
    parameters = {"c": 0.5} if "c" in one.names else {}
    exact = oracle.certify(one, wide, parameters)

    value, gradient = of_formula(text, dtype=dtype)(**arrays, **parameters)

    batch = Batch(one, wide, parameters, None)
    compared = 0
    for index in range(len(points)):
        allowed = allowance(batch, index, dtype, [batch.program.definition])
        if allowed is None:
            continue
        compared += 1
        assert_near(value[index], exact.value.high[index], allowed, (text, points[index]))
        allowed = allowance(batch, index, dtype, [batch.program.definition, *batch.program.gradients.values()])
        if allowed is not None:
            for name, got in gradient.items():
                assert_near(got[index], exact.gradient[name].high[index], allowed, (text, points[index], name))
    assert compared >= 5


def assert_near(got, exact, allowed, where):
    for one, high in zip(np.ravel(got).tolist(), np.ravel(exact).tolist(), strict=True):
        near = abs(one - high) <= allowed if math.isfinite(high) else one == high
        assert near or (math.isnan(one) and math.isnan(high)), (*where, one, high)


def allowance(batch, index, dtype, roots):
    """How far a kernel may be off; None at kinks, and where the arithmetic is undefined or leaves the dtype's range."""
    unit, largest = (2.0**-53, 1e250) if dtype == "float64" else (2.0**-24, 1e25)
    point = {name: batch._exact(name, index) for name in batch.program.kinds}
    evaluator = Evaluator(point, batch.classes, batch.program.active)
    kept, ctx.prec = ctx.prec, 640
    try:
        values = flat(evaluator.value(root) for root in roots)
        numbers = [one for one in flat(evaluator.known.values()) if type(one) in (fmpq, arb) and one != 0]
        sizes = [1.0, *(abs(float(ball(one))) for one in numbers)]
    except Undecided:
        return None
    finally:
        ctx.prec = kept
    undefined = any(map(is_nan, values))
    given = any(map(is_nan, flat(point.values())))
    if len(roots) > 1 and (evaluator.kinks or undefined):
        return None
    if undefined and (not given or any(map(is_infinite, flat(evaluator.known.values())))):
        return None  # a limit, which kernels do not look for
    if max(sizes) > largest or min(sizes) < 1 / largest:
        return None
    return 2000 * unit * max(sizes) ** 2


def flat(values):
    return [one for value in values for one in (value if isinstance(value, list) else [value])]
