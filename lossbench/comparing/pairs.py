"""Two targets side by side: pairs of fresh processes on one core, sampled in turns, until the rule can decide."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from lossbench import machine, workers
from lossbench.comparing import rule
from lossbench.comparing.rule import Decision
from lossbench.messages import Ready, Sample, Samples, Warm
from lossbench.records import Job, Refusal
from lossbench.workers import Worker, WorkerLost

MOST = 25  # pairs, after which nothing is certain
SHORTEST = 0.002  # seconds of a sample: short ones are often undisturbed
SECONDS = 0.15  # of samples that each process gets
SAMPLES = (10, 200)  # at least, at most
TURN = 2  # samples in a row: the first call of each turn is untimed
WARM = 0.5  # seconds after which times need not be steady: the faster half is what counts
SLOWEST = 120.0  # seconds until a worker has to answer


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is measured, and how.

    Attributes:
        folder: With its spec (`specs/`); gets logs and arrays.
        threads: How many it may use, each on a core of its own.
    """

    job: Job
    folder: Path
    threads: int = 1

    @property
    def waits(self) -> bool:
        """Whether processor time does not tell how long it takes."""
        return self.threads > 1 or self.job.target.device != "cpu"


@dataclass(kw_only=True)
class Measured:
    """What came of it: seconds of one call, one of base and head for each pair of processes.

    Attributes:
        why: What ended it too early, if anything.
    """

    base: list[float] = field(default_factory=list)
    head: list[float] = field(default_factory=list)
    why: str = ""

    def decision(self, bound: float = rule.BOUND) -> Decision:
        """What the pairs say together."""
        return rule.decide(self.base, self.head, bound=bound)


def measured(base: Side, head: Side, *, bound: float = rule.BOUND, level: float = rule.LEVEL) -> Measured:
    """Pairs of fresh processes, as many as it takes to be sure at this *level*, or `MOST`."""
    found = Measured()
    with _pinned(base, head):
        while len(found.base) < MOST:
            try:
                before, after = _pair(base, head)
            except WorkerLost as lost:
                found.why = str(lost)
                break
            found.base.append(before)
            found.head.append(after)
            if len(found.base) >= rule.FEWEST and found.decision(bound).verdict(level) != "inconclusive":
                break
    return found


def _pair(base: Side, head: Side) -> tuple[float, float]:
    """Seconds of one call in a fresh process of each, both alive, sampled in turns.

    Raises:
        WorkerLost: One of them cannot be measured.
    """
    sides = [base, head]
    order = random.sample([0, 1], 2)  # who comes first may have the better memory
    with ExitStack() as stack:
        crew: dict[int, Worker] = {}
        for at in order:
            opened = stack.enter_context(workers.opened(sides[at].job.target, sides[at].folder, sides[at].threads))
            if isinstance(opened, str):
                raise WorkerLost("not installed", f"{sides[at].job.target.name}: {opened}")
            crew[at] = opened
        ready = {at: _warm(crew[at], sides[at].job) for at in order}
        calls = max(one.calls for one in ready.values())  # equal work for both
        longest = max(one.seconds / one.calls for one in ready.values()) * calls
        taken: dict[int, list[float]] = {0: [], 1: []}
        for number in range(ceil(min(max(SECONDS / longest, SAMPLES[0]), SAMPLES[1]) / TURN)):
            for at in order if number % 2 else order[::-1]:
                taken[at] += (one / calls for one in _samples(crew[at], sides[at], calls))
    return rule.time_of(taken[0]), rule.time_of(taken[1])


def _warm(worker: Worker, job: Job) -> Ready:
    reply = worker.ask(Warm(job=job, min_sample=SHORTEST, limit=WARM), Ready, Refusal, deadline=SLOWEST)
    if isinstance(reply, Refusal):
        raise WorkerLost(reply.reason, f"{job.target.name}: {reply.detail}")
    assert isinstance(reply, Ready)
    return reply


def _samples(worker: Worker, side: Side, calls: int) -> list[float]:
    reply = worker.ask(Sample(count=TURN, calls=calls), Samples, Refusal, deadline=SLOWEST)
    if isinstance(reply, Refusal):
        raise WorkerLost(reply.reason, f"{side.job.target.name}: {reply.detail}")
    assert isinstance(reply, Samples)
    return reply.seconds if side.waits else reply.cpu


@contextmanager
def _pinned(*sides: Side) -> Iterator[None]:
    """Keep what is started meanwhile on one core, or on as many as it has threads."""
    before = machine.cores()
    machine.pin(before[-max(one.threads for one in sides) :])  # the last: the system's own work gathers on the first
    try:
        yield
    finally:
        machine.pin(before)
