"""The memory bandwidth of this machine: kernels that only move what every loss must move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numba
import numpy as np

from lossbench import timing
from lossbench.records import Bandwidth

Kernel = Literal["read two", "read two, write one"]
SAMPLES = 3
BLOCK = 8192  # elements: many blocks for every thread, and each long enough to be streamed


def measure(size: int, threads: int, min_sample: float, device: str = "cpu") -> list[Bandwidth]:
    """Records for arrays of *size* bytes each: both kernels, on one thread and on *threads*, or on a GPU."""
    if device != "cpu":
        return _on_gpu(size, device)
    left, right = (np.full(size // 4, value, np.float32) for value in (1.0, 2.0))
    out = np.empty_like(left)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    sums = np.empty(-(-left.size // BLOCK), np.float32)
    kernels: list[tuple[Kernel, int, int, Callable[[], object]]] = [
        ("read two", 2, 1, partial(_dot, left, right)),
        ("read two, write one", 3, 1, partial(_add, left, right, out)),
    ]
    if threads > 1:
        kernels += [
            ("read two", 2, threads, partial(_dot_parallel, left, right, sums)),
            ("read two, write one", 3, threads, partial(_add_parallel, left, right, out)),
        ]
    found = []
    for name, arrays, used, call in kernels:
        call()
        calls, _ = timing.calibrate(call, min_sample)
        seconds = [timing.sample(call, calls) for _ in range(SAMPLES)]
        found.append(Bandwidth(kernel=name, bytes=arrays * left.nbytes, seconds=seconds, calls=calls, threads=used))
    return found


def _on_gpu(size: int, device: str) -> list[Bandwidth]:
    from lossbench.kernels import cuda_streams

    arrays: dict[Kernel, int] = {"read two": 2, "read two, write one": 3}
    found = cuda_streams.measured(size // 4, SAMPLES)
    return [
        Bandwidth(kernel=name, bytes=many * size, seconds=found[name], calls=1, threads=1, device=device)
        for name, many in arrays.items()
        if name in found
    ]


@numba.njit(cache=True, fastmath=True)  # the sum vectorises only if it may be reordered; its value is of no interest
def _dot(left, right):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for at in range(left.size):
        total += left[at] * right[at]
    return total


@numba.njit(cache=True)
def _add(left, right, out):  # type: ignore[no-untyped-def]
    for at in range(left.size):
        out[at] = left[at] + right[at]


@numba.njit(cache=True, parallel=True)
def _dot_parallel(left, right, sums):  # type: ignore[no-untyped-def]
    for block in numba.prange(sums.size):
        start = np.int64(block) * BLOCK
        sums[block] = _dot(left[start : start + BLOCK], right[start : start + BLOCK])


@numba.njit(cache=True, parallel=True)
def _add_parallel(left, right, out):  # type: ignore[no-untyped-def]
    for block in numba.prange(-(-left.size // BLOCK)):
        start = np.int64(block) * BLOCK
        _add(left[start : start + BLOCK], right[start : start + BLOCK], out[start : start + BLOCK])
