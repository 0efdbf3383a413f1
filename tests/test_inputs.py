import hashlib
import subprocess
import sys
from pathlib import Path
from typing import get_args

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import shape

from lossbench import inputs, spec
from lossbench.errors import LossbenchError
from lossbench.points import STYLES
from lossbench.records import Case
from lossbench.text import Dtype

NAMES = [*spec.names(), *map(str, sorted((Path(__file__).parent / "specs_with_axes").glob("*.toml")))]
DTYPES = get_args(Dtype)
POINTS = 40 * len(STYLES)
CLASSES = 5
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def case(name: str, dtype: str = "float32", points: str = "domain", **rest: object) -> Case:
    loss = spec.load(name)
    at = rest.pop("shape", shape(loss, POINTS, CLASSES))
    return Case(loss=loss.name, digest=loss.digest, dtype=dtype, points=points, shape=at, **rest)


def drawn(name: str, *args: object, **rest: object) -> inputs.Problem:
    return inputs.draw(spec.load(name), case(name, *args, **rest))


def is_label(domain: str, labels: np.ndarray, size: int, marks: list[int]) -> np.ndarray:
    match domain:
        case "class":
            return ((labels >= 0) & (labels < size)) | np.isin(labels, marks)
        case "symbol":
            return (labels >= 0) & (labels < size) & ~np.isin(labels, marks)
        case "length":
            return (labels >= 0) & (labels <= size)
        case "id":
            return labels >= 0
        case "update":
            return (labels >= 0) & (np.diff(labels, prepend=0) >= 0)
    raise AssertionError(f"no test of the domain {domain}")


def is_inside(domain: str, values: np.ndarray, dtype: str) -> np.ndarray:
    slack = 4 * CLASSES * EPSILON[dtype]
    match domain:
        case "real":
            return np.isfinite(values)
        case "positive":
            return (values > 0) & np.isfinite(values)
        case "nonnegative":
            return (values >= 0) & np.isfinite(values)
        case "nonzero":
            return (values != 0) & np.isfinite(values)
        case "unit":
            return (values >= 0) & (values <= 1)
        case "sign":
            return np.abs(values) == 1
        case "logarithm":
            return (values <= 10) & np.isfinite(values)
        case "binary":
            return np.isin(values, (0, 1))
        case "count":
            return (values >= 0) & (values == np.rint(values)) & np.isfinite(values)
        case "simplex":
            return (values > 0) & (np.abs(values.astype(float).sum(-1, keepdims=True) - 1) <= slack)
        case "log_simplex":
            # A logarithm has an absolute error of its size in ulps; the probability has it as a relative one.
            rough = slack * np.maximum(1, np.abs(values).max(-1, keepdims=True))
            return (values <= 0) & (np.abs(np.exp(values.astype(float)).sum(-1, keepdims=True) - 1) <= rough)
        case "onehot":
            return np.isin(values, (0, 1)) & (values.sum(-1, keepdims=True) == 1)
        case "direction":
            return np.abs((values.astype(float) ** 2).sum(-1, keepdims=True) - 1) <= slack
    raise AssertionError(f"no test of the domain {domain}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", ["domain", "timing"])
