"""The functions of the formula language: which arguments each takes, and the nodes that it stands for."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lossbench.formula.graph import ELEMENTARY, Graph, Node, number_of
from lossbench.formula.node import SEQUENCES, described, other_of, quoted

REDUCTIONS: Mapping[str, str] = {
    "sum": "row_sum",
    "max": "row_max",
    "min": "row_min",
    "logsumexp": "logsumexp",
    "norm": "norm",
}
ALONG_AN_AXIS = (*REDUCTIONS, "mean", "size", "softmax", "log_softmax", "sparsemax")
OTHERS = ("xlogy", "clip", "where", "onehot", "pick", "index", "other", *SEQUENCES)
CONSTANTS = ("pi",)
FUNCTIONS = sorted({*ELEMENTARY, *ALONG_AN_AXIS, *OTHERS})


class Misuse(ValueError):
    """A function does not take these arguments; the reason, without file and line."""


@dataclass(frozen=True)
class Argument:
    """What a function is called with: a node, or the name of an axis; and how it is written."""

    given: Node | str
    written: ast.expr

    @property
    def text(self) -> str:
        return ast.unparse(self.written)[:60]

    def node(self, expected: str) -> Node:
        if isinstance(self.given, str):
            raise Misuse(f"{self.text} is the name of an axis; expected {expected}")
        return self.given

    def refused(self, expected: str) -> Misuse:
        return Misuse(f"`{self.text}` is {described(self.node(expected))}; expected {expected}")

    def number(self) -> Node:
        """Numbers, along whatever axes."""
        node = self.node("a number or a row")
        if node.type != "number":
            raise self.refused("a number or a row")
        return node

    def label(self) -> Node:
        node = self.node("a label")
        if node.type != "label":
            raise self.refused("a label")
        return node

    def truth(self) -> Node:
        node = self.node("a comparison")
        if node.type != "truth":
            raise self.refused("a comparison")
        return node

    def axis(self) -> str:
        if not isinstance(self.given, str) or not self.given:
            raise Misuse(f'`{self.text}` is no axis; expected its name, such as "batch"')
        return self.given


def applied(graph: Graph, name: str, args: Sequence[Argument]) -> Node:
    """The node of `name(*args)`.

    Raises:
        Misuse: The function does not take these arguments.
    """
    count = len(args)
    if name in ELEMENTARY and count == 1:
        return graph.unary(name, args[0].number())
    if name in ("max", "min") and count >= 2 and not isinstance(args[1].given, str):
        result = args[0].number()
        for arg in args[1:]:
            result = graph.binary(name, result, arg.number())
        return result
    if name in ALONG_AN_AXIS and count in (1, 2):
        return _along(graph, name, *_numbers_along(name, args))
    if (name, count) in _TAKING:
        return _TAKING[name, count](graph, *args)
    raise Misuse(f"{name} does not take {count} arguments")


def picked(graph: Graph, row: Argument, label: Argument, axis: Argument | None = None) -> Node:
    """The node of `row[label]`, or of `pick(row, label, axis)`."""
    numbers, along = _numbers_along("pick", [row] if axis is None else [row, axis])
    return graph.pick(numbers, label.label(), along)


def _numbers_along(name: str, args: Sequence[Argument]) -> tuple[Node, str]:
    """The first argument and the axis that the second one names, or the first one's only axis."""
    numbers = args[0].node("a row")
    if numbers.type != "number" or not numbers.axes:
        raise args[0].refused("a row")
    if len(args) == 1:
        if len(numbers.axes) > 1:
            axes = quoted(numbers.axes, "and")
            example = f'{name}({args[0].text}, {"label, " if name == "pick" else ""}"{numbers.axes[0]}")'
            raise Misuse(f"`{args[0].text}` has the axes {axes}; name the axis: {example}")
        return numbers, numbers.axes[0]
    axis = args[1].axis()
    if axis not in numbers.axes:
        raise Misuse(f'`{args[0].text}` has no axis "{axis}"; expected {quoted(numbers.axes, "or")}')
    return numbers, axis


def _along(graph: Graph, name: str, numbers: Node, axis: str) -> Node:
    if name in REDUCTIONS:
        return graph.reduce(REDUCTIONS[name], numbers, axis)
    match name:
        case "mean":
            return graph.div(graph.reduce("row_sum", numbers, axis), graph.size(axis))
        case "size":
            return graph.size(axis)
        case "sparsemax":
            return graph.sparsemax(numbers, axis)
    log = graph.sub(numbers, graph.reduce("logsumexp", numbers, axis))
    return graph.unary("exp", log) if name == "softmax" else log


def _clip(graph: Graph, value: Argument, low: Argument, high: Argument) -> Node:
    above = graph.binary("max", value.number(), low.number())
    return graph.binary("min", above, high.number())


def _onehot(graph: Graph, label: Argument, axis: Argument | None = None) -> Node:
    labels, along = label.label(), "class" if axis is None else axis.axis()
    if along in labels.axes:
        raise Misuse(f'`{label.text}` has the axis "{along}" already; expected another one')
    return graph.onehot(labels, along)


def _other(graph: Graph, given: Argument, axis: Argument) -> Node:
    node, along = given.node("a value with an axis"), axis.axis()
    if along not in node.axes:
        have = quoted(node.axes, "or") if node.axes else "a value with an axis"
        raise Misuse(f'`{given.text}` has no axis "{along}"; expected {have}')
    if other_of(along) in node.axes:
        raise Misuse(f'`{given.text}` has the axis "{other_of(along)}" already; expected a value without it')
    return graph.other(node, along)


def _sequence(graph: Graph, op: str, *args: Argument) -> Node:
    log_probs = args[0].number()
    labels, *counts = (_whole(arg) for arg in args[1:])
    if not {"time", "class"} <= {*log_probs.axes}:
        raise args[0].refused('a number along "time" and "class"')
    if "position" not in labels.axes:
        raise args[1].refused('a label along "position"')
    for arg, node in zip((args[0], *args[1:]), (log_probs, labels, *counts), strict=True):
        allowed = {"time", "class"} if node is log_probs else {"position"} if node is labels else set()
        if ({*node.axes} - allowed) & {"time", "class", "position"}:
            raise arg.refused("a label without such axes")
    return graph.sequence(op, log_probs, labels, *counts)


def _whole(arg: Argument) -> Node:
    """Labels, or a whole number that is written out."""
    node = arg.node("a label")
    value = number_of(node)
    return node if value is not None and value.denominator == 1 else arg.label()


_TAKING: Mapping[tuple[str, int], Callable[..., Node]] = {
    ("xlogy", 2): lambda graph, a, b: graph.binary("xlogy", a.number(), b.number()),
    ("clip", 3): _clip,
    ("where", 3): lambda graph, condition, yes, no: graph.where(condition.truth(), yes.number(), no.number()),
    ("onehot", 1): _onehot,
    ("onehot", 2): _onehot,
    ("pick", 2): picked,
    ("pick", 3): picked,
    ("index", 1): lambda graph, axis: graph.index(axis.axis()),
    ("other", 2): _other,
    ("ctc", 5): lambda graph, *args: _sequence(graph, "ctc", *args),
    ("ctc_occupancy", 5): lambda graph, *args: _sequence(graph, "ctc_occupancy", *args),
}
