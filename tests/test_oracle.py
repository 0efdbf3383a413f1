"""The certified oracle against mpmath, against the edges that specs declare, and against what is known by hand."""

import math
from fractions import Fraction

import named_axes
import numpy as np
import pytest
import second_opinion
from formulas import KINDS, certify, formula
from mpmath import mp, mpf
from second_opinion import Undefined, exactly, number
from shapes import shape

from lossbench import inputs, spec
from lossbench.formula import derivative, oracle
from lossbench.formula.batch import Batch
from lossbench.formula.node import COMPARISONS, LEAVES, LOGIC, OPS, SEQUENCES
from lossbench.records import Case

EVERY = spec.load_all()
LOSSES = [loss for loss in EVERY if not loss.formula.has_tables]
TABLES = [loss for loss in EVERY if loss.formula.has_tables]
POINTS, CLASSES = 24, 3

FORMULAS = {  # by the primitive that each is here for
    "add": "x + exp(x)",
    "sub": "log(x) - 3*x",
    "mul": "exp(x)*x",
    "div": "y/x + x/(1 + x)",
    "neg": "-exp(x)",
    "pow": "x**3 + x**y + (1 + x)**(-2) + x**0.5",
    "max": "max(x, y)*max(exp(x), 2)",
    "min": "min(x, y)*min(exp(x), 2)",
    "xlogy": "xlogy(x, y) + xlogy(y, x) + xlogy(0, x)",
    "abs": "abs(x - y)*x",
    "sign": "sign(x - y)*x**2",
    "exp": "exp(x*y)",
    "expm1": "expm1(x)",
    "log": "log(x + y)",
    "log1p": "log1p(x*x)",
    "sqrt": "sqrt(1 + x)",
    "sinh": "sinh(x)",
    "cosh": "cosh(x)",
    "tanh": "tanh(x/2)",
    "softplus": "softplus(-3*x) + softplus(x)",
    "sigmoid": "sigmoid(x) * sigmoid(-y*x)",
    "where": "x*where(x < y or x == 1, x**2, where(x != 3 and not x >= 2, exp(x), 3*x))",
    "row_sum": "sum(p*q) + mean(p)*size(p)",
    "row_max": "max(p*q)",
    "row_min": "min(p - q)",
    "logsumexp": "logsumexp(2*p)",
    "norm": "norm(p - q)",
    "threshold": "sum(sparsemax(p - q)*q) - sum(sparsemax(p)**2)",
    "pick": "exp(p)[j] + p[j]*x + log_softmax(p)[j]",
    "onehot": "sum(softmax(p)*onehot(j)) - 2*sum(p*onehot(j))",
}


def points(seed: int = 0) -> list[dict[str, object]]:
    """Random points of all variables, exact as doubles; positive, so that logs and powers are defined."""
    random = np.random.default_rng(seed)
    return [
        {
            "x": float(random.uniform(0.1, 4)),
            "z": float(random.uniform(0.1, 4)),
            "y": float(random.uniform(0.1, 4)),
            "p": random.uniform(0.1, 3, 4).tolist(),
            "q": random.uniform(0.1, 3, 4).tolist(),
            "j": int(random.integers(-1, 5)),
        }
        for _ in range(6)
    ]


def compare(definition, at, certified, index, gradients) -> int:
    """Assert that mpmath's value and derivatives lie in the enclosures; how many numbers were compared."""
    with mp.workdps(second_opinion.DIGITS):
        exact = exactly(at)
        value = second_opinion.evaluate(definition, exact)
        assert_encloses(certified.value, (index,), value, mpf(10) ** -100 * (1 + abs(value)))
        count = 1
        for name in gradients:
            one = certified.gradient[name]
            for entry in range(one.high.shape[1]) if one.high.ndim == 2 else [None]:
                place = (index,) if entry is None else (index, entry)
                if one.lower[place] < one.upper[place]:
                    continue  # a kink: tests of its own
                try:
                    slope = second_opinion.derivative(definition, exact, name, entry)
                except Undefined:
                    continue
                x = exact[name] if entry is None else exact[name][entry]
                slack = mpf(10) ** -45 * (abs(slope) + abs(value) / (abs(x) + mpf(2) ** -40) + mpf(10) ** -40)
                slack += second_opinion.STEP * abs(x)  # where the slope has a kink, its differences are that rough
                assert_encloses(one, place, slope, slack)
                count += 1
        return count


