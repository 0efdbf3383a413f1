"""A formula as people write it: LaTeX, and MathML from the same text, in the order in which its author wrote it.

A row is written by its entries: inside a sum over the classes it carries the sum's index, and a label picks one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.formula.mathml import mathml_of

if TYPE_CHECKING:  # a loss holds its formula; only the name is needed here
    from lossbench.loss import Loss

_CHOICE, _SUM, _NEGATIVE, _PRODUCT, _POWER, _ATOM = range(6)  # how tightly a piece holds together

_GREEK = re.compile("alpha|beta|gamma|delta|epsilon|eta|theta|kappa|lambda|mu|nu|pi|rho|sigma|tau|phi|chi|psi|omega")
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: r"\le",
    ast.Gt: ">",
    ast.GtE: r"\ge",
    ast.Eq: "=",
    ast.NotEq: r"\ne",
}
_NAMED = {"log": r"\log", "cosh": r"\cosh", "sinh": r"\sinh", "tanh": r"\tanh", "sign": r"\operatorname{sign}"}
_OVER_CLASSES = ("sum", "mean", "logsumexp", "norm", "size")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a formula in LaTeX.

    Attributes:
        level: How tightly it holds together.
        open: Whether a factor written behind it would be read as a part of it, as behind `\\log x`.
    """

    tex: str
    level: int = _ATOM
    open: bool = False

    def within(self, level: int) -> str:
        """The text, in parentheses where it holds less tightly than *level*."""
        return self.tex if self.level >= level else _parenthesised(self.tex)

    def last(self, level: int) -> str:
        """The same where nothing follows: a brace with its cases needs no parentheses there."""
        return self.tex if self.level == _CHOICE else self.within(level)


def latex(loss: Loss) -> str:
    """The definition of *loss* as one LaTeX array, a line for each of its lines."""
    lines = [f"{left} &= {right}" for left, right in equations(loss)]
    return r"\begin{array}{rl} " + r" \\ ".join(lines) + r" \end{array}"


def mathml(loss: Loss) -> str:
    """The definition of *loss* as MathML, one `<math>` element for each of its lines."""
    return "".join(mathml_of(f"{left} = {right}", block=True) for left, right in equations(loss))


def equations(loss: Loss) -> list[tuple[str, str]]:
    """The left and right side, in LaTeX, of each line of the definition; the last one defines the loss."""
    letters = _Letters(loss)
    tree = ast.parse(loss.formula_text.definition.strip("\n"))
    found = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            name = statement.targets[0]
            assert isinstance(name, ast.Name)  # the parser has let nothing else pass
            found.append(letters.definition(name.id, statement.value))
        else:
            assert isinstance(statement, ast.Expr)
            found.append((_signature(loss), letters.piece(statement.value, None).tex))
    return found


def _signature(loss: Loss) -> str:
    inputs = ", ".join(one.symbol for one in loss.inputs.values())
    parameters = ", ".join(one.symbol for one in loss.parameters.values())
    return rf"\ell\left({inputs}{'; ' + parameters if parameters else ''}\right)"


