"""One hard point: exact ties, kinks, infinities, limits, and as many bits as rounding needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from flint import arb, ctx

from lossbench.formula import extended, limits
from lossbench.formula.exact import Direction, Evaluator
from lossbench.formula.extended import NAN, ZERO, Number, Undecided, ball, is_infinite, is_nan
from lossbench.formula.graph import Node, topological
from lossbench.formula.kink import directions
from lossbench.formula.program import Program
from lossbench.formula.rounding import double
from lossbench.formula.ties import Value

PRECISIONS = (192, 640, 1280, 2560, 5120, extended.HIGHEST)

Flat: TypeAlias = list[Number]  # the gradients of all differentiated inputs, one after the other


@dataclass(frozen=True)
class Solved:
    """The loss at one point, or those of a batch's entries; `sides` are the gradients at the sides of a kink, or once
    the gradient itself."""

    values: tuple[Number, ...]
    sides: tuple[Flat, ...]

    @property
    def value(self) -> Number:
        """The only one."""
        (value,) = self.values
        return value

    def scaled(self, value: Number, gradient: Number) -> Solved:
        """The loss times *value*, its gradients times *gradient*."""
        sides = tuple([times(gradient, number) for number in side] for side in self.sides)
        return Solved(tuple(times(value, one) for one in self.values), sides)

    @property
    def decided(self) -> bool:
        """Whether every number rounds to one double."""
        return all(double(number)[3] for number in (*self.values, *(one for side in self.sides for one in side)))


def solve(
    program: Program, at: Mapping[str, Value], classes: int, finish: Callable[[Solved], Solved], *, with_gradient: bool
) -> Solved:
    """The loss at a point, refined until what *finish* makes of it is decided, or 16384 bits do not suffice."""
    point = _Point(program, at, classes, with_gradient)
    solved = point.unknown()
    kept = ctx.prec
    try:
        for precision in PRECISIONS:
            ctx.prec = precision
            try:
                solved = finish(point.solved())
            except Undecided:
                solved = finish(point.unknown())
                continue
            if solved.decided:
                break
        return solved
    finally:
        ctx.prec = kept


class _Point:
    def __init__(self, program: Program, at: Mapping[str, Value], classes: int, with_gradient: bool) -> None:
        self.program = program
        self.at = at
        self.classes = classes
        self.names = program.differentiated if with_gradient else ()
        self.values = (program.definition,) if program.values is None else program.values
        self.limits: list[list[Number]] | None = None  # found once: they have their own precision

    def unknown(self) -> Solved:
        """A ball of everything."""
        size = sum(self._length(name) for name in self.names)
        return Solved((arb("nan"),) * len(self.values), ([arb("nan")] * size,) if self.names else ())

    def solved(self) -> Solved:
        evaluator = self._evaluator(self.at)
        values = tuple(evaluator.value(node) for node in self.values)
        sides = [self._flat(evaluator)] if self.names else []
        if evaluator.kinks and sides and not self._has(is_infinite):
            ties = evaluator.ties
            moving = None if self.program.values is None else ties.moving
            found = directions(self.program.tangents, self.at, self.names, ties.entries, moving)
            sides = [self._flat(self._evaluator(self.at, way)) for way in found]
        pairs = zip(values, self.values, strict=True)
        values = tuple(
            self._limit_of(node) if is_nan(value) and not self._nan(node) else value for value, node in pairs
        )
        if self._has(is_nan):
            return Solved(values, tuple(_distinct(sides)))
        if any(map(is_nan, values)):
            undefined = [node for value, node in zip(values, self.values, strict=True) if is_nan(value)]
            sides = [self._without(undefined, side) for side in sides[:1]]
        elif any(is_nan(number) for side in sides for number in side):
            sides = self._limits_of_gradient()
        return Solved(values, tuple(_distinct(sides)))

    def _without(self, undefined: Sequence[Node], side: Flat) -> Flat:
        """A gradient, undefined by all that moves a loss that is."""
        moving = {str(node.value) for node in topological(*undefined) if node.op == "variable"}
        lengths = [(name, self._length(name)) for name in self.names]
        named = [name for name, length in lengths for _ in range(length)]
        alone = len(self.values) == 1
        return [NAN if alone or name in moving else number for name, number in zip(named, side, strict=True)]

    def _evaluator(self, at: Mapping[str, Value], direction: Direction | None = None) -> Evaluator:
        return Evaluator(at, self.classes, self.program.active, direction)

    def _flat(self, evaluator: Evaluator) -> Flat:
        flat: Flat = []
        for name in self.names:
            gradient = evaluator.value(self.program.gradients[name])
            flat += gradient if isinstance(gradient, list) else [gradient] * self._length(name)
        return flat

    def _length(self, name: str) -> int:
        return self.classes if self.program.kinds[name] == "row" else 1

    def _has(self, found: Callable[[Number], bool]) -> bool:
        return any(found(number) for value in self.at.values() for _, number in limits.entries(value))

    def _nan(self, node: Node) -> bool:
        """Whether *node* is made of a number that is given as nan."""
        names = (str(one.value) for one in topological(node) if one.op == "variable")
        return any(is_nan(number) for name in names for _, number in limits.entries(self.at[name]))

    def _limit_of(self, node: Node) -> Number:
        def value(at: Mapping[str, Value]) -> Flat:
            return [self._evaluator(at).value(node)]

        if self._has(is_infinite):
            return self._far(value, 1)[0]
        return _common(self._near(value), 1)[0]

    def _limits_of_gradient(self) -> list[Flat]:
        def both(at: Mapping[str, Value]) -> Flat:
            evaluator = self._evaluator(at)
            return [evaluator.value(self.program.definition), *self._flat(evaluator)]

        size = sum(map(self._length, self.names))
        if self._has(is_infinite):
            return [self._far(both, 1 + size)[1:]]
        sides = [found[1:] for found in self._near(both)]
        if any(type(number) is float for side in sides for number in side):
            return [_common(sides, size)]
        return sides or [[NAN] * size]

    def _near(self, evaluate: Callable[[Mapping[str, Value]], Flat]) -> list[Flat]:
        """What some numbers tend to on each way to a finite point."""
        reals = [name for name, kind in self.program.kinds.items() if kind != "label"]
        ways = limits.nearby(self.at, self.program.differentiated)
        return limits.limits(ways, evaluate) or limits.limits(limits.nearby(self.at, reals), evaluate)

    def _far(self, evaluate: Callable[[Mapping[str, Value]], Flat], size: int) -> Flat:
        """What some numbers tend to at the infinite inputs."""
        found = _common(limits.limits(limits.to_infinity(self.at), evaluate), size)
        if any(map(is_nan, found)) and limits.is_ordinary(self.at):
            again = _common(limits.limits(limits.to_infinity(self.at, nearer=True), evaluate), size)
            return [other if is_nan(one) else one for one, other in zip(found, again, strict=True)]
        return found


def _common(found: Sequence[Flat], size: int) -> Flat:
    """Number by number, that on which all agree."""
    return [limits.common([numbers[j] for numbers in found]) for j in range(size)]


def times(factor: Number, number: Number) -> Number:
    """The product; 0 times any number but nan is 0, for a weight of 0 makes the function 0 everywhere."""
    if factor == 0 and not is_nan(number):
        return ZERO
    return extended.mul(factor, number)


def _distinct(sides: Sequence[Flat]) -> list[Flat]:
    """The sides without those that are, as far as their balls tell, one that is there already."""
    found: list[Flat] = []
    for side in sides:
        if not any(all(map(_same, side, other)) for other in found):
            found.append(side)
    return found


def _same(a: Number, b: Number) -> bool:
    if type(a) is float or type(b) is float:
        return type(a) is type(b) and (a == b or (is_nan(a) and is_nan(b)))
    return bool(a == b) or ((type(a) is arb or type(b) is arb) and ball(a).overlaps(ball(b)))
