"""How far the means that frameworks keep in a state drift: error against the number of updates."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lossbench.loss import Loss
from lossbench.points import DRIFTS
from lossbench.report import charts, tables, words
from lossbench.report.findings import Findings
from lossbench.report.one import Picture
from lossbench.report.tables import Table

MEANINGS: Mapping[str, str] = {
    "equal": "0.1 with weight 1 in every update",
    "uneven": "numbers around 0.1 in updates of 0, 1 or 4, with weights from 0 to 1.5",
}


def drift(findings: Findings, loss: Loss) -> tuple[list[Picture], list[Table]]:
    """One picture for each dtype and sort of updates, and for each a table of the same errors."""
    frame = errors(findings, loss)
    pictures, behind = [], []
    for (dtype, draw), rows in frame.groupby(["dtype", "draw"], sort=False):
        title = f"{dtype}, {MEANINGS[str(draw)]}"
        label = f"error of {loss.name} in ulps against the number of updates, {title}"
        svg = charts.drift(rows, findings.targets, f"drift-{dtype}-{draw}", label)
        pictures.append(Picture(svg=svg, title=title))
        behind.append(_table(rows, findings.targets, title))
    return pictures, behind


def errors(findings: Findings, loss: Loss) -> pd.DataFrame:
    """One row for each measured number of updates.

    Columns:
        dtype, draw: Of the case; one of `points.DRIFTS`.
        target: Who.
        updates: How many.
        ulps: The error of the mean.
    """
    jobs = findings.about(findings.jobs, loss.name)
    drawn = jobs[(jobs["points"] == "drift") & jobs["value_max_ulp"].notna()]
    cases = {job.key: job.case for job in findings.planned if job.case.points == "drift"}
    return pd.DataFrame(
        {
            "dtype": drawn["dtype"],
            "draw": [DRIFTS[index] for index in drawn["index"]],
            "target": drawn["target"],
            "updates": [cases[key].shape[0] for key in drawn["job"]],
            "ulps": drawn["value_max_ulp"],
        }
    )


def _table(rows: pd.DataFrame, targets: list[str], title: str) -> Table:
    """A row for each number of updates, a column for each target."""
    measured = [target for target in targets if (rows["target"] == target).any()]
    table = Table(caption=f"Error in ulps by updates: {title}", columns=["Updates", *measured])
    for count, group in rows.groupby("updates"):
        ulps = dict(zip(group["target"], group["ulps"].astype(float), strict=True))
        cells = [tables.number(ulps.get(target), words.ulps(ulps.get(target))) for target in measured]
        table.rows.append([tables.number(count, f"{count:,}".replace(",", " ")), *cells])
    return table
