"""Filters: float64 with a bound of its error, against the certified oracle, and what stays open."""

from fractions import Fraction

import numpy as np
import pytest
from formulas import formula

from lossbench import inputs, spec
from lossbench.formula import filter as filters
from lossbench.formula import oracle
from lossbench.formula.filter_bounds import FLOOR
from lossbench.records import Case

LOSSES = [loss for loss in spec.load_all() if filters.covers(loss.formula) and not loss.accumulated]
POINTS = 210
ONES = {  # by the primitive that each is here for; of a positive x and y
    "add": "x + y",
    "sub": "x - y",
    "mul": "x*y",
    "div": "x/y",
    "neg": "-x",
    "pow": "x**3 + x**2.5 + x**y + (1 + x)**(-2)",
    "sqrt": "x**0.5",
    "max": "max(x, y)",
    "min": "min(x, y)",
    "xlogy": "xlogy(x, y) + xlogy(x - x, y)",
    "abs": "abs(x - y)",
    "sign": "sign(x - y)*x",
    "exp": "exp(x - y)",
    "expm1": "expm1(x - y)",
    "log": "log(x)",
    "log1p": "log1p(x - y/8)",
    "sinh": "sinh(x - y)",
    "cosh": "cosh(x - y)",
    "tanh": "tanh(4*(x - y))",
    "softplus": "softplus(x - 9*y)",
    "sigmoid": "sigmoid(x - 9*y)",
    "where": "where(x < y and not x == 1, x, where(x >= 2 or y != 3, y*y, 1/x))",
    "pi": "pi*x/3 + log(2)",
}


def bounds(of, arrays, parameters):
    """Of every root."""
    given = {name: Fraction(float(value)) for name, value in parameters.items()}
    return filters.filter_of(of, given)({name: array.astype(np.float64) for name, array in arrays.items()})


def broken(bound, exact):
    """How many proved numbers are not where the filter says; how many it says nothing of."""
    known = np.isfinite(bound.bound)
    with np.errstate(invalid="ignore"):
        error = np.abs((exact.high - bound.estimate) + exact.low)
    outside = known & ~(error <= bound.bound + exact.radius)
    kinks = known & (exact.lower < exact.upper)
    zeros = known & (bound.estimate == 0) & (bound.bound < FLOOR) & (exact.high != 0)
    return int((outside | kinks | zeros).sum()), int((~known).sum())


def exact_of(certified, name):
    return certified.value if name == "value" else certified.gradient[name.removeprefix("gradient.")]


def drawn():
    for loss in LOSSES:
        others = {name: one.values[0] for name, one in loss.parameters.items() if one.values}
        for given in ({}, others) if others else ({},):
            yield pytest.param(loss, given, id=f"{loss.name}{'-others' * bool(given)}")


@pytest.mark.parametrize(("loss", "given"), drawn())
def test_no_bound_is_broken(loss, given):
    case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="domain", shape=(POINTS,), parameters=given)
    problem = inputs.draw(loss, case)

    found = bounds(loss.formula, problem.arrays, problem.parameters)
    certified = oracle.certify(loss.formula, problem.arrays, problem.parameters)

    for name, one in found.items():
        wrong, unknown = broken(one, exact_of(certified, name))
        assert wrong == 0, name
        assert unknown < POINTS / 2  # ties are left open, but not everything


@pytest.mark.parametrize("text", ONES.values(), ids=ONES)
def test_no_bound_of_a_primitive_is_broken_near_and_far(text):
    of = formula(text)
    random = np.random.default_rng(0)
    arrays = {name: np.ldexp(1 + random.random(200), random.integers(-40, 8, 200)) for name in of.names}

    found = bounds(of, arrays, {})
    certified = oracle.certify(of, arrays, {})

    for name, one in found.items():
        wrong, unknown = broken(one, exact_of(certified, name))
        assert wrong == 0, name
        assert unknown < 100


def test_an_exact_result_has_no_error():
    found = bounds(formula("x*y - 1"), {"x": np.array([1.5]), "y": np.array([3.0])}, {})

    assert found["value"].estimate.tolist() == [3.5]
    assert found["value"].bound.tolist() == [0.0]


def test_a_sum_that_is_rounded_is_bounded_by_its_error():
    found = bounds(formula("x + y"), {"x": np.array([1.0]), "y": np.array([2.0**-60])}, {})

    assert found["value"].estimate.tolist() == [1.0]
    assert 2.0**-60 <= found["value"].bound[0] < 2.0**-59


@pytest.mark.parametrize(("x", "y"), [(2.0, 2.0), (np.nan, 1.0), (np.inf, 1.0), (0.0, -0.0)])
def test_kinks_and_what_is_no_number_stay_open(x, y):
    found = bounds(formula("abs(x - y)", by=("x",)), {"x": np.array([x]), "y": np.array([y])}, {})

    assert np.isinf(found["gradient.x"].bound).all()


def test_a_sum_that_rounds_to_the_other_side_is_compared_exactly():
    of = formula("where(abs(x - y) <= 1, 2*x, 3*x)", by=("x",))
    found = bounds(of, {"x": np.array([2.0**-60, -(2.0**-60)]), "y": np.array([1.0])}, {})

    assert found["gradient.x"].estimate.tolist() == [2.0, 3.0]
    assert found["gradient.x"].bound.tolist() == [0.0, 0.0]


def test_a_branch_that_is_not_taken_leaves_nothing_open():
    found = bounds(formula("where(x > 0, x, log(x))", by=("x",)), {"x": np.array([3.0, 0.0])}, {})

    assert np.isfinite(found["value"].bound).tolist() == [True, False]


def test_a_guard_against_a_zero_that_may_be_none_leaves_the_result_its_bound():
    of = formula("1 + where(sigmoid(x) == 0, 0, 2*sigmoid(x)*y)", by=("x",))
    found = bounds(of, {"x": np.array([-1e4, 0.0]), "y": np.array([3.0])}, {})

    assert found["value"].estimate.tolist() == [1.0, 4.0]
    assert (found["value"].bound < 2.0**-45).all()


def test_what_is_far_below_every_double_is_known_to_be_its_zero():
    found = bounds(formula("3*softplus(x)*sigmoid(x)", by=("x",)), {"x": np.array([-1e30, -600.0])}, {})

    assert found["value"].estimate.tolist() == [0.0, 0.0]
    assert (found["value"].bound < FLOOR).all()
    assert found["value"].bound[0] > 0


def test_an_input_may_be_one_number_for_all():
    found = bounds(formula("x*y", by=("x",)), {"x": np.arange(4.0), "y": np.array([2.0])}, {})

    assert found["value"].estimate.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert found["gradient.x"].estimate.tolist() == [2.0] * 4


def test_rows_have_no_filter():
    assert not filters.covers(formula("sum(p)"))
    assert filters.covers(formula("x*y"))