def test_drawn_points_lie_in_the_domain_after_rounding(name, points):
    for dtype in DTYPES:
        problem = drawn(name, dtype, points)

        for key, one in problem.loss.inputs.items():
            array = problem.arrays[key]
            if one.kind == "label":
                marks = [value for value in problem.parameters.values() if isinstance(value, int)]
                sizes = problem.loss.lengths(problem.arrays)
                assert np.all(is_label(one.domain, array, sizes.get(one.of, 0), marks))
            else:
                assert np.all(is_inside(one.domain, array, dtype)), (key, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_have_the_shapes_and_types_that_problems_promise(name):
    for dtype in DTYPES:
        loss = spec.load(name)
        problem = drawn(name, dtype, weighted=not (loss.pooled or loss.accumulated))
        held = np.float64 if dtype == "float64" else np.float32
        sizes = dict(zip(loss.dimensions, shape(loss, POINTS, CLASSES), strict=True))

        for key, one in loss.inputs.items():
            assert problem.arrays[key].shape == tuple(sizes[axis] for axis in loss.along(key))
            assert problem.arrays[key].dtype == (np.int64 if one.kind == "label" else held)
        if not (loss.pooled or loss.accumulated):
            assert problem.sample_weight.shape == (sizes["batch"],)
            assert problem.sample_weight.dtype == held
        for key, one in loss.parameters.items():
            if one.kind == "row":
                assert problem.parameters[key].shape == (sizes["class"],)
            else:
                assert type(problem.parameters[key]) is (int if one.kind == "label" else float)


def fingerprint() -> str:
    """Of every loss's points, in one text."""
    digest = hashlib.sha256()
    for name in NAMES:
        for points in ("domain", "timing"):
            for array in drawn(name, "float64", points).arrays.values():
                digest.update(array.tobytes())
    return digest.hexdigest()


def test_every_process_draws_the_same_bits():
    code = "import sys; sys.path.insert(0, 'tests'); from test_inputs import fingerprint; print(fingerprint())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert other == fingerprint()


def test_another_index_draws_other_points():
    assert np.any(drawn("huber").arrays["y_pred"] != drawn("huber", index=1).arrays["y_pred"])


def test_reduction_and_weights_leave_the_points_as_they_are():
    plain, other = drawn("huber"), drawn("huber", reduction="mean", weighted=True)

    np.testing.assert_array_equal(plain.arrays["y_pred"], other.arrays["y_pred"])
    assert plain.sample_weight is None


def test_points_meet_fits_kinks_and_large_numbers():
    problem = drawn("huber")
    residual = np.abs(problem.arrays["y_pred"] - problem.arrays["y_true"])

    assert np.sum(residual == 0) >= POINTS // len(STYLES)
    assert np.sum(residual == problem.parameters["delta"]) >= POINTS // len(STYLES) // 2
    assert residual.max() > 1e6
    assert 0 < residual[residual > 0].min() < 1e-6


def test_points_of_16_bits_stay_in_range():
    for name in spec.names():
        for key, array in drawn(name, "float16").arrays.items():
            assert array.dtype.kind == "i" or np.abs(array).max() < 200, (name, key)


@pytest.mark.parametrize("name", ["categorical_cross_entropy", "kl_divergence"])
def test_rows_of_probabilities_are_nearly_certain_and_nearly_equal(name):
    rows = drawn(name, "float64").arrays["y_pred"]

    assert np.any(rows.max(1) > 1 - 1e-6)
    assert np.any(rows.max(1) == rows.min(1))


def test_a_tenth_of_the_labels_is_ignored():
    problem = drawn("sparse_softmax_cross_entropy")
    ignored = problem.arrays["y_true"] == problem.parameters["ignore_index"]

    assert 0.03 < ignored.mean() < 0.2


def test_row_parameters_are_repeated_over_the_classes():
    name = "sparse_softmax_cross_entropy"

    assert drawn(name).parameters["class_weight"].tolist() == [1] * CLASSES
    longer = drawn(name, parameters={"class_weight": ["1", "2", "1/2"]})
    assert longer.parameters["class_weight"].tolist() == [1, 2, 0.5, 1, 2]


def test_an_edge_is_drawn_from_its_table():
    loss = spec.load("huber")
    problem = inputs.draw(loss, case("huber", "float64", "edge", shape=(), index=0))

    assert problem.arrays["y_pred"].tolist() == [float(loss.edges[0].at["y_pred"])]


def test_a_divergence_brings_its_own_call():
    found = [
        (loss.name, index, one)
        for loss in spec.load_all()
        for index, one in enumerate(loss.divergences)
        if one.call is not None
    ]
    name, index, one = found[0]

    assert drawn(name, one.dtype, "divergence", shape=(), index=index).call == one.call


def test_one_element_becomes_a_batch_and_the_other_input_is_repeated():
    problem = inputs.of_point(
        spec.load("huber"), {"y_pred": ["1", "1/3"], "y_true": "-0", "sample_weight": ["1", "2"]}, "float32", "mean"
    )

    assert problem.arrays["y_pred"].tolist() == [1, float(np.float32(1 / 3))]
    assert np.signbit(problem.arrays["y_true"]).tolist() == [True, True]
    assert problem.sample_weight.tolist() == [1, 2]
    assert problem.parameters == {"delta": 1.0}


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        ("float16", "1e-7", 2.0**-23),  # twice the smallest subnormal number
        ("float16", "1e-8", 0.0),
        ("bfloat16", "1e-7", 215 * 2.0**-31),
        ("float32", "1e-7", float(np.float32(1e-7))),
        ("float64", "1e-7", 1e-7),
    ],
)
def test_small_parameters_are_rounded_to_the_dtype_first_wherever_they_come_from(dtype, text, expected):
    huber = spec.load("huber")
    ways = (
        drawn("huber", dtype, parameters={"delta": text}),
        inputs.of_point(huber, {"y_pred": "1", "y_true": "0", "delta": text}, dtype, "none"),
        inputs.problem(huber, {"y_pred": 1.0, "y_true": 0.0, "delta": float(text)}, dtype=dtype, reduction="none"),
    )

    assert [problem.parameters["delta"] for problem in ways] == [expected] * 3


