"""How errors of sums and means grow with their length: pictures and tables of one loss, and the worst of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from lossbench import lengths
from lossbench.report import charts, tables, words
from lossbench.report.findings import Findings
from lossbench.report.one import Picture
from lossbench.report.tables import Cell, Row, Table
from lossbench.report.words import Mark

MARKS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("✗", "beyond n", "bad", "more than any order of additions loses, or an infinity, or nan, for a number"),
        Mark(
            "▽",
            "beyond log2",
            "poor",
            "more than pairwise sums lose, and no more than some order of additions may, where that has a bound",
        ),
        Mark("✓", "within", "good", "at most ceil(log2 n) u, as pairwise and blocked sums keep"),
        Mark("◇", "overflow", "other", "the exact number has none in the dtype, and infinity came out"),
    )
}
_ORDER = list(MARKS)


def pictures(findings: Findings, name: str) -> list[Picture]:
    """Error against length of the loss of that name, one picture for each dtype and reduction."""
    found = []
    frame = findings.about(findings.lengths, name)
    for (dtype, reduction), rows in frame[frame["adding"].notna()].groupby(["dtype", "reduction"], sort=False):
        if rows["terms"].nunique() > 1:
            label = f"error of the {reduction} of {name} in {dtype} against its length, in u"
            svg = charts.lengths(rows, findings.targets, f"length-{dtype}-{reduction}", label)
            found.append(Picture(svg=svg, title=f"{reduction}, {dtype}"))
    return found


def every(frame: pd.DataFrame, targets: list[str]) -> Table:
    """A row for each sum and mean of `lengths.errors` of one loss, and for each target a column of its errors."""
    asked = [target for target in targets if (frame["target"] == target).any()]
    columns = ["Dtype", "Reduction", "Pool", "Numbers", "Terms", "⌈log2 n⌉", "n bound", *asked]
    table = Table(caption="Errors of adding, in u", columns=columns)
    for _, rows in frame.groupby(["dtype", "reduction", "pool", "elements"], sort=False):
        first, *_ = tables.rows(rows)
        answers = {str(row["target"]): row for row in tables.rows(rows)}
        table.rows.append([*_case(first), *(_answer(answers[one]) if one in answers else Cell() for one in asked)])
    return table


def worst(frame: pd.DataFrame) -> Table:
    """Of each target, dtype, reduction and pool the sum that comes nearest to its bound, or is farthest beyond it."""
    columns = [
        "Loss", "Target", "Dtype", "Reduction", "Pool", "Numbers", "Terms", "⌈log2 n⌉", "n bound", "Error, u",
        "Of the losses, u", "Of adding, u", "Result",
    ]  # fmt: skip
    table = Table(caption="Errors of sums and means", columns=columns)
    for row in sorted(tables.rows(lengths.worst(frame)), key=lambda row: _ORDER.index(str(row["judged"]))):
        table.rows.append(
            [
                tables.link(str(row["loss"]), f"losses/{row['loss']}.html#length"),
                tables.text(row["target"]),
                *_case(row),
                *(tables.number(row[name], words.ulps(row[name])) for name in ("error", "elementwise", "adding")),
                _judged(str(row["judged"])),
            ]
        )
    return table


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many sums and means got each result, in the order of `MARKS`."""
    found = frame["judged"].value_counts()
    return {word: int(found[word]) for word in _ORDER if word in found}


def grouped(count: int) -> str:
    """A whole number whose thousands can be told apart."""
    return f"{count:,}".replace(",", " ")


def _bound(number: float) -> str:
    return words.number(number, digits=2) if math.isfinite(number) else "none"


def _case(row: Row) -> list[Cell]:
    return [
        *(tables.text(row[name]) for name in ("dtype", "reduction", "pool")),
        *(tables.number(row[name], grouped(int(str(row[name])))) for name in ("elements", "terms")),
        *(tables.number(row[name], _bound(float(str(row[name])))) for name in ("log2_bound", "n_bound")),
    ]


def _answer(row: Row) -> Cell:
    """The error of adding, and what the result says where it is not within its bound."""
    word, number = str(row["judged"]), words.ulps(row["adding"])
    if word not in MARKS:
        return Cell(text="not measured", lines=[str(row["reason"])])
    if word == "within":
        return tables.number(row["adding"], number)
    cell = _judged(word)
    return cell if word == "overflow" else Cell(text=number, shown="code", mark=cell.mark, sort=repr(row["adding"]))


def _judged(word: str) -> Cell:
    return Cell(text=word, mark=MARKS[word], sort=str(_ORDER.index(word)))
