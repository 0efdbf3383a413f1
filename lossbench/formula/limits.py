"""What a function tends to where its formula is undefined: at infinite inputs, and at 0/0, 0*inf and poles.

The mathematics has the last word over the arithmetic of the extended reals. Where that ends in nan, the point is
approached: infinite inputs grow, everything else held; at finite points the differentiated inputs move, then all real
ones. So 0*inf is 0 where the zero is held exactly (a target of 0, a weight of 0), inf - inf is what the function does,
and sqrt(x)**2/x at 0 is 1. All ways on which the function exists must agree, else the result stays nan. A limit is
read off three points of very different size, at 4096 bits; unlike everything else here it is not proved, but its
radius covers the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from flint import arb, ctx, fmpq

from lossbench.formula.extended import INF, NAN, ONE, ZERO, Number, Undecided, add, ball, is_infinite, is_nan, mul
from lossbench.formula.ties import Value

PRECISION = 4096
_FAR = tuple(fmpq(2) ** bits for bits in (1100, 1500, 2200))  # beyond every double
_LESS_FAR = (fmpq(300), fmpq(500), fmpq(800))  # where 1 - exp(-x) is still more than 0 at this precision
_ORDINARY = 100  # finite numbers that are small beside these
_NEAR = tuple(1 / fmpq(2) ** bits for bits in (300, 600, 1200))
_SMALL = arb(2) ** -200
_MANY = 24  # moving numbers beyond which only generic ways are tried
_LEAN = fmpq(1, 1024)

Point: TypeAlias = Mapping[str, Value]
Way: TypeAlias = tuple[Point, Point, Point]  # three points ever nearer to where the limit is sought


def limits(ways: Sequence[Way], evaluate: Callable[[Point], list[Number]]) -> list[list[Number]]:
    """What the numbers of *evaluate* tend to along each way on which the first of them, the loss, exists."""
    kept, ctx.prec = ctx.prec, PRECISION
    try:
        found = [[_asked(evaluate, point) for point in way] for way in ways]
        existing = [steps for steps in found if not any(is_nan(step[0]) for step in steps)]
        return [[_limit(*numbers) for numbers in zip(*steps, strict=True)] for steps in existing]
    finally:
        ctx.prec = kept


def _asked(evaluate: Callable[[Point], list[Number]], point: Point) -> list[Number]:
    try:
        return evaluate(point)
    except Undecided:
        return [NAN]


def common(numbers: Sequence[Number]) -> Number:
    """The one number that all of these are; nan if there is none."""
    if not numbers:
        return NAN
    first, *others = numbers
    if type(first) is float:
        return first if all(other == first for other in others) else NAN
    return first if all(type(other) is not float and ball(first).overlaps(ball(other)) for other in others) else NAN


def to_infinity(point: Point, *, nearer: bool = False) -> list[Way]:
    """Ways on which the infinite numbers of a point grow: alike, and each faster than the others."""
    slots = [(name, j) for name, value in point.items() for j, number in entries(value) if is_infinite(number)]
    speeds = [[1] * len(slots)]
    if len(slots) > 1:
        speeds += [list(range(1, len(slots) + 1)), list(range(len(slots), 0, -1))]
    ways = [{slot: speed * _side(point, slot) for slot, speed in zip(slots, each, strict=True)} for each in speeds]
    far = _LESS_FAR if nearer else _FAR
    return [_way(point, [{slot: times * step for slot, step in way.items()} for times in far]) for way in ways]


def is_ordinary(point: Point) -> bool:
    """Whether the finite numbers of a point are so small that less than the greatest distances are far."""
    numbers = [number for value in point.values() for _, number in entries(value)]
    return all(abs(number) <= _ORDINARY for number in numbers if type(number) is fmpq)


def nearby(point: Point, names: Sequence[str]) -> list[Way]:
    """Ways on which the finite numbers of the named variables leave a point: along each axis, leaning to all sides."""
    slots = [(name, j) for name in names for j, number in entries(point[name]) if type(number) is fmpq]
    if len(slots) == 1:
        return [_way(point, [{slots[0]: side * near} for near in _NEAR]) for side in (ONE, -ONE)]
    generic = {slot: ONE + fmpq(index * 7919 % 1009, 1009) for index, slot in enumerate(slots)}
    ways = [{slot: side * step for slot, step in generic.items()} for side in (ONE, -ONE)]
    if len(slots) <= _MANY:
        ways += [
            {slot: lean * step + (side if slot == axis else ZERO) for slot, step in generic.items()}
            for axis in slots
            for side in (ONE, -ONE)
            for lean in (_LEAN, -_LEAN)
        ]
    return [_way(point, [{slot: near * step for slot, step in way.items()} for near in _NEAR]) for way in ways]


def entries(value: Value) -> list[tuple[int, Number]]:
    """The numbers of a row, or the one number, with their places; none of a label."""
    if isinstance(value, list):
        return list(enumerate(value))
    return [] if isinstance(value, int) else [(0, value)]


def _side(point: Point, slot: tuple[str, int]) -> int:
    value = point[slot[0]]
    return 1 if (value[slot[1]] if isinstance(value, list) else value) > 0 else -1


def _way(point: Point, steps: Sequence[Mapping[tuple[str, int], Number]]) -> Way:
    """The points that are *steps* from this one; an infinite number is replaced by its step."""

    def moved(step: Mapping[tuple[str, int], Number], name: str, j: int, number: Number) -> Number:
        if (name, j) not in step:
            return number
        return step[name, j] if is_infinite(number) else add(number, step[name, j])

    def at(step: Mapping[tuple[str, int], Number]) -> Point:
        new: dict[str, Value] = dict(point)
        for name in {name for name, _ in step}:
            row = [moved(step, name, j, number) for j, number in entries(point[name])]
            new[name] = row if isinstance(point[name], list) else row[0]
        return new

    first, second, third = map(at, steps)
    return first, second, third


def _limit(*steps: Number) -> Number:
    """The limit of three numbers of a sequence."""
    if any(type(step) is float for step in steps):
        return steps[-1] if type(steps[-1]) is float and all(step == steps[-1] for step in steps) else NAN
    if steps[0] == steps[1] == steps[2]:
        return steps[2]
    first, second, third = map(ball, steps)
    if abs(third) < _SMALL and (4 * abs(third) < 2 * abs(second) < abs(first) or third.contains(0)):
        return ZERO
    change, growth = abs(third - second), abs(third) - abs(second)
    if change < _SMALL * (1 + abs(third)):
        return third + arb(0, (2 * change).upper())
    if growth > 1 and 2 * growth > abs(second) - abs(first) > 0:
        return mul(INF, third)
    return NAN
