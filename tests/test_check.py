"""Checking losses of one's own: wrong ones are caught at the smallest input, right ones are not accused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lossbench
from lossbench.checking import subject
from lossbench.cli import app
from lossbench.errors import LossbenchError

OWN = Path(__file__).parent / "own"

WRONG = [  # the loss, what it is to be, its parameters, and part of what is said of it or of the smallest failing input
    ("torch:wrong_axis", "sparse_softmax_cross_entropy", {}, ""),
    ("torch:wrong_divisor", "sparse_softmax_cross_entropy", {}, "0.25 times"),
    ("torch:swapped_alpha", "sigmoid_focal", {}, "alpha = 0.75 in place of 0.25"),
    ("torch:one_alpha", "sigmoid_focal", {}, "one alpha weighs all classes alike"),
    ("torch:missing_clip", "binary_cross_entropy", {}, "y_pred=0, y_true=0"),
    ("torch:wrong_sign", "cosine_similarity", {}, "sign is turned round"),
    ("torch:detached", "squared_error", {}, "detached"),
    ("torch:float64_leak", "half_squared_error", {}, "another dtype comes out"),
    ("torch:other_when_compiled", "absolute_error", {}, "compiled"),
    ("torch:SmoothingOffByOne", "sparse_softmax_cross_entropy", {"label_smoothing": "1/10"}, ""),
    ("tensorflow:narrow_clip", "binary_cross_entropy", {}, ""),
    ("tensorflow:base_two", "kl_divergence", {}, "base 2"),
    ("tensorflow:mean_over_the_batch", "squared_error", {}, "twice"),
    ("tensorflow:other_in_a_graph", "absolute_error", {}, "compiled"),
    ("tensorflow:NoLogarithm", "poisson", {}, ""),
    ("tensorflow:sum_not_mean", "hinge", {}, "times"),
    ("jax:missing_half", "huber", {}, ""),
    ("jax:nan_at_the_fit", "absolute_error", {}, "y_pred=0, y_true=0"),
    ("jax:stopped_weight", "sigmoid_focal", {}, "gradient"),
    ("jax:fixed_gamma", "sigmoid_focal", {}, "gamma = 1 in place of 2"),
]
RIGHT = [
    ("torch:squared", "squared_error", {}),
    ("torch:Huber", "huber", {"delta": 2}),
    ("torch:focal", "sigmoid_focal", {}),
    ("torch:cross_entropy", "sparse_softmax_cross_entropy", {"label_smoothing": "1/8"}),
    ("torch:softplus_entropy", "sigmoid_cross_entropy", {}),
    ("torch:hinge", "hinge", {}),
    ("torch:prints", "absolute_error", {}),
    ("tensorflow:LogCosh", "log_cosh", {}),
    ("tensorflow:poisson", "poisson", {}),
    ("tensorflow:cosine", "cosine_similarity", {}),
    ("jax:log_cosh", "log_cosh", {}),
    ("jax:triplet", "triplet_margin", {}),
    ("jax:soft_margin", "soft_margin", {}),
    ("jax:softmax_entropy", "softmax_cross_entropy", {}),
    ("numpy:absolute", "absolute_error", {}),
    ("torch.nn.functional:huber_loss", "huber", {}),
    ("torch.nn:SmoothL1Loss", "smooth_l1", {}),
    ("keras.losses:Huber", "huber", {}),
    ("optax.losses:sigmoid_binary_cross_entropy", "sigmoid_cross_entropy", {}),
    ("optax.losses:squared_error", "squared_error", {}),
]


def where(name: str) -> str:
    framework, _, function = name.partition(":")
    file = OWN / f"{framework}_losses.py"
    return f"{file}:{function}" if file.is_file() else name


def checked(name, loss, parameters, **more):
    by_compiling = "compiled" in name or "graph" in name
    modes = () if by_compiling else ("eager",)
    return lossbench.check(where(name), loss, modes=modes or None, dtypes=("float64",), **more, **parameters)


@pytest.mark.parametrize(("name", "loss", "parameters", "said"), WRONG, ids=[one[0] for one in WRONG])
def test_wrong_loss_is_caught_at_a_small_input(name, loss, parameters, said):
    found = checked(name, loss, parameters)

    assert found.verdict == "wrong"
    assert said in str(found)
    assert found.failing is not None
    if found.failing.problem is not None:
        assert all(array.size <= 4 for array in found.failing.problem.arrays.values())
        assert found.script


@pytest.mark.parametrize(("name", "loss", "parameters"), RIGHT, ids=[one[0] for one in RIGHT])
def test_right_loss_is_not_accused(name, loss, parameters):
    found = checked(name, loss, parameters)

    assert found.verdict in ("right", "weak"), str(found)
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("name", "verdict", "said"),
    [
        ("raises", "no answer", "ValueError: not today"),
        ("ends_its_process", "no answer", "killed by SIGKILL"),
        ("two_numbers_each", "wrong", "(2, 6)"),
    ],
)
def test_whatever_it_does_ends_in_a_verdict(name, verdict, said):
    found = lossbench.check(where(f"torch:{name}"), "absolute_error")

    assert found.verdict == verdict
    assert said in found.why[0]
    assert found.exit_code == (1 if verdict == "wrong" else 3)


def test_loss_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(subject, "DEADLINE", 8.0)
    monkeypatch.setattr(subject, "_open", {})

    found = lossbench.check(where("torch:hangs"), "absolute_error")

    subject.close()
    assert found.verdict == "no answer"
    assert "no answer after 8 seconds" in str(found)


def test_next_check_is_served_after_a_process_has_ended():
    lossbench.check(where("torch:ends_its_process"), "absolute_error")

    assert checked("torch:squared", "squared_error", {}).verdict == "right"


def test_loss_that_is_not_named_is_found_by_its_values():
    found = checked("torch:Huber", None, {})

    assert found.loss == "huber"
    assert found.verdict in ("right", "weak")


def test_loss_that_is_none_of_the_catalogue_is_said_to_be_none():
    found = lossbench.check(where("numpy:quantile"))

    assert found.verdict == "wrong"
    assert "none of the losses" in str(found)


def test_another_loss_is_named():
    found = checked("torch:squared", "half_squared_error", {})

    assert "twice" in str(found)
    assert "squared_error" in str(checked("torch:squared", "absolute_error", {}).why)


def test_arguments_can_be_said():
    found = checked("torch:one_alpha", "sigmoid_focal", {}, arguments={"y_true": "inputs", "logits": "targets"})

    assert found.call == "yours(y_true, logits, alpha, gamma)"


def test_mean_can_be_said_to_be_a_sum():
    assert checked("torch:hinge", "hinge", {}, reduction="mean").verdict == "wrong"


def test_unknown_parameter_is_an_error():
    with pytest.raises(LossbenchError, match="huber has no parameter 'gamma' and your loss no such argument"):
        lossbench.check(where("torch:Huber"), "huber", gamma=2)


def test_unknown_argument_is_an_error():
    with pytest.raises(LossbenchError, match="it has no argument 'nothing'"):
        lossbench.check(where("torch:Huber"), "huber", arguments={"y_pred": "nothing"})


def test_function_itself_can_be_given():
    from own import numpy_losses

    assert lossbench.check(numpy_losses.absolute, "absolute_error").verdict == "right"


def test_check_at_the_command_line_says_where_it_fails():
    done = CliRunner().invoke(
        app, ["check", "--no-speed", where("jax:fixed_gamma"), "--loss", "sigmoid_focal", "--json"]
    )

    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert said["failing"]["at"] == {"logits": [0.0], "y_true": [0.0]}
    assert said["why"] == ["it is the loss with gamma = 1 in place of 2"]


def test_script_of_a_failing_input_runs(tmp_path):
    found = checked("torch:missing_clip", "binary_cross_entropy", {})
    printed: list[object] = []

    exec(compile(found.script, "script", "exec"), {"print": printed.append})

    assert "nan" in str(printed[0])


def test_own_spec_serves_as_the_truth(tmp_path):
    from lossbench import spec

    path = spec.start("my_loss", tmp_path)
    (tmp_path / "mine.py").write_text("def mine(y_pred, y_true, scale=1.0):\n    return scale*(y_pred - y_true)**2/2\n")

    assert lossbench.check(f"{tmp_path / 'mine.py'}:mine", path).verdict in ("right", "weak")


def test_right_loss_is_timed_beside_the_others():
    found = checked("torch:squared", "squared_error", {}, speed=True)

    told = [one.words for one in found.findings if one.question == "speed, with gradient"]
    assert len(told) == 1
    assert "times as long as torch" in told[0]
    assert "the local kernel" in told[0]
