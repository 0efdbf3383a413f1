"""Kinks: Clarke's interval of numbers, hulls of rows, and one-sided derivatives that mpmath finds by itself."""

import math

import numpy as np
import pytest
import second_opinion
from formulas import certify, formula
from mpmath import mp, mpf
from scipy.optimize import nnls
from second_opinion import Undefined, number
from shapes import shape

from lossbench import inputs, spec
from lossbench.formula import oracle
from lossbench.records import Case

LOSSES = [loss for loss in spec.load_all() if not loss.formula.has_tables]  # tables: test_tables
POINTS = 40


def interval(text, **at):
    one = certify(text, by=("x",), **at).gradient["x"]
    return float(one.lower[0]), float(one.upper[0])


def hull(text, **at):
    vertices = certify(text, by=("p",), **at).vertices["p"]
    return {tuple(vertex) for vertex in vertices[0].tolist()} if vertices else set()


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("abs(x)", 0, (-1, 1)),
        ("max(x, 0)", 0, (0, 1)),
        ("max(0, x)", 0, (0, 1)),
        ("min(x, 0)", 0, (0, 1)),
        ("min(2*x, x)", 0, (1, 2)),
        ("-abs(x)", 0, (-1, 1)),
        ("clip(x, 0, 1)", 0, (0, 1)),
        ("clip(x, 0, 1)", 1, (0, 1)),
        ("max(x, 0) - max(-x, 0)", 0, (1, 1)),
        ("max(x, 0) + min(x, 0)", 0, (1, 1)),
        ("abs(x) - abs(-x)", 0, (0, 0)),
        ("max(x, 0)**2", 0, (0, 0)),
        ("x*abs(x)", 0, (0, 0)),
        ("where(abs(x) <= 1, x**2/2, abs(x) - 1/2)", 1, (1, 1)),
        ("where(abs(x) <= 1, x**2/2, abs(x) - 1/2)", -1, (-1, -1)),
        ("where(abs(x) < 1, x**2/2, abs(x) - 1/2)", 1, (1, 1)),
        ("where(abs(x) <= 1, x**2, 3*abs(x) - 2)", 1, (2, 3)),
        ("where(x > 1/3, 2*x - 1/3, x)", 1, (2, 2)),
        ("abs(abs(x) - 2)", 2, (-1, 1)),
        ("abs(abs(x) - 2)", 0, (-1, 1)),
        ("max(x, 2*x, 0)", 0, (0, 2)),
        ("exp(abs(x))", 0, (-1, 1)),
        ("max(exp(x), 1)", 0, (0, 1)),
        ("abs(log(x))", 1, (-1, 1)),
        ("sqrt(x**2)", 0, (-1, 1)),
        ("abs(tanh(x))*3", 0, (-3, 3)),
        ("softplus(abs(x))", 0, (-0.5, 0.5)),
    ],
)
def test_interval_of(text, x, expected):
    assert interval(text, x=x) == expected


def test_a_tie_of_roots_is_a_tie():
    assert interval("max(sqrt(x)*sqrt(x), 2)", x=2) == (0, 1)


def test_a_tie_that_no_differentiated_input_moves_is_no_kink():
    found = certify("where(y > 0, x, 2*x)", by=("x",), x=1, y=0)

    assert found.gradient["x"].high == [2]
    assert found.vertices["x"] == {}


def test_a_kink_in_the_branch_that_is_not_taken_is_none():
    assert interval("where(x < 1, x, abs(x - 3)*abs(x))", x=0) == (1, 1)


def test_the_gradient_given_at_a_kink_lies_inside():
    one = certify("max(x, 0)*3", x=0).gradient["x"]

    assert one.lower[0] < one.high[0] < one.upper[0]


def test_weights_and_the_mean_scale_the_interval():
    arrays, weight = {"x": np.zeros(4)}, np.array([2.0, 1.0, 0.0, 4.0])
    one = oracle.certify(formula("abs(x)"), arrays, {}, reduction="mean", sample_weight=weight).gradient["x"]

    assert one.upper.tolist() == [0.5, 0.25, 0.0, 1.0]
    assert one.lower.tolist() == [-0.5, -0.25, 0.0, -1.0]


@pytest.mark.parametrize(
    ("text", "p", "expected"),
    [
        ("max(p)", [1, 1, 0], {(1, 0, 0), (0, 1, 0)}),
        ("max(p)", [2, 2, 2], {(1, 0, 0), (0, 1, 0), (0, 0, 1)}),
        ("min(p)", [2, 2, 3], {(1, 0, 0), (0, 1, 0)}),
        ("max(p) - min(p)", [1, 1], {(1, -1), (-1, 1)}),
        ("max(p) - p[j]", [1, 1], {(0, 0), (-1, 1)}),
        ("max(0, max(p))", [0, 0], {(0, 0), (1, 0), (0, 1)}),
        ("max(0, 1 + sum(p) - 2*p[j])", [1, 0], {(0, 0), (-1, 1)}),
        ("sum(abs(p))", [0, 5], {(1, 1), (-1, 1)}),
        ("sum(max(p, 0)) - sum(max(-p, 0))", [0, 0], set()),
        ("max(abs(p))", [1, -1], {(1, 0), (0, -1)}),
        ("norm(p)", [0, 0], {(1, 0), (-1, 0), (0, 1), (0, -1)}),
        ("norm(p)", [3, 4], set()),
        ("max(p*p)", [1, -1], {(2, 0), (0, -2)}),
    ],
)
def test_hull_of_a_row(text, p, expected):
    assert hull(text, p=[float(one) for one in p], **({"j": 0} if "[j]" in text else {})) == expected


