"""What the page of the local kernels says, as Markdown tables: for notes, and for who reads in a terminal."""

from __future__ import annotations

import pandas as pd

from lossbench import goals
from lossbench.report import kernels, tables, words
from lossbench.report.tables import Table

_BESIDE = {"of_ceiling": "share of the ceiling", "to_best": "times the best framework", "to_one": "times one thread"}


def text(found: pd.DataFrame) -> str:
    """The goals, what is below them, and every loss, as Markdown tables."""
    judged = goals.judged(found, goals.load())
    parts = [_markdown(kernels.overview(judged)), _markdown(kernels.below(judged)), *map(_markdown, by_loss(found))]
    return "\n".join(parts)


def by_loss(found: pd.DataFrame) -> list[Table]:
    """For each dtype, number of threads and measure a table of losses by sizes, with the ratios of each."""
    written: list[Table] = []
    kinds = found["sizes"].map(len)  # elements, or rows
    for (threads, dtype, measure, outputs, _), rows in found.groupby(["threads", "dtype", "measure", "outputs", kinds]):
        into = f", {outputs} outputs" if outputs else ""
        what = f"{kernels.threads_of({'threads': threads})}, {dtype}, {kernels.MEASURES[measure]}{into}"
        shapes = list(dict.fromkeys(rows.sort_values("elements", kind="stable")["shape"]))
        ratios = [name for name in _BESIDE if name != "to_one" or threads != 1]
        table = Table(caption=f"{what}: {' / '.join(_BESIDE[name] for name in ratios)}", columns=["Loss", *shapes])
        for loss, of in rows.groupby("loss", sort=True):
            cells = {row["shape"]: " / ".join(words.number(row[name]) for name in ratios) for row in tables.rows(of)}
            table.rows.append([tables.text(loss), *(tables.text(cells.get(shape, "")) for shape in shapes)])
        written.append(table)
    return written


def _markdown(table: Table) -> str:
    rows = [table.columns, ["---"] * len(table.columns)]
    rows += [[cell.text or ", ".join(shown for shown, _ in cell.links) for cell in row] for row in table.rows]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"**{table.caption}**", "", *lines, ""])
