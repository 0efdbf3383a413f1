"""A graph with named axes written out as a graph of single numbers, at given sizes and labels.

What depends on labels alone is decided here: which entry is picked, which pairs count, which states a sequence has.
The new graph has reductions of many arguments, and nothing in it has axes, so that every evaluator and derivative of
single numbers applies to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from lossbench.formula.floats import aligned
from lossbench.formula.graph import COMPARISONS, LOGIC, ROW_REDUCTIONS, Graph, Node, number_of, topological
from lossbench.formula.lattice import Lattice
from lossbench.formula.node import Axes, first_of, without

Entries: TypeAlias = np.ndarray  # of nodes, of ints (labels) or of nodes and bools (truth), 1 long where repeated


def unrolled(
    graph: Graph, roots: Iterable[Node], given: Mapping[str, Entries], sizes: Mapping[str, int]
) -> list[Entries]:
    """The nodes of each entry of *roots*, an array along its axes, 1 long where all entries are the same.

    Args:
        graph: Takes the new nodes.
        roots: Nodes of one graph, numbers.
        given: Every variable: nodes of *graph*, or integers for labels; along the variable's axes.
        sizes: How long each axis is.
    """
    writing = _Writing(graph, given, sizes)
    found: dict[Node, Entries] = {}
    roots = list(roots)
    for node in topological(*roots):
        found[node] = writing.written(node, [found[arg] for arg in node.args])
    return [found[root] for root in roots]


class _Writing:
    def __init__(self, graph: Graph, given: Mapping[str, Entries], sizes: Mapping[str, int]) -> None:
        self.graph = graph
        self.given = given
        self.sizes = sizes
        self.impossible = graph.impossible()

    def written(self, node: Node, args: list[Entries]) -> Entries:
        axis = str(node.value)
        match node.op:
            case "variable":
                array = np.asarray(self.given[axis])
                return array if array.ndim else array.reshape([1] * len(node.axes))
            case "number":
                return _filled((), self.graph.number(number_of(node) or 0))
            case "pi":
                return _filled((), self.graph.pi())
            case "size":
                return _filled((), self.graph.number(self.size(axis)))
            case "index":
                return np.arange(self.size(axis))
            case "other":
                return args[0]
            case "onehot":
                hot = np.expand_dims(args[0], -1) == np.arange(self.size(axis))
                return aligned(self.one_or_zero(hot), (*node.args[0].axes, axis), node.axes)
            case "pick":
                return self.picked(node, axis, *args)
            case "ctc" | "ctc_occupancy":
                return self.sequences(node, args)
        if node.op in ROW_REDUCTIONS:
            rows = self.full(node.args[0], args[0], axis)
            lists = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1]).tolist()
            numbers = _listed([self.reduced(node.op, row) for row in lists], rows.shape[:-1])
            return aligned(numbers, without(node.args[0].axes, axis), node.axes)
        if node.type == "label":
            first, second = (_integers(aligned(*pair, node.axes)) for pair in _pairs(args, node.args))
            return np.asarray(first + second if node.op == "add" else first - second)
        apply = self.applied(node)
        return self.each(apply, *(aligned(*pair, node.axes) for pair in _pairs(args, node.args)))

    def applied(self, node: Node) -> Callable[..., Any]:
        """What one entry of *node* is, given those of its arguments."""
        if node.op == "where":
            return self.where
        if node.op in COMPARISONS and node.op != "support":
            return lambda a, b: self.compared(node.op, a, b)
        if node.op in LOGIC:
            return lambda *truths: self.logic(node.op, *truths)
        return lambda *entries: self.graph.rebuild(node, *entries)

    def each(self, function: Callable[..., Any], *arrays: Entries) -> Entries:
        """*function* of the entries of arrays that are repeated to one shape."""
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        columns = [np.broadcast_to(array, shape).ravel().tolist() for array in arrays]
        return _listed([function(*one) for one in zip(*columns, strict=True)], shape)

    def size(self, axis: str) -> int:
        return self.sizes[first_of(axis)]

    def full(self, arg: Node, array: Entries, *along: str) -> Entries:
        """The entries of *arg* with these axes last, written out along them."""
        array = aligned(array, arg.axes, (*(axis for axis in arg.axes if axis not in along), *along))
        shape = array.shape[: array.ndim - len(along)]
        return np.broadcast_to(array, (*shape, *map(self.size, along)))

    def node(self, entry: Node | int) -> Node:
        return entry if isinstance(entry, Node) else self.graph.number(entry)

    def one_or_zero(self, truths: np.ndarray) -> Entries:
        return np.where(truths, *(_filled((), self.graph.number(one)) for one in (1, 0)))

    def compared(self, op: str, a: Node | int, b: Node | int) -> Node | bool:
        a, b = self.node(a), self.node(b)
        x, y = number_of(a), number_of(b)
        if x is None or y is None:
            return self.graph.compare(op, a, b)
        return {"lt": x < y, "le": x <= y, "eq": x == y, "ne": x != y}[op]

    def logic(self, op: str, *truths: Node | bool) -> Node | bool:
        if op == "not":
            (one,) = truths
            return not one if isinstance(one, bool) else self.graph.logic("not", one)
        decisive = op == "or"  # what alone decides the result
        if any(truth is decisive for truth in truths):
            return decisive
        open_ = [truth for truth in truths if isinstance(truth, Node)]
        return self.graph.logic(op, *open_) if len(open_) > 1 else open_[0] if open_ else not decisive

    def where(self, condition: Node | bool, yes: Node, no: Node) -> Node:
        if isinstance(condition, bool):
            return yes if condition else no
        return self.graph.where(condition, yes, no)

    def reduced(self, op: str, row: Sequence[Node]) -> Node:
        if op == "logsumexp":
            row = [entry for entry in row if entry is not self.impossible]
        if not row:
            return self.impossible if op in ("logsumexp", "row_max") else self.graph.number(0)
        return self.graph.over(op, row)

    def picked(self, node: Node, axis: str, row: Entries, label: Entries) -> Entries:
        rows = self.full(node.args[0], row, axis) if axis in node.args[0].axes else row[..., None]
        last = "picked along"
        rows = aligned(rows, (*without(node.args[0].axes, axis), last), (*node.axes, last))
        labels = aligned(label, node.args[1].axes, node.axes)
        shape = np.broadcast_shapes(rows.shape[:-1], labels.shape)
        labels = np.broadcast_to(labels, shape)
        found = _filled(shape, self.graph.number(0))
        for place in np.ndindex(shape):
            if 0 <= labels[place] < self.size(axis):
                found[place] = np.broadcast_to(rows, (*shape, rows.shape[-1]))[place][labels[place] % rows.shape[-1]]
        return found

    def sequences(self, node: Node, args: list[Entries]) -> Entries:
        inner: tuple[Axes, ...] = (("time", "class"), ("position",), (), (), ())
        outer = tuple(axis for axis in node.axes if axis not in inner[0])
        arrays = []
        for arg, array, last in zip(node.args, args, inner, strict=True):
            numbers = array if last == inner[0] else _integers(array)
            arrays.append(aligned(self.full(arg, numbers, *last), _last(arg.axes, last), (*outer, *last)))
        shape = np.broadcast_shapes(*(array.shape[: len(outer)] for array in arrays))
        arrays = [np.broadcast_to(array, (*shape, *array.shape[len(outer) :])) for array in arrays]
        lattices = [Lattice(self.graph, *(array[place] for array in arrays)) for place in np.ndindex(shape)]
        if node.op == "ctc":
            return _listed([lattice.loss() for lattice in lattices], shape)
        tables = np.stack([lattice.occupancy() for lattice in lattices])
        return aligned(tables.reshape(*shape, *tables.shape[1:]), (*outer, *inner[0]), node.axes)


def _pairs(arrays: Sequence[Entries], args: Sequence[Node]) -> Iterable[tuple[Entries, Axes]]:
    return [(array, arg.axes) for array, arg in zip(arrays, args, strict=True)]


def _last(axes: Axes, last: Axes) -> Axes:
    return (*(axis for axis in axes if axis not in last), *last)


def _integers(array: Entries) -> np.ndarray:
    """Labels, some of which may be written as whole numbers."""
    if array.dtype != object:
        return array
    whole = [int(number_of(one) or 0) if isinstance(one, Node) else one for one in array.ravel().tolist()]
    return np.array(whole, np.int64).reshape(array.shape)


def _filled(shape: tuple[int, ...], entry: Node) -> Entries:
    found = np.empty(shape, object)
    found[...] = entry
    return found


def _listed(entries: Sequence[Any], shape: tuple[int, ...]) -> Entries:
    found = np.empty(len(entries), object)
    found[:] = entries
    return found.reshape(shape)
