"""The formula as a graph: hash-consed nodes of about 30 primitives, simplified exactly as they are made.

A node is one number per element or row ("real"), one per class ("row"), a class index ("label"), or a truth
value of either shape ("bool", "mask"). A real beside a row is repeated over the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

Kind = Literal["real", "row", "label", "bool", "mask"]

LEAVES = ("number", "variable", "size")
ARITHMETIC = ("add", "sub", "mul", "div", "neg", "pow", "max", "min", "xlogy")
ELEMENTARY = (
    "abs",
    "sign",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "sinh",
    "cosh",
    "tanh",
    "softplus",
    "sigmoid",
)
COMPARISONS = ("lt", "le", "eq", "ne")
LOGIC = ("and", "or", "not")
ROW_REDUCTIONS = ("row_sum", "row_max", "row_min", "logsumexp", "norm")
SELECTIONS = ("where", "pick", "onehot")
OPS = LEAVES + ARITHMETIC + ELEMENTARY + COMPARISONS + LOGIC + ROW_REDUCTIONS + SELECTIONS


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One primitive applied to nodes; two equal nodes of one graph are the same object.

    `value` holds the exact number of a "number", the name of a "variable", and nothing otherwise.
    """

    op: str
    args: tuple[Node, ...]
    kind: Kind
    value: Fraction | str | None = None

    def __repr__(self) -> str:
        if self.op in ("number", "variable"):
            return str(self.value)
        return f"{self.op}({', '.join(map(repr, self.args))})"


def number_of(node: Node) -> Fraction | None:
    """The exact value of a "number" node, else None."""
    return node.value if isinstance(node.value, Fraction) else None


def _is_short(base: Fraction, exponent: Fraction) -> bool:
    """Whether a power can be written out: a parameter may be an exponent of 1e300."""
    return (base.numerator.bit_length() + base.denominator.bit_length()) * abs(exponent) <= 1 << 15


def is_row(node: Node) -> bool:
    """Whether the node has one entry per class."""
    return node.kind in ("row", "mask")


def topological(*roots: Node) -> Iterator[Node]:
    """Every node below *roots* once, arguments before the nodes that use them."""
    seen: set[Node] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if node in seen:
            continue
        if expanded:
            seen.add(node)
            yield node
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args) if arg not in seen)


@dataclass(slots=True)
class Graph:
    """Makes nodes, each only once, and simplifies them where the result is exactly the same function."""

    nodes: dict[tuple[object, ...], Node] = field(default_factory=dict)

    def _node(self, op: str, *args: Node, kind: Kind, value: Fraction | str | None = None) -> Node:
        key = (op, kind, value, *map(id, args))
        if key not in self.nodes:
            self.nodes[key] = Node(op, args, kind, value)
        return self.nodes[key]

    def number(self, value: Fraction | int | str) -> Node:
        return self._node("number", kind="real", value=Fraction(value))

    def variable(self, name: str, kind: Kind) -> Node:
        return self._node("variable", kind=kind, value=name)

    def size(self) -> Node:
        """The number of classes."""
        return self._node("size", kind="real")

    def add(self, a: Node, b: Node) -> Node:
        x, y = number_of(a), number_of(b)
        if x is not None and y is not None:
            return self.number(x + y)
        if x == 0 and b.kind != "label":
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
        if x == 0:
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
        if x == 0:
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
        return self._outside_where(a, self.neg) or self._node("neg", a, kind=a.kind)

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
        return self._node(op, a, kind=a.kind)

    def compare(self, op: str, a: Node, b: Node) -> Node:
        return self._node(op, a, b, kind="mask" if is_row(a) or is_row(b) else "bool")

    def logic(self, op: str, *args: Node) -> Node:
        return self._node(op, *args, kind="mask" if any(map(is_row, args)) else "bool")

    def reduce(self, op: str, row: Node) -> Node:
        """One of ROW_REDUCTIONS: a row to one number."""
        if is_row(row):
            return self._node(op, row, kind="real")
        # Simplified to one number: the same entry size() times.
        if op == "row_sum":
            return self.mul(self.size(), row)
        if op == "logsumexp":
            return self.add(row, self.unary("log", self.size()))
        if op == "norm":
            return self.mul(self.unary("sqrt", self.size()), self.unary("abs", row))
        return row

    def where(self, condition: Node, a: Node, b: Node) -> Node:
        if a is b:
            return a
        kind: Kind = "row" if any(map(is_row, (condition, a, b))) else "real"
        return self._node("where", condition, a, b, kind=kind)

    def pick(self, row: Node, label: Node) -> Node:
        """The entry of *row* at *label*; 0 where no class has that index."""
        return self._node("pick", row, label, kind="real")

    def onehot(self, label: Node) -> Node:
        """A row of 1 at *label* and 0 elsewhere."""
        return self._node("onehot", label, kind="row")

    def rebuild(self, node: Node, *args: Node) -> Node:
        """*node* over other arguments, simplified again."""
        op = node.op
        if op in ("add", "sub", "mul", "div", "neg", "pow", "where", "pick", "onehot"):
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
            return self.reduce(op, *args)
        return self._node(op, *args, kind=node.kind, value=node.value)

    def substitute(self, root: Node, values: Mapping[str, Fraction]) -> Node:
        """*root* with the named variables replaced by exact numbers, simplified again."""
        new: dict[Node, Node] = {}
        for node in topological(root):
            if isinstance(node.value, str) and node.value in values:
                new[node] = self.number(values[node.value])
            else:
                new[node] = self.rebuild(node, *(new[arg] for arg in node.args))
        return new[root]

    def _broadcast(self, op: str, a: Node, b: Node) -> Node:
        return self._node(op, a, b, kind="row" if is_row(a) or is_row(b) else "real")

    def _outside_where(self, a: Node, apply: Callable[[Node], Node]) -> Node | None:
        # A branch not taken must not meet an infinity: where(c, g, 0)*d would be 0*inf, where(c, g*d, 0) is not.
        if a.op == "where" and any(number_of(branch) == 0 for branch in a.args[1:]):
            condition, yes, no = a.args
            return self.where(condition, apply(yes), apply(no))
        return None
