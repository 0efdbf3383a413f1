import ast
import inspect
import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from formulas import KINDS, formula
from shapes import shape

from lossbench import inputs, spec
from lossbench.adapters.numba import kernel, kernel_of, signature_of
from lossbench.errors import LossbenchError, Unsupported
from lossbench.formula import Formula, Graph, gradient, oracle
from lossbench.formula.elements import FAR
from lossbench.formula.graph import topological
from lossbench.formula.kernel import Signature, source
from lossbench.formula.parse import parse
from lossbench.kernels import compile as compilation
from lossbench.kernels.call import Kernel
from lossbench.kernels.given import converted
from lossbench.kernels.streams import BLOCK, LANES, SHORT, STRETCH
from lossbench.records import Case

U = 2.0**-24  # half an ulp of 1 in float32


def domain_problem(loss, **parameters):
    at = shape(loss, 60 if loss.axes else 300, 5)
    case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="domain", shape=at, parameters=parameters)
    return inputs.draw(loss, case)


def certified(problem):
    return oracle.certify(
        problem.loss.formula,
        problem.arrays,
        problem.parameters,
        reduction=problem.reduction,
        sample_weight=problem.sample_weight,
    )


def of_formula(text, *, dtype="float64", with_gradient=True, reduction="none", divisor="1"):
    """The kernel of a formula of `formulas`; c is its parameter."""
    parsed = formula(text, divisor=divisor)
    kinds = {name: KINDS[name] for name in KINDS if name in parsed.names}
    signature = Signature(
        inputs={name: kind for name, kind in kinds.items() if name != "c"},
        parameters={name: kind for name, kind in kinds.items() if name == "c"},
        differentiated=parsed.differentiated,
    )
    return Kernel(
        name="scratch",
        module=compilation.load("scratch", source(parsed, signature, dtype)),
        dtype=np.dtype(dtype),
        reduction=reduction,
        gradient=with_gradient,
        inputs=signature.inputs,
        parameters=signature.parameters,
        defaults={"c": 1.0},
        differentiated=signature.differentiated,
        count=1.0,
    )


def assert_near(got, exact, *, ulps, size):
    """*got* agrees with the enclosure to *ulps*, counted at the largest of the exact number and *size*."""
    got = np.asarray(got, np.float64).reshape(exact.high.shape)
    defined = ~np.isnan(exact.high)
    target = np.where(exact.lower < exact.upper, np.clip(got, exact.lower, exact.upper), exact.high)
    with np.errstate(over="ignore", invalid="ignore"):
        infinite = np.isinf(target.astype(np.float32))
        allowed = 2 * U * ulps * np.maximum(np.abs(target), size) + 2.0**-140
        right = np.where(infinite, got == target.astype(np.float32), np.abs(got - target) <= allowed)
    assert np.all(right[defined]), f"{got[defined & ~right][:3]} for {target[defined & ~right][:3]}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", ["pi*x", "where(x < pi, pi, x)", "sum(p)*pi", "sum(p + pi)"])  # numbers, loops of rows
def test_pi_is_the_nearest_number_of_the_dtype(text, dtype):
    arrays = {"p": np.array([[0.25, 0.5, 0.25]], dtype)} if "sum" in text else {"x": np.ones(1, dtype)}

    value, _ = of_formula(text, dtype=dtype)(**arrays)

    nearest = np.array(np.pi, dtype)
    assert value[0] == (1 + nearest * 3 if "+" in text else nearest)


@pytest.mark.parametrize("name", spec.names())
def test_value_and_gradient_of_every_loss_agree_with_the_oracle(name):
    loss = spec.load(name)
    for changed in ({}, {key: one.values[0] for key, one in loss.parameters.items() if one.values}):
        problem = domain_problem(loss, **changed)
        exact = certified(problem)
        compiled = kernel_of(loss, dtype="float32", gradient=True, reduction="none")

        value, gradient = compiled(**problem.arrays, **problem.parameters)

        moved = sum(_moved(loss, problem.arrays[key], exact.gradient[key].high) for key in gradient)
        assert_near(value, exact.value, ulps=8, size=np.maximum(moved, 1.0))
        for key, got in gradient.items():
            high = np.nan_to_num(np.abs(exact.gradient[key].high), posinf=0.0)
            largest = high.max(axis=_of_a_point(loss, high), keepdims=True)
            defined = np.isfinite(exact.gradient[key].high)
            assert_near(
                np.where(defined, got, exact.gradient[key].high),
                exact.gradient[key],
                ulps=64,
                size=np.maximum(largest, 1.0),
            )


def _moved(loss, x, slope):
    """How far the value moves when x moves by its own size."""
    with np.errstate(invalid="ignore", over="ignore"):
        product = np.nan_to_num(np.abs(x.astype(np.float64) * slope), posinf=0.0)
    return product.sum(axis=_of_a_point(loss, product))


