"""A child process that measures one target: requests in and replies out on a private pipe, until the pipe closes.

Started by `lossbench.child` as `python -m lossbench.worker DESCRIPTOR`; what frameworks print goes elsewhere.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np

from lossbench import __version__, adapters, conventions, inputs, memory, messages, spec, timing
from lossbench.adapters import Adapter, Prepared, namespace
from lossbench.arrays import Arrays, digest
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import (
    Answer,
    Closed,
    Evaluate,
    Evaluated,
    Open,
    Ready,
    Refused,
    Reply,
    Request,
    Sample,
    Samples,
    Stream,
    Streamed,
    Survey,
    Surveyed,
    Tried,
    Try,
    Warm,
)
from lossbench.records import REFERENCE, Environment, Job, Observed, Output, Reason, Refusal

LONGEST = 400  # characters of a framework's words that are kept
NUMBER_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
LABEL_BYTES = 8
VARIABLES = ("CUDA_VISIBLE_DEVICES", "LOSSBENCH_", "MALLOC_", "MKL_", "NPROC", "OMP_", "OPENBLAS_")
NODE = re.compile(r"^\{\{.*?\}\} *")  # TensorFlow names a generated node before it says what is wrong
OUT_OF_MEMORY = re.compile(r"out of memory|can(no|')t allocate|resource_exhausted|std::bad_alloc", re.IGNORECASE)


def main() -> None:
    """Serve until the pipe closes."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # else a framework's compiler processes would hold the pipe open
    connection = Connection(descriptor)
    worker = Worker()
    while True:
        try:
            frame = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(messages.encode(worker.reply(messages.request(frame))))


class Worker:
    """One open target, and the case that is ready to be timed."""

    def __init__(self) -> None:
        self._target: tuple[Adapter, Path] | None = None
        self._framework = ""
        self._ready: _Ready | None = None

    def reply(self, request: Request) -> Reply:
        """What the request comes to."""
        match request:
            case Open():
                return self._open(request)
            case Answer(job=job) if job.measure == "convention":
                return _observed(self._opened()[1], job)
            case Answer(job=job):
                adapter, folder = self._opened()
                return perform(adapter, _loss(folder, job), job, Arrays(folder / "arrays"))
            case Warm():
                return self._warm(request)
            case Sample():
                return self._sample(request)
            case Stream(sizes=sizes, threads=threads, min_sample=min_sample, device=device):
                from lossbench import bandwidth  # imports Numba

                found = [bandwidth.measure(size, threads, min_sample, device) for size in sizes]
                return Streamed(records=[one for some in found for one in some])

            case Survey():
                return Surveyed(callables=namespace.public(adapters.losses(self._framework)))
            case Try():
                return self._try(request)
            case Evaluate():
                return self._evaluate(request)

    def _opened(self) -> tuple[Adapter, Path]:
        assert self._target is not None, "the harness opens a target before it asks"
        return self._target

    def _open(self, request: Open) -> Environment | Closed:
        target = request.target
        try:
            adapter = adapters.load(target.framework).open(target)
            told = (adapter.versions(), adapter.settings(), adapter.machine())
        except ImportError as error:
            return Closed(reason="not installed", detail=f"{error}; try: pip install 'lossbench[{target.framework}]'")
        except Exception as error:
            return Closed(reason=_reason(error), detail=_words(error))
        self._target, self._framework = (adapter, Path(request.folder)), target.framework
        # Plain text: a framework's version may be a class of its own.
        versions, settings, machine = ({name: str(value) for name, value in one.items()} for one in told)
        ours = {"lossbench": __version__, "python": platform.python_version(), "numpy": np.__version__}
        variables = {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}
        return Environment(
            target=target, versions=ours | versions, settings=variables | settings, machine=_machine() | machine
        )

    def _try(self, request: Try) -> Tried:
        adapter, folder = self._opened()
        arrays = Arrays(folder / "arrays")
        try:
            problem = inputs.draw(spec.load(request.path), request.case)
            found = adapter.prepare(replace(problem, call=request.call)).arrays()
        except Exception as error:
            return Tried(failed=_words(error))
        return Tried(arrays={name: arrays.put(array) for name, array in found.items()})

    def _evaluate(self, request: Evaluate) -> Evaluated | Refused:
        adapter, _ = self._opened()
        given = messages.unpacked(request.arrays)
        weight = given.pop("sample_weight", None)
        try:
            loss = spec.load(request.path)
            numbers = {name: inputs._float(value) for name, value in request.parameters.items()}
            problem = inputs.problem(
                loss,
                {**given, **numbers},
                dtype=request.dtype,
                reduction=request.reduction,
                sample_weight=weight,
            )
            found = adapter.prepare(problem).arrays()
        except Exception as error:
            return Refused(reason=_reason(error), detail=_words(error))
        kept = found if request.gradient else {"value": found["value"]}
        return Evaluated(arrays=messages.packed(kept))

    def _warm(self, request: Warm) -> Ready | Refusal:
        adapter, folder = self._opened()
        try:
            if self._ready is None or self._ready.job.case != request.job.case:
                self._ready = None  # freed before the next case is drawn: both may be large
                problem = inputs.draw(_loss(folder, request.job), request.job.case)
                self._ready = _Ready(request.job, problem, adapter.prepare(problem))
            self._ready.job = request.job
            first_call = timing.sample(self._ready.call)
            calls, seconds = timing.calibrate(self._ready.call, request.min_sample)
        except Exception as error:
            return Refusal(job=request.job, reason=_reason(error), detail=_words(error))
        moved = traffic(self._ready.problem, request.job.measure)
        return Ready(first_call=first_call, calls=calls, seconds=seconds, traffic=moved)

    def _sample(self, request: Sample) -> Samples | Refusal:
        assert self._ready is not None, "the harness warms a job before it samples"
        try:
            timing.sample(self._ready.call)  # untimed: others had the caches in between
            seconds = [timing.sample(self._ready.call, request.calls) for _ in range(request.count)]
            busy = self._ready.prepared.busy.get(self._ready.job.measure)
            return Samples(seconds=seconds, busy=[busy() for _ in range(request.count)] if busy else [])
        except Exception as error:
            return Refusal(job=self._ready.job, reason=_reason(error), detail=_words(error))


