"""Kinks: the subdifferential as the hull of the gradients that the sides of a point have.

A union of branches would forget that one choice is made: the Huber loss at its delta would get [0, 2] for {1}. So a
direction is chosen first, every tie is decided by it, and the gradient is evaluated once for each direction. For one
number the two directions give Clarke's interval exactly. For rows, each axis both ways and beside it a generic second
direction give vertices; where more than these exist (the sum of many absolute values at zero) the hull is an inner
bound, its box still exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flint import fmpq

from lossbench.formula.exact import Direction
from lossbench.formula.extended import ONE, ZERO, Number
from lossbench.formula.graph import Node
from lossbench.formula.ties import Value

_MANY = 64  # moving numbers beyond which only those at a tie, or named by a label, get directions of their own

Slot = tuple[str, int]


def directions(
    tangents: Mapping[Node, Node],
    point: Mapping[str, Value],
    names: Sequence[str],
    tied: set[int],
    moving: set[str] | None = None,
) -> Iterator[Direction]:
    """Directions of the named variables to the sides of a kink.

    *tied* are the entries at which rows have it; *moving*, of a table of single numbers, all that move its sides.
    """
    slots = [(name, j) for name in names for j in range(_length(point[name]))]

    def along(steps: Mapping[Slot, Number]) -> dict[str, Value]:
        rows = {name: [steps.get((name, j), ZERO) for j in range(_length(point[name]))] for name in names}
        return {f"d.{name}": row if isinstance(point[name], list) else row[0] for name, row in rows.items()}

    sides = (ONE, -ONE)
    generic = [along({slot: side * _uneven(index) for index, slot in enumerate(slots)}) for side in sides]
    named = {value for value in point.values() if isinstance(value, int)}  # a label's entry moves every other's tie
    axes = slots if len(slots) <= _MANY else [slot for slot in slots if slot[1] in tied | named]
    if moving is not None:
        axes = [slot for slot in slots if slot[0] in moving]
    if len(slots) == 1 or not axes:
        axes = []
        yield from (Direction(tangents, way, way) for way in generic)
    for axis in axes:
        yield from (Direction(tangents, along({axis: side}), way) for side, way in zip(sides, generic, strict=True))


def _uneven(index: int) -> fmpq:
    """A number from 1 to 2 that no other of the first thousand equals."""
    return ONE + fmpq(index * 7919 % 1009, 1009)


def _length(value: Value) -> int:
    return len(value) if isinstance(value, list) else 1
