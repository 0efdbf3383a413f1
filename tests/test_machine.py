"""Processors, caches and the state of the machine, on a system of files made for the test, and on this one."""

import os

import pytest

from lossbench import machine


@pytest.fixture
def cpus(tmp_path, monkeypatch):
    """A machine of four processors on two cores, with three levels of caches."""
    for one, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{one}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    caches = (("Data", "48K"), ("Instruction", "64K"), ("Unified", "2048K"), ("Unified", "32M"))
    for index, (kind, size) in enumerate(caches):
        folder = tmp_path / "cpu0" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n")
        (folder / "size").write_text(f"{size}\n")
    monkeypatch.setattr(machine, "CPUS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("count", "picked"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])])
def test_threads_get_cores_of_their_own_while_there_are_any(cpus, count, picked):
    assert machine.pick(count, [0, 1, 2, 3]) == picked


def test_only_processors_that_may_be_used_are_picked(cpus):
    assert machine.pick(2, [1, 2, 3]) == [1, 2]


def test_caches_are_those_for_data_the_smallest_first(cpus):
    assert machine.cache_sizes() == [48 * 2**10, 2 * 2**20, 32 * 2**20]


def test_caches_are_emptied_by_more_than_they_hold_and_the_processors_are_as_before(cpus):
    before = machine.cores()
    erase = machine.Eraser()

    erase()

    assert erase._buffer.nbytes == 2 * 32 * 2**20
    assert erase._own.nbytes == 2 * 2 * 2**20
    assert erase._buffer.min() >= 1.0
    assert machine.cores() == before


def test_a_machine_that_says_nothing_of_its_caches_has_them_emptied_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CPUS", tmp_path)

    assert machine.Eraser()._buffer.nbytes == 2 * machine.UNKNOWN


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_pinning_keeps_a_thread_on_its_processors_and_what_is_not_allowed_changes_nothing():
    before = machine.cores()

    machine.pin(before[:1])
    pinned = machine.cores()
    machine.pin([100_000])
    machine.pin(before)

    assert pinned == before[:1]
    assert machine.cores() == before


def test_a_thread_is_put_on_the_first_of_its_processors_and_may_then_move_on(monkeypatch):
    put = []
    monkeypatch.setattr(machine, "cores", lambda: [2, 5, 7])
    monkeypatch.setattr(machine, "pin", put.append)

    machine.gather()

    assert put == [[2], [2, 5, 7]]


def test_the_state_of_this_machine_only_grows():
    first, second = machine.state("before"), machine.state("after")

    assert (first.when, second.when) == ("before", "after")
    assert second.own >= first.own > 0
    assert all(second.seconds[name] >= count for name, count in first.seconds.items() if name != "iowait")


def test_a_state_has_what_the_system_says_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nnr_throttled 3\n")
    for one, governor in enumerate(("powersave", "performance")):
        (tmp_path / f"cpu{one}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{one}" / "cpufreq" / "scaling_governor").write_text(governor)
        (tmp_path / f"cpu{one}" / "thermal_throttle").mkdir()
        (tmp_path / f"cpu{one}" / "thermal_throttle" / "core_throttle_count").write_text("2\n")
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    monkeypatch.setattr(machine, "CPUS", tmp_path)

    found = machine.state("before")
    monkeypatch.setattr(machine, "GROUP", tmp_path / "nowhere")
    monkeypatch.setattr(machine, "CPUS", tmp_path / "nowhere")
    silent = machine.state("before")

    assert (found.governor, found.throttled, found.capped) == ("performance, powersave", 4, 3)
    assert (silent.governor, silent.throttled, silent.capped) == ("", None, None)
