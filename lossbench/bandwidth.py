"""The memory bandwidth of this machine: the bytes that every loss must move, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numba

from lossbench import timing
from lossbench.kernels.ceiling import address, aligned, move
from lossbench.records import Bandwidth

Kernel = Literal["read two", "read two, write one"]
ARRAYS: dict[Kernel, int] = {"read two": 2, "read two, write one": 3}
SAMPLES = 3


def measure(size: int, threads: int, min_sample: float, device: str = "cpu") -> list[Bandwidth]:
    """Records for arrays of *size* bytes each: both kernels, on one thread and on *threads*, or on a GPU.

    What is written is written by the quicker of two kinds of stores: those that go past the caches are one of them.
    """
    if device != "cpu":
        return _on_gpu(size, device)
    left, right, out = arrays = [aligned(size) for _ in range(3)]
    for number, array in enumerate(arrays):
        array[:] = number
    reads, writes = (address(left), address(right)), (address(out),)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    found = []
    for used in dict.fromkeys((1, threads)):
        read, stored, streamed = (
            partial(move, reads, sinks, left.size, streamed=past, threads=used)
            for sinks, past in (((), False), (writes, False), (writes, True))
        )
        found.append(_sampled("read two", left.size, used, min_sample, read))
        written = [_sampled("read two, write one", left.size, used, min_sample, one) for one in (stored, streamed)]
        found.append(min(written, key=lambda one: min(one.seconds) / one.calls))
    return found


def _sampled(kernel: Kernel, size: int, threads: int, min_sample: float, call: Callable[[], object]) -> Bandwidth:
    call()
    calls, _ = timing.calibrate(call, min_sample)
    seconds = [timing.sample(call, calls) for _ in range(SAMPLES)]
    return Bandwidth(kernel=kernel, bytes=ARRAYS[kernel] * size, seconds=seconds, calls=calls, threads=threads)


def _on_gpu(size: int, device: str) -> list[Bandwidth]:
    from lossbench.kernels import cuda_streams

    found = cuda_streams.measured(size // 4, SAMPLES)
    return [
        Bandwidth(kernel=name, bytes=many * size, seconds=found[name], calls=1, threads=1, device=device)
        for name, many in ARRAYS.items()
        if name in found
    ]
