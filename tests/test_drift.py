"""The picture of drifting means: a run in which a target keeps a total in float32, without any framework."""

import numpy as np
import pytest

from lossbench import adapters, inputs, plan, report, spec, worker
from lossbench.adapters import state
from lossbench.arrays import Arrays
from lossbench.records import REFERENCE, Output
from lossbench.report import drift
from lossbench.report.findings import Findings
from lossbench.store import Store
from lossbench.suite import Drift, Suite

LOSSES = [spec.load("streaming_mean"), spec.load("squared_error")]
SUITE = Suite(
    name="tiny",
    summary="A few updates.",
    targets=("torch:eager",),
    drift=(Drift(targets=("torch:eager",), dtypes=("float32", "float64"), updates=(10, 1000)),),
)


def running_total(problem):
    dtype = np.float64 if problem.dtype == "float64" else np.float32
    total, count = dtype(0), dtype(0)
    for value, weight in state.updates(problem):
        total, count = dtype(total + (weight * value).sum()), dtype(count + weight.sum())
    return np.asarray(total / count)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    jobs = plan.jobs(SUITE, LOSSES)
    store = Store.create(tmp_path_factory.mktemp("drift") / "run", jobs, LOSSES, SUITE)
    arrays = Arrays(store.path / "arrays")
    reference = adapters.load("reference").open(REFERENCE)
    exact = {job.case: worker.perform(reference, LOSSES[0], job, arrays) for job in jobs if job.target == REFERENCE}
    for job in jobs:
        found = exact[job.case]
        if job.target != REFERENCE:
            value = running_total(inputs.draw(LOSSES[0], job.case))
            found = Output(job=job, arrays={"value": store.put(value)}, inputs=found.inputs, seconds=0.0)
        store.append(found)
    store.close()
    return store


@pytest.fixture(scope="module")
def findings(store):
    return Findings.of(store)


def test_only_metrics_have_jobs(store):
    assert {job.case.loss for job in store.jobs()} == {"streaming_mean"}


def test_errors_are_those_of_a_running_total(findings):
    frame = drift.errors(findings, LOSSES[0])
    of = frame.set_index(["dtype", "draw", "updates"])["ulps"]

    assert of["float32", "equal", 1000] == 128
    assert of["float32", "equal", 10] < of["float32", "equal", 1000]
    assert of["float64", "equal", 1000] < 128
    assert len(frame) == 8


def test_each_dtype_and_sort_of_updates_has_a_picture_and_a_table(findings):
    pictures, tables = drift.drift(findings, LOSSES[0])

    assert [one.title.partition(",")[0] for one in pictures] == ["float32", "float32", "float64", "float64"]
    assert len({one.svg for one in pictures}) == 4
    assert [[row[0].text, row[1].text] for row in tables[0].rows] == [["10", "1.0"], ["1 000", "128"]]


def test_losses_that_are_not_accumulated_have_none(findings):
    assert drift.drift(findings, LOSSES[1]) == ([], [])


def test_the_page_shows_them_and_no_gradients(store):
    report.write(store)
    page = (store.path / "losses" / "streaming_mean.html").read_text(encoding="utf-8")
    other = (store.path / "losses" / "squared_error.html").read_text(encoding="utf-8")

    assert page.count('aria-label="error of streaming_mean in ulps against the number of updates') == 4
    assert "1000 equal updates" in page
    assert "<td>gradient</td>" not in page
    assert "state.update_state(value, sample_weight=weight)" in page
    assert 'id="drift"' not in other
    assert "keras.metrics.RootMeanSquaredError" in other
    assert "sqrt(mean)" in other
