"""A formula as people write it: LaTeX, and MathML from the same text, in the order in which its author wrote it.

What has axes is written by its entries: inside a sum over the classes it carries the sum's index, and a label picks
one; a second copy of an axis has an index of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lossbench.formula.indices import Indices, Place, is_reduction, named, size_of
from lossbench.formula.mathml import mathml_of
from lossbench.formula.node import other_of
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
            place = letters.indices.place(letters.indices.axes_of(statement.value))
            found.append((_signature(loss, place), letters.piece(statement.value, place).tex))
    return found


def _signature(loss: Loss, place: Place) -> str:
    inputs = ", ".join(one.symbol for one in loss.inputs.values())
    parameters = ", ".join(one.symbol for one in loss.parameters.values())
    of = rf"\left({inputs}{'; ' + parameters if parameters else ''}\right)"
    return _indexed(r"\ell", place.values()) + of


class _Letters:
    """Writes expressions with one loss's symbols."""

    def __init__(self, loss: Loss) -> None:
        given = loss.inputs | loss.parameters
        self.text = loss.formula_text.definition.strip("\n")
        self.symbols: dict[str, str] = {name: one.symbol for name, one in given.items()}
        taken = {*self.symbols.values(), *re.findall(r"\b[a-z]\b", self.text)}
        self.indices = Indices({name: one.axes for name, one in loss.formula.variables.items()}, taken)

    def definition(self, name: str, value: ast.expr) -> tuple[str, str]:
        """The two sides of a line that names an intermediate."""
        self.indices.axes[name] = self.indices.axes_of(value)
        place = self.indices.place(self.indices.axes[name])
        right = self.piece(value, place).tex
        self.symbols[name] = symbol_of(name)
        return _indexed(self.symbols[name], place.values()), right

    def piece(self, node: ast.expr, place: Place) -> Piece:
        """The expression; what has axes in it carries the indices of *place*."""
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name(id="pi"):
                return Piece(tex=r"\pi")
            case ast.Name(id=name):
                symbol = self.symbols[name]
                tex = _indexed(symbol, [place[axis] for axis in self.indices.axes[name] if axis in place])
                if symbol.startswith(r"\log "):
                    return Piece(tex=tex, level=PRODUCT, open=True)
                return Piece(tex=tex, level=POWER if "^" in symbol else ATOM)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.piece(operand, place)
                return Piece(tex=f"-{inner.last(PRODUCT)}", level=min(inner.level, NEGATIVE), open=inner.open)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.piece(operand, place)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Piece(tex=r"\text{not }" + self.piece(operand, place).within(ATOM), level=CHOICE)
            case ast.BoolOp(op=op, values=values):
                word = r"\text{ and }" if isinstance(op, ast.And) else r"\text{ or }"
                parts = [self.piece(value, place) for value in values]
                nested = [isinstance(value, ast.BoolOp) for value in values]
                texts = [part.within(ATOM if deep else CHOICE) for part, deep in zip(parts, nested, strict=True)]
                return Piece(tex=word.join(texts), level=CHOICE)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                sides = self.piece(left, place).tex, self.piece(right, place).tex
                return Piece(tex=f"{sides[0]} {_COMPARISONS[type(op)]} {sides[1]}", level=CHOICE)
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(left, op, right, place)
            case ast.Subscript(value=row, slice=label):
                return self._picked([row, label], place)
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._call(name, args, place)
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

    def _arithmetic(self, left: ast.expr, op: ast.operator, right: ast.expr, place: Place) -> Piece:
        a, b = self.piece(left, place), self.piece(right, place)
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
        if all(any(axis not in place for axis in self.indices.axes_of(side)) for side in (left, right)):
            between = r" \odot "
        elif second[0].isdigit() or re.search(r"\d\\frac|\\mathrm\{|\\text\{", first + second):
            between = r" \cdot "
        else:
            between = " " if second.startswith(r"\left(") else r"\,"
        level = CHOICE if b.level == CHOICE else NEGATIVE if first[0] == "-" else PRODUCT
        return Piece(tex=first + between + second, level=level, open=b.open and second == b.tex)

    def _call(self, name: str, args: list[ast.expr], place: Place) -> Piece:
        if is_reduction(name, args):
            return self._reduced(name, args, place)
        match name:
            case "softmax" | "log_softmax" | "sparsemax":
                return self._normalised(name, args, place)
            case "onehot":
                label, axis = self.piece(args[0], place).tex, named(args[1]) if len(args) > 1 else "class"
                if axis in place:
                    return Piece(tex=f"[{place[axis]} = {label}]")
                return Piece(tex=rf"\operatorname{{onehot}}{parenthesised(label)}")
            case "index":
                return Piece(tex=place[named(args[0])])
            case "other":
                return self._other(args[0], named(args[1]), place)
            case "pick":
                return self._picked(args, place)
            case "where":
                return self._cases(args, place)
            case "ctc":
                listed = ", ".join(self.piece(arg, place).tex for arg in args)
                return Piece(tex=r"\operatorname{CTC}" + parenthesised(listed), level=POWER)
        pieces = [self.piece(arg, place) for arg in args]
        if name in ("max", "min", "clip"):
            word = rf"\{name}" if name != "clip" else r"\operatorname{clip}"
            return Piece(tex=word + parenthesised(", ".join(piece.tex for piece in pieces)), level=POWER)
        if name == "xlogy":
            first, log = factor(pieces[0]), applied(r"\log", pieces[1])
            return Piece(tex=rf"{first}\,{log.tex}", level=NEGATIVE if first[0] == "-" else PRODUCT, open=log.open)
        if name in _NAMED:
            return applied(_NAMED[name], pieces[0])
        return ELEMENTARY[name](pieces[0])

    def _normalised(self, name: str, args: list[ast.expr], place: Place) -> Piece:
        axis = self.indices.along(args)
        inside = {one: index for one, index in place.items() if one != axis}
        word = "sparsemax" if name == "sparsemax" else "softmax"
        tex = rf"\operatorname{{{word}}}" + parenthesised(self.piece(args[0], inside).tex)
        tex += f"_{{{place[axis]}}}" if axis in place else ""
        if name != "log_softmax":
            return Piece(tex=tex, level=POWER)
        return Piece(tex=rf"\log {tex}", level=PRODUCT, open=True)

    def _other(self, value: ast.expr, axis: str, place: Place) -> Piece:
        inside = {one: index for one, index in place.items() if one not in (axis, other_of(axis))}
        if other_of(axis) in place:
            inside[axis] = place[other_of(axis)]
        return self.piece(value, inside)

    def _picked(self, args: list[ast.expr], place: Place) -> Piece:
        row, label, *axis = args
        return self.piece(row, {**place, self.indices.along([row, *axis]): self.piece(label, place).tex})

    def _reduced(self, name: str, args: list[ast.expr], place: Place) -> Piece:
        axis = self.indices.along(args)
        size = size_of(axis)
        if name == "size":
            return Piece(tex=size)
        if name == "norm":
            inside = {one: index for one, index in place.items() if one != axis}
            return Piece(tex=rf"\left\lVert {self.piece(args[0], inside).tex} \right\rVert_{{2}}")
        inside = self.indices.place((axis,), place)
        index, entry = inside[axis], self.piece(args[0], inside)
        if name == "logsumexp":
            return Piece(tex=rf"\log \sum_{{{index}}} {exponential(entry).tex}", level=PRODUCT, open=True)
        operator = {"sum": r"\sum", "mean": rf"\frac{{1}}{{{size}}} \sum", "max": r"\max", "min": r"\min"}[name]
        level = CHOICE if entry.level == CHOICE else PRODUCT
        return Piece(tex=rf"{operator}_{{{index}}} {entry.last(PRODUCT)}", level=level, open=True)

    def _cases(self, args: list[ast.expr], place: Place) -> Piece:
        lines = []
        while True:
            condition, value, rest = args
            lines.append(rf"{self.piece(value, place).tex} & \text{{if }} {self.piece(condition, place).tex}")
            match rest:
                case ast.Call(func=ast.Name(id="where"), args=args):
                    continue
            lines.append(rf"{self.piece(rest, place).tex} & \text{{otherwise}}")
            return Piece(tex=r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}", level=CHOICE)


def _indexed(symbol: str, indices: Iterable[str]) -> str:
    joined = ",".join(indices)
    return indexed(symbol, joined) if joined else symbol
