"""What an upgrade brings to conventions: facts that are not any more as the specs say."""

from __future__ import annotations

import pandas as pd

from lossbench.report import tables
from lossbench.report.conventions import FACTS, NEWS, short
from lossbench.report.tables import Cell, Table
from lossbench.report.words import Mark

SILENT = Mark("!", "no answer", "bad", "the callable could not be asked")

_ORDER = list(FACTS)


def table(frame: pd.DataFrame) -> Table:
    """What an upgrade brings: facts that changed, are gone or are new, and what could not be asked."""
    found = Table(
        caption="Facts that are not as the specs say",
        columns=["Result", "Loss", "Callable", "Topic", "The spec says", "This run got"],
    )
    rows = [row for row in tables.rows(frame) if row["result"] in NEWS or (row["target"] and row["reason"])]
    for row in sorted(rows, key=lambda row: (_ORDER.index(str(row["result"])), str(row["loss"]), str(row["callable"]))):
        loss, result = str(row["loss"]), str(row["result"])
        mark = FACTS[result] if result in NEWS else SILENT
        found.rows.append(
            [
                Cell(text=mark.word, mark=mark, sort=str(_ORDER.index(result))),
                tables.link(loss, f"losses/{loss}.html#conventions"),
                Cell(text=short(str(row["callable"])), shown="code", lines=[str(row["target"])]),
                tables.text(row["topic"]),
                tables.text(row["declared"]),
                tables.text(row["observed"] or row["reason"]),
            ]
        )
    return found