def assert_encloses(enclosure, place, value, slack):
    high, low, radius = (float(part[place]) for part in (enclosure.high, enclosure.low, enclosure.radius))
    assert math.isfinite(high), (place, high, mp.nstr(value, 20))
    assert abs(number(high) + number(low) - value) <= number(radius) + slack, (place, high, mp.nstr(value, 20))
    if abs(value) > slack * mpf(2) ** 60:
        assert high == float(value), (place, high, mp.nstr(value, 20))  # correctly rounded


def drawn(losses=LOSSES):
    for loss in losses:
        values = [{}]
        for name, parameter in loss.parameters.items():
            values += [{name: value} for value in parameter.values]
        for index, given in enumerate(values):
            yield pytest.param(loss, given, id=f"{loss.name}-{index}")


@pytest.mark.parametrize(("loss", "given"), drawn())
def test_every_spec_agrees_with_mpmath(loss, given):
    size = shape(loss, POINTS // 3 if loss.axes else POINTS, CLASSES)
    case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="domain", shape=size, parameters=given)
    problem = inputs.draw(loss, case)
    certified = oracle.certify(loss.formula, problem.arrays, problem.parameters)
    compared = 0
    for index in range(size[0]):
        at = {name: array[index].tolist() for name, array in problem.arrays.items()}
        at |= {name: np.asarray(value).tolist() for name, value in problem.parameters.items()}
        try:
            compared += compare(loss.formula_text.definition, at, certified, index, certified.gradient)
        except Undefined:
            assert not np.isfinite(certified.value.high[index])

    assert compared >= size[0]


@pytest.mark.parametrize(("loss", "given"), drawn(TABLES))
def test_every_spec_with_named_axes_agrees_with_mpmath(loss, given):
    at = shape(loss, 2, CLASSES)
    case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="domain", shape=at, parameters=given)
    problem = inputs.draw(loss, case)
    certified = oracle.certify(loss.formula, problem.arrays, problem.parameters)
    for index in (None,) if loss.batchwise else range(2):
        compare_tables(problem, certified, index)


def compare_tables(problem, certified, index):
    """Assert that mpmath's values, and the derivative by one entry of each input, lie in the enclosures."""
    loss = problem.loss
    numbers, sizes = by_axes(problem, index), loss.lengths(problem.arrays)
    text, before = loss.formula_text.definition, () if index is None else (index,)
    try:
        value = named_axes.evaluate(text, numbers, sizes)
    except Undefined:
        assert not np.isfinite(certified.value.high[before]).all()
        return
    with mp.workdps(second_opinion.DIGITS):
        for place, exact in value.entries.items():
            assert_encloses(certified.value, (*before, *place), exact, mpf(10) ** -100 * (1 + abs(exact)))
        for name, one in certified.gradient.items():
            place = tuple(np.random.default_rng(0).integers(0, one.high.shape[len(before) :]).tolist())
            if one.lower[*before, *place] == one.upper[*before, *place]:
                slope = named_axes.derivative(text, numbers, sizes, name, place)
                slack = mpf(10) ** -40 * (abs(slope) + max(map(abs, value.entries.values())) + mpf(10) ** -40)
                assert_encloses(one, (*before, *place), slope, slack)


def by_axes(problem, index):
    """One point of a batch, or all of it, as `named_axes` takes it."""
    arrays = {name: array if index is None else array[index] for name, array in problem.arrays.items()}
    found = {}
    for name, variable in problem.loss.formula.variables.items():
        array = np.asarray({**arrays, **problem.parameters}[name])
        lengths = [problem.loss.lengths(problem.arrays)[axis] for axis in variable.axes]
        found[name] = named_axes.of_array(np.broadcast_to(array, lengths), variable.axes)
    return found