@dataclass
class _Ready:
    job: Job
    problem: Problem
    prepared: Prepared

    def call(self) -> object:
        return self.prepared.gradient() if self.job.measure == "gradient" else self.prepared.forward()


def perform(adapter: Adapter, loss: Loss, job: Job, arrays: Arrays) -> Output | Refusal:
    """The numbers of an accuracy or hessian job, kept in *arrays*, or what the framework said instead."""
    start = perf_counter()
    try:
        problem = inputs.draw(loss, job.case)
        if job.measure == "hessian":
            problem = inputs.directed(problem, job.case)
        if job.target != REFERENCE:  # which never writes a long batch out
            memory.check(problem)
        found = _found(adapter.prepare(problem), job)
    except Exception as error:
        return Refusal(job=job, reason=_reason(error), detail=_words(error))
    went_in = given(problem)
    kept = found
    if job.target == REFERENCE:
        counts = {"counts": problem.counts} if problem.order is not None else {}
        kept = counts | {name: array for name, array in went_in.items() if name != "order"} | found
    return Output(
        job=job,
        arrays={name: arrays.put(array) for name, array in kept.items()},
        inputs=digest(went_in),
        seconds=perf_counter() - start,
    )


def _found(prepared: Prepared, job: Job) -> dict[str, np.ndarray]:
    if job.measure != "hessian":
        return prepared.arrays()
    if prepared.hessian is None:
        raise Unsupported(f"the adapter of {job.target.framework} has no second derivatives")
    return prepared.hessian()


def _observed(folder: Path, job: Job) -> Observed | Refusal:
    """What the job's callable says to every topic."""
    try:
        return Observed(job=job, says=conventions.observe(_loss(folder, job), job.case.index, job.target))
    except Exception as error:
        return Refusal(job=job, reason=_reason(error), detail=_words(error))


def given(problem: Problem) -> dict[str, np.ndarray]:
    """All that goes into a call, by the names that records use."""
    found = {f"input.{name}": array for name, array in problem.arrays.items()}
    found |= {f"parameter.{name}": np.asarray(value) for name, value in problem.parameters.items()}
    found |= {} if problem.order is None else {"order": problem.order}
    found |= {f"direction.{name}": array for name, array in problem.direction.items()}
    return found if problem.sample_weight is None else found | {"sample_weight": problem.sample_weight}


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


def _loss(folder: Path, job: Job) -> Loss:
    return spec.load(folder / "specs" / f"{job.case.loss}.toml")


def _reason(error: Exception) -> Reason:
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
        return "out of memory"
    return "failed"


def _words(error: Exception) -> str:
    """The framework's own: `ValueError: ` and the first line of what it says; ours without the name."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    first = NODE.sub("", first)
    if isinstance(error, Unsupported):
        return first
    return f"{type(error).__name__}: {first}"[:LONGEST].rstrip(" :")


def _machine() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.*)", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+) kB", _text("/proc/meminfo"))
    found = {
        "processor": cpu[1] if cpu else platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        "system": platform.platform(),
    }
    return found | ({"memory": f"{int(memory[1]) / 2**20:.1f} GiB"} if memory else {})


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
