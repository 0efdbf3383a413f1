"""What the mean divides by: the spec's divisor, which depends on labels and parameters only, summed in float64."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from lossbench.errors import SpecError
from lossbench.formula import Node
from lossbench.formula.graph import number_of, topological
from lossbench.inputs import Problem

_OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "max": np.maximum,
    "min": np.minimum,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "where": np.where,
}


def of(problem: Problem) -> float | None:
    """The divisor of *problem*'s mean, or None where it is the number of elements or rows.

    Raises:
        SpecError: The divisor uses what no divisor needs.
    """
    formula = problem.loss.formula
    if number_of(formula.divisor) == 1:
        return None
    size = len(next(iter(problem.arrays.values())))
    classes = next((array.shape[1] for array in problem.arrays.values() if array.ndim == 2), 0)
    # Classes come last: numbers have the shape (n, 1), rows (n, classes), row parameters (classes,).
    values: dict[Node, np.ndarray] = {}
    for node in topological(formula.divisor):
        args = [values[arg] for arg in node.args]
        values[node] = _value(problem, node, args, classes)
    return float(np.broadcast_to(values[formula.divisor], (size, 1)).sum())


def _value(problem: Problem, node: Node, args: list[np.ndarray], classes: int) -> np.ndarray:
    match node.op:
        case "number":
            assert isinstance(node.value, Fraction)
            return np.asarray(float(node.value))
        case "size":
            return np.asarray(float(classes))
        case "variable":
            name = str(node.value)
            if name in problem.parameters:
                return np.asarray(problem.parameters[name])
            array = problem.arrays[name]
            return array if array.ndim == 2 else array[:, None]
        case "onehot":
            return np.asarray(np.arange(classes) == args[0], np.float64)
        case "pick":
            row, label = np.broadcast_to(args[0], (*args[0].shape[:-1], classes)), args[1]
            return np.asarray(np.where(np.arange(classes) == label, row, 0).sum(axis=-1, keepdims=True))
        case "row_sum":
            return np.asarray(args[0].sum(axis=-1, keepdims=True))
    if node.op not in _OPERATIONS:
        options = ", ".join(sorted(_OPERATIONS))
        raise SpecError(f"the divisor of {problem.loss.name} uses {node.op}; expected one of: {options}")
    return _OPERATIONS[node.op](*args)
