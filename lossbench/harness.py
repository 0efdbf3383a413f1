"""The parent of a run: who works on what and in which turns, and one record for every job, whatever its worker does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from math import ceil
from threading import Lock
from typing import TypeVar

from msgspec.structs import replace

from lossbench import __version__
from lossbench.child import Child, Lost
from lossbench.messages import Answer, Closed, Open, Ready, Reply, Request, Sample, Samples, Stream, Streamed, Warm
from lossbench.records import Answer as Answered
from lossbench.records import Died, Environment, Job, Observed, Output, Record, Refusal, Target, Timing
from lossbench.store import Store

Progress = Callable[[int, int, str], None]
Crew = dict[Target, Child | Closed]  # a worker that was lost is missing, and started again when it is next needed
Item = TypeVar("Item")
Found = TypeVar("Found")

START = 180.0  # seconds: importing a framework from a cold disk, beside another one
BANDWIDTH = Target(framework="bandwidth", mode="numba")
BURSTS = 10  # how often in a run the bandwidth is measured
# What a GPU reports after a fault in one kernel, it reports for every later call of the process.
DEVICE_FAULT = re.compile(r"cuda[ _]error|device-side assert|illegal memory access|launch failure", re.IGNORECASE)
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def run(store: Store, *, progress: Progress | None = None) -> None:
    """Do every job of *store* that has no record yet.

    Args:
        store: Locked while the run goes on.
        progress: Told how many jobs are done, how many there are, and what was done last.

    Raises:
        StoreError: Another run is writing to the store.
    """
    store.lock()
    try:
        _Run(store, progress).work()
    finally:
        store.close()


class _Run:
    def __init__(self, store: Store, progress: Progress | None) -> None:
        self.store = store
        self.suite = store.suite
        self.progress = progress
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = self.suite.threads or self.cores
        self.jobs = store.jobs()
        self.done = store.done()
        self.children: set[Child] = set()
        self.stopped = False
        self.lock = Lock()

    def work(self) -> None:
        """Accuracy first, many at a time but for the largest; then timing by workers that did nothing else before."""
        left = [job for job in self.jobs if job.key not in self.done]
        self.tell("starting")
        try:
            self.compare([job for job in left if not job.timed and not job.alone])
            for large in _by_target([job for job in left if job.alone]):
                self.serve(large)
            self.time([job for job in left if job.timed])
        finally:
            self.stop()
            for child in self.children:
                child.stop()

    def stop(self) -> None:
        self.stopped = True
        for child in tuple(self.children):
            child.kill()

    def append(self, record: Record) -> None:
        with self.lock:
            if self.stopped:  # a worker that we ended ourselves says nothing of its job
                return
            self.store.append(record)
            if isinstance(record, Answered):
                self.done.add(record.job.key)
                self.tell(f"{record.job.target.name} {record.job.case.loss}")

    def tell(self, text: str) -> None:
        if self.progress is not None:
            self.progress(len(self.done), len(self.jobs), text)

    def together(self, function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """*function* of every item, on as many threads as there are cores; each thread waits for a worker."""

        def watched(item: Item) -> Found:
            try:
                return function(item)
            except BaseException:  # the others must not go on: nobody looks at this one before they end
                self.stop()
                raise

        with ThreadPoolExecutor(self.cores) as pool:
            try:
                return list(pool.map(watched, items))
            except BaseException:  # Ctrl-C, which this thread gets; without workers the pool can close
                self.stop()
                raise

    def open(self, target: Target) -> Child | Closed:
        """A worker that is ready for jobs, or why there is none."""
        folder = self.store.path.resolve()
        try:
            child = self.start(target)
            reply = child.ask(Open(target=target, folder=str(folder)), START)
        except Lost as lost:
            self.append(Died(target=target, job=None, detail=lost.detail))
            if target.interpreter and "No module named" in lost.detail:
                detail = f"{lost.detail}; install lossbench[{target.framework}] for {target.interpreter}"
                return Closed(reason="not installed", detail=detail)
            return Closed(reason=lost.reason, detail=lost.detail)
        if isinstance(reply, Environment):
            theirs = reply.versions["lossbench"]
            if theirs == __version__:
                self.append(reply)
                return child
            detail = f"lossbench {theirs} in {target.interpreter}; expected {__version__}, as here"
            reply = Closed(reason="not installed", detail=detail)
        assert isinstance(reply, Closed)
        self.dismiss(child)
        return reply

    def start(self, target: Target) -> Child:
        child = Child(target, self.store.path.resolve(), self.threads)
        self.children.add(child)
        if self.stopped:
            child.kill()
        return child

    def dismiss(self, child: Child) -> None:
        child.stop()
        self.children.discard(child)

    def ask(self, crew: Crew, job: Job, request: Request) -> Reply | None:
        """What the job's worker replies, or None where the job got its refusal instead."""
        member = crew.get(job.target)
        if member is None:
            member = crew[job.target] = self.open(job.target)
        if isinstance(member, Closed):
            self.append(Refusal(job=job, reason=member.reason, detail=member.detail))
            return None
        try:
            reply = member.ask(request, self.suite.deadline)
        except Lost as lost:
            self.children.discard(member)
            del crew[job.target]
            self.append(Died(target=job.target, job=job, detail=lost.detail))
            self.append(Refusal(job=job, reason=lost.reason, detail=lost.detail))
            return None
        if isinstance(reply, Refusal):
            if job.target.device != "cpu" and DEVICE_FAULT.search(reply.detail):
                self.dismiss(member)
                del crew[job.target]
                self.append(Died(target=job.target, job=job, detail=f"ended for a fault of its device: {reply.detail}"))
            self.append(reply)
            return None
        return reply

    def compare(self, jobs: list[Job]) -> None:
        """Accuracy and convention jobs: each target's in one worker, as many workers as cores."""
        self.together(self.serve, _by_target(jobs))

    def serve(self, jobs: list[Job]) -> None:
        crew: Crew = {}
        for job in jobs:
            if self.stopped:
                return
            reply = self.ask(crew, job, Answer(job=job))
            if isinstance(reply, Output | Observed):
                self.append(reply)
        for member in crew.values():
            if isinstance(member, Child):
                self.dismiss(member)

    def time(self, jobs: list[Job]) -> None:
        """Timing jobs: all workers alive, one of them awake."""
        if not jobs:
            return
        targets = list(dict.fromkeys(job.target for job in jobs))
        crew: Crew = dict(zip(targets, self.together(self.open, targets), strict=True))
        losses = self.store.losses()
        sizes = sorted({losses[job.case.loss].elements(job.case.shape) * BYTES[job.case.dtype] for job in jobs})
        rounds = [list(group) for _, group in groupby(jobs, key=lambda job: (job.case, job.measure))]
        devices = dict.fromkeys(target.device for target in targets)
        streams: dict[str, Child | None] = {one: self.start(replace(BANDWIDTH, device=one)) for one in devices}
        for number, group in enumerate(rounds):
            if number % ceil(len(rounds) / BURSTS) == 0:
                streams = {device: stream and self.burst(stream, sizes, device) for device, stream in streams.items()}
            self.take_turns(group, crew)

    def burst(self, stream: Child, sizes: list[int], device: str) -> Child | None:
        """Measure the bandwidth once; None where that cannot be done on this machine."""
        at = self.suite.sampling.min_sample
        request = Stream(sizes=sizes, threads=self.threads, min_sample=at, device=device)
        try:
            reply = stream.ask(request, START)
        except Lost as lost:
            self.append(Died(target=replace(BANDWIDTH, device=device), job=None, detail=lost.detail))
            return None
        assert isinstance(reply, Streamed)
        for record in reply.records:
            self.append(record)
        return stream

    def take_turns(self, group: list[Job], crew: Crew) -> None:
        """Time one case: A B C A B C, so that a machine that drifts drifts for all."""
        sampling = self.suite.sampling
        ready: dict[Job, Ready] = {}
        seconds: dict[Job, list[float]] = {job: [] for job in group}
        busy: dict[Job, list[float]] = {job: [] for job in group}
        turns: dict[Job, list[int]] = {job: [] for job in group}
        for job in group:
            reply = self.ask(crew, job, Warm(job=job, min_sample=sampling.min_sample))
            if isinstance(reply, Ready):
                ready[job] = reply
        for turn in range(sampling.turns):
            for job, warm in tuple(ready.items()):
                affordable = int(sampling.max_seconds / sampling.turns / warm.seconds)
                count = max(1, min(affordable, ceil(sampling.samples / sampling.turns)))
                reply = self.ask(crew, job, Sample(count=count, calls=warm.calls))
                if isinstance(reply, Samples):
                    seconds[job] += reply.seconds
                    busy[job] += reply.busy
                    turns[job] += [turn] * count
                else:
                    del ready[job]
        for job, warm in ready.items():
            self.append(
                Timing(
                    job=job,
                    first_call=warm.first_call,
                    seconds=seconds[job],
                    calls=warm.calls,
                    turns=turns[job],
                    traffic=warm.traffic,
                    busy=busy[job],
                )
            )


def _by_target(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each target."""
    found: dict[Target, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.target, []).append(job)
    return list(found.values())