@pytest.mark.parametrize("loss", TABLES, ids=lambda loss: loss.name)
def test_references_of_specs_with_named_axes_agree_with_mpmath(loss):
    for reference in loss.references[:4]:
        problem = inputs.of_point(loss, reference.at, "float64", "none")
        numbers = by_axes(problem, None if loss.batchwise else 0)
        if not np.isfinite(np.ravel(reference.value).astype(float)).all():
            with pytest.raises(Undefined):
                named_axes.evaluate(loss.formula_text.definition, numbers, loss.lengths(problem.arrays))
            continue
        value = named_axes.evaluate(loss.formula_text.definition, numbers, loss.lengths(problem.arrays))
        for written, place in zip(np.ravel(reference.value).tolist(), sorted(value.entries), strict=True):
            assert_close(written, value.entries[place])


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.accumulated], ids=lambda loss: loss.name)
def test_references_of_streams_agree_with_mpmath(loss):
    for reference in loss.references:
        arrays = inputs.of_point(loss, reference.at, "float64", "mean").arrays
        points = [
            {name: array[index].tolist() for name, array in arrays.items()} for index in range(len(arrays["value"]))
        ]
        texts = loss.formula_text.definition, loss.formula_text.divisor
        with mp.workdps(second_opinion.DIGITS):
            total, divisor = (mp.fsum(second_opinion.evaluate(text, exactly(at)) for at in points) for text in texts)
            assert_close(reference.value, total / divisor)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not loss.accumulated], ids=lambda loss: loss.name)
def test_references_of_specs_agree_with_mpmath(loss):
    text, compared = loss.formula_text.definition, 0
    if loss.accumulated:
        assert all(assert_close(one.value, mean_by_mpmath(loss, one.at)) is None for one in loss.references)
        return
    for reference in loss.references:
        problem = inputs.of_point(loss, reference.at, "float64", "none")
        at = {name: array[0].tolist() for name, array in problem.arrays.items()}
        exact = exactly(at | {name: np.asarray(value).tolist() for name, value in problem.parameters.items()})
        if not math.isfinite(float(reference.value)):
            with pytest.raises(Undefined):
                second_opinion.evaluate(text, exact)
            continue
        assert_close(reference.value, second_opinion.evaluate(text, exact))
        compared += 1
        name = loss.formula.differentiated[0]
        slopes = reference.gradient[name] if isinstance(reference.gradient, dict) else reference.gradient
        for entry, slope in enumerate(slopes) if isinstance(slopes, list) else [(None, slopes)]:
            if str(slope)[0] == "[" or not math.isfinite(float(slope)):
                continue  # a kink or a pole
            try:
                assert_close(slope, second_opinion.derivative(text, exact, name, entry))
            except Undefined:
                continue  # the end of the domain

    assert compared or not loss.references


def mean_by_mpmath(loss, at):
    """The sum of the losses over the sum of their divisors."""
    arrays = inputs.of_point(loss, at, "float64", "mean").arrays
    points = [exactly({name: array[index].tolist() for name, array in arrays.items()}) for index in range(4)]
    texts = (loss.formula_text.definition, loss.formula_text.divisor)
    total, divisor = (sum(second_opinion.evaluate(text, point) for point in points) for text in texts)
    return total / divisor


def assert_close(written, value):
    with mp.workdps(second_opinion.DIGITS):
        assert abs(mpf(str(written)) - value) <= mpf(10) ** -24 * abs(value) + mpf(10) ** -50


def edges():
    for loss in EVERY:
        for index, edge in enumerate(loss.edges):
            if edge.status == "required":
                yield pytest.param(loss, edge, id=f"{loss.name}-{index}")


@pytest.mark.parametrize(("loss", "edge"), edges())
def test_required_edges_are_what_the_oracle_says(loss, edge):
    problem = inputs.of_point(loss, edge.at, "float64", edge.reduction)
    certified = oracle.certify(
        loss.formula,
        problem.arrays,
        problem.parameters,
        reduction=edge.reduction,
        sample_weight=problem.sample_weight,
    )
    gradients = {} if edge.gradient is None else edge.gradient
    if not isinstance(gradients, dict):
        gradients = {next(iter(certified.gradient)): gradients}

    assert_declared(edge.value, certified.value)
    for name, declared in gradients.items():
        assert_declared(declared, certified.gradient[name])


