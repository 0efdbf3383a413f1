"""Second derivatives as pages show them: how right each target's Hessian-vector products are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lossbench.report import tables, words
from lossbench.report.one import outcome
from lossbench.report.tables import Cell, Table
from lossbench.verdicts import WORST_FIRST

MISMATCHES = ("nan", "inf", "finite")


def verdicts(frame: pd.DataFrame) -> Table:
    """One row for each target and dtype of a loss: the worst of its cases; none where it was not measured.

    Args:
        frame: Rows of `hessians.cells`.
    """
    table = Table(
        caption="Second derivatives",
        columns=[
            "Target", "Dtype", "Verdict", "Median", "99\u00a0%", "Maximum", "Condition there",
            "Conditioned", "Normwise", "Mismatches", "Undefined", "Worst input",
        ],
    )  # fmt: skip
    for row in tables.rows(frame):
        ulps = ("median_ulp", "p99_ulp", "max_ulp", "condition", "conditioned", "normwise")
        mismatches = sum(int(str(row[name])) for name in MISMATCHES)
        table.rows.append(
            [
                tables.text(row["target"]),
                tables.text(row["dtype"]),
                tables.verdict(str(row["verdict"]), WORST_FIRST, str(row["reason"])),
                *(tables.number(row[name], words.ulps(row[name])) for name in ulps),
                *(tables.number(count, str(count)) for count in (mismatches, row["undefined"])),
                outcome(str(row["worst"])) if row["worst"] else Cell(),
            ]
        )
    return table


def matrix(frame: pd.DataFrame, targets: Sequence[str]) -> Table:
    """One row for each loss and dtype: verdict and largest error of each target.

    Args:
        frame: Rows of `hessians.cells`.
        targets: Those that are columns, where they have any row.
    """
    rows = tables.rows(frame)
    shown = [target for target in targets if any(row["target"] == target for row in rows)]
    table = Table(caption="Second derivatives", columns=["Loss", "Dtype", *shown])
    found = {(str(row["loss"]), str(row["dtype"]), str(row["target"])): row for row in rows}
    for loss, dtype in dict.fromkeys((loss, dtype) for loss, dtype, _ in found):
        boxes = [_box(found.get((loss, dtype, target))) for target in shown]
        table.rows.append([tables.link(loss, f"losses/{loss}.html#second"), tables.text(dtype), *boxes])
    return table


def _box(row: tables.Row | None) -> Cell:
    if row is None:
        return Cell()
    word, mismatches = str(row["verdict"]), sum(int(str(row[name])) for name in MISMATCHES)
    if word in words.UNMEASURED:
        return tables.verdict(word, WORST_FIRST, str(row["reason"]))
    beside = f"{mismatches} {'mismatch' if mismatches == 1 else 'mismatches'}" if mismatches else ""
    return tables.verdict(word, WORST_FIRST, words.ulps(row["max_ulp"]), beside)
