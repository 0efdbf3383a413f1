"""What every adapter promises, asked of all of them; frameworks that are not installed are skipped."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from shapes import shape

from lossbench import adapters, inputs, plan, spec
from lossbench.errors import LossbenchError, Unsupported
from lossbench.points import STYLES
from lossbench.records import Case, Target

FRAMEWORKS = ["jax", "numba", "tensorflow", "torch"]
CALLED = [name for name in FRAMEWORKS if name != "numba"]  # by the calls of specs
LOSSES = ("huber", "softmax_cross_entropy", "sparse_softmax_cross_entropy")  # of elements, of rows, of labels
DTYPES = dict.fromkeys(CALLED, ("float64", "float32", "bfloat16", "float16")) | {"numba": ("float64", "float32")}
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}
POINTS, CLASSES = 3 * len(STYLES), 4


@cache
def opened(framework: str, mode: str | None = None) -> adapters.Adapter:
    try:
        module = adapters.load(framework)
    except ImportError as error:
        pytest.skip(str(error))
    return module.open(Target(framework=framework, mode=mode or module.MODES[0]))


def problem(name: str, dtype: str = "float32", **rest: object) -> inputs.Problem:
    loss = spec.load(name)
    at = shape(loss, POINTS, CLASSES)
    return inputs.draw(loss, Case(loss=name, digest="", dtype=dtype, points="domain", shape=at, **rest))


def own(call: str, dtype: str = "float32", **given: object) -> inputs.Problem:
    """A problem of huber's inputs with a call of the test's own."""
    return inputs.problem(
        spec.load("huber"), {"y_pred": [1, 2, 6], "y_true": 0, **given}, dtype=dtype, reduction="none", call=call
    )


def numbers(result: object) -> np.ndarray:
    """What a framework returned, as NumPy's."""
    return np.asarray(result, dtype=np.float64)


def assert_near(got: np.ndarray, expected: np.ndarray, ulps: float, dtype: str) -> None:
    """Equal within *ulps* of the largest number, infinities and nans in the same places."""
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(expected[np.isfinite(expected)])
    largest = finite.max() if finite.size else 0.0
    np.testing.assert_allclose(got, expected, rtol=ulps * EPSILON[dtype], atol=ulps * EPSILON[dtype] * largest)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_value_and_gradients_have_the_promised_shapes_and_types(framework, name, reduction):
    for dtype in DTYPES[framework]:
        one = problem(name, dtype, reduction=reduction)
        found = opened(framework).prepare(one).arrays()
        differentiated = [key for key, value in one.loss.inputs.items() if value.grad]

        assert set(found) == {"value", *(f"gradient.{key}" for key in differentiated)}
        assert found["value"].shape == ((POINTS,) if reduction == "none" else ())
        assert all(found[f"gradient.{key}"].shape == one.arrays[key].shape for key in differentiated)
        assert {array.dtype for array in found.values()} == {np.dtype("float64" if dtype == "float64" else "float32")}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_sum(framework, name):
    one = problem(name, "float64", weighted=True)
    plain = own_points(one, STYLES.index("ordinary"))
    key = next(key for key, value in one.loss.inputs.items() if value.grad)
    found = opened(framework).prepare(plain).arrays()[f"gradient.{key}"]
    step = 1e-6
    differences = np.empty_like(found)
    for at in np.ndindex(found.shape):
        ends = []
        for sign in (-1, 1):
            moved = plain.arrays[key].copy()
            moved[at] += sign * step
            there = replace(plain, arrays=plain.arrays | {key: moved})
            ends.append(numbers(opened(framework).prepare(there).forward()).sum())
        differences[at] = (ends[1] - ends[0]) / (2 * step)

    np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-7)


def own_points(one: inputs.Problem, style: int) -> inputs.Problem:
    """The points of one style."""
    arrays = {key: array[style :: len(STYLES)] for key, array in one.arrays.items()}
    weight = None if one.sample_weight is None else one.sample_weight[style :: len(STYLES)]
    return replace(one, arrays=arrays, sample_weight=weight)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_reductions_agree_with_the_losses_that_they_reduce(framework, name, weighted):
    adapter = opened(framework)
    each = adapter.prepare(problem(name, "float64")).arrays()["value"]
    weight = problem(name, "float64", weighted=weighted).sample_weight
    weights = np.ones(POINTS) if weight is None else weight
    counted = np.ones(POINTS)
    if name == "sparse_softmax_cross_entropy":
        one = problem(name, "float64")
        counted = np.where(one.arrays["y_true"] == one.parameters["ignore_index"], 0, 1)

    for reduction, expected in {
        "none": weights * each,
        "sum": np.sum(weights * each),
        "mean": np.sum(weights * each) / np.sum(counted),
    }.items():
        got = adapter.prepare(problem(name, "float64", reduction=reduction, weighted=weighted)).arrays()["value"]
        # The framework may add in float32 inside, as Keras does.
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", LOSSES)
def test_inputs_stay_as_they_are(framework, name):
    one = problem(name, weighted=True)
    before = {key: array.copy() for key, array in one.arrays.items()}
    weight = one.sample_weight.copy()
    prepared = opened(framework).prepare(one)
    prepared.forward()
    prepared.gradient()
    prepared.arrays()

    for key, array in before.items():
        np.testing.assert_array_equal(one.arrays[key], array)
    np.testing.assert_array_equal(one.sample_weight, weight)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", LOSSES)
