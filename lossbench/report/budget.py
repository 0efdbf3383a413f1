"""The page of budgets: what is worse than the version was measured to be, what is better, what has none."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lossbench.budget import comparison
from lossbench.report import tables
from lossbench.report.tables import Cell, Table
from lossbench.report.words import Mark

RESULTS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("✗", "worse", "bad", "a larger error, or another mismatch, than this version was measured to have"),
        Mark("⊘", "no answer", "bad", "the framework gives no numbers where it gave some"),
        Mark("≠", "worse elsewhere", "other", "a larger error, on another processor than that of the budget"),
        Mark("★", "better", "good", "a smaller error than this version was measured to have"),
        Mark("✓", "kept", "good", "as it was measured, but for an eighth that the order of additions explains"),
        Mark("≠", "not comparable", "other", "no case has the inputs at which the budget was measured"),
        Mark("–", "no budget", "none", "this version has none for this loss, mode and dtype"),
        Mark("–", "not measured", "none", "the budget has cases, but this run measured none of them"),
    )
}
CHANGED = ("worse", "no answer", "worse elsewhere", "better")


def page(frame: pd.DataFrame) -> Mapping[str, object]:
    """The content of the template."""
    return {
        "results": RESULTS,
        "counts": comparison.counts(frame),
        "changed": changed(frame),
        "targets": by_target(frame),
    }


def changed(frame: pd.DataFrame) -> Table:
    """What is worse and what is better: of each loss, target, dtype and quantity the first such case."""
    table = Table(
        caption="Cells that are not as they were measured",
        columns=["Result", "Loss", "Target", "Case", "Was", "Now", "The input that shows it"],
    )
    found = frame[frame["result"].isin(CHANGED)]
    groups = found.groupby(["result", "loss", "target", "dtype", "what"], sort=False)
    order = list(RESULTS)
    for key, group in sorted(groups, key=lambda pair: (order.index(pair[0][0]), *pair[0][1:])):
        result, loss, target, dtype, what = map(str, key)
        row = group.iloc[0]
        more = len(group) - 1
        table.rows.append(
            [
                Cell(text=result, mark=RESULTS[result], sort=str(order.index(result))),
                tables.link(loss, f"losses/{loss}.html", str(what)),
                tables.text(target, dtype),
                tables.text(row["case"], f"and {more} more {'case' if more == 1 else 'cases'}" if more else ""),
                tables.text(row["before"], f"in {row['against']}"),
                tables.text(row["now"], f"in {row['version']}" if row["version"] != row["against"] else ""),
                tables.code(row["worst"]),
            ]
        )
    return table


def by_target(frame: pd.DataFrame) -> Table:
    """How many cells of each target have which result, and the version whose budget it was compared with."""
    cells = comparison.cells(frame)
    words = [word for word in RESULTS if (cells["result"] == word).any()]
    table = Table(
        caption="Cells (a loss in a dtype) beside their budgets",
        columns=["Target", "Version", "Budget", *(word.capitalize() for word in words), "Cases of other inputs"],
    )
    others = frame[frame["result"] == "not comparable"].groupby("target").size()
    for (target, version), group in cells.groupby(["target", "version"], sort=False):
        against = sorted(set(group["against"]) - {""})
        numbers = [int((group["result"] == word).sum()) for word in words] + [int(others.get(target, 0))]
        table.rows.append(
            [
                *(tables.text(one) for one in (target, version or "unknown", ", ".join(against) or "none")),
                *(tables.number(number, str(number)) for number in numbers),
            ]
        )
    return table
