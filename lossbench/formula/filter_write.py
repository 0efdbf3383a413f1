"""The text of a filter: scheduled nodes as statements over numbers with a bound, each branch only where it is taken."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from lossbench.formula import filter_bounds, filter_functions
from lossbench.formula.exact import Evaluator
from lossbench.formula.graph import COMPARISONS, Node, number_of, topological
from lossbench.formula.rounding import double
from lossbench.formula.schedule import Group, Scope, schedule

CALLS = {name: name for name in ("add", "sub", "mul", "div", "neg", "xlogy", "sign", "exp", "expm1", "log", "log1p")}
CALLS |= {name: name for name in ("sqrt", "sinh", "cosh", "tanh", "softplus", "sigmoid")}
CALLS |= {"abs": "absolute", "max": "maximum", "min": "minimum", "pow": "power"}
_FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus", "sigmoid", "xlogy", "power")
_BOUNDS = (
    *("given", "finished", "add", "sub", "mul", "div", "neg", "maximum", "minimum", "absolute", "sign"),
    *("less", "lean", "lean_of_sum", "lean_of_absolute", "or_zero"),
)
LOGIC = {"and": "({} and {})", "or": "({} or {})", "not": "(not {})"}
TRUE = {"lt": "({} == 1)", "le": "({} >= 0)", "eq": "({} == 0)", "ne": "({} != 0)"}


_HEAD = '''"""Written by lossbench from the formula of a loss; an edit is lost. Upon {foundation}."""

from lossbench.formula.filter_bounds import {bounds}
from lossbench.formula.filter_functions import {functions}
import numba

infinite = float("inf")
'''
_FUNCTION = """
@numba.njit(error_model="numpy", nogil=True, cache=True)
def bounds(number, out, {arguments}):
    for i in range(number):
        sure = True
"""


@cache
def _foundation() -> str:
    """A digest of what generated functions call: Numba's cache does not see it change."""
    texts = [Path(str(module.__file__)).read_bytes() for module in (filter_bounds, filter_functions)]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


@dataclass
class Writer:
    """Writes the function of one filter."""

    inputs: tuple[str, ...]
    differentiated: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    constants: dict[str, str] = field(default_factory=dict)
    names: int = 0

    def source(self, roots: list[Node]) -> str:
        variables = {str(node.value): node for node in topological(*roots) if node.op == "variable"}
        self.active = _active(roots, self.differentiated)
        self.constant = _constant(roots)
        self.guards = _guards(roots)
        known: dict[Node, str] = {}
        for place, name in enumerate(self.inputs):
            if name in variables:
                self._line(2, f"x{place} = given(g{place}[i * s{place}])")
                known[variables[name]] = f"x{place}"
        self._compute(roots, 2, known, {})
        for index, root in enumerate(roots):
            name = self._name(root, known, {})
            if index == 0:  # where the loss is undefined its gradient is, whatever its formula says
                self._line(2, f"sure = sure and {name}[1] < infinite")
            self._line(2, f"out[0, {index}, i], out[1, {index}, i] = finished({name}, sure)")
        arguments = ", ".join(f"g{place}, s{place}" for place in range(len(self.inputs)))
        return "".join(
            [
                _HEAD.format(foundation=_foundation(), bounds=", ".join(_BOUNDS), functions=", ".join(_FUNCTIONS)),
                *(f"{name} = {text}\n" for text, name in self.constants.items()),
                _FUNCTION.format(arguments=arguments),
                *(f"{line}\n" for line in self.lines),
            ]
        )

    def _compute(
        self, targets: list[Node], depth: int, known: MutableMapping[Node, str], decided: Mapping[Node, bool]
    ) -> None:
        scope = Scope(_Known(known, self.constant), decided, False)
        for nodes, group in schedule(targets, scope):
            for node in nodes:
                self._single(node, depth, known, decided)
            if group:
                self._choice(group, depth, known, decided)

    def _single(self, node: Node, depth: int, known: MutableMapping[Node, str], decided: Mapping[Node, bool]) -> None:
        args = [self._name(arg, known, decided) for arg in node.args]
        if node.op in LOGIC:
            known[node] = LOGIC[node.op].format(*args)
            return
        self.names += 1
        name = f"t{self.names}"
        if node.op in COMPARISONS:
            leans = [self._lean(arg, known, decided) for arg in node.args]
            self._line(depth, f"{name} = less({', '.join([*args, *leans])})")
            if node not in self.guards:
                self._line(depth, f"sure = sure and {name} != 2")
            if any(arg in self.active for arg in node.args):
                self._line(depth, f"sure = sure and {name} != 0")
            known[node] = TRUE[node.op].format(name)
            return
        self._line(depth, f"{name} = {_expression(node, args)}")
        known[node] = name

    def _lean(self, node: Node, known: Mapping[Node, str], decided: Mapping[Node, bool]) -> str:
        """By how much exactly *node* differs from its float: a sum of inputs may be as good as tied."""
        args = [self._name(arg, known, decided) for arg in node.args if arg in known or arg in self.constant]
        if node in self.constant or len(args) < len(node.args):
            return f"lean({self._name(node, known, decided)})"
        match node.op:
            case "add":
                return f"lean_of_sum({args[0]}, {args[1]})"
            case "sub":
                return f"lean_of_sum({args[0]}, neg({args[1]}))"
            case "abs":
                return f"lean_of_absolute({args[0]}, {self._lean(node.args[0], known, decided)})"
        return f"lean({self._name(node, known, decided)})"

    def _choice(self, group: Group, depth: int, known: MutableMapping[Node, str], decided: Mapping[Node, bool]) -> None:
        condition = group.condition
        assert condition is not None
        names = [f"t{self.names + place}" for place in range(1, len(group.members) + 1)]
        self.names += len(names)
        for taken in (True, False):
            self._line(depth, f"if {self._name(condition, known, decided)}:" if taken else "else:")
            inside, choice = ChainMap({}, known), {**decided, condition: taken}
            scope = Scope(_Known(known, self.constant), choice, False)
            branches = [scope.resolved(node.args[1 if taken else 2]) for node in group.members]
            self._compute(branches, depth + 1, inside, choice)
            for name, branch in zip(names, branches, strict=True):
                found = self._name(branch, inside, choice)
                if condition in self.guards and not taken:
                    found = f"or_zero({found}, {known[condition].replace('== 0', '== 2')})"
                self._line(depth + 1, f"{name} = {found}")
        known.update(zip(group.members, names, strict=True))

    def _name(self, node: Node, known: Mapping[Node, str], decided: Mapping[Node, bool]) -> str:
        node = Scope(known, decided, False).resolved(node)
        if node in self.constant:
            return self.constants.setdefault(_bounded(node), f"c{len(self.constants)}")
        return known[node]

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