def _of_a_point(loss, array):
    """The axes along which the numbers of one point lie; of a whole batch all."""
    return tuple(range(0 if loss.batchwise else 1, array.ndim))


@pytest.mark.parametrize("name", spec.names())
def test_the_value_alone_is_the_value_beside_the_gradient(name):
    loss = spec.load(name)
    problem = domain_problem(loss)
    given = {**problem.arrays, **problem.parameters}

    alone = kernel_of(loss, dtype="float32", gradient=False, reduction="none")(**given)
    beside, _ = kernel_of(loss, dtype="float32", gradient=True, reduction="none")(**given)

    np.testing.assert_allclose(alone, beside, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["absolute_error", "absolute_percentage_error", "hinge", "hinge_embedding", "huber", "log_cosh", "smooth_l1",
     "squared_error", "squared_hinge"],
)  # fmt: skip
def test_elementwise_losses_are_right_to_four_ulps_without_allowance(name):
    problem = domain_problem(spec.load(name))
    exact = certified(problem)

    value, gradient = kernel(name, gradient=True)(**problem.arrays, **problem.parameters)

    assert_near(value, exact.value, ulps=4, size=0.0)
    for key, got in gradient.items():
        assert_near(got, exact.gradient[key], ulps=4, size=0.0)


def finite_edges():
    for loss in spec.load_all():
        for index, edge in enumerate(loss.edges):
            if edge.status == "required" and "inf" not in str(edge.at):
                yield pytest.param(loss, edge, id=f"{loss.name}-{index}")


@pytest.mark.parametrize(("loss", "edge"), finite_edges())
def test_required_edges_come_out(loss, edge):
    problem = inputs.of_point(loss, edge.at, "float32", edge.reduction)
    exact = certified(problem)
    compiled = kernel_of(loss, dtype="float32", gradient=True, reduction=edge.reduction)

    value, gradient = compiled(**problem.arrays, **problem.parameters, sample_weight=problem.sample_weight)

    assert np.array_equal(np.isnan(value), np.isnan(exact.value.high))
    assert_near(value, exact.value, ulps=4, size=1.0)
    for key, got in gradient.items():
        assert_near(got, exact.gradient[key], ulps=4, size=1.0)


def test_a_choice_made_before_a_loop_is_not_made_again_inside():
    """In the loop only what was chosen is there: the norm was computed where it was taken, and is not known."""
    text = "length = where(c == 2, norm(p), sum(abs(p)))\nsum(where(c == 2, p/length, p**2/length))"
    compiled = of_formula(text)

    assert compiled(p=np.array([[3.0, 4.0]]), c=2.0)[0] == [1.4]
    assert compiled(p=np.array([[1.0, 3.0]]), c=1.0)[0] == [2.5]


def test_a_branch_not_taken_is_not_evaluated_into_nan():
    value, gradient = of_formula("where(x > 0, log(x), 0)")(x=np.array([-1.0, 1.0]))

    assert list(value) == [0, 0]
    assert list(gradient["x"]) == [0, 1]


def test_a_comparison_with_nan_is_nan_in_value_and_gradient():
    value, gradient = of_formula("max(0, 1 - x*y)")(x=np.array([np.nan, 2.0]), y=np.array([1.0, np.nan]))

    assert np.isnan(value).all()
    assert np.isnan(gradient["x"]).all()


@pytest.mark.parametrize(
    ("condition", "x", "y", "expected"),
    [
        ("x == 0 or y == 0", 0, math.nan, 1),
        ("x == 0 or y == 0", math.nan, 0, 1),
        ("x == 0 or y == 0", 1, math.nan, math.nan),
        ("x == 0 and y == 0", 1, math.nan, 2),
        ("x == 0 and y == 0", 0, math.nan, math.nan),
        ("not (x != 0 and y < 1)", 0, math.nan, 1),
        ("x == 0 or x == 1", math.nan, 0, math.nan),
        ("x == 0 and y == 0", 1, 0, 2),
    ],
)
def test_a_condition_that_nan_leaves_open_is_nan_as_in_the_oracle(condition, x, y, expected):
    given = {"x": np.array([x], float), "y": np.array([y], float)}
    text = f"where({condition}, 1, 2) + 0*y" if "y" not in condition else f"where({condition}, 1, 2)"
    parsed = formula(text, by=("x",))
    given = {name: given[name] for name in parsed.names}

    value = of_formula(text, with_gradient=False)(**given)

    np.testing.assert_equal(value, [float(expected)])
    np.testing.assert_equal(oracle.certify(parsed, given, {}).value.high, [float(expected)])


def test_a_power_of_nan_is_nan():
    x, y = np.array([1.0, np.nan, 2.0]), np.array([np.nan, 2.0, 3.0])

    np.testing.assert_equal(of_formula("x**y", with_gradient=False)(x=x, y=y), [np.nan, np.nan, 8.0])


