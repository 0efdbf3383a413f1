"""The worst inputs that searches have found, as pages show them: how bad each was then, and is now."""

from __future__ import annotations

import pandas as pd

from lossbench.report import tables, words
from lossbench.report.evidence import Known
from lossbench.report.tables import Cell, Table


def table(frame: pd.DataFrame, known: Known) -> Table:
    """One row for each worst input that was kept of a target; those that became worse first.

    Args:
        frame: Rows of `kept.points`.
        known: Where the records are.
    """
    found = Table(
        caption="Worst inputs",
        columns=["Target", "Dtype", "Of", "Input", "Then", "Now", "Conditioned", "Got", "Exact", "Change"],
    )
    for row in tables.rows(frame.sort_values("change", key=lambda change: change != "worse", kind="stable")):
        found.rows.append(
            [
                tables.text(row["target"]),
                tables.text(row["dtype"]),
                tables.text(row["quantity"]),
                Cell(text="input", folded=str(row["at"]), lines=[str(row["method"]), str(row["found"])]),
                tables.number(row["then"], words.ulps(row["then"])),
                *(
                    known.link(tables.number(row[name], words.ulps(row[name])), row["job"])
                    for name in ("now", "now_conditioned")
                ),
                tables.code(row["got"]),
                tables.code(row["exact"]),
                tables.text(row["change"]),
            ]
        )
    return found
