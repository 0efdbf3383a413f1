"""A target's own value and gradient of given inputs: a worker that is opened once, asked often, restarted when lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from lossbench import workers
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.messages import Evaluate, Evaluated, Refused, packed, unpacked
from lossbench.records import Environment, Reason, Target
from lossbench.text import Dtype, Number, Reduction
from lossbench.workers import WorkerLost

THREADS = 1  # how an array is cut into threads' shares can decide how its last numbers are computed

Parameters = Mapping[str, Number | list[Number]]
Ask = Callable[..., dict[str, np.ndarray]]


class NoAnswer(LossbenchError):
    """A target that did not evaluate what it was asked."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class Asked:
    """A target that is open from the first question on, in a folder of its own."""

    def __init__(self, target: Target, *, deadline: float = workers.ANSWER) -> None:
        """*deadline*: seconds after which a question is given up."""
        self.target = target
        self.deadline = deadline
        self.environment: Environment | None = None
        self._open = ExitStack()
        self._worker: workers.Worker | None = None
        self._closed = ""

    def __call__(
        self,
        loss: Loss,
        dtype: str,
        arrays: Mapping[str, np.ndarray],
        parameters: Parameters,
        *,
        reduction: str = "none",
        gradient: bool = True,
        call: str | None = None,
    ) -> dict[str, np.ndarray]:
        """`value` and `gradient.<input>`: float64 for dtype float64 and float32, which holds 16-bit numbers, otherwise.

        Asked again with arrays of the same shapes and the same parameters, nothing is compiled again.

        Args:
            loss: Read by the worker from its file.
            dtype: To which numbers are rounded, and in which the framework computes.
            arrays: Every input, shape (n,) for elements; and `sample_weight` if there is one.
            parameters: Exact numbers; those left out take their defaults.
            reduction: `none`, `mean` or `sum`.
            gradient: Whether gradients are wanted.
            call: In place of the spec's own.

        Raises:
            NoAnswer: The target cannot be opened, refuses, or was lost; it is opened again at the next question.
        """
        worker = self.opened()
        request = Evaluate(
            path=str(loss.path.resolve()),
            dtype=cast(Dtype, dtype),
            arrays=packed(arrays),
            parameters=dict(parameters),
            reduction=cast(Reduction, reduction),
            gradient=gradient,
            call=call,
        )
        try:
            reply = worker.ask(request, Evaluated, Refused, deadline=self.deadline)
        except WorkerLost as lost:
            self.close()
            raise NoAnswer(lost.reason, lost.detail) from None
        except BaseException:  # an answer may still be under way: the next question must not get it
            self.close()
            raise
        if isinstance(reply, Refused):
            raise NoAnswer(reply.reason, reply.detail)
        assert isinstance(reply, Evaluated), "one of the two that were asked for"
        return unpacked(reply.arrays)

    def opened(self) -> workers.Worker:
        """The worker, started where it is not there; a question does that too.

        Raises:
            NoAnswer: It cannot be opened.
        """
        if self._closed:
            raise NoAnswer("not installed", self._closed)
        if self._worker is None:
            folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="lossbench-")))
            found = self._open.enter_context(workers.opened(self.target, folder, THREADS))
            if isinstance(found, str):
                self._closed = found
                self.close()
                raise NoAnswer("not installed", found)
            self._worker, self.environment = found, found.environment
        return self._worker

    def close(self) -> None:
        """End the worker; it is started again when asked."""
        self._worker = None
        self._open.close()


@contextmanager
def evaluator(target: Target, loss: Loss, dtype: str, *, reduction: str = "none") -> Iterator[Ask]:
    """A function of arrays and parameters: what *target* gives for *loss*, as `Asked` says; the worker ends with the
    block.

    `ask(arrays, parameters={})` -> `value` and `gradient.<input>`, shape (n,) each for elements.
    """
    asked = Asked(target)

    def ask(arrays: Mapping[str, np.ndarray], parameters: Parameters | None = None) -> dict[str, np.ndarray]:
        return asked(loss, dtype, arrays, parameters or {}, reduction=reduction)

    try:
        yield ask
    finally:
        asked.close()