def test_elementary_functions_are_exact_at_their_ends():
    ends = np.array([-np.inf, np.inf, np.nan, 0.0])

    assert np.array_equal(of_formula("softplus(x)", with_gradient=False)(x=ends)[:2], [0, np.inf])
    assert np.array_equal(of_formula("sigmoid(x)", with_gradient=False)(x=ends)[[0, 1, 3]], [0, 1, 0.5])
    assert np.array_equal(of_formula("log(x)", with_gradient=False)(x=ends)[[1, 3]], [np.inf, -np.inf])
    assert np.array_equal(of_formula("xlogy(x, x)", with_gradient=False)(x=ends)[[1, 3]], [np.inf, 0])
    assert np.array_equal(of_formula("exp(x)", with_gradient=False)(x=ends)[[0, 1, 3]], [0, np.inf, 1])
    for text in ("softplus(x)", "sigmoid(x)", "log(x)", "xlogy(x, x)", "exp(x)", "abs(x)", "sign(x)", "max(x, 1)"):
        assert np.isnan(of_formula(text, with_gradient=False)(x=ends)[2])


def test_a_certain_class_keeps_the_digits_of_the_rest():
    value, gradient = of_formula("logsumexp(p) - p[j]")(p=np.array([[1020.0, 980.0, 1000.0]]), j=np.array([0]))

    rest = math.exp(-40) + math.exp(-20)
    assert value[0] == pytest.approx(math.log1p(rest), rel=1e-15)
    assert gradient["p"][0, 1] == pytest.approx(math.exp(-40) / (1 + rest), rel=1e-15)


def test_an_infinite_logit_is_a_limit():
    rows = np.array([[np.inf, 0.0], [0.0, -np.inf]])

    value, gradient = of_formula("logsumexp(p) - p[j]")(p=rows, j=np.array([0, 0]))

    assert list(value) == [0, 0]
    assert gradient["p"].tolist() == [[0, 0], [0, 0]]


def test_a_label_outside_of_the_classes_picks_zero():
    value = of_formula("p[j] + 1", with_gradient=False)(p=np.ones((3, 2)), j=np.array([2, -1, 1]))

    assert list(value) == [1, 1, 2]


@pytest.mark.parametrize("size", [2.0**1020, 1.0, 2.0**-1000, 2.0**-1074])
def test_norms_neither_overflow_nor_vanish(size):
    value = of_formula("norm(p)", with_gradient=False)(p=np.array([[3 * size, -4 * size]]))

    assert value[0] == 5 * size


def test_ties_share_the_gradient_of_a_maximum():
    _, gradient = of_formula("max(p)")(p=np.array([[1.0, 2.0, 2.0]]))

    assert gradient["p"].tolist() == [[0, 0.5, 0.5]]


