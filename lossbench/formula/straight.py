"""Straight-line Python over Arb balls: fast, and it refuses what is hard.

It raises Undecided at ties, and gives a ball that is not finite at poles, at infinities and outside of the domain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, NoReturn

from flint import arb, ctx, fmpq

from lossbench.formula import functions, rows
from lossbench.formula.extended import Undecided
from lossbench.formula.graph import Node, is_row, number_of, topological

if TYPE_CHECKING:
    from lossbench.formula.program import Program

Straight = Callable[..., tuple[arb | list[arb], ...]]


@lru_cache(maxsize=128)
def straight_line(of: Program, precision: int, with_gradient: bool) -> Straight:
    roots = [of.definition, *(of.gradients.values() if with_gradient else ())]
    names = {node: f"v{index}" for index, node in enumerate(topological(*roots))}
    scope: dict[str, object] = dict(_SCOPE)
    given = {name: f"x{index}" for index, name in enumerate(of.kinds)}
    lines = [f"def straight({', '.join([*given.values(), 'size'])}):"]
    kept, ctx.prec = ctx.prec, precision
    try:
        for node, name in names.items():
            if (number := number_of(node)) is not None:
                scope[name] = arb(fmpq(number.numerator, number.denominator))
                scope[f"{name}_exact"] = number
            else:
                known = given.get(str(node.value)) if node.op == "variable" else None
                lines.append(f"    {name} = {known or _expression(node, names, of.active)}")
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
        case "pi":
            return "arb.pi()"
        case "size":
            return "arb(size)"
        case "pick":
            return f"({args[0]}[{args[1]}] if 0 <= {args[1]} < size else ZERO)"
        case "onehot":
            return f"[ONE if j == {args[0]} else ZERO for j in range(size)]"
        case "support":
            return _entry_by_entry(node, names, "(True if {0} > {1} else False if {0} < {1} else tie())")
        case "eq" if node.args[1].op in ("row_max", "row_min") and node.args[0] in node.args[1].args:
            return f"extreme({_row(node.args[1], names)}, {args[1]}){_place(*node.args)}"
        case "lt" | "le" | "eq" | "ne" | "add" | "sub" if any(arg.type == "label" for arg in node.args):
            sides = [_counted(arg, name) for arg, name in zip(node.args, args, strict=True)]
            return f"({sides[0]} {_OF_LABELS[op]} {sides[1]})"
        case "sub" if node.args[1].op == "logsumexp" and node.args[0] in node.args[1].args:
            return f"log_softmax({_row(node.args[1], names)}){_place(*node.args)}"
    if op in _OF_ROWS:
        return _OF_ROWS[op].format(_row(node, names))
    return _entry_by_entry(node, names, _template(node, active))


def _counted(node: Node, name: str) -> str:
    """A label, or a number beside one."""
    value = number_of(node)
    if value is not None and value.denominator == 1:
        return f"({value})"
    return name if value is None else f"{name}_exact"


def _row(reduction: Node, names: Mapping[Node, str]) -> str:
    """What a reduction is of: one row, or several numbers."""
    args = [names[arg] for arg in reduction.args]
    return f"[{', '.join(args)}]" if reduction.value is None else args[0]


def _place(arg: Node, reduction: Node) -> str:
    return f"[{reduction.args.index(arg)}]" if reduction.value is None else ""


def _entry_by_entry(node: Node, names: Mapping[Node, str], template: str) -> str:
    args = [names[arg] for arg in node.args]
    rows = [name for name, arg in zip(args, node.args, strict=True) if is_row(arg)]
    if not rows:
        return template.format(*args)
    if node.op == "where" and not is_row(node.args[0]):
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
_OF_LABELS = {"lt": "<", "le": "<=", "eq": "==", "ne": "!=", "add": "+", "sub": "-"}
_OF_ROWS = {
    "row_sum": "sum({0}, ZERO)",
    "row_max": "reduce(arb.max, {0})",
    "row_min": "reduce(arb.min, {0})",
    "logsumexp": "logsumexp({0})",
    "norm": "sum([e * e for e in {0}], ZERO).sqrt()",
    "threshold": "threshold({0})",
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
    "logsumexp": rows.logsumexp_ball,
    "threshold": rows.threshold_ball,
    "log_softmax": rows.log_softmax_ball,
    "softplus": functions.softplus_ball,
    "sigmoid": functions.sigmoid_ball,
}
