"""Scripts that show divergences without this package: short, plain, and right."""

import ast
import re
import sys
from functools import cache

import numpy as np
import pytest

from lossbench import adapters, inputs, plain, script, spec
from lossbench.errors import LossbenchError
from lossbench.records import Target

LOSSES = {loss.name: loss for loss in spec.load_all()}
FRAMEWORKS = ["torch", "tensorflow", "jax"]
MODULES = {"torch": {"torch"}, "tensorflow": {"tensorflow", "keras"}, "jax": {"jax", "optax"}}
RESOLVED = {"reduce", "reduction", "dtype"}
LINE = re.compile(r"(value|gradient of (\w+)): (.*) exact: (.*)")


def sample(framework):
    """One divergence for each mode, dtype, reduction and sort of answer."""
    found = {}
    for name, loss in LOSSES.items():
        for number, one in enumerate(loss.divergences, 1):
            said = (one.value, one.gradient, one.raises)  # of nothing that is said, nothing repeats itself
            if one.framework == framework and said != (None, None, None):
                found.setdefault((one.mode, one.dtype, one.reduction, one.raises is None), (name, number))
    return list(found.values())


@cache
def opened(framework, mode):
    try:
        return adapters.load(framework).open(Target(framework=framework, mode=mode))
    except ImportError as error:
        pytest.skip(str(error))


def answered(loss, number):
    """What a run records of that divergence: arrays, or what was raised."""
    one = loss.divergences[number - 1]
    problem = inputs.of_point(loss, one.when, one.dtype, one.reduction, one.call)
    target = opened(one.framework, one.mode or script.MODES[one.framework])
    try:
        return target.prepare(problem).arrays()
    except Exception as error:
        return error


def run(text):
    """Runs a script in this process."""
    try:
        exec(compile(text, "<script>", "exec"), {})
    finally:
        if "jax_enable_x64" in text:
            sys.modules["jax"].config.update("jax_enable_x64", False)


def read(line):
    """The key and the numbers of a line that a script printed."""
    what, name, got, _ = LINE.fullmatch(line).groups()
    numbers = eval(got, {"inf": np.inf, "nan": np.nan})
    return "value" if what == "value" else f"gradient.{name}", np.array(numbers, np.float64).ravel()


@pytest.mark.parametrize("name", LOSSES)
def test_every_script_is_short_and_names_its_framework_alone(name):
    loss = LOSSES[name]
    for number, one in enumerate(loss.divergences, 1):
        text = script.of(loss, number)
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
        imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}

        assert len(text.splitlines()) <= script.LINES
        assert "lossbench" not in text
        assert imported <= MODULES[one.framework] | {"math"}
        assert not RESOLVED & {node.id for node in nodes if isinstance(node, ast.Name)}


@pytest.mark.parametrize(
    ("name", "number"), [case for framework in FRAMEWORKS for case in sample(framework)], ids=lambda case: str(case)
)
def test_script_prints_what_a_run_records(name, number, capsys):
    loss = LOSSES[name]
    recorded = answered(loss, number)
    text = script.of(loss, number)

    if isinstance(recorded, Exception):
        with pytest.raises(type(recorded)):
            run(text)
        return
    run(text)

    printed = dict(read(line) for line in capsys.readouterr().out.splitlines())
    assert printed.keys() == recorded.keys()
    for key, array in recorded.items():
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(printed[key].astype(array.dtype), array.ravel(), key)


def test_script_says_what_is_certified():
    lines = script.of(LOSSES["huber"], 1).splitlines()

    assert lines[-2].endswith('"exact: inf")')
    assert lines[-1].endswith('"exact: 1")')


def test_kink_is_said_with_both_ends():
    loss = LOSSES["absolute_error"]
    number = next(at for at, one in enumerate(loss.divergences, 1) if one.when == {"y_pred": "0", "y_true": "0"})

    assert script.of(loss, number).splitlines()[-1].endswith('"exact: [-1, 1]")')


def test_undefined_is_said_so():
    loss = LOSSES["hinge"]
    number = next(at for at, one in enumerate(loss.divergences, 1) if one.when["y_pred"] == "nan")

    assert '"exact: undefined")' in script.of(loss, number)


@pytest.mark.parametrize(
    ("call", "given", "expected"),
    [
        ("F.mse_loss(y_pred, y_true, weight=sample_weight)", {}, "F.mse_loss(y_pred, y_true)"),
        ("F.huber_loss(y_pred, y_true, reduction, delta)", {"delta": "2"}, "F.huber_loss(y_pred, y_true, 'mean', 2.0)"),
        ("reduce(y_pred * (1 - delta) + delta / 2)", {"delta": "0"}, "torch.mean(y_pred)"),
        ("reduce(y_pred ** delta)", {"delta": "-1"}, "torch.mean(y_pred ** (-1.0))"),
        ("reduce(y_pred if delta == 1 else y_true)", {}, "torch.mean(y_pred)"),
        (
            "reduce(y_pred)",
            {"sample_weight": ["1", "2", "0"], "y_pred": ["1", "2", "3"]},
            "torch.sum(y_pred * sample_weight) / 3",
        ),
    ],
)
def test_calls_are_resolved(call, given, expected):
    at = {"y_pred": "1", "y_true": "0", **given}
    problem = inputs.of_point(LOSSES["huber"], at, "float32", "mean", call)

    found = plain.expression(problem, "torch")

    assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(expected))


def test_divisor_of_a_mean_is_put_in():
    at = {"logits": [["0", "0"], ["0", "1"]], "y_true": ["0", "1"], "class_weight": ["1", "3"]}
    problem = inputs.of_point(LOSSES["sparse_softmax_cross_entropy"], at, "float32", "mean", "reduce(logits[:, 0])")

    assert plain.expression(problem, "jax") == "jnp.sum(logits[:, 0]) / 4.0"


def test_class_weights_of_one_are_left_out():
    loss = LOSSES["sparse_softmax_cross_entropy"]
    number = next(at for at, one in enumerate(loss.divergences, 1) if one.framework == "torch")

    assert "weight" not in script.of(loss, number)


@pytest.mark.parametrize("number", [0, 1000])
def test_number_that_is_not_there_is_refused(number):
    with pytest.raises(LossbenchError, match=rf"huber has no divergence {number}; expected a number from 1 to \d+"):
        script.of(LOSSES["huber"], number)
