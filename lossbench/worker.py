"""A child process that measures one target: requests in and replies out on a private pipe, until the pipe closes.

Started by `lossbench.child` through `start.py` under the Python of its target; what frameworks print goes elsewhere.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np

from lossbench import __version__, adapters, compilations, inputs, machine, memory, messages, spec
from lossbench.adapters import Adapter, Prepared, namespace, yours
from lossbench.arrays import Arrays, digest
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import (
    Answer,
    Closed,
    Evaluate,
    Evaluated,
    Inspect,
    Inspected,
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
from lossbench.records import REFERENCE, Environment, Job, Observed, Output, Reason, Refusal, Target
from lossbench.timed import Timed

LONGEST = 400  # characters of a framework's words that are kept
VARIABLES = ("CUDA_VISIBLE_DEVICES", "LOSSBENCH_", "MALLOC_", "MKL_", "NPROC", "OMP_", "OPENBLAS_")
NODE = re.compile(r"^\{\{.*?\}\} *")  # TensorFlow names a generated node before it says what is wrong
OUT_OF_MEMORY = re.compile(r"out of memory|can(no|')t allocate|resource_exhausted|std::bad_alloc", re.IGNORECASE)


def main() -> None:
    """Serve until the pipe closes."""
    descriptor, scratch = int(sys.argv[1]), sys.argv[2]
    os.set_inheritable(descriptor, False)  # else a framework's compiler processes would hold the pipe open
    connection = Connection(descriptor)
    worker = Worker()
    while True:
        try:
            frame = connection.recv_bytes()
        except EOFError:  # our parent has ended, and cannot clear up behind us where it was killed
            shutil.rmtree(scratch, ignore_errors=True)
            return
        connection.send_bytes(messages.encode(worker.reply(messages.request(frame))))


class Worker:
    """One open target, and the case that is ready to be timed."""

    def __init__(self) -> None:
        self._target: tuple[Adapter, Path] | None = None
        self._framework = ""
        self._timed: Timed | None = None

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
            case Inspect(code=code):
                return _inspected(code)
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
            return Closed(reason="not installed", detail=f"{error}; try: {_install(error, target)}")
        except Exception as error:
            return Closed(reason=_reason(error), detail=_words(error))
        self._target, self._framework = (adapter, Path(request.folder)), target.framework
        # Plain text: a framework's version may be a class of its own.
        versions, settings, found = ({name: str(value) for name, value in one.items()} for one in told)
        ours = {"lossbench": __version__, "python": platform.python_version(), "numpy": np.__version__}
        variables = {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}
        variables["processors"] = ", ".join(map(str, machine.cores()))
        return Environment(
            target=target, versions=ours | versions, settings=variables | settings, machine=_machine() | found
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
                call=request.call,
            )
            found = adapter.prepare(problem).arrays()
        except Exception as error:
            return Refused(reason=_reason(error), detail=_words(error))
        kept = found if request.gradient else {"value": found["value"]}
        return Evaluated(arrays=messages.packed(kept))

    def _warm(self, request: Warm) -> Ready | Refusal:
        adapter, folder = self._opened()
        try:
            if self._timed is None or self._timed.job.case != request.job.case:
                self._timed = None  # freed before the next case is drawn: both may be large
                problem = inputs.draw(_loss(folder, request.job), request.job.case)
                self._timed = Timed(request.job, problem, adapter.prepare(problem))
            self._timed.job = request.job
            return self._timed.warm(request)
        except Exception as error:
            return Refusal(job=request.job, reason=_reason(error), detail=_words(error))

    def _sample(self, request: Sample) -> Samples | Refusal:
        assert self._timed is not None, "the harness warms a job before it samples"
        try:
            return self._timed.sample(request)
        except Exception as error:
            return Refusal(job=self._timed.job, reason=_reason(error), detail=_words(error))


def perform(adapter: Adapter, loss: Loss, job: Job, arrays: Arrays) -> Output | Refusal:
    """The numbers of an accuracy or hessian job, kept in *arrays*, or what the framework said instead."""
    start, before = perf_counter(), compilations.count()
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
        compiled=compilations.count() - before,
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
        from lossbench import conventions  # they compare with the oracle, which no other job of a framework needs

        return Observed(job=job, says=conventions.observe(_loss(folder, job), job.case.index, job.target))
    except Exception as error:
        return Refusal(job=job, reason=_reason(error), detail=_words(error))


def _inspected(code: str) -> Inspected | Refused:
    try:
        return yours.inspected(code)
    except Exception as error:
        return Refused(reason=_reason(error), detail=_words(error))


def given(problem: Problem) -> dict[str, np.ndarray]:
    """All that goes into a call, by the names that records use."""
    found = {f"input.{name}": array for name, array in problem.arrays.items()}
    found |= {f"parameter.{name}": np.asarray(value) for name, value in problem.parameters.items()}
    found |= {} if problem.order is None else {"order": problem.order}
    found |= {f"direction.{name}": array for name, array in problem.direction.items()}
    return found if problem.sample_weight is None else found | {"sample_weight": problem.sample_weight}


def _install(error: ImportError, target: Target) -> str:
    """What to type for the framework of *target*: another environment may have no lossbench of its own."""
    if target.interpreter is None:
        return f"pip install 'lossbench[{target.framework}]'"
    return f"{target.interpreter} -m pip install {(error.name or target.framework).partition('.')[0]}"


def _loss(folder: Path, job: Job) -> Loss:
    return spec.load(folder / "specs" / f"{job.case.loss}.toml")


def _reason(error: Exception) -> Reason:
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, ModuleNotFoundError):
        return "not installed"
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
        "cores": str(os.cpu_count() or 1),
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
