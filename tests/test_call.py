import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench import inputs, spec
from lossbench.adapters import call, divisor
from lossbench.adapters.allowed import MODULES, check
from lossbench.errors import CallError, Unsupported

NAMES = ("y_pred", "y_true", "delta", "sample_weight", "reduction", "reduce", "dtype")
EVERY = (*NAMES, *{module for modules in MODULES.values() for module in modules})


def calls() -> list[tuple[str, str, str]]:
    """Every call of every spec: (loss, framework, text)."""
    found = []
    for loss in spec.load_all():
        for framework, one in loss.frameworks.items():
            found += [(loss.name, framework, text) for text in (one.call, one.weighted) if text]
        found += [(loss.name, one.framework, one.call) for one in loss.divergences if one.call]
    return found


@pytest.mark.parametrize(("name", "framework", "text"), calls())
def test_every_call_of_every_spec_is_allowed(name, framework, text):
    assert isinstance(check(text, call.names(spec.load(name), framework)), ast.Expression)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "eval('1')",
        "exec('1')",
        "getattr(torch, 'load')('x')",
        "torch.load('x')",
        "torch.hub.load('a', 'b')",
        "torch.utils.data",
        "torch.multiprocessing.spawn(reduce)",
        "torch.__loader__",
        "torch._C",
        "torch.os.system('true')",
        "torch.compile(reduce)",
        "torch.set_num_threads(1)",
        "nn.modules.torch.load('x')",
        "F.__globals__",
        "tf.io.write_file('a', 'b')",
        "tf.py_function(reduce, [], [])",
        "tf.numpy_function(reduce, [], [])",
        "tf.raw_ops.WriteFile(filename='a', contents='b')",
        "keras.utils.get_file('a', 'b')",
        "keras.models.load_model('a')",
        "jnp.load('x')",
        "jnp.save('x', y_pred)",
        "jax.pure_callback(reduce, y_pred)",
        "jax.experimental.io_callback(reduce, None)",
        "optax.losses._src",
        "math.__dict__",
        "y_pred.__class__",
        "y_pred.numpy()",
        "y_pred.tofile('x')",
        "().__class__.__bases__",
        "'x'.join(y_pred)",
        "reduce.__closure__",
        "F.huber_loss(y_pred, y_true).backward()",
        "(lambda: 1)()",
        "(lambda *x: 1)(y_pred)",
        "(lambda **x: 1)(y_pred)",
        "(lambda x=1: x)()",
        "(lambda x: os.system('true'))(y_pred)",
        "(lambda x: x.numpy())(y_pred)",
        "(lambda torch: torch.load('x'))(y_pred)",
        "(lambda x: 1)(y_pred) + x",
        "[x for x in y_pred]",
        "{x for x in y_pred}",
        "{1, 2}",
        "(x for x in y_pred)",
        "(x := 1)",
        "f'{y_pred}'",
        "b'bytes'",
        "F.huber_loss(*y_pred)",
        "F.huber_loss(**y_pred)",
        "await y_pred",
        "yield",
        "x = 1",
        "import os",
        "y_pred; y_true",
        "unknown(y_pred)",
        "os.system('true')",
        "np.save('x', y_pred)",
        "reduce()",
        "reduce(y_pred, y_true)",
        "reduce(x=y_pred)",
        "",
        "F.huber_loss(",
        "\0",
        "(" * 500,
        "-" * 100_000 + "1",
        "-" * 950 + "1",
    ],
)
def test_what_calls_may_not_use_is_refused(text):
    with pytest.raises(CallError):
        check(text, EVERY)


def test_a_function_of_its_own_arguments_may_be_given():
    text = "F.triplet_margin_with_distance_loss(y_pred, y_true, y_true, distance_function=lambda x, y: F.l1_loss(x, y))"

    assert isinstance(check(text, EVERY), ast.Expression)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("os.system('x')", "names 'os'; expected one of: F, delta, dtype, jax, jnp, keras, math"),
        ("torch.hub.load('x')", "uses the module torch.hub; expected one of: F, jax, jax.lax"),
        ("torch.load('x')", "uses torch.load; expected a loss or an array operation"),
        ("y_pred.numpy()", "uses the attribute 'numpy' of `y_pred`; expected attributes of modules \\(F, jax"),
        ("[x for x in y_pred]", r"uses ListComp \(`\[x for x in y_pred\]`\); expected one expression of calls"),
        ("reduce(y_pred, y_true)", "gives reduce 2 arguments; expected 1"),
        ("1 +", r"is not readable \(invalid syntax\); expected one expression"),
    ],
)
def test_a_refusal_says_what_was_found_and_what_is_allowed(text, found):
    with pytest.raises(CallError, match=found):
        check(text, EVERY)


