"""What is asked for: a callable's name and arguments, read from text that is never run."""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec

from lossbench import audit, callables, toml
from lossbench.callables import Entry
from lossbench.errors import LossbenchError
from lossbench.messages import Public
from lossbench.text import Table

LEGACY = Path(__file__).parent.parent / "legacy.toml"
KERAS = "keras.losses."
MAKERS = ("Tensor", "array", "as_tensor", "asarray", "constant", "convert_to_tensor", "tensor")  # of arrays from lists
ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Legacy(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other names of a loss of Keras; `string` says whether `keras.losses.get` takes them."""

    names: list[str]
    of_class: str = msgspec.field(name="class")
    function: str
    string: bool


class _Names(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    names: list[Legacy]


@dataclass(frozen=True, kw_only=True)
class Given:
    """An argument that stands for data: the code of it, which is not run."""

    code: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A callable and its arguments; those that stand for data are `Given`."""

    text: str
    name: str
    positional: Sequence[object] = ()
    named: Mapping[str, object] | None = None
    note: str = ""

    @property
    def arguments(self) -> Mapping[str, object]:
        """Those with a name."""
        return self.named or {}


def read(text: str) -> Asked:
    """The name and arguments in *text*: `mse`, `nn.HuberLoss`, `keras.losses.Huber(delta=2.0)`, `F.mse_loss(x, y)`.

    Raises:
        LossbenchError: It is no name and no call of one.
    """
    expected = "expected a name or a call, such as keras.losses.Huber(delta=2.0)"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise LossbenchError(f"{text!r} is not readable; {expected}") from None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Call):
        node = node.func  # an instance that is called: what it is made with is what counts
    call = node if isinstance(node, ast.Call) else None
    named = call.func if call else node
    if isinstance(named, ast.Constant) and isinstance(named.value, str):
        return read(named.value)
    name = ast.unparse(named)
    if not all(part.isidentifier() for part in name.split(".")):
        raise LossbenchError(f"{text!r} is no name of a callable; {expected}")
    if call is None:
        return Asked(text=text, name=name)
    if any(isinstance(one, ast.Starred) for one in call.args) or any(one.arg is None for one in call.keywords):
        raise LossbenchError(f"{text!r} uses * or **; expected every argument by itself")
    return Asked(
        text=text,
        name=name,
        positional=tuple(_value(one) for one in call.args),
        named={one.arg or "": _value(one.value) for one in call.keywords},
    )


def _value(node: ast.expr) -> object:
    """A number, text, truth or list of numbers; anything else stands for data."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            values = [_value(part) for part in parts]
            return Given(code=ast.unparse(node)) if any(isinstance(one, Given) for one in values) else values
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _value(operand)
            return -inner if isinstance(inner, int | float) else Given(code=ast.unparse(node))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            one, other = _value(left), _value(right)
            if isinstance(one, int | float) and isinstance(other, int | float) and (other or not _divides(op)):
                return ARITHMETIC[type(op)](one, other)
        case ast.Call(func=ast.Attribute(attr=maker) | ast.Name(id=maker), args=[made, *_]) if maker in MAKERS:
            return _value(made)
    return Given(code=ast.unparse(node))


def _divides(op: ast.operator) -> bool:
    return isinstance(op, ast.Div)


@cache
def legacy() -> Mapping[str, Legacy]:
    """The other names of losses of Keras."""
    _, found = toml.read(LEGACY, _Names, LossbenchError)
    return {name: one for one in found.names for name in one.names}


def named(asked: Asked, entries: Mapping[str, list[Entry]]) -> Asked:
    """*asked* with the public name that its name means, and what has to be said of it.

    Raises:
        LossbenchError: It means none, or several; says which are close.
    """
    name = callables.canonical(asked.name)
    excluded = audit.exclusions().get(name)
    if excluded is not None:
        raise LossbenchError(f"{name} is no loss of its own: it is {excluded.reason}")
    if name in entries:
        return replace(asked, name=name)
    last = name.rpartition(".")[2]
    if last in legacy() and name in (last, KERAS + last):
        return _old(asked, last, whole=name != last)
    same = [one for one in entries if one.rpartition(".")[2] == name]
    if len(same) == 1:
        return replace(asked, name=same[0])
    if same:
        raise LossbenchError(f"{asked.name!r} is several callables; expected one of: {', '.join(sorted(same))}")
    known = {one.rpartition(".")[2]: one for one in entries}
    near = difflib.get_close_matches(name, entries, n=3, cutoff=0.75)
    near += [known[one] for one in difflib.get_close_matches(last, known, n=3) if known[one] not in near]
    hint = f"; did you mean: {', '.join(near)}" if near else ""
    raise LossbenchError(f"no loss is called {asked.name!r}{hint}; `lossbench coverage` shows all")


def _old(asked: Asked, name: str, *, whole: bool) -> Asked:
    """A string means what compile makes of it, a class that reduces; a function of tf.keras is that function."""
    one = legacy()[name]
    if whole:
        note = f"{asked.name} is an old name of {one.function}, which Keras 3 has in tf.keras.losses alone"
        return replace(asked, name=one.function, note=note)
    if asked.positional or asked.arguments:
        return replace(asked, name=one.function)
    taken = "as compile(loss=...) takes it" if one.string else "and current releases of Keras reject it"
    return replace(asked, name=one.of_class, note=f"{name!r} is a name of {one.of_class}, {taken}")


def bound(asked: Asked, public: Public | None) -> dict[str, object]:
    """Its arguments by their names, as *public* has them; without it, those that are given by name.

    Raises:
        LossbenchError: There are too many, an unknown one, or one twice.
    """
    if public is None:
        if asked.positional and not all(isinstance(one, Given) for one in asked.positional):
            raise LossbenchError(f"{asked.name} is not installed here; expected its arguments by their names")
        return dict(asked.arguments)
    there = [one.name for one in public.arguments]
    places = [one.name for one in public.arguments if not one.keyword_only]
    if len(asked.positional) > len(places):
        raise LossbenchError(f"{asked.name} takes {len(places)} arguments by place; {len(asked.positional)} were given")
    found = dict(zip(places, asked.positional, strict=False))
    for name, value in asked.arguments.items():
        if name not in there:
            near = difflib.get_close_matches(name, there, n=2)
            hint = f"; did you mean: {', '.join(near)}" if near else ""
            raise LossbenchError(f"{asked.name} has no argument {name!r}{hint}; it has: {', '.join(there) or 'none'}")
        if name in found:
            raise LossbenchError(f"{asked.name} gets its argument {name!r} twice; expected it once")
        found[name] = value
    return found
