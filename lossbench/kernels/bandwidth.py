"""The memory bandwidth of this machine: kernels that only move what every loss must move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numba
import numpy as np

from lossbench import timing
from lossbench.records import Bandwidth

SAMPLES = 3
BLOCK = 8192  # elements: many blocks for every thread, and each long enough to be streamed


def measure(size: int, threads: int, min_sample: float) -> list[Bandwidth]:
    """Records for arrays of *size* bytes each: both kernels, on one thread and on *threads*."""
    left, right = (np.full(size // 4, value, np.float32) for value in (1.0, 2.0))
    out = np.empty_like(left)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    sums = np.empty(-(-left.size // BLOCK), np.float32)
    kernels: list[tuple[str, int, int, Callable[[], object]]] = [
        ("read two", 2, 1, partial(_read, left, right, sums)),
        ("read two, write one", 3, 1, partial(_write, left, right, out)),
    ]
    if threads > 1:
        kernels += [
            ("read two", 2, threads, partial(_read_parallel, left, right, sums)),
            ("read two, write one", 3, threads, partial(_write_parallel, left, right, out)),
        ]
    found = []
    for name, arrays, used, call in kernels:
        call()
        calls = timing.calls_for(call, min_sample)
        seconds = [timing.sample(call, calls) for _ in range(SAMPLES)]
        found.append(Bandwidth(kernel=name, bytes=arrays * left.nbytes, seconds=seconds, calls=calls, threads=used))
    return found


def _read_blocks(left, right, sums):  # type: ignore[no-untyped-def]
    for block in numba.prange(sums.size):
        total = np.float32(0)
        for at in range(block * BLOCK, min(left.size, (block + 1) * BLOCK)):
            total += left[at] * right[at]
        sums[block] = total


def _write_blocks(left, right, out):  # type: ignore[no-untyped-def]
    for block in numba.prange(-(-left.size // BLOCK)):
        for at in range(block * BLOCK, min(left.size, (block + 1) * BLOCK)):
            out[at] = left[at] + right[at]


# The sum vectorises only if it may be reordered; its value is of no interest.
_read = numba.njit(cache=True, fastmath=True)(_read_blocks)
_read_parallel = numba.njit(cache=True, fastmath=True, parallel=True)(_read_blocks)
_write = numba.njit(cache=True)(_write_blocks)
_write_parallel = numba.njit(cache=True, parallel=True)(_write_blocks)
