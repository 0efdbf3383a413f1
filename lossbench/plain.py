"""A framework's call as its users would write it at one point: numbers put in, reductions spelt out."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from math import isfinite

import numpy as np

from lossbench.adapters import call, divisor
from lossbench.adapters.allowed import check
from lossbench.inputs import Problem

_REDUCED = {
    "torch": {"mean": "torch.mean", "sum": "torch.sum"},
    "tensorflow": {"mean": "tf.reduce_mean", "sum": "tf.reduce_sum"},
    "jax": {"mean": "jnp.mean", "sum": "jnp.sum"},
}
_FOLDED: Mapping[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def expression(problem: Problem, framework: str) -> str:
    """The call that serves *problem*, with its numbers put in, as plain code of *framework*.

    Raises:
        LossbenchError: There is no such call.
    """
    tree = check(call.chosen(problem, framework), call.names(problem.loss, framework))
    return ast.unparse(ast.fix_missing_locations(_Resolved(problem, framework).visit(tree)))


def with_dtype(text: str, dtype: str) -> str:
    """The expression *text* with the *dtype* put in where it is named."""
    tree = ast.parse(text, mode="eval")

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.Constant(dtype) if node.id == "dtype" else node

    return ast.unparse(ast.fix_missing_locations(Named().visit(tree)))


class _Resolved(ast.NodeTransformer):
    """Puts numbers and reductions in, and takes out what they make empty: weights of 1, sums with 0, no weights."""

    def __init__(self, problem: Problem, framework: str) -> None:
        self.problem = problem
        self.framework = framework
        ones = (
            name for name, value in problem.parameters.items() if isinstance(value, np.ndarray) and (value == 1).all()
        )
        self.ones = frozenset(ones)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        problem = self.problem
        if node.id == "reduction":
            return ast.Constant(problem.reduction)
        if node.id == "dtype":
            return ast.Constant(problem.dtype)
        if node.id == "sample_weight" and problem.sample_weight is None:
            return ast.Constant(None)
        value = problem.parameters.get(node.id)
        return node if value is None or isinstance(value, np.ndarray) else _number(value)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "reduce":
            return self._reduced(node.args[0])
        while node.args and _is(node.args[-1], None):
            node.args.pop()
        node.keywords = [one for one in node.keywords if not (one.arg or "").endswith("weight") or not self._empty(one)]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        folded = _folded(node.op, node.left, node.right)
        if folded is not None:
            return folded
        if isinstance(node.op, ast.Mult) and (self._are_ones(node.left) or _is(node.left, 1)):
            return node.right
        if isinstance(node.op, ast.Mult) and (self._are_ones(node.right) or _is(node.right, 1)):
            return node.left
        nothing = 0 if isinstance(node.op, ast.Add | ast.Sub) else True if isinstance(node.op, ast.BitAnd) else None
        return node.left if nothing is not None and _is(node.right, nothing) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        return (len(node.ops) == 1 and _folded(node.ops[0], node.left, node.comparators[0])) or node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def _empty(self, keyword: ast.keyword) -> bool:
        return _is(keyword.value, None) or self._are_ones(keyword.value)

    def _are_ones(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return name in self.ones
            case ast.Subscript(value=value) | ast.Call(func=ast.Attribute(attr="gather"), args=[value, *_]):
                return self._are_ones(value)
        return False

    def _reduced(self, values: ast.expr) -> ast.expr:
        """As `reduce` does it."""
        problem = self.problem
        weighted = problem.sample_weight is not None
        if weighted:
            values = ast.BinOp(values, ast.Mult(), ast.Name("sample_weight", ast.Load()))
        if problem.reduction == "none":
            return values
        divided = divisor.of(problem) if problem.reduction == "mean" else None
        by = problem.reduction if divided is None and not (weighted and problem.reduction == "mean") else "sum"
        function = ast.parse(_REDUCED[self.framework][by], mode="eval").body
        whole = ast.Call(function, [values], [])
        if by == problem.reduction:
            return whole
        return ast.BinOp(whole, ast.Div(), _number(problem.entries if divided is None else divided))


def _folded(op: ast.AST, left: ast.expr, right: ast.expr) -> ast.expr | None:
    """The number or truth that two numbers make."""
    one, other = _value(left), _value(right)
    if one is None or other is None or type(op) not in _FOLDED or (isinstance(op, ast.Div) and not other):
        return None
    return _number(_FOLDED[type(op)](one, other))


def _value(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return None


def _number(value: float) -> ast.expr:
    return ast.parse(literal(value), mode="eval").body


def literal(value: object) -> str:
    return repr(value) if not isinstance(value, float) or isfinite(value) else f"float('{value}')"


def _is(node: ast.expr, value: object) -> bool:
    """Whether *node* is this constant; the number 1 is not True."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, bool) == isinstance(value, bool)
        and node.value == value
    )
