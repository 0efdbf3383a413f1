"""Kernels of losses along named axes, against the same formula in NumPy's float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from lossbench.errors import LossbenchError
from lossbench.formula import Formula, Graph, Kind, Variable, floats, gradient
from lossbench.formula.graph import number_of
from lossbench.formula.kernel import Signature, source
from lossbench.formula.node import variable_of
from lossbench.formula.parse import parse
from lossbench.kernels.call import Kernel
from lossbench.kernels.compile import load

EMBEDDINGS = Variable("number", ("batch", "feature"))
IDS = Variable("label", ("batch",))
TIMES = Variable("number", ("time", "class"))
WORD = Variable("label", ("position",))
RANDOM = np.random.RandomState(7)
PAIRS = """
unit = x/norm(x, "feature")
s = sum(unit*other(unit, "batch"), "feature")/t
same = y == other(y, "batch")
pair = same and index("batch") != other(index("batch"), "batch")
negative = sum(where(same, 0, exp(s)), "other batch")
total = sum(sum(where(pair, log(exp(s) + negative) - s, 0), "other batch"), "batch")
total/sum(sum(where(pair, 1, 0), "other batch"), "batch")
"""
PROJECTED = """
z = sum(x*w, "feature") + b
-pick(log_softmax(z, "class"), y, "class")
"""
LOSSES: dict[str, tuple[str, dict[str, Kind | Variable], dict[str, np.ndarray], tuple[str, ...]]] = {
    "pairs": (
        PAIRS,
        {"x": EMBEDDINGS, "y": IDS},
        {"x": RANDOM.randn(7, 3), "y": np.array([0, 1, 0, 2, 1, 2, 0])},
        ("x",),
    ),
    "projected": (
        PROJECTED,
        {"x": EMBEDDINGS, "w": Variable("number", ("class", "feature")), "b": "row", "y": IDS},
        {"x": RANDOM.randn(5, 3), "w": RANDOM.randn(4, 3), "b": RANDOM.randn(4), "y": np.array([0, 1, 3, 2, 2])},
        ("x", "w", "b"),
    ),
    "distances": (
        'logsumexp(sum((x - other(x, "batch"))**2, "feature"), "other batch")',
        {"x": EMBEDDINGS},
        {"x": RANDOM.randn(5, 3)},
        ("x",),
    ),
    "simplex": (
        "p = sparsemax(x)\nsum(p*x) - sum(p**2)/2 + 1/2 - x[y]",
        {"x": "row", "y": "label"},
        {"x": RANDOM.randn(5, 4), "y": np.array([0, 1, 3, 2, 2])},
        ("x",),
    ),
    "alignments": (
        'ctc(log_softmax(x, "class"), y, n, m, 0)',
        {"x": TIMES, "y": WORD, "n": "label", "m": "label"},
        {
            "x": RANDOM.randn(7, 7, 5),
            "y": np.array([[1, 1, 2], [3, 2, 1], [4, 4, 4], [1, 2, 3], [2, 1, 1], [2, 3, 2], [1, 1, 1]]),
            "n": np.array([7, 6, 5, 7, 0, 4, 3]),
            "m": np.array([3, 2, 1, 0, 0, 3, 3]),
        },
        ("x",),
    ),
    "classes in pairs": (
        'sum(sum(max(0, 1 - x + other(x, "class"))*y*(1 - other(y, "class")), "class"), "other class")/size(x)',
        {"x": "row", "y": "row"},
        {"x": RANDOM.randn(5, 4), "y": RANDOM.randint(0, 2, (5, 4)).astype(float)},
        ("x",),
    ),
}


def made(name: str, dtype: str, reduction: str) -> tuple[Formula, Kernel]:
    text, inputs, _, differentiated = LOSSES[name]
    parameters: dict[str, Kind | Variable] = {"t": "real"} if name == "pairs" else {}
    graph = Graph()
    names: Mapping[str, Kind | Variable] = inputs | parameters
    root = parse(text, names, graph)
    gradients = gradient(graph, root, differentiated)
    formula = Formula(
        graph=graph,
        names=names,
        differentiated=differentiated,
        definition=root,
        divisor=graph.number(1),
        gradients=gradients,
        kernel=root,
        kernel_gradients=gradients,
    )
    signature = Signature(inputs=inputs, parameters=parameters, differentiated=differentiated)
    kernel = Kernel(
        name=name,
        module=load(f"nests_{dtype}", source(formula, signature, dtype)),
        dtype=np.dtype(dtype),
        reduction=reduction,
        gradient=True,
        inputs=inputs,
        parameters=parameters,
        defaults={"t": 0.5},
        differentiated=differentiated,
        count=float(number_of(formula.divisor) or 0),
        batchwise=formula.batchwise,
        pooled=formula.batchwise and not root.axes,
    )
    return formula, kernel


def expected(formula: Formula, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Value and gradients by `floats`, whole."""
    points = () if formula.batchwise else (len(next(iter(arrays.values()))),)
    given = {**arrays, **({"t": np.array(0.5)} if "t" in formula.names else {})}
    axes = [formula.definition.axes, *(variable_of(formula.names[one]).axes for one in formula.differentiated)]
    found = floats.evaluate([formula.definition, *formula.gradients.values()], given, axes)
    sizes = dict(zip(("batch",), arrays[next(iter(arrays))].shape, strict=False))
    shapes = [(*points, *(sizes[axis] for axis in formula.definition.axes))]
    shapes += [arrays[one].shape for one in formula.differentiated]
    return [np.broadcast_to(one, shape) for one, shape in zip(found, shapes, strict=True)]


