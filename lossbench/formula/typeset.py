"""A formula as people write it: LaTeX, and MathML from the same text, in the order in which its author wrote it.

A row is written by its entries: inside a sum over the classes it carries the sum's index, and a label picks one.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from lossbench.formula.mathml import mathml_of
from lossbench.formula.pieces import (
    ATOM,
    CHOICE,
    ELEMENTARY,
    NEGATIVE,
    POWER,
    PRODUCT,
    SUM,
    Piece,
    applied,
    exponential,
    factor,
    indexed,
    parenthesised,
    plus,
    symbol_of,
)

if TYPE_CHECKING:  # a loss holds its formula; only the name is needed here
    from lossbench.loss import Loss

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
        self.symbols[name] = symbol_of(name)
        return (self.symbols[name] if index is None else indexed(self.symbols[name], index)), right

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
                tex = symbol if index is None or name not in self.rows else indexed(symbol, index)
                if symbol.startswith(r"\log "):
                    return Piece(tex=tex, level=PRODUCT, open=True)
                return Piece(tex=tex, level=POWER if "^" in symbol else ATOM)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.piece(operand, index)
                return Piece(tex=f"-{inner.last(PRODUCT)}", level=min(inner.level, NEGATIVE), open=inner.open)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.piece(operand, index)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Piece(tex=r"\text{not }" + self.piece(operand, index).within(ATOM), level=CHOICE)
            case ast.BoolOp(op=op, values=values):
                word = r"\text{ and }" if isinstance(op, ast.And) else r"\text{ or }"
                parts = [self.piece(value, index) for value in values]
                nested = [isinstance(value, ast.BoolOp) for value in values]
                texts = [part.within(ATOM if deep else CHOICE) for part, deep in zip(parts, nested, strict=True)]
                return Piece(tex=word.join(texts), level=CHOICE)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                sides = self.piece(left, index).tex, self.piece(right, index).tex
                return Piece(tex=f"{sides[0]} {_COMPARISONS[type(op)]} {sides[1]}", level=CHOICE)
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
            return Piece(tex=power, level=POWER)
        return Piece(tex=rf"{mantissa} \cdot {power}", level=PRODUCT)

    def _arithmetic(self, left: ast.expr, op: ast.operator, right: ast.expr, index: str | None) -> Piece:
        a, b = self.piece(left, index), self.piece(right, index)
        match op:
            case ast.Add():
                return Piece(tex=plus(a.within(SUM), b), level=min(b.level, SUM))
            case ast.Sub():
                return Piece(tex=f"{a.within(SUM)} - {b.last(PRODUCT)}", level=min(b.level, SUM))
            case ast.Div():
                return Piece(tex=rf"\frac{{{a.tex}}}{{{b.tex}}}", level=PRODUCT)
            case ast.Pow():
                return Piece(tex=f"{a.within(ATOM)}^{{{b.tex}}}", level=POWER)
        first, second = factor(a), b.last(PRODUCT)
        if index is None and self.is_row(left) and self.is_row(right):
            between = r" \odot "
        elif second[0].isdigit() or re.search(r"\d\\frac|\\mathrm\{|\\text\{", first + second):
            between = r" \cdot "
        else:
            between = " " if second.startswith(r"\left(") else r"\,"
        level = CHOICE if b.level == CHOICE else NEGATIVE if first[0] == "-" else PRODUCT
        return Piece(tex=first + between + second, level=level, open=b.open and second == b.tex)

    def _call(self, name: str, args: list[ast.expr], index: str | None) -> Piece:
        if name in _OVER_CLASSES or (name in ("max", "min") and len(args) == 1):
            return self._over_classes(name, args[0])
        if name in ("softmax", "log_softmax"):
            tex = r"\operatorname{softmax}" + parenthesised(self.piece(args[0], None).tex)
            tex += "" if index is None else f"_{{{index}}}"
            if name == "softmax":
                return Piece(tex=tex, level=POWER)
            return Piece(tex=rf"\log {tex}", level=PRODUCT, open=True)
        if name == "onehot":
            label = self.piece(args[0], None).tex
            whole = rf"\operatorname{{onehot}}{parenthesised(label)}"
            return Piece(tex=whole if index is None else f"[{index} = {label}]")
        if name == "where":
            return self._cases(args, index)
        pieces = [self.piece(arg, index) for arg in args]
        if name in ("max", "min", "clip"):
            word = rf"\{name}" if name != "clip" else r"\operatorname{clip}"
            return Piece(tex=word + parenthesised(", ".join(piece.tex for piece in pieces)), level=POWER)
        if name == "xlogy":
            first, log = factor(pieces[0]), applied(r"\log", pieces[1])
            return Piece(tex=rf"{first}\,{log.tex}", level=NEGATIVE if first[0] == "-" else PRODUCT, open=log.open)
        if name in _NAMED:
            return applied(_NAMED[name], pieces[0])
        return ELEMENTARY[name](pieces[0])

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
            return Piece(tex=rf"\log \sum_{{{index}}} {exponential(entry).tex}", level=PRODUCT, open=True)
        operator = {"sum": r"\sum", "mean": r"\frac{1}{C} \sum", "max": r"\max", "min": r"\min"}[name]
        level = CHOICE if entry.level == CHOICE else PRODUCT
        return Piece(tex=rf"{operator}_{{{index}}} {entry.last(PRODUCT)}", level=level, open=True)

    def _cases(self, args: list[ast.expr], index: str | None) -> Piece:
        lines = []
        while True:
            condition, value, rest = args
            lines.append(rf"{self.piece(value, index).tex} & \text{{if }} {self.piece(condition, index).tex}")
            match rest:
                case ast.Call(func=ast.Name(id="where"), args=args):
                    continue
            lines.append(rf"{self.piece(rest, index).tex} & \text{{otherwise}}")
            return Piece(tex=r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}", level=CHOICE)
