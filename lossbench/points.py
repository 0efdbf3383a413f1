"""Where losses are hard: points over the declared domains, ordinary and extreme ones in turn.

Only arithmetic that rounds alike on every machine makes them, so that every worker draws the same bits.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from lossbench.loss import Loss
from lossbench.records import Case
from lossbench.text import BATCH, Input

# The style of point i is STYLES[i % len(STYLES)], for all inputs together; of a whole batch, that of its case's index.
STYLES = (
    "ordinary",
    "wide",  # log-uniform magnitudes
    "near",  # targets close to the prediction, by all powers of two; every other entry of a batch to the one before
    "fit",  # targets equal to it; entries of a batch likewise
    "special",  # ends of the domain, parameters
    "large",  # up to 100 in size; rows of probabilities that are nearly certain
    "tie",  # short numbers: equal entries of a row, predictions a parameter away from the target
)
# Bits of magnitude on either side of 1, and digits by which near points differ.
EXPONENTS = {"float64": 40, "float32": 30, "bfloat16": 30, "float16": 6}
DIGITS = {"float64": 52, "float32": 23, "bfloat16": 7, "float16": 10}
CONFIDENT = {"float64": 40, "float32": 24, "bfloat16": 24, "float16": 10}  # bits of the smallest probability
LARGE = 100
IGNORED = 10  # one label in so many is one to be ignored
UNEVEN = (0, 4, 0, 1, 1, 1, 1, 0)  # elements of one update after the other: the first has none; one each on average
EVEN = 1024  # elements of each update that is timed
# The draws of what is brought to a state, to see whether its mean drifts.
DRIFTS = (
    "equal",  # the same element of weight 1 in each, whose additions are rounded alike
    "uneven",  # none, one or several, and weights, some of which are 0
)
# What sums of any length are made of: so many points, of one of these styles.
POOL = 128
POOLS = ("ordinary", "wide")

Drawn = tuple[dict[str, np.ndarray], np.ndarray]


def timing_points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> Drawn:
    """Each input, and weights: ordinary points, drawn quickly."""
    random = _random(loss, case)
    sizes = dict(zip(loss.dimensions, case.shape, strict=True))
    found: dict[str, np.ndarray] = {}
    for name, one in loss.inputs.items():
        shape = tuple(sizes[axis] for axis in loss.along(name))
        raw = 6 * random.random_sample(shape) - 3
        if one.kind == "label":
            found[name] = _labels(random, one, sizes, _marks(loss, parameters), shape)
            if one.domain == "length":
                found[name] = np.full(shape, sizes[one.of])
            if one.domain == "update":
                found[name] = np.arange(shape[0]) // EVEN
        elif one.domain in ("simplex", "log_simplex"):
            rows = _normalised(np.abs(raw) + 0.1)
            found[name] = np.log(rows) if one.domain == "log_simplex" else rows
        elif one.domain == "onehot":
            found[name] = _onehot(random, shape)
        else:
            found[name] = _inside(one.domain, raw)
    return found, 0.5 + random.random_sample(sizes[BATCH])


def drift_points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> Drawn:
    """Each input, as many elements as updates: numbers around 0.1, as losses are that have been learnt."""
    random, (count,) = _random(loss, case), case.shape
    alike = DRIFTS[case.index] == "equal"
    found: dict[str, np.ndarray] = {}
    for name, one in loss.inputs.items():
        if one.domain == "update":
            found[name] = np.arange(count) if alike else _uneven(count)
        elif one.domain == "nonnegative":
            found[name] = np.ones(count) if alike else random.randint(0, 4, count) / 2
        else:
            found[name] = np.full(count, 0.1) if alike else 0.05 + 0.1 * random.random_sample(count)
    return found, np.ones(count)


def pool_points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> Drawn:
    """Each input, and weights, of the points that the batch is made of: the same for every length and dtype but for
    magnitudes that the dtype has not, and without labels to be ignored."""
    pool = replace(case, shape=(POOL, *case.shape[1:]))
    draw = _Draw(loss, pool, parameters)
    draw.style = np.full(POOL, STYLES.index(POOLS[case.index]))
    draw.ignored = False
    return {name: draw.input(name, one) for name, one in loss.inputs.items()}, draw.weight()


def pool_order(loss: Loss, case: Case) -> np.ndarray:
    """Which point of the pool each loss of the batch is: at random, or each once where nothing is added up."""
    if case.reduction == "none":
        return np.arange(POOL, dtype=np.uint8)
    return _random(loss, case).randint(0, POOL, case.shape[0], dtype=np.uint8)


def _uneven(count: int) -> np.ndarray:
    """The number of the update of each element."""
    return np.repeat(np.arange(count), np.resize(UNEVEN, count))[:count]


def domain_points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> Drawn:
    """Each input, and weights: points of every style, each inside the domain of its input."""
    draw = _Draw(loss, case, parameters)
    found = {name: draw.input(name, one) for name, one in loss.inputs.items()}
    return found, draw.weight()


def _random(loss: Loss, case: Case) -> np.random.RandomState:
    # Seed from the name, not from hash() (differs per process) or the digest (a comment would move every point).
    # RandomState because its stream is frozen for ever; that of Generator may change with NumPy.
    return np.random.RandomState([zlib.crc32(loss.name.encode()), case.index, *case.shape])


def _marks(loss: Loss, parameters: Mapping[str, np.ndarray]) -> list[int]:
    """The labels that are parameters: one to be ignored, a blank."""
    return [int(parameters[name]) for name, one in loss.parameters.items() if one.kind == "label"]


def _labels(
    random: np.random.RandomState, one: Input, sizes: Mapping[str, int], marks: list[int], shape: tuple[int, ...]
) -> np.ndarray:
    match one.domain:
        case "update":
            return _uneven(shape[0])
        case "id":
            return random.randint(0, max(2, sizes[BATCH] // 2), shape)
        case "length":  # at least half of it, so that a sequence is mostly longer than what it spells
            return random.randint((sizes[one.of] + 1) // 2, sizes[one.of] + 1, shape)
        case "symbol":
            return random.choice([label for label in range(sizes[one.of]) if label not in marks], shape)
    return random.randint(0, sizes[one.of], shape)


def _onehot(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.eye(shape[-1])[random.randint(0, shape[-1], shape[:-1])])


class _Draw:
    def __init__(self, loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> None:
        self.random = _random(loss, case)
        self.dtype = case.dtype
        self.loss = loss
        self.sizes = dict(zip(loss.dimensions, case.shape, strict=True))
        # Of each point, or of the one that the whole batch is.
        self.style = np.asarray([case.index]) if loss.batchwise else np.arange(self.sizes[BATCH])
        self.style = self.style % len(STYLES)
        kinds = {name: one.kind for name, one in loss.parameters.items()}
        numbers = {abs(float(parameters[name])) for name, kind in kinds.items() if kind == "real"}
        self.kinks = np.array(sorted({1.0, *(one for one in numbers if 0 < one <= LARGE)}))
        self.marks = _marks(loss, parameters)
        self.ignored = True
        self.anchors: dict[tuple[str, ...], np.ndarray] = {}  # the first input of each sort, to which others are near

    def input(self, name: str, one: Input) -> np.ndarray:
        """The points of the next input."""
        along = self.loss.along(name)
        shape = tuple(self.sizes[axis] for axis in along)
        if one.kind == "label":
            labels = _labels(self.random, one, self.sizes, self.marks, shape)
            if self.marks and self.ignored and one.domain == "class":
                labels[self.random.randint(0, IGNORED, shape) == 0] = self.marks[0]
            return labels
        if one.domain in ("simplex", "log_simplex"):
            rows = self._probabilities(along, shape)
            # math.log is the same in every NumPy; np.log depends on its vector instructions.
            return np.vectorize(math.log, otypes=[float])(rows) if one.domain == "log_simplex" else rows
        if one.domain == "onehot":
            return _onehot(self.random, shape)
        if one.domain == "direction":  # where some coincide, rounding decides on which side of 1 their product is
            return _inside(one.domain, self._ordinary(shape))
        return _inside(one.domain, self._entries(along, shape))

    def weight(self) -> np.ndarray:
        """Positive sample weights, and a zero now and then."""
        entries = self.sizes[BATCH]
        weights = np.ldexp(1 + self.random.random_sample(entries), self.random.randint(-2, 2, entries))
        weights[3::8] = 0
        weights[5::8] = 1
        return weights

    def _entries(self, along: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        random, is_vector = self.random, bool({*along} - {BATCH})
        ordinary = self._ordinary(shape)
        exponents = EXPONENTS[self.dtype]
        wide = np.ldexp(1 + random.random_sample(shape), random.randint(-exponents, exponents, shape))
        specials = np.array([0.0, *self.kinks, *self.kinks / 2, 0.5 ** DIGITS[self.dtype]])
        points = {
            "ordinary": ordinary,
            "wide": wide * self._signs(shape),
            "near": ordinary,
            "fit": ordinary,
            "special": random.choice(specials, shape) * self._signs(shape),
            "large": LARGE * (2 * random.random_sample(shape) - 1),
            "tie": random.randint(1, 4, shape) / 2 if is_vector else random.randint(-16, 17, shape) / 8,
        }
        if along in self.anchors:
            anchor = self.anchors[along]
            points["near"] = anchor * (1 + self._gap(shape))
            points["fit"] = anchor
            if is_vector:  # parallel to the anchor
                points["tie"] = anchor * 2 * self._signs((*shape[:-1], 1))
            else:
                points["tie"] = anchor + random.choice(self.kinks, shape) * self._signs(shape)
        elif self.loss.batchwise and BATCH in along:
            points["fit"] = _paired(ordinary)
            points["near"] = _paired(ordinary) * (1 + self._gap(shape))
        chosen = self._chosen(points)
        if is_vector:
            chosen[~chosen.any(axis=-1), 0] = 1  # a row of zeros has no direction
        self.anchors.setdefault(along, chosen)
        return chosen

    def _ordinary(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(4 * self.random.random_sample((3, *shape)).sum(0) - 6)

    def _probabilities(self, along: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        random, sort = self.random, ("simplex", *along)
        classes, ones = shape[-1], (*shape[:-1], 1)
        share = random.random_sample(shape)
        bits = CONFIDENT[self.dtype]
        certain = np.arange(classes) == random.randint(0, classes, ones)
        wide = np.ldexp(1 + share, -random.randint(0, bits, shape))
        few = np.ldexp(1 + share, -random.randint(bits // 2, bits, shape))
        anchor = self.anchors.get(sort, share + 0.05)
        points = {
            "ordinary": share + 0.05,
            "wide": np.where(certain, 1, wide),
            "near": anchor * (1 + self._gap(shape) / 2),
            "fit": anchor,
            "special": random.randint(1, 4, shape) / 4,
            "large": np.where(certain, 1, few),
            "tie": np.ones(shape),
        }
        rows = self._chosen({style: _normalised(rows) for style, rows in points.items()} | self._fitting(sort))
        self.anchors.setdefault(sort, rows)
        return rows

    def _fitting(self, sort: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Rows that are equal to the anchor stay as they are: normalised again they would differ in the last bit."""
        return {"fit": self.anchors[sort]} if sort in self.anchors else {}

    def _chosen(self, points: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.loss.batchwise:
            return np.array(points[STYLES[int(self.style[0])]])
        stacked = np.stack([points[style] for style in STYLES])
        return np.asarray(stacked[self.style, np.arange(len(self.style))])

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(2.0 * self.random.randint(0, 2, shape) - 1)

    def _gap(self, shape: tuple[int, ...]) -> np.ndarray:
        places = self.random.randint(1, DIGITS[self.dtype] + 1, shape)
        return np.asarray(np.ldexp(self._signs(shape), -places))


def _paired(entries: np.ndarray) -> np.ndarray:
    """Every other entry like the one before."""
    return np.repeat(entries[::2], 2, axis=0)[: len(entries)]


def _normalised(rows: np.ndarray) -> np.ndarray:
    # accumulate adds from left to right everywhere; the order in which sum adds is its own affair.
    return np.asarray(rows / np.add.accumulate(rows, axis=-1)[..., -1:])


def _inside(domain: str, values: np.ndarray) -> np.ndarray:
    """Any numbers brought into *domain*, small ones to its ends."""
    if domain == "real":
        return values
    size = np.asarray(np.abs(values))
    match domain:
        case "positive":
            return np.where(size == 0, 1, size)
        case "nonnegative":
            return size
        case "nonzero":
            return np.where(size == 0, 1, values)
        case "unit":
            with np.errstate(divide="ignore"):
                share = np.minimum(size, 1 / size)
            return np.asarray(np.where(np.signbit(values), 1 - share, share))
        case "sign":
            return np.where(np.signbit(values), -1.0, 1.0)
        case "logarithm":  # exponentials that overflow would spoil every mean
            return np.where(values > 10, 100 / np.maximum(values, 10), values)
        case "binary":
            return np.where(np.signbit(values), 0.0, 1.0)
        case "direction":
            return np.asarray(values / np.sqrt(np.add.accumulate(values**2, axis=-1)[..., -1:]))
        case "count":
            return np.asarray(np.rint(np.minimum(size, LARGE)))
    raise AssertionError(f"{domain} is the domain of no real numbers")
