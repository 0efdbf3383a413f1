"""The picture of kernels: how many bytes a second they move, beside the ceiling and the best framework."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lossbench.report import svg
from lossbench.report.words import rate, size


def speeds(frame: pd.DataFrame, name: str, label: str) -> str:
    """Bytes per second against the bytes of a call, both logarithmic: a line of each loss, for it and its best rival.

    Args:
        frame: Rows of `goals.ratios`.
        name: Keeps the ids of the drawing apart from others on the page.
        label: Is read to those who do not see it.
    """
    with svg.style():
        figure = Figure(figsize=(5.4, 3.3), layout=None)
        axes = figure.subplots()
        figure.subplots_adjust(left=0.14, right=0.95, top=0.97, bottom=0.15)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for _, rows in frame.groupby("loss", sort=True):
            rows = rows.sort_values("traffic")
            for number, seconds in enumerate(("seconds", "best_seconds")):
                ink, marker = svg.series(number)
                moved = rows["traffic"] / rows[seconds]
                axes.plot(rows["traffic"], moved, f"{marker}-", color=ink, markersize=3, linewidth=0.8, alpha=0.8)
        ceiling = (frame["traffic"] / frame["ceiling_seconds"]).groupby(frame["traffic"]).median()
        axes.plot(ceiling.index, ceiling, "--", color=svg.colour("limit"), linewidth=1.6)
        axes.grid()
        axes.xaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        for axis, shown in ((axes.xaxis, size), (axes.yaxis, rate)):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _, shown=shown: shown(float(value))))
        axes.set_xlabel("bytes that one call has to move")
        return svg.inline(figure, name, label)
