"""Second derivatives: certified products with Hessians, asked of frameworks, judged, and shown."""

import numpy as np
import pytest
import second_opinion
from formulas import formula
from mpmath import mp, mpf
from msgspec.structs import replace
from second_opinion import Undefined, number
from shapes import shape

from lossbench import adapters, cases, conditioning, hessians, inputs, plan, spec, worker
from lossbench.arrays import Arrays
from lossbench.formula import hessian
from lossbench.points import STYLES
from lossbench.records import REFERENCE, Case, Output, Refusal, Target
from lossbench.report import pages
from lossbench.report.findings import Findings
from lossbench.store import Store
from lossbench.suite import Accuracy, Suite, load

POINTS, CLASSES = 4 * len(STYLES), 3
LOSSES = [loss for loss in spec.load_all() if not (loss.accumulated or loss.has_sizes)]
READ = [loss for loss in LOSSES if not loss.formula.has_tables]  # what the second opinion reads
GRID = Accuracy(dtypes=("float32",), points=14, classes=(3,))


def product(text, direction, by=None, **at):
    """The certified product at one point, by the input or inputs of the direction."""
    arrays = {name: np.array([value], int if name == "j" else float) for name, value in at.items()}
    ways = {name: np.array([value], float) for name, value in direction.items()}
    found = hessian.certify(formula(text, by or tuple(direction)), arrays, {}, ways)
    return {name: one.high[0].tolist() for name, one in found.items()}


def interval(text, x):
    one = hessian.certify(formula(text), {"x": np.array([float(x)])}, {}, {"x": np.ones(1)})["x"]
    return float(one.lower[0]), float(one.upper[0])


@pytest.mark.parametrize(
    ("text", "direction", "at", "expected"),
    [
        ("x**3", {"x": 0.5}, {"x": 2.0}, {"x": 6.0}),
        ("x*z", {"x": 1.0, "z": 0.5}, {"x": 3.0, "z": 4.0}, {"x": 0.5, "z": 1.0}),
        ("x*y", {"x": 1.0}, {"x": 3.0, "y": 4.0}, {"x": 0.0}),
        ("x**2*z", {"x": 1.0, "z": -1.0}, {"x": 3.0, "z": 5.0}, {"x": 4.0, "z": 6.0}),
        ("sum(p)**2/2", {"p": [1.0, -0.5]}, {"p": [7.0, 8.0]}, {"p": [0.5, 0.5]}),
        ("p[j]**2", {"p": [1.0, -0.5]}, {"p": [7.0, 8.0], "j": 1}, {"p": [0.0, -1.0]}),
        ("norm(p)", {"p": [1.0, 0.0]}, {"p": [0.0, 4.0]}, {"p": [0.25, 0.0]}),
        ("x*abs(x)", {"x": 0.5}, {"x": -3.0}, {"x": -1.0}),
        ("where(x < 1, x**2, exp(1/x))", {"x": 0.5}, {"x": 0.0}, {"x": 1.0}),
        ("logsumexp(p)", {"p": [1.0, 1.0]}, {"p": [0.0, 0.0]}, {"p": [0.0, 0.0]}),
    ],
)
def test_product_of(text, direction, at, expected):
    assert product(text, direction, **at) == expected


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("max(x, 0)**2", 0, (0, 2)),
        ("x*abs(x)", 0, (-2, 2)),
        ("max(x, 0)**3", 0, (0, 0)),
        ("where(abs(x) <= 1, x**2/2, abs(x) - 1/2)", 1, (0, 1)),
        ("where(abs(x) <= 1, x**2/2, abs(x) - 1/2)", -1, (0, 1)),
        ("max(x, 0)**2 + min(x, 0)**2", 0, (2, 2)),
    ],
)
def test_where_the_second_derivative_of_one_number_jumps_it_lies_between_its_sides(text, x, expected):
    assert interval(text, x) == expected


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("abs(x)", 0),
        ("max(x, 0)", 0),
        ("abs(x - 1)**2 + abs(x - 1)", 1),
        ("-log(x)", 0),
        ("sqrt(x)", 0),
        ("log(x)", -1),
    ],
)
def test_where_the_gradient_jumps_or_is_not_finite_there_is_no_second_derivative(text, x):
    assert np.isnan(product(text, {"x": 1.0}, x=float(x))["x"])


def test_a_second_derivative_can_be_infinite_where_the_gradient_is_not():
    assert product("abs(x)**1.5", {"x": -0.5}, x=0.0)["x"] == -np.inf


def test_a_nan_has_no_second_derivative():
    assert np.isnan(product("x**2", {"x": 1.0}, x=float("nan"))["x"])


@pytest.mark.parametrize("text", ["sum(max(p, 0)**2)", "max(p[j], 0)**2"])
def test_where_that_of_several_numbers_jumps_nothing_is_said(text):
    at = {"p": [0.0, 1.0]} | ({"j": 0} if "j" in text else {})

    assert np.isnan(product(text, {"p": [1.0, 1.0]}, **at)["p"]).all()
    assert not np.isnan(product(text, {"p": [1.0, 1.0]}, **at | {"p": [2.0, 1.0]})["p"]).any()


