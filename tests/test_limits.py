"""What `lossbench doctor` says of a machine, on systems of files made for the test."""

import os
import subprocess

import pytest

from lossbench import limits, machine


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes files of a system that tells nothing else; what is found there, by its name."""
    monkeypatch.setattr(limits, "ROOT", tmp_path)
    monkeypatch.setattr(limits.shutil, "which", lambda name: None)
    for name in list(os.environ):
        if name.startswith(limits.POOLS) or name == "LD_PRELOAD":
            monkeypatch.delenv(name)

    def examined(**files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{text}\n")
        return {one.what: one for one in limits.examine()}

    return examined


CPU = limits.CPU
PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"


@pytest.mark.parametrize(
    ("path", "well", "ill", "what", "found", "try_"),
    [
        (
            f"{CPU}/cpu0/cpufreq/scaling_governor",
            "performance",
            "powersave",
            "frequency governor",
            "powersave",
            "cpupow",
        ),
        (f"{CPU}/intel_pstate/no_turbo", "1", "0", "turbo", "on", "echo 1 > /sys/devices/system/cpu/intel_pstate"),
        (f"{CPU}/cpufreq/boost", "0", "1", "turbo", "on", "echo 0 > /sys/devices/system/cpu/cpufreq/boost"),
        (f"{CPU}/smt/active", "0", "1", "hyper-threads", "on", "echo off > /sys/devices/system/cpu/smt/control"),
        (PAGES, "always [madvise] never", "[always] madvise never", "huge pages", "always", "echo madvise > "),
        (CLOCK, "tsc", "hpet", "clock", "hpet", "asks the kernel"),
        ("proc/sys/kernel/randomize_va_space", "0", "2", "random addresses", "on", "`processes`"),
        (
            "sys/fs/cgroup/cpu.max",
            "max 100000",
            "50000 100000",
            "processor share",
            "0.5 cores (cgroup)",
            "`threads` of 1",
        ),
        ("proc/cpuinfo", "flags : fpu", "flags : hypervisor", "virtual machine", "yes", "trust ratios"),
    ],
)
def test_what_limits_the_measurement_is_named_with_what_to_try(system, path, well, ill, what, found, try_):
    before = system(**{path: well}).get(what)
    after = system(**{path: ill})[what]

    assert before is None or before.advice == ""
    assert after.found == found
    assert try_ in after.advice


def test_a_share_of_the_older_kind_of_container_is_known(system):
    files = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}

    assert system(**files)["processor share"].found == "1.5 cores (cgroup)"


def test_several_nodes_of_memory_are_advised_against(system):
    assert "NUMA nodes" not in system()
    assert system(**{"sys/devices/system/node/node0/x": ""})["NUMA nodes"].advice == ""
    assert "numactl" in system(**{"sys/devices/system/node/node1/x": ""})["NUMA nodes"].advice


def test_a_silent_system_has_no_marks_of_memory_and_no_clock_rates(system):
    found = system()

    assert found["memory marks"].found == "none"
    assert not {"frequency governor", "turbo", "huge pages", "clock", "processor share"} & found.keys()
    assert {"cores", "affinity", "memory", "allocator", "cuda"} <= found.keys()


def test_an_allocator_put_before_the_others_is_named(system, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/lib/libjemalloc.so")

    assert "/lib/libjemalloc.so" in system()["allocator"].advice


def test_thread_pools_that_the_user_has_set_are_named(system, monkeypatch):
    assert "thread pools" not in system()
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")

    assert system()["thread pools"].found == "OMP_WAIT_POLICY=ACTIVE"


def test_a_host_that_takes_time_away_is_named(system, monkeypatch):
    def says(seconds):
        monkeypatch.setattr(machine, "state", lambda when: machine.MachineState(when=when, seconds=seconds))
        return system()["steal time"]

    assert says({"user": 99.5, "steal": 0.5}).advice == ""
    assert says({"user": 95.0, "steal": 5.0}).found == "5.00% since the start"
    assert "another hour" in says({"user": 95.0, "steal": 5.0}).advice


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("NVIDIA H100, Enabled, 0", ""),
        ("NVIDIA H100, Disabled, 0", "nvidia-smi -pm 1"),
        ("NVIDIA H100, Enabled, 90", "other programs use 90 % of it"),
    ],
)
def test_a_gpu_is_named_with_what_disturbs_it(system, monkeypatch, line, advice):
    monkeypatch.setattr(limits.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    done = subprocess.CompletedProcess([], 0, stdout=f"{line}\n")
    monkeypatch.setattr(limits.subprocess, "run", lambda *_, **__: done)

    found = system()["cuda"]

    assert found.found == "NVIDIA H100"
    assert advice in found.advice
    assert bool(advice) == bool(found.advice)


def test_a_driver_that_does_not_answer_is_said_to_be_so(system, monkeypatch):
    monkeypatch.setattr(limits.shutil, "which", lambda name: "/nowhere/nvidia-smi")

    assert system()["cuda"].found == "a driver that does not answer"