def assert_declared(declared, enclosure):
    texts = np.array(declared, dtype=object).ravel()
    assert len(texts) == enclosure.high.size
    for text, high, lower, upper in zip(
        texts, enclosure.high.ravel(), enclosure.lower.ravel(), enclosure.upper.ravel(), strict=True
    ):
        low_end, high_end = str(text).strip("[]").split(",") if str(text).startswith("[") else (text, text)
        np.testing.assert_equal((lower, upper), (oracle.constant(str(low_end))[0], oracle.constant(str(high_end))[0]))
        assert lower <= high <= upper or math.isnan(high)


@pytest.mark.parametrize("text", FORMULAS.values(), ids=FORMULAS)
def test_every_primitive_agrees_with_mpmath(text):
    assert check(text) >= 12


def check(text) -> int:
    one = formula(text)
    compared = 0
    for at in points():
        at = {name: value for name, value in at.items() if name in one.names}
        arrays = {name: np.array([value], int if name == "j" else float) for name, value in at.items()}
        certified = oracle.certify(one, arrays, {})
        compared += compare(text, at, certified, 0, certified.gradient)
    return compared


def test_every_primitive_has_a_formula_here():
    of_other_axes = {*SEQUENCES, "index", "other"}  # in test_tables
    with_a_derivative = {*OPS} - {*LEAVES, *COMPARISONS, *LOGIC, *of_other_axes}

    assert set(FORMULAS) == with_a_derivative


@pytest.mark.parametrize("op", sorted(set(FORMULAS) - {"onehot"}))  # which depends on nothing that is differentiated
def test_a_wrong_derivative_rule_is_noticed(op, monkeypatch):
    right = derivative._pulled_back

    def wrong(graph, node, position, adjoint):
        factor = graph.number(Fraction(9, 8)) if node.op == op else graph.number(1)
        if node.op == op == "sign":
            return adjoint
        return graph.mul(factor, right(graph, node, position, adjoint))

    monkeypatch.setattr(derivative, "_pulled_back", wrong)

    with pytest.raises(AssertionError):
        check(FORMULAS[op])


@pytest.mark.parametrize("op", sorted(derivative._SLOPES))
def test_a_wrong_slope_is_noticed(op, monkeypatch):
    right = derivative._SLOPES[op]

    def wrong(graph, node, factor):
        return factor if op == "sign" else graph.neg(right(graph, node, factor))

    monkeypatch.setitem(derivative._SLOPES, op, wrong)

    with pytest.raises(AssertionError):
        check(FORMULAS[op])


