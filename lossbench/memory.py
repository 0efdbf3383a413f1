"""Whether a long batch fits into the memory that is left, and how much a call takes of it."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lossbench.inputs import Problem

# The batch, its copy in the framework, and the intermediate arrays of an eager call.
COPIES = 8
SAID = Path("/proc/meminfo")
OURS = Path("/proc/self/status")
MARKS = Path("/proc/self/clear_refs")


def check(problem: Problem) -> None:
    """Make sure that *problem* can be written out: a refusal is better than a machine that runs out of memory.

    Raises:
        MemoryError: It needs more than there is.
    """
    if problem.order is None:
        return
    row = sum(array.nbytes // len(array) for array in problem.arrays.values())
    needed, left = COPIES * row * problem.entries, available()
    if left is not None and needed > left:
        sizes = (f"{count / 2**30:.1f} GiB" for count in (needed, left))
        raise MemoryError("{} entries need about {}, and {} are available".format(problem.entries, *sizes))


def available() -> int | None:
    """Bytes that may still be taken; None where the system does not say."""
    with suppress(OSError):
        said = re.search(r"MemAvailable:\s*(\d+) kB", SAID.read_text(encoding="ascii"))
        return int(said[1]) * 1024 if said else None
    return None


def rise(call: Callable[[], object]) -> int | None:
    """Bytes by which *call* raises the most memory that this process has resident; None where that cannot be seen.

    The system counts in pages, and lets each thread keep some to itself: what is below a quarter of a MiB is lost. So
    is what an allocator above the system's keeps for itself.
    """
    _give_back()
    try:
        MARKS.write_text("5", encoding="ascii")  # from here on the highest mark is that of now
        before = _resident("VmRSS")
    except OSError:
        return None
    call()
    highest = _resident("VmHWM")
    return None if before is None or highest is None else max(0, highest - before)


def _give_back() -> None:
    """What was freed, to the system: taken once more by a call, it would not show."""
    with suppress(OSError, AttributeError):  # another C library than GNU's
        ctypes.CDLL(None).malloc_trim(0)


def _resident(mark: str) -> int | None:
    said = re.search(rf"^{mark}:\s*(\d+) kB", OURS.read_text(encoding="utf-8"), re.MULTILINE)
    return int(said[1]) * 1024 if said else None
