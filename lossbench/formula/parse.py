"""Text to graph: the subset of Python expressions in which a loss is written, typed, and refused with a line.

    r = y_pred - y_true
    where(abs(r) <= delta, r**2/2, delta*(abs(r) - delta/2))

Each line may name the lines above it; the last one is the result. Numbers are exact decimals. Nothing is run.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Mapping
from fractions import Fraction

from lossbench.errors import SpecError
from lossbench.formula.graph import ELEMENTARY, Graph, Kind, Node, is_row

MAX_LENGTH = 20_000
MAX_DEPTH = 200
MAX_EXPONENT_DIGITS = 400
MAX_BITS = 10_000  # of a number: else squares of squares, line after line, fill the memory

_ENTRYWISE = {name: name for name in ELEMENTARY}
_REDUCTIONS = {
    "sum": "row_sum",
    "max": "row_max",
    "min": "row_min",
    "logsumexp": "logsumexp",
    "norm": "norm",
}
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
FUNCTIONS = sorted(
    {*_ENTRYWISE, *_REDUCTIONS, "mean", "softmax", "log_softmax", "size", "xlogy", "clip", "where", "onehot"}
)


def parse(text: str, names: Mapping[str, Kind], graph: Graph, *, where: str = "formula", line: int = 1) -> Node:
    """The graph of *text*.

    Args:
        text: One or more lines `name = expression`, then one expression.
        names: The inputs and parameters that may be used, and their kinds.
        graph: Takes the nodes.
        where: Names the file in errors.
        line: The line of *where* at which *text* begins.

    Raises:
        SpecError: The text is not in the language; says file, line and reason.
    """
    return _Parser(names, graph, where, line).result(text)


class _Parser:
    def __init__(self, names: Mapping[str, Kind], graph: Graph, where: str, line: int) -> None:
        self.graph = graph
        self.where = where
        self.line = line
        self.known: dict[str, Node] = {name: graph.variable(name, kind) for name, kind in names.items()}
        self.given = set(names)
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
        if name in self.known or name in FUNCTIONS:
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
                return self.graph.pick(self._row(row, depth), self._label(label, depth))
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
        a, b = self._numeric(left, depth), self._numeric(right, depth)
        if op == "div" and b.value == 0:
            raise self._error(node, "division by zero")
        if op == "pow":
            if is_row(b):
                raise self._error(node, "an exponent must be one number, not a row")
            if isinstance(b.value, Fraction) and abs(b.value) > 1000:
                raise self._error(node, f"the exponent {b.value} is beyond 1000")
            if a.value == 0 and isinstance(b.value, Fraction) and b.value < 0:
                raise self._error(node, "division by zero")
        make: Callable[[Node, Node], Node] = getattr(self.graph, op)
        result = make(a, b)
        if isinstance(result.value, Fraction) and max(map(int.bit_length, result.value.as_integer_ratio())) > MAX_BITS:
            raise self._error(node, f"a number has more than {MAX_BITS} bits")
        return result

    def _comparison(
        self, node: ast.expr, left: ast.expr, ops: list[ast.cmpop], comparators: list[ast.expr], depth: int
    ) -> Node:
        if len(ops) != 1 or type(ops[0]) not in _COMPARISONS:
            raise self._error(node, "expected one comparison by <, <=, >, >=, == or !=; join several with `and`")
        op, swapped = _COMPARISONS[type(ops[0])]
        a, b = self._expression(left, depth + 1), self._expression(comparators[0], depth + 1)
        kinds = {a.kind, b.kind}
        if kinds & {"bool", "mask"}:
            raise self._error(node, "truth values cannot be compared; use and, or, not")
        if "label" in kinds and not (op in ("eq", "ne") and ("row" not in kinds)):
            raise self._error(node, "a label can only be tested with == and != against a label or a number")
        return self.graph.compare(op, b, a) if swapped else self.graph.compare(op, a, b)

    def _call(self, node: ast.expr, name: str, args: list[ast.expr], depth: int) -> Node:
        graph, count = self.graph, len(args)
        if name in _ENTRYWISE and count == 1:
            return graph.unary(name, self._numeric(args[0], depth))
        if name in ("max", "min") and count >= 2:
            result = self._numeric(args[0], depth)
            for arg in args[1:]:
                result = graph.binary(name, result, self._numeric(arg, depth))
            return result
        if name in _REDUCTIONS and count == 1:
            return graph.reduce(_REDUCTIONS[name], self._row(args[0], depth))
        if name == "mean" and count == 1:
            return graph.div(graph.reduce("row_sum", self._row(args[0], depth)), graph.size())
        if name in ("softmax", "log_softmax") and count == 1:
            row = self._row(args[0], depth)
            log = graph.sub(row, graph.reduce("logsumexp", row))
            return graph.unary("exp", log) if name == "softmax" else log
        if name == "size" and count == 1:
            self._row(args[0], depth)
            return graph.size()
        if name == "xlogy" and count == 2:
            return graph.binary("xlogy", self._numeric(args[0], depth), self._numeric(args[1], depth))
        if name == "clip" and count == 3:
            value, low, high = (self._numeric(arg, depth) for arg in args)
            return graph.binary("min", graph.binary("max", value, low), high)
        if name == "where" and count == 3:
            return graph.where(
                self._truth(args[0], depth), self._numeric(args[1], depth), self._numeric(args[2], depth)
            )
        if name == "onehot" and count == 1:
            return graph.onehot(self._label(args[0], depth))
        if name in FUNCTIONS:
            raise self._error(node, f"{name} does not take {count} arguments")
        raise self._error(node, f"unknown function {name!r}; expected one of: {', '.join(FUNCTIONS)}")

    def _numeric(self, node: ast.expr, depth: int) -> Node:
        return self._of_kind(node, depth, ("real", "row"), "a number or a row")

    def _row(self, node: ast.expr, depth: int) -> Node:
        return self._of_kind(node, depth, ("row",), "a row")

    def _label(self, node: ast.expr, depth: int) -> Node:
        return self._of_kind(node, depth, ("label",), "a label")

    def _truth(self, node: ast.expr, depth: int) -> Node:
        return self._of_kind(node, depth, ("bool", "mask"), "a comparison")

    def _of_kind(self, node: ast.expr, depth: int, kinds: tuple[Kind, ...], expected: str) -> Node:
        result = self._expression(node, depth + 1)
        if result.kind not in kinds:
            raise self._error(node, f"`{ast.unparse(node)[:60]}` is a {result.kind}; expected {expected}")
        return result

    def _error(self, node: ast.AST | None, reason: str) -> SpecError:
        line = self.line + getattr(node, "lineno", 1) - 1
        return SpecError(f"{self.where}:{line}: {reason}")