@dataclass(frozen=True)
class _Known:
    """The nodes that need no statement."""

    named: Mapping[Node, str]
    constant: frozenset[Node]

    def __contains__(self, node: object) -> bool:
        return node in self.named or node in self.constant


def _expression(node: Node, args: list[str]) -> str:
    n = number_of(node.args[1]) if node.op == "pow" else None
    base = args[0]
    match n:
        case Fraction(numerator=1, denominator=2):
            return f"sqrt({base})"
        case Fraction(numerator=2, denominator=1):
            return f"mul({base}, {base})"
        case Fraction(numerator=3, denominator=1):
            return f"mul(mul({base}, {base}), {base})"
    return f"{CALLS[node.op]}({', '.join(args)})"


def _active(roots: list[Node], differentiated: tuple[str, ...]) -> frozenset[Node]:
    """The nodes that depend on a differentiated input."""
    found: set[Node] = set()
    for node in topological(*roots):
        if (node.op == "variable" and node.value in differentiated) or any(arg in found for arg in node.args):
            found.add(node)
    return frozenset(found)


def _constant(roots: list[Node]) -> frozenset[Node]:
    """The numbers that no input moves."""
    found: set[Node] = set()
    for node in topological(*roots):
        if node.op != "variable" and node.type == "number" and all(arg in found for arg in node.args):
            found.add(node)
    return frozenset(found)


def _guards(roots: list[Node]) -> frozenset[Node]:
    """The conditions of nothing but where(x == 0, 0, ...): if that is open the result may be 0 as well, no more."""
    nodes = list(topological(*roots))
    kept = {node for node in nodes if node.op == "eq"}
    for node in nodes:
        guarded = node.op == "where" and number_of(node.args[1]) == 0
        kept -= {arg for place, arg in enumerate(node.args) if not (guarded and place == 0)}
    return frozenset(kept)


def _bounded(node: Node) -> str:
    """A constant as a pair; one that is not finite has an infinite bound."""
    high, low, radius, _ = double(Evaluator({}, 0, frozenset()).value(node))
    bound = (abs(low) + radius) * (1 + filter_bounds.SLACK)
    return f"({high!r}, {bound!r})" if np.isfinite(high + bound) else '(0.0, float("inf"))'
