"""What limits the measurement on this machine, and how to improve it: read, never changed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from lossbench import machine

ROOT = Path("/")
CPU = "sys/devices/system/cpu"
STEADY_LOAD = 0.3  # of one core, beside the measurement
STOLEN = 0.01  # of the processor time
CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")  # read without asking the kernel
POOLS = ("GOMP_", "KMP_", "MKL_", "OMP_", "OPENBLAS_", "TF_NUM_")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at; `advice` is empty where nothing is to be done."""

    what: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything here that makes times noisy or wrong; what the system does not tell is left out."""
    return [*_processors(), *_neighbours(), *_clocks(), *_memory(), *_gpu()]


def _processors() -> Iterator[Finding]:
    cores = machine.cores()
    yield Finding(
        what="cores",
        found=f"{len(cores)} of {os.cpu_count()}",
        advice="" if len(cores) > 1 else "targets share one core with the harness; ratios stay fair, times grow",
    )
    able = hasattr(os, "sched_setaffinity")
    yield Finding(
        what="affinity",
        found="workers are kept on as many cores as they have threads" if able else "cannot be set on this system",
        advice=_pinned(len(cores)) if able else "the system may move workers between cores; trust medians of many runs",
    )
    if _said(f"{CPU}/smt/active"):
        shared = _said(f"{CPU}/smt/active") == "1"
        advice = f"two processors share a core, and one of them slows the other; try: echo off > /{CPU}/smt/control"
        yield Finding(what="hyper-threads", found="on" if shared else "off", advice=advice if shared else "")
    share = _quota()
    if share is not None:
        few = f"the container is stopped when that is used up; let the suite have `threads` of {max(1, int(share))}"
        advice = few if share < len(cores) else ""
        yield Finding(what="processor share", found=f"{share:g} cores (cgroup)", advice=advice)
    nodes = len(list((ROOT / "sys/devices/system/node").glob("node[0-9]*")))
    if nodes:
        advice = "memory of another node is slower; try: numactl --cpunodebind=0 --membind=0 lossbench run"
        yield Finding(what="NUMA nodes", found=str(nodes), advice=advice if nodes > 1 else "")
    pools = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(POOLS)]
    if pools:
        advice = "workers get the same settings whatever these say; only plain targets have yours"
        yield Finding(what="thread pools", found=", ".join(pools), advice=advice)


def _pinned(cores: int) -> str:
    if cores == 1:
        return ""
    return f"with all {cores} cores at work the system has none left; a suite with `threads` below that leaves it one"


def _neighbours() -> Iterator[Finding]:
    if hasattr(os, "getloadavg"):
        load = os.getloadavg()[0]
        advice = "other programs are running; close them, or read the A/A noise of the run"
        yield Finding(what="load", found=f"{load:.1f}", advice=advice if load > STEADY_LOAD else "")
    spent = machine.state("before").seconds
    if spent:
        stolen = spent.get("steal", 0.0) / sum(spent.values())
        advice = "the host gives the time of this machine to others; try another hour, or a machine of its own"
        yield Finding(
            what="steal time", found=f"{stolen:.2%} since the start", advice=advice if stolen > STOLEN else ""
        )
    if "hypervisor" in _said("proc/cpuinfo"):
        advice = "neighbours on the same host add noise that cannot be seen from inside; trust ratios, not times"
        yield Finding(what="virtual machine", found="yes", advice=advice)


def _clocks() -> Iterator[Finding]:
    governor = _said(f"{CPU}/cpu0/cpufreq/scaling_governor")
    if governor:
        advice = "clock rates follow the load; try: cpupower frequency-set -g performance"
        yield Finding(what="frequency governor", found=governor, advice="" if governor == "performance" else advice)
    for path, on, off in (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")):
        if _said(f"{CPU}/{path}"):
            boosted = _said(f"{CPU}/{path}") == on
            advice = f"clock rates depend on heat and on the neighbours; try: echo {off} > /{CPU}/{path}"
            yield Finding(what="turbo", found="on" if boosted else "off", advice=advice if boosted else "")
    clock = _said("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if clock:
        advice = "reading this clock asks the kernel, which takes longer than a fast loss"
        yield Finding(what="clock", found=clock, advice="" if clock in CLOCKS else advice)


def _memory() -> Iterator[Finding]:
    free = psutil.virtual_memory()
    yield Finding(what="memory", found=f"{free.available / 2**30:.1f} of {free.total / 2**30:.1f} GiB free")
    pages = re.search(r"\[(\w+)\]", _said("sys/kernel/mm/transparent_hugepage/enabled"))
    if pages:
        path = "/sys/kernel/mm/transparent_hugepage/enabled"
        advice = f"arrays get huge pages or not by chance; try: echo madvise > {path}"
        yield Finding(what="huge pages", found=pages[1], advice=advice if pages[1] == "always" else "")
    library, version = platform.libc_ver()
    preloaded = os.environ.get("LD_PRELOAD", "")
    advice = "" if library == "glibc" else "MALLOC_ thresholds have no effect: large arrays may cost page faults"
    if preloaded:
        advice = f"LD_PRELOAD is {preloaded}: an allocator in it heeds no MALLOC_ thresholds; run without it"
    yield Finding(what="allocator", found=f"{library or 'another C library'} {version}".strip(), advice=advice)
    marks = ROOT / "proc/self/clear_refs"
    advice = "the memory that a call takes cannot be seen, but where its framework tells it"
    able = marks.exists()
    yield Finding(what="memory marks", found="can be reset" if able else "none", advice="" if able else advice)
    sizes = machine.cache_sizes()
    advice = f"cold calls are timed behind {2 * machine.UNKNOWN // 2**20} MiB of writes, which may be too few"
    said = ", ".join(f"{size // 2**10} KiB" for size in sizes)
    yield Finding(what="caches", found=said or "sizes unknown", advice="" if sizes else advice)
    if _said("proc/sys/kernel/randomize_va_space") in ("1", "2"):
        advice = "times differ from process to process; suites with several `processes` see by how much"
        yield Finding(what="random addresses", found="on", advice=advice)


def _gpu() -> Iterator[Finding]:
    driver = shutil.which("nvidia-smi")
    if driver is None:
        yield Finding(what="cuda", found="none", advice="targets on cuda are refused; everything else runs on the CPU")
        return
    asked = [driver, "--query-gpu=name,persistence_mode,utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding(what="cuda", found="a driver that does not answer", advice=str(error))
        return
    for line in done.stdout.splitlines():
        name, kept, used = (part.strip() for part in line.rsplit(",", 2))
        advice = "the driver is loaded anew for each run; try: nvidia-smi -pm 1" if kept == "Disabled" else ""
        if used.isdecimal() and int(used) > 100 * STOLEN:
            advice = f"other programs use {used} % of it; close them"
        yield Finding(what="cuda", found=name, advice=advice)


def _quota() -> float | None:
    """How many cores a container may use; None where there is no limit."""
    limit = _said("sys/fs/cgroup/cpu.max").split()
    if not limit:  # the older form
        names = ("quota", "period")
        limit = [_said(f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in names]
    known = len(limit) == 2 and all(part.isdecimal() for part in limit)
    return int(limit[0]) / int(limit[1]) if known else None


def _said(path: str) -> str:
    return machine.text(ROOT / path)
