"""The derivative of a graph as another graph: reverse mode for gradients, forward mode for directions.

At a point where the function has a kink these graphs follow one side; `oracle` asks both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lossbench.errors import SpecError
from lossbench.formula.graph import Graph, Node, is_row, topological


def gradient(graph: Graph, root: Node, names: Iterable[str]) -> dict[str, Node]:
    """The derivative of *root* by each of the named variables, each of the kind of its variable.

    Raises:
        SpecError: An exponent depends on one of the variables.
    """
    names = tuple(names)
    if root.op == "where" and root.args[0].kind == "bool":
        # Branch by branch: an ignored row must not meet its own NaN as 0*NaN further down.
        condition, *branches = root.args
        yes, no = (gradient(graph, branch, names) for branch in branches)
        return {name: graph.where(condition, yes[name], no[name]) for name in names}
    order = list(topological(root))
    active = _depending(order, names)
    adjoint: dict[Node, Node] = {root: graph.number(1)}
    for node in reversed(order):
        if node not in adjoint or not node.args:
            continue
        for position, arg in enumerate(node.args):
            if arg not in active:
                continue
            term = _pulled_back(graph, node, position, adjoint[node])
            if is_row(term) and not is_row(arg):
                term = graph.reduce("row_sum", term)
            elif not is_row(term) and is_row(node) and not is_row(arg):
                term = graph.mul(graph.size(), term)  # simplified to one number, but it stood for every class
            adjoint[arg] = graph.add(adjoint[arg], term) if arg in adjoint else term
    variables = {node.value: node for node in order if node.op == "variable"}
    zero = graph.number(0)
    return {name: adjoint.get(variables[name], zero) if name in variables else zero for name in names}


def directional(graph: Graph, roots: Iterable[Node], tangents: Mapping[str, Node]) -> dict[Node, Node]:
    """The derivative of every numeric node below *roots* along *tangents*, one node for each moved variable."""
    roots = tuple(roots)
    order = list(topological(*roots))
    active = _depending(order, tangents)
    zero = graph.number(0)
    moved: dict[Node, Node] = {}
    for node in order:
        if node not in active:
            moved[node] = zero
        elif node.op == "variable":
            moved[node] = tangents[str(node.value)]
        else:
            total = zero
            for position, arg in enumerate(node.args):
                if arg in active:
                    total = graph.add(total, _pushed_forward(graph, node, position, moved[arg]))
            moved[node] = total
    return moved


def _depending(order: Iterable[Node], names: Iterable[str]) -> set[Node]:
    """The numeric nodes of *order* whose value depends on a named variable."""
    names = set(names)
    active: set[Node] = set()
    for node in order:
        if node.kind in ("bool", "mask", "label"):
            continue
        if (node.op == "variable" and node.value in names) or any(arg in active for arg in node.args):
            active.add(node)
    return active


def _pulled_back(graph: Graph, node: Node, position: int, adjoint: Node) -> Node:
    match node.op:
        case "row_sum":
            return adjoint
        case "pick":
            return graph.mul(adjoint, graph.onehot(node.args[1]))
        case "where":
            return _chosen(graph, node, position, adjoint)
    return _scaled(graph, node, position, adjoint)


def _pushed_forward(graph: Graph, node: Node, position: int, tangent: Node) -> Node:
    match node.op:
        case "row_sum":
            return graph.reduce("row_sum", tangent)
        case "pick":
            if is_row(tangent):
                return graph.pick(tangent, node.args[1])
            return graph.mul(tangent, graph.reduce("row_sum", graph.onehot(node.args[1])))
        case "where":
            return _chosen(graph, node, position, tangent)
        case "row_max" | "row_min" | "logsumexp" | "norm":
            return graph.reduce("row_sum", _scaled(graph, node, position, tangent))
    return _scaled(graph, node, position, tangent)


def _chosen(graph: Graph, node: Node, position: int, value: Node) -> Node:
    zero = graph.number(0)
    condition = node.args[0]
    return graph.where(condition, value, zero) if position == 1 else graph.where(condition, zero, value)


def _scaled(graph: Graph, node: Node, position: int, factor: Node) -> Node:
    """*factor* times the partial derivative of *node* by its argument at *position*."""
    args = node.args
    match node.op, position:
        case "add", _:
            return factor
        case "sub", _:
            return factor if position == 0 else graph.neg(factor)
        case "neg", _:
            return graph.neg(factor)
        case "mul", _:
            return graph.mul(factor, args[1 - position])
        case "div", 0:
            return graph.div(factor, args[1])
        case "div", 1:
            return graph.neg(graph.div(graph.mul(factor, node), args[1]))
        case "pow", 0:
            lower = graph.pow(args[0], graph.sub(args[1], graph.number(1)))
            return graph.mul(factor, graph.mul(args[1], lower))
        case "pow", 1:
            raise SpecError("an exponent depends on an input that is differentiated; expected parameters only")
        case (("max" | "min"), _):
            sides = args[::-1] if node.op == "max" else args
            first = graph.compare("lt", *sides)  # whether the first argument is taken; a tie goes to the second
            return _where_first(graph, first, position == 0, factor)
        case "xlogy", 0:
            return graph.mul(factor, graph.unary("log", args[1]))
        case "xlogy", 1:  # xlogy(0, y) is 0 for every y
            slope = graph.div(graph.mul(factor, args[0]), args[1])
            return graph.where(graph.compare("eq", args[0], graph.number(0)), graph.number(0), slope)
        case (("row_max" | "row_min"), 0):  # a tie is shared evenly
            tied = graph.compare("eq", args[0], node)
            one = graph.where(tied, graph.number(1), graph.number(0))
            return graph.where(tied, graph.div(factor, graph.reduce("row_sum", one)), graph.number(0))
        case "logsumexp", 0:
            return graph.mul(factor, graph.unary("exp", graph.sub(args[0], node)))
        case "norm", 0:
            return graph.mul(factor, graph.div(args[0], node))
    return _SLOPES[node.op](graph, node, factor)


def _where_first(graph: Graph, first: Node, chosen: bool, factor: Node) -> Node:
    zero = graph.number(0)
    return graph.where(first, factor, zero) if chosen else graph.where(first, zero, factor)


def _times(slope: Callable[[Graph, Node, Node], Node]) -> Callable[[Graph, Node, Node], Node]:
    return lambda graph, node, factor: graph.mul(factor, slope(graph, node, node.args[0]))


def _over(slope: Callable[[Graph, Node, Node], Node]) -> Callable[[Graph, Node, Node], Node]:
    return lambda graph, node, factor: graph.div(factor, slope(graph, node, node.args[0]))


# Each is d f(x)/dx, given the graph, f(x) and x.
_SLOPES: dict[str, Callable[[Graph, Node, Node], Node]] = {
    "abs": _times(lambda g, f, x: g.unary("sign", x)),
    "sign": lambda g, f, factor: g.number(0),
    "exp": _times(lambda g, f, x: f),
    "expm1": _times(lambda g, f, x: g.unary("exp", x)),
    "log": _over(lambda g, f, x: x),
    "log1p": _over(lambda g, f, x: g.add(g.number(1), x)),
    "sqrt": _over(lambda g, f, x: g.mul(g.number(2), f)),
    "sinh": _times(lambda g, f, x: g.unary("cosh", x)),
    "cosh": _times(lambda g, f, x: g.unary("sinh", x)),
    "tanh": _over(lambda g, f, x: g.pow(g.unary("cosh", x), g.number(2))),
    "softplus": _times(lambda g, f, x: g.unary("sigmoid", x)),
    "sigmoid": _times(lambda g, f, x: g.mul(f, g.unary("sigmoid", g.neg(x)))),
}
