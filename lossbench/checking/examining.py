"""Every question about one's own loss, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from lossbench import plan
from lossbench.checking import batches
from lossbench.checking.finding import Finding
from lossbench.checking.questions import Examination
from lossbench.text import Dtype


def findings(asked: Examination) -> Iterator[Finding]:
    """The answers, of the plainest question first; after one that it does not survive there are no others."""
    first = asked.ordinary("float32", "eager")
    yield first
    if first.level == "refused":
        return
    for question in _questions(asked, right=first.level == "right"):
        if asked.over:
            yield Finding(question="all else", level="not asked", words="its calls took too long for more of them")
            return
        yield from question()


def _questions(asked: Examination, *, right: bool) -> Iterator[Callable[[], Iterator[Finding]]]:
    yield partial(batches.means, asked)
    yield partial(batches.again, asked)
    if right:
        yield asked.edges
        yield asked.extreme
    yield partial(batches.untouched, asked)
    yield partial(batches.leak, asked)
    for dtype in asked.dtypes:
        if dtype != "float32":
            yield partial(_ordinary, asked, dtype, "eager")
    yield partial(batches.shapes, asked)
    yield partial(batches.weights, asked)
    for mode in asked.modes or plan.modes(asked.subject.framework):
        if mode not in ("eager", "keras"):
            yield partial(_ordinary, asked, "float32", mode)


def _ordinary(asked: Examination, dtype: Dtype, mode: str) -> Iterator[Finding]:
    yield asked.ordinary(dtype, mode)
