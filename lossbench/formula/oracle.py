"""The certified oracle: the value and gradient of a loss, proved to the last bit, with its subdifferential at kinks.

Arb evaluates the definition at the exact numbers that the inputs are, with as many bits as the rounding needs.
Parameters are put in before differentiating, so a smoothing of 0 or a gamma of 0 vanishes as it does on paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from flint import arb, ctx

from lossbench.formula import Formula, Graph
from lossbench.formula.batch import CHUNK, EXACT, FIRST, SECOND, Balls, Batch
from lossbench.formula.enclosure import Certified, Enclosure, enclosure, five, hull, named
from lossbench.formula.extended import NAN, ONE, ZERO, Number, ball, div, mean, mul
from lossbench.formula.parse import parse
from lossbench.formula.point import solve, times
from lossbench.formula.program import program
from lossbench.formula.rounding import double, doubles, narrowed
from lossbench.formula.whole import certified

__all__ = ["Certified", "Enclosure", "certify", "constant", "rounded"]

_INFINITE = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}


def certify(
    formula: Formula,
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, float | int | np.ndarray],
    *,
    reduction: str = "none",
    sample_weight: np.ndarray | None = None,
    gradient: bool = True,
) -> Certified:
    """Value and gradient of a batch, certified.

    The arithmetic is that of the extended reals: log(0) is -inf, exp(-inf) is 0. Where it ends in nan although no
    input is NaN, the function's limit counts if it has one: see `limits`. NaN inputs that matter give nan, for the
    gradient too; a branch that is not taken does not matter. The mean of no elements is nan, like 0/0.

    Args:
        arrays: Each input: shape (n,), (n, classes), or integer labels (n,); with other axes (n, *axes), or without n
            where the point is a whole batch.
        parameters: Of every parameter: a number, an array (classes,) or an integer label.
        reduction: "none", "mean" or "sum"; the gradient is that of the sum of the output. A loss that is one number
            for a whole batch is that number, whatever the reduction.
        sample_weight: Shape (n,); multiplies each loss.
        gradient: Whether gradients are wanted.
    """
    kept = ctx.prec
    try:
        if formula.batchwise:
            return certified(formula, arrays, parameters, reduction, sample_weight, gradient)
        return _certified(Batch(formula, arrays, parameters, sample_weight), reduction, gradient)
    finally:
        ctx.prec = kept


def _certified(batch: Batch, reduction: str, gradient: bool) -> Certified:
    ctx.prec = EXACT
    factor: Number = ONE
    total: Number = ZERO
    if reduction != "none":
        total = batch.total()
    if reduction == "mean":
        divisor = batch.divisor()
        factor = NAN if divisor == 0 else div(ONE, divisor)
        total = mean(total, divisor)
    found = Found(batch)
    if gradient or reduction == "none":
        for start in range(0, batch.size, CHUNK):
            found.add(start, factor, with_gradient=gradient)
    value = found.value() if reduction == "none" else enclosure(np.array(five([total])))
    return Certified(value=value, gradient=found.gradients() if gradient else {}, vertices=found.vertices)


def repeated(
    formula: Formula,
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, float | int | np.ndarray],
    counts: np.ndarray,
    *,
    reduction: str,
) -> Certified:
    """The value of a batch that has each point as often as *counts*, shape (n,), says: exact at the cost of n points.

    Args:
        arrays, parameters: As for `certify`.
        counts: Whole numbers.
        reduction: "mean" or "sum".
    """
    kept, there = ctx.prec, counts > 0
    try:
        found = {name: array[there] for name, array in arrays.items()}
        batch = Batch(formula, found, parameters, counts[there])
        ctx.prec = EXACT
        total = batch.total()
        if reduction == "mean":
            total = mean(total, batch.divisor(weighted=True))
        return Certified(value=enclosure(np.array(five([total]))), gradient={}, vertices={})
    finally:
        ctx.prec = kept


def constant(text: str) -> tuple[float, float]:
    """The value of a constant expression, such as `log(2)`, `1/2` or `-inf`: its nearest double and what remains.

    Raises:
        SpecError: The text is not in the formula language, or names something.
    """
    text = text.strip()
    if text in _INFINITE:
        return _INFINITE[text], 0.0
    graph = Graph()
    root = parse(text, {}, graph, where=repr(text))
    alone = program(root, {}, (), {})
    high, low, _, _ = double(solve(alone, {}, 0, lambda solved: solved, with_gradient=False).value)
    return high, low


def rounded(enclosure: Enclosure, dtype: str) -> np.ndarray:
    """The certified numbers rounded once to *dtype*: a float64 array for float64, else a float32 array."""
    return narrowed(enclosure.high, enclosure.low, dtype)


class Found:
    """The floats of a batch, filled chunk by chunk."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.names = batch.program.differentiated
        self.shapes = batch.shapes
        self.widths = [math.prod(self.shapes[name]) for name in self.names]
        self.floats = np.zeros((5, batch.size, 1 + sum(self.widths)))  # high, low, radius, lower, upper
        self.vertices: dict[str, dict[int, np.ndarray]] = {name: {} for name in self.names}

    def add(self, start: int, factor: Number, *, with_gradient: bool) -> None:
        """Fill the points from *start* on; the gradients times *factor*."""
        points = np.arange(start, min(start + CHUNK, self.batch.size))
        hard = []
        for precision in (FIRST, SECOND):
            ctx.prec = precision
            finite, decided = self._attempt(points, precision, factor, with_gradient)
            hard += points[~finite].tolist()
            points = points[finite & ~decided]
            if not len(points):
                break
        for index in (*hard, *points.tolist()):
            self._solve(index, factor, with_gradient)

    def _attempt(
        self, points: np.ndarray, precision: int, factor: Number, with_gradient: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill some points by the straight line; at which it gave numbers, and at which all of them are decided."""
        batch = self.batch
        width = self.floats.shape[2] if with_gradient else 1
        flat: list[arb] = []
        found = batch.straight(batch.program, points, precision, with_gradient=with_gradient)
        for index, balls in zip(points.tolist(), found, strict=True):
            flat += [_NOTHING] * width if balls is None else self._scaled(balls, index, factor)
        many = doubles(flat)
        numbers = np.stack([many.high, many.low, many.radius, many.high, many.high])
        self.floats[:, points, :width] = numbers.reshape(5, len(points), width)
        shape = (len(points), width)
        finite, decided = (np.asarray(one.reshape(shape).all(axis=1)) for one in (np.isfinite(many.high), many.decided))
        return finite, decided

    def _scaled(self, balls: Balls, index: int, factor: Number) -> list[arb]:
        flat: list[arb] = []
        for one in balls:
            flat += one if isinstance(one, list) else [one]
        if self.batch.weights is None and factor is ONE:
            return flat
        weight = self.batch.weight(index)
        scale = mul(weight, factor)
        if weight == 0 or type(scale) is float:
            return [_NOTHING] * len(flat)
        value, by = ball(weight), ball(scale)
        return [flat[0] * value, *(one * by for one in flat[1:])]

    def _solve(self, index: int, factor: Number, with_gradient: bool) -> None:
        weight = self.batch.weight(index)
        solved = self.batch.solved(
            self.batch.program, index, weight, times(weight, factor), with_gradient=with_gradient
        )
        self.floats[:, index, 0] = five([solved.value])
        if not solved.sides:
            return
        for column, numbers in enumerate(zip(*solved.sides, strict=True), 1):
            self.floats[:, index, column] = five(numbers)
        if len(solved.sides) > 1:
            for name, vertices in named(hull(solved.sides), self.shapes):
                self.vertices[name][index] = vertices

    def value(self) -> Enclosure:
        return enclosure(self.floats[:, :, 0])

    def gradients(self) -> dict[str, Enclosure]:
        return {name: enclosure(numbers) for name, numbers in named(self.floats[:, :, 1:], self.shapes)}


_NOTHING = arb("nan")
