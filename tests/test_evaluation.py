import numpy as np
import pytest

import lossbench
from lossbench import evaluation
from lossbench.errors import LossbenchError, SpecError, Unsupported

HUBER = {"y_pred": [0.5, 3.0], "y_true": 0}  # in the parabola, on the line


@pytest.mark.parametrize("target", ["torch", "tensorflow", "jax", "numba"])
def test_every_framework_evaluates_a_loss_on_plain_lists(target):
    pytest.importorskip(target)
    out = lossbench.evaluate("huber", target, **HUBER, delta=1.0)

    assert out.value.tolist() == [0.125, 2.5]
    assert out.gradient["y_pred"].tolist() == [0.5, 1.0]
    assert out.value.dtype == np.float32


def test_an_alias_a_path_and_a_loaded_loss_mean_the_same():
    pytest.importorskip("torch")
    loss = lossbench.load("huber")

    for named in ("HuberLoss", loss.path, str(loss.path), loss):
        assert lossbench.evaluate(named, **HUBER).value.tolist() == [0.125, 2.5]


@pytest.mark.parametrize(("reduction", "expected"), [("none", [0.25, 2.5]), ("sum", 2.75), ("mean", 1.375)])
def test_reductions_and_weights_are_applied(reduction, expected):
    pytest.importorskip("torch")
    out = lossbench.evaluate("huber", **HUBER, reduction=reduction, sample_weight=[2, 1], dtype="float64")

    assert out.value.tolist() == expected
    assert out.value.dtype == np.float64


def test_one_number_is_a_batch_of_one():
    pytest.importorskip("torch")

    assert lossbench.evaluate("huber", y_pred=3, y_true=0).value.shape == (1,)


def test_the_mode_can_stand_in_the_target_or_beside_it():
    pytest.importorskip("jax")

    assert evaluation._target("jax", None, None).mode == "eager"
    assert evaluation._target("jax:compiled", None, None) == evaluation._target("jax", "compiled", "cpu")
    assert lossbench.evaluate("huber", "jax:compiled", **HUBER).value.tolist() == [0.125, 2.5]


@pytest.mark.parametrize(
    ("loss", "target", "options", "error", "text"),
    [
        ("hubr", "torch", {}, SpecError, "unknown loss 'hubr'; did you mean: huber"),
        ("huber", "paddle", {}, LossbenchError, "unknown framework 'paddle' .*: jax, numba, numpy, tensorflow, torch"),
        (
            "huber",
            "torch",
            {"mode": "xla"},
            LossbenchError,
            "torch has no mode 'xla'; expected one of: compiled, eager",
        ),
        ("huber", "torch", {"device": "cuda:99"}, Unsupported, "finds no cuda:99 device"),
        ("huber", "torch@/usr/bin/python3", {}, LossbenchError, "names an interpreter; expected a target in this"),
        ("huber", "torch", {"dtype": "float8"}, LossbenchError, "unknown dtype 'float8'; expected one of: bfloat16"),
        ("huber", "torch", {"reduction": "avg"}, LossbenchError, "unknown reduction 'avg'; expected one of: mean"),
        ("huber", "torch", {"gamma": 1}, LossbenchError, "huber takes no 'gamma'; expected: y_pred, y_true, delta"),
        ("huber", "torch", {"y_true": [1, 2, 3]}, LossbenchError, "differ in entries: y_pred 2, y_true 3"),
        (
            "huber",
            "torch",
            {"sample_weight": [[1]]},
            LossbenchError,
            r"sample_weight has shape \(1, 1\); expected \(n,\)",
        ),
    ],
)
def test_a_request_that_cannot_be_served_says_why(loss, target, options, error, text):
    pytest.importorskip("torch")
    with pytest.raises(error, match=text):
        lossbench.evaluate(loss, target, **{**HUBER, **options})


def test_a_missing_input_is_named():
    with pytest.raises(LossbenchError, match="huber needs 'y_true'; expected every input: y_pred, y_true"):
        lossbench.evaluate("huber", y_pred=1)


def test_a_framework_that_is_not_installed_says_how_to_get_it(monkeypatch):
    def missing(framework: str) -> None:
        raise ImportError(f"No module named {framework!r}", name=framework)

    monkeypatch.setattr("lossbench.adapters.load", missing)

    with pytest.raises(Unsupported, match=r"No module named 'jax'; try: pip install 'lossbench\[jax\]'"):
        lossbench.evaluate("huber", "jax", **HUBER)


def test_the_reference_is_correctly_rounded():
    ref = lossbench.reference("squared_error", y_pred=0.1, y_true=0, dtype="float32")

    # The input is the float32 nearest 0.1, and its square needs 48 bits: a double holds it.
    assert ref.value.tolist() == [float(np.float32(0.1)) ** 2]
    assert ref.gradient["y_pred"].tolist() == [2 * float(np.float32(0.1))]


def test_the_reference_gives_both_ends_of_the_slopes_at_a_kink():
    ref = lossbench.reference("absolute_error", y_pred=[1, 2], y_true=1)

    assert ref.subdifferential["y_pred"].tolist() == [[-1, 1], [1, 1]]
    assert ref.kind["y_pred"].tolist() == ["kink", "finite"]


def test_the_reference_says_how_sure_it_is():
    ref = lossbench.reference("log_cosh", y_pred=[1, float("inf"), float("nan")], y_true=0)

    assert ref.kind["value"].tolist() == ["finite", "infinite", "undefined"]
    assert ref.radius["value"][0] < 2**-100


def test_the_reference_reduces_and_weighs():
    ref = lossbench.reference("huber", **HUBER, reduction="mean", sample_weight=[2, 1])

    assert float(ref.value) == 1.375
    assert ref.gradient["y_pred"].tolist() == [0.5, 0.5]


def test_the_reference_refuses_what_evaluate_refuses():
    with pytest.raises(LossbenchError, match="huber takes no 'gamma'"):
        lossbench.reference("huber", **HUBER, gamma=1)
