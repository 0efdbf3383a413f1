"""The parent of a run: who works on what and in which turns, and one record for every job, whatever its worker does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from math import ceil
from threading import Lock
from typing import TypeVar

from msgspec.structs import replace

from lossbench import machine, turns
from lossbench.child import Child, Lost
from lossbench.messages import Answer, Closed, Open, Ready, Reply, Request, Samples, Stream, Streamed, Warm
from lossbench.records import Answer as Answered
from lossbench.records import Died, Environment, Job, Observed, Output, Record, Refusal, Target
from lossbench.store import Store

Progress = Callable[[int, int, str], None]
Crew = dict[Target, Child | Closed]  # a worker that was lost is missing, and started again when it is next needed
Streams = dict[str, Child | None]  # who measures a device's bandwidth; None where that cannot be done
Courses = dict[Job, turns.Course]  # of the jobs that have not failed yet
Item = TypeVar("Item")
Found = TypeVar("Found")

START = 180.0  # seconds: importing a framework from a cold disk, beside another one
BANDWIDTH = Target(framework="bandwidth", mode="numba")
BURSTS = 10  # how often in a run the bandwidth is measured
# What a GPU reports after a fault in one kernel, it reports for every later call of the process.
DEVICE_FAULT = re.compile(r"cuda[ _]error|device-side assert|illegal memory access|launch failure", re.IGNORECASE)
UNFIT = re.compile(r"No module named|expected 3\.11 or newer")  # what a Python says that cannot run a worker
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def run(store: Store, *, progress: Progress | None = None) -> None:
    """Do every job of *store* that has no record yet.

    Args:
        store: Locked while the run goes on.
        progress: Told how many jobs are done, how many there are, timed ones as often as they have processes, and what
            was done last.

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
        self.cores = machine.cores()
        self.jobs = store.jobs()
        self.done = store.done()
        self.passed = self.passes = 0  # of timing jobs: through processes before the last one, which answers
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
            self.progress(len(self.done) + self.passed, len(self.jobs) + self.passes, text)

    def together(self, function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """*function* of every item, on as many threads as there are cores; each thread waits for a worker."""

        def watched(item: Item) -> Found:
            try:
                return function(item)
            except BaseException:  # the others must not go on: nobody looks at this one before they end
                self.stop()
                raise

        with ThreadPoolExecutor(len(self.cores)) as pool:
            try:
                return list(pool.map(watched, items))
            except BaseException:  # Ctrl-C, which this thread gets; without workers the pool can close
                self.stop()
                raise

    def open(self, target: Target, *, pinned: bool = False) -> Child | Closed:
        """A worker that is ready for jobs, or why there is none."""
        folder = self.store.path.resolve()
        try:
            child = self.start(target, pinned=pinned)
            reply = child.ask(Open(target=target, folder=str(folder)), START)
        except Lost as lost:
            self.append(Died(target=target, job=None, detail=lost.detail))
            missing = target.interpreter and UNFIT.search(lost.detail)
            return Closed(reason="not installed" if missing else lost.reason, detail=lost.detail)
        if isinstance(reply, Environment):
            self.append(reply)
            return child
        assert isinstance(reply, Closed)
        self.dismiss(child)
        return reply

    def start(self, target: Target, *, pinned: bool = False) -> Child:
        """A worker; if *pinned*, on as many processors as it has threads, or on all where it is as it is by itself."""
        count = self.count(target)
        kept = [] if not pinned else self.cores if target.plain else self.processors(count)
        child = Child(target, self.store.path.resolve(), count, kept)
        self.children.add(child)
        if self.stopped:
            child.kill()
        return child

    def count(self, target: Target) -> int:
        """How many threads the target has."""
        return target.threads or self.suite.threads or len(self.cores)

    def processors(self, count: int) -> list[int]:
        """Where so many threads are timed."""
        return machine.pick(count, self.cores)

    def dismiss(self, child: Child) -> None:
        child.stop()
        self.children.discard(child)

    def ask(self, crew: Crew, job: Job, request: Request) -> Reply | None:
        """What the job's worker replies, or None where the job got its refusal instead."""
        member = crew.get(job.target)
        if member is None:
            member = crew[job.target] = self.open(job.target, pinned=job.timed)
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
        """Timing jobs: all workers alive, one of them awake, and as many fresh workers of each target as asked for."""
        if not jobs:
            return
        self.passes = (self.suite.sampling.processes - 1) * len(jobs)
        self.append(machine.state("before"))
        rounds = [list(group) for _, group in groupby(jobs, key=lambda job: (job.case, job.measure))]
        courses = {job: turns.Course(job) for job in jobs}
        devices = dict.fromkeys(job.target.device for job in jobs)
        streams: Streams = {one: self.start(replace(BANDWIDTH, device=one), pinned=True) for one in devices}
        everywhere = machine.cores()
        machine.pin([one for one in everywhere if one not in self.processors(max(map(self.count, _targets(jobs))))])
        try:
            for process in range(self.suite.sampling.processes):
                self.generation(process, rounds, courses, streams)
        finally:
            machine.pin(everywhere)
        for stream in streams.values():
            if stream is not None:
                self.dismiss(stream)
        self.append(machine.state("after"))

    def generation(self, process: int, rounds: list[list[Job]], courses: Courses, streams: Streams) -> None:
        """One fresh worker for each target, and its share of the turns of every case."""
        targets = _targets(courses)
        crew: Crew = dict(zip(targets, self.together(partial(self.open, pinned=True), targets), strict=True))
        losses = self.store.losses()
        sizes = sorted({losses[job.case.loss].elements(job.case.shape) * BYTES[job.case.dtype] for job in courses})
        every = ceil(len(rounds) * self.suite.sampling.processes / BURSTS)
        for number, group in enumerate(rounds, start=process * len(rounds)):
            if number % every == 0:
                for device, stream in streams.items():
                    streams[device] = stream and self.burst(stream, sizes, device)
            self.take_turns(group, crew, courses, process)
            if process < self.suite.sampling.processes - 1:
                self.passed += len(group)
                self.tell(f"process {process + 1}, {group[0].case.loss}")
        for member in crew.values():
            if isinstance(member, Child):
                self.dismiss(member)

    def burst(self, stream: Child, sizes: list[int], device: str) -> Child | None:
        """Measure the bandwidth once; None where that cannot be done on this machine."""
        at = self.suite.sampling.min_sample
        request = Stream(sizes=sizes, threads=self.count(BANDWIDTH), min_sample=at, device=device)
        try:
            reply = stream.ask(request, START)
        except Lost as lost:
            self.append(Died(target=replace(BANDWIDTH, device=device), job=None, detail=lost.detail))
            return None
        assert isinstance(reply, Streamed)
        for record in reply.records:
            self.append(record)
        return stream

    def take_turns(self, group: list[Job], crew: Crew, courses: Courses, process: int = 0) -> None:
        """Time one case: A B C, C A B, so that a machine that drifts drifts for all; who fails has no more turns."""
        sampling = self.suite.sampling
        own = turns.of_process(sampling, process)
        for job in turns.shuffled(group, sampling, own[0]):
            if job not in courses:
                continue
            calls = courses[job].calls
            limit = sampling.max_seconds / sampling.turns
            reply = self.ask(crew, job, Warm(job=job, min_sample=sampling.min_sample, limit=limit, calls=calls))
            if isinstance(reply, Ready):
                courses[job].warmed(reply)
            else:
                del courses[job]
        for turn in own:
            for job in turns.shuffled(group, sampling, turn):
                if job not in courses:
                    continue
                reply = self.ask(crew, job, courses[job].request(sampling, turn))
                if isinstance(reply, Samples):
                    courses[job].add(reply, turn, process)
                else:
                    del courses[job]
        if process == sampling.processes - 1:
            for job in group:
                if job in courses:
                    self.append(courses[job].timing())


def _targets(jobs: Iterable[Job]) -> list[Target]:
    return list(dict.fromkeys(job.target for job in jobs))


def _by_target(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each target."""
    found: dict[Target, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.target, []).append(job)
    return list(found.values())
