"""Random formulas of the language, well typed, and points for them: ordinary, special (0, 1, ties) and extreme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Choose: TypeAlias = Callable[[Sequence[Any]], Any]  # such as random.Random(seed).choice

CLASSES = 3
ORDINARY = (0.3125, -1.75, 2.5, 0.1, -0.7, 3.140625, 5.5)
SPECIAL = (0.0, 1.0, -1.0, 0.5, 2.0)
EXTREME = (1e-300, -1e-300, 5e-324, 1e-20, 40.0, -40.0, 700.0, -750.0, 1e4, -1e4, 1e18, -1e18, 1e300, -1e300)
_NUMBERS = ("0", "1", "2", "1/3", "0.1", "3", "1e-7")
_FUNCTIONS = ("abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus", "sigmoid")
_REDUCTIONS = ("sum", "mean", "max", "min", "logsumexp", "norm")


def number(choose: Choose, depth: int) -> str:
    """The text of one number."""
    if depth == 0:
        return str(choose(("x", "x", "z", "y", "c", *_NUMBERS)))
    inner = depth - 1
    match choose(("leaf", "infix", "infix", "call", "call", "call", "power", "two", "where", "clip", "row", "row")):
        case "infix":
            return f"({number(choose, inner)} {choose('+-*/')} {number(choose, inner)})"
        case "call":
            return f"{choose(_FUNCTIONS)}({number(choose, inner)})"
        case "power":
            return f"({number(choose, inner)})**{choose(('2', '3', '0.5', '(-1)', 'c', 'y', '(1/3)'))}"
        case "two":
            return f"{choose(('max', 'min', 'xlogy'))}({number(choose, inner)}, {number(choose, inner)})"
        case "where":
            return f"where({truth(choose, inner)}, {number(choose, inner)}, {number(choose, inner)})"
        case "clip":
            return f"clip({number(choose, inner)}, -1, {choose(('1', 'c', 'y'))})"
        case "row":
            picked = choose((*_REDUCTIONS, "pick"))
            return f"({row(choose, inner)})[j]" if picked == "pick" else f"{picked}({row(choose, inner)})"
    return number(choose, 0)


def row(choose: Choose, depth: int) -> str:
    """The text of a row."""
    if depth == 0:
        return str(choose(("p", "p", "q", "onehot(j)")))
    inner = depth - 1
    match choose(("leaf", "infix", "mixed", "call", "call", "power", "softmax", "two", "where", "masked")):
        case "infix":
            return f"({row(choose, inner)} {choose('+-*/')} {row(choose, inner)})"
        case "mixed":
            return f"({number(choose, inner)} {choose('+-*/')} {row(choose, inner)})"
        case "call":
            return f"{choose(_FUNCTIONS)}({row(choose, inner)})"
        case "power":
            return f"({row(choose, inner)})**{choose(('2', '3', '0.5', '(-1)', 'c'))}"
        case "softmax":
            return f"{choose(('softmax', 'log_softmax'))}({row(choose, inner)})"
        case "two":
            return f"{choose(('max', 'min', 'xlogy'))}({row(choose, inner)}, {row(choose, inner)})"
        case "where":
            return f"where({truth(choose, inner)}, {row(choose, inner)}, {row(choose, inner)})"
        case "masked":
            mask = f"{row(choose, 0)} {choose(('<', '<=', '==', '!=', '>'))} {choose((row, number))(choose, inner)}"
            return f"where({mask}, {row(choose, inner)}, {choose((row, number))(choose, inner)})"
    return row(choose, 0)


def truth(choose: Choose, depth: int) -> str:
    """The text of a condition."""
    match choose(("compare", "compare", "compare", "label", "and", "or", "not")) if depth else "compare":
        case "label":
            return f"j {choose(('==', '!='))} {choose(('0', '1', '9'))}"
        case "and" | "or" as both:
            return f"({truth(choose, depth - 1)} {both} {truth(choose, depth - 1)})"
        case "not":
            return f"(not {truth(choose, depth - 1)})"
    return f"{number(choose, depth)} {choose(('<', '<=', '>', '>=', '==', '!='))} {number(choose, depth)}"


def point(choose: Choose, values: Sequence[float]) -> dict[str, Any]:
    """A number for every variable of `formulas.KINDS`."""
    at: dict[str, Any] = {name: choose(values) for name in ("x", "z", "y", "c")}
    rows = {name: [choose(values) for _ in range(CLASSES)] for name in ("p", "q")}
    return at | rows | {"j": choose((0, 1, 2, 9, -1))}
