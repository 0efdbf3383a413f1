"""The reference as an adapter: what its worker answers with."""

import numpy as np
import pytest
from msgspec.structs import replace

from lossbench import adapters, inputs, spec
from lossbench.adapters import reference
from lossbench.errors import Unsupported
from lossbench.records import REFERENCE, Target


def answer(name, at, reduction="none", dtype="float64"):
    problem = inputs.of_point(spec.load(name), at, dtype, reduction)
    return adapters.load("reference").open(REFERENCE).prepare(problem).arrays()


def test_answers_have_remainders_radii_and_ends():
    arrays = answer("absolute_error", {"y_pred": ["1", "3"], "y_true": ["1", "5"]})
    parts = {"", ".low", ".radius", ".lower", ".upper"}

    assert set(arrays) == {"value", "value.low", "value.radius"} | {f"gradient.y_pred{p}" for p in parts}
    assert all(array.dtype == np.float64 and array.shape == (2,) for array in arrays.values())
    assert arrays["gradient.y_pred.lower"].tolist() == [-1, -1]
    assert arrays["gradient.y_pred.upper"].tolist() == [1, -1]


def test_a_mean_is_one_number():
    arrays = answer("squared_error", {"y_pred": ["1", "3"], "y_true": ["0", "0"]}, "mean")

    assert arrays["value"].shape == ()
    assert arrays["value"] == 5
    assert arrays["gradient.y_pred"].tolist() == [1, 3]


def test_forward_and_gradient_can_be_called():
    problem = inputs.of_point(spec.load("log_cosh"), {"y_pred": "1", "y_true": "0"}, "float32", "sum")
    prepared = reference.open(REFERENCE).prepare(problem)

    assert prepared.forward().gradient == {}
    assert prepared.forward().value == prepared.gradient().value
    assert prepared.gradient().gradient["y_pred"].high.shape == (1,)


@pytest.mark.parametrize("target", [Target(framework="reference"), replace(REFERENCE, device="cuda")])
def test_what_it_cannot_serve_is_unsupported(target):
    with pytest.raises(Unsupported, match="expected"):
        reference.open(target)


def test_it_says_its_versions_and_bits():
    opened = reference.open(REFERENCE)

    assert set(opened.versions()) == {"python-flint", "flint"}
    assert opened.settings() == {"bits": "128 to 16384"}
    assert opened.machine() == {}
