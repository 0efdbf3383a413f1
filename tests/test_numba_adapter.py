from dataclasses import replace

import numpy as np
import pytest

from lossbench import inputs, spec
from lossbench.adapters import load
from lossbench.errors import Unsupported
from lossbench.formula import oracle
from lossbench.records import Case, Target


@pytest.fixture
def adapter():
    return load("numba").open(Target(framework="numba", mode="compiled"))


def problem(name="huber", dtype="float32", reduction="none", **given):
    given = given or {"y_pred": [0.5, -3.0], "y_true": [0.0, 1.0]}
    return inputs.problem(spec.load(name), given, dtype=dtype, reduction=reduction)


def test_the_only_mode_is_compiled():
    assert load("numba").MODES == ("compiled", "reused")

    with pytest.raises(Unsupported, match="numba has no mode 'eager'; expected: compiled"):
        load("numba").open(Target(framework="numba", mode="eager"))


def test_other_devices_are_refused():
    with pytest.raises(Unsupported, match="numba finds no tpu device here; expected cpu or cuda"):
        load("numba").open(Target(framework="numba", mode="compiled", device="tpu"))


def test_threads_and_how_they_wait_are_stated(adapter):
    settings = adapter.settings()

    assert int(settings["threads"]) >= 1
    assert settings["waiting threads"].endswith("then sleep")


def test_as_many_threads_as_asked(monkeypatch):
    monkeypatch.setenv("LOSSBENCH_THREADS", "1")

    assert load("numba").open(Target(framework="numba", mode="compiled")).settings()["threads"] == "1"


def test_versions_name_what_compiles(adapter):
    assert set(adapter.versions()) == {"numba", "llvmlite", "numpy"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_arrays_are_value_and_gradient(adapter, dtype, reduction):
    asked = problem(dtype=dtype, reduction=reduction)
    exact = oracle.certify(asked.loss.formula, asked.arrays, asked.parameters, reduction=reduction)

    arrays = adapter.prepare(asked).arrays()

    assert set(arrays) == {"value", "gradient.y_pred"}
    assert {array.dtype for array in arrays.values()} == {np.dtype(dtype)}
    np.testing.assert_allclose(arrays["value"], exact.value.high, rtol=1e-6)
    np.testing.assert_allclose(arrays["gradient.y_pred"], exact.gradient["y_pred"].high, rtol=1e-6)


def test_row_parameters_and_labels_are_handed_on(adapter):
    asked = problem(
        "sparse_softmax_cross_entropy", logits=[[0.0, 0.0], [0.0, 0.0]], y_true=[1, -100], class_weight=[1.0, 3.0]
    )

    assert adapter.prepare(asked).arrays()["value"] == pytest.approx([3 * np.log(2), 0])


def test_timed_calls_return_the_results(adapter):
    prepared = adapter.prepare(problem())

    value, gradient = prepared.gradient()

    assert np.array_equal(prepared.forward(), value)
    assert list(gradient) == ["y_pred"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_computed_in_float32_and_rounded_once(adapter, dtype):
    single = adapter.prepare(problem("log_cosh")).arrays()
    narrow = adapter.prepare(problem("log_cosh", dtype=dtype)).arrays()

    assert all(np.array_equal(narrow[name], inputs.rounded(single[name], dtype)) for name in single)
    assert not np.array_equal(narrow["value"], single["value"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_have_the_parameters_that_they_can_hold(adapter, dtype):
    asked = problem("gaussian_nll", dtype=dtype, y_pred=[0.5], y_true=[0.5], variance=[0.0])
    smallest = asked.parameters["eps"]

    value = adapter.prepare(asked).arrays()["value"]

    assert smallest != np.float32(1e-6)
    assert value[0] == inputs.rounded(np.log(np.float64(smallest)) / 2, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_not_timed(adapter, dtype):
    with pytest.raises(Unsupported, match=f"numba has no {dtype} arithmetic"):
        adapter.prepare(replace(problem(dtype=dtype), timed=True))


@pytest.mark.parametrize("mode", ["compiled", "reused"])
@pytest.mark.parametrize("name", ["huber", "multi_margin", "sparse_softmax_cross_entropy"])
def test_timed_calls_take_the_short_way(monkeypatch, name, mode):
    loss = spec.load(name)
    shape = (32, 10) if loss.axes else (100,)
    case = Case(loss=name, digest=loss.digest, dtype="float32", points="timing", shape=shape, reduction="mean")
    prepared = load("numba").open(Target(framework="numba", mode=mode)).prepare(inputs.draw(loss, case))
    value, (again, slopes) = prepared.forward(), prepared.gradient()
    monkeypatch.setattr("lossbench.kernels.call.Kernel._carefully", lambda *given: pytest.fail("a careful look"))

    assert prepared.forward() == value
    assert prepared.gradient()[0] == again
    assert all(np.array_equal(one, slopes[name]) for name, one in prepared.gradient()[1].items())
