"""Whether a long batch fits into the memory that is left: a refusal is better than a machine that runs out of it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from lossbench.inputs import Problem

# The batch, its copy in the framework, and the intermediate arrays of an eager call.
COPIES = 8
SAID = Path("/proc/meminfo")


def check(problem: Problem) -> None:
    """Make sure that *problem* can be written out.

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