def test_forward_gives_the_value_of_gradient_again_and_again(framework, name):
    prepared = opened(framework).prepare(problem(name))
    first, second = numbers(prepared.forward()), numbers(prepared.forward())

    np.testing.assert_array_equal(first, second)
    assert_near(first, prepared.arrays()["value"], 4, "float32")


@pytest.mark.parametrize(
    ("framework", "mode", "name"),
    [
        ("tensorflow", "compiled", "huber"),
        ("tensorflow", "compiled", "sparse_softmax_cross_entropy"),
        ("tensorflow", "xla", "huber"),
        ("tensorflow", "xla", "softmax_cross_entropy"),
        ("jax", "compiled", "huber"),
        ("jax", "compiled", "softmax_cross_entropy"),
        ("jax", "compiled", "sparse_softmax_cross_entropy"),
        ("torch", "compiled", "huber"),
    ],
)
def test_compiled_agrees_with_eager(framework, mode, name):
    one = problem(name, weighted=True)
    eager, compiled = opened(framework).prepare(one).arrays(), opened(framework, mode).prepare(one)

    for key, array in compiled.arrays().items():
        assert_near(array, eager[key], 8, "float32")
    assert_near(numbers(compiled.forward()), eager["value"], 8, "float32")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_modes_that_do_not_exist_are_unsupported(framework):
    opened(framework)
    with pytest.raises(Unsupported, match="has no mode 'slow'; expected"):
        adapters.load(framework).open(Target(framework=framework, mode="slow"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_devices_that_are_not_here_are_unsupported(framework, device):
    opened(framework)
    with pytest.raises(Unsupported, match=device):
        adapters.load(framework).open(Target(framework=framework, mode=plan.modes(framework)[0], device=device))


def test_graphs_are_captured_on_cuda_only():
    opened("torch")
    with pytest.raises(Unsupported, match="expected a target such as torch:graph:cuda"):
        adapters.load("torch").open(Target(framework="torch", mode="graph"))


def test_a_call_is_captured_after_it_has_run_and_then_launched_as_it_was(monkeypatch):
    """On a device made for the test: what is captured once is launched from then on."""
    opened("torch")
    import torch

    class Graph:
        launched = 0

        def replay(self):
            self.launched += 1

    graph, ran = Graph(), []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda captured: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda beside: nullcontext())
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    replay = opened("torch")._captured(lambda: ran.append(1) or "result")

    assert [replay(), replay(), replay()] == ["result"] * 3
    assert len(ran) == adapters.load("torch").CAPTURED_AFTER + 1
    assert graph.launched == 3


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_frameworks_that_keep_freed_memory_say_what_a_call_takes(framework):
    mode = "compiled" if framework == "jax" else None
    at = inputs.draw(
        spec.load("huber"), Case(loss="huber", digest="", dtype="float32", points="timing", shape=(10**6,))
    )

    prepared = opened(framework, mode).prepare(at)
    prepared.gradient()

    assert 8e6 <= prepared.rise["gradient"]() <= 80e6  # a million values and as many slopes, of 4 bytes


@pytest.mark.parametrize(("variables", "said"), [({}, "True"), ({"JAX_CPU_ENABLE_ASYNC_DISPATCH": "false"}, "False")])
def test_jax_hands_its_work_to_no_other_thread_where_it_is_told_so(variables, said):
    """In a process of its own: it is decided when the first device is asked for."""
    pytest.importorskip("jax")
    code = (
        "from lossbench import adapters, records; "
        "print(adapters.load('jax').open(records.Target(framework='jax')).settings()['asynchronous dispatch'])"
    )
    others = {name: value for name, value in os.environ.items() if name != "JAX_CPU_ENABLE_ASYNC_DISPATCH"}
    done = subprocess.run([sys.executable, "-c", code], env=others | variables, capture_output=True, text=True)

    assert done.stdout.split() == [said]


def test_a_plain_target_has_the_threads_of_its_framework(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("LOSSBENCH_THREADS", "3")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: pytest.fail("a plain target was told its threads"))

    adapters.load("torch").open(Target(framework="torch", plain=True))


def test_a_dtype_that_a_framework_has_not_is_unsupported():
    with pytest.raises(Unsupported, match="numba has no float16"):
        opened("numba").prepare(replace(problem("huber", "float16"), timed=True))


@pytest.mark.parametrize(
    ("framework", "call", "error"),
    [
        ("torch", "F.nll_loss(y_pred, y_true)", RuntimeError),
        ("tensorflow", "tf.matmul(y_pred, y_true)", Exception),
        ("jax", "jnp.matmul(y_pred, y_true[:2])", TypeError),
    ],
)
def test_what_a_framework_raises_passes_through(framework, call, error):
    prepared = opened(framework).prepare(own(call))

    with pytest.raises(error) as caught:
        prepared.arrays()
    assert not isinstance(caught.value, LossbenchError)


@pytest.mark.parametrize(
    ("framework", "call"),
    [
        ("torch", "torch.zeros(3) * y_pred[0] + y_true"),
        ("tensorflow", "tf.stop_gradient(y_pred) + 0 * y_pred"),
        ("jax", "jax.lax.stop_gradient(y_pred)"),
    ],
)
def test_an_input_without_influence_has_the_gradient_zero(framework, call):
    assert opened(framework).prepare(own(call)).arrays()["gradient.y_pred"].tolist() == [0, 0, 0]


def test_torch_tracks_no_gradient_in_forward():
    assert not opened("torch").prepare(problem("huber")).forward().requires_grad


def test_torch_compiles_each_problem_and_never_gives_up():
    """A code object that torch.compile sees too often runs eagerly from then on."""
    dynamo = pytest.importorskip("torch._dynamo")
    adapter = opened("torch", "compiled")
    dynamo.utils.counters.clear()
    for size in (2, 3, 4):
        one = inputs.problem(
            spec.load("huber"), {"y_pred": np.arange(size), "y_true": 0}, dtype="float32", reduction="none",
            call="y_pred + y_true",
        )  # fmt: skip
        with dynamo.config.patch(recompile_limit=1):
            adapter.prepare(one).forward()

    assert dynamo.utils.counters["stats"]["unique_graphs"] == 3


def test_jax_has_float64_only_while_it_is_asked_for():
    jax_numpy = pytest.importorskip("jax.numpy")
    adapter = opened("jax")
    exact = adapter.prepare(own("y_pred / 3", "float64"))

    assert numbers(exact.forward()).tolist() == [1 / 3, 2 / 3, 2.0]
    assert adapter.prepare(own("y_pred / 3")).forward().dtype == "float32"
    assert jax_numpy.ones(1).dtype == "float32"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_adapter_says_its_versions_threads_and_device(framework):
    adapter = opened(framework)

    assert framework in adapter.versions()
    assert adapter.settings()["threads"]
    assert adapter.machine() == {}
    for named in (adapter.versions(), adapter.settings(), adapter.machine()):
        assert all(type(key) is str and type(value) is str for key, value in named.items())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_modes_are_known_without_importing(framework):
    opened(framework)

    assert plan.modes(framework) == adapters.load(framework).MODES


def test_an_unknown_framework_is_refused_with_the_known_ones():
    with pytest.raises(
        LossbenchError, match=r"unknown framework 'paddle'; expected one of: .*jax, numba, numpy, reference"
    ):
        adapters.load("paddle")


def test_threads_are_those_that_are_asked_for(monkeypatch):
    monkeypatch.setenv("LOSSBENCH_THREADS", "3")

    assert adapters.threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("LOSSBENCH_THREADS", text)

    with pytest.raises(LossbenchError, match="expected a whole number of at least 1"):
        adapters.threads()


@pytest.mark.parametrize("framework", CALLED)
def test_what_is_compiled_serves_cases_that_differ_in_their_numbers(framework):
    loss = spec.load("huber")
    adapter = opened(framework, "compiled")
    at = {"y_true": "0", "delta": "1"}
    first, second = (inputs.of_point(loss, {**at, "y_pred": number}, "float32", "none") for number in ("0.5", "3"))
    other = inputs.of_point(loss, {**at, "y_pred": "3", "delta": "2"}, "float32", "none")
    longer = inputs.of_point(loss, {**at, "y_pred": ["0.5", "3"], "y_true": ["0", "0"]}, "float32", "none")
    kept = adapter._kept.of(first)

    assert adapter._kept.of(second) == kept
    assert adapter._kept.of(other) != kept
    assert adapter._kept.of(longer) != kept
    assert adapter._kept.of(replace(first, timed=True)) != kept
    assert adapter.prepare(second).arrays()["value"].tolist() == [2.5]
    assert adapter.prepare(other).arrays()["value"].tolist() == [4.0]
