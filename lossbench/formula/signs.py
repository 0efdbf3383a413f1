"""Which numbers of a graph are never negative: sums of such lose nothing to cancellation."""

from __future__ import annotations

from collections.abc import Container

from lossbench.formula.graph import Node, number_of, topological

_ALWAYS = {
    "abs",
    "exp",
    "exp_below",
    "exp_difference",
    "log_cosh",
    "norm",
    "onehot",
    "sigmoid",
    "size",
    "softplus",
    "sqrt",
}
_CHOSEN = {"where": slice(1, 3), "select": slice(1, 3), "nan_of": slice(1, 2)}  # which arguments the result may be
_KEPT = {"add", "mul", "div", "min", "row_sum", "row_max", "row_min", "peak"}


def never_negative(node: Node, shares: Container[str]) -> bool:
    """Whether every number that *node* can be is at least 0, or nan.

    Args:
        shares: The variables from 0 to 1.
    """
    known: dict[Node, bool] = {}
    for one in topological(node):
        known[one] = _follows(one, known, shares)
    return known[node]


def _follows(node: Node, known: dict[Node, bool], shares: Container[str]) -> bool:
    """The same, where it is known of the arguments."""
    value, args = number_of(node), node.args
    if value is not None:
        return value >= 0
    match node.op:
        case "variable":
            return node.value in shares
        case "sub":
            whole = number_of(args[0])
            return whole is not None and whole >= 1 and args[1].op == "variable" and args[1].value in shares
        case "max":
            return any(known[arg] for arg in args)
        case "pow":
            exponent = number_of(args[1])
            return known[args[0]] or (exponent is not None and exponent % 2 == 0)
        case "mul" if args[0] is args[1]:
            return True
    if node.op in _KEPT or node.op in _CHOSEN:
        return all(known[arg] for arg in args[_CHOSEN.get(node.op, slice(None))])
    return node.op in _ALWAYS