@pytest.mark.parametrize("name", LOSSES)
def test_kernel_and_numpy_agree_in_value_and_gradient(name: str):
    formula, kernel = made(name, "float64", "none")
    arrays = LOSSES[name][2]
    value, *gradients = expected(formula, arrays)

    got, found = kernel(**arrays)

    np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-15)
    for one, exact in zip(formula.differentiated, gradients, strict=True):
        np.testing.assert_allclose(found[one], exact, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["pairs", "alignments"])
def test_float32_is_float64_rounded(name: str):
    rounded = {key: one.astype(np.float32) if one.dtype == float else one for key, one in LOSSES[name][2].items()}
    _, wide = made(name, "float64", "none")
    _, narrow = made(name, "float32", "none")

    value, found = narrow(**rounded)
    exact, slopes = wide(**rounded)

    assert value.dtype == np.float32
    np.testing.assert_array_max_ulp(value, np.asarray(exact, np.float32), 1)
    for one, slope in slopes.items():
        large = np.abs(slope) > 1e-6
        np.testing.assert_array_max_ulp(found[one][large], slope[large].astype(np.float32), 1)


@pytest.mark.parametrize("name", ["projected", "alignments"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights_reach_value_and_gradient(name: str, reduction: str):
    _, each = made(name, "float64", "none")
    _, kernel = made(name, "float64", reduction)
    arrays = LOSSES[name][2]
    weight = np.arange(len(next(iter(arrays.values()))), dtype=float)
    scale = 1 / len(weight) if reduction == "mean" else 1.0
    value, _ = each(**arrays)
    doubled, slopes = kernel(**arrays, sample_weight=2 * weight)

    got, found = kernel(**arrays, sample_weight=weight)

    np.testing.assert_allclose(got, scale * (weight * np.where(weight == 0, 0, value)).sum(), rtol=1e-12)
    np.testing.assert_allclose(doubled, 2 * got, rtol=1e-12)
    for one, slope in slopes.items():
        np.testing.assert_allclose(slope, 2 * found[one], rtol=1e-12)


def test_batch_with_one_number_takes_no_weights():
    _, kernel = made("pairs", "float64", "mean")

    with pytest.raises(LossbenchError, match=r"pairs is one number for a whole batch; expected no sample_weight"):
        kernel(**LOSSES["pairs"][2], sample_weight=np.ones(7))


def test_every_reduction_leaves_the_one_number_of_a_batch():
    values = [made("pairs", "float64", reduction)[1](**LOSSES["pairs"][2])[0] for reduction in ("none", "mean", "sum")]

    assert values[0] == values[1] == values[2]


def test_axes_that_differ_are_named():
    _, kernel = made("projected", "float64", "none")
    arrays = {**LOSSES["projected"][2], "w": np.ones((4, 2))}

    with pytest.raises(LossbenchError, match=r"w has shape \(4, 2\); expected \(4, 3\), as the other inputs"):
        kernel(**arrays)


def test_impossible_sequence_costs_infinity():
    _, kernel = made("alignments", "float64", "none")
    given = {"x": np.zeros((1, 2, 3)), "y": np.array([[1, 1]]), "n": np.array([2]), "m": np.array([2])}

    value, _ = kernel(**given)

    assert value[0] == np.inf