def test_what_is_certified_has_the_rounded_parameter():
    huber = spec.load("huber")
    subnormal, vanished = (
        inputs.of_point(huber, {"y_pred": "1", "y_true": "0", "delta": delta}, "float16", "none").certified()
        for delta in ("1e-7", "1e-8")
    )

    assert subnormal.value.high.tolist() == [2.0**-23 * (1 - 2.0**-24)]
    assert vanished.value.high.tolist() == [0]


def test_one_row_becomes_a_batch():
    at = {"logits": ["1", "-inf", "nan"], "y_true": 2, "class_weight": ["1", "2", "3"]}
    problem = inputs.of_point(spec.load("sparse_softmax_cross_entropy"), at, "float64", "none")

    np.testing.assert_array_equal(problem.arrays["logits"], [[1, -np.inf, np.nan]])
    assert problem.arrays["y_true"].tolist() == [2]
    assert problem.parameters["class_weight"].tolist() == [1, 2, 3]


def test_an_empty_batch_has_three_classes():
    problem = inputs.of_point(spec.load("sparse_softmax_cross_entropy"), {"logits": [], "y_true": []}, "float32", "sum")

    assert problem.arrays["logits"].shape == (0, 3)
    assert problem.arrays["y_true"].shape == (0,)
    assert problem.parameters["class_weight"].shape == (3,)


@given(st.floats(width=32))
def test_bfloat16_rounds_as_ml_dtypes_does(value):
    expected = np.float32(value).astype(ml_dtypes.bfloat16).astype(np.float32)

    np.testing.assert_array_equal(inputs.rounded(np.array([value]), "bfloat16"), np.array([expected]))


@given(st.floats(allow_nan=False))
def test_rounding_once_is_rounding_for_ever(value):
    for dtype in DTYPES:
        once = inputs.rounded(np.array([value]), dtype)

        np.testing.assert_array_equal(inputs.rounded(once, dtype), once)


def test_a_double_is_rounded_to_bfloat16_once():
    above_half_way = np.array([1 + 2.0**-8 + 2.0**-40])  # float32 rounds it to half way, and then to even

    assert inputs.rounded(above_half_way, "bfloat16") == 1 + 2.0**-7


def test_numbers_beyond_the_range_become_infinite():
    large = np.array([-65520.0, 3.4e38 * 1.01])

    assert inputs.rounded(large[:1], "float16") == -np.inf
    assert inputs.rounded(large[1:], "float32") == np.inf
    assert inputs.rounded(large[1:], "bfloat16") == np.inf


@pytest.mark.parametrize(
    ("name", "arrays", "options", "text"),
    [
        ("huber", {"y_pred": 1}, {}, "huber needs 'y_true'; expected every input: y_pred, y_true"),
        ("huber", {"y_pred": 1, "y_true": 1, "beta": 1}, {}, "takes no 'beta'; expected: y_pred, y_true, delta"),
        ("huber", {"y_pred": [1, 2], "y_true": [1, 2, 3]}, {}, "differ in entries: y_pred 2, y_true 3"),
        ("huber", {"y_pred": [[1, 2]], "y_true": 1}, {}, r"y_pred has shape \(1, 2\); expected \(n,\)"),
        ("huber", {"y_pred": "one", "y_true": 1}, {}, "y_pred has the type <U3; expected numbers"),
        ("huber", {"y_pred": 1, "y_true": 1, "delta": [1, 2]}, {}, r"delta has shape \(2,\); expected one number"),
        ("huber", {"y_pred": 1, "y_true": 1}, {"dtype": "int8"}, "dtype 'int8'; expected one of: bfloat16, float16"),
        ("huber", {"y_pred": 1, "y_true": 1}, {"reduction": "max"}, "'max'; expected one of: mean, none, sum"),
        ("sparse_softmax_cross_entropy", {"logits": [1, 2], "y_true": 0.5}, {}, "y_true has a label that is no whole"),
        (
            "sparse_softmax_cross_entropy",
            {"logits": [1, 2], "y_true": 0, "class_weight": [1, 2, 3]},
            {},
            r"class_weight has shape \(3,\); expected \(\) or \(2,\)",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused(name, arrays, options, text):
    with pytest.raises(LossbenchError, match=text):
        inputs.problem(spec.load(name), arrays, **{"dtype": "float32", "reduction": "none", **options})
