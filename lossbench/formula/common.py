"""A loss where every logarithm is one of a common number: positive and finite, and not subnormal.

A good third of a logarithm is for the others. The common ones are computed without, to the same bits, and a stretch of
elements in which there is another once more with all of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from lossbench.formula.graph import Graph, Node, number_of, topological

_LOGARITHMS = ("log", "xlogy")  # of their last argument


def common(roots: Sequence[Node], varying: Container[Node]) -> tuple[list[Node], list[Node]]:
    """The lowered graphs *roots* for common numbers, and the nodes that have to be such.

    Args:
        varying: The nodes that are not the same for every element.
    """
    nodes = list(topological(*roots))
    numbers = logarithms_of(nodes, varying)
    graph = Graph()
    new: dict[Node, Node] = {}
    for node in nodes:
        form = common_form(node, numbers)
        if node not in varying:
            new[node] = node
        elif form in node.args:
            new[node] = new[form]
        else:
            new[node] = graph.rebuild(form, *(new[arg] for arg in node.args))
    return [new[root] for root in roots], [new[node] for node in numbers]


def logarithms_of(nodes: Iterable[Node], varying: Container[Node]) -> dict[Node, None]:
    """What logarithms are taken of, if it is *varying*."""
    return {node.args[-1]: None for node in nodes if node.op in _LOGARITHMS and node.args[-1] in varying}


def common_form(node: Node, numbers: Container[Node]) -> Node:
    """A node that is the same where *numbers* are common: over the same arguments, or one of them."""
    if node.op in _LOGARITHMS and node.args[-1] in numbers:
        return replace(node, op=f"common_{node.op}")
    if node.op == "nan_of" and (node.args[0] in numbers or _half(node.args[0]) in numbers):
        return node.args[1]
    return node.args[2] if node.op == "where" and _is_end(node.args[0], numbers) else node


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
