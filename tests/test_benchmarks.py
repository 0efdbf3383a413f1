"""The asv benchmarks: generated from the specs, complete, stable, honest about what broke. Nothing is timed here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from small_run import TORCH, small_run

from benchmarks import collection, series
from benchmarks import losses as benchmarks
from lossbench import plan, spec, suite
from lossbench.errors import LossbenchError
from lossbench.records import REFERENCE, Refusal, Timing
from lossbench.verdicts import VERDICTS

ROOT = Path(__file__).parent.parent
CLASSES = {loss.name: getattr(benchmarks, benchmarks.class_name(loss.name)) for loss in spec.load_all()}
HUBER = (spec.FOLDER / "huber.toml").read_text(encoding="utf-8")
EDGE = """
[[edges]]
at = { y_true = "7", y_pred = "7" }
value = "0"
status = "required"
why = "a new one"
"""
CALLS = ("torch", "tensorflow", "jax", "numba")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("small"))


def version_of(tmp_path, text):
    path = tmp_path / str(len(list(tmp_path.iterdir()))) / "huber.toml"  # a file is read once
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return series.version(spec.load(path), CALLS)


def edited(old, new):
    assert HUBER.count(old) >= 1
    return HUBER.replace(old, new, 1)


def test_every_loss_has_its_class():
    assert set(CLASSES) == set(spec.names())
    assert benchmarks.class_name("smooth_l1") == "SmoothL1"


@pytest.mark.parametrize("name", CLASSES)
def test_every_series_has_all_axes_a_unit_and_a_version(name):
    for method in benchmarks.methods(spec.load(name)):
        track = getattr(CLASSES[name], method)

        assert track.param_names == list(series.axes(method))
        assert len(track.params) == len(track.param_names)
        assert all(track.params)
        assert track.unit == series.UNITS[method]
        assert track.version == series.version(spec.load(name), CALLS)
        assert track.pretty_name.startswith(f"{name}: ")


def test_every_planned_job_has_its_place():
    for name, generated in CLASSES.items():
        jobs = [job for job in benchmarks.JOBS if job.case.loss == name]
        for method in benchmarks.methods(spec.load(name)):
            axes = getattr(generated, method).params
            for job in series.shown(jobs, method):
                for place in series.places(benchmarks.SUITE, job, method):
                    assert all(value in axis for value, axis in zip(place, axes, strict=True))
        seen = {job for method in series.UNITS for job in series.shown(jobs, method)}
        assert seen == {job for job in jobs if job.target != REFERENCE and not job.target.twin}


def test_what_is_kept_in_a_state_has_no_gradient():
    assert spec.load("streaming_mean").accumulated
    methods = benchmarks.methods(spec.load("streaming_mean"))

    assert "track_forward" in methods
    assert not any("gradient" in method for method in methods)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[formula]\n", "# a comment\n[formula]\n"),
        ('title   = "', 'title   = "Another '),
        ('meaning = "', 'meaning = "another '),
        ("[[edges]]\n", f"{EDGE}\n[[edges]]\n"),
    ],
    ids=["comment", "title", "meaning", "edge"],
)
def test_what_is_not_measured_keeps_the_history(tmp_path, old, new):
    assert version_of(tmp_path, edited(old, new)) == version_of(tmp_path, HUBER)


def test_our_own_way_to_compute_keeps_the_history(tmp_path):
    lines = HUBER.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith("[formula]"))
    kernel = "\n".join(
        ["kernel = '''", "m = min(abs(y_pred - y_true), delta)", "m*(abs(y_pred - y_true) - m/2)", "'''", ""]
    )
    assert "kernel" not in HUBER.split("[formula]")[1].split("\n[")[0]

    assert version_of(tmp_path, "".join([*lines[: at + 1], kernel, *lines[at + 1 :]])) == version_of(tmp_path, HUBER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("r**2/2", "r**2/4"),
        ("F.huber_loss(y_pred, y_true", "F.smooth_l1_loss(y_pred, y_true"),
        ('default = "1"', 'default = "2"'),
        ('kind = "real", grad = true', 'kind = "real", domain = "positive", grad = true'),
    ],
    ids=["formula", "call", "parameter", "input"],
)
def test_what_is_measured_makes_another_history(tmp_path, old, new):
    assert version_of(tmp_path, edited(old, new)) != version_of(tmp_path, HUBER)


def test_an_expression_is_the_same_in_any_layout():
    assert series.plain("a  + b # why") == series.plain("a + b")


def test_a_call_that_nobody_here_makes_is_not_in_the_version():
    loss = spec.load("huber")

    assert series.version(loss, ["torch"]) != series.version(loss, ["torch", "jax"])


def test_a_new_size_is_a_place_and_no_other_version():
    own = suite.load("asv")
    larger = replace(own, timing=(replace(own.timing[0], elements=(*own.timing[0].elements, 50)),))
    loss = spec.load("huber")
    old, new = (
        {
            place
            for job in series.shown(plan.jobs(one, [loss]), "track_forward")
            for place in series.places(one, job, "track_forward")
        }
        for one in (own, larger)
    )

    assert old < new


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ("not installed", "skipped"),
        ("unsupported", "skipped"),
        ("failed", "failed"),
        ("crashed", "failed"),
        ("timed out", "failed"),
        ("out of memory", "failed"),
        (None, "failed"),
    ],
)
def test_only_what_is_not_there_is_skipped_and_whatever_broke_has_failed(store, refusal, kind):
    job = next(job for job in store.jobs() if job.timed)
    answer = refusal and Refusal(job=job, reason=refusal, detail="its own words")

    assert kind in collection.timed("track_forward", (), answer)


def test_a_collection_has_a_result_at_every_place(store):
    found = collection.results(store)

    for method in series.UNITS:
        for job in series.shown(store.jobs(), method):
            for place in series.places(store.suite, job, method):
                assert found[job.case.loss, method, place].keys() & {"value", "samples", "skipped", "failed"}


def test_times_memory_errors_and_verdicts_are_those_of_the_run(store):
    found = collection.results(store)
    torch = ("torch", "eager", "cpu", "shared", "float32")
    jax = ("jax", "compiled", "cpu", "shared", "float32")

    # Samples of 1e-6 s, each a hundredth longer than the one before; the faster four of eight.
    assert found["huber", "track_forward", (*torch, "mean", "all", "timing", "1000")] == {
        "samples": [pytest.approx(1.015e-6)],
        "number": 1,
    }
    assert "skipped" in found["huber", "track_forward_memory", (*torch, "mean", "all", "timing", "1000")]
    assert found["huber", "track_value_ulp", (*torch, "none", "all", "domain", "40")]["value"] <= 0.5 + 1e-6
    assert (
        2.5 < found["huber", "track_gradient_ulp", (*jax, "none", "all", "domain", "40")]["value"] < 6.5
    )  # three times 2**-23
    assert found["huber", "track_mismatches", (*jax, "none", "all", "domain", "40")] == {"value": 0}
    counts = {
        verdict: found["huber", "track_verdicts", (*torch, "any", "all", "any", "any", verdict)]["value"]
        for verdict in VERDICTS
    }
    jobs = list(series.shown(store.jobs(), "track_verdicts"))
    mine = [job for job in jobs if (job.case.loss, job.target, job.case.dtype) == ("huber", TORCH, "float32")]
    assert sum(counts.values()) == len(mine)
    assert counts["wrong"] == 0
    assert counts["exact"] > 0


def test_of_several_processes_each_gives_one_time(store):
    timing = next(one for one in store.records() if isinstance(one, Timing))
    several = replace(timing, seconds=[2.0, 4.0, 9.0, 3.0, 5.0, 9.0], processes=[0, 0, 0, 1, 1, 1], calls=2, cpu=[])

    assert collection.timed("track_forward", (), several) == {"samples": [1.5, 2.0], "number": 1}


def test_on_one_thread_the_time_is_that_of_the_processor(store):
    timing = next(one for one in store.records() if isinstance(one, Timing))
    busy = replace(timing, seconds=[4.0], cpu=[1.0], processes=[0], calls=1)
    place = ("torch", "eager", "cpu", "shared", "float32", "mean", "1", "timing", "1000")

    assert collection.timed("track_forward", place, busy)["samples"] == [1.0]
    assert collection.timed("track_forward", (*place[:6], "2", *place[7:]), busy)["samples"] == [4.0]


def test_a_framework_that_gives_nothing_but_nan_has_failed():
    row = {"verdict": "wrong", "value_max_ulp": float("nan"), "value_nan": 7, "value_inf": 0, "value_finite": 0}

    assert "7 are nan" in collection.compared("track_value_ulp", (), row, None)["failed"]


def test_of_several_draws_at_one_place_the_largest_error_is_given_and_mismatches_are_added():
    found = [{"value": 1}, {"value": 3}, {"skipped": "not installed"}, {"value": 2}]

    assert collection.joined("track_value_ulp", found) == {"value": 3}
    assert collection.joined("track_mismatches", found) == {"value": 6}
    assert collection.joined("track_mismatches", [*found, {"failed": "crashed"}]) == {"failed": "crashed"}


def test_asv_is_given_what_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {
        "track_forward torch eager": {"samples": [1.0, 2.0], "number": 1},
        "track_forward jax eager": {"skipped": "not installed: no module"},
        "track_forward numba eager": {"failed": "crashed: why"},
        "track_value_ulp torch eager": {"value": 0.5},
    }
    (tmp_path / "huber.json").write_text(json.dumps(found))
    one = CLASSES["huber"]()

    assert one.track_forward("torch", "eager") == {"samples": [1.0, 2.0], "number": 1}
    assert one.track_value_ulp("torch", "eager") == 0.5
    with pytest.raises(NotImplementedError, match="not installed"):
        one.track_forward("jax", "eager")
    with pytest.raises(NotImplementedError, match="not planned"):
        one.track_forward("jax", "compiled")
    with pytest.raises(RuntimeError, match="crashed: why") as caught:
        one.track_forward("numba", "eager")
    assert not isinstance(caught.value, NotImplementedError)  # which asv would take for a skip


def test_another_checkout_is_not_measured_for_this_one(tmp_path):
    collection.check(ROOT / "lossbench", ROOT)
    collection.check(Path("/an/env/lib/python3.11/site-packages/lossbench"), ROOT)
    with pytest.raises(LossbenchError, match=r"other/lossbench would be measured for .*; expected this one"):
        collection.check(tmp_path / "other" / "lossbench", ROOT)


def test_no_hook_makes_asv_call_once_per_sample():
    for generated in CLASSES.values():
        assert not hasattr(generated, "setup")
        assert generated.rounds == 1  # fresh processes are the collector's


def test_the_benchmarks_import_nothing_that_a_fork_could_break():
    code = (
        "import sys, threading, benchmarks.losses; "
        "print(sorted({'torch', 'tensorflow', 'jax', 'numba', 'scipy'} & {*sys.modules}), threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "[] 1\n"


def test_another_suite_has_series_of_other_names():
    code = "import benchmarks.losses as b; print(b.class_name('huber'), *b.methods(b.LOSSES[0]), len(b.LOSSES))"
    quick = {"LOSSBENCH_ASV_SUITE": "timing-quick", "LOSSBENCH_ASV_LOSSES": "huber mse"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | quick,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split()[0] == "Huber_TimingQuick"
    assert done.stdout.split()[-1] == "2"
    assert "track_forward" in done.stdout
    assert "track_value_ulp" not in done.stdout  # that suite compares nothing
