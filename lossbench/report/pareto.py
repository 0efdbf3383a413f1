"""Accuracy against time in one picture: who is both, and which are beaten in both by another. Of one loss only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lossbench.loss import Loss
from lossbench.records import CEILING
from lossbench.report import svg, tables, words
from lossbench.report.charts import SMALLEST
from lossbench.report.evidence import Known
from lossbench.report.one import MOST, Picture
from lossbench.report.tables import Table

STEPS = (1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 10_000, 100_000)  # ratios that get a tick


def points(cells: pd.DataFrame, medians: pd.DataFrame) -> pd.DataFrame:
    """One row for each target and dtype of a loss that was both compared and timed, at the largest timed size.

    Args:
        cells: Rows of `accuracy.cells` of the loss.
        medians: Rows of `speed.medians` of the loss.

    Columns:
        target, dtype, device, verdict: Who, and what its results are called.
        ulps: Its largest conditioned error, of value and gradient; infinite where a result is amiss.
        job, shape, measure, seconds: Its time for value and gradient or, where none is timed, for the value.
        ratio: To the fastest of its dtype and device.
        front: Whether none of its dtype and device is better in one and not worse in the other.
    """
    timed = medians[medians["median"].notna() & (medians["framework"] != CEILING)]
    timed = timed[timed["measure"] == ("gradient" if (timed["measure"] == "gradient").any() else "forward")]
    timed = timed[timed["elements"] == timed.groupby(["dtype", "device"])["elements"].transform("max")]
    timed = timed.sort_values("median").drop_duplicates(["target", "dtype"])
    found = cells.merge(timed, on=["target", "dtype"], suffixes=("", "_timed"), how="inner")
    errors = found[["value_conditioned", "gradient_conditioned"]].astype(float).max(axis=1)
    found["ulps"] = errors.where(found["mismatches"].astype(float) == 0, np.inf)
    found["seconds"] = found["median"].astype(float)
    found = found[found["ulps"].notna()]
    found["ratio"] = found["seconds"] / found.groupby(["dtype", "device"])["seconds"].transform("min")
    found["front"] = _front(found)
    columns = ["target", "dtype", "device", "verdict", "ulps", "job", "shape", "measure", "seconds", "ratio", "front"]
    return found[columns].reset_index(drop=True)


def _front(found: pd.DataFrame) -> np.ndarray:
    """Whether each row is beaten in both by none of its dtype and device."""
    group = (found["dtype"] + " " + found["device"]).to_numpy()
    ulps, seconds = found["ulps"].to_numpy(float), found["seconds"].to_numpy(float)
    no_worse = (ulps <= ulps[:, None]) & (seconds <= seconds[:, None]) & (group == group[:, None])
    better = (ulps < ulps[:, None]) | (seconds < seconds[:, None])
    return np.asarray(~(no_worse & better).any(axis=1))


def picture(frame: pd.DataFrame, loss: Loss, targets: Sequence[str]) -> Picture | None:
    """One marker for each row of `points`, the front as steps; None where fewer than two are there to be compared."""
    if len(frame) < 2:
        return None
    top = 2 * max(float(frame["ulps"].replace(np.inf, np.nan).clip(upper=MOST).max(skipna=True) or 0), 10.0)
    with svg.style():
        figure = Figure(figsize=(5.8, 3.5), layout=None)
        axes = figure.subplots()
        figure.subplots_adjust(left=0.09, right=0.985, top=0.93, bottom=0.14)
        axes.set_xscale("log")
        axes.set_yscale("log")
        right = float(frame["ratio"].max()) * 1.6
        for (dtype, _), rows in frame.groupby(["dtype", "device"], sort=False):
            front = rows[rows["front"]].sort_values("ratio")
            x, y = front["ratio"].to_numpy(float), _drawn(front["ulps"].to_numpy(float), top)
            # What none on the front reaches lies to the left of it and below.
            ends = [x[0], *x, right], [top, *y, y[-1]]
            axes.plot(*ends, "--", drawstyle="steps-post", color=svg.colour("limit"), linewidth=1.1)
            hollow = dtype != frame["dtype"].iloc[0]
            for at, height, target, ulps in zip(
                rows["ratio"], _drawn(rows["ulps"].to_numpy(float), top), rows["target"], rows["ulps"], strict=True
            ):
                ink, marker = svg.series(targets.index(target))
                face = "none" if hollow else ink
                axes.plot([at], [height], marker, color=ink, markerfacecolor=face, markersize=8, clip_on=False)
                if np.isinf(ulps):
                    axes.plot([at], [height], "x", color=ink, markersize=13, clip_on=False)
        axes.grid()
        axes.set_xlim(1 / 1.15, right)
        axes.set_ylim(SMALLEST * 0.7, top)
        shown = [step for step in STEPS if step <= right]
        axes.xaxis.set_major_locator(FixedLocator(shown[:: max(1, len(shown) // 7)]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}×"))
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda ulps, _: words.number(float(ulps), digits=1)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.set_title("worst conditioned error, ulp", loc="left", fontsize=9, pad=4)
        axes.set_xlabel("time, to the fastest")
        label = f"worst conditioned error of {loss.name} in ulps against the time of each target to the fastest"
        return Picture(svg=svg.inline(figure, "pareto", label), title=_title(frame))


def _drawn(ulps: np.ndarray, top: float) -> np.ndarray:
    return np.asarray(np.clip(ulps, SMALLEST, top))


def _title(frame: pd.DataFrame) -> str:
    """What was timed; the dtypes with their sizes."""
    shapes = dict(zip(frame["dtype"], frame["shape"], strict=True))
    sizes = ", ".join(f"{dtype} {shape}" for dtype, shape in shapes.items())
    measure = "value and gradient" if frame["measure"].iloc[0] == "gradient" else "value"
    return f"{measure}, {sizes}"


def table(frame: pd.DataFrame, known: Known) -> Table:
    """The numbers behind the picture; those on the front first."""
    found = Table(
        caption="Accuracy against time",
        columns=["Target", "Dtype", "Shape", "Verdict", "Conditioned, ulp", "Median", "To the fastest", "On the front"],
    )
    ordered = frame.sort_values(["dtype", "front", "ratio"], ascending=[True, False, True])
    for row in tables.rows(ordered):
        found.rows.append(
            [
                *(tables.text(row[name]) for name in ("target", "dtype", "shape")),
                tables.verdict(str(row["verdict"]), list(words.MARKS)),
                tables.number(row["ulps"], words.ulps(row["ulps"])),
                known.link(tables.number(row["seconds"], words.seconds(row["seconds"])), row["job"]),
                tables.number(row["ratio"], words.ratio(row["ratio"])),
                tables.text("yes" if row["front"] else "no"),
            ]
        )
    return found
