"""The pictures: error against input, against the number of updates and the length of a sum, and time against size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from lossbench.report import svg
from lossbench.report.words import seconds

BINS = 90  # of the input axis: about one for each three pixels
SMALLEST = 1e-2  # ulps; errors below are drawn here


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The axis of inputs: linear, or logarithmic on both sides of a stretch around zero."""

    low: float
    high: float
    threshold: float | None

    @classmethod
    def of(cls, x: np.ndarray) -> Scale:
        """One on which inputs of all those magnitudes can be told apart."""
        x = x[np.isfinite(x)]
        if not x.size:
            return cls(low=-1.0, high=1.0, threshold=None)
        size = np.abs(x[x != 0])
        low, high = float(x.min()), float(x.max())
        if not size.size or np.quantile(size, 0.95) < 1e3 * np.quantile(size, 0.1):
            margin = (high - low or 1.0) * 0.03
            return cls(low=low - margin, high=high + margin, threshold=None)
        return cls(low=min(low, 0.0), high=high, threshold=float(10 ** np.floor(np.log10(np.quantile(size, 0.1)))))

    def unit(self, x: np.ndarray) -> np.ndarray:
        """Where the inputs stand on the axis, evenly spaced to the eye."""
        if self.threshold is None:
            return x
        inside = np.clip(x / self.threshold, -1, 1)
        with np.errstate(divide="ignore"):
            beyond = np.log10(np.maximum(np.abs(x) / self.threshold, 1))
        return np.asarray(inside + np.sign(x) * beyond)

    def draw(self, axes: Axes) -> None:
        """Give the axis its limits and round numbers."""
        low, high = self.unit(np.array([self.low, self.high]))
        margin = 0.02 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        if self.threshold is None:
            return
        first = int(np.log10(self.threshold))
        last = first + int(max(abs(low), abs(high)))
        step = max(1, (last - first + 1) // (3 if low < -1 else 6) + 1)
        # Those next to zero would stand too close to its own mark.
        sizes = [10.0**power for power in range(first + (step if low < 0 else 1), last + 1, step)]
        ticks = [0.0, *sizes, *(-size for size in sizes)] if low < 0 else [0.0, *sizes]
        shown = [tick for tick in ticks if self.low <= tick <= self.high]
        axes.xaxis.set_major_locator(FixedLocator(self.unit(np.array(shown)).tolist()))
        labels = dict(zip(self.unit(np.array(shown)).tolist(), shown, strict=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _short(labels.get(at, 0.0))))


def _short(value: float) -> str:
    """A power of ten, or 0, in a few characters."""
    return f"{value:g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").replace("-", "−")


