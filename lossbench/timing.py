"""Seconds that a blocking call takes: the first one, how many fill a sample, samples."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from math import ceil
from time import perf_counter

Call = Callable[[], object]
Clock = Callable[[], float]


def sample(call: Call, calls: int = 1, *, clock: Clock = perf_counter) -> float:
    """Seconds of *calls* calls in a row, without garbage collection between them."""
    with _no_collection():
        start = clock()
        for _ in repeat(None, calls):
            call()
        return clock() - start


def calls_for(call: Call, min_sample: float, *, clock: Clock = perf_counter) -> int:
    """How many calls last *min_sample* seconds, by the fastest of three tries: an interrupted one seems to need fewer."""
    calls = 1
    while True:
        seconds = min(sample(call, calls, clock=clock) for _ in range(3))
        if seconds >= min_sample:
            return calls
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
