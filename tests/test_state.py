"""Losses that are kept in a state: the fold over updates, its drift, and the metrics that average other losses."""

import math

import numpy as np
import pytest

from lossbench import adapters, cases, inputs, plan, spec
from lossbench.adapters import call, state
from lossbench.adapters.allowed import check
from lossbench.errors import CallError, LossbenchError, SpecError, Unsupported
from lossbench.formula import Graph, floats
from lossbench.formula.parse import parse
from lossbench.points import DRIFTS
from lossbench.records import Case, Target
from lossbench.text import Twin

MEAN = spec.load("streaming_mean")
FRAMEWORKS = ("torch", "tensorflow", "jax", "numba")
NO_EMPTY = {"keras.metrics.CategoricalHinge": "max of an empty tensor"}  # refuse a batch without rows
TWINS = [(loss, twin) for loss in spec.load_all() for twin in loss.twins]


def opened(framework: str, mode: str | None = None) -> adapters.Adapter:
    pytest.importorskip(framework)
    mode = mode or plan.modes(framework)[0]
    return adapters.load(framework).open(Target(framework=framework, mode=mode))


def brought(value: object, weight: object, update: object, dtype: str = "float32", reduction: str = "mean"):
    given = {"value": value, "weight": weight, "update": update}
    return inputs.problem(MEAN, given, dtype=dtype, reduction=reduction)


def drift(updates: int, draw: str, dtype: str = "float32") -> inputs.Problem:
    return inputs.draw(
        MEAN,
        Case(
            loss=MEAN.name,
            digest="",
            dtype=dtype,
            points="drift",
            shape=(updates,),
            index=DRIFTS.index(draw),
            reduction="mean",
        ),
    )


