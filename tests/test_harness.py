"""Runs with real worker processes of a framework that misbehaves: every job has its record, whatever happens."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from lossbench import harness, machine, spec
from lossbench.child import SHARED, Child, Lost, variables
from lossbench.errors import StoreError
from lossbench.harness import _Run
from lossbench.messages import Open, Ready, Sample, Samples, Warm
from lossbench.records import Bandwidth, Case, Died, Environment, Job, MachineState, Output, Refusal, Target, Timing
from lossbench.store import Store
from lossbench.suite import Sampling, Suite
from lossbench.turns import Course, of_process, shuffled

FAKE = Path(__file__).parent / "fake_adapter"
HUBER = spec.load("huber")
SUITE = Suite(
    name="tiny",
    summary="for tests",
    targets=("fake",),
    deadline=5.0,
    threads=1,
    sampling=Sampling(samples=4, turns=2, min_sample=1e-5, max_seconds=1.0),
)


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))


def job(mode: str, reduction: str, measure: str = "accuracy", size: int = 5, **target) -> Job:
    points = "domain" if measure == "accuracy" else "timing"
    case = Case(loss="huber", digest=HUBER.digest, dtype="float32", points=points, shape=(size,), reduction=reduction)
    return Job(case=case, target=Target(framework="fake", mode=mode, **target), measure=measure)


def three(mode: str, **options) -> list[Job]:
    """Jobs of one target; it misbehaves at the second."""
    return [job(mode, reduction, **options) for reduction in ("none", "sum", "mean")]


@pytest.fixture
def make(tmp_path):
    def make(jobs: list[Job], suite: Suite = SUITE) -> Store:
        return Store.create(tmp_path / "run", jobs, [HUBER], suite)

    return make


def answers(store: Store) -> list[Output | Timing | Refusal]:
    """One for each job, in the order of the plan; that there is exactly one is checked."""
    found = [one for one in store.records() if isinstance(one, Output | Timing | Refusal)]
    assert Counter(one.job.key for one in found) == Counter(one.key for one in store.jobs())
    return [next(one for one in found if one.job == asked) for asked in store.jobs()]


def of(store: Store, kind: type) -> list:
    return [one for one in store.records() if isinstance(one, kind)]


@pytest.mark.parametrize(
    ("mode", "reason", "detail"),
    [
        ("raises", "failed", "ValueError: shapes do not match"),
        ("refuses", "unsupported", "fake has no sums"),
        ("starved", "out of memory", "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried"),
        ("exits", "crashed", "exited with status 3; see logs/fake-exits-cpu.log"),
        ("killed", "crashed", "killed by SIGKILL; see logs/fake-killed-cpu.log"),
        ("hangs", "timed out", "no answer after 5 seconds; see logs/fake-hangs-cpu.log"),
    ],
)
def test_whatever_a_framework_does_costs_one_job(make, mode, reason, detail):
    store = make(three(mode))

    harness.run(store)

    before, refusal, after = answers(store)
    assert isinstance(before, Output)
    assert isinstance(after, Output)
    assert refusal.reason == reason
    assert refusal.detail.startswith(detail)


def test_a_worker_that_dies_is_restarted_and_the_store_says_so(make):
    store = make(three("killed"))

    harness.run(store)

    first, second = of(store, Environment)
    assert first.settings["pid"] != second.settings["pid"]
    assert [(one.target, one.job) for one in of(store, Died)] == [(store.jobs()[1].target, store.jobs()[1])]


@pytest.mark.parametrize("measure", ["accuracy", "forward"])
def test_a_fault_of_a_device_costs_one_job_and_a_new_worker(make, measure):
    store = make(three("asserts", measure=measure, device="cuda"))

    harness.run(store)

    before, refusal, after = answers(store)
    assert not isinstance(before, Refusal)
    assert not isinstance(after, Refusal)
    assert refusal.detail == "RuntimeError: CUDA error: device-side assert triggered"
    (died,) = (one for one in of(store, Died) if one.job)  # there is no such device whose bandwidth could be measured
    assert died.job == refusal.job
    assert died.detail == "ended for a fault of its device: RuntimeError: CUDA error: device-side assert triggered"


def test_a_worker_on_the_processor_is_kept_whatever_it_says(make):
    store = make(three("asserts"))

    harness.run(store)

    assert [type(one) for one in answers(store)] == [Output, Refusal, Refusal]
    assert not of(store, Died)


def test_what_adapters_print_goes_to_the_log_and_spoils_nothing(make):
    store = make(three("prints"))

    harness.run(store)

    assert [type(one) for one in answers(store)] == [Output] * 3
    log = (store.path / "logs" / "fake-prints-cpu.log").read_text()
    assert log.startswith("hello from the import of a framework\n")
    assert log.count("x") >= 1_000_000
    assert "warning" in log


@pytest.mark.parametrize(
    ("target", "reason", "detail"),
    [
        ({"mode": "missing"}, "not installed", "No module named 'fakelib'; try: pip install 'lossbench[fake]'"),
        ({"mode": "closed"}, "unsupported", "fake finds no such device here"),
        ({"mode": "stillborn"}, "crashed", "exited with status 7; see logs/fake-stillborn-cpu.log, which ends: the"),
        (
            {"mode": "well", "interpreter": "/nowhere/python"},
            "not installed",
            "/nowhere/python: No such file or directory; expected a Python",
        ),
        ({"mode": "well", "interpreter": "/bin/false"}, "crashed", "exited with status 1; see logs/"),
    ],
)
def test_a_target_that_cannot_start_refuses_its_jobs_and_stops_nobody(make, target, reason, detail):
    broken = [job(reduction=reduction, **target) for reduction in ("none", "mean")]
    store = make([*broken, job("well", "none"), *(job(reduction="none", measure="forward", **target),)])

    harness.run(store)

    first, second, well, timed = answers(store)
    assert {one.reason for one in (first, second, timed)} == {reason}
    assert all(one.detail.startswith(detail) for one in (first, second, timed))
    assert isinstance(well, Output)


def test_all_targets_of_a_case_get_the_same_inputs(make):
    store = make([job(mode, "mean", size=50) for mode in ("well", "prints", "raises")])

    harness.run(store)

    assert len({one.inputs for one in answers(store)}) == 1


def test_resuming_does_what_is_missing_and_repeats_nothing(make):
    store = make(three("well") + three("prints"))
    harness.run(store)
    path = store.path / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    kept = b"".join(lines[:4])
    path.write_bytes(kept + lines[4][:20])
    done = Store.open(store.path).done()

    harness.run(Store.open(store.path))

    assert path.read_bytes().startswith(kept)
    assert 0 < len(done) < 6
    answers(store)


def test_resuming_a_finished_run_does_nothing(make):
    store = make(three("well"))
    harness.run(store)
    before = (store.path / "records.jsonl").read_bytes()

    harness.run(Store.open(store.path))

    assert (store.path / "records.jsonl").read_bytes() == before


def test_an_interrupted_run_leaves_no_worker_and_can_be_resumed(make):
    store = make(three("well") + three("prints") + [job("well", "none", "forward")])

    def interrupt(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harness.run(store, progress=interrupt)

    assert 2 <= len(store.done()) <= 3  # the other worker's job may have come in between
    for environment in of(store, Environment):
        with pytest.raises(ProcessLookupError):
            os.kill(int(environment.settings["pid"]), 0)
    harness.run(Store.open(store.path))
    assert not [one for one in answers(store) if isinstance(one, Refusal)]


def test_a_run_in_use_is_not_run_twice(make):
    store = make(three("well"))
    store.lock()

    with pytest.raises(StoreError, match="is in use"):
        harness.run(Store.open(store.path))
    store.close()


def test_progress_counts_every_job_once(make):
    store = make(three("raises"))
    told = []

    harness.run(store, progress=lambda *one: told.append(one))

    assert told == [(0, 3, "starting"), *((done, 3, "fake:raises:cpu huber") for done in (1, 2, 3))]


def test_timing_takes_its_samples_over_all_turns_and_measures_the_bandwidth(make):
    jobs = [
        job("well", "mean", measure, **twin) for measure in ("forward", "gradient") for twin in ({}, {"twin": True})
    ]
    store = make(jobs)

    harness.run(store)

    for timing in answers(store):
        assert isinstance(timing, Timing)
        assert len(timing.seconds) == 4
        assert timing.turns == [0, 0, 1, 1]
        assert timing.traffic == 4 * (5 + 5 + 1 + (5 if timing.job.measure == "gradient" else 0))
    assert {one.kernel for one in of(store, Bandwidth)} == {"read two", "read two, write one"}
    assert {one.bytes for one in of(store, Bandwidth)} == {2 * 64, 3 * 64}  # whole cache lines


def test_a_worker_that_dies_while_it_is_timed_costs_one_job(make):
    store = make([*three("killed", measure="forward"), job("well", "sum", "forward")])

    harness.run(store)

    before, refusal, after, other = answers(store)
    assert [type(one) for one in (before, after, other)] == [Timing] * 3
    assert refusal.reason == "crashed"


class Turns(_Run):
    """Workers whose calls last as long as they are told, without processes."""

    def __init__(self, store: Store, seconds: dict[str, float]) -> None:
        super().__init__(store, None)
        self.seconds = seconds
        self.asked: list[str] = []
        self.warmed: list[tuple[str, int | None]] = []

    def ask(self, crew, job, request):
        mode = job.target.mode
        if isinstance(request, Warm):
            self.warmed.append((mode, request.calls))
            return Ready(first_call=1.0, calls=7, seconds=self.seconds[mode], traffic=8, steady=mode != "slow")
        assert isinstance(request, Sample)
        self.asked.append(mode)
        if mode == "dies" and self.asked.count("dies") == 2:
            return None
        some = [self.seconds[mode]] * request.count
        return Samples(seconds=some, cpu=some, cold=[9.0] * request.cold)

    def all(self, group: list[Job]) -> None:
        """The turns of all processes."""
        courses = {one: Course(one) for one in group}
        for process in range(self.suite.sampling.processes):
            self.take_turns(group, {}, courses, process)


def test_targets_take_turns_and_one_that_dies_drops_out(make):
    jobs = [job(mode, "mean", "forward") for mode in ("a", "dies", "c")]
    store = make(jobs, Suite(summary="", targets=(), sampling=Sampling(samples=6, turns=3)))
    run = Turns(store, {"a": 0.01, "dies": 0.01, "c": 0.01})

    run.all(jobs)

    assert [sorted(run.asked[at : at + 3]) for at in (0, 3, 6)] == [["a", "c", "dies"]] * 2 + [["a", "c"]]
    assert [one.job.target.mode for one in of(store, Timing)] == ["a", "c"]
    store.close()


def test_no_target_always_comes_behind_the_same_one_and_a_seed_gives_the_same_turns_again():
    jobs = [job(mode, "mean", "forward") for mode in ("a", "b", "c")]

    def orders(seed):
        sampling = Sampling(turns=20, seed=seed)
        return [tuple(one.target.mode for one in shuffled(jobs, sampling, turn)) for turn in range(20)]

    assert orders(0) == orders(0) != orders(1)
    assert len(set(orders(0))) == 6


def test_turns_are_spread_over_fresh_processes_that_make_as_many_calls_in_each_sample(make):
    jobs = [job(mode, "mean", "forward") for mode in ("a", "slow")]
    sampling = Sampling(samples=10, turns=5, processes=2, cold=3)
    store = make(jobs, Suite(summary="", targets=(), sampling=sampling))
    run = Turns(store, {"a": 0.01, "slow": 0.01})

    run.all(jobs)

    assert sorted(run.warmed, key=str) == [("a", 7), ("a", None), ("slow", 7), ("slow", None)]
    for timing in of(store, Timing):
        assert timing.turns == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert timing.processes == [0] * 4 + [1] * 6
        assert timing.cpu == timing.seconds == [0.01] * 10
        assert timing.cold == [9.0] * 3
        assert timing.steady == (timing.job.target.mode != "slow")
    store.close()


def test_every_process_has_a_turn_though_there_are_fewer_turns():
    sampling = Sampling(turns=2, processes=5)

    assert [list(of_process(sampling, process)) for process in range(5)] == [[0], [1], [2], [3], [4]]


def test_a_run_has_fresh_processes_for_its_timings_and_says_what_state_the_machine_was_in(make):
    store = make([job("well", "mean", "forward")], replace(SUITE, sampling=replace(SUITE.sampling, processes=2)))

    harness.run(store)

    (timing,) = answers(store)
    assert timing.processes == [0, 0, 1, 1]
    assert len(timing.cpu) == 4
    first, second = of(store, Environment)
    assert first.settings["pid"] != second.settings["pid"]
    assert first.settings["processors"] == str(machine.pick(1, machine.cores())[0])
    assert [one.when for one in of(store, MachineState)] == ["before", "after"]


def test_a_target_has_its_own_number_of_threads_and_a_plain_one_those_of_its_framework(make):
    jobs = [job("well", "mean", **of) for of in ({}, {"threads": 3}, {"plain": True})]
    store = make(jobs)

    harness.run(store)

    threads = {one.target.name: one.settings.get("LOSSBENCH_THREADS") for one in of(store, Environment)}
    assert threads == {"fake:well:cpu": "1", "fake:well:cpu*3": "3", "fake:well:cpu!plain": None}


def test_a_plain_target_has_none_of_the_settings_that_others_share(monkeypatch):
    for name in (*SHARED, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    assert not variables(Target(framework="torch", plain=True), 3).keys() & {*SHARED, "OMP_NUM_THREADS"}
    assert variables(Target(framework="torch", plain=True, threads=2), 2)["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("dies", ["with its parent", "killed by its parent"])
def test_the_temporary_folder_of_a_worker_goes_with_it(make, monkeypatch, tmp_path, dies):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    store = make([])
    target = Target(framework="fake", mode="well")
    child = Child(target, store.path, 1)
    assert isinstance(child.ask(Open(target=target, folder=str(store.path)), 60.0), Environment)
    (folder,) = (tmp_path / "temporary").iterdir()
    (folder / "compiled").write_text("")

    if dies == "with its parent":
        child._pipe.close()
        child._process.wait(60.0)
    else:
        child.stop()

    assert not folder.exists()


def test_slow_jobs_take_fewer_samples_but_one_in_every_turn(make):
    jobs = [job(mode, "mean", "forward") for mode in ("fast", "slow", "slowest")]
    store = make(jobs, Suite(summary="", targets=(), sampling=Sampling(samples=12, turns=3, max_seconds=1.0)))

    Turns(store, {"fast": 0.01, "slow": 0.125, "slowest": 60.0}).all(jobs)

    assert [one.turns for one in of(store, Timing)] == [
        [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
        [0, 0, 1, 1, 2, 2],
        [0, 1, 2],
    ]
    store.close()


def test_every_target_has_the_same_threads_and_memory():
    one, other = (variables(Target(framework=name), 3) for name in ("torch", "jax"))

    assert one == other
    assert {one[name] for name in ("LOSSBENCH_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")} == {"3"}
    assert one["CUDA_VISIBLE_DEVICES"] == ""
    assert "JAX_PLATFORMS" not in variables(Target(framework="jax", device="cuda"), 3).keys() - os.environ.keys()


def test_a_worker_killed_by_the_system_for_its_memory_ran_out_of_it(make, monkeypatch):
    counts = iter([5, 6])
    monkeypatch.setattr("lossbench.child._memory_kills", lambda: next(counts))
    store = make([])
    child = Child(Target(framework="fake"), store.path, 1)
    child.kill()

    with pytest.raises(Lost, match="killed by SIGKILL as the machine ran out of memory") as lost:
        child.ask(Sample(count=1, calls=1), 5.0)
    assert lost.value.reason == "out of memory"


@pytest.mark.parametrize("dies_first", [True, False])
def test_what_a_worker_started_ends_with_it(make, dies_first):
    """A framework's compiler must not outlive a run, not even where the worker was killed by another."""
    store = make([])
    target = Target(framework="fake", mode="begets")
    child = Child(target, store.path, 1)
    pids = child.ask(Open(target=target, folder=str(store.path)), 60.0).settings
    assert not gone(pids["helper"])
    if dies_first:
        os.kill(int(pids["pid"]), signal.SIGKILL)
        with pytest.raises(Lost, match="killed by SIGKILL"):
            child.ask(Sample(count=1, calls=1), 5.0)
    else:
        child.stop()

    assert any(gone(pids["helper"]) or time.sleep(0.05) for _ in range(400))


def gone(pid: str) -> bool:
    """Whether a process has ended; its entry may stay until somebody asks how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
