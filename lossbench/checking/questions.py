"""What is asked of one's own loss, question by question, and what each answer is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lossbench import inputs, plan
from lossbench.answers import Measured
from lossbench.checking.fit import Fit
from lossbench.checking.reading import COLUMN, call
from lossbench.checking.subject import Subject, drawn, judged
from lossbench.inputs import Problem
from lossbench.messages import Inspected
from lossbench.records import Case, Points
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Dtype, Edge, Reduction
from lossbench.ulp import Exact

POINTS = 200
FEW = 40  # where each point is a call of its own
DTYPES: tuple[Dtype, ...] = ("float32", "float64", "bfloat16", "float16")
RESHAPES = {
    "torch": "torch.reshape({}, {})",
    "tensorflow": "tf.reshape({}, {})",
    "jax": "jnp.reshape({}, {})",
    "numpy": "np.reshape({}, {})",
}
ONES = {"torch": "torch.sum({})", "tensorflow": "tf.reduce_sum({})", "jax": "jnp.sum({})", "numpy": "np.sum({})"}
FAR = 1e-3  # relative
MODERATE = 1e4  # numbers beyond it are extreme
GOOD = ("exact", "faithful", "accurate", "convention")

Level = Literal["right", "weak", "wrong", "refused", "not asked"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer to one question.

    Attributes:
        question: What was asked: "ordinary points", "edges", "compiled", ...
        level: "weak" is what good losses may be at extreme inputs; "refused" what raises; "wrong" what no one means.
        words: What came out, in a sentence.
        problem, got, exact, name: The worst point: one element or row, what came out there of `name` and what must;
            None where there is none.
        far: Whether it is another number, not one that has lost digits.
    """

    question: str
    level: Level
    words: str = ""
    mode: str = "eager"
    dtype: str = "float32"
    problem: Problem | None = None
    name: str = ""
    got: np.ndarray | None = None
    exact: np.ndarray | None = None
    far: bool = False


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One's own loss, the way in which it is called, and the parameters at which it is examined.

    Attributes:
        dtypes: Beside float32, which is always asked.
        modes: Beside eager; all that the framework has where none is said.
    """

    subject: Subject
    found: Inspected
    fit: Fit
    parameters: Mapping[str, str]
    dtypes: Sequence[Dtype] = DTYPES
    modes: Sequence[str] = ()

    def findings(self) -> Iterator[Finding]:
        """Every question's, the plainest first; after one that it does not survive there are no others."""
        first = self.ordinary("float32", "eager")
        yield first
        if first.level == "refused":
            return
        yield from self.means()
        if first.level == "right":
            yield from self.edges()
            yield self.points("extreme points", "domain", "float32", "eager")
        yield self.leak()
        for dtype in self.dtypes:
            if dtype != "float32":
                yield self.ordinary(dtype, "eager")
        yield from self.shapes()
        yield from self.weights()
        for mode in self.modes or plan.modes(self.subject.framework):
            if mode not in ("eager", "keras"):
                yield self.ordinary("float32", mode)

    def ordinary(self, dtype: Dtype, mode: str) -> Finding:
        """Value and gradient at numbers as models give them."""
        found = self.points("ordinary points", "timing", dtype, mode)
        return replace(found, level="wrong") if found.far and dtype in ("float32", "float64") else found

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
        measured = judged(problem, got, edge)
        return self.told(base, problem, measured)

    def answers(self, problem: Problem, mode: str = "eager") -> Mapping[str, np.ndarray]:
        """Value and gradients of each element or row; where one number is all that comes out, of one after the other.

        Raises:
            NoAnswer: There is none.
        """
        if not self.fit.whole or problem.entries == 1:
            return self.subject.ask(self.fit.call, problem, mode=mode)
        each = [self.subject.ask(self.fit.call, one, mode=mode) for one in alone(problem)]
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
            words=f"{name} {measured.verdict}",
            problem=point,
            name=name,
            got=got,
            exact=rows[at],
            far=any(_far(measured.got[one], measured.exact[one]) for one in measured.parts),
        )

    def edges(self) -> Iterator[Finding]:
        """The points whose answers the spec has decided and requires."""
        loss = self.subject.loss
        for index, edge in enumerate(loss.edges):
            if edge.status != "required" or edge.reduction != "none":
                continue
            elsewhere = {name for name in loss.parameters if str(edge.at.get(name, self.said(name))) != self.said(name)}
            if elsewhere - {*self.fit.binding.parameters}:
                continue
            case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="edge", index=index)
            problem = inputs.draw(loss, case)
            if self.fit.whole and problem.entries > 1:
                continue
            found = self.judge("edges", problem, edge=edge)
            plain = all((np.abs(one) <= MODERATE).all() for one in problem.arrays.values())
            bad = (
                found.got is not None
                and not np.isfinite(found.got).all()
                and np.isfinite(np.asarray(found.exact)).all()
            )
            if found.level == "weak" and plain and bad and not elsewhere:
                found = replace(found, level="wrong")
            yield replace(found, words=f"{found.words}: {edge.why}") if found.level != "right" else found

    def said(self, name: str) -> str:
        """A parameter as it is examined."""
        return str(self.parameters.get(name, self.subject.loss.parameters[name].default))

    def means(self) -> Iterator[Finding]:
        """Means and sums over a batch, where it makes them itself."""
        own: tuple[Reduction, ...] = (self.fit.reduction,) if self.fit.whole else ()
        asked: tuple[Reduction, ...] = ("mean", "sum") if self.fit.binding.reduction else own
        for reduction in asked:
            problem = drawn(self.subject.loss, "timing", "float32", 12, self.parameters, reduction=reduction)
            base = Finding(question=f"{reduction} over a batch", level="right")
            try:
                got = self.subject.ask(self.fit.call, problem)
            except NoAnswer as error:
                yield replace(base, level="refused", words=str(error))
                continue
            measured = judged(problem, got)
            found = (
                self.told(base, problem, measured)
                if measured.verdict not in GOOD
                else replace(base, words=measured.verdict)
            )
            if found.far:
                value, exact = float(np.ravel(measured.got["value"])[0]), float(measured.exact["value"].high)
                words = (
                    f"it is {value:.7g} where the {reduction} is {exact:.7g}: {value / exact:.6g} times as much"
                    if exact
                    else found.words
                )
                found = replace(found, level="wrong", words=words, problem=None)
            yield found

    def leak(self) -> Finding:
        """Whether float32 goes in and float32 comes out."""
        first = next(name for name, one in self.subject.loss.inputs.items() if one.grad)
        plain = call(self.fit.binding, self.found, given=COLUMN if self.fit.column else "{}")
        text = f"{ONES[self.subject.framework].format(first)}*0 + 1.0*({plain}.dtype == {first}.dtype)"
        problem = replace(drawn(self.subject.loss, "timing", "float32", 6, self.parameters))
        base = Finding(question="dtype of the result", level="right", words="float32")
        try:
            same = self.subject.ask(text, problem)["value"]
        except NoAnswer as error:
            return replace(base, level="not asked", words=str(error))
        if float(np.ravel(same)[0]) == 1.0:
            return base
        return replace(
            base, level="wrong", words="float32 goes in, another dtype comes out: a constant of float64 in it?"
        )

    def shapes(self) -> Iterator[Finding]:
        """Batches of two axes, of one element, and empty ones."""
        loss = self.subject.loss
        base = Finding(question="a batch of two axes", level="right", words="as one axis")
        if loss.axes or self.fit.column:
            yield replace(base, level="not asked", words="only losses of elements, one by one, have a way of their own")
        else:
            reshape = RESHAPES[self.subject.framework]
            text = call(self.fit.binding, self.found, given=reshape.format("{}", "(2, -1)"))
            text = text if self.fit.whole else reshape.format(text, "(-1,)")
            problem = drawn(loss, "timing", "float32", 12, self.parameters, reduction=self.fit.reduction)
            yield self._same(base, problem, text)
        problem = drawn(loss, "timing", "float32", 1, self.parameters)
        yield self._same(
            Finding(question="a batch of one", level="right", words="as any other"), problem, self.fit.call
        )
        empty = replace(problem, arrays={name: one[:0] for name, one in problem.arrays.items()})
        base = Finding(question="an empty batch", level="right")
        try:
            got = self.subject.ask(self.fit.call, empty)["value"]
            yield replace(base, words=f"gives {got.tolist() if got.size else 'nothing'}")
        except NoAnswer as error:
            yield replace(base, level="weak", words=str(error))

    def _same(self, base: Finding, problem: Problem, text: str) -> Finding:
        try:
            got = self.subject.ask(text, problem)
        except NoAnswer as error:
            return replace(base, level="refused", words=str(error))
        measured = judged(problem, got)
        if measured.verdict in GOOD:
            return base
        found = self.told(base, problem, measured)
        return replace(found, level="wrong") if found.far or not measured.parts else found

    def weights(self) -> Iterator[Finding]:
        """Sample weights, where it takes them."""
        if not self.fit.weighted:
            return
        problem = drawn(
            self.subject.loss, "timing", "float32", 12, self.parameters, reduction=self.fit.reduction, weighted=True
        )
        yield self._same(
            Finding(question="sample weights", level="right", words="each weighs its loss"), problem, self.fit.weighted
        )


def _far(got: np.ndarray, exact: Exact) -> bool:
    """Whether any entry is another number: farther off than any loss of digits explains."""
    numbers = np.asarray(got, np.float64).reshape(exact.high.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(exact.high)
        near = np.abs(numbers - exact.high) <= FAR * np.maximum(size, FAR * np.nanmax(size, initial=0.0))
        inside = (exact.lower <= numbers) & (numbers <= exact.upper)
    return bool((~(near | inside | np.isnan(exact.high) | (numbers == exact.high))).any())


def alone(problem: Problem) -> Iterator[Problem]:
    """Each element or row as a batch of its own."""
    return (one_of(problem, at) for at in range(problem.entries))


def one_of(problem: Problem, at: int) -> Problem:
    """One element or row as a batch."""
    if problem.loss.batchwise:
        return problem
    arrays = {name: one[at : at + 1] for name, one in problem.arrays.items()}
    return replace(problem, arrays=arrays, reduction="none", sample_weight=None)
