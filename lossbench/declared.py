"""What specs declare of single points, as numbers that an answer can be compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import cache

import numpy as np

from lossbench import inputs, spec
from lossbench.formula import Graph, floats
from lossbench.formula.oracle import constant
from lossbench.formula.parse import parse
from lossbench.loss import Loss
from lossbench.text import BATCH, Divergence, Edge, Numbers
from lossbench.ulp import Exact, exponent

DIGITS = 4  # A declared decimal of at least so many digits is a rounded one; a shorter one is meant exactly.
SLACK = 8.0  # Ulps by which another machine may differ from what was declared.


def claims(loss: Loss, one: Edge | Divergence) -> dict[str, Numbers]:
    """What is declared, of `value` and of each `gradient.<input>`; a gradient without names is that of the first."""
    differentiated = [name for name, given in loss.inputs.items() if given.grad]
    gradient = one.gradient if isinstance(one.gradient, dict) else dict.fromkeys(differentiated[:1], one.gradient)
    said = {"value": one.value} | {f"gradient.{name}": gradient.get(name) for name in differentiated}
    return {name: value for name, value in said.items() if value is not None}


def leaves(value: object) -> Iterator[str]:
    """Every single number or interval, as written."""
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield str(value)


@cache
def interval(text: str) -> tuple[float, float]:
    """The ends of "[a, b]", or a number twice, as nearest doubles."""
    if text.startswith("["):
        low, up = text.strip("[] ").split(",")
        return constant(low)[0], constant(up)[0]
    return constant(text)[0], constant(text)[0]


def exact(value: Numbers, like: Exact) -> Exact | None:
    """*value* in place of the reference's numbers; None if it does not have as many entries."""
    texts = list(leaves(value))
    if len(texts) == 1:
        texts *= like.high.size
    if len(texts) != like.high.size:
        return None
    ends = np.array([interval(text) for text in texts]).reshape(*like.high.shape, 2)
    lows = np.array([_remainder(text) for text in texts]).reshape(like.high.shape)
    zeros = np.zeros(like.high.shape)
    return Exact(
        dtype=like.dtype,
        high=ends[..., 0],
        low=lows,
        radius=zeros,
        lower=ends[..., 0],
        upper=ends[..., 1],
        moved=zeros,
        unit=like.unit,
        terms=like.terms,
        rows=like.rows,
    )


@cache
def _remainder(text: str) -> float:
    """What a declared number is beyond its nearest double."""
    return 0.0 if text.startswith("[") else constant(text)[1]


def filled(of: Exact, decided: Exact) -> Exact:
    """*of* with the *decided* numbers where it has none."""
    open_ = np.isnan(of.high)
    if not open_.any():
        return of
    fields = ("high", "low", "radius", "lower", "upper", "moved")
    return replace(of, **{name: np.where(open_, getattr(decided, name), getattr(of, name)) for name in fields})


def is_met(value: Numbers, got: np.ndarray, dtype: str) -> bool:
    """Whether *got* is what was declared, to the digits in which it was written and a few ulps."""
    texts = list(leaves(value))
    numbers = np.asarray(got, np.float64).ravel()
    if len(texts) == 1:
        texts *= numbers.size
    return len(texts) == numbers.size and all(map(_is_met, texts, numbers, [dtype] * numbers.size))


def _is_met(text: str, got: float, dtype: str) -> bool:
    low, up = interval(text)
    if np.isnan(low) or np.isinf(low) or not np.isfinite(got):
        return bool(low == got) or bool(np.isnan(low) and np.isnan(got))
    ends = np.array([low, up])
    slack = SLACK * np.ldexp(1.0, exponent(ends, np.zeros(2), dtype)).max() if low or up else 0.0
    return bool(low - slack - _half_unit(text) <= got <= up + slack + _half_unit(text))


def _half_unit(text: str) -> float:
    """Half a unit of the last digit of a rounded decimal."""
    try:
        digits = Decimal(text).as_tuple()
    except InvalidOperation:
        return 0.0
    if len(digits.digits) < DIGITS or not isinstance(digits.exponent, int):
        return 0.0
    return 0.5 * 10.0**digits.exponent


def differences_at(loss: Loss, framework: str, edge: Edge, *, defects: bool = False) -> list[Divergence]:
    """What is declared of *framework*'s own call at the point of *edge*, and is no defect; or that is one, too."""
    found = _differences(loss, framework, defects=defects)
    return [one for one in found if one.reduction == edge.reduction and _same(loss, one.when, edge.at)]


def _same(loss: Loss, one: Mapping[str, Numbers], other: Mapping[str, Numbers]) -> bool:
    """Whether two tables say the same inputs and parameters."""
    defaults = {name: parameter.default for name, parameter in loss.parameters.items()}
    return _exactly({**defaults, **one}) == _exactly({**defaults, **other})


def _exactly(value: object) -> object:
    """Declared numbers, comparable whatever their digits."""
    if isinstance(value, Mapping):
        return {name: _exactly(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_exactly(one) for one in value]
    number = spec.exact(str(value))
    return "nan" if number != number else number


def conventional(loss: Loss, framework: str, dtype: str, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which points of the batch *given* stand where the spec declares that *framework* may differ: shape (n,), or (1,)
    for a loss of whole batches."""
    found = inside_any(loss, framework, given)
    points = [edge.at for edge in loss.edges if edge.status != "required"]
    for at in points + [one.when for one in _differences(loss, framework)]:
        found |= _stands_at(inputs.of_point(loss, at, dtype, "none"), given)
    return found


def inside_any(loss: Loss, framework: str, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which points of the batch *given* stand in a region in which the spec declares that *framework* differs."""
    found = np.zeros(_points(loss, given), bool)
    for one in _differences(loss, framework):
        if one.region:
            found |= inside(loss, one.region, given)
    return found


def _differences(loss: Loss, framework: str, *, defects: bool = False) -> list[Divergence]:
    """What is declared of *framework*'s own call, and is no defect; or that is one, too."""
    own = [one for one in loss.divergences if one.framework == framework and one.call is None]
    return [one for one in own if defects or one.kind != "defect"]


def inside(loss: Loss, region: str, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which points of the batch *given* fulfil the condition *region*; a row does if any of its classes does."""
    names = loss.formula.names
    condition = parse(region, names, Graph(), where=f"a region of {loss.name}")
    numbers = {name: array.astype(np.float64) for name, array in given.items() if name in names}
    (found,) = floats.evaluate([condition], numbers, sizes=loss.lengths(given))
    entries = tuple(range(-len(condition.axes), 0))
    return np.asarray(np.broadcast_to(found.any(axis=entries), (_points(loss, given),)))


def _points(loss: Loss, given: Mapping[str, np.ndarray]) -> int:
    return 1 if loss.batchwise else loss.lengths(given)[BATCH]


def _stands_at(point: inputs.Problem, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which points of the batch *given* are one of those of *point*, at its parameters."""
    found = np.zeros(_points(point.loss, given), bool)
    if any(not np.array_equal(given[name], value) for name, value in point.parameters.items() if name in given):
        return found
    if point.loss.batchwise:
        same = all(np.array_equal(given[name], array) for name, array in point.arrays.items())
        return np.asarray([same])
    if any(given[name].shape[1:] != array.shape[1:] for name, array in point.arrays.items()):
        return found
    for index in range(point.entries):
        hits = [given[name] == array[index] for name, array in point.arrays.items()]
        found |= np.logical_and.reduce([hit.reshape(len(found), -1).all(axis=1) for hit in hits])
    return found
