"""A batch of points: the fast straight line for the many, `point` for the few that are hard, exact sums over all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from flint import arb, ctx, fmpq

from lossbench.formula import Formula
from lossbench.formula.extended import ONE, ZERO, Number, Undecided, add, ball, exact
from lossbench.formula.point import Solved, solve, times
from lossbench.formula.program import Program, program
from lossbench.formula.rounding import double
from lossbench.formula.tables import Table, point, table
from lossbench.formula.ties import Value

FIRST, SECOND = 128, 640  # bits of the straight line's two attempts
_SUMS = (FIRST, 512, 2048)  # bits of the terms of a sum
CHUNK = 4096  # points held as balls at a time
_TABLES = 64  # written out at a time
_ALIKE = 4  # points with the same labels, from which on a straight line pays
EXACT = 4096  # bits of the sum itself, so that only its terms are rounded

Balls: TypeAlias = tuple[Any, ...]  # arb, or for a row list[arb]


class Batch:
    """A loss at `size` points; rows have `classes` entries, and `shapes` is that of each gradient of one point.

    With *second*, Hessian-vector products take the place of gradients, and `arrays` has the "v.<input>" as well.
    """

    def __init__(
        self,
        formula: Formula,
        arrays: Mapping[str, np.ndarray],
        parameters: Mapping[str, float | int | np.ndarray],
        sample_weight: np.ndarray | None,
        *,
        second: bool = False,
    ) -> None:
        real = {
            name: Fraction(float(value))
            for name, value in parameters.items()
            if formula.names[name] == "real" and np.isfinite(value)
        }
        kinds = formula.names
        self.program = program(formula.definition, kinds, formula.differentiated, real)
        if second:
            self.program = self.program.second
        self._divisor = program(formula.divisor, kinds, (), real)
        self.size = len(next(iter(arrays.values())))
        self.classes = max((array.shape[1] for array in arrays.values() if array.ndim == 2), default=0)
        self.shapes = {name: arrays[name].shape[1:] for name in formula.differentiated}
        self._formula, self._real, self._second = formula, real, second
        self._tables: dict[tuple[bytes, ...], Table] = {}
        self._given = {name: np.asarray({**arrays, **parameters}[name]) for name in self.program.kinds}
        self._shared = {name: name in parameters for name in self.program.kinds}
        self.weights = None if sample_weight is None else [exact(float(one)) for one in sample_weight]
        self.finite = np.ones(self.size, dtype=bool)
        for name, array in self._given.items():
            finite = np.isfinite(array)
            self.finite &= finite.all() if self._shared[name] else finite.all(axis=tuple(range(1, array.ndim)))

    def straight(self, of: Program, points: np.ndarray, precision: int, *, with_gradient: bool) -> list[Balls | None]:
        """What the straight line says of the points with these numbers; None where it refuses."""
        if self._formula.has_tables:
            return self._straight_tables(of, points, precision, with_gradient)
        call = of.straight(precision, with_gradient=with_gradient)
        columns = [self._column(name, points) for name in of.kinds]
        finite = self.finite[points].tolist()
        found: list[Balls | None] = []
        kept, ctx.prec = ctx.prec, precision
        try:
            for ordinary, *point in zip(finite, *columns, strict=True):
                try:
                    found.append(call(*point, self.classes) if ordinary else None)
                except Undecided:
                    found.append(None)
        finally:
            ctx.prec = kept
        return found

    def solved(self, of: Program, index: int, value: Number, gradient: Number, *, with_gradient: bool) -> Solved:
        """The loss at one point, times factors."""

        def scaled(solved: Solved) -> Solved:
            return solved if value is ONE and gradient is ONE else solved.scaled(value, gradient)

        if self._formula.has_tables:
            arrays = {name: self._array(name, index) for name in self._given}
            table = self._table(arrays)
            of, at = table.divisor if of is self._divisor else table.program, self._numbers(arrays)
            return solve(of, at, 0, scaled, with_gradient=with_gradient)
        at = {name: self._exact(name, index) for name in of.kinds}
        return solve(of, at, self.classes, scaled, with_gradient=with_gradient)

    def _straight_tables(
        self, of: Program, points: np.ndarray, precision: int, with_gradient: bool
    ) -> list[Balls | None]:
        """The same of tables, where enough points have the same labels."""
        alike: dict[Table, list[tuple[int, dict[str, Value]]]] = {}
        for place, index in enumerate(points.tolist()):
            if self.finite[index]:
                arrays = {name: self._array(name, index) for name in self._given}
                alike.setdefault(self._table(arrays), []).append((place, self._numbers(arrays)))
        found: list[Balls | None] = [None] * len(points)
        kept, ctx.prec = ctx.prec, precision
        try:
            for table_, members in alike.items():
                if len(members) < _ALIKE:
                    continue
                program_ = table_.divisor if of is self._divisor else table_.program
                call = program_.straight(precision, with_gradient=with_gradient)
                for place, at in members:
                    try:
                        found[place] = call(*(ball(at[name]) for name in program_.kinds), 0)
                    except Undecided:
                        continue
        finally:
            ctx.prec = kept
        return found

    def _table(self, arrays: Mapping[str, np.ndarray]) -> Table:
        """That of a point's labels, made once for all points that have the same."""
        variables = self._formula.variables
        labels = {name: array for name, array in arrays.items() if variables[name].type == "label"}
        key = tuple(array.tobytes() for array in labels.values())
        if key not in self._tables:
            while len(self._tables) >= _TABLES:
                del self._tables[next(iter(self._tables))]
            shapes = {name: array.shape for name, array in arrays.items() if name not in labels}
            found = table(self._formula, labels, shapes, self._real)
            self._tables[key] = replace(found, program=found.program.second) if self._second else found
        return self._tables[key]

    def _numbers(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Value]:
        variables = self._formula.variables
        return point({name: array for name, array in arrays.items() if variables[name].type == "number"})

    def weight(self, index: int) -> Number:
        return ONE if self.weights is None else self.weights[index]

    def divisor(self, *, weighted: bool = False) -> Number:
        """The sum of what every point adds to the divisor of the mean, times its weight only where that is said."""
        return rational(self._sum(self._divisor, FIRST, weighted=weighted))

    def total(self) -> Number:
        """The weighted sum of the losses, as exact as its rounding needs."""
        total: Number = ZERO
        for precision in _SUMS:
            total = self._sum(self.program, precision, weighted=True)
            if double(total)[3]:
                break
        return total

    def _sum(self, of: Program, precision: int, *, weighted: bool) -> Number:
        sums: Number = ZERO
        for start in range(0, self.size, CHUNK):
            points = np.arange(start, min(start + CHUNK, self.size))
            terms: list[Number] = []
            for index, balls in enumerate(self.straight(of, points, precision, with_gradient=False), start):
                if balls is not None and balls[0].is_finite():
                    terms.append(balls[0])
                else:
                    terms.append(self.solved(of, index, ONE, ONE, with_gradient=False).value)
            kept, ctx.prec = ctx.prec, EXACT
            try:
                for index, term in enumerate(terms, start):
                    sums = add(sums, times(self.weight(index), term) if weighted else term)
            finally:
                ctx.prec = kept
        return sums

    def _column(self, name: str, points: np.ndarray) -> list[object]:
        """One variable at some points, as the straight line takes it: balls, rows of balls, or labels."""
        array, label = self._given[name], self.program.kinds[name] == "label"
        if self._shared[name]:
            shared = array.tolist()
            return [_balls(shared, label)] * len(points)
        return [_balls(one, label) for one in array[points].tolist()]

    def _exact(self, name: str, index: int) -> Value:
        value = self._array(name, index).tolist()
        if self.program.kinds[name] == "label":
            return int(value)
        return [exact(float(one)) for one in value] if isinstance(value, list) else exact(float(value))

    def _array(self, name: str, index: int) -> np.ndarray:
        array = self._given[name]
        return np.asarray(array if self._shared[name] else array[index])


def rational(number: Number) -> Number:
    """An exact ball as a rational, so that a gradient divided by it stays exact."""
    if type(number) is arb and number.is_exact():
        mantissa, exponent = number.man_exp()
        return fmpq(mantissa) * fmpq(2) ** int(exponent)
    return number


def _balls(value: float | list[float], label: bool) -> object:
    if label:
        return value
    return [arb(one) for one in value] if isinstance(value, list) else arb(value)
