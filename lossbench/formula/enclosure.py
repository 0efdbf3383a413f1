"""Proved numbers as floats: what the oracle answers with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flint import fmpq

from lossbench.formula.extended import ZERO, Number, add, div
from lossbench.formula.limits import common
from lossbench.formula.rounding import double


@dataclass(frozen=True, kw_only=True)
class Enclosure:
    """Exact numbers, each as floats; all arrays are float64 and have the shape of the output.

    Attributes:
        high: The nearest double; inf, -inf or nan (undefined) where the number is so. At a kink the centre of the
            subdifferential.
        low: What remains, rounded; high + low is the number to about 106 bits.
        radius: The number is proved to lie in high + low +- radius; inf where 16384 bits do not tell anything.
        lower, upper: The ends of the subdifferential, rounded; both are `high` where the function is smooth.
    """

    high: np.ndarray
    low: np.ndarray
    radius: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What a loss is at given inputs.

    Attributes:
        value: Shape (n,), or () when reduced. Of a whole batch the shape of its entries' losses, (n,) or ().
        gradient: By each differentiated input, in its shape; empty when not asked for.
        vertices: By each differentiated input, for each point at a kink: gradients whose hull is the subdifferential
            there, shape (vertices, *the input's at one point). One entry of every input belongs together. A whole
            batch is one point, 0.
    """

    value: Enclosure
    gradient: dict[str, Enclosure]
    vertices: dict[str, dict[int, np.ndarray]]


def five(numbers: Sequence[Number]) -> tuple[float, float, float, float, float]:
    """high, low, radius, lower, upper of the hull of *numbers*, which are the same number where smooth."""
    if len(numbers) == 1 or any(type(number) is float for number in numbers):
        high, low, radius, _ = double(common(numbers))
        return high, low, radius, high, high
    total: Number = ZERO
    for number in numbers:
        total = add(total, number)
    high, low, radius, _ = double(div(total, fmpq(len(numbers))))
    ends = [double(number)[0] for number in numbers]
    return high, low, radius, min(ends), max(ends)


def enclosure(numbers: np.ndarray) -> Enclosure:
    """Of the numbers that `five` gives, those along the first axis."""
    high, low, radius, lower, upper = (np.array(one) for one in numbers)
    return Enclosure(high=high, low=low, radius=radius, lower=lower, upper=upper)


def named(flat: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays that stand one behind the other along the last axis."""
    start = 0
    for name, shape in shapes.items():
        width = math.prod(shape)
        yield name, flat[..., start : start + width].reshape(*flat.shape[:-1], *shape)
        start += width


def hull(sides: Sequence[Sequence[Number]]) -> np.ndarray:
    """The nearest doubles of the gradients at the sides of a kink, one behind the other in each row."""
    return np.array([[double(number)[0] for number in side] for side in sides])
