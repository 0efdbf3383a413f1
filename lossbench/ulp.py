"""Errors of computed numbers against certified ones: entry by entry in ulps, and what remains of a whole array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Format:
    """A binary floating-point format: bits of the significand with the hidden one, ends of the normal exponents."""

    precision: int
    emin: int
    emax: int

    @property
    def normal(self) -> float:
        """The smallest normal number."""
        return float(np.ldexp(1.0, self.emin))

    @property
    def smallest(self) -> float:
        """The smallest positive number, which is subnormal."""
        return float(np.ldexp(1.0, self.emin - self.precision + 1))

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.ldexp(2.0 - np.ldexp(1.0, 1 - self.precision), self.emax))

    @property
    def beyond(self) -> float:
        """How far beyond the largest finite number infinity begins to be the nearest one: half an ulp."""
        return float(np.ldexp(1.0, self.emax - self.precision))


FORMATS: Mapping[str, Format] = {
    "float64": Format(precision=53, emin=-1022, emax=1023),
    "float32": Format(precision=24, emin=-126, emax=127),
    "bfloat16": Format(precision=8, emin=-126, emax=127),
    "float16": Format(precision=11, emin=-14, emax=15),
}


def exponent(high: np.ndarray, low: np.ndarray, dtype: str) -> np.ndarray:
    """The binary exponent of one ulp of *dtype* at the exact numbers high + low.

    Source:
        Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed. (2018), section 2.3.2: Goldberg's ulp of a real.
    """
    form = FORMATS[dtype]
    significand, above = np.frexp(high)
    # A power of two that low pulls down belongs to the binade below, whose ulp is half as large.
    pulled = (np.abs(significand) == 0.5) & (low != 0) & ((low < 0) == (high > 0))
    of_number = np.where(high == 0, form.emin, above - 1 - pulled)
    return np.clip(of_number, form.emin, form.emax) - form.precision + 1


@dataclass(frozen=True, kw_only=True)
class Exact:
    """What must come out, as the reference certified it, and what an error at each entry is weighed by.

    Attributes:
        dtype: Of the numbers that will be compared with it.
        high, low, radius: Nearest double, remainder, proved half-width of the rest; the shape of the output.
        lower, upper: Ends of the subdifferential; equal to `high` where smooth.
        moved: How far the number moves when every input moves by its own size: the sum of abs(x*d), where d is the
            derivative by x; 0 where that is unknown.
        unit: The number that counts as ordinary: 1, or 1/n for the gradient of a mean over n.
        terms: How many numbers are added up into one entry.
        rows: Whether the last axis is a vector, whose entries are judged beside its largest one.
    """

    dtype: str
    high: np.ndarray
    low: np.ndarray
    radius: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    moved: np.ndarray
    unit: float = 1.0
    terms: int = 1
    rows: bool = False

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, np.ndarray],
        name: str,
        dtype: str,
        *,
        moved: np.ndarray | None = None,
        unit: float = 1.0,
        terms: int = 1,
        rows: bool = False,
    ) -> Exact:
        """The entry *name* among the arrays of a reference's output; what those lack is 0, or smooth."""
        high = np.asarray(arrays[name], np.float64)
        zeros = np.zeros(high.shape)
        return cls(
            dtype=dtype,
            high=high,
            low=arrays.get(f"{name}.low", zeros),
            radius=arrays.get(f"{name}.radius", zeros),
            lower=arrays.get(f"{name}.lower", high),
            upper=arrays.get(f"{name}.upper", high),
            moved=zeros if moved is None else np.asarray(moved, np.float64),
            unit=unit,
            terms=terms,
            rows=rows,
        )

    @cached_property
    def kink(self) -> np.ndarray:
        """Where every number of an interval is right."""
        return self.lower < self.upper

    @cached_property
    def exponent(self) -> np.ndarray:
        """Of one ulp, at each entry."""
        return exponent(self.high, self.low, self.dtype)

    @cached_property
    def allowance(self) -> np.ndarray:
        """The exponent of the ulp by which an entry is judged, before its condition: that of a vector's largest entry,
        and at an exact 0 that of what cancelled, or of `unit` if that is larger."""
        magnitude, moved = self._sizes
        magnitude = np.where(magnitude > 0, magnitude, np.maximum(moved, self.unit))
        plain = exponent(magnitude, np.zeros(magnitude.shape), self.dtype)
        return plain if self.rows else np.where(self.high != 0, self.exponent, plain)

    @cached_property
    def condition(self) -> np.ndarray:
        """By how many ulps one ulp of every input moves the result, or the largest entry of its vector."""
        magnitude, moved = self._sizes
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where((magnitude > 0) & ~self.kink, moved / magnitude, 0.0)

    @cached_property
    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each entry, or of the largest of its vector: how large it is, and how far it moves."""
        magnitude, moved = np.where(np.isfinite(self.high), np.abs(self.high), 0.0), self.moved
        if self.rows and magnitude.size:
            magnitude, moved = (
                np.broadcast_to(array.max(axis=-1, keepdims=True), array.shape) for array in (magnitude, moved)
            )
        return magnitude, moved


@dataclass(frozen=True, kw_only=True)
class Entries:
    """The comparison of each entry; arrays of the output's shape.

    Attributes:
        ulps: The error in ulps of the exact number; nan where there is none: at mismatches, undefined points, exact
            zeros that were missed, and flushed results.
        distance: The error itself; nan at mismatches of kind and undefined points.
        judged: The error in ulps after conditioning: as `ulps`, but divided by 1 + condition, for vectors beside their
            largest entry, and defined at exact zeros too.
        nan, inf, finite: Mismatches, by what came out: nan for a number, an infinity for another number, a finite
            number for an infinity (or, where `nan` is required, any number for nan).
        flushed: Exact subnormal numbers that came out as 0, where no subnormal number came out at all.
        missed: Exact zeros that came out as something else.
        undefined: Where mathematics says nothing.
    """

    ulps: np.ndarray
    distance: np.ndarray
    judged: np.ndarray
    nan: np.ndarray
    inf: np.ndarray
    finite: np.ndarray
    flushed: np.ndarray
    missed: np.ndarray
    undefined: np.ndarray


def entries(got: np.ndarray, exact: Exact, *, tolerated: float, nan_required: bool = False) -> Entries:
    """Compare *got* with *exact*, entry by entry.

    An infinity beside a finite number stands for the smallest number that rounds to it, and a finite number beside one
    that overflows is compared as it is; beyond *tolerated* judged ulps both are mismatches. A subgradient anywhere
    in its interval has no error. The sign of zero is no error.

    Source:
        Zimmermann et al., Accuracy of Mathematical Functions in Single, ... Precision, hal-03141101 (infinities).
    """
    form = FORMATS[exact.dtype]
    got = np.asarray(got, np.float64).reshape(exact.high.shape)
    high, low, scale, allowance = exact.high, exact.low, exact.exponent, exact.allowance
    if exact.kink.any():
        high = np.where(exact.kink, np.clip(got, exact.lower, exact.upper), high)
        low = np.where(exact.kink, 0.0, low)
        scale = np.where(exact.kink, exponent(high, low, exact.dtype), scale)
        allowance = np.where(exact.kink, np.maximum(scale, allowance), allowance)
    undefined = np.isnan(exact.high) | np.isinf(exact.radius)
    pole = np.isinf(high)
    infinite = np.isinf(got)
    with np.errstate(invalid="ignore", over="ignore"):
        overflows = ~pole & (np.abs(high) - form.largest >= form.beyond)
        agree = infinite & (pole | overflows) & (np.sign(got) == np.sign(high))
        stand_in = infinite & ~pole & ~agree
        # Subtract high first: got and high are close, so the difference is exact.
        distance = (np.where(stand_in, np.copysign(form.largest, got), got) - high) - low
        distance = np.abs(distance + np.where(stand_in, np.copysign(form.beyond, got), 0.0))
        distance = np.maximum(distance - exact.radius, 0.0)
        distance = np.where(agree | (undefined & np.isnan(got)), 0.0, np.where(pole | undefined, np.nan, distance))
        ulps = _in_ulps(distance, scale)
        judged = _in_ulps(distance, allowance) / (1.0 + exact.condition)
        far = judged > tolerated
    nan = np.isnan(got) & ~undefined
    inf = infinite & ~agree & (pole | far) & ~undefined
    finite = np.isfinite(got) & (pole | (overflows & far)) & ~undefined
    if nan_required:
        finite = finite | (undefined & np.isfinite(got))
        inf = inf | (undefined & infinite)
    comparable = ~(nan | inf | finite | undefined)
    missed = comparable & (high == 0) & (got != 0) & ~exact.kink
    subnormal = (np.abs(got) < form.normal) & (got != 0)
    flushed = np.zeros(high.shape, bool)
    if not subnormal.any():
        flushed = comparable & (got == 0) & (high != 0) & (np.abs(high) < form.normal) & (ulps > 1)
    return Entries(
        ulps=np.where(comparable & ~missed & ~flushed, ulps, np.nan),
        distance=np.where(comparable, distance, np.nan),
        judged=np.where(comparable & ~flushed, judged, np.nan),
        nan=nan,
        inf=inf,
        finite=finite,
        flushed=flushed,
        missed=missed,
        undefined=undefined,
    )


def normwise(got: Entries, exact: Exact) -> float:
    """The largest error in ulps of the largest exact number: of its vector for rows, else of the whole array."""
    if exact.high.size == 0:
        return 0.0
    magnitude = np.where(np.isfinite(exact.high), np.abs(exact.high), 0.0)
    largest = magnitude.max(axis=-1, keepdims=True) if exact.rows else magnitude.max(keepdims=True)
    largest = np.where(largest > 0, largest, exact.unit)
    scaled = _in_ulps(got.distance, exponent(largest, np.zeros(largest.shape), exact.dtype))
    return float(np.nanmax(scaled, initial=0.0))


def _in_ulps(distance: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """*distance* divided by two to the *scale*; at most the largest double."""
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(np.ldexp(distance, -scale), np.finfo(np.float64).max))
