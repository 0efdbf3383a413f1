"""Ties: who wins them along a direction, and which were met.

A way says for each entry of a row how fast it grows; a first one decides, and where that is a tie too, a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from flint import fmpq

from lossbench.formula import rows
from lossbench.formula.extended import (
    NAN,
    ONE,
    ZERO,
    Number,
    add,
    compare,
    div,
    is_infinite,
    is_nan,
    maximum,
    mul,
)
from lossbench.formula.graph import Node, topological

Truth: TypeAlias = bool | None  # None: undefined
Value: TypeAlias = Any  # Number | int (a label) | Truth | list[Number] | list[Truth]
Ways: TypeAlias = Iterable[Callable[[], Sequence[Number]]]


@dataclass
class Ties:
    """Decides those at one point.

    Attributes:
        active: The nodes whose ties are kinks.
        classes: The length of rows.
        tangent: How fast a node grows along the first or second part of the direction; None where there is none.
        count: How many ties of active nodes were met.
        entries: The entries of rows at which they were.
        moving: The differentiated inputs without axes that move their sides; found without a direction only.
    """

    active: frozenset[Node]
    classes: int
    tangent: Callable[[Node, int], Value] | None
    count: int = 0
    entries: set[int] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)

    def side(self, node: Node, left: Value, right: Value, active: bool, entry: int | None) -> int | None:
        """The sign of left - right, which are the arguments of *node*, or this entry of theirs."""
        side = compare(left, right)
        if side == 0 and active:
            self._met(node.args, () if entry is None else (entry,))
            if self.tangent:
                for level in (0, 1):
                    ways = [self.tangent(arg, level) for arg in node.args]
                    at = [way[entry or 0] if isinstance(way, list) else way for way in ways] + [ZERO]
                    side = compare(*at[:2])
                    if side != 0:
                        break
        return side

    def extreme(self, reduction: Node, known: Mapping[Node, Value]) -> list[Truth]:
        """Which entries are the greatest (least) of their row, along the direction."""
        sign = fmpq(1 if reduction.op == "row_max" else -1)
        tied = largest([mul(sign, entry) for entry in entries(reduction, known, self.classes)])
        if tied.count(True) > 1 and self._is_kink(reduction, [j for j, one in enumerate(tied) if one]):
            tied = furthest(tied, self._ways(reduction, sign))
        return tied

    def supported(self, reduction: Node, known: Mapping[Node, Value]) -> list[Truth]:
        """Which entries are above the threshold of their row, along the direction."""
        sides = [compare(entry, known[reduction]) for entry in entries(reduction, known, self.classes)]
        open_ = [j for j, side in enumerate(sides) if side == 0]
        moving = bool(open_) and self._is_kink(reduction, open_)
        return in_support(sides, self._ways(reduction) if moving else ())

    def _is_kink(self, reduction: Node, tied: Sequence[int]) -> bool:
        """Note that some entries are tied; whether it matters."""
        active = any(arg in self.active for arg in reduction.args)
        if active:
            self._met(reduction.args, tied)
        return active

    def _met(self, sides: Iterable[Node], tied: Iterable[int]) -> None:
        self.count += 1
        self.entries.update(tied)
        if self.tangent is None:
            found = (one for one in topological(*sides) if one.op == "variable" and one in self.active)
            self.moving.update(str(one.value) for one in found if not one.axes)

    def _ways(self, reduction: Node, sign: Number = ONE) -> list[Callable[[], list[Number]]]:
        """How fast the entries of a row grow, along the first and the second part of the direction."""

        def way(level: int) -> list[Number]:
            assert self.tangent
            moved = {arg: self.tangent(arg, level) for arg in reduction.args}
            return [mul(sign, speed) for speed in entries(reduction, moved, self.classes)]

        return [partial(way, level) for level in (0, 1)] if self.tangent else []

    def normal(self, norm: Node) -> list[Number]:
        """The row over its norm where both are zero: the way in which it leaves zero."""
        self._is_kink(norm, ())
        ways = self._ways(norm)
        size = len(norm.args) if norm.value is None else self.classes
        for way in ways:
            speeds = way()
            length = rows.norm(speeds)
            if length != 0:
                return [div(entry, length) for entry in speeds]
            if type(length) is not fmpq:  # a ball that contains zero
                return [NAN] * size
        # The row stays zero to first order, and zero is a subgradient of the norm.
        return [ZERO if ways else NAN] * size


def entries(reduction: Node, known: Mapping[Node, Value], classes: int) -> list[Number]:
    """What a reduction is of: one row, or several numbers."""
    if reduction.value is None:
        return [known[arg] for arg in reduction.args]
    row = known[reduction.args[0]]
    return row if isinstance(row, list) else [row] * classes


def largest(row: Sequence[Number]) -> list[Truth]:
    """Which entries are the largest; undefined of nan, and where that is an infinity.

    Entries are compared with each other, for a ball cannot be told from a copy of itself.
    """
    if any(map(is_nan, row)):
        return [None] * len(row)
    best = 0
    for j, entry in enumerate(row):
        if j and compare(entry, row[best]) == 1:
            best = j
    if is_infinite(row[best]):
        return [None] * len(row)
    return [j == best or compare(entry, row[best]) == 0 for j, entry in enumerate(row)]


def furthest(tied: list[Truth], ways: Ways) -> list[Truth]:
    """Those of the *tied* that grow fastest."""
    for way in ways:
        speeds = way()
        places = [j for j, one in enumerate(tied) if one]
        first = largest([speeds[j] for j in places])
        if None in first:
            return [None] * len(tied)
        winners = {j for j, one in zip(places, first, strict=True) if one}
        tied = [j in winners for j in range(len(tied))]
    return tied


def in_support(sides: Sequence[int | None], ways: Ways) -> list[Truth]:
    """Which entries come to lie above the threshold of their row; *sides* says where they are.

    The threshold moves so that what the entries above it gain and lose has the sum 0.
    """
    if None in sides:
        return [None] * len(sides)
    above = [j for j, side in enumerate(sides) if side == 1]
    open_ = [j for j, side in enumerate(sides) if side == 0]
    for way in ways:
        speeds = way()
        if any(map(is_nan, speeds)):
            return [None] * len(sides)
        total: Number = ZERO
        for j in above:
            total = add(total, speeds[j])
        speed = div(total, fmpq(len(above)))
        for count, j in enumerate(sorted(open_, key=lambda j: -float(speeds[j])), len(above) + 1):
            total = add(total, speeds[j])
            speed = maximum(speed, div(total, fmpq(count)))
        against = {j: compare(speeds[j], speed) for j in open_}
        above += [j for j in open_ if against[j] == 1]
        open_ = [j for j in open_ if against[j] == 0]
    return [j in above for j in range(len(sides))]
