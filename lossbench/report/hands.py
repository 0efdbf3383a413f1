"""The losses of a run, worked on one by one: in several processes where there is enough of it."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lossbench import machine
from lossbench.answers import Answers
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.records import Job, Record
from lossbench.store import Store

T = TypeVar("T")

Progress = Callable[[int, int, str], None]

JOBS = 500  # of a run for each process: they take about as long as a process takes to start
MOST = 6  # processes: each has the records of the whole run and the arrays of one loss in memory, about half a GB


class Read(Store):
    """A store that nobody writes to any more: each part of it is read once."""

    def jobs(self) -> list[Job]:
        return self._jobs

    def losses(self) -> dict[str, Loss]:
        return self._losses

    def records(self) -> list[Record]:
        return self._records

    @cached_property
    def _jobs(self) -> list[Job]:
        return super().jobs()

    @cached_property
    def _losses(self) -> dict[str, Loss]:
        return super().losses()

    @cached_property
    def _records(self) -> list[Record]:
        return super().records()


class Hands:
    """What works on the losses of one run, each time with what came of that run's jobs.

    Attributes:
        answers: Of the whole run.
    """

    def __init__(self, answers: Answers, pool: ProcessPoolExecutor | None = None, progress: Progress | None = None):
        """Use `of` or `several`."""
        self.answers = answers
        self._pool = pool
        self._progress = progress or (lambda done, total, text: None)

    @classmethod
    def of(cls, path: Path, progress: Progress | None = None) -> Hands:
        """This process alone."""
        return cls(_read(path), None, progress)

    def each(self, said: str, task: Callable[..., T], given: Mapping[str, tuple[object, ...]]) -> Iterator[T]:
        """What *task* gives for each loss, in the order of *given*; several processes begin at once.

        Args:
            said: What is done, for the progress.
            task: A function of a module, which is called with `Answers` of that loss alone and what is given for it.
            given: By the name of the loss; it and what the task returns go from process to process.
        """
        if self._pool is None:
            return self._here(said, task, given)
        waiting: dict[str, Future[T]] = {}
        with _without_main():
            # Those with the most jobs first, so that nobody is left with one of them at the end.
            for name in sorted(given, key=lambda name: -len(self.answers.by_loss[name])):
                waiting[name] = self._pool.submit(_perform, task, name, given[name])
        return self._there(said, waiting, list(given))

    def _here(self, said: str, task: Callable[..., T], given: Mapping[str, tuple[object, ...]]) -> Iterator[T]:
        for done, (name, some) in enumerate(given.items()):
            self._progress(done, len(given), f"{said} {name}")
            yield task(self.answers.about(name), *some)
        self._progress(len(given), len(given), said)

    def _there(self, said: str, waiting: Mapping[str, Future[T]], names: Sequence[str]) -> Iterator[T]:
        named = {one: name for name, one in waiting.items()}
        self._progress(0, len(named), said)
        for done, one in enumerate(as_completed(named), 1):
            one.result()  # or what went wrong, at once
            self._progress(done, len(named), f"{said} {named[one]}")
        yield from (waiting[name].result() for name in names)


@contextmanager
def several(path: Path, progress: Progress | None = None, processes: int | None = None) -> Iterator[Hands]:
    """Hands for the run in the folder *path*: as many processes as there are cores and the run is large.

    Raises:
        LossbenchError: One of the processes was ended from outside.
    """
    answers = _read(path)
    count = processes or min(MOST, len(machine.cores()), len(answers.store.jobs()) // JOBS)
    if count <= 1:
        yield Hands(answers, None, progress)
        return
    context = multiprocessing.get_context("spawn")  # a fork would have only one of our threads
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(path,))
    try:
        yield Hands(answers, pool, progress)
    except BrokenProcessPool:
        reason = "perhaps because memory ran out; write its report again"
        raise LossbenchError(f"{path}: a process that wrote the report was killed, {reason}") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path) -> Answers:
    return Answers(Read.open(path))


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that start meanwhile do not run the user's script again, which may have no guard against that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_answers: list[Answers] = []  # of the run that this process works for


def _begin(path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    answers = _read(path)
    _ = answers.by_loss, answers.by_key
    gc.freeze()  # they stay: else all of them are looked through again and again
    _answers[:] = [answers]


def _perform(task: Callable[..., Any], name: str, some: tuple[object, ...]) -> Any:
    return task(_answers[0].about(name), *some)
