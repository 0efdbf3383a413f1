"""A loss of elements as functions without branches: LLVM makes vectors of them, sixteen numbers at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lossbench.formula.expression import PI, Constants, expression
from lossbench.formula.graph import Node, number_of, topological
from lossbench.formula.lower import lowered

_INDENT = "    "
# The numbers beyond the last whole vectors are computed once more together with some before them, not one by one.
_LOOPS = (
    ("for first in range(0, number, PIECE):", 1),
    ("count = min(PIECE, number - first)", 2),
    ("whole = count - count % LANES", 2),
    ("for again in range(2 if 0 < whole < count else 1):", 2),
    ("for k in range(count - LANES if again else 0, count if again or not whole else whole):", 3),
    ("i = natural(first + k)", 4),  # an integer that may be negative would count from the end
)


@dataclass
class Elements:
    """The body of one function of elements.

    Attributes:
        inputs, parameters: Their identifiers in the text.
        each: Whether the loss of each element is written; else their sum is returned.
        weighted: Whether each element has a weight.
    """

    constants: Constants
    inputs: Mapping[str, str]
    parameters: Mapping[str, str]
    each: bool
    weighted: bool
    lines: list[str] = field(default_factory=list)
    known: dict[Node, str] = field(default_factory=dict)

    def body(self, value: Node, gradients: Sequence[tuple[str, Node]]) -> str:
        """The statements after the first line; *gradients* are arrays and what is written into them."""
        loss, *slopes = lowered([value, *(slope for _, slope in gradients)], self.parameters)
        nodes = list(topological(loss, *slopes))
        varying = _varying(nodes, self.inputs)
        if slopes:
            self._line(1, "factor = real(scale)")
        self._computed([node for node in nodes if node not in varying], self.parameters, 1)
        if not self.each:
            self._line(1, f"total, error, terms = wide(0), wide(0), room({self.constants.name(0)})")
        for line, depth in _LOOPS:
            self._line(depth, line)
        depth = 4
        self._computed([node for node in nodes if node in varying], self.inputs, depth, "[i]")
        if self.weighted:
            self._line(depth, "w = weight[i]")
        for (array, _), slope in zip(gradients, slopes, strict=True):
            name = self._name(slope)
            self._line(depth, f"{array}[i] = " + (f"weighed(factor*w, {name})" if self.weighted else f"factor*{name}"))
        result = f"weighed(w, {self._name(loss)})" if self.weighted else self._name(loss)
        if self.each:
            self._line(depth, f"values[i] = {result}")
            self._line(1, "return wide(0)")
        else:
            self._line(depth, f"put(terms, k, {result})")
            self._line(2, "total, error = compensated(total, error, added(terms, count))")
            self._line(1, "return completed(total, error)")
        return "\n".join(self.lines)

    def _computed(self, nodes: Iterable[Node], given: Mapping[str, str], depth: int, entry: str = "") -> None:
        for node in nodes:
            if number_of(node) is not None or node.op == "pi":
                continue
            name = f"t{len(self.known)}"
            if node.op == "variable":
                text = f"{given[str(node.value)]}{entry}"
                if not entry:
                    self.known[node] = text
                    continue
            else:
                text = self._expression(node)
            self.known[node] = name
            self._line(depth, f"{name} = {text}")

    def _expression(self, node: Node) -> str:
        args = [self._name(arg) for arg in node.args]
        match node.op:
            case "where":
                return f"select({', '.join(args)})"
            case "and" | "or":
                return f"{args[0]} {'&' if node.op == 'and' else '|'} {args[1]}"
        return expression(node, args, None, self.constants)

    def _name(self, node: Node) -> str:
        value = PI if node.op == "pi" else number_of(node)
        return self.known[node] if value is None else self.constants.name(value)

    def _line(self, depth: int, text: str) -> None:
        self.lines.append(_INDENT * depth + text)


def _varying(nodes: Iterable[Node], inputs: Mapping[str, str]) -> set[Node]:
    """What is not the same for every element."""
    found: set[Node] = set()
    for node in nodes:
        if (node.op == "variable" and node.value in inputs) or any(arg in found for arg in node.args):
            found.add(node)
    return found
