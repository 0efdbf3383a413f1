"""A job that is timed, in its worker: made steady, then sampled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lossbench import compilations, machine, memory, timing
from lossbench.adapters import Prepared
from lossbench.inputs import Problem
from lossbench.messages import Ready, Sample, Samples, Warm
from lossbench.records import Job

NUMBER_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
LABEL_BYTES = 8


@dataclass
class Timed:
    """A problem ready on its device, and the job that is timed with it now."""

    job: Job
    problem: Problem
    prepared: Prepared

    def call(self) -> object:
        """What is timed."""
        return self.prepared.gradient() if self.job.measure == "gradient" else self.prepared.forward()

    def warm(self, request: Warm) -> Ready:
        """The first call apart, then the memory of a second, then calls until their times are steady."""
        machine.gather()
        before = compilations.count()
        first_call = timing.sample(self.call)
        rise = self.prepared.rise.get(self.job.measure)
        peak = rise() if rise else memory.rise(self.call) if self.job.target.device == "cpu" else None
        timing.sample(self.call, 2)  # untimed: what computes a call right behind another may be compiled only then
        if request.calls is None:
            calls, seconds = timing.calibrate(self.call, request.min_sample)
        else:
            calls, seconds = request.calls, [timing.sample(self.call, request.calls)]
        steady = timing.warm_up(self.call, calls, seconds, request.limit)
        return Ready(
            first_call=first_call,
            calls=calls,
            seconds=min(seconds),
            traffic=traffic(self.problem, self.job.measure),
            steady=steady,
            peak_memory=peak,
            compiled=compilations.count() - before,
        )

    def sample(self, request: Sample) -> Samples:
        """As many samples as asked for."""
        machine.gather()  # it woke up wherever the system chose
        timing.sample(self.call, request.calls)  # untimed: others had the caches in between, and its threads slept
        taken = [timing.measure(self.call, request.calls) for _ in range(request.count)]
        busy = self.prepared.busy.get(self.job.measure)
        on_cpu = self.job.target.device == "cpu"
        return Samples(
            seconds=[seconds for seconds, _ in taken],
            busy=[busy() for _ in range(request.count)] if busy else [],
            cpu=[used for _, used in taken] if on_cpu else [],
            cold=[self._cold() for _ in range(request.cold)] if on_cpu else [],
        )

    def _cold(self) -> float:
        self._eraser()
        machine.gather()
        return timing.sample(self.call)

    @cached_property
    def _eraser(self) -> machine.Eraser:
        return machine.Eraser()


def traffic(problem: Problem, measure: str) -> int:
    """Bytes that one call has to move at least: every input read once, every result written once."""
    number = NUMBER_BYTES[problem.dtype]
    size = {name: array.size for name, array in problem.arrays.items()}
    kinds = {name: problem.loss.inputs[name].kind for name in size}
    read = sum(count * (LABEL_BYTES if kinds[name] == "label" else number) for name, count in size.items())
    weights = 0 if problem.sample_weight is None else problem.entries
    value = problem.entries if problem.reduction == "none" and not problem.loss.pooled else 1
    differentiated = [name for name, one in problem.loss.inputs.items() if one.grad]
    gradient = sum(size[name] for name in differentiated) if measure == "gradient" else 0
    return read + number * (weights + value + gradient)
