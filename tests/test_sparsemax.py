"""The projection onto the simplex: exact at rationals, against bisection in mpmath, and its kinks."""

import math
from fractions import Fraction

import named_axes
import numpy as np
import pytest
from formulas import certify, formula
from mpmath import mp
from second_opinion import number
from tables import certified
from tables import formula as table_formula

from lossbench.formula import floats, oracle

LOSS = "s = sparsemax(p)\nsum(p*s) - sum(s*s)/2 + 1/2 - p[j]"


def entries(p):
    """Every entry of the projection of a row, certified."""
    one = formula("sparsemax(p)[j]")
    size = len(p)
    found = oracle.certify(one, {"p": np.array([p] * size, float), "j": np.arange(size)}, {})
    return found.value, found.gradient["p"]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([3.0], [1]),
        ([0.5, 0.25, 0.0], ["7/12", "1/3", "1/12"]),
        ([2.0, 0.0, 0.0], [1, 0, 0]),
        ([1.0, 1.0, -5.0], ["1/2", "1/2", 0]),
        ([0.0, 0.0, 0.0, 0.0], ["1/4", "1/4", "1/4", "1/4"]),
        ([1e300, 1e300, -1e300], ["1/2", "1/2", 0]),
        ([1.0, 0.0], [1, 0]),
        ([math.inf, 0.0], [1, 0]),
        ([-math.inf, 0.5, 0.25], [0, "5/8", "3/8"]),
    ],
)
def test_projection_of(p, expected):
    value, _ = entries(p)

    assert value.high.tolist() == [float(Fraction(one)) for one in expected]


@pytest.mark.parametrize("p", [[math.nan, 0.0], [-math.inf, -math.inf], [math.inf, math.inf]])
def test_no_projection_of(p):
    assert np.isnan(entries(p)[0].high).any()


@pytest.mark.parametrize("offset", [0.0, 1e6, -3e15])
@pytest.mark.parametrize("size", [2, 3, 8, 40])
def test_projections_agree_with_bisection(size, offset):
    p = np.random.default_rng(size).normal(size=size) * 0.7 + offset
    value, _ = entries(p.tolist())
    with mp.workdps(50):
        for index, exact in enumerate(named_axes.projected([number(one) for one in p.tolist()])):
            assert abs(number(value.high[index]) + number(value.low[index]) - exact) < mp.mpf(10) ** -30


def test_projections_of_irrational_rows_agree_with_bisection():
    found = [certify("sparsemax(exp(p) + sqrt(q))[j]", p=[0.1, 0.7, -1.0], q=[2.0, 0.5, 3.0], j=j) for j in range(3)]
    with mp.workdps(60):
        row = [mp.exp(number(p)) + mp.sqrt(number(q)) for p, q in ((0.1, 2.0), (0.7, 0.5), (-1.0, 3.0))]
        for one, exact in zip(found, named_axes.projected(row), strict=True):
            assert abs(number(float(one.value.high[0])) + number(float(one.value.low[0])) - exact) < mp.mpf(10) ** -30


def test_the_gradient_of_an_entry_is_spread_over_the_support():
    _, gradient = entries([0.5, 0.25, 0.0, -9.0])

    thirds = [[2, -1, -1, 0], [-1, 2, -1, 0], [-1, -1, 2, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient.high, np.array(thirds) / 3)


def test_at_the_edge_of_the_support_an_entry_has_two_sides():
    found = certify("sparsemax(p)[j]", p=[1.0, 0.0], j=1)

    assert {tuple(one) for one in found.vertices["p"][0].tolist()} == {(0, 0), (-0.5, 0.5)}


def test_at_the_edge_of_the_support_the_loss_is_smooth():
    found = certify(LOSS, by=("p",), p=[1.0, 0.0, 0.0], j=2)

    assert found.value.high == 1
    assert found.gradient["p"].high.tolist() == [[1, 0, -1]]
    assert found.vertices["p"] == {}


def test_the_gradient_of_the_loss_is_the_projection_less_the_target():
    p = np.random.default_rng(3).normal(size=(50, 5))
    found = oracle.certify(formula(LOSS), {"p": p, "j": np.zeros(50, int)}, {})
    projected, _ = zip(*(entries(row) for row in p.tolist()), strict=True)

    expected = np.stack([one.high for one in projected]) - np.eye(5)[0]
    np.testing.assert_allclose(found.gradient["p"].high, expected, 1e-15, 1e-15)


def test_rows_and_tables_agree():
    text = 'sum(sparsemax(t, "class")**2*t, "class")'
    rows = np.array([[1.0, 0.5, 0.5, -2.0], [0.0, 1.0, 0.0, 3.0], [2.0, 1.5, 1.75, 1.25]])
    table = certified(table_formula(f'sum({text}, "time")'), {"t": rows})
    alone = oracle.certify(formula("sum(sparsemax(p)**2*p)"), {"p": rows}, {}, reduction="sum")

    assert table.value.high[0] == alone.value.high
    np.testing.assert_array_equal(table.gradient["t"].high[0], alone.gradient["p"].high)
    np.testing.assert_array_equal(table.gradient["t"].lower[0], alone.gradient["p"].lower)


def test_thresholds_in_floats():
    p = np.random.default_rng(0).normal(size=(200, 6)) + np.arange(200)[:, None] * 1e3
    found = floats.threshold(p)

    np.testing.assert_allclose(np.maximum(p - found[:, None], 0).sum(axis=1), 1, 1e-9)