def drawn(loss, dtype="float32", points=POINTS, classes=CLASSES):
    at = shape(loss, points, classes)
    case = Case(loss=loss.name, digest=loss.digest, dtype=dtype, points="domain", shape=at)
    return inputs.directed(inputs.draw(loss, case), case)


def certified(problem):
    return hessian.certify(problem.loss.formula, problem.arrays, problem.parameters, problem.direction)


@pytest.mark.parametrize("loss", READ, ids=lambda loss: loss.name)
def test_products_of_every_spec_agree_with_mpmath(loss):
    problem = drawn(loss)
    found, text, compared = certified(problem), loss.formula_text.definition, 0
    for index in range(POINTS):
        at = {name: array[index].tolist() for name, array in problem.arrays.items()}
        at |= {name: np.asarray(value).tolist() for name, value in problem.parameters.items()}
        exact = second_opinion.exactly(at)
        ways = second_opinion.exactly({name: array[index].tolist() for name, array in problem.direction.items()})
        for name, one in found.items():
            for entry in range(CLASSES) if one.high.ndim == 2 else [None]:
                place = (index,) if entry is None else (index, entry)
                if np.isnan(one.high[place]):
                    continue
                if one.lower[place] < one.upper[place]:
                    compare_sides(text, exact, ways, name, [float(end[place]) for end in (one.lower, one.upper)])
                    continue
                try:
                    expected = second_opinion.second(text, exact, ways, name, entry)
                except Undefined:
                    continue
                high, low, radius = (number(float(part[place])) for part in (one.high, one.low, one.radius))
                with mp.workdps(second_opinion.DIGITS):
                    slack = mpf(10) ** -24 * (abs(expected) + mpf(10) ** -24)
                    assert abs(high + low - expected) <= radius + slack, (place, high, mp.nstr(expected, 20))
                compared += 1

    assert compared >= POINTS // 2


def compare_sides(text, at, ways, name, ends):
    with mp.workdps(second_opinion.DIGITS):
        sides = sorted(ways[name] * second_opinion.side_of_second(text, at, name, side) for side in (1, -1))
        assert all(abs(a - b) < mpf(10) ** -12 * (1 + abs(b)) for a, b in zip(ends, sides, strict=True))


def test_specs_have_points_where_nothing_is_said_and_points_between_two_sides():
    absolute, huber = (certified(drawn(spec.load(name)))["y_pred"] for name in ("absolute_error", "huber"))

    assert np.isnan(absolute.high).any()
    assert (huber.lower < huber.upper).any()
    assert not np.isnan(huber.high).any()


def test_a_direction_is_short_and_the_same_in_every_dtype():
    found = [
        drawn(spec.load("gaussian_nll"), dtype).direction for dtype in ("float64", "float32", "bfloat16", "float16")
    ]

    assert [*found[0]] == ["y_pred", "variance"]
    assert {*found[0]["y_pred"].tolist()} == {*inputs.DIRECTION}
    assert not np.array_equal(found[0]["y_pred"], found[0]["variance"])
    assert all(np.array_equal(one[name], found[0][name]) for one in found for name in one)


def test_the_direction_goes_into_the_digest_of_the_inputs():
    problem = drawn(spec.load("huber"))
    other = {"y_pred": -problem.direction["y_pred"]}

    assert worker.given(problem)["direction.y_pred"] is problem.direction["y_pred"]
    assert worker.digest(worker.given(problem)) != worker.digest(worker.given(inputs.replace(problem, direction=other)))


def test_only_losses_of_elements_and_rows_are_asked_for():
    asked = {loss.name for loss in spec.load_all() if list(cases.hessian(GRID, loss))}

    assert {"huber", "softmax_cross_entropy", "multilabel_margin"} <= asked
    assert not asked & {"ctc", "batch_dice", "streaming_mean"}


def test_a_grid_is_planned_for_the_reference_and_each_target():
    suite = Suite(name="one", summary="", targets=("jax",), hessian=(replace(GRID, targets=("jax",)),))
    jobs = plan.jobs(suite, [spec.load("huber")])

    assert [(job.measure, job.target.framework) for job in jobs] == [("hessian", "reference"), ("hessian", "jax")]
    assert plan.jobs(load("hessian"), LOSSES)


def moved(name, dtype, direction, **at):
    loss = spec.load(name)
    problem = inputs.problem(loss, at, dtype=dtype, reduction="none")
    ways = {one: np.broadcast_to(direction, problem.arrays[one].shape) for one in loss.formula.differentiated}
    given = {name: np.asarray(value) for name, value in {**problem.arrays, **problem.parameters}.items()}
    return conditioning.curved(loss, given, ways, dtype)


def test_how_far_a_product_moves_is_the_third_derivative():
    one = moved("poisson_nll", "float64", 1.0, log_rate=[2.0], y_true=[0.0])["hessian.log_rate"]

    # exp(x)*v: x*exp(x)*v for the input, exp(x)*v for the direction
    assert one.number[0] == pytest.approx(np.exp(2.0))
    assert one.moved[0] == pytest.approx(3 * np.exp(2.0), rel=1e-3)


