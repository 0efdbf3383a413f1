"""What formulas are made of: primitives, each giving numbers, labels or truth values along named axes.

A node without axes is one number (label, truth value) per element, row or batch. One along "class" is a row. Beside
each axis there is a second copy of it, `other batch` beside `batch`, so that both together are all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Type = Literal["number", "label", "truth"]
Kind = Literal["real", "row", "table", "label", "labels", "bool", "mask", "masks"]
Axes = tuple[str, ...]

LEAVES = ("number", "pi", "variable", "size", "index")
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
COMPARISONS = ("lt", "le", "eq", "ne", "support")  # support: whether an entry is above the threshold of its row
LOGIC = ("and", "or", "not")
ROW_REDUCTIONS = ("row_sum", "row_max", "row_min", "logsumexp", "norm", "threshold")
SELECTIONS = ("where", "pick", "onehot", "other")
SEQUENCES = ("ctc", "ctc_occupancy")
OPS = LEAVES + ARITHMETIC + ELEMENTARY + COMPARISONS + LOGIC + ROW_REDUCTIONS + SELECTIONS + SEQUENCES

CLASS: Axes = ("class",)  # the axis of rows
_OTHER = "other "
_KINDS: dict[Type, tuple[Kind, Kind, Kind]] = {  # without axes, along the classes, along others
    "number": ("real", "row", "table"),
    "label": ("label", "labels", "labels"),
    "truth": ("bool", "mask", "masks"),
}


@dataclass(frozen=True)
class Variable:
    """What a name stands for: numbers or labels along axes, in the order of its array's."""

    type: Type
    axes: Axes = ()


_VARIABLES: dict[Kind, Variable] = {
    "real": Variable("number"),
    "row": Variable("number", CLASS),
    "label": Variable("label"),
    "bool": Variable("truth"),
    "mask": Variable("truth", CLASS),
}


def variable_of(given: Kind | Variable) -> Variable:
    """The type and axes that a kind is short for."""
    if isinstance(given, Variable):
        return given
    return _VARIABLES[given]


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One primitive applied to nodes; two equal nodes of one graph are the same object.

    Attributes:
        type, axes: What it gives, and along which axes; their order says nothing.
        value: The exact number of a "number", the name of a "variable", and the axis of a "size", an "index", a
            reduction, a "pick" or "onehot", and of an "other" that axis of its argument which is renamed. A reduction
            without an axis is one of its arguments, two or more nodes without axes.
    """

    op: str
    args: tuple[Node, ...]
    type: Type
    axes: Axes = ()
    value: Fraction | str | None = None

    @property
    def kind(self) -> Kind:
        """Type and axes in a word: "real" and "label" have no axes, a "row" is of numbers along the classes."""
        return _KINDS[self.type][0 if not self.axes else 1 if self.axes == CLASS else 2]

    def __repr__(self) -> str:
        if self.op in ("number", "variable"):
            return str(self.value)
        axis = [repr(self.value)] if isinstance(self.value, str) and self.value not in CLASS else []
        return f"{self.op}({', '.join([*map(repr, self.args), *axis])})"


def described(node: Node) -> str:
    """A node's kind in an error: a real, a row, a number along "batch" and "feature"."""
    if node.kind not in ("table", "labels", "masks"):
        return f"a {node.kind}"
    word = {"number": "number", "label": "label", "truth": "truth value"}[node.type]
    return f"a {word} along {quoted(node.axes, 'and')}"


def quoted(axes: Axes, joined: str) -> str:
    """Names of axes in an error: "batch" and "feature"."""
    names = [f'"{axis}"' for axis in axes]
    return f" {joined} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def number_of(node: Node) -> Fraction | None:
    """The exact value of a "number" node, else None."""
    return node.value if isinstance(node.value, Fraction) else None


def is_row(node: Node) -> bool:
    """Whether the node has one entry per class."""
    return node.axes == CLASS


def other_of(axis: str) -> str:
    """The name of the second copy of an axis; of that, the first."""
    return axis.removeprefix(_OTHER) if axis.startswith(_OTHER) else f"{_OTHER}{axis}"


def first_of(axis: str) -> str:
    """The name of an axis or of its second copy, without `other`: both are equally long."""
    return axis.removeprefix(_OTHER)


def union(*axes: Axes) -> Axes:
    """Every axis once, in order of first appearance."""
    return tuple(dict.fromkeys(axis for some in axes for axis in some))


def without(axes: Axes, axis: str) -> Axes:
    return tuple(one for one in axes if one != axis)


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