def test_the_entry_that_a_label_names_moves_the_ties_of_a_hundred_others():
    one = certify("sum(max(0, 1 + p - p[j]))", p=[0.0, 1.0] + [0.0] * 99, j=1).gradient["p"]

    assert (one.lower[0][1], one.upper[0][1]) == (-100, 0)
    assert (one.lower[0][0], one.upper[0][0]) == (0, 1)


def test_the_box_is_wider_than_the_hull():
    found = certify("max(p)", p=[1.0, 1.0])
    corner = np.array([1.0, 1.0])

    assert np.all(corner <= found.gradient["p"].upper[0])
    assert not inside(corner, found.vertices["p"][0])
    assert inside(np.array([0.25, 0.75]), found.vertices["p"][0])


def inside(point, vertices) -> bool:
    """Whether a point is a mean of the vertices, with weights that are not negative."""
    _, distance = nnls(np.vstack([vertices.T, np.ones(len(vertices))]), np.append(point, 1.0))
    return distance < 1e-9


def test_a_norm_that_stays_zero_has_the_slope_zero():
    found = certify("norm(p*q)", by=("p",), p=[2.0, 3.0], q=[0.0, 0.0])

    assert found.gradient["p"].high.tolist() == [[0, 0]]
    assert found.vertices["p"] == {}


@pytest.mark.parametrize("text", ["min(sqrt(p))", "max(xlogy(p, onehot(j)))"])
def test_a_tie_of_entries_without_slopes_is_undefined(text):
    found = certify(text, by=("p",), p=[0.0, 0.0, 1.0], **({"j": 2} if "j" in text else {}))

    assert np.isnan(found.gradient["p"].high[0, :2]).all()


def test_the_largest_of_numbers_that_are_no_rationals_is_found():
    found = certify("max(exp(p)) + max(x, 0)", by=("p", "x"), p=[1.0, 2.0], x=0)  # the kink asks for exact answers

    assert found.gradient["p"].high.tolist() == [[0, math.exp(2)]]
    assert found.gradient["x"].upper == [1]


def test_a_long_row_with_ties_has_a_vertex_for_each():
    p = np.zeros(300)
    p[[3, 70, 299]] = 1
    vertices = certify("max(p)", p=p).vertices["p"][0]

    assert sorted(np.flatnonzero(vertex).tolist() for vertex in vertices) == [[3], [70], [299]]


def test_two_inputs_choose_their_sides_together():
    found = certify("max(x, z)", x=1, z=1)
    pairs = zip(found.vertices["x"][0].tolist(), found.vertices["z"][0].tolist(), strict=True)

    assert sorted(set(pairs)) == [(0, 1), (1, 0)]


def kinked(rows: bool):
    for loss in LOSSES:
        if loss.formula.has_rows == rows:
            yield pytest.param(loss, id=loss.name)


def certified_draw(loss):
    at = shape(loss, POINTS, 3)
    case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="domain", shape=at)
    problem = inputs.draw(loss, case)
    found = oracle.certify(loss.formula, problem.arrays, problem.parameters)
    return problem, found


def exact_point(problem, index):
    at = {name: array[index].tolist() for name, array in problem.arrays.items()}
    at |= {name: np.asarray(value).tolist() for name, value in problem.parameters.items()}
    return second_opinion.exactly(at)


@pytest.mark.parametrize("loss", kinked(rows=False))
def test_intervals_of_specs_are_one_sided_derivatives(loss):
    problem, found = certified_draw(loss)
    for name, vertices in found.vertices.items():
        one = found.gradient[name]
        for index in vertices:
            with mp.workdps(second_opinion.DIGITS):
                at, text = exact_point(problem, index), loss.formula_text.definition
                try:
                    sides = sorted(second_opinion.derivative(text, at, name, side=side) for side in (-1, 1))
                except Undefined:
                    continue
                ends = (float(one.lower[index]), float(one.upper[index]))

                largest = max(map(abs, sides))
                assert max(abs(a - b) for a, b in zip(ends, sides, strict=True)) < mpf(2) ** -50 * (1 + largest)


@pytest.mark.parametrize("loss", [one for one in kinked(rows=True) if one.values[0].properties.convex])
def test_hulls_of_convex_specs_support_the_slope_in_every_direction(loss):
    problem, found = certified_draw(loss)
    random = np.random.default_rng(0)
    (name,) = found.vertices
    for index, vertices in found.vertices[name].items():
        at, text = exact_point(problem, index), loss.formula_text.definition
        for _ in range(8):
            way = random.integers(-64, 65, vertices.shape[1]) / 64
            with mp.workdps(second_opinion.DIGITS):
                step = mpf(10) ** -60
                moved = [x + step * number(float(d)) for x, d in zip(at[name], way, strict=True)]
                there, here = (second_opinion.evaluate(text, at | {name: row}) for row in (moved, at[name]))

                assert abs(max(vertices @ way) - (there - here) / step) < mpf(2) ** -45 * (1 + abs(vertices).max())


def test_domain_points_of_specs_have_kinks():
    kinks = {loss.name: sum(map(len, certified_draw(loss)[1].vertices.values())) for loss in LOSSES}

    assert kinks["absolute_error"] > 0
    assert kinks["hinge"] > 0
    assert kinks["squared_error"] == kinks["squared_hinge"] == 0
