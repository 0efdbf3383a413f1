"""The points of a loss as whole numbers: floats as places on one line, so that a step to a neighbour is plus one.

Numbers are left out that are so small that their differences may be subnormal, or so large that their reciprocals may
be: whether these are taken as 0 is a setting of the hardware, and says nothing of a loss. Of rows those are left out
whose squares are far beyond the dtype's numbers, of tables and batches all beyond 2**10 and below 2**-10: the reference
takes minutes where sizes differ more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import ml_dtypes
import numpy as np

from lossbench.inputs import rounded
from lossbench.loss import Loss
from lossbench.text import BATCH, Domain
from lossbench.ulp import FORMATS

REACH: Mapping[str, int] = {"float64": 100, "float32": 66, "bfloat16": 66, "float16": 15}
NEAR = 10  # of tables and batches
COUNTED = 100.0  # counts are drawn up to it
LOGARITHM = 10.0  # the largest number of the domain "logarithm"

# Bits of a number, the integers that hold them, and the type whose bits they are.
_FORMS: Mapping[str, tuple[int, type, type]] = {
    "float64": (64, np.int64, np.float64),
    "float32": (32, np.int32, np.float32),
    "bfloat16": (16, np.int16, ml_dtypes.bfloat16),
    "float16": (16, np.int16, np.float16),
}


def bits(dtype: str) -> int:
    """How many bits a number has."""
    return _FORMS[dtype][0]


def top(dtype: str) -> int:
    """The place of the largest finite number; that of the smallest positive one is 1."""
    _, _, kind = _FORMS[dtype]
    return int(places(np.asarray(float(ml_dtypes.finfo(kind).max)), dtype))


def places(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The places of finite *numbers*, all of them of *dtype*: neighbours differ by 1, and both zeros have place 0."""
    _, whole, kind = _FORMS[dtype]
    found = np.asarray(numbers).astype(kind).view(whole).astype(np.int64)
    size = found & np.iinfo(whole).max
    return np.asarray(np.where(found < 0, -size, size))


