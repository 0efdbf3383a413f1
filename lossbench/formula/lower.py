"""Graphs as they are written to graphs as they are computed: the same functions, in forms that keep their digits.

With m the largest entry of a row, at class k, and rest the sum of exp(x - m) over the other classes (or along
another axis),

    logsumexp(x)        is  m + log1p(rest)
    y - logsumexp(x)    is  (y - m) - log1p(rest)     nothing of the rest is lost beside a large m
    softmax(x)          is  exp(x - m)/(1 + rest)
    softmax(x) - 1      is  expm1(-log1p(rest)) at k

and a number subtracted from the whole row changes neither of the last two. The new graphs use these primitives
beside those of `graph`: `argmax` (a label), `at` (the mask of a label), `peak` (the largest entry that is not
nan), `exp_difference` (exp(a - b) without the rounding of a - b), `exp_below` (exp(a - b) for an a not above b),
`power_slope` (e*a**(e - 1), which is 0 for e = 0), `log_cosh`, `log_ratio` (log(a/b)) and `nan_of` (its second
argument, but nan where the first is nan).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from lossbench.formula.graph import COMPARISONS, LOGIC, Graph, Node, number_of, topological
from lossbench.formula.node import Axes, Type, union, without
from lossbench.formula.settle import settled


def lowered(roots: Iterable[Node], parameters: Container[str] = (), *, by_value: bool = False) -> list[Node]:
    """The graphs that compute *roots*, all of them in one new graph.

    Args:
        parameters: They are never nan.
        by_value: Whether the largest entry of a row is known by what it is, not by where: no index is kept in a loop.
    """
    roots = list(roots)
    lowering = _Lowering(parameters, by_value)
    new: dict[Node, Node] = {}
    for node in topological(*roots):
        new[node] = lowering.made(node, *(new[arg] for arg in node.args))
    return settled(lowering.graph, [new[root] for root in roots])


def certain(condition: Node) -> bool | None:
    """Whether a comparison of two numbers holds; None of anything else."""
    if condition.op not in ("lt", "le", "eq", "ne"):
        return None
    a, b = map(number_of, condition.args)
    if a is None or b is None:
        return None
    return {"lt": a < b, "le": a <= b, "eq": a == b, "ne": a != b}[condition.op]


@dataclass(frozen=True)
class _Softmax:
    """What logsumexp of *row* along *axis* is made of; *base* is the row without a number subtracted from all of it."""

    axis: str
    row: Node
    base: Node
    peak: Node
    largest: Node  # of base
    rest: Node
    tail: Node  # log1p(rest)
    powers: Node  # exp(base - largest), 1 at the peak


@dataclass
class _Lowering:
    parameters: Container[str]
    by_value: bool
    graph: Graph = field(default_factory=Graph)
    softmaxes: dict[Node, _Softmax] = field(default_factory=dict)  # by the node that is their logsumexp
    logs: dict[Node, _Softmax] = field(default_factory=dict)  # by the row that is the logarithm of softmax

    def made(self, node: Node, *args: Node) -> Node:
        folded = _folded(node, args)
        if folded is not None:
            return self.graph.number(folded)
        match node.op:
            case "sub":
                return self.sub(*args)
            case "mul":
                return self.mul(*args)
            case "div":
                return self.div(*args)
            case "where":
                return self.where(*args)
            case "log1p":
                return self.log1p(*args)
            case "exp" if args[0] in self.logs:
                return self.softmax(self.logs[args[0]])
            case "expm1" if args[0] in self.logs:
                return self.lack(self.logs[args[0]])
            case "exp" if args[0].op == "sub":
                return self.entrywise("exp_difference", *args[0].args)
            case "logsumexp" if node.value in args[0].axes:
                return self.logsumexp(args[0], str(node.value))
        return self.graph.rebuild(node, *args)

    def sub(self, a: Node, b: Node) -> Node:
        if b in self.softmaxes:
            softmax = self.softmaxes[b]
            difference = self.graph.sub(self.below(softmax, a), softmax.tail)
            if a is softmax.row:
                self.logs[difference] = softmax
            return difference
        if a in self.softmaxes:
            softmax = self.softmaxes[a]
            return self.graph.add(self.graph.neg(self.below(softmax, b)), softmax.tail)
        match a:
            case Node(op="add", args=(Node(op="abs") as size, Node(op="softplus", args=(Node(op="mul", args=below),)))):
                if number_of(below[0]) == -2 and below[1] is size and number_of(b) == _LOG_2:
                    return self.entrywise("log_cosh", *size.args)
        return self.graph.sub(a, b)

    def log1p(self, a: Node) -> Node:
        match a:
            case Node(op="exp", args=(x,)):
                return self.graph.unary("softplus", x)
            case Node(op="mul", args=(two, Node(op="pow", args=(Node(op="sinh", args=(half,)), square)))):
                if half.op == "div" and number_of(two) == number_of(half.args[1]) == number_of(square) == 2:
                    return self.entrywise("log_cosh", half.args[0])
        return self.graph.unary("log1p", a)

    def mul(self, a: Node, b: Node) -> Node:
        for exponent, power in ((a, b), (b, a)):
            if power.op == "pow" and power.args[1].op == "sub":
                larger, one = power.args[1].args
                if larger is exponent and number_of(one) == 1:
                    return self.entrywise("power_slope", power.args[0], exponent)
        return self.graph.mul(a, b)

    def div(self, a: Node, b: Node) -> Node:
        if b.op == "pow" and number_of(b.args[1]) == 2:  # the square may overflow where the quotient does not
            return self.graph.div(self.graph.div(a, b.args[0]), b.args[0])
        return self.graph.div(a, b)

    def where(self, condition: Node, yes: Node, no: Node) -> Node:
        """nan where a nan leaves the condition open: neither branch is right then."""
        holds = certain(condition)
        if holds is not None:
            return yes if holds else no
        ratio = _log_of_ratio(yes, no) if self.by_value else None
        if ratio is not None:
            return self.entrywise("log_ratio", *ratio)
        chosen = self.graph.where(condition, yes, no)
        if yes is no:
            return chosen
        doubtful = chosen
        for operand in self.compared(condition):
            doubtful = self.entrywise("nan_of", operand, doubtful)
        known = self.known(condition)
        return doubtful if known is None else self.graph.where(known, chosen, doubtful)

    def known(self, condition: Node) -> Node | None:
        """Whether a condition has a truth value although some operand may be nan, as in Kleene's logic.

        None where every comparison has the same operands that may be nan: then none of them may.
        """
        leaves = {frozenset(self.compared(leaf)) for leaf in _comparisons(condition)}
        return self._known(condition) if len(leaves) > 1 else None

    def _known(self, condition: Node) -> Node:
        graph = self.graph
        if condition.op == "not":
            return self._known(condition.args[0])
        if condition.op in LOGIC:
            a, b = condition.args
            known = [self._known(arg) for arg in (a, b)]
            # False and nan is false, true or nan is true.
            decisive = [a, b] if condition.op == "or" else [graph.logic("not", arg) for arg in (a, b)]
            sure = [graph.logic("and", *pair) for pair in zip(known, decisive, strict=True)]
            return graph.logic("or", graph.logic("and", *known), graph.logic("or", *sure))
        result: Node = graph.compare("eq", graph.number(0), graph.number(0))
        for index, operand in enumerate(self.compared(condition)):
            number = graph.compare("eq", operand, operand)  # not nan
            result = graph.logic("and", result, number) if index else number
        return result

    def compared(self, condition: Node) -> dict[Node, None]:
        """The numbers in a condition that may be nan."""
        if condition.op not in COMPARISONS:
            return {operand: None for arg in condition.args for operand in self.compared(arg)}
        inputs = (
            any(
                node.op == "variable" and node.type == "number" and node.value not in self.parameters
                for node in topological(arg)
            )
            for arg in condition.args
        )
        numbers = [arg for arg, may_be in zip(condition.args, inputs, strict=True) if may_be and arg.type == "number"]
        return dict.fromkeys(numbers)

    def logsumexp(self, row: Node, axis: str) -> Node:
        graph = self.graph
        shifted = row.op == "sub" and axis not in row.args[1].axes
        base = row.args[0] if shifted else row
        if self.by_value:
            peak = largest = self.node("peak", "number", without(base.axes, axis), axis, base)
        else:
            peak = self.node("argmax", "label", without(base.axes, axis), axis, base)
            largest = graph.pick(base, peak, axis)
        at_peak = self.at(base, peak, axis)
        zero, one = graph.number(0), graph.number(1)
        if self.by_value:
            powers = self.entrywise("exp_below", base, largest)
        else:
            powers = self.entrywise("exp_difference", self.or_zero(at_peak, base), self.or_zero(at_peak, largest))
        rest = graph.reduce("row_sum", graph.where(at_peak, zero, powers), axis)
        if self.by_value:
            others = graph.sub(graph.reduce("row_sum", graph.where(at_peak, one, zero), axis), one)
            power = self.entrywise("exp_difference", largest, largest)  # 1, but nan of an infinite one
            rest = graph.add(rest, graph.where(graph.compare("eq", others, zero), zero, graph.mul(others, power)))
        tail = graph.unary("log1p", rest)
        total = graph.add(graph.sub(largest, row.args[1]) if shifted else largest, tail)
        self.softmaxes[total] = _Softmax(axis, row, base, peak, largest, rest, tail, powers)
        return total

    def softmax(self, softmax: _Softmax) -> Node:
        one = self.graph.number(1)
        total = self.graph.add(one, softmax.rest)
        if self.by_value:  # one division for the row
            return self.graph.mul(softmax.powers, self.graph.div(one, total))
        return self.graph.div(softmax.powers, total)

    def lack(self, softmax: _Softmax) -> Node:
        """softmax - 1: only where it is largest can it be nearly 1, and the difference lose digits."""
        graph = self.graph
        at_peak = self.at(softmax.base, softmax.peak, softmax.axis)
        largest = graph.unary("expm1", graph.neg(softmax.tail))
        return graph.where(at_peak, largest, graph.sub(self.softmax(softmax), graph.number(1)))

    def below(self, softmax: _Softmax, a: Node) -> Node:
        """*a* less the largest entry of the softmax's row."""
        graph = self.graph
        if a is softmax.row:
            at_peak = self.at(softmax.base, softmax.peak, softmax.axis)
            return self.or_zero(at_peak, graph.sub(softmax.base, softmax.largest))
        if softmax.row is not softmax.base:
            return graph.sub(a, graph.sub(softmax.largest, softmax.row.args[1]))
        difference = graph.sub(a, softmax.largest)
        if a.op == "pick" and a.args[0] is softmax.row and a.value == softmax.axis:
            return self.or_zero(graph.compare("eq", a if self.by_value else a.args[1], softmax.peak), difference)
        return difference

    def or_zero(self, at_peak: Node, node: Node) -> Node:
        """By index: an infinite peak less itself would be nan, but the limit is 0."""
        return self.graph.where(at_peak, self.graph.number(0), node)

    def at(self, base: Node, peak: Node, axis: str) -> Node:
        """Whether an entry of *base* along *axis* is the one that *peak* names, or is."""
        if self.by_value:
            return self.graph.compare("eq", base, peak)
        return self.node("at", "truth", union(peak.axes, (axis,)), axis, peak)

    def entrywise(self, op: str, *args: Node) -> Node:
        return self.node(op, "number", union(*(arg.axes for arg in args)), None, *args)

    def node(self, op: str, of: Type, axes: Axes, value: str | None, *args: Node) -> Node:
        return self.graph.rebuild(Node(op, args, of, axes, value), *args)


def _log_of_ratio(near: Node, far: Node) -> tuple[Node, ...] | None:
    """The a and b of `-log1p((b - a)/a)` and `log(a) - log(b)`, which are log(a/b) whichever of them is chosen."""
    match near, far:
        case (
            Node(op="neg", args=(Node(op="log1p", args=(Node(op="div", args=(Node(op="sub", args=gap), below)),)),)),
            Node(op="sub", args=(Node(op="log", args=(a,)), Node(op="log", args=(b,)))),
        ) if below is a and gap[0] is b and gap[1] is a:
            return a, b
    return None


def _comparisons(condition: Node) -> list[Node]:
    if condition.op in COMPARISONS:
        return [condition]
    return [leaf for arg in condition.args for leaf in _comparisons(arg)]


_LOG_2 = Fraction(math.log(2))
_FOLDED: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


def _folded(node: Node, args: tuple[Node, ...]) -> Fraction | None:
    """The number that a function of a number is, to the nearest double or two; None where it is not finite."""
    if node.op not in _FOLDED or number_of(args[0]) is None:
        return None
    try:
        return Fraction(_FOLDED[node.op](float(number_of(args[0]) or 0)))
    except (ArithmeticError, ValueError):
        return None
