"""What the mean divides by: the spec's divisor, which depends on labels and parameters only, summed in float64."""

from __future__ import annotations

import numpy as np

from lossbench.formula import floats
from lossbench.formula.graph import number_of
from lossbench.inputs import Problem
from lossbench.text import BATCH


def of(problem: Problem) -> float | None:
    """The divisor of *problem*'s mean, or None where it is the number of elements or rows."""
    loss = problem.loss
    divisor = loss.formula.divisor
    if number_of(divisor) == 1:
        return None
    given = problem.arrays | {name: np.asarray(value) for name, value in problem.parameters.items()}
    (terms,) = floats.evaluate([divisor], given, [(BATCH,) if loss.batchwise else ()], loss.lengths(problem.arrays))
    return float((problem.counts * terms).sum())
