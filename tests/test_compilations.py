"""What Numba compiles is counted, and a second run compiles nothing."""

import subprocess
import sys

import pytest

from lossbench import harness, plan, spec
from lossbench.records import Output, Timing
from lossbench.store import Store
from lossbench.suite import Accuracy, Sampling, Suite
from lossbench.suite import Timing as Times

SUITE = Suite(
    name="small",
    summary="",
    targets=("numba:compiled",),
    accuracy=(Accuracy(targets=("numba:compiled",), dtypes=("float32",), points=20, reductions=("none", "mean")),),
    timing=(Times(targets=("numba:compiled", "numba:reused"), dtypes=("float32",), elements=(1000,)),),
    sampling=Sampling(samples=1, turns=1, min_sample=1e-4, max_seconds=0.1, twin=False),
)


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSBENCH_CACHE_DIR", str(tmp_path / "cache"))
    losses = [spec.load("squared_error")]

    def records(name):
        store = Store.create(tmp_path / name, plan.jobs(SUITE, losses), losses, SUITE)
        harness.run(store)
        return [one for one in store.records() if isinstance(one, Output | Timing)]

    return records


def test_a_second_run_compiles_nothing(records):
    first, second = records("first"), records("second")

    assert len(first) == len(second) == len(plan.jobs(SUITE, [spec.load("squared_error")]))
    assert sum(one.compiled for one in first if isinstance(one, Output)) > 0
    assert sum(one.compiled for one in first if isinstance(one, Timing)) > 0
    assert sum(one.compiled for one in second) == 0


def test_nothing_is_loaded_for_who_does_not_compile():
    code = "import sys; from lossbench import compilations; print(compilations.count(), 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["0", "False"]
