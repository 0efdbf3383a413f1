"""How many results are how far off: the ulps of each target's drawn points in bins that double."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from lossbench.loss import Loss
from lossbench.report import svg, tables
from lossbench.report.one import Picture, Points
from lossbench.report.tables import Table

BOUNDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 2.0**8, 2.0**12, 2.0**24)  # ulps; each bin ends at one of them
TICKS = ("0", "½", "1", "2", "4", "8", "16", "2⁸", "2¹²", "2²⁴", ">", "amiss")
BINS = ("0", "≤ ½", "≤ 1", "≤ 2", "≤ 4", "≤ 8", "≤ 16", "≤ 2⁸", "≤ 2¹²", "≤ 2²⁴", "more", "amiss")
WHAT = ("value", "gradient")


def picture(found: Points, loss: Loss, dtypes: Sequence[str]) -> tuple[Picture, Table] | None:
    """One picture of all targets, and its table; None where no points are known."""
    shares = {
        (target, dtype, what): counted(frame[f"{what}_ulp"].to_numpy(float))
        for target, frames in found.items()
        for dtype, frame in frames.items()
        for what in WHAT
    }
    shares = {key: counts for key, counts in shares.items() if counts.any()}
    if not shares:
        return None
    targets = [target for target in found if any(key[0] == target for key in shares)]
    drawn = _draw(shares, targets, dtypes, f"shares of the results of {loss.name} by their errors in ulps")
    return Picture(svg=drawn, title="Share of the drawn points by error"), _table(shares)


def counted(ulps: np.ndarray) -> np.ndarray:
    """How many errors are in each of `BINS`: those that are infinite, which stand for mismatches, in the last."""
    known = ulps[~np.isnan(ulps)]
    finite = known[np.isfinite(known)]
    place = np.searchsorted(BOUNDS, finite, side="left")
    counts = np.bincount(place, minlength=len(BINS) - 1)
    return np.append(counts, known.size - finite.size)


def _draw(
    shares: Mapping[tuple[str, str, str], np.ndarray], targets: Sequence[str], dtypes: Sequence[str], label: str
) -> str:
    """A line of bars for each target, value beside gradient; the bars of the dtypes stand beside one another."""
    height = 0.42 * len(targets) + 0.62
    measured = [what for what in WHAT if any(key[2] == what for key in shares)]
    width = 0.8 / max(len(dtypes), 1)
    step = len(BINS) + 0.6  # from a bin of the value to that of the gradient
    with svg.style():
        figure = Figure(figsize=(8.6, height), layout=None)
        axes = figure.add_axes((0.16, 0.3 / height, 0.835, 1 - 0.56 / height))
        axes.set_axis_off()  # texts are drawn in a third of the time of ticks
        axes.set_xlim(-0.6, step * len(measured) - 1)
        axes.set_ylim(0, len(targets))
        for number, dtype in enumerate(dtypes):
            bars = []
            for row, target in enumerate(targets):
                for side, what in enumerate(measured):
                    counts = shares.get((target, dtype, what), np.zeros(len(BINS)))
                    for place, share in enumerate(counts / max(counts.sum(), 1)):
                        if share:
                            left, base = side * step + place - 0.4 + number * width, len(targets) - 1 - row
                            top = base + 0.85 * max(share, 0.03)  # one in thousands is seen, too
                            bars.append([(left, base), (left, top), (left + width, top), (left + width, base)])
            axes.add_collection(PolyCollection(bars, facecolors=svg.series(number)[0], linewidths=0))
        ends = [(side * step - 0.5, side * step + len(BINS) - 0.5) for side in range(len(measured))]
        lines = [[(left, base), (right, base)] for left, right in ends for base in range(len(targets))]
        axes.add_collection(LineCollection(lines, colors=svg.colour("line"), linewidths=0.6))
        small: dict[str, Any] = {"fontsize": 7.5, "color": svg.colour("muted")}
        for side, what in enumerate(measured):
            axes.text(ends[side][0], len(targets) + 0.08, f"{what}, up to so many ulps", fontsize=9)
            for place, tick in enumerate(TICKS):
                axes.text(side * step + place, -0.12, tick, ha="center", va="top", **small)
        for row, target in enumerate(targets):
            axes.text(-0.7, len(targets) - 1 - row, target, ha="right", va="bottom", **small)
        return svg.inline(figure, "histogram", label)


def _table(shares: Mapping[tuple[str, str, str], np.ndarray]) -> Table:
    """The counts behind the picture."""
    found = Table(caption="Drawn points by error in ulps", columns=["Target", "Dtype", "Of", *BINS])
    for (target, dtype, what), counts in shares.items():
        numbers = [tables.number(int(count), str(count) if count else "") for count in counts]
        found.rows.append([tables.text(target), tables.text(dtype), tables.text(what), *numbers])
    return found