def numbers(places: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers at those *places*, as float64."""
    _, whole, kind = _FORMS[dtype]
    found = np.abs(places).astype(whole).view(kind).astype(np.float64)
    return np.asarray(np.where(places < 0, -found, found))


def stepped(places: np.ndarray, steps: np.ndarray, dtype: str) -> np.ndarray:
    """*places* moved by *steps*, no further than to the largest numbers."""
    end = top(dtype)
    up = np.minimum(places, end - np.maximum(steps, 0)) + np.maximum(steps, 0)  # never beyond 2**63
    return np.asarray(np.maximum(up, -end - np.minimum(steps, 0)) + np.minimum(steps, 0))


@dataclass(frozen=True)
class Points:
    """Many points: `places` of their reals, shape (points, reals), and their `labels`, shape (points, labels)."""

    places: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: np.ndarray | slice) -> Points:
        return Points(self.places[index], self.labels[index])

    def __add__(self, other: Points) -> Points:
        return Points(np.concatenate([self.places, other.places]), np.concatenate([self.labels, other.labels]))


@dataclass(frozen=True, kw_only=True)
class Space:
    """What points there are: of one element, row or table, or of one whole batch.

    Attributes:
        sizes: How long each axis is.
        marks: The labels that are parameters.
    """

    loss: Loss
    dtype: str
    sizes: Mapping[str, int]
    marks: tuple[int, ...] = ()

    @cached_property
    def reach(self) -> int:
        """The largest power of two of a number."""
        if self.loss.has_sizes:
            return NEAR
        return min(self._quiet, REACH[self.dtype]) if self.loss.axes else self._quiet

    @cached_property
    def depth(self) -> int:
        """The power of one half below which a number is 0."""
        form = FORMATS[self.dtype]
        if self.dtype == "float16":  # whose subnormals are ordinary numbers
            return form.precision - 1 - form.emin
        return min(self.reach, self._quiet)

    @property
    def _quiet(self) -> int:
        """The power of two within which neither a difference nor a reciprocal is subnormal."""
        form = FORMATS[self.dtype]
        return form.emax if self.dtype == "float16" else -form.emin - form.precision - 1

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each input, in one point."""
        own = {name: self.loss.along(name)[not self.loss.batchwise :] for name in self.loss.inputs}
        return {name: tuple(self.sizes[axis] for axis in axes) for name, axes in own.items()}

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where the numbers of each input stand among the reals, or among the labels."""
        found, ends = {}, {True: 0, False: 0}
        for name, one in self.loss.inputs.items():
            start = ends[one.kind == "label"]
            ends[one.kind == "label"] = start + prod(self.shapes[name])
            found[name] = slice(start, ends[one.kind == "label"])
        return found

    @property
    def size(self) -> int:
        """How many reals a point has."""
        return max((self.columns[name].stop for name in self.reals), default=0)

    @cached_property
    def reals(self) -> list[str]:
        """The inputs that are no labels."""
        return [name for name, one in self.loss.inputs.items() if one.kind != "label"]

    @cached_property
    def labels(self) -> list[str]:
        """Those that are."""
        return [name for name, one in self.loss.inputs.items() if one.kind == "label"]

    def label(self, name: str, shape: tuple[int, ...], random: np.random.RandomState) -> np.ndarray:
        """Labels of an input, any that its domain has."""
        one = self.loss.inputs[name]
        match one.domain:
            case "id":
                return np.asarray(random.randint(0, max(2, self.sizes.get(BATCH, 2) // 2), shape))
            case "length":
                return np.asarray(random.randint(0, self.sizes[one.of] + 1, shape))
            case "symbol":
                return random.choice([label for label in range(self.sizes[one.of]) if label not in self.marks], shape)
        return np.asarray(random.randint(0, self.sizes[one.of], shape))

    def arrays(self, points: Points) -> dict[str, np.ndarray]:
        """Each input, shape (points, ...), as floats of float64 or labels."""
        reals = numbers(points.places, self.dtype)
        found = {}
        for name, one in self.loss.inputs.items():
            source = points.labels if one.kind == "label" else reals
            found[name] = source[:, self.columns[name]].reshape(len(points), *self.shapes[name])
        return found

    def points(self, arrays: Mapping[str, np.ndarray]) -> Points:
        """The points whose inputs are these, shape (points, ...), brought into their domains and rounded."""
        count = len(next(iter(arrays.values())))
        flat = {name: np.asarray(arrays[name]).reshape(count, prod(self.shapes[name])) for name in self.loss.inputs}
        reals = [places(self._inside(name, flat[name]), self.dtype) for name in self.reals]
        labels = [self._valid(name, flat[name].astype(np.int64)) for name in self.labels]
        nothing = np.zeros((count, 0), np.int64)
        return Points(np.concatenate([nothing, *reals], axis=1), np.concatenate([nothing, *labels], axis=1))

    def _valid(self, name: str, labels: np.ndarray) -> np.ndarray:
        """Any labels, those that an input cannot have replaced."""
        one = self.loss.inputs[name]
        if one.domain == "id":
            return labels
        options = list(range(self.sizes[one.of] + (one.domain == "length")))
        if one.domain == "symbol":
            options = [label for label in options if label not in self.marks]
        fitting = np.isin(labels, [*options, *(self.marks if one.domain == "class" else ())])
        return np.where(fitting, labels, np.take(options, labels % len(options)))

    def inside(self, moved: Points, before: Points) -> Points:
        """*moved* with every input that is not as *before* brought into its domain."""
        found = moved.places.copy()
        for name in self.reals:
            at = self.columns[name]
            changed = (moved.places[:, at] != before.places[:, at]).any(axis=1)
            if changed.any():
                raw = numbers(moved.places[changed, at], self.dtype)
                found[changed, at] = places(self._inside(name, raw), self.dtype)
        return Points(found, moved.labels)

    def _inside(self, name: str, raw: np.ndarray) -> np.ndarray:
        """Any finite numbers, shape (points, entries), as the nearest of the domain of an input, more or less."""
        limit, least = 2.0**self.reach, 2.0**-self.depth
        shape = self.shapes[name]
        significand, power = np.frexp(raw)
        raw = np.where(np.abs(raw) < least, 0.0, np.ldexp(significand, np.minimum(power, self.reach)))
        values = raw.reshape(-1, *shape)
        with np.errstate(all="ignore"):
            found = _inside(self.loss.inputs[name].domain, values)
        found = rounded(found, self.dtype).astype(np.float64)
        if self.dtype != "float16":  # whose subnormals are ordinary numbers
            found = np.where(np.abs(found) < FORMATS[self.dtype].normal, 0.0, found)
        if self.loss.inputs[name].domain in ("positive", "nonzero"):
            found = np.where(found == 0, least, found)
        return np.asarray(np.clip(found, -limit, limit).reshape(raw.shape))


def _unit(values: np.ndarray) -> np.ndarray:
    size = np.abs(values)
    return np.asarray(np.where(size > 1, 1 / size, size))


def _simplex(rows: np.ndarray) -> np.ndarray:
    size = np.abs(rows)
    size = size / size.max(axis=-1, keepdims=True)
    return np.asarray(np.nan_to_num(size / size.sum(axis=-1, keepdims=True), nan=1.0 / rows.shape[-1]))


def _log_simplex(rows: np.ndarray) -> np.ndarray:
    down = rows - rows.max(axis=-1, keepdims=True)
    return np.asarray(down - np.log(np.exp(down).sum(axis=-1, keepdims=True)))


def _onehot(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.eye(rows.shape[-1])[rows.argmax(axis=-1)])


def _direction(rows: np.ndarray) -> np.ndarray:
    down = rows / np.abs(rows).max(axis=-1, keepdims=True)
    found = down / np.sqrt((down**2).sum(axis=-1, keepdims=True))
    return np.asarray(np.where(np.isnan(found), np.eye(rows.shape[-1])[0], found))


def _inside(domain: Domain, values: np.ndarray) -> np.ndarray:
    match domain:
        case "positive" | "nonnegative":
            return np.asarray(np.abs(values))
        case "unit":
            return _unit(values)
        case "sign":
            return np.where(values < 0, -1.0, 1.0)
        case "binary":
            return np.where(np.abs(values) > 0.5, 1.0, 0.0)
        case "logarithm":
            return np.asarray(np.minimum(values, LOGARITHM))
        case "count":
            return np.asarray(np.rint(np.minimum(np.abs(values), COUNTED)))
        case "simplex":
            return _simplex(values)
        case "log_simplex":
            return _log_simplex(values)
        case "onehot":
            return _onehot(values)
        case "direction":
            return _direction(values)
    return values


def sizes_of(loss: Loss, classes: int) -> dict[str, int]:
    """How long the axes of one point are: as the spec says first, *classes* where it leaves it to runs."""
    if loss.has_sizes:
        return dict(loss.sizes.accuracy[0])
    return {axis: classes for axis in loss.axes if axis != BATCH}
