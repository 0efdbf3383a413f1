# mypy: disable-error-code="no-any-return"
"""Sums and extremes over the threads of a CUDA grid, the same in every run: each adds up in an order of its own.

A *team* is the threads that share a row of classes: one thread, one warp or a whole block; its size is a power of
two, and `lane` counts its threads from 0. A block lends its shared memory: *room*, two float64 for each thread.
"""

from __future__ import annotations

import math

import numpy as np
from numba.types import float64

from lossbench.kernels.cuda import WARP, cuda, device, maximum

STORED = float64  # in a room
DIVISOR, ARRIVED, SUMS = 0, 1, 2
"""Where in *work*, float64, the divisor lies, how many blocks have arrived (0 at first), and the blocks' sums."""


@device
def together(team: int) -> None:
    """Wait until the team's threads are all here, and what they have written can be read."""
    if team == WARP:
        cuda.syncwarp()
    elif team > 1:
        cuda.syncthreads()


@device
def compensated(total: float, error: float, x: float) -> tuple[float, float]:
    """The total with *x*, and what rounding has taken from it so far (Knuth's exact sum of two)."""
    larger = total + x
    added = larger - total
    return larger, error + ((total - (larger - added)) + (x - added))


@device
def completed(total: float, error: float) -> float:
    """The sum; beside an infinite total the error is nan."""
    return total + error if error == error else total


@device
def squares(plain: float, large: float, little: float, x: float) -> tuple[float, float, float]:
    """Three sums of squares of which at least one neither overflows nor vanishes."""
    big, small = x * 2.0**-700, x * 2.0**700
    return plain + x * x, large + big * big, little + small * small


@device
def root(plain: float, large: float, little: float) -> float:
    """The square root of the sum of squares."""
    if 1e-260 < plain < 1e300:
        return math.sqrt(plain)
    if plain >= 1e300:
        return math.sqrt(large) * 2.0**700
    return math.sqrt(little) * 2.0**-700


@device
def summed(room: np.ndarray, lane: int, team: int, total: float) -> float:
    """The sum of the threads' totals."""
    at = cuda.threadIdx.x
    room[at] = total
    half = team // 2
    while half > 0:
        together(team)
        if lane < half:
            room[at] += room[at + half]
        half //= 2
    together(team)
    found = room[at - lane]
    together(team)
    return found


@device
def exactly_summed(room: np.ndarray, lane: int, team: int, total: float, error: float) -> tuple[float, float]:
    """The same of totals that carry their rounding errors along."""
    at, beside = cuda.threadIdx.x, cuda.threadIdx.x + cuda.blockDim.x
    room[at], room[beside] = total, error
    half = team // 2
    while half > 0:
        together(team)
        if lane < half:
            room[at], room[beside] = compensated(room[at], room[beside] + room[beside + half], room[at + half])
        half //= 2
    together(team)
    total, error = room[at - lane], room[beside - lane]
    together(team)
    return total, error


@device
def largest(room: np.ndarray, lane: int, team: int, x: float) -> float:
    """The largest of the threads' numbers; nan if one is."""
    at = cuda.threadIdx.x
    room[at] = x
    half = team // 2
    while half > 0:
        together(team)
        if lane < half:
            room[at] = maximum(room[at], room[at + half])
        half //= 2
    together(team)
    found = room[at - lane]
    together(team)
    return found


@device
def smallest(room: np.ndarray, lane: int, team: int, x: float) -> float:
    """The smallest of the threads' numbers; nan if one is."""
    return -largest(room, lane, team, -x)


@device
def peak(room: np.ndarray, lane: int, team: int, x: float, index: int) -> int:
    """The index of the largest number, the first of equal ones; that of a nan if there is one."""
    at, beside = cuda.threadIdx.x, cuda.threadIdx.x + cuda.blockDim.x
    room[at], room[beside] = x, index
    half = team // 2
    while half > 0:
        together(team)
        if lane < half:
            other, its = room[at + half], room[beside + half]
            earlier = other == room[at] and its < room[beside]
            if other > room[at] or earlier or other != other:
                room[at], room[beside] = other, its
        half //= 2
    together(team)
    found = int(room[beside - lane])
    together(team)
    return found


@device
def scale_of(work: np.ndarray) -> float:
    """What gradients are multiplied by: nan where the mean is over nothing."""
    divisor = work[DIVISOR]
    return 1.0 / divisor if divisor != 0 else math.nan


@device
def finish(room: np.ndarray, total: float, error: float, work: np.ndarray, values: np.ndarray) -> None:
    """Write the sum over all threads of the grid, divided, as *values[0]*.

    The last block to arrive adds up the blocks' sums in their order, whichever came first.
    """
    at, threads, blocks = cuda.threadIdx.x, cuda.blockDim.x, cuda.gridDim.x
    total, error = exactly_summed(room, at, threads, total, error)
    if at == 0:
        mine = SUMS + 2 * cuda.blockIdx.x
        work[mine], work[mine + 1] = total, error
        cuda.threadfence()  # the sum is there before its block has arrived
        room[0] = cuda.atomic.add(work, ARRIVED, 1.0)
        cuda.threadfence()
    cuda.syncthreads()
    last = room[0] == blocks - 1
    cuda.syncthreads()
    if last:
        total, error = 0.0, 0.0
        for block in range(at, blocks, threads):
            one = SUMS + 2 * block
            total, error = compensated(total, error + work[one + 1], work[one])
        total, error = exactly_summed(room, at, threads, total, error)
        if at == 0:
            values[0] = completed(total, error) / work[DIVISOR]
            work[ARRIVED] = 0.0
