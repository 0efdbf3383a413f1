"""Evaluates a graph in NumPy's float64, for a whole batch: fast, rough, and without any proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import special

from lossbench.formula.graph import Node, number_of, topological


def evaluate(roots: Sequence[Node], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The value of each root.

    Args:
        roots: Nodes of one graph.
        given: Every variable: shape (n,) for an element or a label, (n, classes) for a row, () or (classes,) for
            parameters.

    Returns:
        For each root shape (n, 1), or (n, classes) for a row; or what broadcasts to it.
    """
    classes = max((array.shape[-1] for array in given.values() if array.ndim == 2), default=1)
    # Classes come last: what is one number per element or row has an axis of length 1 there.
    values: dict[Node, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in topological(*roots):
            if node.op == "variable":
                array = np.asarray(given[str(node.value)])
                values[node] = array[:, None] if array.ndim == 1 and node.kind != "row" else array
            elif node.op == "number":
                values[node] = np.asarray(float(number_of(node) or 0))
            elif node.op == "size":
                values[node] = np.asarray(float(classes))
            elif node.op == "onehot":
                values[node] = np.asarray(np.arange(classes) == values[node.args[0]], np.float64)
            else:
                args = [values[arg] for arg in node.args]
                if node.op in _OVER_CLASSES or node.op == "pick":
                    args[0] = np.broadcast_to(args[0], (*args[0].shape[:-1], classes))
                values[node] = np.asarray(_OPERATIONS[node.op](*args))
    return [values[root] for root in roots]


def _over(reduction: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda row: reduction(row, axis=-1, keepdims=True)


_OVER_CLASSES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "row_sum": _over(np.sum),
    "row_max": _over(np.max),
    "row_min": _over(np.min),
    "logsumexp": _over(special.logsumexp),
    "norm": _over(np.linalg.norm),
}
_OPERATIONS: Mapping[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "pow": np.power,
    "max": np.maximum,
    "min": np.minimum,
    "xlogy": special.xlogy,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "sigmoid": special.expit,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "where": np.where,
    "pick": lambda row, label: np.where(np.arange(row.shape[-1]) == label, row, 0.0).sum(axis=-1, keepdims=True),
    **_OVER_CLASSES,
}
