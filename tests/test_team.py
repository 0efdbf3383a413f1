import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import enumerate as enumerate_threads

import numpy as np
import pytest
from numba import njit

from lossbench import machine, spec
from lossbench.adapters.numba import kernel, kernel_of
from lossbench.kernels.primitives import inlined
from lossbench.kernels.quick import unusual
from lossbench.kernels.streams import BLOCK
from lossbench.kernels.team import Team, _pause, distribute, spread, task


@inlined
def marked(block, times, pauses):
    for _ in range(pauses[block]):
        _pause()
    times[block] += block + 1


@njit  # not from disk: what it would be compiled with there, Numba does not compare
def mark(board, times, pauses):
    distribute(board, task(marked, (times, pauses)), times.shape[0])


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_block_is_computed_once(threads):
    board = Team(threads).board(threads)

    for count in (1, 2, 3, 61, 1000):
        for _ in range(200):
            times = np.zeros(count, np.int64)
            mark(board, times, np.zeros(count, np.int64))

            assert np.array_equal(times, np.arange(1, count + 1))


def test_nobody_waits_for_a_thread_that_does_not_come(monkeypatch):
    monkeypatch.setattr("lossbench.kernels.team.Thread.start", lambda thread: None)
    board = Team(2).board(2)
    times = np.zeros(9, np.int64)

    mark(board, times, np.zeros(9, np.int64))

    assert np.array_equal(times, np.arange(1, 10))


@pytest.mark.parametrize("late", [0, 8])
def test_who_is_slow_is_waited_for(late):
    board = Team(2).board(2)
    pauses = np.zeros(9, np.int64)
    pauses[late] = 1_000_000  # some 25 ms: the caller, or who waits for the next call, falls asleep

    for _ in range(5):
        times = np.zeros(9, np.int64)
        mark(board, times, pauses)

        assert np.array_equal(times, np.arange(1, 10))


@pytest.mark.skipif(len(machine.cores()) < 2 or sys.platform != "linux", reason="there is no core to keep them from")
def test_the_others_are_kept_from_the_core_of_the_caller_asleep_or_awake():
    before, known = machine.cores(), set(enumerate_threads())
    board = Team(2).board(2)
    (other,) = set(enumerate_threads()) - known
    kept = []

    try:
        for core in before[:2] * 2:
            machine.pin([core])
            mark(board, np.zeros(9, np.int64), np.zeros(9, np.int64))
            kept.append(os.sched_getaffinity(other.native_id))
    finally:
        machine.pin(before)

    assert kept == [set(before) - {core} for core in before[:2] * 2]


LONG = 100  # times as long as what is worth other threads
ELEMENTS = np.random.default_rng(2).normal(size=(2, 20 * BLOCK + 77)).astype(np.float32)
ROWS = np.random.default_rng(3).normal(size=(1500, 70)).astype(np.float32)


def results(name, arrays, threads):
    """The bytes of the mean and its gradient, in turns and by several threads."""
    one = kernel_of(spec.load(name), dtype="float32", gradient=False, reduction="none")
    suffix = "_at_once" if arrays[0].ndim == 2 else ""
    turns = getattr(one.module, f"value_and_gradient{suffix or '_turns'}")
    blocks = getattr(one.module, f"value_and_gradient{suffix}_blocks")
    parameters = [one.dtype.type(one.defaults[name]) for name in one.parameters]
    out = np.empty_like(arrays[0])
    for board in (None, *(Team(one).board(one) for one in threads)):
        every = (*arrays, *parameters, 1.0, 0.0, out)
        value = turns(*every) if board is None else blocks(board, *every)
        yield np.float32(value).tobytes(), out.tobytes()


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("squared_error", ELEMENTS),
        ("log_cosh", ELEMENTS),
        ("categorical_hinge", (ROWS, np.abs(ROWS))),
    ],
)
def test_results_are_the_same_bits_for_any_number_of_threads(name, arrays):
    found = set(results(name, tuple(arrays), (1, 2, 2, 3, 3)))

    assert len(found) == 1


def test_a_call_beside_another_does_without_other_threads(monkeypatch):
    team = Team(2)
    monkeypatch.setattr("lossbench.kernels.team._team", team)
    monkeypatch.setattr("lossbench.kernels.team.get_num_threads", lambda: 2)
    monkeypatch.setattr("lossbench.kernels.team.config.NUMBA_NUM_THREADS", 2)

    def blocks(board, *given):
        return "shared", spread(lambda *given: "alone", blocks, given, LONG)

    assert spread(lambda *given: "alone", blocks, (), LONG) == ("shared", "alone")
    assert spread(lambda *given: "alone", blocks, (), LONG) == ("shared", "alone")


def test_a_short_call_wakes_nobody_unless_it_follows_on_another(monkeypatch):
    team, clock = Team(2), iter([1.0, 1.0, 1.00005, 1.00005, 2.0, 2.0])
    monkeypatch.setattr("lossbench.kernels.team._team", team)
    monkeypatch.setattr("lossbench.kernels.team.get_num_threads", lambda: 2)
    monkeypatch.setattr("lossbench.kernels.team.config.NUMBA_NUM_THREADS", 2)
    monkeypatch.setattr("lossbench.kernels.team.perf_counter", lambda: next(clock))

    found = [spread(lambda: "alone", lambda board: "shared", (), 1) for _ in range(3)]

    assert found == ["alone", "shared", "alone"]


def test_a_call_that_failed_as_nothing_was_compiled_comes_back_to_several_threads(monkeypatch):
    team, clock = Team(2), iter([1.0, 1.0, 1.00005, 2.0, 2.0, 3.0, 3.0])
    monkeypatch.setattr("lossbench.kernels.team._team", team)
    monkeypatch.setattr("lossbench.kernels.team.get_num_threads", lambda: 2)
    monkeypatch.setattr("lossbench.kernels.team.config.NUMBA_NUM_THREADS", 2)
    monkeypatch.setattr("lossbench.kernels.team.perf_counter", lambda: next(clock))
    assert spread(lambda: "alone", unusual, (), 1) == "alone"

    with pytest.raises(LookupError):
        spread(lambda: "alone", unusual, (), 1)

    assert [spread(lambda: "alone", lambda board: "shared", (), 1) for _ in range(2)] == ["shared", "alone"]


def test_several_callers_at_once_get_their_own_results():
    compiled = kernel("squared_error", gradient=True, reduction="sum")
    batches = [np.full(20 * BLOCK + at, at, np.float32) for at in range(1, 5)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: compiled(y_pred=p, y_true=np.zeros_like(p)), batches * 4))

    for p, (value, slopes) in zip(batches * 4, found, strict=True):
        assert value == np.float32(len(p) * float(p[0]) ** 2)
        assert np.all(slopes["y_pred"] == 2 * p)


def test_a_forked_process_has_threads_of_its_own():
    code = """
import os, warnings
import numpy as np
from lossbench.kernels import team
warnings.simplefilter("ignore")
mine = team._team
board = mine.board(2)
child = os.fork()
if child == 0:
    os._exit(0 if team._team is not mine and team._team.board(2) is not board else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "0"