class _Letters:
    """Writes expressions with one loss's symbols."""

    def __init__(self, loss: Loss) -> None:
        given = loss.inputs | loss.parameters
        self.text = loss.formula_text.definition.strip("\n")
        self.symbols: dict[str, str] = {name: one.symbol for name, one in given.items()}
        self.rows = {name for name, one in given.items() if one.kind == "row"}
        taken = {*self.symbols.values(), *re.findall(r"\b[a-z]\b", self.text)}
        self.indices = [letter for letter in "jikmnqs" if letter not in taken] or ["j"]
        self.depth = 0

    def definition(self, name: str, value: ast.expr) -> tuple[str, str]:
        """The two sides of a line that names an intermediate."""
        index = None
        if self.is_row(value):
            index = self.indices[0]
            self.rows.add(name)
            self.depth += 1
        right = self.piece(value, index).tex
        self.depth = 0
        self.symbols[name] = _symbol(name)
        return (self.symbols[name] if index is None else _indexed(self.symbols[name], index)), right

    def is_row(self, node: ast.AST) -> bool:
        """Whether the expression has one entry per class."""
        match node:
            case ast.Name(id=name):
                return name in self.rows
            case ast.Subscript():
                return False
            case ast.Call(func=ast.Name(id=name), args=args):
                if name in _OVER_CLASSES or (name in ("max", "min") and len(args) == 1):
                    return False
                return name in ("softmax", "log_softmax", "onehot") or any(map(self.is_row, args))
        return any(map(self.is_row, ast.iter_child_nodes(node)))

    def piece(self, node: ast.expr, index: str | None) -> Piece:
        """The expression; rows in it carry *index*, or are written whole where it is None."""
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name(id=name):
                symbol = self.symbols[name]
                tex = symbol if index is None or name not in self.rows else _indexed(symbol, index)
                if symbol.startswith(r"\log "):
                    return Piece(tex=tex, level=_PRODUCT, open=True)
                return Piece(tex=tex, level=_POWER if "^" in symbol else _ATOM)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.piece(operand, index)
                return Piece(tex=f"-{inner.last(_PRODUCT)}", level=min(inner.level, _NEGATIVE), open=inner.open)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.piece(operand, index)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Piece(tex=r"\text{not }" + self.piece(operand, index).within(_ATOM), level=_CHOICE)
            case ast.BoolOp(op=op, values=values):
                word = r"\text{ and }" if isinstance(op, ast.And) else r"\text{ or }"
                parts = [self.piece(value, index) for value in values]
                nested = [isinstance(value, ast.BoolOp) for value in values]
                texts = [part.within(_ATOM if deep else _CHOICE) for part, deep in zip(parts, nested, strict=True)]
                return Piece(tex=word.join(texts), level=_CHOICE)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                sides = self.piece(left, index).tex, self.piece(right, index).tex
                return Piece(tex=f"{sides[0]} {_COMPARISONS[type(op)]} {sides[1]}", level=_CHOICE)
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(left, op, right, index)
            case ast.Subscript(value=row, slice=label):
                return self.piece(row, self.piece(label, None).tex)
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._call(name, args, index)
        raise AssertionError(ast.dump(node))  # the parser has let nothing else pass

    def _number(self, node: ast.Constant) -> Piece:
        text = (ast.get_source_segment(self.text, node) or str(node.value)).replace("_", "").lower()
        mantissa, _, exponent = text.partition("e")
        if not exponent:
            return Piece(tex=mantissa)
        power = f"10^{{{int(exponent)}}}"
        if mantissa in ("1", "1.0", "1."):
            return Piece(tex=power, level=_POWER)
        return Piece(tex=rf"{mantissa} \cdot {power}", level=_PRODUCT)

    def _arithmetic(self, left: ast.expr, op: ast.operator, right: ast.expr, index: str | None) -> Piece:
        a, b = self.piece(left, index), self.piece(right, index)
        match op:
            case ast.Add():
                return Piece(tex=_plus(a.within(_SUM), b), level=min(b.level, _SUM))
            case ast.Sub():
                return Piece(tex=f"{a.within(_SUM)} - {b.last(_PRODUCT)}", level=min(b.level, _SUM))
            case ast.Div():
                return Piece(tex=rf"\frac{{{a.tex}}}{{{b.tex}}}", level=_PRODUCT)
            case ast.Pow():
                return Piece(tex=f"{a.within(_ATOM)}^{{{b.tex}}}", level=_POWER)
        first, second = _factor(a), b.last(_PRODUCT)
        if index is None and self.is_row(left) and self.is_row(right):
            between = r" \odot "
        elif second[0].isdigit() or re.search(r"\d\\frac|\\mathrm\{|\\text\{", first + second):
            between = r" \cdot "
        else:
            between = " " if second.startswith(r"\left(") else r"\,"
        level = _CHOICE if b.level == _CHOICE else _NEGATIVE if first[0] == "-" else _PRODUCT
        return Piece(tex=first + between + second, level=level, open=b.open and second == b.tex)

    def _call(self, name: str, args: list[ast.expr], index: str | None) -> Piece:
        if name in _OVER_CLASSES or (name in ("max", "min") and len(args) == 1):
            return self._over_classes(name, args[0])
        if name in ("softmax", "log_softmax"):
            tex = r"\operatorname{softmax}" + _parenthesised(self.piece(args[0], None).tex)
            tex += "" if index is None else f"_{{{index}}}"
            if name == "softmax":
                return Piece(tex=tex, level=_POWER)
            return Piece(tex=rf"\log {tex}", level=_PRODUCT, open=True)
        if name == "onehot":
            label = self.piece(args[0], None).tex
            whole = rf"\operatorname{{onehot}}{_parenthesised(label)}"
            return Piece(tex=whole if index is None else f"[{index} = {label}]")
        if name == "where":
            return self._cases(args, index)
        pieces = [self.piece(arg, index) for arg in args]
        if name in ("max", "min", "clip"):
            word = rf"\{name}" if name != "clip" else r"\operatorname{clip}"
            return Piece(tex=word + _parenthesised(", ".join(piece.tex for piece in pieces)), level=_POWER)
        if name == "xlogy":
            first, log = _factor(pieces[0]), _applied(r"\log", pieces[1])
            return Piece(tex=rf"{first}\,{log.tex}", level=_NEGATIVE if first[0] == "-" else _PRODUCT, open=log.open)
        if name in _NAMED:
            return _applied(_NAMED[name], pieces[0])
        return _ELEMENTARY[name](pieces[0])

    def _over_classes(self, name: str, arg: ast.expr) -> Piece:
        if name == "size":
            return Piece(tex="C")
        if name == "norm":
            return Piece(tex=rf"\left\lVert {self.piece(arg, None).tex} \right\rVert_{{2}}")
        index = self.indices[self.depth % len(self.indices)]
        self.depth += 1
        entry = self.piece(arg, index)
        self.depth -= 1
        if name == "logsumexp":
            return Piece(tex=rf"\log \sum_{{{index}}} {_exponential(entry).tex}", level=_PRODUCT, open=True)
        operator = {"sum": r"\sum", "mean": r"\frac{1}{C} \sum", "max": r"\max", "min": r"\min"}[name]
        level = _CHOICE if entry.level == _CHOICE else _PRODUCT
        return Piece(tex=rf"{operator}_{{{index}}} {entry.last(_PRODUCT)}", level=level, open=True)

    def _cases(self, args: list[ast.expr], index: str | None) -> Piece:
        lines = []
        while True:
            condition, value, rest = args
            lines.append(rf"{self.piece(value, index).tex} & \text{{if }} {self.piece(condition, index).tex}")
            match rest:
                case ast.Call(func=ast.Name(id="where"), args=args):
                    continue
            lines.append(rf"{self.piece(rest, index).tex} & \text{{otherwise}}")
            return Piece(tex=r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}", level=_CHOICE)


