"""A loss of rows of float32 numbers as float64 computes it, where its spec says that this is right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lossbench.formula import Formula, Wide, gradient
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Node, is_row, number_of, topological


@dataclass(frozen=True)
class Widened:
    """What is computed, where that holds, and the numbers in it.

    Attributes:
        formula: With the kernel forms that its definition gives.
    """

    formula: Formula
    holds: Wide
    constants: Constants = field(default_factory=lambda: Constants("float64", "wide"))


def widened(formula: Formula) -> Widened | None:
    """*formula* as float64 computes it.

    None where the spec says nothing, or entries have powers of an exponent that is given: those take too long.
    """
    if formula.wide is None:
        return None
    definition, *conditions = _with_norms(formula.graph, [formula.definition, *formula.wide])
    if any(node.op == "pow" and is_row(node) and number_of(node.args[1]) is None for node in topological(definition)):
        return None
    slopes = gradient(formula.graph, definition, formula.differentiated)
    return Widened(replace(formula, kernel=definition, kernel_gradients=slopes), Wide(*conditions))


def _with_norms(graph: Graph, roots: Iterable[Node]) -> list[Node]:
    """*roots* with norms in the place of square roots of sums of squares: their slopes are shorter."""
    new: dict[Node, Node] = {}
    roots = list(roots)
    for node in topological(*roots):
        made = graph.rebuild(node, *(new[arg] for arg in node.args))
        if made.op == "pow" and number_of(made.args[1]) == 1 / 2 and made.args[0].op == "row_sum":
            total = made.args[0]
            (square,) = total.args
            if square.op == "pow" and number_of(square.args[1]) == 2:
                row = square.args[0]
                made = graph.reduce("norm", row.args[0] if row.op == "abs" else row, str(total.value))
        new[node] = made
    return [new[root] for root in roots]
