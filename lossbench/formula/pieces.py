"""The parts of a written formula: LaTeX with how tightly it holds together, and the functions that join it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

CHOICE, SUM, NEGATIVE, PRODUCT, POWER, ATOM = range(6)  # how tightly a piece holds together

_GREEK = re.compile("alpha|beta|gamma|delta|epsilon|eta|theta|kappa|lambda|mu|nu|pi|rho|sigma|tau|phi|chi|psi|omega")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a formula in LaTeX.

    Attributes:
        level: How tightly it holds together.
        open: Whether a factor written behind it would be read as a part of it, as behind `\\log x`.
    """

    tex: str
    level: int = ATOM
    open: bool = False

    def within(self, level: int) -> str:
        """The text, in parentheses where it holds less tightly than *level*."""
        return self.tex if self.level >= level else parenthesised(self.tex)

    def last(self, level: int) -> str:
        """The same where nothing follows: a brace with its cases needs no parentheses there."""
        return self.tex if self.level == CHOICE else self.within(level)


def symbol_of(name: str) -> str:
    """LaTeX for the name of an intermediate: `p_t`, `z1`, `alpha`, `margin`, `best_other`, `log_p`."""
    if name.startswith("log_"):
        return rf"\log {symbol_of(name.removeprefix('log_'))}"
    if re.fullmatch(r"[a-z]{2,}(_[a-z]{2,})+", name):
        return rf"\text{{{name.replace('_', ' ')}}}"
    head, _, tail = name.partition("_")
    digits = re.fullmatch(r"([A-Za-z]+)(\d+)", head)
    if digits and not tail:
        head, tail = digits.groups()
    shown = head if len(head) == 1 else rf"\{head}" if _GREEK.fullmatch(head) else rf"\mathrm{{{head}}}"
    if not tail:
        return shown
    below = tail.replace("_", ",")
    upright = len(below) > 1 and not below.isdigit()
    return rf"{shown}_{{\mathrm{{{below}}}}}" if upright else f"{shown}_{{{below}}}"


def indexed(symbol: str, index: str) -> str:
    subscript = re.fullmatch(r"(.*)_(?:\{(.*)\}|(\w))", symbol)
    if subscript:
        return f"{subscript[1]}_{{{subscript[2] or subscript[3]},{index}}}"
    return f"{symbol}_{{{index}}}"


def parenthesised(tex: str) -> str:
    return rf"\left({tex}\right)"


def factor(piece: Piece) -> str:
    """The piece in front of another factor; Python reads -a*b as (-a)*b, and so do people."""
    return parenthesised(piece.tex) if piece.open else piece.within(NEGATIVE)


def plus(first: str, second: Piece) -> str:
    return f"{first} + {second.last(PRODUCT if second.tex.startswith('-') else SUM)}"


def applied(function: str, arg: Piece) -> Piece:
    bare = arg.level >= POWER or (arg.open and arg.tex.startswith((r"\log", r"\cosh", r"\sinh", r"\tanh")))
    if bare:
        return Piece(tex=f"{function} {arg.tex}", level=PRODUCT, open=True)
    return Piece(tex=f"{function}{parenthesised(arg.tex)}", level=PRODUCT)


def exponential(arg: Piece) -> Piece:
    if re.search(r"\\frac|\\sum|\\begin|\\max|\\min", arg.tex):
        return Piece(tex=rf"\exp{parenthesised(arg.tex)}", level=PRODUCT)
    return Piece(tex=f"e^{{{arg.tex}}}", level=POWER)


ELEMENTARY: Mapping[str, Callable[[Piece], Piece]] = {
    "abs": lambda x: Piece(tex=rf"\left|{x.tex}\right|"),
    "sqrt": lambda x: Piece(tex=rf"\sqrt{{{x.tex}}}"),
    "exp": exponential,
    "expm1": lambda x: Piece(tex=f"{exponential(x).tex} - 1", level=SUM),
    "log1p": lambda x: Piece(tex=rf"\log{parenthesised(plus('1', x))}", level=PRODUCT),
    "softplus": lambda x: Piece(tex=rf"\log\left(1 + {exponential(x).tex}\right)", level=PRODUCT),
    "sigmoid": lambda x: Piece(tex=rf"\sigma{parenthesised(x.tex)}", level=POWER),
}
