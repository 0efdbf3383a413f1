"""Graphs as they are written to graphs as they are computed: the same functions, in forms that keep their digits.

With m the largest entry of a row, at class k, and rest the sum of exp(x - m) over the other classes,

    logsumexp(x)        is  m + log1p(rest)
    y - logsumexp(x)    is  (y - m) - log1p(rest)          nothing of the rest is lost beside a large m
    softmax(x)          is  exp(x - m)/(1 + rest)
    z + s*softmax(x)    is  (z + s) - s*rest/(1 + rest)    at class k, where softmax is near 1 and z near -s

The new graphs use these primitives beside those of `graph`: `argmax` (a label), `at` (the mask of a label) and
`power_slope` (e*a**(e - 1), which is 0 for e = 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from lossbench.formula.graph import Graph, Kind, Node, is_row, number_of, topological


def lowered(roots: Iterable[Node]) -> list[Node]:
    """The graphs that compute *roots*; all of them in one new graph."""
    roots = list(roots)
    lowering = _Lowering()
    new: dict[Node, Node] = {}
    for node in topological(*roots):
        new[node] = lowering.made(node, *(new[arg] for arg in node.args))
    return [new[root] for root in roots]


@dataclass(frozen=True)
class _Softmax:
    """What logsumexp of *row* is made of."""

    row: Node
    peak: Node
    largest: Node
    rest: Node
    tail: Node  # log1p(rest)
    powers: Node  # exp(row - largest), 1 at the peak


@dataclass(frozen=True)
class _Probability:
    """A softmax row, or its entry at a label; `at_peak` tells where it is the largest."""

    softmax: _Softmax
    at_peak: Node


@dataclass(frozen=True)
class _Offset:
    """A sum: *start* + *factor* * *entry*, where *entry* is a probability."""

    start: Node
    factor: Node
    entry: Node


@dataclass
class _Lowering:
    graph: Graph = field(default_factory=Graph)
    softmaxes: dict[Node, _Softmax] = field(default_factory=dict)  # by the node that is their logsumexp
    logs: dict[Node, _Softmax] = field(default_factory=dict)  # by the row that is the logarithm of softmax
    probabilities: dict[Node, _Probability] = field(default_factory=dict)
    offsets: dict[Node, _Offset] = field(default_factory=dict)

    def made(self, node: Node, *args: Node) -> Node:
        folded = _folded(node, args)
        if folded is not None:
            return self.graph.number(folded)
        match node.op:
            case "add":
                return self.add(*args)
            case "sub":
                return self.sub(*args)
            case "mul":
                return self.mul(*args)
            case "div":
                return self.div(*args)
            case "exp":
                return self.exp(*args)
            case "pick":
                return self.pick(*args)
            case "logsumexp" if is_row(args[0]):
                return self.logsumexp(*args)
        return self.graph.rebuild(node, *args)

    def add(self, a: Node, b: Node) -> Node:
        if a.op == b.op == "where" and a.args[0] is b.args[0] and not {a, b} & self.offsets.keys():
            condition, yes, no = a.args
            return self.graph.where(condition, self.add(yes, b.args[1]), self.add(no, b.args[2]))
        for one, other in ((a, b), (b, a)):
            if one in self.offsets:
                offset = self.offsets[one]
                return self._offset(self.add(offset.start, other), offset.factor, offset.entry)
        for one, other in ((a, b), (b, a)):
            multiple = self._multiple(one)
            if multiple is not None:
                return self._offset(other, *multiple)
        return self.graph.add(a, b)

    def sub(self, a: Node, b: Node) -> Node:
        if b in self.softmaxes:
            softmax = self.softmaxes[b]
            difference = self.graph.sub(self._below(softmax, a), softmax.tail)
            if a is softmax.row:
                self.logs[difference] = softmax
            return difference
        if a in self.softmaxes:
            softmax = self.softmaxes[a]
            return self.graph.add(self.graph.neg(self._below(softmax, b)), softmax.tail)
        if any(self._multiple(one) is not None or one in self.offsets for one in (a, b)):
            return self.add(a, self.negated(b))
        return self.graph.sub(a, b)

    def negated(self, a: Node) -> Node:
        if a in self.offsets:
            offset = self.offsets[a]
            return self._offset(self.negated(offset.start), self.graph.neg(offset.factor), offset.entry)
        return self.graph.neg(a)

    def mul(self, a: Node, b: Node) -> Node:
        for exponent, power in ((a, b), (b, a)):
            if power.op == "pow" and power.args[1].op == "sub":
                larger, one = power.args[1].args
                if larger is exponent and number_of(one) == 1:
                    return self._node("power_slope", power.args[0].kind, power.args[0], exponent)
        return self.graph.mul(a, b)

    def div(self, a: Node, b: Node) -> Node:
        if b.op == "pow" and number_of(b.args[1]) == 2:  # the square may overflow where the quotient does not
            return self.graph.div(self.graph.div(a, b.args[0]), b.args[0])
        return self.graph.div(a, b)

    def exp(self, a: Node) -> Node:
        if a not in self.logs:
            return self.graph.unary("exp", a)
        softmax = self.logs[a]
        probability = self.graph.div(softmax.powers, self.graph.add(self.graph.number(1), softmax.rest))
        self.probabilities[probability] = _Probability(softmax, self._node("at", "mask", softmax.peak))
        return probability

    def pick(self, row: Node, label: Node) -> Node:
        entry = self.graph.pick(row, label)
        if row in self.probabilities:
            softmax = self.probabilities[row].softmax
            self.probabilities[entry] = _Probability(softmax, self.graph.compare("eq", label, softmax.peak))
        return entry

    def logsumexp(self, row: Node) -> Node:
        graph = self.graph
        peak = self._node("argmax", "label", row)
        largest = graph.pick(row, peak)
        at_peak = self._node("at", "mask", peak)
        zero = graph.number(0)
        # By index: at an infinite peak the difference would be nan, but the limit is 0.
        powers = graph.unary("exp", graph.where(at_peak, zero, graph.sub(row, largest)))
        rest = graph.reduce("row_sum", graph.where(at_peak, zero, powers))
        tail = graph.unary("log1p", rest)
        total = graph.add(largest, tail)
        self.softmaxes[total] = _Softmax(row, peak, largest, rest, tail, powers)
        return total

    def _below(self, softmax: _Softmax, a: Node) -> Node:
        """*a* less the largest entry."""
        graph = self.graph
        difference = graph.sub(a, softmax.largest)
        if a is softmax.row:
            return graph.where(self._node("at", "mask", softmax.peak), graph.number(0), difference)
        if a.op == "pick" and a.args[0] is softmax.row:
            return graph.where(graph.compare("eq", a.args[1], softmax.peak), graph.number(0), difference)
        return difference

    def _multiple(self, a: Node) -> tuple[Node, Node] | None:
        """The factor and the probability of which *a* is the product."""
        if a.op == "neg":
            multiple = self._multiple(a.args[0])
            return multiple and (self.graph.neg(multiple[0]), multiple[1])
        if a in self.probabilities:
            return self.graph.number(1), a
        if a.op == "mul":
            for factor, entry in (a.args, a.args[::-1]):
                if entry in self.probabilities:
                    return factor, entry
        return None

    def _offset(self, start: Node, factor: Node, entry: Node) -> Node:
        graph = self.graph
        probability = self.probabilities[entry]
        rest = probability.softmax.rest
        others = graph.div(rest, graph.add(graph.number(1), rest))
        near = graph.sub(graph.add(start, factor), graph.mul(factor, others))
        offset = graph.where(probability.at_peak, near, graph.add(start, graph.mul(factor, entry)))
        self.offsets[offset] = _Offset(start, factor, entry)
        return offset

    def _node(self, op: str, kind: Kind, *args: Node) -> Node:
        return self.graph.rebuild(Node(op, args, kind), *args)


_FOLDED: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


def _folded(node: Node, args: tuple[Node, ...]) -> Fraction | None:
    """The number that a function of a number is, to the nearest double or two; None where it is not finite."""
    if node.op not in _FOLDED or number_of(args[0]) is None:
        return None
    try:
        return Fraction(_FOLDED[node.op](float(number_of(args[0]) or 0)))
    except (ArithmeticError, ValueError):
        return None
