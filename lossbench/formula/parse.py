"""Text to graph: the subset of Python expressions in which a loss is written, typed, and refused with a line.

    r = y_pred - y_true
    where(abs(r) <= delta, r**2/2, delta*(abs(r) - delta/2))

Values along named axes are repeated along those that they lack; `sum(x, "batch")` takes an axis away and
`other(x, "batch")` stands along a second copy of it, so that `norm(x - other(x, "batch"), "feature")` is all distances.

Each line may name the lines above it; the last one is the result. Numbers are exact decimals, and `pi` is the real
number. Nothing is run.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Mapping
from fractions import Fraction

from lossbench.errors import SpecError
from lossbench.formula.calls import CONSTANTS, FUNCTIONS, Argument, Misuse, applied, picked
from lossbench.formula.graph import Graph, Kind, Node, Variable, number_of
from lossbench.formula.node import described, first_of, quoted, union

MAX_LENGTH = 20_000
MAX_DEPTH = 200
MAX_EXPONENT_DIGITS = 400
MAX_BITS = 10_000  # of a number: else squares of squares, line after line, fill the memory

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, bool]] = {  # (primitive, whether the sides are swapped)
    ast.Lt: ("lt", False),
    ast.LtE: ("le", False),
    ast.Gt: ("lt", True),
    ast.GtE: ("le", True),
    ast.Eq: ("eq", False),
    ast.NotEq: ("ne", False),
}


def parse(
    text: str, names: Mapping[str, Kind | Variable], graph: Graph, *, where: str = "formula", line: int = 1
) -> Node:
    """The graph of *text*.

    Args:
        text: One or more lines `name = expression`, then one expression.
        names: The inputs and parameters that may be used, and their kinds: "real", "row" (a number along "class") or
            "label", or with other axes `Variable("number", ("batch", "feature"))`.
        graph: Takes the nodes.
        where: Names the file in errors.
        line: The line of *where* at which *text* begins.

    Raises:
        SpecError: The text is not in the language; says file, line and reason.
    """
    return _Parser(names, graph, where, line).result(text)


class _Parser:
    def __init__(self, names: Mapping[str, Kind | Variable], graph: Graph, where: str, line: int) -> None:
        self.graph = graph
        self.where = where
        self.line = line
        self.known: dict[str, Node] = {name: graph.variable(name, kind) for name, kind in names.items()}
        self.axes = union(*(node.axes for node in self.known.values()))
        self.numbers: dict[tuple[int, int], str] = {}

    def result(self, text: str) -> Node:
        body = self._statements(text)
        for statement in body[:-1]:
            self._assign(statement)
        last = body[-1]
        if not isinstance(last, ast.Expr):
            raise self._error(last, "the last line must be an expression, the value of the loss")
        return self._expression(last.value, 0)

    def _statements(self, text: str) -> list[ast.stmt]:
        if len(text) > MAX_LENGTH:
            raise self._error(None, f"the formula has {len(text)} characters; expected at most {MAX_LENGTH}")
        text = text.strip("\n")
        try:
            tree = ast.parse(text, mode="exec")
            # Python reads 0.1 as a float; the text keeps the decimal.
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.NUMBER:
                    self.numbers[token.start] = token.string
        except SyntaxError as error:
            raise SpecError(
                f"{self.where}:{self.line + (error.lineno or 1) - 1}: {error.msg}; expected a Python expression"
            ) from None
        except (ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
            raise self._error(None, f"not readable ({error or type(error).__name__})") from None
        if not tree.body:
            raise self._error(None, "the formula is empty; expected an expression")
        return tree.body

    def _assign(self, statement: ast.stmt) -> None:
        if not (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            raise self._error(statement, "expected `name = expression`")
        name = statement.targets[0].id
        if name in self.known or name in FUNCTIONS or name in CONSTANTS:
            raise self._error(statement, f"{name!r} has a meaning already; choose another name")
        self.known[name] = self._expression(statement.value, 0)

    def _expression(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH}")
        match node:
            case ast.Constant(value=bool()):
                raise self._error(node, "True and False are no numbers; write a comparison")
            case ast.Constant(value=int() | float()):
                return self._number(node)
            case ast.Name(id="pi") if "pi" not in self.known:
                return self.graph.pi()
            case ast.Name(id=name):
                if name not in self.known:
                    options = f"one of: {', '.join(sorted(self.known))}" if self.known else "a number"
                    raise self._error(node, f"unknown name {name!r}; expected {options}")
                return self.known[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.graph.neg(self._numeric(operand, depth))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._numeric(operand, depth)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.graph.logic("not", self._truth(operand, depth))
            case ast.BoolOp(op=op, values=values):
                name = "and" if isinstance(op, ast.And) else "or"
                result = self._truth(values[0], depth)
                for value in values[1:]:
                    result = self.graph.logic(name, result, self._truth(value, depth))
                return result
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._arithmetic(node, _OPERATORS[type(op)], left, right, depth)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(node, left, ops, comparators, depth)
            case ast.Subscript(value=row, slice=label):
                args = [self._argument(arg, depth) for arg in (row, label)]
                return self._checked(node, lambda: picked(self.graph, *args))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(node, name, args, depth)
        raise self._error(node, f"`{ast.unparse(node)[:60]}` is not in the formula language")

    def _number(self, node: ast.Constant) -> Node:
        text = self.numbers.get((node.lineno, node.col_offset), "")
        exponent = text.lower().partition("e")[2]
        if "x" not in text.lower() and abs(int(exponent or 0)) > MAX_EXPONENT_DIGITS:
            raise self._error(node, f"{text} has an exponent beyond {MAX_EXPONENT_DIGITS}")
        try:
            return self.graph.number(Fraction(text))
        except ValueError:
            raise self._error(node, f"{text!r} is not a decimal number") from None

    def _arithmetic(self, node: ast.expr, op: str, left: ast.expr, right: ast.expr, depth: int) -> Node:
        a, b = self._expression(left, depth + 1), self._expression(right, depth + 1)
        if "label" in (a.type, b.type):
            return self._counted(node, op, a, b)
        for side, written in ((a, left), (b, right)):
            self._checked(written, Argument(side, written).number)
        if op == "div" and b.value == 0:
            raise self._error(node, "division by zero")
        if op == "pow":
            if b.axes:
                raise self._error(node, f"an exponent must be one number, not {described(b)}")
            if isinstance(b.value, Fraction) and abs(b.value) > 1000:
                raise self._error(node, f"the exponent {b.value} is beyond 1000")
            if a.value == 0 and isinstance(b.value, Fraction) and b.value < 0:
                raise self._error(node, "division by zero")
        make: Callable[[Node, Node], Node] = getattr(self.graph, op)
        result = make(a, b)
        if isinstance(result.value, Fraction) and max(map(int.bit_length, result.value.as_integer_ratio())) > MAX_BITS:
            raise self._error(node, f"a number has more than {MAX_BITS} bits")
        return result

    def _counted(self, node: ast.expr, op: str, a: Node, b: Node) -> Node:
        """Labels, one less or more than the other."""
        sides = [one.type == "label" or _is_whole(one) for one in (a, b)]
        if op not in ("add", "sub") or not all(sides):
            raise self._error(node, "a label takes only + and - with another label or a whole number")
        return self.graph.add(a, b) if op == "add" else self.graph.sub(a, b)

    def _comparison(
        self, node: ast.expr, left: ast.expr, ops: list[ast.cmpop], comparators: list[ast.expr], depth: int
    ) -> Node:
        if len(ops) != 1 or type(ops[0]) not in _COMPARISONS:
            raise self._error(node, "expected one comparison by <, <=, >, >=, == or !=; join several with `and`")
        op, swapped = _COMPARISONS[type(ops[0])]
        a, b = self._expression(left, depth + 1), self._expression(comparators[0], depth + 1)
        types = (a.type, b.type)
        if "truth" in types:
            raise self._error(node, "truth values cannot be compared; use and, or, not")
        if "label" in types and any(one.type == "number" and one.axes for one in (a, b)):
            raise self._error(node, "a label can only be compared with a label or one number")
        return self.graph.compare(op, b, a) if swapped else self.graph.compare(op, a, b)

    def _call(self, node: ast.expr, name: str, args: list[ast.expr], depth: int) -> Node:
        if name not in FUNCTIONS:
            raise self._error(node, f"unknown function {name!r}; expected one of: {', '.join(FUNCTIONS)}")
        given = [self._argument(arg, depth) for arg in args]
        return self._checked(node, lambda: applied(self.graph, name, given))

    def _argument(self, node: ast.expr, depth: int) -> Argument:
        match node:
            case ast.Constant(value=str(axis)):
                if first_of(axis) not in self.axes:
                    known = f"expected {quoted(self.axes, 'or')}" if self.axes else "no input here has an axis"
                    raise self._error(node, f'unknown axis "{axis}"; {known}')
                return Argument(axis, node)
        return Argument(self._expression(node, depth + 1), node)

    def _numeric(self, node: ast.expr, depth: int) -> Node:
        given = Argument(self._expression(node, depth + 1), node)
        return self._checked(node, given.number)

    def _truth(self, node: ast.expr, depth: int) -> Node:
        given = Argument(self._expression(node, depth + 1), node)
        return self._checked(node, given.truth)

    def _checked(self, node: ast.expr, made: Callable[[], Node]) -> Node:
        try:
            return made()
        except Misuse as error:
            raise self._error(node, str(error)) from None

    def _error(self, node: ast.AST | None, reason: str) -> SpecError:
        line = self.line + getattr(node, "lineno", 1) - 1
        return SpecError(f"{self.where}:{line}: {reason}")


def _is_whole(node: Node) -> bool:
    value = number_of(node)
    return node.op == "size" or (value is not None and value.denominator == 1)
