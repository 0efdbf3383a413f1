"""A loss's mathematics: its texts parsed once into graphs, with their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lossbench.formula.derivative import directional, gradient
from lossbench.formula.graph import Graph, Kind, Node, Variable
from lossbench.formula.node import CLASS, Axes, topological, union, variable_of

__all__ = ["Formula", "Graph", "Kind", "Node", "Variable", "Wide", "gradient"]


class Wide(NamedTuple):
    """For which rows of float32 numbers the definition, computed in float64 and rounded once, keeps their digits.

    Attributes:
        value: Of the value.
        gradient: Of the value and the gradients.
    """

    value: Node
    gradient: Node


@dataclass(frozen=True, kw_only=True)
class Formula:
    """The graphs of one loss.

    Attributes:
        names: Every input and parameter, and its kind, or its type and axes.
        differentiated: The inputs by which gradients are taken.
        definition: The loss of one point, which is an element, a row, or what has the inputs' axes; of a whole batch
            where "batch" is one of them, then it may have this axis.
        divisor: What one point adds to the divisor of the mean; along "batch" what each entry does.
        gradients: The derivative of the sum of `definition` by each differentiated input; its axes are some of the
            input's, in any order.
        kernel, kernel_gradients: The forms for floating point; the same nodes as above where a spec gives none.
        wide: Where `definition` and `gradients` are as good in float64; None where a spec does not say.
    """

    graph: Graph
    names: Mapping[str, Kind | Variable]
    differentiated: tuple[str, ...]
    definition: Node
    divisor: Node
    gradients: Mapping[str, Node]
    kernel: Node
    kernel_gradients: Mapping[str, Node]
    wide: Wide | None = None

    @property
    def has_rows(self) -> bool:
        """Whether the loss is of a row of classes, not of an element."""
        return any(kind == "row" for kind in self.names.values())

    @property
    def variables(self) -> dict[str, Variable]:
        """The type and axes of every input and parameter."""
        return {name: variable_of(given) for name, given in self.names.items()}

    @property
    def axes(self) -> Axes:
        """Every axis of the inputs and parameters, in the order in which they first appear."""
        return union(*(variable.axes for variable in self.variables.values()))

    @property
    def batchwise(self) -> bool:
        """Whether its one point is a whole batch."""
        return "batch" in self.axes

    @cached_property
    def kernel_hessians(self) -> dict[str, Node]:
        """The derivative of each of `kernel_gradients` along a direction, of variables "v.<input>"."""
        ways = {name: self.graph.variable(f"v.{name}", self.names[name]) for name in self.differentiated}
        moved = directional(self.graph, self.kernel_gradients.values(), ways)
        return {name: moved[slope] for name, slope in self.kernel_gradients.items()}

    @cached_property
    def has_tables(self) -> bool:
        """Whether it is of more than elements and rows: other axes, pairs of classes, labels along an axis."""
        every = [(node.type, node.axes) for node in topological(self.definition, self.divisor)]
        every += [(variable.type, variable.axes) for variable in self.variables.values()]
        return any(axes not in ((), CLASS) or (axes and type_ == "label") for type_, axes in every)
