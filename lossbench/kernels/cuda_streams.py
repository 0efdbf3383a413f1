"""CUDA kernels that only move what every loss must move: what the GPU's memory can do, in the same grids as losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numba import cuda

from lossbench.kernels.cuda import SIMULATED, compiled
from lossbench.kernels.cuda import cuda as inside
from lossbench.kernels.cuda_call import Geometry, busy_with


def measured(elements: int, samples: int) -> dict[str, list[float]]:
    """Seconds on the GPU of each kernel, "read two" and "read two, write one", over float32 arrays of *elements*.

    Empty where there is no GPU.
    """
    if SIMULATED or not cuda.is_available():
        return {}
    left, right = (cuda.to_device(np.full(elements, value, np.float32)) for value in (1.0, 2.0))
    out = cuda.device_array_like(left)
    at = Geometry.of(elements, None)
    found = {}
    for name, kernel in (("read two", read_two), ("read two, write one", add)):
        queue: Callable[[], object] = partial(kernel[at.blocks, at.threads], left, right, out)
        queue()
        found[name] = [busy_with(queue) for _ in range(samples)]
    return found


@compiled("void(float32[::1], float32[::1], float32[::1])")
def read_two(left, right, out):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    i, step, number = inside.grid(1), inside.gridsize(1), left.shape[0]
    while i + 3 * step < number:
        a, b, c, d = left[i], left[i + step], left[i + 2 * step], left[i + 3 * step]
        e, f, g, h = right[i], right[i + step], right[i + 2 * step], right[i + 3 * step]
        total += a * e + b * f + c * g + d * h
        i += 4 * step
    while i < number:
        total += left[i] * right[i]
        i += step
    if total != total:  # never, but nothing is read for a result that nobody needs
        out[0] = total


@compiled("void(float32[::1], float32[::1], float32[::1])")
def add(left, right, out):  # type: ignore[no-untyped-def]
    i, step, number = inside.grid(1), inside.gridsize(1), left.shape[0]
    while i + 3 * step < number:
        a, b, c, d = left[i], left[i + step], left[i + 2 * step], left[i + 3 * step]
        e, f, g, h = right[i], right[i + step], right[i + 2 * step], right[i + 3 * step]
        out[i], out[i + step], out[i + 2 * step], out[i + 3 * step] = a + e, b + f, c + g, d + h
        i += 4 * step
    while i < number:
        out[i] = left[i] + right[i]
        i += step
