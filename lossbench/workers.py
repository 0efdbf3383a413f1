"""A worker for a few questions, beside any run: opened, asked, and ended with the block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lossbench.adapters import threads
from lossbench.child import Child, Lost
from lossbench.errors import LossbenchError
from lossbench.messages import Closed, Open, Reply, Request
from lossbench.records import Environment, Reason, Target

START = 180.0  # seconds: importing a framework from a cold disk
ANSWER = 120.0

Expected = TypeVar("Expected", bound=Reply)


class WorkerLost(LossbenchError):
    """A worker that gave no answer, and is no longer there."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"the worker {reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class Worker:
    """An open target."""

    def __init__(self, child: Child, environment: Environment) -> None:
        self._child = child
        self.environment = environment
        self.versions: Mapping[str, str] = environment.versions

    def ask(self, request: Request, *expected: type[Expected], deadline: float = ANSWER) -> Expected:
        """The reply, of one of the *expected* kinds, within *deadline* seconds.

        Raises:
            WorkerLost: It was lost.
        """
        try:
            reply = self._child.ask(request, deadline)
        except Lost as lost:
            raise WorkerLost(lost.reason, lost.detail) from None
        assert isinstance(reply, expected), "each request has its kinds of reply"
        return reply


@contextmanager
def opened(target: Target, folder: Path, count: int | None = None) -> Iterator[Worker | str]:
    """A worker of *target* that keeps its log and arrays in *folder*; or, as text, why there is none.

    It uses *count* threads, or as many as every framework may.
    """
    for name in ("logs", "arrays"):
        (folder / name).mkdir(exist_ok=True)
    child = None
    found: Worker | str
    try:
        child = Child(target, folder, count or threads())
        reply = child.ask(Open(target=target, folder=str(folder)), START)
        assert isinstance(reply, Environment | Closed), "a target opens or does not"
        found = Worker(child, reply) if isinstance(reply, Environment) else reply.detail
    except Lost as lost:
        found = lost.detail
    try:
        yield found
    finally:
        if child is not None:
            child.stop()
