"""Evaluates a graph at one point, lazily and as exactly as can be: what decides ties, infinities and kinks.

Only what the result needs is evaluated: a branch that `where` does not take never contributes, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flint import arb, fmpq

from lossbench.formula import extended, functions, rows
from lossbench.formula.extended import NAN, ONE, ZERO, Number
from lossbench.formula.graph import Node, is_row, number_of
from lossbench.formula.ties import Ties, Truth, Value, entries

_REAL: dict[str, Callable[..., Number]] = {
    "add": extended.add,
    "sub": extended.sub,
    "mul": extended.mul,
    "div": extended.div,
    "neg": extended.neg,
    "pow": functions.power,
    "max": extended.maximum,
    "min": extended.minimum,
    "xlogy": functions.xlogy,
    "abs": extended.absolute,
    "exp": functions.exp,
    "expm1": functions.expm1,
    "log": functions.log,
    "log1p": functions.log1p,
    "sqrt": functions.sqrt,
    "sinh": functions.sinh,
    "cosh": functions.cosh,
    "tanh": functions.tanh,
    "softplus": functions.softplus,
    "sigmoid": functions.sigmoid,
}
_ROWS: dict[str, Callable[[Sequence[Number]], Number]] = {
    "row_sum": rows.sum_of,
    "row_max": rows.greatest,
    "row_min": rows.least,
    "logsumexp": rows.logsumexp,
    "norm": rows.norm,
    "threshold": rows.threshold,
}


@dataclass(frozen=True)
class Direction:
    """Where to go from a kink: along `first`, and where that decides nothing, along `second`."""

    tangents: Mapping[Node, Node]  # each moved node's derivative along a direction, of the variables "d.<input>"
    first: Mapping[str, Value]
    second: Mapping[str, Value]


@dataclass
class Evaluator:
    """The values of a graph's nodes at one point, at the precision of flint's context.

    Attributes:
        at: The value of every variable.
        classes: The length of rows.
        active: The nodes that depend on an input by which gradients are taken.
        direction: Decides ties of active nodes; without it equal is equal.
        ties: Those of active nodes that were met.
    """

    at: Mapping[str, Value]
    classes: int
    active: frozenset[Node]
    direction: Direction | None = None
    known: dict[Node, Value] = field(default_factory=dict)
    _moved: tuple[dict[Node, Value], ...] = field(default_factory=lambda: ({}, {}))

    def __post_init__(self) -> None:
        self.ties = Ties(self.active, self.classes, self._tangent if self.direction else None)

    @property
    def kinks(self) -> int:
        """How many ties of active nodes were met."""
        return self.ties.count

    def value(self, root: Node) -> Value:
        """The value of *root*.

        Raises:
            Undecided: More bits are needed to take a branch.
        """
        return self._value(root, self.known, self.at)

    def _value(self, root: Node, known: dict[Node, Value], at: Mapping[str, Value]) -> Value:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [] if node in known else [arg for arg in self._needed(node, known) if arg not in known]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if node not in known:
                known[node] = self._applied(node, known, at)
        return known[root]

    def _needed(self, node: Node, known: Mapping[Node, Value]) -> tuple[Node, ...]:
        if node.op != "where":
            return node.args
        condition, yes, no = node.args
        if condition not in known:
            return (condition,)
        taken = known[condition]
        if not isinstance(taken, list):
            return (condition, yes) if taken else (condition, no) if taken is False else (condition,)
        return (condition, *((yes,) if True in taken else ()), *((no,) if False in taken else ()))

    def _applied(self, node: Node, known: dict[Node, Value], at: Mapping[str, Value]) -> Value:
        op, args = node.op, node.args
        match op:
            case "number":
                value = number_of(node)
                assert value is not None
                return fmpq(value.numerator, value.denominator)
            case "pi":
                return arb.pi()
            case "variable":
                return at[str(node.value)]
            case "size":
                return fmpq(self.classes)
            case "where":
                return self._where(node, known)
            case "pick":
                label = int(known[args[1]])
                row = self._row(known[args[0]])
                return row[label] if 0 <= label < self.classes else ZERO
            case "onehot":
                return [ONE if j == known[args[0]] else ZERO for j in range(self.classes)]
            case "and" | "or" | "not":
                return self._entrywise(node, _LOGIC[op], known)
            case "lt" | "le" | "eq" | "ne" | "support" | "sign":
                return self._decided(node, known)
            case "sub" if number_of(args[0]) == 1 and args[1].op == "exp":  # the same, and its sign is certain
                return self._map(functions.minus_expm1, known[args[1].args[0]])
            case "sub" if args[1].op == "logsumexp" and args[0] in args[1].args:
                logs = rows.log_softmax(entries(args[1], known, self.classes), known[args[1]])
                return self._entry(args[1], args[0], logs)
            case "div" if args[1].op == "norm" and args[0] in args[1].args and known[args[1]] == 0:
                return self._entry(args[1], args[0], self.ties.normal(args[1]))
        if op in _ROWS:
            return _ROWS[op](entries(node, known, self.classes))
        return self._entrywise(node, _REAL[op], known)

    def _row(self, value: Value) -> list[Number]:
        return value if isinstance(value, list) else [value] * self.classes

    def _entry(self, reduction: Node, of: Node, row: list[Value]) -> Value:
        """That of *row* which belongs to the argument *of* of a reduction of several numbers; of a row all."""
        return row[reduction.args.index(of)] if reduction.value is None else row

    def _entrywise(self, node: Node, function: Callable[..., Value], known: Mapping[Node, Value]) -> Value:
        values = [known[arg] for arg in node.args]
        if not is_row(node):
            return function(*values)
        return list(map(function, *map(self._row, values)))

    def _map(self, function: Callable[[Number], Number], value: Value) -> Value:
        return list(map(function, value)) if isinstance(value, list) else function(value)

    def _where(self, node: Node, known: Mapping[Node, Value]) -> Value:
        condition, yes, no = (known.get(arg) for arg in node.args)
        if not isinstance(condition, list):
            chosen = yes if condition else no if condition is False else NAN
            return self._row(chosen) if is_row(node) else chosen
        branches = {True: self._row(yes), False: self._row(no), None: self._row(NAN)}
        return [branches[truth][j] for j, truth in enumerate(condition)]

    def _decided(self, node: Node, known: dict[Node, Value]) -> Value:
        """A comparison, or the sign of a number; ties are broken by the direction."""
        if node in self.known:  # asked while following a direction: the branches are those of the point itself
            return self.known[node]
        args = node.args
        if any(arg.type == "label" for arg in args):
            a, b = (fmpq(one) if isinstance(one, int) else one for one in (known[arg] for arg in args))
            return _RELATIONS[node.op](extended.compare(a, b))
        if node.op == "support":
            return self._entry(args[1], args[0], self.ties.supported(args[1], known))
        if node.op == "eq" and args[1].op in ("row_max", "row_min") and args[0] in args[1].args:
            return self._entry(args[1], args[0], self.ties.extreme(args[1], known))
        left, right = known[args[0]], known[args[1]] if len(args) == 2 else ZERO
        active = any(arg in self.active for arg in args)
        relation = _RELATIONS[node.op]
        if not is_row(node):
            return relation(self.ties.side(node, left, right, active, None))
        pairs = enumerate(zip(self._row(left), self._row(right), strict=True))
        return [relation(self.ties.side(node, a, b, active, j)) for j, (a, b) in pairs]

    def _tangent(self, node: Node, level: int) -> Value:
        """How fast *node* grows along the first or the second part of the direction."""
        assert self.direction
        ways = (self.direction.first, self.direction.second)[level]
        moved = self.direction.tangents.get(node)
        return ZERO if moved is None else self._value(moved, self._moved[level], {**self.at, **ways})


def _not(a: Truth) -> Truth:
    return None if a is None else not a


def _and(a: Truth, b: Truth) -> Truth:
    return False if a is False or b is False else None if a is None or b is None else True


def _or(a: Truth, b: Truth) -> Truth:
    return _not(_and(_not(a), _not(b)))


_LOGIC: dict[str, Callable[..., Truth]] = {"and": _and, "or": _or, "not": _not}
_RELATIONS: dict[str, Callable[[int | None], Value]] = {
    "lt": lambda side: None if side is None else side < 0,
    "le": lambda side: None if side is None else side <= 0,
    "eq": lambda side: None if side is None else side == 0,
    "ne": lambda side: None if side is None else side != 0,
    "sign": lambda side: NAN if side is None else fmpq(side),
}
