"""Seconds that a blocking call takes, and how many calls fill a sample."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from math import ceil
from time import perf_counter

# A GPU is timed behind so many writes of so many bytes: its caches are empty then, and the whole call is queued before
# it begins, for they take over a millisecond.
ERASURES, ERASED = 4, 2**30

Call = Callable[[], object]
Clock = Callable[[], float]


def sample(call: Call, calls: int = 1, *, clock: Clock = perf_counter) -> float:
    """Seconds of *calls* calls in a row, without garbage collection between them."""
    with _no_collection():
        start = clock()
        for _ in repeat(None, calls):
            call()
        return clock() - start


def calibrate(call: Call, min_sample: float, *, clock: Clock = perf_counter) -> tuple[int, float]:
    """How many calls fill a sample of *min_sample* seconds, and the seconds that it then takes.

    A sample counts as full when it is so three times: one that was interrupted seems to need fewer calls.
    """
    calls = 1
    while True:
        tries: list[float] = []
        while len(tries) < 3 and (not tries or min_sample <= tries[-1] < 10 * min_sample):
            tries.append(sample(call, calls, clock=clock))
        seconds = min(tries)
        if seconds >= min_sample:
            return calls, seconds
        # At most tenfold: the first calls are slow and the clock is coarse, so a guess from them overshoots.
        calls = min(10 * calls, max(calls + 1, ceil(1.1 * calls * min_sample / max(seconds, 1e-9))))


@contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