@pytest.mark.parametrize(
    ("text", "at", "value", "slope"),
    [
        ("log(x)", {"x": 0}, -math.inf, math.inf),
        ("log1p(x)", {"x": -1}, -math.inf, math.inf),
        ("sqrt(x)", {"x": 0}, 0, math.inf),
        ("exp(x)", {"x": -math.inf}, 0, 0),
        ("exp(x)", {"x": math.inf}, math.inf, math.inf),
        ("tanh(x)", {"x": math.inf}, 1, 0),
        ("log(cosh(x))", {"x": -math.inf}, math.inf, -1),
        ("softplus(x) - x*y", {"x": math.inf, "y": 1}, 0, 0),
        ("softplus(x) - x*y", {"x": math.inf, "y": 0.5}, math.inf, 0.5),
        ("x - x", {"x": math.inf}, 0, 0),
        ("x*exp(-x)", {"x": math.inf}, 0, 0),
        ("exp(x)/(1 + exp(x))", {"x": math.inf}, 1, 0),
        ("(1 - tanh(x))**0.5", {"x": math.inf}, 0, 0),
        ("x*y", {"x": math.inf, "y": 0}, 0, 0),
        ("y*log(x)", {"x": 0, "y": 0}, 0, 0),
        ("xlogy(y, x)", {"x": 0, "y": 0}, 0, 0),
        ("x*log(x)", {"x": 0}, 0, -math.inf),
        ("x**2/x", {"x": 0}, 0, 1),
        ("expm1(x)/x", {"x": 0}, 1, 0.5),
        ("x**c", {"x": 0, "c": 2}, 0, 0),
        ("x**c*log(x)", {"x": 0, "c": 0.5}, 0, -math.inf),
        ("(1 - x)**c*log(x)", {"x": 1, "c": 0.5}, 0, 0),
        ("(1 - x)**c*log(x)", {"x": 1, "c": 0}, 0, 1),
        ("(1 - x)**c*log(x)", {"x": 0, "c": 0}, -math.inf, math.inf),
        ("x**(-2)", {"x": 0}, math.inf, math.nan),
        ("1/x", {"x": 0}, math.nan, math.nan),
        ("y/x - y/x", {"x": 0, "y": 1}, 0, 0),
        ("abs(x - y)/abs(y)", {"x": 2, "y": 0}, math.inf, math.inf),
        ("x/y", {"x": 2, "y": 0}, math.nan, math.nan),
        ("log(x)", {"x": -1}, math.nan, math.nan),
        ("sqrt(x)", {"x": -1}, math.nan, math.nan),
        ("x - y", {"x": math.inf, "y": math.inf}, math.nan, math.nan),
        ("x**2", {"x": math.nan}, math.nan, math.nan),
        ("max(x, 0)", {"x": math.nan}, math.nan, math.nan),
        ("where(y > 0, log(x), x)", {"x": -1, "y": 0}, -1, 1),
        ("where(y > 0, 0, log(x))", {"x": math.nan, "y": 1}, 0, 0),
        ("where(y > 0, 2*x, x/y)", {"x": 3, "y": 0}, math.nan, math.nan),
        ("where(x > 0, log(x), 7)", {"x": -math.inf}, 7, 0),
        ("1/where(x > 0, x, 2)", {"x": -1}, 0.5, 0),
        ("x**y", {"x": -0.75, "y": 5.5}, math.nan, math.nan),
        ("sigmoid(x)**y", {"x": 0, "y": -1e300}, math.inf, -math.inf),
        ("x + 3**c", {"x": 1, "c": -1e300}, 1, 1),
        ("x + 1/(y*y)**c", {"x": -1, "y": math.inf, "c": 1e300}, -1, 1),
    ],
)
def test_limits_poles_and_branches(text, at, value, slope):
    found = certify(text, by=("x",), **at)

    np.testing.assert_equal(found.value.high, [float(value)])
    np.testing.assert_equal(found.gradient["x"].high, [float(slope)])


@pytest.mark.parametrize(
    ("text", "at", "value", "gradient"),
    [
        ("logsumexp(p) - p[j]", {"p": [math.inf, 0, 1], "j": 0}, 0, [0, 0, 0]),
        ("logsumexp(p) - p[j]", {"p": [math.inf, 0, 1], "j": 1}, math.inf, [1, -1, 0]),
        ("logsumexp(p) - p[j]", {"p": [-math.inf, 0], "j": 0}, math.inf, [-1, 1]),
        ("logsumexp(p) - p[j]", {"p": [-math.inf, 0], "j": 1}, 0, [0, 0]),
        ("logsumexp(p) - p[j]", {"p": [-math.inf, -math.inf], "j": 1}, math.nan, [math.nan, math.nan]),
        ("logsumexp(p) - p[j]", {"p": [math.inf, math.inf], "j": 1}, math.nan, [math.nan, math.nan]),
        ("logsumexp(p)", {"p": [math.inf, math.inf]}, math.inf, [math.nan, math.nan]),
        ("-sum(q*log(p))", {"p": [1, 0], "q": [1, 0]}, 0, [-1, 0]),
        ("-sum(xlogy(q, p))", {"p": [0, 1], "q": [1, 0]}, math.inf, [-math.inf, 0]),
        ("sum(p*q)/(norm(p)*norm(q))", {"p": [0, 0], "q": [3, 4]}, math.nan, [math.nan, math.nan]),
        ("where(j == 7, 0, sum(p*q)/sum(p))", {"p": [math.nan, 0], "q": [1, 1], "j": 7}, 0, [0, 0]),
        ("where(j == 7, 0, sum(p)*exp(p)[j])", {"p": [math.inf, 0], "j": 7}, 0, [0, 0]),
        ("sum(where(q == 0, 0, q*p))", {"p": [-math.inf, 2], "q": [0, 1]}, 2, [0, 1]),
    ],
)
def test_limits_poles_and_branches_of_rows(text, at, value, gradient):
    found = certify(text, by=("p",), **at)

    np.testing.assert_equal(found.value.high, [float(value)])
    np.testing.assert_equal(found.gradient["p"].high, [[float(one) for one in gradient]])


