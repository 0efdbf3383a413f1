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
from lossbench.records import Environment, Target

START = 180.0  # seconds: importing a framework from a cold disk
ANSWER = 120.0

Expected = TypeVar("Expected", bound=Reply)


class Worker:
    """An open target."""

    def __init__(self, child: Child, environment: Environment) -> None:
        self._child = child
        self.versions: Mapping[str, str] = environment.versions

    def ask(self, request: Request, expected: type[Expected]) -> Expected:
        """The reply, of the *expected* kind.

        Raises:
            LossbenchError: The worker was lost.
        """
        try:
            reply = self._child.ask(request, ANSWER)
        except Lost as lost:
            raise LossbenchError(f"the worker {lost.reason}: {lost.detail}") from None
        assert isinstance(reply, expected), "each request has one kind of reply"
        return reply


@contextmanager
def opened(target: Target, folder: Path) -> Iterator[Worker | str]:
    """A worker of *target* that keeps its log and arrays in *folder*; or, as text, why there is none."""
    for name in ("logs", "arrays"):
        (folder / name).mkdir(exist_ok=True)
    child = None
    found: Worker | str
    try:
        child = Child(target, folder, threads())
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
