"""What a worker makes of a job, in this process: outputs, refusals in the framework's own words, bytes moved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lossbench import inputs, spec, timed, worker
from lossbench.adapters import Prepared
from lossbench.arrays import Arrays
from lossbench.errors import Unsupported
from lossbench.messages import Closed, Open, Ready, Sample, Samples, Warm
from lossbench.records import REFERENCE, Case, Environment, Job, Output, Refusal, Target
from lossbench.worker import Worker, perform

FAKE = Path(__file__).parent / "fake_adapter"
HUBER = spec.load("huber")
CASE = Case(loss="huber", digest=HUBER.digest, dtype="float32", points="domain", shape=(20,), weighted=True)
JOB = Job(case=CASE, target=Target(framework="fake"), measure="accuracy")


class Says:
    """An adapter whose calls end as they are told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def prepare(self, problem):
        if self.error is not None:
            raise self.error
        found = {"value": problem.arrays["y_pred"] * 2}
        return Prepared(forward=dict, gradient=dict, arrays=lambda: found)


@pytest.fixture
def arrays(tmp_path):
    return Arrays(tmp_path)


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (Unsupported("jax has no native huber"), "unsupported", "jax has no native huber"),
        (ValueError("shapes do not match\nat line 3"), "failed", "ValueError: shapes do not match"),
        (KeyError(), "failed", "KeyError"),
        (MemoryError(), "out of memory", "MemoryError"),
        (RuntimeError("CUDA out of memory. Tried"), "out of memory", "RuntimeError: CUDA out of memory. Tried"),
        (RuntimeError("RESOURCE_EXHAUSTED: no"), "out of memory", "RuntimeError: RESOURCE_EXHAUSTED: no"),
        (ValueError("{{node A_device_/job:0}} {x} is bad"), "failed", "ValueError: {x} is bad"),
        (RuntimeError("\n \n  OP_REQUIRES failed\n"), "failed", "RuntimeError: OP_REQUIRES failed"),
    ],
)
def test_what_a_framework_raises_is_a_refusal_in_its_own_words(arrays, error, reason, detail):
    assert perform(Says(error), HUBER, JOB, arrays) == Refusal(job=JOB, reason=reason, detail=detail)


def test_endless_words_are_cut(arrays):
    found = perform(Says(ValueError("x" * 10_000)), HUBER, JOB, arrays)

    assert len(found.detail) == worker.LONGEST


def test_only_the_reference_keeps_what_went_in_and_all_can_be_compared_with_it(arrays):
    other = perform(Says(), HUBER, JOB, arrays)
    reference = perform(Says(), HUBER, Job(case=CASE, target=REFERENCE, measure="accuracy"), arrays)

    assert set(other.arrays) == {"value"}
    assert set(reference.arrays) == {"input.y_pred", "input.y_true", "parameter.delta", "sample_weight", "value"}
    assert other.inputs == reference.inputs
    assert np.array_equal(arrays.get(other.arrays["value"]), 2 * arrays.get(reference.arrays["input.y_pred"]))


def test_other_inputs_have_another_digest(arrays):
    other = Job(
        case=Case(loss="huber", digest=HUBER.digest, dtype="float32", points="edge"),
        target=JOB.target,
        measure="accuracy",
    )

    assert perform(Says(), HUBER, JOB, arrays).inputs != perform(Says(), HUBER, other, arrays).inputs


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "reduction", "measure", "expected"),
    [
        ("huber", (1000,), "float32", "mean", "forward", 4 * (2000 + 1)),
        ("huber", (1000,), "float32", "mean", "gradient", 4 * (2000 + 1 + 1000)),
        ("huber", (1000,), "float64", "none", "gradient", 8 * (2000 + 1000 + 1000)),
        ("huber", (1000,), "bfloat16", "none", "forward", 2 * (2000 + 1000)),
        ("sparse_softmax_cross_entropy", (10, 7), "float32", "mean", "gradient", 4 * (70 + 1 + 70) + 8 * 10),
    ],
)
def test_traffic_is_every_input_once_and_every_result_once(name, shape, dtype, reduction, measure, expected):
    loss = spec.load(name)
    case = Case(loss=name, digest=loss.digest, dtype=dtype, points="timing", shape=shape, reduction=reduction)

    assert timed.traffic(inputs.draw(loss, case), measure) == expected


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE))
    (tmp_path / "specs").mkdir()
    (tmp_path / "arrays").mkdir()
    (tmp_path / "specs" / "huber.toml").write_text(HUBER.source)
    return str(tmp_path)


def opened(folder: str, mode: str) -> Worker:
    found = Worker()
    assert isinstance(found.reply(Open(target=Target(framework="fake", mode=mode), folder=folder)), Environment)
    return found


