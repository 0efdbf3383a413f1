"""A generated CUDA kernel with its arrays on the GPU: how many threads share what, and its launches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.cudadrv import driver

from lossbench.kernels.cuda import SIMULATED, WARP
from lossbench.kernels.cuda_sums import DIVISOR, STORED, SUMS
from lossbench.timing import ERASED, ERASURES

# What was fastest on an H100. Sums depend on it, so it is the same on every GPU.
BLOCK = 4 if SIMULATED else 256  # threads; the simulator starts every one of them
BLOCKS = 2 if SIMULATED else 1056  # at most
ELEMENTS = 2 if SIMULATED else 8  # that are worth a thread
NARROW, MANY = (2, 1) if SIMULATED else (16, 4096)  # so few classes of so many rows are left to one thread each
LONG, FEW = 2048, 8192  # so long rows, if so few, get a whole block each


@dataclass(frozen=True)
class Geometry:
    """How the work is spread: *team* threads share one row, or 1 takes elements."""

    blocks: int
    threads: int
    team: int

    @staticmethod
    def of(points: int, classes: int | None) -> Geometry:
        """That of a kernel over so many elements or rows: enough threads to fill a GPU, few enough to be busy."""
        if classes is None:
            return Geometry(min(BLOCKS, max(1, -(-points // (ELEMENTS * BLOCK)))), BLOCK, 1)
        team = min(WARP, BLOCK)
        if classes <= NARROW and points >= MANY:
            team = 1
        elif classes > LONG and points < FEW:
            team = BLOCK
        return Geometry(min(BLOCKS, max(1, -(-points * team // BLOCK))), BLOCK, team)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One loss of arrays on the GPU: each `queue` computes it again, into the same outputs.

    Attributes:
        calls: Kernels over their arguments, in order.
        values: The losses, shape (n,); or of a sum or mean one number, shape (1,).
        gradients: By input, of its shape.
    """

    calls: tuple[Callable[[], object], ...]
    values: Any
    gradients: Mapping[str, Any]

    def queue(self) -> None:
        """Launch the kernels; they run when the GPU is free."""
        for call in self.calls:
            call()

    def run(self) -> None:
        """Launch the kernels, and wait until the results are there."""
        self.queue()
        cuda.synchronize()


def launch(
    module: ModuleType,
    dtype: np.dtype[Any],
    inputs: Mapping[str, Any],
    parameters: Iterable[Any],
    *,
    weight: Any,
    differentiated: Iterable[str],
    reduction: str,
    classes: int | None,
    count: float | None,
) -> Launch:
    """The kernels of *module* over arrays on the GPU.

    Args:
        module: From `formula.cuda.source`, for this dtype, reduction, and whether there are gradients and weights.
        dtype: Of all real numbers.
        inputs: Arrays on the GPU, by name.
        parameters: Numbers of *dtype*, whole numbers, or arrays on the GPU.
        weight: An array on the GPU, or None.
        differentiated: The inputs whose gradients are written.
        reduction: none, mean or sum.
        classes: How many a row has; None for a loss of elements.
        count: What every element or row adds to the divisor of the mean, where that is one number.
    """
    points = len(next(iter(inputs.values())))
    at = Geometry.of(points, classes)
    given = [*inputs.values(), *parameters]
    team = [] if classes is None else [at.team]
    values = cuda.device_array(points if reduction == "none" else 1, dtype)
    gradients = {name: cuda.device_array(inputs[name].shape, dtype) for name in differentiated}
    work = np.zeros(SUMS + 2 * BLOCKS)
    counted = reduction == "mean" and count is None
    work[DIVISOR] = points * count if reduction == "mean" and count is not None else 1.0
    main = cuda.to_device(work)
    calls = []
    if counted:
        work[DIVISOR] = 1.0
        alone = [] if classes is None else [1]
        arguments = (*given, main[DIVISOR : DIVISOR + 1], cuda.to_device(work), *alone)
        calls.append(_call(module.divisor, Geometry.of(points, None), arguments))
    weights = [] if weight is None else [weight]
    calls.append(_call(module.kernel, at, (*given, *weights, *gradients.values(), values, main, *team)))
    return Launch(calls=tuple(calls), values=values, gradients=gradients)


def _call(kernel: Any, at: Geometry, arguments: tuple[Any, ...]) -> Callable[[], object]:
    def launched() -> None:  # the simulator keeps one geometry for each kernel
        kernel[geometry](*arguments)

    geometry = (at.blocks, at.threads, 0, 2 * STORED.bitwidth // 8 * at.threads)
    return launched if SIMULATED else partial(kernel[geometry], *arguments)


def busy_with(queue: Callable[[], object]) -> float:
    """Seconds between two events on the GPU around what *queue* queues, behind a write that empties the caches."""
    start, end = cuda.event(), cuda.event()
    for _ in range(ERASURES):
        driver.device_memset(_erased(), 0, ERASED)
    start.record()
    queue()
    end.record()
    end.synchronize()
    return float(cuda.event_elapsed_time(start, end)) / 1000


@cache
def _erased() -> Any:
    return cuda.device_array(ERASED, np.uint8)
