"""A loss's mathematics: its texts parsed once into graphs, with their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lossbench.formula.derivative import gradient
from lossbench.formula.graph import Graph, Kind, Node

__all__ = ["Formula", "Graph", "Kind", "Node", "gradient"]


@dataclass(frozen=True, kw_only=True)
class Formula:
    """The graphs of one loss.

    Attributes:
        names: Every input and parameter, and its kind.
        differentiated: The inputs by which gradients are taken.
        definition: The loss of one element or row.
        divisor: What one element or row adds to the divisor of the mean.
        gradients: The derivative of `definition` by each differentiated input.
        kernel, kernel_gradients: The forms for floating point; the same nodes as above where a spec gives none.
    """

    graph: Graph
    names: Mapping[str, Kind]
    differentiated: tuple[str, ...]
    definition: Node
    divisor: Node
    gradients: Mapping[str, Node]
    kernel: Node
    kernel_gradients: Mapping[str, Node]

    @property
    def has_rows(self) -> bool:
        """Whether the loss is of a row of classes, not of an element."""
        return any(kind == "row" for kind in self.names.values())
