"""The picture of a comparison: every ratio of times with its interval, sorted, against what equals differed by."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from lossbench.quiet import EQUALS
from lossbench.report import svg

MOST = 400  # ratios that are drawn one by one; of more, those that changed and some of the others
SIGNS = {"slower": ("limit", "^"), "faster": ("series-0", "v")}
OTHERS = ("muted", "o")


def band(found: pd.DataFrame) -> float:
    """The logarithm that nine in ten A/A controls of both runs stayed within; 0 where there were none.

    Args:
        found: As of `speeds.compare`.
    """
    cases = found.drop_duplicates(["loss", "measure", "dtype", "case"])
    ratios = cases[["base_control", "head_control"]].to_numpy(float)
    apart = np.abs(np.log(ratios[np.isfinite(ratios)]))
    return float(np.quantile(apart, EQUALS, method="higher")) if apart.size else 0.0


def picture(found: pd.DataFrame) -> Markup:
    """An `<svg>`; nothing where no time was compared."""
    known = found[found["ratio"].notna()].sort_values("ratio")
    if known.empty:
        return Markup()
    known = known.iloc[_drawn(known["verdict"].isin(list(SIGNS)).to_numpy(bool))]
    place = np.arange(len(known))
    ratio, low, high = (known[name].to_numpy(float) for name in ("ratio", "low", "high"))
    noise = band(found)
    with svg.style():
        figure = Figure(figsize=(9.0, 2.9), layout=None)
        axes = figure.add_axes((0.07, 0.13, 0.92, 0.83))
        axes.set_yscale("log")
        if noise:
            axes.axhspan(math.exp(-noise), math.exp(noise), color=svg.colour("line"), alpha=0.5, lw=0)
        axes.axhline(1.0, color=svg.colour("muted"), lw=0.8)
        for verdict in (*SIGNS, ""):
            name, marker = SIGNS.get(verdict, OTHERS)
            here = (known["verdict"] == verdict) if verdict else ~known["verdict"].isin(list(SIGNS))
            at = here.to_numpy(bool)
            drawn = at & np.isfinite(low) & np.isfinite(high)
            axes.vlines(place[drawn], low[drawn], high[drawn], color=svg.colour(name), lw=1.0)
            axes.plot(place[at], ratio[at], marker, color=svg.colour(name), ms=4.5 if verdict else 2.5, mew=0)
        ends = np.concatenate([ratio, low[np.isfinite(low)], high[np.isfinite(high)], np.exp([noise, -noise])])
        top = max(1.05, float(np.exp(np.abs(np.log(ends)).max())) * 1.05)
        axes.set_ylim(1 / top, top)
        ticks = [one for one in (0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 2, 5, 10) if 1 / top <= one <= top]
        if top > 1.6:
            ticks = [one for one in ticks if one not in (0.9, 0.95, 1.05, 1.1)]
        axes.set_yticks(ticks)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks([])
        axes.set_xlim(-1, len(known))
        axes.set_xlabel("timed cases, by their ratio")
        said = f"{len(known)} ratios of head's time to base's, from {ratio.min():.3f} to {ratio.max():.3f}"
        return Markup(svg.inline(figure, "ratios", said))


def _drawn(changed: np.ndarray) -> np.ndarray:
    """The places that are drawn: all, or those that changed and as many others, evenly chosen, as there is room for."""
    if len(changed) <= MOST:
        return np.arange(len(changed))
    others = np.flatnonzero(~changed)
    room = min(len(others), max(MOST - int(changed.sum()), MOST // 2))
    chosen = others[np.linspace(0, len(others) - 1, room).astype(int)] if room else others
    return np.sort(np.concatenate([np.flatnonzero(changed), chosen]))