def test_a_call_of_one_framework_may_not_name_another():
    with pytest.raises(CallError, match="names 'jnp'; expected one of: F, delta, dtype, math, nn"):
        check("reduce(jnp.abs(y_pred))", (*NAMES, *MODULES["torch"]))


@given(st.text(alphabet="yF.()[]'_:=*+,r ", max_size=30))
def test_any_text_is_checked_or_refused(text):
    try:
        tree = check(text, (*EVERY, "y", "r"))
    except CallError:
        return
    assert not any(isinstance(node, ast.Lambda | ast.NamedExpr | ast.Starred) for node in ast.walk(tree))


def problem(name="huber", reduction="mean", call_=None, weight=None, **given_):
    loss = spec.load(name)
    return inputs.problem(loss, given_, dtype="float64", reduction=reduction, sample_weight=weight, call=call_)


def made(one):
    """The call as a function of NumPy arrays."""
    return call.function(one, "torch", {}, total=np.sum, mean=np.mean)(*call.arrays(one).values())


PREDICTED = {"y_pred": [1, 2, 6], "y_true": 0}


@pytest.mark.parametrize(
    ("reduction", "weight", "expected"),
    [
        ("none", None, [1, 2, 6]),
        ("sum", None, 9),
        ("mean", None, 3),
        ("none", [1, 0, 2], [1, 0, 12]),
        ("sum", [1, 0, 2], 13),
        ("mean", [1, 0, 2], 13 / 3),
    ],
)
def test_reduce_weighs_before_it_reduces_and_the_mean_divides_by_the_number(reduction, weight, expected):
    one = problem(reduction=reduction, call_="reduce(y_pred - y_true)", weight=weight, **PREDICTED)

    np.testing.assert_array_equal(made(one), expected)


def test_the_mean_divides_by_the_rows_that_count():
    rows = {"logits": np.zeros((3, 2)), "y_true": [0, -100, 1], "class_weight": [1, 2], "ignore_index": -100}
    one = problem("sparse_softmax_cross_entropy", call_="reduce(class_weight[y_true])", **rows)

    # Ignored rows divide nothing; the others as much as their class weighs.
    assert divisor.of(one) == 1 + 2


def test_a_loss_that_counts_every_element_has_no_divisor_of_its_own():
    assert divisor.of(problem(**PREDICTED)) is None


def test_the_mean_of_nothing_is_nan():
    one = problem(call_="reduce(y_pred - y_true)", weight=[], y_pred=[], y_true=[])

    with np.errstate(invalid="ignore"):
        assert np.isnan(made(one))


def test_parameters_are_numbers_and_options_are_texts():
    one = problem(reduction="sum", call_="delta if reduction == 'sum' and dtype == 'float64' else 0", **PREDICTED)

    assert made(one) == 1.0


def test_sample_weight_is_none_where_there_is_none():
    assert made(problem(call_="1 if sample_weight is None else 0", **PREDICTED)) == 1
    assert made(problem(call_="1 if sample_weight is None else 0", weight=1, **PREDICTED)) == 0


def test_the_weighted_call_is_used_where_there_are_weights():
    plain, weighted = problem(**PREDICTED), problem(weight=2, **PREDICTED)
    native = plain.loss.frameworks["torch"]

    assert native.weighted is not None
    assert call.chosen(plain, "torch") == native.call
    assert call.chosen(weighted, "torch") == native.weighted


def test_a_framework_without_a_call_is_unsupported():
    with pytest.raises(Unsupported, match="paddle has no huber; its spec gives no call"):
        call.chosen(problem(**PREDICTED), "paddle")


def test_parameters_that_a_call_does_not_cover_are_unsupported():
    rows = {"logits": np.zeros((1, 2)), "y_true": 0}
    name = "sparse_softmax_cross_entropy"
    assert spec.load(name).frameworks["jax"].requires == "label_smoothing == 0"

    assert call.chosen(problem(name, **rows), "jax")
    with pytest.raises(Unsupported, match="jax's sparse_softmax_cross_entropy requires label_smoothing == 0"):
        call.chosen(problem(name, label_smoothing=0.5, **rows), "jax")


@pytest.mark.parametrize(("weights", "holds"), [([1, 1], True), ([1, 2], False)])
def test_a_row_parameter_equals_a_number_where_all_its_numbers_do(weights, holds):
    one = problem("sparse_softmax_cross_entropy", logits=np.zeros((1, 2)), y_true=0, class_weight=weights)

    assert call.requirement_holds("class_weight == 1 and reduction == 'mean'", one) is holds