def test_bits_are_added_until_the_rounding_is_decided():
    found = certify("log1p(exp(x)) - x", x=700.0)  # exp(-700), the 304th decimal of the first term

    assert found.value.high == [math.exp(-700)]
    assert found.value.radius[0] <= 1e-323  # the smallest double, and one more


def test_a_number_that_no_bits_decide_keeps_an_infinite_radius():
    found = certify("log(1 - sigmoid(x))", x=1e300)

    assert np.isnan(found.value.high[0])
    assert np.isinf(found.value.radius[0])


@pytest.mark.parametrize("text", ["log(2*pi*x)", "(x - pi)*exp(pi*x)", "where(x < pi, pi*x**2, x**pi)", "sum(p**pi)"])
def test_pi_is_the_real_number(text):
    assert check(text) >= 12


def test_what_the_nearest_double_of_pi_leaves_is_exact():
    found = certify("x - pi", x=math.pi).value
    high, low = oracle.constant("pi")

    with mp.workdps(60):
        rest = mpf(math.pi) - mp.pi
        assert found.high == [float(rest)]
        assert abs(mpf(found.high[0]) + mpf(found.low[0]) - rest) < mpf(2) ** -150
        assert high == math.pi
        assert abs(low + rest) < mpf(2) ** -100


def test_a_power_of_zero_is_one_even_of_nan():
    assert certify("x**y", by=(), x=math.nan, y=0).value.high == [1]


def test_an_overflowing_ball_of_unknown_sign_is_no_infinity():
    found = certify("min(sum(sinh(p)), y)", p=[-1e300, 1e300, -40.0], y=0.0)

    assert np.isnan(found.value.high[0])
    assert np.isinf(found.value.radius[0])


def test_what_is_below_every_double_keeps_a_radius():
    found = certify("exp(x)", x=-1e300)

    assert (found.value.high[0], found.value.radius[0]) == (0.0, 5e-324)


@pytest.mark.parametrize("lead", [1e4, 1e5, 1e30, 1e300])
@pytest.mark.parametrize("gamma", [0.5, 0.3, 2.0])
def test_a_logit_far_ahead_leaves_a_focal_loss_of_nothing(lead, gamma):
    found = certify("-((1 - softmax(p))**c*log_softmax(p))[j]", p=[lead, 0.0], j=0, c=gamma)

    assert (found.value.high[0], found.value.radius[0]) == (0.0, 5e-324)
    assert found.gradient["p"].high.tolist() == [[0, 0]]
    assert np.all(found.gradient["p"].radius == 5e-324)


@pytest.mark.parametrize("power", ["sqrt(1 - sigmoid(x))", "(1 - sigmoid(x))**0.3"])
def test_a_root_of_what_no_bits_tell_from_zero_is_zero(power):
    found = certify(power, x=1e5)

    assert (found.value.high[0], found.value.radius[0]) == (0.0, 5e-324)


def test_a_tiny_slope_beside_one_that_needs_a_limit_stays():
    found = certify("sqrt(x) + z**2/z", x=1e300, z=0)

    assert found.gradient["x"].high == [5e-151]
    assert found.gradient["z"].high == [1]


def test_a_sum_cancels_without_error():
    values = np.array([1e308, 1.0, -1e308, 2.0**-1000])
    total = oracle.certify(formula("x"), {"x": values}, {}, reduction="sum")

    assert (total.value.high, total.value.low) == (1.0, 2.0**-1000)
    assert total.gradient["x"].high.tolist() == [1.0] * 4


