"""In which order the targets of a case are timed, how often, and what their samples come to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from lossbench.messages import Ready, Sample, Samples
from lossbench.records import Job, Timing
from lossbench.suite import Sampling


@dataclass
class Course:
    """What a job's samples have come to so far, over all turns and all processes."""

    job: Job
    warm: Ready | None = None  # as its first process found it
    steady: bool = True
    seconds: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int | None:
        """In each sample: as many in all processes, so that their samples are of one kind."""
        return None if self.warm is None else self.warm.calls

    def warmed(self, reply: Ready) -> None:
        """A process is ready."""
        self.warm = self.warm or reply
        self.steady &= reply.steady

    def request(self, sampling: Sampling, turn: int) -> Sample:
        """What is to be sampled in a turn: evenly many, fewer of a slow job, but one at least."""
        assert self.warm is not None, "a job is warmed before it is sampled"
        affordable = int(sampling.max_seconds / sampling.turns / self.warm.seconds)
        count = max(1, min(affordable, ceil(sampling.samples / sampling.turns)))
        cold = (turn + 1) * sampling.cold // sampling.turns - turn * sampling.cold // sampling.turns
        return Sample(count=count, calls=self.warm.calls, cold=cold)

    def add(self, reply: Samples, turn: int, process: int) -> None:
        """What a turn has brought."""
        self.seconds += reply.seconds
        self.turns += [turn] * len(reply.seconds)
        self.processes += [process] * len(reply.seconds)
        self.busy += reply.busy
        self.cpu += reply.cpu
        self.cold += reply.cold

    def timing(self) -> Timing:
        """The record of it."""
        assert self.warm is not None, "a job is warmed before it is sampled"
        return Timing(
            job=self.job,
            first_call=self.warm.first_call,
            seconds=self.seconds,
            calls=self.warm.calls,
            turns=self.turns,
            traffic=self.warm.traffic,
            busy=self.busy,
            cpu=self.cpu,
            processes=self.processes,
            peak_memory=self.warm.peak_memory,
            compiled=self.warm.compiled,
            cold=self.cold,
            steady=self.steady,
        )


def of_process(sampling: Sampling, process: int) -> range:
    """The turns of one process, of those of all of them; every process has one at least."""
    turns = max(sampling.turns, sampling.processes)
    return range(process * turns // sampling.processes, (process + 1) * turns // sampling.processes)


def shuffled(group: Sequence[Job], sampling: Sampling, turn: int) -> list[Job]:
    """The jobs of one case in the order of that turn: whoever always came behind the same one would have its caches.

    The order follows from the suite's seed, the case and the turn.
    """
    case = group[0]
    chance = random.Random(
        f"{sampling.seed} {case.case.loss} {case.case.dtype} {case.case.shape} {case.measure} {turn}"
    )
    order = list(group)
    chance.shuffle(order)
    return order