def test_nested_conditions_over_rows_follow_the_oracle():
    text = "sum(where(p > 0, where(p > q, p*exp(q), q**3), where(q > 0, log1p(q), p/(2 + exp(p)))))"
    p, q = np.random.default_rng(0).normal(size=(2, 40, 4))
    exact = oracle.certify(formula(text, by=("p",)), {"p": p, "q": q}, {})

    value, gradient = of_formula(text)(p=p, q=q)

    np.testing.assert_allclose(value, exact.value.high, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(gradient["p"], exact.gradient["p"].high, rtol=1e-14, atol=1e-14)


def functions(text):
    return [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", spec.names())
def test_no_arithmetic_in_generated_text_has_a_bare_number(name):
    loss = spec.load(name)
    labels = any(node.type == "label" and node.args for node in topological(loss.formula.kernel))  # such as y + 1

    for function in functions(source(loss.formula, signature_of(loss), "float32")):
        for node in ast.walk(function):
            sides = [node.left, node.right] if isinstance(node, ast.BinOp) else []
            counts = any(isinstance(side, ast.Name) and side.id in ("number", "tile") for side in sides)
            assert not any(isinstance(side, ast.Constant) for side in sides) or labels or counts
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Nothing compiled yet: code from the cache cannot be inspected."""
    monkeypatch.setenv("LOSSBENCH_CACHE_DIR", str(tmp_path))
    compilation.load.cache_clear()
    yield
    compilation.load.cache_clear()


def test_the_arithmetic_of_a_float32_kernel_is_float32(fresh):
    loss = spec.load("sigmoid_cross_entropy")
    compiled = kernel_of(loss, dtype="float32", gradient=False, reduction="sum")
    compiled(logits=np.ones(3, np.float32), y_true=np.ones(3, np.float32))

    (text,) = compiled.usual().value_turns.inspect_llvm().values()
    wide = re.findall(r"\b(fadd|fsub|fmul|fdiv|fneg)[a-z ]* double ", text)

    assert re.search(r"\bfmul[a-z ]* float ", text)
    assert set(wide) == {"fadd", "fsub", "fmul", "fdiv"}  # the sum alone, and once what it is divided by
    assert wide.count("fmul") == wide.count("fdiv") == 1
    assert not re.search(r"\bcall[a-z ]* double @(?!PyFloat|llvm.vector.reduce)", text)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["huber", "sigmoid_cross_entropy", "log_cosh", "poisson"])
def test_losses_of_elements_are_computed_in_vectors(fresh, name, dtype):
    compiled = kernel_of(spec.load(name), dtype=dtype, gradient=True, reduction="mean")
    ones = np.ones(1000, dtype)
    compiled(**dict.fromkeys(compiled.inputs, ones))

    module = compiled.usual() if compiled.usual else compiled.module
    (text,) = module.value_and_gradient_turns.inspect_llvm().values()
    kind = "float" if dtype == "float32" else "double"

    assert re.search(rf"\bf(add|sub|mul)[a-z ]* <\d+ x {kind}>", text)
    assert not re.search(r"gather|scatter", text)
    assert not re.search(r"\bcall[^@]*@(exp|log|pow|tanh|sinh)", text)  # of the C library


@pytest.mark.parametrize("name", [one.name for one in spec.load_all() if one.formula.axes == ()])
def test_elements_are_computed_without_branches(name):
    loss = spec.load(name)

    for function in functions(source(loss.formula, signature_of(loss), "float32")):
        if function.name.startswith("value") and function.name.endswith(("value", "gradient", "each", "weighted")):
            loops = [node for node in ast.walk(function) if isinstance(node, ast.For) and node.target.id == "k"]
            entries = [node for loop in loops for one in loop.body for node in ast.walk(one)]
            assert entries
            assert not any(isinstance(node, ast.If | ast.IfExp | ast.BoolOp) for node in entries)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["poisson", "binary_cross_entropy", "gaussian_nll"])
def test_a_number_that_is_not_common_changes_no_other(name, dtype):
    loss = spec.load(name)
    rng = np.random.default_rng(7)
    given = {one: rng.uniform(0.1, 0.9, 3 * STRETCH).astype(dtype) for one in loss.inputs}
    argument = "variance" if name == "gaussian_nll" else "y_pred"
    rare = {**given, argument: given[argument].copy()}
    at = [5, STRETCH - 1, 2 * STRETCH + 3, 2 * STRETCH + 4, 2 * STRETCH + 5]
    rare[argument][at] = [0, np.finfo(dtype).smallest_subnormal, np.inf, np.nan, -1]
    alone = {one: array[at] for one, array in rare.items()}

    for reduction in ("none", "sum"):
        compiled = kernel(name, dtype=dtype, gradient=True, reduction=reduction)
        (value, slopes), (expected, others), (odd, ends) = (compiled(**one) for one in (rare, given, alone))
        usual = np.setdiff1d(np.arange(3 * STRETCH), at)
        for one, slope in slopes.items():
            assert np.array_equal(slope[usual], others[one][usual])
            assert np.array_equal(slope[at], ends[one], equal_nan=True)
        if reduction == "none":
            assert np.array_equal(value[usual], expected[usual])
            assert np.array_equal(value[at], odd, equal_nan=True)


def test_the_usual_parameters_give_what_any_give():
    p, t = np.random.default_rng(6).normal(size=(2, 300)).astype(np.float32)
    compiled = kernel("huber", gradient=True)

    value, gradient = compiled(y_pred=p, y_true=t)
    near, near_gradient = compiled(y_pred=p, y_true=t, delta=np.nextafter(np.float32(1), np.float32(2)))

    np.testing.assert_allclose(value, near, rtol=1e-6)
    np.testing.assert_allclose(gradient["y_pred"], near_gradient["y_pred"], rtol=1e-6)
    assert list(compiled(y_pred=p[:1] + 9, y_true=t[:1], delta=2.0)[1]["y_pred"]) == [2]


def test_exponentials_of_a_row_are_kept_for_its_gradient():
    parsed = formula("logsumexp(p) - p[j]")
    signature = Signature(inputs={"p": "row", "j": "label"}, parameters={}, differentiated=("p",))

    texts = functions(source(parsed, signature, "float32"))
    both = next(one for one in texts if one.name == "value_and_gradient")
    loops = [
        ast.unparse(node) for node in ast.walk(both) if isinstance(node, ast.For) and ast.unparse(node.target) == "k"
    ]

    assert sum(loop.count("exp_below(") for loop in loops) == 2  # for whole vectors and the rest
    assert any("= stored(" in loop and "exp_below(" not in loop for loop in loops)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_reductions_and_weights_agree_with_the_oracle(reduction, weighted):
    loss = spec.load("sparse_softmax_cross_entropy")
    rng = np.random.default_rng(1)
    problem = inputs.problem(
        loss,
        {"logits": rng.normal(size=(7, 3)), "y_true": [0, 1, 2, -100, 1, 1, 0], "class_weight": [1, 2, 0.5]},
        dtype="float32",
        reduction=reduction,
        sample_weight=rng.uniform(0.5, 2, size=7) if weighted else None,
    )
    exact = certified(problem)
    compiled = kernel_of(loss, dtype="float32", gradient=True, reduction=reduction)

    value, gradient = compiled(**problem.arrays, **problem.parameters, sample_weight=problem.sample_weight)

    assert_near(value, exact.value, ulps=4, size=1.0)
    assert_near(gradient["logits"], exact.gradient["logits"], ulps=4, size=1.0)


def test_a_weight_of_zero_silences_an_infinite_loss():
    value, gradient = of_formula("x**2", reduction="sum")(x=np.array([np.inf, 3.0]), sample_weight=np.array([0.0, 2.0]))

    assert value == 18
    assert list(gradient["x"]) == [0, 12]


def test_the_mean_of_nothing_is_nan_and_the_sum_zero():
    empty = np.empty(0, np.float32)

    assert np.isnan(kernel("huber", reduction="mean")(y_pred=empty, y_true=empty))
    assert kernel("huber", reduction="sum")(y_pred=empty, y_true=empty) == 0
    assert kernel("huber")(y_pred=empty, y_true=empty).shape == (0,)


def test_the_mean_over_ignored_rows_alone_is_nan():
    compiled = kernel("sparse_softmax_cross_entropy", gradient=True, reduction="mean")

    value, gradient = compiled(logits=np.zeros((2, 3), np.float32), y_true=np.array([-100, -100]))

    assert np.isnan(value)
    assert np.isnan(gradient["logits"]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_sums_keep_their_digits(dtype):
    x = np.random.default_rng(2).uniform(size=1_000_003).astype(dtype)

    total = of_formula("abs(x)", dtype=dtype, with_gradient=False, reduction="sum")(x=x)

    assert total == pytest.approx(math.fsum(x.tolist()), rel=1e-7 if dtype == "float32" else 4e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_every_length_have_each_number_once(dtype):
    """Whole vectors, stretches and blocks, and what is left of them."""
    compiled = of_formula("abs(x)", dtype=dtype, reduction="sum")
    for length in (0, 1, LANES - 1, LANES, LANES + 1, STRETCH - 1, STRETCH, STRETCH + 1, BLOCK + LANES + 3):
        x = np.random.default_rng(length).integers(-99, 99, length).astype(dtype)

        total, slopes = compiled(x=x)

        assert total == np.abs(x).sum()
        assert np.array_equal(slopes["x"], np.sign(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", ["abs(x)", "exp(x)"])  # added in the kernel's dtype, the second in fewer vectors
def test_a_mean_of_equal_losses_is_that_loss(text, dtype):
    u = 2.0**-24 if dtype == "float32" else 2.0**-53
    each = of_formula(text, dtype=dtype, with_gradient=False)
    mean = of_formula(text, dtype=dtype, with_gradient=False, reduction="mean")
    for length in (1, 2, 100, SHORT, STRETCH, STRETCH + 1, 3000, 2 * BLOCK + 5):
        for number in np.random.default_rng(8).uniform(0, 2, 20).astype(dtype):
            loss = float(each(x=np.full(1, number))[0])

            assert abs(float(mean(x=np.full(length, number))) - loss) <= math.ceil(math.log2(length)) * u * loss


@pytest.mark.parametrize(("text", "huge"), [("abs(x)", 3e38), ("exp(x)", 88.7)])
def test_a_mean_of_huge_losses_is_finite(text, huge):
    x = np.full(BLOCK + 3000, huge, np.float32)
    each = of_formula(text, dtype="float32", with_gradient=False)(x=x)

    value, slopes = of_formula(text, dtype="float32", reduction="mean")(x=x)

    assert value == each[0]
    np.testing.assert_allclose(slopes["x"], (1 if text == "abs(x)" else each) / np.float32(len(x)), rtol=1e-6)


@pytest.mark.parametrize("text", ["abs(x)", "exp(x)"])
@pytest.mark.parametrize("length", [5, 3 * STRETCH + 7])
@pytest.mark.parametrize("end", [np.inf, np.nan])
def test_a_sum_with_an_infinite_loss_is_infinite_and_one_with_nan_is_nan(text, length, end):
    for dtype in ("float32", "float64"):
        x = np.ones(length, dtype)
        x[length // 2] = end

        total, slopes = of_formula(text, dtype=dtype, reduction="sum")(x=x)

        np.testing.assert_equal(float(total), end)
        assert np.count_nonzero(~np.isfinite(slopes["x"])) == (0 if text == "abs(x)" and end == np.inf else 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_outputs_beyond_the_cache_are_those_of_small_batches(dtype, offset):
    p = np.random.default_rng(9).normal(size=FAR // np.dtype(dtype).itemsize + 777).astype(dtype)
    t, out = np.zeros_like(p), np.full(len(p) + 10, 7, dtype)
    compiled = kernel("huber", dtype=dtype, gradient=True, reduction="sum")

    compiled(y_pred=p, y_true=t, out=out[offset : offset + len(p)])

    assert np.array_equal(out[offset : offset + len(p)], np.clip(p, -1, 1))
    assert np.all(out[:offset] == 7)
    assert np.all(out[offset + len(p) :] == 7)


def test_sums_of_transcendental_losses_keep_their_digits():
    x = np.random.default_rng(3).uniform(size=BLOCK)

    total = of_formula("exp(x)", with_gradient=False, reduction="sum")(x=x)

    assert total == pytest.approx(math.fsum(map(math.exp, x.tolist())), rel=4e-16)


def test_results_are_the_same_for_every_number_of_threads():
    p, t = np.random.default_rng(4).normal(size=(2, 5 * BLOCK + 7)).astype(np.float32)
    compiled = kernel("squared_error", gradient=True, reduction="mean")
    before = numba.get_num_threads()

    found = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        value, gradient = compiled(y_pred=p, y_true=t)
        found.append((value.tobytes(), gradient["y_pred"].tobytes()))
    numba.set_num_threads(before)

    assert found[0] == found[1] == found[2]


def test_rows_beyond_one_block_are_those_of_small_batches():
    logits = np.random.default_rng(5).normal(size=(BLOCK // 4 + 5, 8)).astype(np.float32)
    labels = np.arange(len(logits)) % 8
    compiled = kernel("sparse_softmax_cross_entropy", gradient=True)

    value, gradient = compiled(logits=logits, y_true=labels)
    last, last_gradient = compiled(logits=logits[-9:], y_true=labels[-9:])

    assert np.array_equal(value[-9:], last)
    assert np.array_equal(gradient["logits"][-9:], last_gradient["logits"])


def test_results_go_into_given_arrays():
    p, t = np.array([2.0, 0.5], np.float32), np.zeros(2, np.float32)
    out, value_out = np.empty(2, np.float32), np.empty(2, np.float32)

    _, gradient = kernel("huber", gradient=True, reduction="mean")(y_pred=p, y_true=t, delta=1.0, out=out)
    value, _ = kernel("huber", gradient=True)(y_pred=p, y_true=t, out={"value": value_out, "gradient.y_pred": out})

    assert gradient["y_pred"] is out
    assert value is value_out
    assert list(out) == [1, 0.5]
    assert list(value_out) == [1.5, 0.125]


def test_a_read_only_or_strided_input_is_taken():
    p = np.arange(6, dtype=np.float64)[::2]
    t = np.zeros(3)
    t.flags.writeable = False

    assert list(kernel("squared_error", dtype="float64")(y_pred=p, y_true=t)) == [0, 4, 16]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"y_pred": [1.0]}, "huber needs 'y_true'"),
        ({"y_pred": [1.0], "y_true": [1.0], "dleta": 1}, "huber takes no 'dleta'"),
        ({"y_pred": [1.0], "y_true": [1.0, 2.0]}, r"y_true has shape \(2,\); expected \(1,\)"),
        ({"y_pred": [[1.0]], "y_true": [1.0]}, r"y_pred has shape \(1, 1\); expected \(n,\)"),
        ({"y_pred": [1.0], "y_true": [1.0], "sample_weight": [1.0, 2.0]}, r"sample_weight has shape \(2,\)"),
        ({"y_pred": [1.0], "y_true": [1.0], "out": np.empty(1)}, "out 'value' is float64"),
        ({"y_pred": [1.0], "y_true": [1.0], "out": np.empty(2, np.float32)}, r"float32 of shape \(2,\); expected"),
        ({"y_pred": [1.0], "y_true": [1.0], "out": [0.0]}, "out is a list; expected an array or a mapping"),
        ({"y_pred": [1.0], "y_true": [1.0], "out": {"value": [0.0]}}, "out 'value' is a list; expected an array"),
        ({"y_pred": 1.0, "y_true": [1.0]}, r"y_pred has shape \(\); expected \(n,\)"),
        ({"y_pred": ["a"], "y_true": [1.0]}, "y_pred is list; expected real numbers"),
        ({"y_pred": [[1.0], [1.0, 2.0]], "y_true": [1.0]}, "y_pred is list; expected real numbers"),
        ({"y_pred": np.array([1j]), "y_true": [1.0]}, "y_pred is complex128; expected real numbers"),
        ({"y_pred": np.array(["2020"], "M8[D]"), "y_true": [1.0]}, "y_pred is datetime64.*; expected real numbers"),
        ({"y_pred": np.ma.array([1.0]), "y_true": [1.0]}, "y_pred is MaskedArray; expected real numbers"),
        ({"y_pred": [1.0], "y_true": [1.0], "delta": [1.0]}, r"delta has shape \(1,\); expected \(\), one number"),
        ({"y_pred": [1.0], "y_true": [1.0], "delta": None}, "delta is NoneType; expected real numbers"),
        ({"y_pred": [1.0], "y_true": [1.0], "sample_weight": 2.0}, r"sample_weight has shape \(\); expected \(n,\)"),
    ],
)
def test_what_does_not_fit_is_refused(given, reason):
    with pytest.raises(LossbenchError, match=reason):
        kernel("huber")(**given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"y_true": [0.5]}, "y_true holds a number that is no int64"),
        ({"y_true": [np.nan]}, "y_true holds a number that is no int64"),
        ({"y_true": np.array([2**63 + 1], np.uint64)}, "y_true holds a number that is no int64"),
        ({"y_true": [0], "ignore_index": 0.5}, "ignore_index holds a number that is no int64"),
        ({"y_true": [0], "ignore_index": 2**70}, "ignore_index is int; expected real numbers"),
        ({"y_true": [0], "class_weight": [1.0, 2.0]}, r"class_weight has shape \(2,\); expected \(\) or \(3,\)"),
    ],
)
def test_labels_that_are_no_whole_numbers_are_refused(given, reason):
    with pytest.raises(LossbenchError, match=reason):
        kernel("sparse_softmax_cross_entropy")(logits=np.zeros((1, 3)), **given)


def test_an_output_that_shares_memory_is_refused():
    logits, both = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)

    with pytest.raises(LossbenchError, match=r"out 'gradient\.logits' shares memory with 'logits'"):
        kernel("sparse_softmax_cross_entropy", gradient=True)(logits=logits, y_true=[0, 1], out=logits)
    with pytest.raises(LossbenchError, match=r"out 'value' shares memory with 'gradient\.y_pred'"):
        kernel("huber", gradient=True)(y_pred=both + 1, y_true=both + 2, out={"value": both, "gradient.y_pred": both})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_new_and_inputs_untouched(dtype):
    p, t = np.array([2.0, 0.5], dtype), np.zeros(2, dtype)

    value, gradient = kernel("huber", dtype=dtype, gradient=True)(y_pred=p, y_true=t)

    assert not any(np.shares_memory(one, other) for one in (value, gradient["y_pred"]) for other in (p, t))
    assert p.tolist() == [2.0, 0.5]
    assert t.tolist() == [0, 0]


def test_threads_may_call_one_kernel_at_once():
    compiled = kernel("squared_error", gradient=True, reduction="sum")
    batches = [np.full(4 * BLOCK + at, at, np.float32) for at in range(1, 9)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: compiled(y_pred=p, y_true=np.zeros_like(p)), batches * 4))

    for p, (value, slopes) in zip(batches * 4, found, strict=True):
        assert value == np.float32(len(p) * float(p[0]) ** 2)
        assert np.all(slopes["y_pred"] == 2 * p)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_refused(dtype):
    with pytest.raises(Unsupported, match=f"numba has no {dtype} arithmetic on the CPU"):
        kernel("huber", dtype=dtype)


def test_modules_are_named_by_their_content_and_written_once(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSBENCH_CACHE_DIR", str(tmp_path))
    compilation.load.cache_clear()

    first = compilation.load("one", "x = 1\n")
    written = [(path.name, path.stat().st_mtime_ns) for path in (tmp_path / "kernels").glob("*.py")]
    compilation.load.cache_clear()
    again = compilation.load("one", "x = 1\n")
    other = compilation.load("one", "x = 2\n")

    assert first.__file__ == again.__file__ != other.__file__
    assert [(path.name, path.stat().st_mtime_ns) for path in [tmp_path / "kernels" / written[0][0]]] == written
    assert other.x == 2


def test_a_second_process_compiles_nothing(tmp_path):
    code = """
import numpy as np
from lossbench import spec
from lossbench.adapters.numba import kernel_of
one = kernel_of(spec.load("huber"), dtype="float32", gradient=True, reduction="mean")
one(y_pred=np.ones(3, np.float32), y_true=np.ones(3, np.float32))
functions = [one.usual().value_and_gradient_turns]
print(sum(sum(f.stats.cache_misses.values()) for f in functions))
"""
    environment = {**os.environ, "LOSSBENCH_CACHE_DIR": str(tmp_path)}

    found = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]

    assert [int(misses) for misses in found] == [1, 0]


def test_what_is_already_right_is_called_at_once():
    p, t = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    compiled = kernel("squared_error", gradient=True, reduction="mean")
    careful, _ = compiled(y_pred=p, y_true=t)
    out = np.empty_like(p)

    quick, gradient = compiled(y_pred=p, y_true=t, out=out)
    other, _ = compiled(y_pred=p.astype(np.float64), y_true=t)

    assert careful == quick == other == 3.5
    assert type(quick) is np.float32
    assert gradient["y_pred"] is out
    with pytest.raises(LossbenchError, match=r"y_true has shape \(2,\); expected \(4,\)"):
        compiled(y_pred=p, y_true=t[:2])
    with pytest.raises(LossbenchError, match="shares memory with 'y_pred'"):
        compiled(y_pred=p, y_true=t, out=p)


def test_a_kernel_is_a_function_that_says_what_it_takes():
    compiled = kernel("huber", gradient=True)

    assert str(inspect.signature(compiled)) == "(*, y_pred, y_true, delta=1.0, sample_weight=None, out=None)"
    assert compiled.__name__ == "huber"
    assert "The value and the gradients by input, float32, reduction none." in compiled.__doc__
    with pytest.raises(LossbenchError, match="huber takes no 'y_tru'; expected: y_pred, y_true, delta"):
        compiled(y_pred=np.ones(3), y_tru=np.ones(3))
    with pytest.raises(LossbenchError, match="huber needs 'y_true'"):
        compiled(y_pred=np.ones(3))


def test_numbers_given_again_are_called_at_once_and_others_are_seen():
    p, t = np.array([3.0, 0.5], np.float32), np.zeros(2, np.float32)
    compiled = kernel("huber", gradient=True, reduction="sum")

    for delta, expected in ((1.0, 2.625), (1.0, 2.625), (2, 4.125), (2, 4.125), (np.float32(1), 2.625)):
        value, gradient = compiled(y_pred=p, y_true=t, delta=delta)
        assert value == expected
        assert list(gradient["y_pred"]) == [delta, 0.5]
    assert compiled(y_pred=p, y_true=t)[0] == 2.625


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_several_outputs_are_written_at_once(reduction):
    given = {"y_pred": np.ones(3, np.float32), "y_true": np.zeros(3, np.float32), "variance": np.ones(3, np.float32)}
    compiled = kernel("gaussian_nll", gradient=True, reduction=reduction)
    value, gradient = compiled(**given)
    out = {f"gradient.{name}": np.empty(3, np.float32) for name in gradient}
    out |= {"value": np.empty(3, np.float32)} if reduction == "none" else {}

    again, written = compiled(**given, out=out)

    assert np.array_equal(value, again)
    assert all(written[name] is out[f"gradient.{name}"] for name in gradient)
    assert all(np.array_equal(gradient[name], written[name]) for name in gradient)
    with pytest.raises(LossbenchError, match="out has 'slope'"):
        compiled(**given, out={**out, "slope": np.empty(3, np.float32)})


def test_read_only_memory_is_not_copied():
    array = np.arange(3, dtype=np.float32)
    array.flags.writeable = False

    taken = converted("x", array, np.dtype(np.float32))

    assert np.shares_memory(taken, array)


class Tensor:
    """What DLPack gives of another framework's tensor."""

    def __init__(self, array, device=1, fault=None):
        self.array, self.device, self.fault = array, device, fault

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **asked):
        if self.fault:
            raise BufferError(self.fault)
        return self.array.__dlpack__(**asked)


def test_tensors_of_the_cpu_are_taken_without_a_copy():
    array = np.arange(3, dtype=np.float32)

    taken = converted("x", Tensor(array), np.dtype(np.float32))

    assert np.shares_memory(taken, array)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (Tensor(np.ones(1), 2, "cuda"), "y_pred is on another device; expected a tensor on the CPU"),
        (Tensor(np.ones(1), 1, "requires grad"), r"y_pred is part of an autograd graph; expected \.detach"),
    ],
)
def test_tensors_that_cannot_be_shared_are_refused(tensor, reason):
    with pytest.raises(LossbenchError, match=reason):
        kernel("huber")(y_pred=tensor, y_true=np.zeros(1))


def test_names_that_the_text_uses_itself_may_be_inputs():
    kinds = {"total": "real", "i": "real"}
    graph = Graph()
    root = parse("total*i + exp(total)", kinds, graph)
    parsed = Formula(
        graph=graph, names=kinds, differentiated=("total",), definition=root, divisor=graph.number(1),
        gradients={}, kernel=root, kernel_gradients=gradient(graph, root, ("total",)),
    )  # fmt: skip
    signature = Signature(inputs=kinds, parameters={}, differentiated=("total",))
    module = compilation.load("names", source(parsed, signature, "float64"))

    assert module.value(0, 1, np.zeros(1), np.full(1, 3.0)) == 1
