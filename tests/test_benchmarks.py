"""The asv benchmarks: generated from the specs, found by asv, and complete. Nothing is timed here."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import losses as benchmarks
from lossbench import spec

ROOT = Path(__file__).parent.parent
CLASSES = {loss.name: getattr(benchmarks, loss.name.title().replace("_", "")) for loss in spec.load_all()}


def test_every_loss_has_its_class():
    assert set(CLASSES) == set(spec.names())


@pytest.mark.parametrize("name", CLASSES)
def test_every_series_has_all_axes_and_a_version(name):
    for method in benchmarks.methods(spec.load(name)):
        track = getattr(CLASSES[name], method)

        assert track.param_names == list(benchmarks.AXES)
        assert all(track.params)
        assert len(track.params) == len(benchmarks.AXES)
        assert track.version == spec.load(name).digest


@pytest.mark.parametrize("method", benchmarks.UNITS)
def test_every_planned_job_has_its_place(method):
    for name, generated in CLASSES.items():
        if method not in benchmarks.methods(spec.load(name)):
            assert benchmarks.jobs(name, "track_gradient") == []
            continue
        axes = getattr(generated, method).params
        for job in benchmarks.jobs(name, method):
            assert all(value in axis for value, axis in zip(benchmarks.place(job), axes, strict=True))


def test_what_was_not_measured_is_a_skip_and_no_failure():
    track = CLASSES["huber"]().track_forward

    with pytest.raises(NotImplementedError, match="huber was not measured at torch, eager"):
        track({}, "torch", "eager")


def test_what_was_measured_is_given_to_asv():
    place = ("torch", "eager")
    cache = {("huber", "track_forward", place): {"samples": [1.0, 2.0], "number": 3}}

    assert CLASSES["huber"]().track_forward(cache, *place) == {"samples": [1.0, 2.0], "number": 3}


def test_of_several_draws_at_one_place_the_largest_error_is_given():
    key, other = ("pairs", "track_value_ulp", ("torch",)), ("pairs", "track_value_ulp", ("jax",))

    assert benchmarks.largest([(key, 1.0), (key, 3.0), (other, 0.0), (key, 2.0)]) == {key: 3.0, other: 0.0}


def test_asv_finds_and_accepts_the_benchmarks():
    command = [sys.executable, "-m", "asv", "check", "--environment", f"existing:{sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
