"""What one's own loss gives at drawn points and at the spec's edges, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np

from lossbench import inputs
from lossbench.answers import Measured
from lossbench.checking.finding import Finding, alone, far, one_of
from lossbench.checking.fit import Fit
from lossbench.checking.subject import Subject, drawn, judged
from lossbench.inputs import Problem
from lossbench.records import Case, Points
from lossbench.spec import exact
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Dtype, Edge

POINTS = 200
FEW = 40  # where each point is a call of its own
PATIENCE = 240.0  # seconds for all questions together
DTYPES: tuple[Dtype, ...] = ("float32", "float64", "bfloat16", "float16")
SMALL, LARGE = 1e-8, 1e4  # numbers beyond them are extreme, but for 0
GOOD = ("exact", "faithful", "accurate")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One's own loss, and the way in which it is called.

    Attributes:
        until: When it has taken too long, by the clock of `monotonic`.
        dtypes: Beside float32, which is always asked.
        modes: Beside eager; all that the framework has where none is said.
    """

    subject: Subject
    fit: Fit
    until: float
    dtypes: Sequence[Dtype] = DTYPES
    modes: Sequence[str] = ()

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those at which it is examined."""
        return self.fit.parameters

    @property
    def over(self) -> bool:
        """Whether it has taken too long."""
        return monotonic() > self.until

    def ordinary(self, dtype: Dtype, mode: str) -> Finding:
        """Value and gradient at numbers as models give them."""
        found = self.points("ordinary points", "timing", dtype, mode)
        return replace(found, level="wrong") if found.far and dtype in ("float32", "float64") else found

    def extreme(self) -> Iterator[Finding]:
        """Value and gradient over the whole domain."""
        yield self.points("extreme points", "domain", "float32", "eager")

    def points(self, question: str, points: Points, dtype: Dtype, mode: str) -> Finding:
        """Drawn points, each one judged."""
        count = FEW if self.fit.whole else POINTS
        problem = drawn(self.subject.loss, points, dtype, count, self.parameters)
        return self.judge(question, problem, mode)

    def judge(self, question: str, problem: Problem, mode: str = "eager", edge: Edge | None = None) -> Finding:
        """What comes out of *problem*, each element or row, beside the certified."""
        base = Finding(question=question, level="right", mode=mode, dtype=problem.dtype)
        try:
            got = self.answers(problem, mode)
        except NoAnswer as error:
            return replace(base, level="refused", words=str(error))
        measured = judged(self.subject, problem, got, edge)
        return self.told(base, problem, measured)

    def answers(self, problem: Problem, mode: str = "eager") -> Mapping[str, np.ndarray]:
        """Value and gradients of each element or row; where one number is all that comes out, of one after the other.

        Raises:
            NoAnswer: There is none.
        """
        if not self.fit.whole or problem.entries == 1:
            return self.subject.ask(self.fit.call, problem, mode=mode)
        each: list[dict[str, np.ndarray]] = []
        for one in alone(problem):
            if each and self.over:
                raise NoAnswer("timed out", f"{len(each)} calls took longer than all questions may")
            each.append(self.subject.ask(self.fit.call, one, mode=mode))
        return {
            name: np.concatenate([np.atleast_1d(one[name]).reshape(1, *one[name].shape[1:]) for one in each])
            for name in each[0]
        }

    def told(self, base: Finding, problem: Problem, measured: Measured) -> Finding:
        """The finding that a measurement is."""
        if measured.verdict in GOOD:
            return replace(base, words=measured.verdict)
        if not measured.parts:
            return replace(base, level="wrong", words=measured.reason)
        if measured.verdict == "convention":
            words = f"another number than mathematics gives, as the spec declares of {self.subject.framework}"
            base = replace(base, declared=f"{words}: {measured.reason}")
        # Of equals the value, which is named first: a wrong one has wrong gradients too.
        name, part = max(measured.parts.items(), key=lambda one: one[1].grades.max(initial=0))
        exact = measured.exact[name]
        rows = exact.high.reshape(problem.entries, -1) if exact.high.ndim else exact.high.reshape(1, -1)
        at = 0 if part.worst is None else part.worst // rows.shape[1]
        point = one_of(problem, at)
        got = np.asarray(measured.got[name]).reshape(rows.shape)[at]
        return replace(
            base,
            level="weak",
            words=base.declared or f"{name} {measured.verdict}",
            problem=point,
            name=name,
            got=got,
            exact=rows[at],
            far=not base.declared and any(far(measured.got[one], measured.exact[one]) for one in measured.parts),
        )

    def edges(self) -> Iterator[Finding]:
        """The points whose answers the spec has decided and requires."""
        loss = self.subject.loss
        for index, edge in enumerate(loss.edges):
            if edge.status != "required" or edge.reduction != "none":
                continue
            elsewhere = {name for name in loss.parameters if self._elsewhere(name, edge)}
            if elsewhere - {*self.fit.binding.parameters}:
                continue
            case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="edge", index=index)
            problem = inputs.draw(loss, case)
            if self.fit.whole and problem.entries > 1:
                continue
            found = self.judge("edges", problem, edge=edge)
            sizes = [np.abs(one) for one in problem.arrays.values()]
            plain = all(((one <= LARGE) & ((one >= SMALL) | (one == 0))).all() for one in sizes)
            bad = (
                found.got is not None
                and not np.isfinite(found.got).all()
                and np.isfinite(np.asarray(found.exact)).all()
            )
            sure = not (elsewhere or found.declared or self.fit.way.changed)
            if found.level == "weak" and plain and bad and sure:
                found = replace(found, level="wrong")
            yield replace(found, words=f"{found.words}: {edge.why}") if found.level != "right" else found

    def _elsewhere(self, name: str, edge: Edge) -> bool:
        """Whether an edge is one of another parameter than that at which it is examined."""
        default = self.subject.loss.parameters[name].default
        at, here = edge.at.get(name, default), self.parameters.get(name, default)
        if isinstance(at, list) or isinstance(here, list):
            return at != here
        return exact(str(at)) != exact(str(here))
