"""What is installed, which devices there are, and what limits the measurement on this machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

import msgspec
import psutil

from lossbench import adapters

DISTRIBUTIONS = {
    "torch": ["torch"],
    "tensorflow": ["tensorflow", "keras"],
    "jax": ["jax", "optax"],
    "numba": ["numba"],
}
STEADY_LOAD = 0.3  # of one core, beside the measurement


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at; `advice` is empty where nothing is to be done."""

    what: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything that decides what can be measured here, and how well. Imports no framework."""
    return [*_frameworks(), *_devices(), *_machine()]


def _frameworks() -> list[Finding]:
    python = platform.python_version()
    findings = [Finding(what="python", found=f"{python} at {sys.executable}")]
    for framework in (name for name in adapters.names() if name != "reference"):
        wanted = DISTRIBUTIONS.get(framework, [framework])
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in wanted if name not in missing)
        advice = f"{' and '.join(missing)} missing; try: pip install 'lossbench[{framework}]'" if missing else ""
        findings.append(Finding(what=framework, found=found or "not installed", advice=advice))
    return findings


def _devices() -> list[Finding]:
    driver = shutil.which("nvidia-smi")
    return [
        Finding(
            what="cuda",
            found="an NVIDIA driver is installed" if driver else "none",
            advice="" if driver else "targets on cuda are refused; everything else runs on the CPU",
        )
    ]


def _machine() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    memory = psutil.virtual_memory()
    findings = [
        Finding(
            what="cores",
            found=str(cores),
            advice="" if cores > 1 else "all targets share one core with the harness; ratios stay fair, times grow",
        ),
        Finding(
            what="load",
            found=f"{load:.1f}",
            advice="other programs are running; close them, or read the A/A noise of the run"
            if load > STEADY_LOAD
            else "",
        ),
        Finding(what="memory", found=f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"),
    ]
    governor = _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor:
        advice = (
            ""
            if governor == "performance"
            else "clock rates follow the load; try: cpupower frequency-set -g performance"
        )
        findings.append(Finding(what="frequency governor", found=governor, advice=advice))
    if "hypervisor" in _text("/proc/cpuinfo"):
        findings.append(
            Finding(
                what="virtual machine",
                found="yes",
                advice="neighbours on the same host add noise that cannot be seen from inside; trust ratios, not times",
            )
        )
    return findings


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