def test_the_mean_divides_by_the_divisors_and_not_by_the_weights():
    one = formula("where(j == 9, 0, x**2)", divisor="where(j == 9, 0, 1)")
    arrays = {"x": np.array([1.0, 2.0, 5.0, 7.0]), "j": np.array([0, 1, 9, 2])}
    weight = np.array([3.0, 0.0, 1.0, 1.0])
    found = oracle.certify(one, arrays, {}, reduction="mean", sample_weight=weight)

    assert found.value.high == float(Fraction(52, 3))
    assert found.gradient["x"].high.tolist() == [2.0, 0.0, 0.0, float(Fraction(14, 3))]


@pytest.mark.parametrize(("reduction", "expected"), [("mean", math.nan), ("sum", 0.0)])
def test_an_empty_batch_has_a_sum_and_no_mean(reduction, expected):
    found = oracle.certify(formula("sum(p)"), {"p": np.zeros((0, 3))}, {}, reduction=reduction)

    np.testing.assert_equal(float(found.value.high), expected)
    assert found.gradient["p"].high.shape == (0, 3)


def test_the_mean_over_nothing_but_ignored_rows_is_undefined():
    one = formula("where(j == 9, 0, x)", divisor="where(j == 9, 0, 1)")
    found = oracle.certify(one, {"x": np.ones(2), "j": np.array([9, 9])}, {}, reduction="mean")

    assert np.isnan(found.value.high)
    assert np.isnan(found.gradient["x"].high).all()


def test_a_weight_of_zero_removes_an_infinite_loss():
    found = oracle.certify(formula("log(x)"), {"x": np.array([0.0, 1.0])}, {}, sample_weight=np.array([0.0, 1.0]))

    assert found.value.high.tolist() == [0.0, 0.0]
    assert found.gradient["x"].high.tolist() == [0.0, 1.0]


def test_a_long_row_is_a_row():
    logits = np.linspace(-30, 30, 1000)
    found = certify("logsumexp(p) - p[j]", p=logits, j=3)
    expected = np.exp(logits - np.logaddexp.reduce(logits))
    expected[3] -= 1

    np.testing.assert_allclose(found.gradient["p"].high[0], expected, rtol=1e-10)
    assert abs(math.fsum(found.gradient["p"].high[0])) < 1e-15


def test_many_points_are_as_one():
    x = np.random.default_rng(1).normal(size=5000)
    x[::7] = 0
    together = oracle.certify(formula("abs(x)*exp(x)"), {"x": x}, {})
    for index in (0, 1, 4095, 4096, 4999):
        alone = certify("abs(x)*exp(x)", x=x[index])

        assert together.value.high[index] == alone.value.high[0]
        for part in ("high", "low", "lower", "upper"):
            assert getattr(together.gradient["x"], part)[index] == getattr(alone.gradient["x"], part)[0]


def test_the_straight_line_and_the_point_agree():
    for text in FORMULAS.values():
        one = formula(text)
        for at in points(2):
            arrays = {name: np.array([at[name]], int if name == "j" else float) for name in one.names}
            batch = Batch(one, arrays, {}, None)
            (fast,) = batch.straight(batch.program, np.arange(1), 128, with_gradient=True)
            slow = batch.solved(batch.program, 0, oracle.ONE, oracle.ONE, with_gradient=True)
            flat = [one for part in fast for one in (part if isinstance(part, list) else [part])]

            for ball, exact in zip(flat, [slow.value, *slow.sides[0]], strict=True):
                assert ball.overlaps(oracle.ball(exact))


@pytest.mark.parametrize(
    ("text", "expected"), [("log(2)", math.log(2)), ("1/3", 1 / 3), ("-inf", -math.inf), (" 2**-1000/2**74", 5e-324)]
)
def test_constants(text, expected):
    assert oracle.constant(text)[0] == expected


def test_constants_have_a_remainder():
    high, low = oracle.constant("1/3")

    assert Fraction(high) + Fraction(low) - Fraction(1, 3) < Fraction(1, 2**106)


def test_kinds_of_the_formulas_here_cover_the_language():
    assert set(KINDS.values()) == {"real", "row", "label"}
