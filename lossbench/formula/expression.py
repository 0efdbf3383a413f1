"""One primitive as a Python expression, and the numbers of a kernel as constants of its dtype."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from lossbench.formula.graph import ELEMENTARY, Node, number_of

EXPENSIVE = {*ELEMENTARY} - {"abs", "sign", "sqrt"} | {"xlogy", "power_slope", "pow", "log_cosh"}
EXPENSIVE |= {"exp_below", "exp_difference", "log_ratio"}
PI = Fraction(math.pi)  # every dtype's nearest number to it is also that to pi
_INFIX = {"add": "+", "sub": "-", "mul": "*", "times": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_INFIX |= {"and": "and", "or": "or"}
_CALLS = {name: name for name in ELEMENTARY} | {"max": "maximum", "min": "minimum"}
_CALLS |= {name: name for name in ("xlogy", "power_slope", "exp_below", "exp_difference", "log_cosh", "log_ratio")}
_CALLS |= {name: name for name in ("common_log", "common_xlogy", "nan_of", "weighed")}


@dataclass(frozen=True)
class Constants:
    """Names of numbers, each rounded once to *dtype*: an untyped literal would make a float32 kernel compute in
    float64.

    Attributes:
        kind: What the text calls that dtype; "wide" where arrays are of a narrower one.
    """

    dtype: str
    kind: str = "real"
    names: dict[str, str] = field(default_factory=dict)

    @property
    def is_wide(self) -> bool:
        """Whether products of what arrays hold neither are rounded nor overflow."""
        return self.kind == "wide"

    def name(self, value: Fraction | int | str) -> str:
        """The name of *value*: an exact number, or inf, -inf or nan."""
        with np.errstate(over="ignore"):
            number = float(np.dtype(self.dtype).type(value if isinstance(value, str) else _nearest(Fraction(value))))
        text = repr(number) if np.isfinite(number) else f'"{number}"'
        return self.names.setdefault(text, f"{'w' if self.is_wide else 'c'}{len(self.names)}")

    def lines(self, used: str) -> str:
        """The statements that define those that the text *used* names."""
        words = set(re.findall(r"\w+", used))
        return "".join(f"{name} = {self.kind}({text})\n" for text, name in self.names.items() if name in words)


def expression(node: Node, args: Sequence[str], index: str | None, constants: Constants) -> str:
    """*node* over the names *args*, at the class *index*."""
    op = node.op
    if op in _INFIX:
        if any(arg.type == "label" for arg in node.args):
            args = [_label(arg, name) for arg, name in zip(node.args, args, strict=True)]
        return f"{args[0]} {_INFIX[op]} {args[1]}"
    match op:
        case "neg":
            return f"-{args[0]}"
        case "abs":
            return f"abs({args[0]})"
        case "not":
            return f"not {args[0]}"
        case "at":
            return f"{index} == {args[0]}"
        case "onehot":
            return f"{constants.name(1)} if {index} == {args[0]} else {constants.name(0)}"
        case "pow":
            return _power(number_of(node.args[1]), args[0], args[1], constants)
    return f"{_CALLS[op]}({', '.join(args)})"


def branchless(node: Node, args: Sequence[str], index: str | None, constants: Constants) -> str:
    """The same for a loop that is to become one of vectors."""
    match node.op:
        case "where" | "select":
            return f"select({', '.join(args)})"
        case "and" | "or":
            return f"{args[0]} {'&' if node.op == 'and' else '|'} {args[1]}"
        case "onehot":
            return f"select({index} == {args[0]}, {constants.name(1)}, {constants.name(0)})"
    return expression(node, args, index, constants)


def _power(n: Fraction | None, base: str, exponent: str, constants: Constants) -> str:
    """Small whole powers as products: pow would take many times as long."""
    if n == Fraction(1, 2):
        return f"sqrt({base})"
    if n in (2, 3):
        return " * ".join([base] * int(n))
    if n == 4:
        return f"({base} * {base}) * ({base} * {base})"
    if n == -1:
        return f"{constants.name(1)} / {base}"
    return f"power({base}, {exponent})"


def _label(node: Node, name: str) -> str:
    """A number beside a label is an index, and no float."""
    if node.op == "size":
        return f"int({name})"
    value = number_of(node)
    return str(value) if value is not None and value.denominator == 1 else name


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
