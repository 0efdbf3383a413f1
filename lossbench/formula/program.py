"""A formula at given parameters, ready for evaluation: its graphs, and straight-line Python over Arb balls.

The straight line is fast and refuses what is hard: it raises Undecided at ties, and gives a ball that is not finite
at poles, at infinities and outside of the domain. `point` then takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache, reduce
from typing import NoReturn

from flint import arb, ctx, fmpq

from lossbench.formula import functions
from lossbench.formula.derivative import directional, gradient
from lossbench.formula.extended import Undecided
from lossbench.formula.graph import Graph, Kind, Node, is_row, number_of, topological

Straight = Callable[..., tuple[arb | list[arb], ...]]


@dataclass(frozen=True, eq=False)
class Program:
    """A loss at given real parameters.

    Attributes:
        kinds: The variables that are left: inputs, rows and labels.
        differentiated: The inputs by which gradients are taken.
        definition, gradients: As in Formula, simplified again at the parameters.
    """

    graph: Graph
    kinds: Mapping[str, Kind]
    differentiated: tuple[str, ...]
    definition: Node
    gradients: Mapping[str, Node]

    @cached_property
    def active(self) -> frozenset[Node]:
        """The nodes that depend on a differentiated input."""
        found: set[Node] = set()
        for node in topological(self.definition, *self.gradients.values()):
            if node.value in self.differentiated or any(arg in found for arg in node.args):
                found.add(node)
        return frozenset(found)

    @cached_property
    def tangents(self) -> Mapping[Node, Node]:
        """The derivative of each node along a direction, of variables named "d.<input>"."""
        ways = {name: self.graph.variable(f"d.{name}", self.kinds[name]) for name in self.differentiated}
        return directional(self.graph, [self.definition, *self.gradients.values()], ways)

    def straight(self, precision: int, *, with_gradient: bool) -> Straight:
        """A function of the variables in the order of `kinds`, then of the number of classes.

        It gives the value, and after it each gradient, as balls of *precision* bits. It must be called at it.
        """
        return _straight(self, precision, with_gradient)


def program(
    definition: Node, kinds: Mapping[str, Kind], differentiated: Iterable[str], at: Mapping[str, Fraction]
) -> Program:
    """The program of a definition at exact parameters; the gradients are taken after these are put in."""
    return _program(definition, tuple(kinds.items()), tuple(differentiated), tuple(sorted(at.items())))


@lru_cache(maxsize=64)
def _program(
    definition: Node,
    kinds: tuple[tuple[str, Kind], ...],
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


@lru_cache(maxsize=128)
def _straight(of: Program, precision: int, with_gradient: bool) -> Straight:
    roots = [of.definition, *(of.gradients.values() if with_gradient else ())]
    names = {node: f"v{index}" for index, node in enumerate(topological(*roots))}
    scope: dict[str, object] = dict(_SCOPE)
    lines = [f"def straight({', '.join([*(f'x_{name}' for name in of.kinds), 'size'])}):"]
    kept, ctx.prec = ctx.prec, precision
    try:
        for node, name in names.items():
            if (number := number_of(node)) is not None:
                scope[name] = arb(fmpq(number.numerator, number.denominator))
                scope[f"{name}_exact"] = number
            else:
                lines.append(f"    {name} = {_expression(node, names, of.active)}")
    finally:
        ctx.prec = kept
    rows = [False, *(of.kinds[name] == "row" for name in of.gradients)]
    results = [
        f"[{names[root]}] * size" if row and not is_row(root) else names[root]
        for root, row in zip(roots, rows, strict=False)
    ]
    lines.append(f"    return {', '.join(results)},")
    exec("\n".join(lines), scope)  # generated from a checked graph alone; names are identifiers
    return scope["straight"]  # type: ignore[return-value]


def _expression(node: Node, names: Mapping[Node, str], active: frozenset[Node]) -> str:
    """The Python expression of one node over the names of its arguments."""
    op, args = node.op, [names[arg] for arg in node.args]
    match op:
        case "variable":
            return f"x_{node.value}"
        case "size":
            return "arb(size)"
        case "pick":
            return f"({args[0]}[{args[1]}] if 0 <= {args[1]} < size else ZERO)"
        case "onehot":
            return f"[ONE if j == {args[0]} else ZERO for j in range(size)]"
        case "eq" if node.args[1].op in ("row_max", "row_min") and node.args[1].args[0] is node.args[0]:
            return f"extreme({args[0]}, {args[1]})"
        case "eq" | "ne" if any(arg.kind == "label" for arg in node.args):
            sides = [f"{name}_exact" if arg.op == "number" else name for name, arg in zip(args, node.args, strict=True)]
            return f"({sides[0]} {'==' if op == 'eq' else '!='} {sides[1]})"
        case "sub" if node.args[1].op == "logsumexp" and node.args[1].args[0] is node.args[0]:
            return f"log_softmax({args[0]})"
    if op in _OF_ROWS:
        return _OF_ROWS[op].format(*args)
    template = _template(node, active)
    rows = [name for name, arg in zip(args, node.args, strict=True) if is_row(arg)]
    if not rows:
        return template.format(*args)
    if op == "where" and not is_row(node.args[0]):
        yes, no = (names[arg] if is_row(arg) else f"[{names[arg]}] * size" for arg in node.args[1:])
        return f"({yes} if {args[0]} else {no})"
    rows = list(dict.fromkeys(rows))
    entries = {row: f"e{index}" for index, row in enumerate(rows)}
    of = rows[0] if len(rows) == 1 else f"zip({', '.join(rows)})"
    return f"[{template.format(*(entries.get(name, name) for name in args))} for {', '.join(entries.values())} in {of}]"


def _template(node: Node, active: frozenset[Node]) -> str:
    if node.op == "pow":
        exponent = number_of(node.args[1])
        if exponent == 2:
            return "({0} * {0})"
        return f"({{0}} ** {exponent})" if exponent is not None and exponent.denominator == 1 else "({0} ** {1})"
    if node.op in _COMPARED:
        kinks = any(arg in active for arg in node.args)  # then equal sides are refused
        true, false = (_STRICTLY if kinks else _COMPARED)[node.op]
        return f"(True if {true} else False if {false} else tie())"
    return _ENTRYWISE[node.op]


# How a comparison of balls is certainly true, and certainly false; the operators of flint say nothing less.
_COMPARED = {
    "lt": ("{0} < {1}", "{0} >= {1}"),
    "le": ("{0} <= {1}", "{0} > {1}"),
    "eq": ("{0} == {1}", "{0} != {1}"),
    "ne": ("{0} != {1}", "{0} == {1}"),
}
_STRICTLY = {
    "lt": ("{0} < {1}", "{0} > {1}"),
    "le": ("{0} < {1}", "{0} > {1}"),
    "eq": ("False", "{0} != {1}"),
    "ne": ("{0} != {1}", "False"),
}
_OF_ROWS = {
    "row_sum": "sum({0}, ZERO)",
    "row_max": "reduce(arb.max, {0})",
    "row_min": "reduce(arb.min, {0})",
    "logsumexp": "logsumexp({0})",
    "norm": "sum([e * e for e in {0}], ZERO).sqrt()",
}
_ENTRYWISE = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "neg": "(-{0})",
    "max": "{0}.max({1})",
    "min": "{0}.min({1})",
    "xlogy": "xlogy({0}, {1})",
    "abs": "abs({0})",
    "sign": "sign({0})",
    **{name: f"{{0}}.{name}()" for name in ("exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh")},
    "softplus": "softplus({0})",
    "sigmoid": "sigmoid({0})",
    "where": "({1} if {0} else {2})",
    "and": "({0} and {1})",
    "or": "({0} or {1})",
    "not": "(not {0})",
}


def _tie() -> NoReturn:
    raise Undecided


def _sign(a: arb) -> arb:
    # Not a tie that is refused: it often stands in the branch that is not taken.
    return _ONE if a > 0 else -_ONE if a < 0 else _UNKNOWN


def _xlogy(a: arb, b: arb) -> arb:
    return _ZERO if a == 0 else a * b.log()


def _extreme(row: list[arb], best: arb) -> list[bool]:
    """Where the one entry stands that is certainly the extreme one."""
    found = [not entry != best for entry in row]  # noqa: SIM202  not `==`: that is certain equality
    return found if sum(found) == 1 else _tie()


_ZERO, _ONE, _UNKNOWN = arb(0), arb(1), arb("nan")
_SCOPE: dict[str, object] = {
    "arb": arb,
    "reduce": reduce,
    "ZERO": _ZERO,
    "ONE": _ONE,
    "tie": _tie,
    "sign": _sign,
    "xlogy": _xlogy,
    "extreme": _extreme,
    "logsumexp": functions.logsumexp_ball,
    "log_softmax": functions.log_softmax_ball,
    "softplus": functions.softplus_ball,
    "sigmoid": functions.sigmoid_ball,
}
