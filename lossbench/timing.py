"""Seconds that a blocking call takes, how many calls fill a sample, and when the times have become steady."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from math import ceil
from time import perf_counter, process_time

# A GPU is timed behind so many writes of so many bytes: its caches are empty then, and the whole call is queued before
# it begins, for they take over a millisecond.
ERASURES, ERASED = 4, 2**30

WINDOW = 3  # samples
STEADY = 0.05  # how far the fastest of a window may be from the fastest of the window before

Call = Callable[[], object]
Clock = Callable[[], float]


def sample(call: Call, calls: int = 1, *, clock: Clock = perf_counter) -> float:
    """Seconds of *calls* calls in a row, without garbage collection between them."""
    return measure(call, calls, clock=clock)[0]


def measure(call: Call, calls: int = 1, *, clock: Clock = perf_counter) -> tuple[float, float]:
    """The same, and the processor time that all threads of this process used meanwhile."""
    with _no_collection():
        used = process_time()
        start = clock()
        for _ in repeat(None, calls):
            call()
        seconds = clock() - start
        return seconds, process_time() - used


def calibrate(call: Call, min_sample: float, *, clock: Clock = perf_counter) -> tuple[int, list[float]]:
    """How many calls fill a sample of *min_sample* seconds, and the seconds of the samples that were so long.

    A sample counts as full when it is so three times: one that was interrupted seems to need fewer calls.
    """
    calls = 1
    while True:
        tries: list[float] = []
        while len(tries) < 3 and (not tries or min_sample <= tries[-1] < 10 * min_sample):
            tries.append(sample(call, calls, clock=clock))
        seconds = min(tries)
        if seconds >= min_sample:
            return calls, tries
        # At most tenfold: the first calls are slow and the clock is coarse, so a guess from them overshoots.
        calls = min(10 * calls, max(calls + 1, ceil(1.1 * calls * min_sample / max(seconds, 1e-9))))


def warm_up(call: Call, calls: int, seconds: list[float], limit: float, *, clock: Clock = perf_counter) -> bool:
    """Whether the times have become steady: samples of *calls* calls are taken until they are, or *limit* is reached.

    They are steady when the fastest of the last three samples is within 5 % of the fastest of the three before: a
    sample that was interrupted is no reason to go on, and one that was luckily fast no reason to stop.

    Args:
        call: What is timed.
        calls: In each sample.
        seconds: Of the samples taken so far, the last ones last; further ones are appended.
        limit: Seconds that further samples may take in all.
    """
    end = clock() + limit
    while not _steady(seconds):
        if clock() + min(seconds, default=0.0) > end:
            return False
        seconds.append(sample(call, calls, clock=clock))
    return True


def _steady(seconds: list[float]) -> bool:
    if len(seconds) < 2 * WINDOW:
        return False
    last, before = min(seconds[-WINDOW:]), min(seconds[-2 * WINDOW : -WINDOW])
    return abs(last - before) <= STEADY * before


@contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
