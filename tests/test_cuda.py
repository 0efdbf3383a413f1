"""Kernels for a GPU, in Numba's simulator: in a process of its own, where it is switched on before Numba loads."""

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lossbench import spec
from lossbench.adapters import load
from lossbench.adapters.numba import signature_of
from lossbench.errors import Unsupported
from lossbench.formula.cuda import source
from lossbench.formula.kernel import has_nests
from lossbench.records import Target

TESTS = Path(__file__).parent
ROUGH = ("cosine_distance", "cosine_embedding", "triplet_margin_with_distance")  # quotients of norms near zero


@pytest.fixture(scope="module")
def simulated():
    """Asks the process a question of `cuda_kernels`."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", TESTS / "cuda_kernels.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(TESTS.parent)},
    )

    def ask(*question):
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.stdin.close()
    process.wait()


def generated(name, **changed):
    loss = spec.load(name)
    return source(
        loss.formula,
        signature_of(loss),
        **{"dtype": "float32", "gradient": True, "each": False, "weighted": False, **changed},
    )


@pytest.mark.parametrize("name", spec.names())
def test_value_and_gradient_of_every_loss_agree_with_the_oracle(name, simulated):
    errors = simulated("of_loss", name)

    if has_nests(spec.load(name).formula):
        assert errors == {
            "refused": "CUDA kernels are generated for losses of elements or rows; this one has other axes"
        }
    else:
        assert errors.pop("value") <= 8
        assert all(error <= 64 for error in errors.values())


@pytest.mark.parametrize(
    "name", ["huber", "sigmoid_cross_entropy", "binary_cross_entropy", "sparse_softmax_cross_entropy"]
)
def test_required_edges_come_out(name, simulated):
    answer = simulated("of_edges", name)

    assert answer["asked"] > 0
    assert answer["wrong"] == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_reductions_and_weights_agree_with_the_oracle(dtype, reduction, weighted, simulated):
    errors = simulated("of_reduction", dtype, reduction, weighted)

    assert all(error <= 4 for error in errors.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_keep_their_digits_and_their_order(dtype, simulated):
    found = simulated("of_sum", dtype)

    assert found["error"] <= 1
    assert found["same"]


@pytest.mark.parametrize(("reduction", "value"), [("none", []), ("sum", 0.0), ("mean", math.nan)])
def test_an_empty_batch(reduction, value, simulated):
    found = simulated("of_numbers", "squared_error", reduction, {"y_pred": [], "y_true": []})

    np.testing.assert_equal(found, {"value": value, "gradient.y_pred": []})


def test_nan_and_infinity_stay_in_their_elements(simulated):
    found = simulated("of_numbers", "squared_error", "none", {"y_pred": [math.nan, math.inf, 1.0], "y_true": [0.0] * 3})

    np.testing.assert_equal(found["value"], [math.nan, math.inf, 1])
    np.testing.assert_equal(found["gradient.y_pred"], [math.nan, math.inf, 2])


def test_a_weight_of_zero_silences_an_infinite_loss(simulated):
    given = {"y_pred": [math.inf, 3.0], "y_true": [0.0, 0.0], "sample_weight": [0.0, 2.0]}
    found = simulated("of_numbers", "squared_error", "sum", given)

    assert found == {"value": 18.0, "gradient.y_pred": [0.0, 12.0]}


def test_a_mean_over_ignored_labels_alone_is_nan(simulated):
    found = simulated("of_numbers", "sparse_softmax_cross_entropy", "mean", {"logits": [[1.0, 2.0]], "y_true": [-100]})

    np.testing.assert_equal(found["value"], math.nan)


def test_the_simulator_is_not_timed(simulated):
    assert simulated("of_timing") == {"refused": "the simulator of a GPU has no speed of its own; expected a GPU"}


def test_without_a_gpu_the_target_is_refused():
    from numba import cuda

    if cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(Unsupported, match=r"numba \S+ finds no cuda device here; expected cpu"):
        load("numba").open(Target(framework="numba", mode="compiled", device="cuda"))


def test_on_a_gpu_the_kernels_agree_with_the_oracle():
    from numba import cuda

    if not cuda.is_available():
        pytest.skip("no GPU here")
    import cuda_kernels

    adapter = load("numba").open(Target(framework="numba", mode="compiled", device="cuda"))
    for name in ("huber", "sigmoid_cross_entropy", "sparse_softmax_cross_entropy"):
        errors = cuda_kernels.of_loss(adapter, name)
        assert errors.pop("value") <= 8
        assert all(error <= 64 for error in errors.values())


@pytest.mark.parametrize("name", ["huber", "sigmoid_cross_entropy", "sparse_softmax_cross_entropy"])
def test_no_arithmetic_in_generated_text_has_a_bare_fraction(name):
    for node in ast.walk(ast.parse(generated(name))):
        if isinstance(node, ast.FunctionDef):
            floats = [one for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, float)]
            assert not floats


def test_the_mean_over_all_elements_needs_no_other_kernel():
    assert "def divisor(" not in generated("huber")
    assert "def divisor(" in generated("sparse_softmax_cross_entropy")
    assert "def divisor(" not in generated("sparse_softmax_cross_entropy", each=True)


def test_only_what_is_asked_for_is_an_argument():
    assert "weight" not in generated("huber", gradient=False)
    assert "gradient_" not in generated("huber", gradient=False)
    assert "weight, gradient_y_pred_, values, work" in generated("huber", weighted=True)