def test_the_handshake_says_what_a_target_runs_on(folder):
    target = Target(framework="fake", mode="well")

    found = Worker().reply(Open(target=target, folder=folder))

    assert found.target == target
    assert found.versions["fake"] == "1.0"
    assert found.versions["numpy"] == np.__version__
    assert set(found.machine) >= {"processor", "cores", "system"}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("closed", Closed(reason="unsupported", detail="fake finds no such device here")),
        (
            "missing",
            Closed(reason="not installed", detail="No module named 'fakelib'; try: pip install 'lossbench[fake]'"),
        ),
    ],
)
def test_the_handshake_says_why_a_target_cannot_be_measured(folder, mode, expected):
    assert Worker().reply(Open(target=Target(framework="fake", mode=mode), folder=folder)) == expected


def test_a_timed_job_is_warmed_and_then_sampled_as_often_as_asked(folder):
    found = opened(folder, "well")
    job = Job(case=CASE, target=Target(framework="fake"), measure="forward")

    ready = found.reply(Warm(job=job, min_sample=1e-4, limit=1.0))
    samples = found.reply(Sample(count=3, calls=ready.calls))

    assert isinstance(ready, Ready)
    assert ready.calls >= 1
    assert isinstance(samples, Samples)
    assert len(samples.seconds) == 3


def test_a_device_with_a_clock_of_its_own_is_asked_beside_each_sample(folder):
    found = opened(folder, "well")
    job = Job(case=CASE, target=Target(framework="fake"), measure="forward")
    ready = found.reply(Warm(job=job, min_sample=1e-4, limit=1.0))
    without = found.reply(Sample(count=3, calls=ready.calls))
    found._timed.prepared = replace(found._timed.prepared, busy={"forward": lambda: 0.25})

    samples = found.reply(Sample(count=3, calls=ready.calls))

    assert without.busy == []
    assert samples.busy == [0.25] * 3


def test_samples_come_with_processor_time_and_on_request_with_calls_whose_caches_were_emptied(folder, monkeypatch):
    erased = []
    monkeypatch.setattr("lossbench.machine.Eraser", lambda: lambda: erased.append(1))
    found = opened(folder, "well")
    job = Job(case=CASE, target=Target(framework="fake"), measure="forward")
    ready = found.reply(Warm(job=job, min_sample=1e-4, limit=1.0))

    samples = found.reply(Sample(count=3, calls=ready.calls, cold=2))

    assert len(samples.cpu) == 3
    assert len(samples.cold) == len(erased) == 2


def test_samples_of_all_targets_begin_on_the_same_processor(folder, monkeypatch):
    found = opened(folder, "well")
    job = Job(case=CASE, target=Target(framework="fake"), measure="forward")
    ready = found.reply(Warm(job=job, min_sample=1e-4, limit=1.0))
    done = []
    monkeypatch.setattr("lossbench.machine.gather", lambda: done.append("gathered"))
    monkeypatch.setattr("lossbench.machine.Eraser", lambda: lambda: done.append("erased"))

    found.reply(Sample(count=1, calls=ready.calls, cold=2))

    assert done == ["gathered", "erased", "gathered", "erased", "gathered"]


def test_another_process_makes_as_many_calls_in_each_sample_as_the_first(folder):
    job = Job(case=CASE, target=Target(framework="fake"), measure="forward")

    ready = opened(folder, "well").reply(Warm(job=job, min_sample=100.0, limit=1e-3, calls=3))

    assert ready.calls == 3


def test_memory_is_what_the_framework_says_where_it_does(folder):
    found = opened(folder, "well")
    job = Job(case=CASE, target=Target(framework="fake"), measure="forward")
    found.reply(Warm(job=job, min_sample=1e-4, limit=1.0))
    found._timed.prepared = replace(found._timed.prepared, rise={"forward": lambda: 4096})

    assert found.reply(Warm(job=job, min_sample=1e-4, limit=1.0)).peak_memory == 4096


def test_a_job_that_cannot_be_warmed_is_refused(folder):
    found = opened(folder, "raises")
    case = Case(loss="huber", digest=HUBER.digest, dtype="float32", points="timing", shape=(5,), reduction="sum")
    job = Job(case=case, target=Target(framework="fake"), measure="forward")

    assert found.reply(Warm(job=job, min_sample=1e-4, limit=1.0)) == Refusal(
        job=job, reason="failed", detail="ValueError: shapes do not match"
    )


def test_forward_and_gradient_of_one_case_are_drawn_once(folder, monkeypatch):
    drawn = []
    draw = inputs.draw
    monkeypatch.setattr(inputs, "draw", lambda loss, case: drawn.append(case) or draw(loss, case))
    found = opened(folder, "well")

    for measure in ("forward", "gradient"):
        found.reply(
            Warm(job=Job(case=CASE, target=Target(framework="fake"), measure=measure), min_sample=1e-4, limit=1.0)
        )

    assert drawn == [CASE]


def test_outputs_name_arrays_of_the_store(folder):
    found = opened(folder, "well")
    reply = found.reply(worker.Answer(job=JOB))

    assert isinstance(reply, Output)
    assert Arrays(Path(folder) / "arrays").get(reply.arrays["gradient.y_pred"]).shape == (20,)
