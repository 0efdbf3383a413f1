"""Rows that differ from a simple one at a label alone: computed as the simple row, and once more at the label."""

from __future__ import annotations

from collections.abc import Iterable

from lossbench.formula.graph import Graph, Node, is_row, number_of, topological
from lossbench.formula.lower import certain


def picked(graph: Graph, roots: Iterable[Node]) -> list[Node]:
    """*roots* with the terms of sums picked that are zero but at one label."""
    new: dict[Node, Node] = {}
    roots = list(roots)
    for node in topological(*roots):
        made = graph.rebuild(node, *(new[arg] for arg in node.args))
        new[node] = _picked(graph, made) if made.op == "row_sum" and isinstance(made.value, str) else made
    return [new[root] for root in roots]


def _picked(graph: Graph, total: Node) -> Node:
    row, axis = total.args[0], str(total.value)
    hot = onehot_of(row)
    if hot is None or hot.value != axis or number_of(replaced(graph, row, hot, 0)) != 0:
        return total
    return graph.pick(replaced(graph, row, hot, 1), hot.args[0], axis)


def onehot_of(row: Node) -> Node | None:
    """The one label's row of ones and zeros that entries of *row* are made of; None where there are none or several."""
    found: dict[Node, None] = {}
    stack, seen = [row], set()
    while stack:
        node = stack.pop()
        if node in seen or not is_row(node):
            continue
        seen.add(node)
        if node.op == "onehot":
            found[node] = None
        stack.extend(node.args)
    return next(iter(found)) if len(found) == 1 else None


def replaced(graph: Graph, row: Node, hot: Node, value: int) -> Node:
    """*row* where the entry of *hot* is *value*, simplified."""
    new: dict[Node, Node] = {}
    for node in topological(row):
        if node is hot:
            new[node] = graph.number(value)
        elif not is_row(node):  # a sum over the row has the other entries too
            new[node] = node
        elif node.op == "where" and (chosen := certain(new[node.args[0]])) is not None:
            new[node] = new[node.args[1 if chosen else 2]]
        else:
            new[node] = graph.rebuild(node, *(new[arg] for arg in node.args))
    return new[row]


def at_label(graph: Graph, row: Node, label: Node) -> Node:
    """The entry of *row* at *label* as what is made of one entry of each input; any number where there is none."""
    new: dict[Node, Node] = {}
    for node in topological(row):
        if not is_row(node):
            new[node] = node
        elif node.op == "variable":
            new[node] = graph.pick(node, label)
        elif node.op == "onehot":
            hot, one = node.args[0], graph.number(1)
            same = graph.compare("eq", hot, label)
            new[node] = one if hot is label else graph.where(same, one, graph.number(0))
        else:
            new[node] = graph.rebuild(Node(node.op, (), node.type, (), node.value), *(new[arg] for arg in node.args))
    return new[row]


def unpicked(graph: Graph, roots: Iterable[Node]) -> list[Node]:
    """*roots* that pick entries of inputs alone: what is made of them is computed for many rows at once."""
    new: dict[Node, Node] = {}
    roots = list(roots)
    for node in topological(*roots):
        args = [new[arg] for arg in node.args]
        if node.op == "pick" and args[0].op != "variable":
            row, label = args
            inside = graph.rebuild(Node("inside", (), "truth"), label)
            new[node] = graph.where(inside, at_label(graph, row, label), graph.number(0))
        else:
            new[node] = graph.rebuild(node, *args)
    return [new[root] for root in roots]