class TestUpdates:
    def test_are_the_elements_of_each_number_in_order(self):
        found = list(state.updates(brought([1, 2, 3], [4, 5, 6], [0, 1, 1])))

        assert [[array.tolist() for array in one] for one in found] == [[[1], [4]], [[2, 3], [5, 6]]]

    def test_are_empty_where_no_element_has_their_number(self):
        found = list(state.updates(brought([1, 2], [1, 1], [1, 3])))

        assert [len(value) for value, _ in found] == [0, 1, 0, 1]

    def test_need_not_be_in_order(self):
        found = list(state.updates(brought([1, 2, 3], [1, 1, 1], [1, 0, 1])))

        assert [value.tolist() for value, _ in found] == [[2], [1, 3]]

    def test_without_any_element_there_is_one_and_it_is_empty(self):
        assert [len(value) for value, _ in state.updates(brought([], [], []))] == [0]

    def test_have_no_negative_numbers(self):
        with pytest.raises(LossbenchError, match=r"update has the number -1; expected those of updates: 0, 1, \.\.\."):
            brought([1], [1], [-1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
class TestFold:
    def test_is_the_mean_of_all_values_not_of_the_updates(self, framework):
        one = brought([1, 2, 6], [1, 2, 1], [0, 2, 2])

        assert opened(framework).prepare(one).arrays() == {"value": 2.75}

    def test_starts_fresh_each_time(self, framework):
        prepared = opened(framework).prepare(brought([1, 2, 6], [1, 1, 1], [0, 1, 1]))
        first = np.asarray(prepared.forward())

        assert first == np.asarray(prepared.forward()) == prepared.arrays()["value"] == 3

    def test_compiled_steps_agree_with_eager_ones(self, framework):
        # A process has Keras on one framework alone; graphs are captured on a GPU, and reused are gradients.
        for mode in {*plan.modes(framework)[1:]} - {"keras", "graph", "reused"}:
            one = drift(64, "uneven", "float64")
            got, exact = opened(framework, mode).prepare(one).arrays()["value"], one.certified().value.high

            np.testing.assert_allclose(got, exact, rtol=1e-14)

    def test_serves_every_dtype_that_the_framework_has(self, framework):
        for dtype in ("float64", "float32", "bfloat16", "float16"):
            if framework == "numba" and dtype.endswith("16"):
                continue
            found = opened(framework).prepare(brought([1, 2, 3], [1, 1, 2], [0, 0, 1], dtype)).arrays()["value"]

            assert found == 2.25
            assert found.dtype == np.dtype("float64" if dtype == "float64" else "float32")


@pytest.mark.parametrize("framework", FRAMEWORKS[:3])
def test_a_state_serves_the_mean_alone(framework):
    with pytest.raises(Unsupported, match="streaming_mean is a state that holds a mean; expected the reduction mean"):
        opened(framework).prepare(brought([1], [1], [0], reduction="sum"))


def test_weights_are_an_input_and_not_given_beside_it():
    with pytest.raises(LossbenchError, match="takes its weights as an input; expected no sample_weight"):
        inputs.problem(
            MEAN, {"value": 1, "weight": 1, "update": 0}, dtype="float32", reduction="mean", sample_weight=[1]
        )


def test_keras_says_0_where_the_mean_is_0_by_0():
    for one in (brought([1, 2], [0, 0], [0, 1]), brought([], [], [])):
        assert opened("tensorflow").prepare(one).arrays()["value"] == 0
        assert np.isnan(one.certified().value.high)


class TestDrift:
    def test_draws_one_element_for_each_update_on_average(self):
        for draw in DRIFTS:
            one = drift(800, draw)

            assert len(one.arrays["value"]) == 800
            assert abs(len(list(state.updates(one))) - 800) <= 2

    def test_uneven_updates_begin_with_an_empty_one_and_have_zero_weights(self):
        one = drift(80, "uneven")
        sizes = [len(value) for value, _ in state.updates(one)]

        assert sizes[0] == 0
        assert set(sizes) == {0, 1, 4}
        assert 0 in one.arrays["weight"]

    def test_grows_with_the_number_of_equal_updates_in_a_running_total_and_not_in_the_kernel(self):
        torch, numba = opened("torch"), opened("numba")
        found = {}
        for updates in (100, 10_000):
            one = drift(updates, "equal")
            exact = float(one.certified().value.high)
            found[updates] = [abs(float(who.prepare(one).arrays()["value"]) / exact - 1) for who in (torch, numba)]

        assert found[10_000][0] > 10 * found[100][0] > 0
        assert max(found[100][1], found[10_000][1]) <= 2**-22  # two units in the last place, however many

    def test_the_exact_mean_of_equal_updates_is_their_value(self):
        assert drift(5000, "equal").certified().value.high == np.float32(0.1)

    def test_is_planned_for_metrics_alone(self):
        (grid, *_) = plan.suite("streams").drift
        planned = list(cases.drift(grid, MEAN))

        assert len(planned) == len(grid.dtypes) * len(grid.updates) * len(DRIFTS)
        assert list(cases.drift(grid, spec.load("huber"))) == []


def test_metrics_have_no_gradient_to_be_timed():
    measures = {job.measure for job in plan.jobs(plan.suite("timing"), [MEAN])}

    assert measures == {"forward"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('result = "state.result()"\n', "", "expected `update` and `result` too"),
        ('domain = "update"', 'domain = "id"', "0 inputs of the domain update in the family metric; expected one"),
        ('meaning = "its sample weight"', 'meaning = "its sample weight", grad = true', "without axes and gradients"),
        ('value = "inf"\n', 'value = "inf"\ngradient = "1"\n', "no input is differentiated; expected no gradient"),
        ('kind = "limit"', 'kind = "limit"\ncall = "value"', "a state takes several calls"),
    ],
)
def test_a_spec_of_a_metric_says_what_a_state_needs(tmp_path, old, new, says):
    path = tmp_path / "streaming_mean.toml"
    path.write_text(MEAN.source.replace(old, new, 1))

    with pytest.raises(SpecError, match=says):
        spec.load(path)


def test_another_loss_has_no_update(tmp_path):
    path = tmp_path / "huber.toml"
    path.write_text(spec.load("huber").source.replace('form = "native"', 'form = "native"\nupdate = "state"', 1))

    with pytest.raises(SpecError, match="expected neither `update`, `result` nor `reset`"):
        spec.load(path)


def test_only_a_state_has_the_methods_of_a_state():
    check("state.update_state(value)", ("state", "value"))

    with pytest.raises(CallError, match="uses the attribute 'update_state' of `value`"):
        check("value.update_state(1)", ("state", "value"))


class TestTwins:
    """Metrics that average another loss: updated batch by batch, the first of them empty."""

    def test_every_metric_of_keras_that_averages_a_loss_has_one(self):
        keras = pytest.importorskip("keras")
        known = {twin.name for _, twin in TWINS}
        wrappers = {
            f"keras.metrics.{name}"
            for name, one in vars(keras.metrics).items()
            if isinstance(one, type)
            and issubclass(one, keras.metrics.MeanMetricWrapper)
            and one is not keras.metrics.MeanMetricWrapper
            and "Accuracy" not in name
            and "Correlation" not in name  # of all pairs of a batch together: the mean of no loss
        }

        assert known == wrappers | {"keras.metrics.RootMeanSquaredError"}

    @pytest.mark.parametrize(("loss", "twin"), TWINS, ids=[f"{one.name}-{twin.name}" for one, twin in TWINS])
    def test_gives_what_the_spec_says_of_the_certified_mean(self, loss, twin):
        opened(twin.framework)
        shape = (40, 5) if loss.axes else (40,)
        problem = inputs.draw(
            loss, Case(loss=loss.name, digest="", dtype="float64", points="timing", shape=shape, weighted=True)
        )
        certified, weight = problem.certified(gradient=False).value.high, problem.sample_weight
        mean = math.fsum(certified) / math.fsum(weight)
        graph = Graph()
        said = parse(twin.gives, {"mean": "real"}, graph, where=twin.name)
        (exact,) = floats.evaluate([said], {"mean": np.array([mean])})

        ends = [7, 8, 33] if twin.name in NO_EMPTY else [0, 7, 8, 33]
        assert folded(problem, twin, ends) == pytest.approx(float(exact[0]), rel=1e-6)
        if twin.name in NO_EMPTY:
            with pytest.raises(Exception, match=NO_EMPTY[twin.name]):
                folded(problem, twin, [0])

    def test_of_ignored_rows_divides_by_all_of_them_without_weights(self):
        keras = pytest.importorskip("keras")
        metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)
        y_true, logits = np.array([0, 1, 2]), np.zeros((3, 3))

        metric.update_state(y_true, logits)
        assert float(metric.result()) == pytest.approx(math.log(3) * 2 / 3)
        metric.reset_state()
        metric.update_state(y_true, logits, sample_weight=np.ones(3))
        assert float(metric.result()) == pytest.approx(math.log(3))

    def test_a_wrong_claim_is_found(self):
        loss, twin = next((loss, twin) for loss, twin in TWINS if twin.gives == "-mean")
        opened(twin.framework)
        problem = inputs.problem(
            loss, {"y_pred": [[1, 0]], "y_true": [[1, 0]]}, dtype="float64", reduction="none", sample_weight=[1]
        )

        assert folded(problem, twin, []) == pytest.approx(1)
        assert problem.certified().value.high[0] == -1


def folded(problem: inputs.Problem, twin: Twin, ends: list[int]) -> float:
    """What the metric *twin* gives after the batches between *ends*."""
    module = adapters.load(twin.framework)
    given = call.arrays(problem)
    constants = {"dtype": problem.dtype, **problem.parameters}
    arrays = {name: array for name, array in given.items() if name not in constants}
    functions = state.functions(twin, arrays, twin.framework, module.MODULES, constants)
    parts = [np.split(array, ends) for array in arrays.values()]
    held = functions.fresh(*arrays.values())
    functions.update(held, *arrays.values())  # what `reset` has to forget
    return float(state.fold(functions, held, functions.update, zip(*parts, strict=True)))
