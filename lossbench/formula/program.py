"""A formula at given parameters, ready for evaluation: its graphs, its straight line for the many points that are
not hard, and its directions for those at kinks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

from lossbench.formula.derivative import directional, gradient
from lossbench.formula.graph import Graph, Kind, Node, Variable, topological
from lossbench.formula.straight import Straight, straight_line


@dataclass(frozen=True, eq=False)
class Program:
    """A loss at given real parameters.

    Attributes:
        kinds: The variables that are left: inputs, rows and labels, or the numbers of a table.
        differentiated: The inputs by which gradients are taken.
        definition, gradients: As in Formula, simplified again at the parameters.
        values: Of a table: the numbers that are wanted, such as those of which `definition` is the sum.
    """

    graph: Graph
    kinds: Mapping[str, Kind | Variable]
    differentiated: tuple[str, ...]
    definition: Node
    gradients: Mapping[str, Node]
    values: tuple[Node, ...] | None = None

    @cached_property
    def active(self) -> frozenset[Node]:
        """The nodes that depend on a differentiated input."""
        found: set[Node] = set()
        moving = set(self.differentiated)
        for node in topological(self.definition, *self.gradients.values()):
            if (node.op == "variable" and node.value in moving) or any(arg in found for arg in node.args):
                found.add(node)
        return frozenset(found)

    @cached_property
    def tangents(self) -> Mapping[Node, Node]:
        """The derivative of each node along a direction, of variables named "d.<input>"."""
        ways = {name: self.graph.variable(f"d.{name}", self.kinds[name]) for name in self.differentiated}
        return directional(self.graph, [self.definition, *self.gradients.values()], ways)

    @cached_property
    def second(self) -> Program:
        """The same loss with Hessian-vector products for gradients, along a direction of variables "v.<input>"."""
        ways = {name: self.graph.variable(f"v.{name}", self.kinds[name]) for name in self.differentiated}
        moved = directional(self.graph, self.gradients.values(), ways)
        return replace(
            self,
            kinds={**self.kinds, **{f"v.{name}": self.kinds[name] for name in self.differentiated}},
            gradients={name: moved[slope] for name, slope in self.gradients.items()},
        )

    def straight(self, precision: int, *, with_gradient: bool) -> Straight:
        """A function of the variables in the order of `kinds`, then of the number of classes.

        It gives the value, and after it each gradient, as balls of *precision* bits. It must be called at it.
        """
        return straight_line(self, precision, with_gradient)


def program(
    definition: Node, kinds: Mapping[str, Kind | Variable], differentiated: Iterable[str], at: Mapping[str, Fraction]
) -> Program:
    """The program of a definition at exact parameters; the gradients are taken after these are put in."""
    return _program(definition, tuple(kinds.items()), tuple(differentiated), tuple(sorted(at.items())))


@lru_cache(maxsize=64)
def _program(
    definition: Node,
    kinds: tuple[tuple[str, Kind | Variable], ...],
    differentiated: tuple[str, ...],
    at: tuple[tuple[str, Fraction], ...],
) -> Program:
    graph, values = Graph(), dict(at)
    root = graph.substitute(definition, values)
    return Program(
        graph=graph,
        kinds={name: kind for name, kind in kinds if name not in values},
        differentiated=differentiated,
        definition=root,
        gradients=gradient(graph, root, differentiated),
    )
