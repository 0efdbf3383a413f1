"""What need not be computed: `nan_of` a number that makes the whole expression nan by another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossbench.formula.graph import ELEMENTARY, Graph, Node, number_of, topological

# A nan among their arguments is the result.
_STRICT = {*ELEMENTARY, "add", "sub", "mul", "div", "neg", "max", "min", "xlogy"}
_STRICT |= {"exp_below", "exp_difference", "log_cosh", "log_ratio", "row_sum"}


def settled(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """*roots*, lowered graphs, without each `nan_of` that its other operands make certain.

    What several roots have in common either has those that one of them needs, or is computed once for each: whichever
    is shorter.
    """
    nodes = list(topological(*roots))
    if not any(node.op == "nan_of" for node in nodes):
        return list(roots)
    forcing: dict[Node, frozenset[Node]] = {}  # the nodes of which each is nan only together with this one
    for node in nodes:
        forcing[node] = _inherited(node, forcing) | {node}
    apart = [one for root in roots for one in _without(graph, [root], forcing)]
    together = _without(graph, roots, forcing)
    return min(apart, together, key=lambda found: sum(1 for _ in topological(*found)))


def _without(graph: Graph, roots: Sequence[Node], forcing: Mapping[Node, frozenset[Node]]) -> list[Node]:
    """*roots* without each `nan_of` that none of those that have it needs."""
    doubtful = [(node, root) for root in roots for node in topological(root) if node.op == "nan_of"]
    needed = {node for node, root in doubtful if node.args[0] not in forcing[root]}
    new: dict[Node, Node] = {}
    for node in topological(*roots):
        if node.op == "nan_of" and node not in needed:
            new[node] = new[node.args[1]]
        else:
            new[node] = graph.rebuild(node, *(new[arg] for arg in node.args)) if node.args else node
    return [new[root] for root in roots]


def _inherited(node: Node, forcing: dict[Node, frozenset[Node]]) -> frozenset[Node]:
    """Those whose nan is that of an argument. That of `nan_of` itself is left out: it is what may go."""
    if node.op == "nan_of":
        return forcing[node.args[1]]
    if node.op == "where":
        condition, yes, no = node.args
        always = forcing[yes] & forcing[no]
        if condition.op not in ("lt", "le", "eq", "ne"):
            return always
        # Beside nan nothing is less or equal: which branch is chosen is known.
        operands = forcing[condition.args[0]] | forcing[condition.args[1]]
        return always | (operands & forcing[yes if condition.op == "ne" else no])
    if node.op in _STRICT or (node.op == "pow" and number_of(node.args[1])):
        return frozenset().union(*(forcing[arg] for arg in node.args))
    return frozenset()
