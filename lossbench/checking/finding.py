"""The answer to one question about one's own loss, and the point at which it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lossbench.inputs import Problem
from lossbench.ulp import Exact

FAR = 1e-3  # relative

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
        declared: Why losses of its framework give another number there, as the spec says; else empty.
        call: What was called, where that is not the examined call.
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
    declared: str = ""
    call: str = ""


def far(got: np.ndarray, exact: Exact) -> bool:
    """Whether any entry is another number: farther off than any loss of digits explains."""
    numbers = np.asarray(got, np.float64).reshape(exact.high.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(exact.high)
        near = np.abs(numbers - exact.high) <= FAR * np.maximum(
            size, FAR * np.max(size, initial=0.0, where=~np.isnan(size))
        )
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
    weight = None if problem.sample_weight is None else problem.sample_weight[at : at + 1]
    return replace(problem, arrays=arrays, reduction="none", sample_weight=weight)
