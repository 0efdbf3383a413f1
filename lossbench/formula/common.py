"""A loss where every logarithm is one of a common number: positive and finite, and not subnormal.

A good third of a logarithm is for the others. The common ones are computed without, to the same bits, and a stretch of
elements in which there is another once more with all of it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from lossbench.formula.graph import Graph, Node, number_of, topological

_LOGARITHMS = ("log", "xlogy")  # of their last argument


def common(roots: Sequence[Node], varying: Container[Node]) -> tuple[list[Node], list[Node]]:
    """The lowered graphs *roots* for common numbers, and the nodes that have to be such.

    Args:
        varying: The nodes that are not the same for every element.
    """
    nodes = list(topological(*roots))
    numbers = dict.fromkeys(node.args[-1] for node in nodes if node.op in _LOGARITHMS and node.args[-1] in varying)
    graph = Graph()
    new: dict[Node, Node] = {}
    for node in nodes:
        args = [new[arg] for arg in node.args]
        if node not in varying:
            new[node] = node
        elif node.op in _LOGARITHMS and node.args[-1] in numbers:
            new[node] = graph.rebuild(replace(node, op=f"common_{node.op}"), *args)
        elif node.op == "nan_of" and (node.args[0] in numbers or _half(node.args[0]) in numbers):
            new[node] = args[1]
        elif node.op == "where" and _is_end(node.args[0], numbers):
            new[node] = args[2]
        else:
            new[node] = graph.rebuild(node, *args)
    return [new[root] for root in roots], [new[node] for node in numbers]


def _half(node: Node) -> Node | None:
    """The x of 2*x."""
    if node.op != "mul":
        return None
    factor, x = node.args
    return x if number_of(factor) == 2 else None


def _is_end(condition: Node, numbers: Container[Node]) -> bool:
    """Whether it says of one of *numbers* that it is its own double."""
    if condition.op != "eq":
        return False
    x, double = condition.args
    return x in numbers and _half(double) is x
