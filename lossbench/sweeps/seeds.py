"""Where a search begins: all orders of magnitude, ends, kinks, cancellation, what specs say, what was found before."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import cast

import numpy as np

from lossbench import inputs, worst
from lossbench.formula import floats
from lossbench.points import STYLES, domain_points
from lossbench.records import Case
from lossbench.sweeps.search_moves import steps
from lossbench.sweeps.search_space import Points, Space, bits, numbers, places, stepped, top
from lossbench.text import BATCH, Dtype, axes_of

ENDS = (0.0, 1.0, 0.5, 2.0, 1e-7, 1e-6, 1e-12, 17.0, 88.0, 104.0, 709.0)  # where exp, log1p, clips and ones turn
FARTHEST = 120.0  # of an entry of a row from the others: exp of it overflows or vanishes in float32
CROSSINGS = 256  # lines along which a zero is looked for
Sort = Callable[["Seeds", int], Points]


class Seeds:
    """Points of a space from which it is worth while to climb; the same from the same *random*."""

    def __init__(self, space: Space, parameters: Mapping[str, np.ndarray], random: np.random.RandomState) -> None:
        self.space = space
        self.parameters = parameters
        self.random = random
        self._first = True

    def draw(self, count: int) -> Points:
        """*count* points, as many of each sort as of any other, but in the first draw all that are known before."""
        found = self.known[: count if self._first else 0]
        self._first = False
        left = count - len(found)
        shares = [left // len(SORTS) + (place < left % len(SORTS)) for place in range(len(SORTS))]
        for sort, share in zip(SORTS, shares, strict=True):
            if share:
                found = found + sort(self, share)
        return found

    @cached_property
    def known(self) -> Points:
        """What the spec says of single points, and the worst inputs that were found before."""
        loss = self.space.loss
        found: list[Mapping[str, np.ndarray]] = []
        said = [one.at for one in loss.edges] + [one.when for one in loss.divergences]
        for at in [*said, *(one.at for one in loss.references)]:
            point = inputs.of_point(loss, at, self.space.dtype, "none")
            found.append(point.arrays)
        for dtype in ("float64", "float32", "bfloat16", "float16"):
            found += [one.arrays for one in worst.batches(loss, dtype)]
        points = [self.space.points(one) for arrays in found for one in self._fitting(arrays)]
        nothing = self.space.points({name: np.zeros((0, *shape)) for name, shape in self.space.shapes.items()})
        whole = nothing
        for one in points:
            whole = whole + one
        return whole

    def _fitting(self, arrays: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """The finite points of a batch that have the sizes of the space."""
        shapes = self.space.shapes
        if self.space.loss.batchwise:
            arrays = {name: array[None] for name, array in arrays.items()}
        if any(array.shape[1:] != shapes[name] for name, array in arrays.items()):
            return []
        finite = np.logical_and.reduce(
            [np.isfinite(array).all(axis=tuple(range(1, array.ndim))) for array in arrays.values()]
        )
        return [{name: array[finite].astype(np.float64) for name, array in arrays.items()}]

    def _drawn(self, count: int) -> Points:
        """As runs draw points, but others: those of every style."""
        loss = self.space.loss
        sizes = {**self.space.sizes, **({} if loss.batchwise else {BATCH: max(count, len(STYLES))})}
        shape = tuple(sizes[axis] for axis in loss.dimensions)
        found = self.known[:0]
        while len(found) < count:
            index = int(self.random.randint(0, 2**31))
            case = Case(
                loss=loss.name,
                digest="",
                dtype=cast(Dtype, self.space.dtype),
                points="domain",
                shape=shape,
                index=index,
            )
            arrays, _ = domain_points(loss, case, self.parameters)
            if loss.batchwise:
                arrays = {name: array[None] for name, array in arrays.items()}
            found = found + self.space.points(arrays)
        return found[:count]

    def _anywhere(self, count: int) -> Points:
        """Any bit patterns: every order of magnitude is as likely as any other."""
        end = top(self.space.dtype)
        size = self._random_places((count, self.space.size), 0, end)
        return self._of(size * self._signs(size.shape))

    def _moderate(self, count: int) -> Points:
        """Any bit patterns whose squares are still numbers of the dtype."""
        one = int(places(np.asarray(1.0), self.space.dtype))
        low, high = one // 2, one + (top(self.space.dtype) - one) // 2
        size = self._random_places((count, self.space.size), low, high)
        return self._of(size * self._signs(size.shape))

    def _ends(self, count: int) -> Points:
        """Ends of domains and formats, parameters and the places where functions turn, and their neighbours."""
        space = self.space
        real = [float(value) for value in self.parameters.values() if np.ndim(value) == 0]
        chosen = np.array([*ENDS, *real, *(one / 2 for one in real), *(one * 2 for one in real)])
        with np.errstate(over="ignore"):
            chosen = inputs.rounded(chosen, space.dtype).astype(np.float64)
        ends = places(chosen[np.isfinite(chosen)], space.dtype)
        one = int(places(np.asarray(1.0), space.dtype))
        ends = np.concatenate([ends, [1, top(space.dtype), one - 1, one + 1]])
        shape = (count, space.size)
        return self._of(self._near(self.random.choice(ends, shape) * self._signs(shape)))

    def _equal(self, count: int) -> Points:
        """Inputs of one shape equal or nearly so, or a parameter apart: where differences cancel and kinks are."""
        space, drawn = self.space, self._mixture(count)
        real = [1.0, *(float(value) for value in self.parameters.values() if np.ndim(value) == 0)]
        found = drawn.places.copy()
        for first, other in zip(space.reals, space.reals[1:], strict=False):
            if space.shapes[first] == space.shapes[other]:
                values = numbers(found[:, space.columns[first]], space.dtype)
                apart = self.random.choice([0.0, 0.0, *real], (count, 1)) * self._signs((count, 1))
                raw = inputs.rounded(values + apart, space.dtype).astype(np.float64)
                limit = numbers(np.asarray(top(space.dtype)), space.dtype)
                found[:, space.columns[other]] = places(np.clip(raw, -limit, limit), space.dtype)
        return self._of(self._near(found), drawn.labels)

    def _confident(self, count: int) -> Points:
        """Probabilities near 0 and 1; rows of which one entry is far above the others, at whatever height."""
        space, drawn = self.space, self._mixture(count)
        arrays = space.arrays(drawn)
        for name in space.reals:
            one, shape = space.loss.inputs[name], (count, *space.shapes[name])
            share = np.ldexp(1 + self.random.random_sample(shape), -self.random.randint(1, bits(space.dtype), shape))
            if one.domain == "unit":
                arrays[name] = np.where(self.random.randint(0, 2, shape) == 0, share, 1 - share)
            elif set(axes_of(one)) - {BATCH} and one.domain in ("real", "simplex", "log_simplex"):
                arrays[name] = self._dominated(shape, one.domain)
            elif one.domain in ("real", "logarithm"):
                arrays[name] = FARTHEST * (2 * self.random.random_sample(shape) - 1)
        return space.points(arrays)

    def _dominated(self, shape: tuple[int, ...], domain: str) -> np.ndarray:
        random, ones = self.random, (*shape[:-1], 1)
        gap = np.exp2(random.uniform(-12, np.log2(FARTHEST), ones))
        above = np.arange(shape[-1]) == random.randint(0, shape[-1], ones)
        rest = random.random_sample(shape) * random.choice([0.0, 1.0, 10.0], ones)
        height = random.choice([0.0, 0.0, 10.0, 1000.0, 1e6], ones) * self._signs(ones)
        rows = np.where(above, gap, -rest)
        if domain == "simplex":
            return np.asarray(np.exp(rows - gap))
        return rows + (height if domain == "real" else 0.0)

    def _zeros(self, count: int) -> Points:
        """Where the loss itself, or a derivative, is nearly 0 although it need not be small: its sign changes there."""
        if not len(self._crossings):
            return self._mixture(count)
        chosen = self._crossings[self.random.randint(0, len(self._crossings), count)]
        return self._of(self._near(chosen.places), chosen.labels)

    @cached_property
    def _crossings(self) -> Points:
        """Neighbours between which a sign changes, by bisection of the line between two points, all at once."""
        space = self.space
        if space.loss.batchwise:  # each would be a batch of its own
            return self.known[:0]
        formula = space.loss.formula
        roots = [formula.kernel, *formula.kernel_gradients.values()]
        low = self._mixture(CROSSINGS)
        high = Points(self._mixture(CROSSINGS).places, low.labels)
        root = self.random.randint(0, len(roots), CROSSINGS)

        def sign(points: Points) -> np.ndarray:
            given = {**space.arrays(points), **self.parameters}
            named = {name: array for name, array in given.items() if name in formula.names}
            found = floats.evaluate(roots, named, sizes=space.sizes)
            flat = [np.broadcast_to(one.reshape(len(one), -1)[:, :1], (CROSSINGS, 1)) for one in found]
            return np.asarray(np.sign(np.concatenate(flat, axis=1)[np.arange(CROSSINGS), root]))

        below, above = sign(low), sign(high)
        for _ in range(bits(space.dtype)):
            middle = space.inside(Points(low.places // 2 + high.places // 2, low.labels), low)
            same = (sign(middle) == below)[:, None]
            low = Points(np.where(same, middle.places, low.places), low.labels)
            high = Points(np.where(same, high.places, middle.places), low.labels)
        return low[below != above]

    def _mixture(self, count: int) -> Points:
        """Ordinary points and those of any size, half of each."""
        return self._drawn(count // 2) + self._moderate(count - count // 2) if count > 1 else self._moderate(count)

    def _around(self, count: int) -> Points:
        """Neighbours of the points that are known."""
        if not len(self.known):
            return self._mixture(count)
        chosen = self.known[self.random.randint(0, len(self.known), count)]
        return self._of(self._near(chosen.places), chosen.labels)

    def _near(self, found: np.ndarray) -> np.ndarray:
        """Every other number by a power of two of places away."""
        moving = self.random.randint(0, 2, found.shape) == 0
        return np.asarray(
            np.where(moving, stepped(found, steps(self.random, found.shape, self.space.dtype), self.space.dtype), found)
        )

    def _of(self, found: np.ndarray, labels: np.ndarray | None = None) -> Points:
        """Points of any places, brought into the domains."""
        if labels is None:
            drawn = [self.space.label(name, (len(found), self._width(name)), self.random) for name in self.space.labels]
            labels = np.concatenate([np.zeros((len(found), 0), np.int64), *drawn], axis=1)
        return self.space.points(self.space.arrays(Points(found, labels)))

    def _width(self, name: str) -> int:
        return prod(self.space.shapes[name])

    def _random_places(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        return np.asarray(low + (self.random.random_sample(shape) * (float(high) - float(low))).astype(np.int64))

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(2 * self.random.randint(0, 2, shape) - 1)


SORTS: Sequence[Sort] = (
    Seeds._drawn,
    Seeds._anywhere,
    Seeds._moderate,
    Seeds._ends,
    Seeds._equal,
    Seeds._confident,
    Seeds._zeros,
    Seeds._around,
)


def random_of(name: str, seed: int) -> np.random.RandomState:
    """A stream that is frozen for ever, of a loss and a seed."""
    return np.random.RandomState([zlib.crc32(name.encode()), seed])
