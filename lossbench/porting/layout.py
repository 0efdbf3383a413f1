"""Long expressions on several lines, as people write them."""

from __future__ import annotations

import ast

WIDTH = 88
STEP = 4


def folded(text: str, used: int = 0) -> str:
    """The expression *text* with its calls and operators on lines of their own, where they do not fit.

    Args:
        text: One expression.
        used: Columns of the first line that something else has.
    """
    return _folded(ast.parse(text, mode="eval").body, 0, used)


def _folded(node: ast.expr, indent: int, used: int, *, bare: bool = False) -> str:
    """*node*, its further lines from column *indent*; *bare* where brackets stand around it already."""
    flat = ast.unparse(node)
    if used + len(flat) <= WIDTH:
        return flat
    inner = indent + STEP
    match node:
        case ast.Call(func=func, args=args, keywords=keywords) if args or keywords:
            parts = [_folded(one, inner, inner + 1, bare=True) for one in args]
            parts += [f"{one.arg}={_folded(one.value, inner, inner + len(one.arg or '') + 2)}" for one in keywords]
            alone = len(parts) == 1 and not keywords
            return _block(ast.unparse(ast.Call(func, [], []))[:-1], parts, ")", indent, "" if alone else ",")
        case ast.BinOp():
            at = indent if bare else inner
            lines = [f"{sign}{_operand(one, place, at, sign)}" for sign, one, place in _chain(node)]
            return f"\n{' ' * at}".join(lines) if bare else _block("(", [f"\n{' ' * at}".join(lines)], ")", indent, "")
        case ast.UnaryOp(op=ast.USub(), operand=ast.Call() | ast.Name() as operand):
            return f"-{_folded(operand, indent, used + 1)}"
    return flat


def _chain(node: ast.BinOp) -> list[tuple[str, ast.expr, ast.BinOp]]:
    """The operands of operators that bind alike, from left to right: the sign before each, and where it stands."""
    found: list[tuple[str, ast.expr, ast.BinOp]] = []
    alike = next((ops for ops in _ALIKE if isinstance(node.op, ops)), ())
    place: ast.expr = node
    while isinstance(place, ast.BinOp) and (place is node or isinstance(place.op, alike)):
        found.append((f"{_sign(place.op)} ", place.right, place))
        last, place = place, place.left
    return [("", place, last), *reversed(found)]


def _sign(op: ast.operator) -> str:
    return ast.unparse(ast.BinOp(ast.Name("a"), op, ast.Name("b"))).split()[1]


def _operand(node: ast.expr, place: ast.BinOp, indent: int, sign: str) -> str:
    """One side of the operator *place*, in brackets where it needs them."""
    text = _folded(node, indent, indent + len(sign))
    if text.startswith("(\n"):
        return text
    return f"({text})" if f"({ast.unparse(node)})" in ast.unparse(place) and isinstance(node, _LOOSE) else text


_ALIKE = ((ast.Add, ast.Sub), (ast.Div, ast.Mult))
_LOOSE = (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.UnaryOp)


def _block(head: str, parts: list[str], tail: str, indent: int, comma: str) -> str:
    space = " " * (indent + STEP)
    return "\n".join([head, *(f"{space}{part}{comma}" for part in parts), f"{' ' * indent}{tail}"])