def test_a_jump_within_two_ulps_counts_and_one_farther_away_does_not():
    near, far = 1 + 2.0**-23, 1 + 2.0**-20
    at = [moved("huber", "float32", 1.0, y_pred=[x], y_true=[0.0])["hessian.y_pred"].moved[0] for x in (near, far)]

    assert at[0] >= 2.0**21
    assert at[1] == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose torch rounds what is exact, whose jax is nan at one place, and whose tensorflow refuses."""
    folder = tmp_path_factory.mktemp("runs")
    targets = ("torch:eager", "jax:compiled", "tensorflow:eager")
    suite = Suite(name="small", summary="", targets=targets, hessian=(replace(GRID, targets=targets),))
    losses = [spec.load(name) for name in ("huber", "softmax_cross_entropy")]
    jobs = plan.jobs(suite, losses)
    store = Store.create(folder / "one", jobs, losses, suite)
    reference = adapters.load("reference").open(REFERENCE)
    by_name, exact = {loss.name: loss for loss in losses}, {}
    for job in jobs:
        if job.target == REFERENCE:
            answer = worker.perform(reference, by_name[job.case.loss], job, Arrays(store.path / "arrays"))
            assert isinstance(answer, Output)
            exact[job.case.loss] = answer
        elif job.target.framework == "tensorflow":
            answer = Refusal(job=job, reason="failed", detail="LookupError: no gradient")
        else:
            answer = answered(store, job, exact[job.case.loss])
        store.append(answer)
    store.close()
    return store


def answered(store, job, exact):
    found = {}
    for name in [name for name in exact.arrays if name.count(".") == 1 and name.startswith("hessian.")]:
        array = store.array(exact.arrays[name]).astype(np.float32)
        if job.target.framework == "jax":
            array[1] = np.nan
        found[name] = store.put(array)
    return Output(job=job, arrays=found, inputs=exact.inputs, seconds=0.0)


def test_products_are_judged_like_gradients(run):
    found = hessians.cells(hessians.jobs(run)).set_index(["loss", "target"])

    assert found["verdict"].tolist() == ["exact", "wrong", "refused"] * 2
    assert found.loc[("huber", "torch:eager:cpu"), "max_ulp"] == 0
    assert found.loc[("softmax_cross_entropy", "jax:compiled:cpu"), "nan"] == 3
    assert found.loc[("huber", "tensorflow:eager:cpu"), "reason"] == "failed: LookupError: no gradient"


def test_the_worst_input_comes_with_its_direction(run):
    found = hessians.cells(hessians.jobs(run)).set_index(["loss", "target"])
    worst = found.loc[("huber", "jax:compiled:cpu"), "worst"]

    assert "direction.y_pred=" in worst
    assert "got nan, exact" in worst


def test_the_table_of_accuracy_has_columns_of_their_own(run):
    findings = Findings.of(run)
    table = hessians.beside(findings.cells, findings.hessians)

    assert table["hessian_verdict"].tolist() == ["exact", "wrong", "refused"] * 2
    assert table["loss"].tolist() == ["huber"] * 3 + ["softmax_cross_entropy"] * 3
    assert hessians.beside(table, findings.hessians.iloc[:0]) is table


def test_pages_show_second_derivatives_where_they_were_measured(run):
    index = pages.write(Findings.of(run))
    page = (index.parent / "losses" / "huber.html").read_text()

    assert 'href="losses/huber.html#second"' in index.read_text()
    assert page.count('id="second"') == 1
    assert "LookupError: no gradient" in page
    assert "direction.y_pred" in page


@pytest.mark.parametrize("framework", ["jax", "tensorflow", "torch"])
def test_frameworks_give_the_products_of_smooth_losses(framework):
    try:
        module = adapters.load(framework)
    except ImportError as error:
        pytest.skip(str(error))
    adapter = module.open(Target(framework=framework, mode=module.MODES[0]))
    for name in ("squared_error", "absolute_error", "softmax_cross_entropy"):
        problem = drawn(spec.load(name), "float64")
        ordinary = slice(STYLES.index("ordinary"), None, len(STYLES))
        got = adapter.prepare(problem).hessian()
        for one, exact in certified(problem).items():
            assert got[f"hessian.{one}"].dtype == np.float64
            np.testing.assert_allclose(got[f"hessian.{one}"][ordinary], exact.high[ordinary], atol=1e-14)


def test_an_adapter_without_second_derivatives_is_refused_in_plain_words(tmp_path):
    loss = spec.load("huber")
    (case,) = cases.hessian(GRID, loss)
    target = Target(framework="numba", mode="compiled")
    job = plan.Job(case=case, target=target, measure="hessian")
    answer = worker.perform(adapters.load("numba").open(target), loss, job, Arrays(tmp_path))

    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.detail) == ("unsupported", "the adapter of numba has no second derivatives")
