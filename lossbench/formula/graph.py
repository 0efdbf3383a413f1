"""The formula as a graph: hash-consed nodes of some 40 primitives, simplified exactly as they are made.

Arguments are repeated along the axes that they lack, as in NumPy, but by name. Not every entry of an axis need be
written out: what simplifies to one number has no axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from lossbench.formula.node import (
    COMPARISONS,
    ELEMENTARY,
    LOGIC,
    ROW_REDUCTIONS,
    Axes,
    Kind,
    Node,
    Type,
    Variable,
    first_of,
    is_row,
    number_of,
    other_of,
    topological,
    union,
    variable_of,
    without,
)

__all__ = [
    "COMPARISONS",
    "ELEMENTARY",
    "LOGIC",
    "ROW_REDUCTIONS",
    "Graph",
    "Kind",
    "Node",
    "Variable",
    "is_row",
    "number_of",
    "topological",
]


def _is_short(base: Fraction, exponent: Fraction) -> bool:
    """Whether a power can be written out: a parameter may be an exponent of 1e300."""
    return (base.numerator.bit_length() + base.denominator.bit_length()) * abs(exponent) <= 1 << 15


@dataclass(slots=True)
class Graph:
    """Makes nodes, each only once, and simplifies them where the result is exactly the same function."""

    nodes: dict[tuple[object, ...], Node] = field(default_factory=dict)

    def _node(
        self, op: str, *args: Node, of: Type = "number", axes: Axes = (), value: Fraction | str | None = None
    ) -> Node:
        key = (op, of, axes, value, *map(id, args))
        if key not in self.nodes:
            self.nodes[key] = Node(op, args, of, axes, value)
        return self.nodes[key]

    def number(self, value: Fraction | int | str) -> Node:
        return self._node("number", value=Fraction(value))

    def pi(self) -> Node:
        """The ratio of a circle's circumference to its diameter."""
        return self._node("pi")

    def variable(self, name: str, kind: Kind | Variable) -> Node:
        given = variable_of(kind)
        return self._node("variable", of=given.type, axes=given.axes, value=name)

    def impossible(self) -> Node:
        """The log probability of what cannot be: minus infinity."""
        return self.unary("log", self.number(0))

    def size(self, axis: str = "class") -> Node:
        """How long an axis is."""
        return self._node("size", value=first_of(axis))

    def index(self, axis: str) -> Node:
        """The labels 0, 1, 2, ... along an axis."""
        return self._node("index", of="label", axes=(axis,), value=axis)

    def add(self, a: Node, b: Node) -> Node:
        x, y = number_of(a), number_of(b)
        if x is not None and y is not None:
            return self.number(x + y)
        if x == 0:
            return b
        if y == 0:
            return a
        if a.op == b.op == "where" and a.args[0] is b.args[0]:
            pairs = list(zip(a.args[1:], b.args[1:], strict=True))
            if all(number_of(one) == 0 or number_of(other) == 0 for one, other in pairs):
                return self.where(a.args[0], *(self.add(one, other) for one, other in pairs))
        return self._broadcast("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        x, y = number_of(a), number_of(b)
        if x is not None and y is not None:
            return self.number(x - y)
        if y == 0:
            return a
        if x == 0 and b.type == "number":
            return self.neg(b)
        return self._broadcast("sub", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        x, y = number_of(a), number_of(b)
        if x is not None and y is not None:
            return self.number(x * y)
        if x == 0 or y == 0:
            return self.number(0)
        if x == 1:
            return b
        if y == 1:
            return a
        if x == -1:
            return self.neg(b)
        if y == -1:
            return self.neg(a)
        for one, other in ((x, b), (y, a)):
            if one is not None and other.op == "mul" and (inner := number_of(other.args[0])) is not None:
                return self.mul(self.number(one * inner), other.args[1])
        return (
            self._outside_where(a, lambda branch: self.mul(branch, b))
            or self._outside_where(b, lambda branch: self.mul(a, branch))
            or self._broadcast("mul", a, b)
        )

    def div(self, a: Node, b: Node) -> Node:
        x, y = number_of(a), number_of(b)
        if x is not None and y:
            return self.number(x / y)
        if x == 0 and y != 0:
            return self.number(0)
        if y == 1:
            return a
        return self._outside_where(a, lambda branch: self.div(branch, b)) or self._broadcast("div", a, b)

    def neg(self, a: Node) -> Node:
        x = number_of(a)
        if x is not None:
            return self.number(-x)
        if a.op == "neg":
            return a.args[0]
        return self._outside_where(a, self.neg) or self._node("neg", a, axes=a.axes)

    def pow(self, a: Node, exponent: Node) -> Node:
        x, n = number_of(a), number_of(exponent)
        if n == 0:
            return self.number(1)
        if n == 1:
            return a
        if x is not None and n is not None and n.denominator == 1 and (x != 0 or n > 0) and _is_short(x, n):
            return self.number(x ** int(n))
        return self._broadcast("pow", a, exponent)

    def binary(self, op: str, a: Node, b: Node) -> Node:
        """max, min or xlogy of numbers, entry by entry."""
        x, y = number_of(a), number_of(b)
        if x is not None and y is not None and op in ("max", "min"):
            return self.number(max(x, y) if op == "max" else min(x, y))
        if op == "xlogy" and x == 0:
            return a
        return self._broadcast(op, a, b)

    def unary(self, op: str, a: Node) -> Node:
        """One of ELEMENTARY, entry by entry."""
        x = number_of(a)
        if x is not None and op == "abs":
            return self.number(abs(x))
        if x == 0 and op in ("expm1", "log1p", "sqrt", "sinh", "tanh", "sign"):
            return a
        if x == 0 and op in ("exp", "cosh"):
            return self.number(1)
        return self._node(op, a, axes=a.axes)

    def compare(self, op: str, a: Node, b: Node) -> Node:
        """One of COMPARISONS; "support" is of a row's entry and the row's threshold."""
        return self._node(op, a, b, of="truth", axes=union(a.axes, b.axes))

    def logic(self, op: str, *args: Node) -> Node:
        return self._node(op, *args, of="truth", axes=union(*(arg.axes for arg in args)))

    def reduce(self, op: str, row: Node, axis: str = "class") -> Node:
        """One of ROW_REDUCTIONS: what stands along an axis to one number."""
        if op == "row_sum" and row.op == "where" and axis not in row.args[0].axes:
            outside = self._outside_where(row, lambda branch: self.reduce(op, branch, axis))
            if outside is not None:
                return outside
        if axis in row.axes:
            return self._node(op, row, axes=without(row.axes, axis), value=axis)
        # Simplified to one number: the same entry size() times.
        size = self.size(axis)
        match op:
            case "row_sum":
                return self.mul(size, row)
            case "logsumexp":
                return self.add(row, self.unary("log", size))
            case "norm":
                return self.mul(self.unary("sqrt", size), self.unary("abs", row))
            case "threshold":
                return self.sub(row, self.div(self.number(1), size))
        return row

    def over(self, op: str, numbers: Sequence[Node]) -> Node:
        """One of ROW_REDUCTIONS of one or more nodes without axes."""
        if op == "row_sum":
            known = sum(filter(None, map(number_of, numbers)), Fraction(0))
            numbers = [one for one in numbers if number_of(one) is None]
            if known or not numbers:
                numbers = [*numbers, self.number(known)]
        if len(numbers) > 1:
            return self._node(op, *numbers)
        (alone,) = numbers
        if op == "norm":
            return self.unary("abs", alone)
        return self.sub(alone, self.number(1)) if op == "threshold" else alone

    def sparsemax(self, row: Node, axis: str = "class") -> Node:
        """The nearest point to *row* whose entries are not negative and have the sum 1."""
        threshold = self.reduce("threshold", row, axis)
        above = self.sub(row, threshold)
        return self.where(self.compare("support", row, threshold), above, self.number(0))

    def where(self, condition: Node, a: Node, b: Node) -> Node:
        a = a.args[1] if a.op == "where" and a.args[0] is condition else a
        b = b.args[2] if b.op == "where" and b.args[0] is condition else b
        if a is b:
            return a
        return self._node("where", condition, a, b, axes=union(condition.axes, a.axes, b.axes))

    def pick(self, row: Node, label: Node, axis: str = "class") -> Node:
        """The entry of *row* at *label* along an axis, for each of the labels; 0 where there is no such entry."""
        return self._node("pick", row, label, axes=union(without(row.axes, axis), label.axes), value=axis)

    def onehot(self, label: Node, axis: str = "class") -> Node:
        """1 at *label* along an axis and 0 elsewhere, for each of the labels."""
        return self._node("onehot", label, axes=union(label.axes, (axis,)), value=axis)

    def other(self, a: Node, axis: str) -> Node:
        """*a* with its entries along the second copy of an axis; along the first one, if *axis* is the second."""
        if axis not in a.axes:
            return a
        if a.op == "other" and a.value == other_of(axis):
            return a.args[0]
        axes = tuple(other_of(one) if one == axis else one for one in a.axes)
        return self._node("other", a, of=a.type, axes=axes, value=axis)

    def sequence(self, op: str, *args: Node) -> Node:
        """One of SEQUENCES: of log probabilities along "time" and "class", labels along "position", and the label of
        each of input length, label length and blank.

        "ctc" is minus the log probability of the labels, "ctc_occupancy" the probability that they, given that they
        come out, have a class at a time: minus the derivative of "ctc".
        """
        inner = ("time", "class")
        outer = [axis for axis in union(*(arg.axes for arg in args)) if axis not in (*inner, "position")]
        return self._node(op, *args, axes=(*outer, *(inner if op == "ctc_occupancy" else ())))

    def rebuild(self, node: Node, *args: Node) -> Node:
        """*node* over other arguments, simplified again."""
        op = node.op
        if op in ("pick", "onehot", "other"):
            along: Callable[..., Node] = getattr(self, op)
            return along(*args, node.value)
        if op in ("add", "sub", "mul", "div", "neg", "pow", "where"):
            make: Callable[..., Node] = getattr(self, op)
            return make(*args)
        if op in ("max", "min", "xlogy"):
            return self.binary(op, *args)
        if op in ELEMENTARY:
            return self.unary(op, *args)
        if op in COMPARISONS:
            return self.compare(op, *args)
        if op in LOGIC:
            return self.logic(op, *args)
        if op in ROW_REDUCTIONS:
            return self.reduce(op, args[0], node.value) if isinstance(node.value, str) else self.over(op, args)
        return self._node(op, *args, of=node.type, axes=node.axes, value=node.value)

    def substitute(self, root: Node, values: Mapping[str, Fraction]) -> Node:
        """*root* with the named variables replaced by exact numbers, simplified again."""
        new: dict[Node, Node] = {}
        for node in topological(root):
            if node.op == "variable" and str(node.value) in values:
                new[node] = self.number(values[str(node.value)])
            else:
                new[node] = self.rebuild(node, *(new[arg] for arg in node.args))
        return new[root]

    def _broadcast(self, op: str, a: Node, b: Node) -> Node:
        kind: Type = "label" if "label" in (a.type, b.type) else "number"
        return self._node(op, a, b, of=kind, axes=union(a.axes, b.axes))

    def _outside_where(self, a: Node, apply: Callable[[Node], Node]) -> Node | None:
        # A branch not taken must not meet an infinity: where(c, g, 0)*d would be 0*inf, where(c, g*d, 0) is not.
        if a.op == "where" and any(number_of(branch) == 0 for branch in a.args[1:]):
            condition, yes, no = a.args
            return self.where(condition, apply(yes), apply(no))
        return None
