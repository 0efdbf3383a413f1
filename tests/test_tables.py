"""Named axes: the oracle against a second opinion and against NumPy, whole batches, kinks, and what is refused."""

import math
import random
from fractions import Fraction

import named_axes
import numpy as np
import pytest
from mpmath import mp, mpf
from second_opinion import DIGITS, Undefined, number
from tables import NAMES, SIZES, certified, formula, in_floats, point, random_text

from lossbench.errors import SpecError
from lossbench.formula import derivative, oracle
from lossbench.formula.graph import Graph, topological
from lossbench.formula.node import OPS, ROW_REDUCTIONS
from lossbench.formula.parse import parse

FORMULAS = {  # by what each is here for
    "sum": 'sum(sum(x*other(x, "batch"), "feature"), "other batch")*s',
    "mean": 'mean(x**2, "feature") - mean(mean(w, "class"), "feature")*s',
    "max": 'max(x, "feature") + max(sum(x*w, "feature"), "class")',
    "min": 'min(min(x*w, "class"), "feature")',
    "logsumexp": 'logsumexp(sum(x*w, "feature"), "class")',
    "norm": 'sum(norm(x - 3*other(x, "batch") - 1, "feature"), "other batch")',
    "softmax": 'pick(softmax(sum(x*w, "feature"), "class"), y, "class")',
    "log_softmax": 'pick(log_softmax(sum(x*w, "feature"), "class"), y, "class")',
    "sparsemax": 'sum(sparsemax(sum(x*w, "feature"), "class")**2*sum(w, "feature"), "class")',
    "size": 'size(x, "feature")*sum(x, "feature") + size(w, "class")*s',
    "pi": 'sum(pi*x**2, "feature") + where(s < pi, log(2*pi*exp(s)), 0)',
    "repeated": 'sum(sum(s + w, "class"), "feature")',
    "pick": 'pick(x, y - 1, "feature")*pick(sum(x*w, "feature"), y, "class") + s[y]',
    "picks of picks": 'sum(pick(sum(x*w, "feature")*s, k, "class")*sum(w, "feature"), "class")',
    "pairs": 'sum(where(y < other(y, "batch"), max(0, 1 - s + other(s, "batch")), 0), "other batch")',
    "a pair of labels": 'sum(where(y == other(y, "batch"), s*other(s, "batch"), exp(s)), "batch")',
    "masked": 'logsumexp(where(index("class") == y, log(0), sum(x*w, "feature")), "class")',
    "onehot": 'sum(onehot(y)*sum(x*w, "feature"), "class") + sum(onehot(y, "feature")*x, "feature")',
    "index": 'where(index("batch") == y + 1, s**2, s*exp(s))',
    "labels": 'where(2 - y <= index("batch") - 1 and y + y > m, s**2, s*exp(s))',
    "other": 'pick(sum(other(x*s, "batch")*x, "feature"), index("batch"), "other batch")',
    "back again": 'sum(other(other(x*s, "batch"), "other batch"), "feature")',
    "another order": 'sum(sum(t*exp(u), "class"), "time")',
    "ctc": 'ctc(log_softmax(t, "class"), l, m + 2, n, 0)*exp(pick(pick(t, m, "time"), n, "class"))',
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("text", FORMULAS.values(), ids=FORMULAS)
def test_every_function_agrees_with_the_second_opinion(text, seed):
    assert compare(text, seed, places=4)


@pytest.mark.parametrize("seed", range(8))
def test_random_formulas_agree_with_the_second_opinion(seed):
    choose = random.Random(seed).choice
    held = 0
    for index in range(10):
        text = f'{random_text(choose, choose(((), ("batch",))), choose((1, 2, 3)))} + 0*mean(s, "batch")'
        held += compare(text, index, places=2)

    assert held >= 8


def compare(text, seed, places) -> bool:
    """The oracle, mpmath, and NumPy with the axis-aware derivative say the same; whether there was a value."""
    one = formula(text)
    arrays = point(one, seed)
    parameters = {"c": 0.75} if "c" in one.names else {}
    found, rough = certified(one, arrays, **parameters), in_floats(one, arrays, **parameters)
    at = {name: named_axes.of_array(array, one.variables[name].axes) for name, array in arrays.items()}
    at |= {name: named_axes.of_array(np.array(value), ()) for name, value in parameters.items()}
    with mp.workdps(DIGITS):
        try:
            value = named_axes.evaluate(text, at, SIZES)
        except Undefined:
            return False
        for place, exact in value.entries.items():
            assert_encloses(found.value, place if value.axes else None, exact, mpf(10) ** -100)
        np.testing.assert_allclose(rough["value"], found.value.high.reshape(rough["value"].shape), 1e-9, 1e-9)
        for name, vertices in found.vertices.items():
            slopes = found.gradient[name]
            if vertices or np.any(slopes.lower != slopes.upper):
                continue  # a kink: tests of its own
            np.testing.assert_allclose(rough[name], slopes.high.reshape(rough[name].shape), 1e-8, 1e-8)
            for place in random.Random(seed).sample(sorted(at[name].entries), min(places, len(at[name].entries))):
                slope = named_axes.derivative(text, at, SIZES, name, place)
                there = place if one.batchwise else (0, *place)
                assert_encloses(slopes, there, slope, mpf(10) ** -40 * (1 + abs(slope)))
    return True


def assert_encloses(enclosure, place, exact, slack):
    parts = (enclosure.high, enclosure.low, enclosure.radius)
    high, low, radius = (float(one.ravel()[0] if place is None else one[place]) for one in parts)
    assert math.isfinite(high)
    assert abs(number(high) + number(low) - exact) <= number(radius) + slack


def test_the_formulas_here_cover_what_named_axes_are_for():
    roots = [root for text in FORMULAS.values() for one in [formula(text)] for root in one.gradients.values()]
    used = {node.op for node in topological(*roots)}

    assert {*ROW_REDUCTIONS, "index", "other", "pick", "onehot", "ctc", "ctc_occupancy", "support"} <= used <= {*OPS}


@pytest.mark.parametrize(
    ("rule", "wrong", "text"),
    [
        ("_summed", lambda graph, term, node, arg: term, "repeated"),
        ("_scattered", lambda graph, adjoint, label, axis: adjoint, "pick"),
        ("other_of", lambda axis: axis, "norm"),
        ("_shared", lambda graph, node, position, relation, factor: factor, "sparsemax"),
    ],
)
def test_a_wrong_rule_of_the_axis_aware_derivative_is_noticed(rule, wrong, text, monkeypatch):
    assert compare(FORMULAS[text], 0, places=1)
    monkeypatch.setattr(derivative, rule, wrong)

    with pytest.raises((AssertionError, ValueError)):
        compare(FORMULAS[text], 0, places=1)


def test_points_with_tables_are_certified_one_by_one():
    one = formula('pick(logsumexp(t, "time"), m, "class") - sum(sum(t*u, "class"), "time")')
    points = [point(one, seed) for seed in range(5)]
    together = oracle.certify(one, {name: np.stack([each[name] for each in points]) for name in points[0]}, {})

    assert together.value.high.shape == (5,)
    assert together.gradient["t"].high.shape == (5, 4, 3)
    assert together.gradient["u"].high.shape == (5, 3, 4)
    for index, arrays in enumerate(points):
        alone = certified(one, arrays)
        assert together.value.high[index] == alone.value.high[0]
        np.testing.assert_array_equal(together.gradient["u"].high[index], alone.gradient["u"].high[0])


def test_points_with_tables_have_weights_and_a_mean():
    one = formula('sum(sum(t, "time"), "class")', divisor="where(m == 2, 0, 1)")
    arrays = {"t": np.arange(24.0).reshape(2, 4, 3)[[0, 1, 1]], "m": np.array([0, 2, 1])}
    one_weight = np.array([1.0, 0.0, 3.0])
    found = oracle.certify(one, arrays, {}, reduction="mean", sample_weight=one_weight)

    assert found.value.high == (sum(range(12)) + 3 * sum(range(12, 24))) / 2
    assert found.gradient["t"].high[:, 0, 0].tolist() == [0.5, 0.0, 1.5]


BATCH = {"s": np.array([1.0, 2.0, 4.0]), "y": np.array([0, 1, 9])}
PAIRS = 'where(y == 9, 0, sum(s*other(s, "batch"), "other batch"))'  # 7 14 0, each row of the matrix of products
WEIGHT = np.array([3.0, 0.5, 2.0])


@pytest.mark.parametrize(
    ("reduction", "weight", "value", "gradient"),
    [
        ("none", None, [7, 14, 0], [10, 10, 3]),
        ("sum", None, 21, [10, 10, 3]),
        ("mean", None, Fraction(21, 2), [5, 5, Fraction(3, 2)]),
        ("none", WEIGHT, [21, 7, 0], [25, 7.5, 4]),
        ("sum", WEIGHT, 28, [25, 7.5, 4]),
        ("mean", WEIGHT, 14, [12.5, 3.75, 2]),
    ],
)
def test_a_whole_batch_is_reduced_with_weights_and_divisor(reduction, weight, value, gradient):
    one = formula(PAIRS, divisor="where(y == 9, 0, 1)")
    found = oracle.certify(one, BATCH, {}, reduction=reduction, sample_weight=weight)

    assert found.value.high.tolist() == (value if isinstance(value, list) else float(value))
    assert found.gradient["s"].high.tolist() == [float(slope) for slope in gradient]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_loss_that_is_one_number_for_a_batch_is_not_reduced(reduction):
    found = oracle.certify(formula('sum(s**2, "batch")'), {"s": BATCH["s"]}, {}, reduction=reduction)

    assert found.value.high.shape == ()
    assert found.value.high == 21
    assert found.gradient["s"].high.tolist() == [2, 4, 8]


def test_an_input_that_the_batch_shares_gets_the_sum_of_the_gradients():
    one = formula('sum(sum(x*w, "feature"), "class")')
    arrays = point(one, 1)
    found = certified(one, arrays)

    exact = np.array([[sum(map(Fraction, column)) for column in arrays["x"].T.tolist()]] * 3, float)
    assert found.value.high.shape == (3,)
    np.testing.assert_array_equal(found.gradient["w"].high, exact)


def test_the_value_alone_can_be_asked_for():
    found = oracle.certify(formula(PAIRS), BATCH, {}, gradient=False)

    assert found.value.high.tolist() == [7, 14, 0]
    assert found.gradient == {}


def test_a_batch_of_nothing_has_a_sum_and_no_mean():
    one = formula('sum(s*other(s, "batch"), "other batch")')
    empty = {"s": np.zeros(0)}
    values = {name: oracle.certify(one, empty, {}, reduction=name).value.high for name in ("none", "sum", "mean")}

    assert values["none"].shape == (0,)
    assert values["sum"] == 0
    assert np.isnan(values["mean"])
    assert np.isnan(oracle.certify(formula('mean(s, "batch")'), empty, {}).value.high)


def test_a_parameter_of_zero_vanishes_before_differentiating():
    found = certified(formula('sum(s**2 + c*sqrt(s), "batch")'), {"s": np.zeros(2)}, c=0.0)

    assert found.gradient["s"].high.tolist() == [0, 0]


def test_an_undefined_entry_leaves_what_it_does_not_move():
    found = certified(formula("where(y == 1, log(s), s**2)"), {"s": np.array([3.0, -1.0]), "y": np.array([0, 1])})

    np.testing.assert_equal(found.value.high, [9.0, math.nan])
    np.testing.assert_equal(found.gradient["s"].high, [6.0, math.nan])


def test_a_weight_of_zero_removes_an_infinite_loss_and_keeps_a_nan():
    arrays = {"s": np.array([0.0, math.nan, 1.0]), "x": np.zeros((3, 2))}
    one = formula('log(s) + sum(x, "feature")')
    found = oracle.certify(one, arrays, {}, sample_weight=np.array([0.0, 0.0, 2.0]))

    np.testing.assert_equal(found.value.high, [0.0, math.nan, 0.0])
    assert found.gradient["x"].high[2].tolist() == [2, 2]


def test_the_logsumexp_of_nothing_is_the_logarithm_of_zero():
    text = 'softplus(logsumexp(where(y == other(y, "batch"), log(0), s*other(s, "batch")), "other batch"))'
    found = certified(formula(text), {"s": np.array([1.0, 2.0]), "y": np.array([3, 3])})

    assert found.value.high.tolist() == [0, 0]
    assert found.gradient["s"].high.tolist() == [0, 0]


def test_infinite_entries_have_limits():
    one = formula('logsumexp(s, "batch") - max(s, "batch")')
    found = certified(one, {"s": np.array([math.inf, 0.0, 1.0])})

    assert found.value.high == 0
    assert found.gradient["s"].high.tolist() == [0, 0, 0]


def test_a_cancelling_batch_is_refined_until_it_is_decided():
    found = certified(formula('sum(s, "batch")'), {"s": np.array([1e308, 1.0, -1e308, 2.0**-1000])})

    assert (found.value.high, found.value.low) == (1.0, 2.0**-1000)


def test_a_kink_between_two_entries_has_both_sides():
    found = certified(formula('sum(max(0, s - other(s, "batch")), "other batch")'), {"s": np.array([2.0, 2.0, 5.0])})

    hull = {tuple(one) for one in found.vertices["s"][0].tolist()}
    assert hull == {(0, -2, 2), (-2, 0, 2)}
    assert (found.gradient["s"].lower.tolist(), found.gradient["s"].upper.tolist()) == ([-2, -2, 2], [0, 0, 2])


def test_vertices_of_a_table_have_its_shape():
    found = certified(formula('sum(max(t, "time"), "class")'), {"t": np.array([[1.0, 5.0], [1.0, 3.0]])})

    assert found.vertices["t"][0].shape == (2, 2, 2)
    assert {tuple(one.ravel()) for one in found.vertices["t"][0]} == {(1, 1, 0, 0), (0, 1, 1, 0)}


def test_no_distance_to_itself_is_a_kink_without_a_slope():
    found = certified(formula('sum(norm(x - other(x, "batch"), "feature"), "other batch")'), {"x": np.eye(2)})

    np.testing.assert_array_equal(found.value.high, [math.sqrt(2)] * 2)
    np.testing.assert_allclose(found.gradient["x"].high, np.array([[1, -1], [-1, 1]]) * math.sqrt(2))


REFUSED = {
    "sum(x)": 'has the axes "batch" and "feature"; name the axis: sum(x, "batch")',
    "x[y]": 'name the axis: pick(x, label, "batch")',
    "pick(x, y)": "name the axis",
    'sum(x, "class")': '`x` has no axis "class"; expected "batch" or "feature"',
    'sum(x, "room")': 'unknown axis "room"; expected "batch", "feature", "class", "time" or "position"',
    "sum(x, y)": "`y` is no axis; expected its name",
    'sum(y, "batch")': "is a label along",
    'index("room")': 'unknown axis "room"',
    "index(x)": "`x` is no axis",
    'other(y, "feature")': '`y` has no axis "feature"; expected "batch"',
    'other(c, "batch")': "expected a value with an axis",
    'other(x + other(x, "batch"), "batch")': 'has the axis "other batch" already',
    'onehot(y, "batch")': 'has the axis "batch" already',
    'exp("batch")': "is the name of an axis; expected a number or a row",
    'where("batch", 1, 2)': "is the name of an axis",
    '"batch"': "is not in the formula language",
    "s**s": 'an exponent must be one number, not a number along "batch"',
    "y < s": "a label can only be compared with a label or one number",
    "y + s": "a label takes only + and - with another label or a whole number",
    "y*2": "a label takes only + and -",
    "ctc(x, l, m, n, 0)": 'expected a number along "time" and "class"',
    "ctc(t, m, m, n, 0)": 'expected a label along "position"',
    "ctc(t, l, k, n, 0)": "expected a label without such axes",
    "ctc(t, l, m, n, c)": "`c` is a real; expected a label",
    "ctc(t, l, m, n)": "ctc does not take 4 arguments",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_wrong_with_axes_is_said_with_its_line(text):
    with pytest.raises(SpecError) as caught:
        parse(f"a = s + 1\n{text}", NAMES, Graph(), where="specs/some.toml", line=7)

    where, _, reason = str(caught.value).partition(": ")
    assert where == "specs/some.toml:8"
    assert REFUSED[text] in reason
