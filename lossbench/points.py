"""Where losses are hard: points over the declared domains, ordinary and extreme ones in turn.

Only arithmetic that rounds alike on every machine makes them, so that every worker draws the same bits.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np

from lossbench.loss import Input, Loss
from lossbench.records import Case

# The style of point i is STYLES[i % len(STYLES)], for all inputs together.
STYLES = (
    "ordinary",
    "wide",  # log-uniform magnitudes
    "near",  # targets close to the prediction, by all powers of two
    "fit",  # targets equal to it
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

Drawn = tuple[dict[str, np.ndarray], np.ndarray]


def timing_points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> Drawn:
    """Each input, and weights: ordinary points, drawn quickly."""
    random = _random(loss, case)
    found: dict[str, np.ndarray] = {}
    for name, one in loss.inputs.items():
        raw = 6 * random.random_sample(case.shape if one.kind == "row" else case.shape[:1]) - 3
        if one.kind == "label":
            found[name] = random.randint(0, case.shape[-1], case.shape[:1])
        elif one.domain in ("simplex", "log_simplex"):
            rows = _normalised(np.abs(raw) + 0.1)
            found[name] = np.log(rows) if one.domain == "log_simplex" else rows
        elif one.domain == "onehot":
            found[name] = np.eye(case.shape[1])[random.randint(0, case.shape[1], case.shape[0])]
        else:
            found[name] = _inside(one.domain, raw)
    return found, 0.5 + random.random_sample(case.shape[:1])


def domain_points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> Drawn:
    """Each input, and weights: points of every style, each inside the domain of its input."""
    draw = _Draw(loss, case, parameters)
    found = {name: draw.input(one) for name, one in loss.inputs.items()}
    return found, draw.weight()


def _random(loss: Loss, case: Case) -> np.random.RandomState:
    # Seed from the name, not from hash() (differs per process) or the digest (a comment would move every point).
    # RandomState because its stream is frozen for ever; that of Generator may change with NumPy.
    return np.random.RandomState([zlib.crc32(loss.name.encode()), case.index, *case.shape])


class _Draw:
    def __init__(self, loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> None:
        self.random = _random(loss, case)
        self.dtype = case.dtype
        self.size = case.shape[0]
        self.classes = case.shape[-1]
        self.style = np.arange(self.size) % len(STYLES)
        kinds = {name: one.kind for name, one in loss.parameters.items()}
        numbers = {abs(float(parameters[name])) for name, kind in kinds.items() if kind == "real"}
        self.kinks = np.array(sorted({1.0, *(one for one in numbers if 0 < one <= LARGE)}))
        self.ignored = [int(parameters[name]) for name, kind in kinds.items() if kind == "label"]
        self.anchors: dict[str, np.ndarray] = {}  # the first input of each sort, to which later ones are near

    def input(self, one: Input) -> np.ndarray:
        """The points of the next input."""
        if one.kind == "label":
            return self._labels()
        if one.domain in ("simplex", "log_simplex"):
            rows = self._probabilities()
            # math.log is the same in every NumPy; np.log depends on its vector instructions.
            return np.vectorize(math.log, otypes=[float])(rows) if one.domain == "log_simplex" else rows
        if one.domain == "onehot":
            return np.eye(self.classes)[self.random.randint(0, self.classes, self.size)]
        return _inside(one.domain, self._entries(one.kind))

    def weight(self) -> np.ndarray:
        """Positive sample weights, and a zero now and then."""
        weights = np.ldexp(1 + self.random.random_sample(self.size), self.random.randint(-2, 2, self.size))
        weights[3::8] = 0
        weights[5::8] = 1
        return weights

    def _labels(self) -> np.ndarray:
        labels = self.random.randint(0, self.classes, self.size)
        if self.ignored:
            labels[self.random.randint(0, IGNORED, self.size) == 0] = self.ignored[0]
        return labels

    def _entries(self, kind: str) -> np.ndarray:
        shape = (self.size, self.classes) if kind == "row" else (self.size,)
        random = self.random
        ordinary = 4 * random.random_sample((3, *shape)).sum(0) - 6
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
            "tie": random.randint(-16, 17, shape) / 8 if kind == "real" else random.randint(1, 4, shape) / 2,
        }
        if kind in self.anchors:
            anchor = self.anchors[kind]
            points["near"] = anchor * (1 + self._gap(shape))
            points["fit"] = anchor
            if kind == "real":
                points["tie"] = anchor + random.choice(self.kinks, shape) * self._signs(shape)
            else:  # parallel to the anchor
                points["tie"] = anchor * 2 * self._signs((self.size, 1))
        chosen = self._chosen(points)
        if kind == "row":
            chosen[~chosen.any(axis=1), 0] = 1  # a row of zeros has no direction
        self.anchors.setdefault(kind, chosen)
        return chosen

    def _probabilities(self) -> np.ndarray:
        shape = (self.size, self.classes)
        random = self.random
        share = random.random_sample(shape)
        bits = CONFIDENT[self.dtype]
        certain = np.arange(self.classes) == random.randint(0, self.classes, (self.size, 1))
        wide = np.ldexp(1 + share, -random.randint(0, bits, shape))
        few = np.ldexp(1 + share, -random.randint(bits // 2, bits, shape))
        anchor = self.anchors.get("simplex", share + 0.05)
        points = {
            "ordinary": share + 0.05,
            "wide": np.where(certain, 1, wide),
            "near": anchor * (1 + self._gap(shape) / 2),
            "fit": anchor,
            "special": random.randint(1, 4, shape) / 4,
            "large": np.where(certain, 1, few),
            "tie": np.ones(shape),
        }
        rows = self._chosen(points)
        fit = self.style == STYLES.index("fit")
        rows = np.where(fit[:, None] & ("simplex" in self.anchors), rows, _normalised(rows))
        self.anchors.setdefault("simplex", rows)
        return rows

    def _chosen(self, points: Mapping[str, np.ndarray]) -> np.ndarray:
        stacked = np.stack([points[style] for style in STYLES])
        return np.asarray(stacked[self.style, np.arange(self.size)])

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(2.0 * self.random.randint(0, 2, shape) - 1)

    def _gap(self, shape: tuple[int, ...]) -> np.ndarray:
        places = self.random.randint(1, DIGITS[self.dtype] + 1, shape)
        return np.asarray(np.ldexp(self._signs(shape), -places))


def _normalised(rows: np.ndarray) -> np.ndarray:
    # accumulate adds from left to right everywhere; the order in which sum adds is its own affair.
    return np.asarray(rows / np.add.accumulate(rows, axis=1)[:, -1:])


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
        case "count":
            return np.asarray(np.rint(np.minimum(size, LARGE)))
    raise AssertionError(f"{domain} is the domain of no real numbers")
