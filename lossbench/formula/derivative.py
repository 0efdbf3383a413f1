"""The derivative of a graph as another graph: reverse mode for gradients, forward mode for directions.

At a point where the function has a kink these graphs follow one side; `oracle` asks both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lossbench.errors import SpecError
from lossbench.formula.graph import Graph, Node, topological
from lossbench.formula.node import other_of, quoted, union


def gradient(graph: Graph, root: Node, names: Iterable[str]) -> dict[str, Node]:
    """The derivative of the sum of *root* by each of the named variables, along axes that its variable has.

    Raises:
        SpecError: An exponent depends on one of the variables.
    """
    names = tuple(names)
    if root.op == "where" and not root.args[0].axes:
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
            term = _summed(graph, term, node, arg)
            adjoint[arg] = graph.add(adjoint[arg], term) if arg in adjoint else term
    variables = {node.value: node for node in order if node.op == "variable"}
    zero = graph.number(0)
    return {name: adjoint.get(variables[name], zero) if name in variables else zero for name in names}


def _summed(graph: Graph, term: Node, node: Node, arg: Node) -> Node:
    """What comes back from *node*, summed over the axes along which *arg* was repeated."""
    repeated = () if node.op == "other" else node.axes  # even where the term is simplified to one number
    for axis in union(term.axes, repeated):
        if axis not in arg.axes:
            term = graph.reduce("row_sum", term, axis)
    return term


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
        if node.type != "number":
            continue
        if (node.op == "variable" and node.value in names) or any(arg in active for arg in node.args):
            active.add(node)
    return active


def _pulled_back(graph: Graph, node: Node, position: int, adjoint: Node) -> Node:
    match node.op:
        case "row_sum":
            return adjoint
        case "pick":
            return _scattered(graph, adjoint, node.args[1], str(node.value))
        case "other":
            return graph.other(adjoint, other_of(str(node.value)))
        case "where":
            return _chosen(graph, node, position, adjoint)
    return _scaled(graph, node, position, adjoint)


def _scattered(graph: Graph, adjoint: Node, label: Node, axis: str) -> Node:
    """*adjoint*, which stands beside each label, at the entries along *axis* that the labels name."""
    if axis not in label.axes:
        return graph.mul(adjoint, graph.onehot(label, axis))
    aside = other_of(axis)
    if aside in union(adjoint.axes, label.axes):
        raise SpecError(f"entries along {quoted((axis, aside), 'and')} are picked; expected one of these axes")
    label = graph.other(label, axis)
    return graph.reduce("row_sum", graph.mul(graph.other(adjoint, axis), graph.onehot(label, axis)), aside)


def _pushed_forward(graph: Graph, node: Node, position: int, tangent: Node) -> Node:
    axis = node.value
    match node.op:
        case "row_sum":
            return tangent if axis is None else graph.reduce("row_sum", tangent, str(axis))
        case "pick":
            if axis in tangent.axes:
                return graph.pick(tangent, node.args[1], str(axis))
            there = graph.onehot(node.args[1], str(axis))
            return graph.mul(tangent, graph.reduce("row_sum", there, str(axis)))
        case "other":
            return graph.other(tangent, str(axis))
        case "where":
            return _chosen(graph, node, position, tangent)
        case "row_max" | "row_min" | "logsumexp" | "norm" | "threshold":
            slope = _scaled(graph, node, position, tangent)
            return slope if axis is None else graph.reduce("row_sum", slope, str(axis))
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
        case (("row_max" | "row_min"), _):  # a tie is shared evenly
            return _shared(graph, node, position, "eq", factor)
        case "threshold", _:
            return _shared(graph, node, position, "support", factor)
        case "logsumexp", _:
            return graph.mul(factor, graph.unary("exp", graph.sub(args[position], node)))
        case "norm", _:
            return graph.mul(factor, graph.div(args[position], node))
        case "ctc", 0:
            return graph.neg(graph.mul(factor, graph.sequence("ctc_occupancy", *args)))
        case "ctc_occupancy", _:
            raise SpecError("the occupancy of a sequence has no derivative here")
    return _SLOPES[node.op](graph, node, factor)


def _shared(graph: Graph, node: Node, position: int, relation: str, factor: Node) -> Node:
    """*factor* over the number of those entries of a row that have a relation to what it is reduced to."""
    zero, one = graph.number(0), graph.number(1)
    having = [graph.compare(relation, arg, node) for arg in node.args]
    counted = [graph.where(each, one, zero) for each in having]
    if node.value is None:
        count = graph.over("row_sum", counted)
    else:
        count = graph.reduce("row_sum", counted[0], str(node.value))
    return graph.where(having[position], graph.div(factor, count), zero)


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
