import ast
import math
import re

import numba
import numpy as np
import pytest
from formulas import formula

from lossbench import spec
from lossbench.adapters.numba import kernel, kernel_of, signature_of
from lossbench.errors import LossbenchError
from lossbench.formula.kernel import Signature, has_nests, source
from lossbench.kernels import compile as compilation
from lossbench.kernels.streams import LANES
from lossbench.kernels.sums import highest, rank_or_first, rank_or_last, ranked
from lossbench.kernels.tiles import NARROW, REACH, ROWS, nearby

U = 2.0**-24  # half an ulp of 1 in float32
WIDTHS = (1, 2, NARROW - 1, NARROW, NARROW + 1, 2 * LANES, REACH, REACH + 1, REACH + LANES - 1, 2 * REACH + 5)


def cross_entropy(logits, labels):
    """Values and gradients in float64."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1, keepdims=True)
    at = np.arange(len(labels)), labels
    gradient = powers / total
    gradient[at] -= 1
    return np.log(total[:, 0]) - shifted[at], gradient


def rows(classes, number=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (number, classes)).astype(np.float32), rng.integers(0, classes, number)


def functions(text):
    return [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]


def row_losses():
    """Those of single rows; nests of loops serve what has more axes, or is no sum of entries."""
    return [one for one in spec.load_all() if signature_of(one).has_rows and not has_nests(one.formula)]


@pytest.mark.parametrize("classes", WIDTHS)
def test_every_width_of_rows_is_right(classes):
    logits, labels = rows(classes)

    value, gradient = kernel("sparse_softmax_cross_entropy", gradient=True)(logits=logits, y_true=labels)

    exact, slope = cross_entropy(logits, labels)
    np.testing.assert_allclose(value, exact, rtol=4 * U, atol=4 * U)
    np.testing.assert_allclose(gradient["logits"], slope, rtol=16 * U, atol=8 * U)


@pytest.mark.parametrize("number", [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 2])
@pytest.mark.parametrize("classes", [5, NARROW + 3])
def test_a_row_is_what_it_is_alone(number, classes):
    logits, labels = rows(classes, number)
    compiled = kernel("sparse_softmax_cross_entropy", gradient=True)

    value, gradient = compiled(logits=logits, y_true=labels)

    for at in range(number):
        alone, slope = compiled(logits=logits[at : at + 1], y_true=labels[at : at + 1])
        assert value[at] == alone[0]
        assert np.array_equal(gradient["logits"][at], slope["logits"][0])


@pytest.mark.parametrize("classes", [3, NARROW + 1])
def test_labels_and_logits_at_their_ends(classes):
    logits = np.zeros((5, classes), np.float32)
    logits[1, 1:] = -np.inf
    logits[2, 0] = np.inf
    logits[3, 1] = np.nan
    labels = np.array([classes, 0, 0, 0, -1])

    value, gradient = kernel("sparse_softmax_cross_entropy", gradient=True)(logits=logits, y_true=labels)

    assert list(value[[0, 1, 2, 4]]) == [0, 0, 0, 0]  # no such class; certain; without bounds; no such class
    assert np.isnan(value[3])
    assert not gradient["logits"][[0, 1, 2, 4]].any()
    assert np.isnan(gradient["logits"][3]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [40, 50_257])
def test_equal_terms_are_added_without_a_drift(dtype, classes):
    pair = {"y_pred": np.full((2, classes), 0.3, dtype), "y_true": np.full((2, classes), 0.7, dtype)}

    value = kernel("kl_divergence", dtype=dtype)(**pair)

    p, t = (float(np.dtype(dtype).type(one)) for one in (0.3, 0.7))
    exact = classes * t * math.log(t / p)
    assert np.all(np.abs(value - exact) <= (math.ceil(math.log2(classes)) + 8) * np.finfo(dtype).eps / 2 * exact)


@pytest.mark.parametrize("classes", [one for one in WIDTHS if one >= NARROW])
def test_what_is_soon_made_is_added_to_2_ulps(classes):
    """Four terms in float32, then in float64: by sums in float32 alone rows of 1,024 are off by 8."""
    scores = np.random.default_rng(0).uniform(-1, 0.25, (40, 1)).astype(np.float32).repeat(classes, axis=1)
    scores[:, 0] = 0

    value, gradient = kernel("multi_margin", gradient=True)(scores=scores, y_true=np.zeros(40, np.int64))

    exact = (1 + scores[:, 1].astype(np.float64)) * (classes - 1) / classes
    assert np.all(np.abs(value - exact) <= 2 * np.spacing(value))
    assert np.all(np.abs(gradient["scores"][:, 0] + (classes - 1) / classes) <= 2 * U)


def test_a_label_is_found_in_its_piece_of_a_row_alone():
    assert nearby(REACH + 3, REACH, 10) == 3
    for label in (-1, 3, REACH - 1, REACH + 10, REACH + 2**32 + 3, REACH - 2**32 + 3, 2**63 - 1, -(2**63)):
        assert nearby(label, REACH, 10) == -1


@pytest.mark.parametrize("size", [2.0**-120, 1.0, 2.0**100])
@pytest.mark.parametrize("classes", [4, 100])
def test_norms_of_rows_neither_overflow_nor_vanish(size, classes):
    parsed = formula("norm(p)")
    signature = Signature(inputs={"p": "row"}, parameters={}, differentiated=())
    module = compilation.load("norms", source(parsed, signature, "float32"))
    p, none, values = np.full((1, classes), size, np.float32), np.empty(0, np.float32), np.empty(1, np.float32)

    getattr(module, "value_narrow" if classes < NARROW else "value")(p, none, False, values, True)

    assert abs(values[0] / (size * math.sqrt(classes)) - 1) <= 2 * U


@pytest.mark.parametrize("loss", row_losses(), ids=lambda loss: loss.name)
def test_loops_over_classes_have_no_branches(loss):
    for function in functions(source(loss.formula, signature_of(loss), "float32")):
        if function.name in ("value", "value_and_gradient", "value_narrow", "value_and_gradient_narrow"):
            loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
            inner = [loop for loop in loops if ast.unparse(loop.iter) == "range(ROWS)" or loop.target.id == "k"]
            entries = [node for loop in inner for one in loop.body for node in ast.walk(one)]
            assert entries
            assert not any(isinstance(node, ast.If | ast.BoolOp | ast.For) for node in entries)


@pytest.mark.parametrize("classes", [8, 200])
def test_rows_are_computed_in_vectors(tmp_path, monkeypatch, classes):
    monkeypatch.setenv("LOSSBENCH_CACHE_DIR", str(tmp_path))
    compilation.load.cache_clear()
    loss = spec.load("sparse_softmax_cross_entropy")
    compiled = kernel_of(loss, dtype="float32", gradient=True, reduction="sum")
    logits, labels = rows(classes)
    compiled(logits=logits, y_true=labels, sample_weight=np.ones(3, np.float32))

    name = "value_and_gradient_narrow" if classes < NARROW else "value_and_gradient"
    (text,) = getattr(compiled.usual(), name).inspect_llvm().values()
    compilation.load.cache_clear()

    assert re.search(r"\bfmul[a-z ]* <\d+ x float>", text)
    assert not re.search(r"\bcall[^@]*@(exp|log)", text)  # of the C library


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_calls_of_other_widths_and_kinds_follow_each_other(reduction):
    compiled = kernel("sparse_softmax_cross_entropy", gradient=True, reduction=reduction)

    for classes, number in [(7, 4), (7, 9), (90, 4), (7, 4), (90, 400)]:
        logits, labels = rows(classes, number)
        labels[0] = -100
        for _ in range(2):  # the second time straight to the compiled function
            value, gradient = compiled(logits=logits, y_true=labels)

            exact, slope = cross_entropy(logits[1:], labels[1:])
            share = number - 1 if reduction == "mean" else 1
            np.testing.assert_allclose(value, exact.sum() / share, rtol=8 * U)
            np.testing.assert_allclose(gradient["logits"][1:], slope / share, rtol=16 * U, atol=8 * U)
            assert not gradient["logits"][0].any()


def test_what_does_not_fit_is_refused_also_later():
    compiled = kernel("sparse_softmax_cross_entropy", gradient=True, reduction="mean")
    logits, labels = rows(7, 4)
    out = np.empty_like(logits)
    compiled(logits=logits, y_true=labels, out=out)
    compiled(logits=logits, y_true=labels, out=out)

    with pytest.raises(LossbenchError, match=r"y_true has shape \(3,\); expected \(4,\)"):
        compiled(logits=logits, y_true=labels[:3], out=out)
    with pytest.raises(LossbenchError, match="shares memory"):
        compiled(logits=logits, y_true=labels, out=logits)
    with pytest.raises(LossbenchError, match=r"of shape \(4, 7\)"):
        compiled(logits=logits, y_true=labels, out=out[:3])


def test_class_weights_belong_to_the_call():
    compiled = kernel("sparse_softmax_cross_entropy", reduction="mean")
    logits, labels = rows(5, 6)

    first = compiled(logits=logits, y_true=labels, class_weight=np.array([1, 0, 0, 0, 0], np.float32) + 1)
    again = compiled(logits=logits, y_true=labels, class_weight=np.array([0, 0, 0, 0, 3], np.float32) + 1)

    exact, _ = cross_entropy(logits, labels)
    for found, weights in ((first, [2, 1, 1, 1, 1]), (again, [1, 1, 1, 1, 4])):
        share = np.array(weights)[labels]
        assert abs(found / ((exact * share).sum() / share.sum()) - 1) <= 8 * U


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_of_a_row_is_found_beside_its_sum(dtype):
    @numba.njit
    def found(row, start):
        most, top = rank_or_last(start), rank_or_last(start)
        for x in row:
            most, top = highest(most, rank_or_first(x)), highest(top, rank_or_last(x))
        return ranked(most), ranked(top)

    row, start = np.array([-3, -np.inf, -0.5, -2], dtype), np.dtype(dtype).type(-np.inf)

    assert found(row, start) == (-0.5, -0.5)
    for nan in (np.nan, -np.nan):
        row[1] = nan
        assert np.isnan(found(row, start)[0])
        assert found(row, start)[1] == -0.5


@pytest.mark.parametrize("name", ["categorical_cross_entropy", "categorical_focal", "generalized_kl"])
def test_a_number_that_is_not_common_changes_no_row(name, tmp_path, monkeypatch):
    loss = spec.load(name)
    rng = np.random.default_rng(7)
    given = {one: rng.uniform(0.1, 0.9, (9, REACH + 40)).astype(np.float32) for one in loss.inputs}
    array = given["y_true" if name == "generalized_kl" else "y_pred"]
    rare = 0, np.finfo(np.float32).smallest_subnormal, np.inf, np.nan, -1
    for row, x in enumerate(rare):
        array[row, REACH - 1 + row % 3] = x
    array[5:7, [0, REACH + 39]] = 0

    quick = kernel(name, gradient=True, reduction="none")(**given)
    monkeypatch.setenv("LOSSBENCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("lossbench.formula.passes.logarithms_of", lambda nodes, varying: {})
    careful = kernel(name, gradient=True, reduction="none")(**given)

    np.testing.assert_array_equal(quick[0], careful[0])
    for one, slope in careful[1].items():
        np.testing.assert_array_equal(quick[1][one], slope)
