"""Evaluates a graph in NumPy's float64, for a whole batch: fast, rough, and without any proof."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from lossbench.formula import alignments
from lossbench.formula.graph import Node, number_of, topological
from lossbench.formula.node import Axes, first_of

Sizes = Mapping[str, int]


def evaluate(
    roots: Sequence[Node],
    given: Mapping[str, np.ndarray],
    axes: Sequence[Axes] | None = None,
    sizes: Sizes | None = None,
) -> list[np.ndarray]:
    """The value of each root.

    Args:
        roots: Nodes of one graph.
        given: Every variable, in the shape of its axes, behind an axis (n,) where each of n points has its own. A
            row's may be one number for all classes.
        axes: Those of each result, in this order, beside the points; a root's own where not given.
        sizes: How long axes are; needed of those that the roots name and no variable in them has.

    Returns:
        For each root what broadcasts to shape (n, *axes), or to its axes alone where nothing has points.
    """
    order = _order(tuple(roots))
    variables = {str(node.value): node for node in order if node.op == "variable"}
    shapes = {name: np.shape(given[name]) for name in variables}
    several = any(len(shape) > len(variables[name].axes) for name, shape in shapes.items())
    sizes = {**(sizes or {}), **_sizes(given, variables)}
    values: dict[Node, np.ndarray] = {}  # of shape (points, *axes), with 1 for what is repeated
    with np.errstate(all="ignore"):
        for node in order:
            values[node] = _value(node, values, given, sizes)
    wanted = [root.axes for root in roots] if axes is None else axes
    results = [aligned(values[root], root.axes, to) for root, to in zip(roots, wanted, strict=True)]
    return results if several else [one[0] for one in results]


@lru_cache(maxsize=256)
def _order(roots: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(topological(*roots))


def aligned(array: np.ndarray, axes: Axes, to: Axes) -> np.ndarray:
    """An array with its last axes in another order, and 1 for those that it lacks."""
    if axes == to:
        return array
    first = array.ndim - len(axes)
    order = [first + axes.index(axis) for axis in to if axis in axes]
    array = array.transpose(*range(first), *order)
    lengths = iter(array.shape[first:])
    return array.reshape(*array.shape[:first], *(next(lengths) if axis in axes else 1 for axis in to))


def _sizes(given: Mapping[str, np.ndarray], variables: Mapping[str, Node]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, node in variables.items():
        shape = np.shape(given[name])
        for axis, size in zip(reversed(node.axes), reversed(shape), strict=False):
            sizes[axis] = max(size, sizes.get(axis, 0))
    return sizes


def _value(node: Node, values: Mapping[Node, np.ndarray], given: Mapping[str, np.ndarray], sizes: Sizes) -> np.ndarray:
    op, axes = node.op, node.axes

    def full(arg: Node, *along: str) -> np.ndarray:
        """An argument with these axes last, written out along them."""
        to = (*(axis for axis in arg.axes if axis not in along), *along)
        array = aligned(values[arg], arg.axes, to)
        lengths = [sizes[first_of(axis)] for axis in along]
        return np.broadcast_to(array, (*array.shape[: array.ndim - len(along)], *lengths))

    match op:
        case "variable":
            array = np.asarray(given[str(node.value)])
            if array.ndim > len(axes):
                return array
            return array.reshape(1, *array.shape) if array.ndim else array.reshape(1, *(1 for _ in axes))
        case "number":
            return np.asarray([float(number_of(node) or 0)])
        case "pi":
            return np.asarray([math.pi])
        case "size":
            return np.asarray([float(sizes[str(node.value)])])
        case "index":
            return np.arange(sizes[first_of(str(node.value))])[None]
        case "other":
            return values[node.args[0]]
        case "onehot":
            label = node.args[0]
            hot = values[label][..., None] == np.arange(sizes[first_of(str(node.value))])
            return aligned(np.asarray(hot, np.float64), (*label.axes, str(node.value)), axes)
        case "pick":
            row, label = node.args
            return _picked(full(row, str(node.value)), _without(row, node), values[label], label.axes, axes)
        case "ctc" | "ctc_occupancy":
            return _sequence(node, [full(node.args[0], "time", "class"), full(node.args[1], "position")], values)
    if op in _REDUCTIONS and node.value is None:
        return _REDUCTIONS[op](np.stack(np.broadcast_arrays(*(values[arg] for arg in node.args)), axis=-1))
    if op in _REDUCTIONS:
        rest = _without(node.args[0], node)
        return aligned(_REDUCTIONS[op](full(node.args[0], str(node.value))), rest, axes)
    return np.asarray(_OPERATIONS[op](*(aligned(values[arg], arg.axes, axes) for arg in node.args)))


def _without(row: Node, node: Node) -> Axes:
    return tuple(axis for axis in row.axes if axis != node.value)


def _picked(rows: np.ndarray, rest: Axes, labels: np.ndarray, label_axes: Axes, axes: Axes) -> np.ndarray:
    """The entries along the last axis of *rows* that the labels name; 0 where there is none."""
    size = rows.shape[-1]
    last = "picked along"
    rows = aligned(rows, (*rest, last), (*axes, last))
    labels = np.asarray(aligned(labels, label_axes, axes))
    shape = np.broadcast_shapes(rows.shape[:-1], labels.shape)
    if not size:
        return np.zeros(shape)
    inside = (labels >= 0) & (labels < size)
    places = np.broadcast_to(np.where(inside, labels, 0).astype(np.int64), shape)[..., None]
    found = np.take_along_axis(np.broadcast_to(rows, (*shape, size)), places, axis=-1)[..., 0]
    return np.where(inside, found, 0.0)


def _sequence(node: Node, tables: list[np.ndarray], values: Mapping[Node, np.ndarray]) -> np.ndarray:
    inner = (("time", "class"), ("position",), (), (), ())
    outer = tuple(axis for axis in node.axes if axis not in inner[0])
    arrays = []
    for arg, array, last in zip(node.args, [*tables, *(values[arg] for arg in node.args[2:])], inner, strict=True):
        own = (*(axis for axis in arg.axes if axis not in last), *last)
        arrays.append(aligned(array, own, (*outer, *last)))
    function = alignments.loss if node.op == "ctc" else alignments.occupancy
    return aligned(function(*arrays), (*outer, *(inner[0] if node.op == "ctc_occupancy" else ())), node.axes)


def threshold(rows: np.ndarray) -> np.ndarray:
    """For the numbers along the last axis the one at which what is above it has the sum 1."""
    down = -np.sort(-rows, axis=-1)
    count = np.arange(1, rows.shape[-1] + 1)
    highest = down[..., :1]
    candidates = (np.cumsum(down - highest, axis=-1) - 1) / count  # the greatest of them is the one
    return np.asarray(np.max(candidates, axis=-1) + highest[..., 0])


def _special(name: str) -> Callable[..., np.ndarray]:
    """A function of SciPy, which is imported when it is first called: workers that never do need none."""

    def called(*arrays: np.ndarray, **rest: float) -> np.ndarray:
        from scipy import special

        return np.asarray(getattr(special, name)(*arrays, **rest))

    return called


def _over(reduction: Callable[..., np.ndarray], **rest: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda row: reduction(row, axis=-1, **rest)


_REDUCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "row_sum": _over(np.sum),
    "row_max": _over(np.max, initial=-np.inf),  # in a batch without entries there is none
    "row_min": _over(np.min, initial=np.inf),
    "logsumexp": _over(_special("logsumexp")),
    "norm": _over(np.linalg.norm),
    "threshold": threshold,
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
    "xlogy": _special("xlogy"),
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
    "sigmoid": _special("expit"),
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "support": np.greater,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "where": np.where,
}
