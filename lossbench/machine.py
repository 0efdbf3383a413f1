"""The machine that times are taken on: its cores, its caches, and the state that it is in."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from lossbench.records import MachineState

CPUS = Path("/sys/devices/system/cpu")
GROUP = Path("/sys/fs/cgroup")
UNKNOWN = 2**26  # bytes: a last cache larger than most, where the system does not say
MOST = 2**30  # bytes written at most to empty the caches
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def cores() -> list[int]:
    """The processors that this process may run on, by the system's numbers; 0 and so on where it does not say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pick(count: int, among: list[int]) -> list[int]:
    """*count* of the processors *among*, on cores of their own while there are any: two on one core share its units."""
    seen: dict[str, int] = {}
    ranked = []
    for one in among:
        siblings = text(CPUS / f"cpu{one}" / "topology" / "thread_siblings_list") or str(one)
        seen[siblings] = seen.get(siblings, 0) + 1
        ranked.append((seen[siblings], one))
    return sorted(one for _, one in sorted(ranked)[:count])


def pin(wanted: Sequence[int], process: int = 0) -> None:
    """Keep *process*, this thread where none is named, on these processors, where the system allows it.

    So it is for what it starts from then on; threads that it has already stay where they are.
    """
    if hasattr(os, "sched_setaffinity") and wanted:
        with suppress(OSError):
            os.sched_setaffinity(process, wanted)


def gather() -> None:
    """Put this thread on the first of its processors; it may move on.

    There targets of one thread are kept. On a virtual machine the processors are not equally fast at any time: a call
    that begins on another is up to twice as long, whatever it does there.
    """
    everywhere = cores()
    pin(everywhere[:1])
    pin(everywhere)


def cache_sizes() -> list[int]:
    """Bytes of the first processor's caches for data, the smallest first; empty where the system does not say."""
    found = []
    for one in CPUS.glob("cpu0/cache/index*"):
        said = re.fullmatch(r"(\d+)([KMG]?)", text(one / "size"))
        if said and text(one / "type") != "Instruction":
            found.append(int(said[1]) * UNITS.get(said[2], 1))
    return sorted(found)


class Eraser:
    """Empties the caches: writes more than they hold.

    Every processor that this process may run on writes more than the caches of its own, then one of them twice as much
    as the last one holds, which all share.
    """

    def __init__(self) -> None:
        sizes = cache_sizes() or [UNKNOWN]
        own = 2 * max(sizes[:-1], default=0)
        self._buffer = np.zeros(min(2 * sizes[-1], MOST) // 8)
        self._own = self._buffer[: own // 8]

    def __call__(self) -> None:
        everywhere = cores()
        if self._own.size and len(everywhere) > 1:
            for one in everywhere:
                pin([one])
                self._own += 1.0
            pin(everywhere)
        self._buffer += 1.0


def state(when: Literal["before", "after"]) -> MachineState:
    """What the machine's counters say now, and what this process and those that it has waited for have used."""
    said = text(Path("/proc/stat")).partition("\n")[0].split()[1:9]
    ticks = dict(zip(("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"), said, strict=False))
    clock = os.sysconf("SC_CLK_TCK") if ticks else 1
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    governors = {text(path) for path in CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    rates = re.findall(r"^cpu MHz\s*: (\S+)", text(Path("/proc/cpuinfo")), re.MULTILINE)
    heat = [text(path) for path in CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    quota = re.search(r"^nr_throttled (\d+)", text(GROUP / "cpu.stat"), re.MULTILINE)
    return MachineState(
        when=when,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        seconds={name: int(count) / clock for name, count in ticks.items()},
        own=sum(one.ru_utime + one.ru_stime for one in used),
        governor=", ".join(sorted(governors)),
        megahertz=[float(rate) for rate in rates],
        throttled=sum(map(int, heat)) if heat else None,
        capped=int(quota[1]) if quota else None,
    )


def text(path: Path) -> str:
    """What a file of the system says, or nothing where there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