def largest(x: np.ndarray, errors: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of the largest error in each stretch of the axis, and those errors."""
    kept = np.isfinite(x) & np.isfinite(errors)
    x, errors = x[kept], errors[kept]
    if not x.size:
        return x, errors
    at = scale.unit(x)
    edges = np.linspace(at.min(), at.max() or 1.0, BINS + 1)
    place = np.searchsorted(edges, at, side="right")
    order = np.lexsort((errors, place))
    last = np.flatnonzero(np.diff(place[order], append=-1))
    return x[order][last], errors[order][last]


def errors(found: Mapping[str, Mapping[str, pd.DataFrame]], scale: Scale, top: float, loss: str) -> list[str]:
    """For each target the largest errors of value and of gradient, in ulps, against the input.

    Args:
        found: `accuracy.points` of one loss, by target and dtype.
        scale: The axis of inputs.
        top: The largest error that has a place, in ulps.
        loss: Its name, read to those who do not see the picture.
    """
    pictures = []
    with svg.style():
        figure, both = _axes_of_errors(scale, top)
        alone = svg.inline(figure, "axes", "")
        for axes in both:  # the same for all targets, they take longer than the marks
            axes.set_axis_off()
            axes.set_title("", loc="left")
            axes.lines[0].remove()
        for number, (target, frames) in enumerate(found.items()):
            marks = [
                mark
                for axes, what in zip(both, ("value", "gradient"), strict=True)
                for place, frame in enumerate(frames.values())
                for mark in _marks(
                    axes, frame["x"].to_numpy(float), frame[f"{what}_ulp"].to_numpy(float), scale, top, place
                )
            ]
            label = f"error of {loss} by {target} against the input, in ulps"
            pictures.append(svg.over(alone, svg.inline(figure, f"errors-{number}", label), f"errors-{number}-"))
            for mark in marks:
                mark.remove()
    return pictures


def _axes_of_errors(scale: Scale, top: float) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(4.2, 3.1), layout=None)
    both: Sequence[Axes] = figure.subplots(2, 1)
    figure.subplots_adjust(left=0.12, right=0.985, top=0.94, bottom=0.08, hspace=0.36)
    for axes, what in zip(both, ("value", "gradient"), strict=True):
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.axhline(1.0, color=svg.colour("limit"), linewidth=0.9, linestyle="--")
        axes.set_ylim(SMALLEST * 0.7, top)
        powers = range(-2, math.ceil(math.log10(top)), max(1, round(math.log10(top / SMALLEST) / 4)))
        axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in powers]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda ulps, _: _short(ulps)))
        axes.set_title(f"{what}, ulp", loc="left", fontsize=9, pad=3)
        axes.grid(axis="y")
        scale.draw(axes)
    both[0].xaxis.set_major_formatter(NullFormatter())
    return figure, both


def _marks(axes: Axes, x: np.ndarray, ulps: np.ndarray, scale: Scale, top: float, number: int) -> list[Line2D]:
    ink, marker = svg.series(number)
    at, error = largest(x, ulps, scale)
    error = np.minimum(error, top)
    marks = axes.plot(scale.unit(at), np.maximum(error, SMALLEST), marker, color=ink, markersize=2.8, markeredgewidth=0)
    if error.any():
        worst = int(np.argmax(error))
        height = max(error[worst], SMALLEST)
        x_of_worst = scale.unit(at[[worst]])
        marks += axes.plot(
            x_of_worst, [height], "o", markerfacecolor="none", markeredgecolor=ink, markersize=8, clip_on=False
        )
    strange = np.isinf(ulps) & np.isfinite(x)  # nan or an infinity came out, or belonged there
    if strange.any():
        height_of_all = np.full(strange.sum(), top)
        marks += axes.plot(scale.unit(x[strange]), height_of_all, "x", color=ink, markersize=6, clip_on=False)
    return marks


def drift(frame: pd.DataFrame, targets: Sequence[str], name: str, label: str) -> str:
    """The errors of accumulated means in ulps against the number of updates, both logarithmic.

    Args:
        frame: Rows of `drift.errors` of one loss, dtype and sort of updates.
        targets: In the order that gives each its colour and marker.
        name: Keeps the ids of the drawing apart from others on the page.
        label: Is read to those who do not see it.
    """
    with svg.style():
        figure, axes = _of_counts()
        axes.axhline(1.0, color=svg.colour("limit"), linewidth=0.9, linestyle="--")
        for number, target in enumerate(targets):
            rows = frame[frame["target"] == target].sort_values("updates")
            ink, marker = svg.series(number)
            errors = np.maximum(rows["ulps"].to_numpy(float), SMALLEST)
            # Means that drift alike lie on one another: the first is the broadest, so that all are seen.
            width = 1.0 + 1.2 * max(0, len(targets) - 1 - number)
            axes.plot(rows["updates"], errors, f"{marker}-", color=ink, markersize=4 + width, linewidth=width)
        axes.set_ylim(bottom=SMALLEST * 0.6)
        _ticked(axes, sorted(set(frame["updates"])), lambda count: f"{count:,.0f}".replace(",", " "))
        axes.set_title("error of the mean, ulp", loc="left", fontsize=9, pad=3)
        axes.set_xlabel("updates")
        return svg.inline(figure, name, label)


def lengths(frame: pd.DataFrame, targets: Sequence[str], name: str, label: str) -> str:
    """The errors of sums or means in u against their length, both logarithmic, with their two bounds.

    Args:
        frame: Rows of `lengths.errors` of one loss, dtype and reduction; of several pools the largest error is drawn.
        targets: In the order that gives each its colour and marker.
        name: Keeps the ids of the drawing apart from others on the page.
        label: Is read to those who do not see it.
    """
    with svg.style():
        figure, axes = _of_counts()
        bounds = frame.groupby("terms")[["log2_bound", "n_bound"]].first()
        finite = frame["adding"][np.isfinite(frame["adding"])]
        top = 10 * max(float(finite.max()) if len(finite) else 1.0, float(bounds["log2_bound"].max()), 1.0)
        for column, line in (("log2_bound", "--"), ("n_bound", ":")):
            there = bounds[np.isfinite(bounds[column])]
            axes.plot(there.index, np.maximum(there[column], SMALLEST), line, color=svg.colour("limit"), linewidth=1.2)
        for number, target in enumerate(targets):
            largest = frame[frame["target"] == target].groupby("terms")["adding"].max()
            largest = largest[np.isfinite(largest)]
            ink, marker = svg.series(number)
            drawn = np.maximum(largest, SMALLEST)
            axes.plot(largest.index, drawn, f"{marker}-", color=ink, markersize=5, linewidth=1.4)
            lost = np.unique(frame["terms"][(frame["target"] == target) & np.isinf(frame["adding"])])
            axes.plot(lost, np.full(len(lost), top), "x", color=ink, markersize=7, clip_on=False)
        axes.set_ylim(SMALLEST * 0.6, top)
        _ticked(axes, bounds.index, lambda count: f"{count:.0e}".replace("e+0", "e"))
        axes.set_title("error of adding, u", loc="left", fontsize=9, pad=3)
        axes.set_xlabel("losses added")
        return svg.inline(figure, name, label)


def _of_counts() -> tuple[Figure, Axes]:
    """A picture of errors against counts, both logarithmic."""
    figure = Figure(figsize=(5.4, 3.3), layout=None)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.1, right=0.98, top=0.93, bottom=0.15)
    axes.set_xscale("log")
    axes.set_yscale("log")
    return figure, axes


def _ticked(axes: Axes, counts: Iterable[int], said: Callable[[float], str]) -> None:
    """Ticks at the *counts*, as they are *said*, and at a few errors."""
    axes.grid()
    axes.xaxis.set_major_locator(FixedLocator([float(count) for count in counts]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: said(count)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: _short(error)))


def times(frame: pd.DataFrame, targets: Sequence[str], limit: Mapping[float, float], name: str, label: str) -> str:
    """Median seconds with their intervals against the number of elements, both logarithmic.

    Args:
        frame: Rows of `speed.medians` of one loss, dtype and measure.
        targets: In the order that gives each its colour and marker.
        limit: For each number of elements, the seconds that moving its bytes takes at the measured bandwidth.
    """
    with svg.style():
        figure = Figure(figsize=(5.4, 3.3), layout=None)
        axes = figure.subplots()
        figure.subplots_adjust(left=0.12, right=0.98, top=0.96, bottom=0.15)
        for number, target in enumerate(targets):
            rows = frame[(frame["target"] == target) & frame["median"].notna()].sort_values("elements")
            if rows.empty:
                continue
            ink, marker = svg.series(number)
            x, y = rows["elements"].to_numpy(float), rows["median"].to_numpy(float)
            ends = np.stack([y - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - y])
            spread = np.nan_to_num(np.maximum(ends, 0.0))
            axes.errorbar(x, y, spread, fmt=f"{marker}-", color=ink, markersize=5, linewidth=1.4, elinewidth=1)
        if limit:
            sizes = sorted(limit)
            axes.plot(sizes, [limit[size] for size in sizes], "--", color=svg.colour("limit"), linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid()
        named: list[float] = []
        for size in map(float, sorted(set(frame["elements"]))):
            named += [size] if not named or size > 8 * named[-1] else []  # nearer ones would be written over each other
        axes.xaxis.set_major_locator(FixedLocator(named))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}".replace(",", " ")))
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(float(value))))
        axes.set_xlabel("elements")
        return svg.inline(figure, name, label)