def _symbol(name: str) -> str:
    """LaTeX for the name of an intermediate: `p_t`, `z1`, `alpha`, `margin`, `best_other`, `log_p`."""
    if name.startswith("log_"):
        return rf"\log {_symbol(name.removeprefix('log_'))}"
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


def _indexed(symbol: str, index: str) -> str:
    subscript = re.fullmatch(r"(.*)_(?:\{(.*)\}|(\w))", symbol)
    if subscript:
        return f"{subscript[1]}_{{{subscript[2] or subscript[3]},{index}}}"
    return f"{symbol}_{{{index}}}"


def _parenthesised(tex: str) -> str:
    return rf"\left({tex}\right)"


def _factor(piece: Piece) -> str:
    """The piece in front of another factor; Python reads -a*b as (-a)*b, and so do people."""
    return _parenthesised(piece.tex) if piece.open else piece.within(_NEGATIVE)


def _plus(first: str, second: Piece) -> str:
    return f"{first} + {second.last(_PRODUCT if second.tex.startswith('-') else _SUM)}"


def _applied(function: str, arg: Piece) -> Piece:
    bare = arg.level >= _POWER or (arg.open and arg.tex.startswith((r"\log", r"\cosh", r"\sinh", r"\tanh")))
    if bare:
        return Piece(tex=f"{function} {arg.tex}", level=_PRODUCT, open=True)
    return Piece(tex=f"{function}{_parenthesised(arg.tex)}", level=_PRODUCT)


def _exponential(arg: Piece) -> Piece:
    if re.search(r"\\frac|\\sum|\\begin|\\max|\\min", arg.tex):
        return Piece(tex=rf"\exp{_parenthesised(arg.tex)}", level=_PRODUCT)
    return Piece(tex=f"e^{{{arg.tex}}}", level=_POWER)


_ELEMENTARY: Mapping[str, Callable[[Piece], Piece]] = {
    "abs": lambda x: Piece(tex=rf"\left|{x.tex}\right|"),
    "sqrt": lambda x: Piece(tex=rf"\sqrt{{{x.tex}}}"),
    "exp": _exponential,
    "expm1": lambda x: Piece(tex=f"{_exponential(x).tex} - 1", level=_SUM),
    "log1p": lambda x: Piece(tex=rf"\log{_parenthesised(_plus('1', x))}", level=_PRODUCT),
    "softplus": lambda x: Piece(tex=rf"\log\left(1 + {_exponential(x).tex}\right)", level=_PRODUCT),
    "sigmoid": lambda x: Piece(tex=rf"\sigma{_parenthesised(x.tex)}", level=_POWER),
}
