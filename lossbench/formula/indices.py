"""Which axes an expression of the formula language has, and the letters that stand for their indices and lengths."""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from lossbench.formula.node import Axes, first_of, other_of, union, without

_REDUCED = ("sum", "mean", "logsumexp", "norm", "size")
_INDICES = {"batch": "ikmn", "other batch": "kimn", "feature": "dfg", "time": "tsr", "position": "uvw"}
_LETTERS = "jikmnqs"
_SIZES = {"class": "C", "batch": "N", "feature": "D", "time": "T", "position": "U"}

Place: TypeAlias = Mapping[str, str]  # the index along each axis; along others a value is written whole


@dataclass(frozen=True)
class Indices:
    """The axes of names, and the letters that already mean something."""

    axes: dict[str, Axes]
    taken: Container[str]

    def place(self, axes: Axes, around: Place | None = None) -> dict[str, str]:
        """An index along each of *axes*, beside those of *around*."""
        found = dict(around or {})
        for axis in axes:
            letters = [one for one in _INDICES.get(axis, "") + _LETTERS if one not in self.taken]
            found[axis] = next((one for one in letters if one not in found.values()), letters[0] if letters else "j")
        return found

    def axes_of(self, node: ast.AST) -> Axes:
        """The axes of an expression."""
        match node:
            case ast.Name(id=name):
                return self.axes.get(name, ())
            case ast.Subscript(value=row, slice=label):
                return union(self.axes_of(row)[1:], self.axes_of(label))
            case ast.Call(func=ast.Name(id="index"), args=[axis]):
                return (named(axis),)
            case ast.Call(func=ast.Name(id="other"), args=[value, axis]):
                return tuple(other_of(one) if one == named(axis) else one for one in self.axes_of(value))
            case ast.Call(func=ast.Name(id="onehot"), args=[label, *axis]):
                return union(self.axes_of(label), (named(axis[0]) if axis else "class",))
            case ast.Call(func=ast.Name(id="pick"), args=[row, label, *axis]):
                return union(without(self.axes_of(row), self.along([row, *axis])), self.axes_of(label))
            case ast.Call(func=ast.Name(id="ctc"), args=args):
                inner = ("time", "class", "position")
                return tuple(axis for axis in union(*map(self.axes_of, args)) if axis not in inner)
            case ast.Call(func=ast.Name(id="ctc_occupancy"), args=args):
                return without(union(*map(self.axes_of, args)), "position")
            case ast.Call(func=ast.Name(id=name), args=args) if is_reduction(name, args):
                return () if name == "size" else without(self.axes_of(args[0]), self.along(args))
        return union(*map(self.axes_of, ast.iter_child_nodes(node)))

    def along(self, args: list[ast.expr]) -> str:
        """The axis that the second argument names, or the first one's only axis."""
        return named(args[1]) if len(args) > 1 else self.axes_of(args[0])[0]


def is_reduction(name: str, args: list[ast.expr]) -> bool:
    """Whether a call takes an axis away; max and min of several values do not."""
    by_axis = len(args) == 1 or (
        len(args) == 2 and isinstance(args[1], ast.Constant) and isinstance(args[1].value, str)
    )
    return name in _REDUCED or (name in ("max", "min") and by_axis)


def named(axis: ast.expr) -> str:
    """The axis that an argument names."""
    assert isinstance(axis, ast.Constant)  # the parser has let nothing else pass
    return str(axis.value)


def size_of(axis: str) -> str:
    """The letter for the length of an axis."""
    return _SIZES.get(first_of(axis), first_of(axis)[0].upper())
