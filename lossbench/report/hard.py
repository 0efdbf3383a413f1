"""Hard points as pages show them: where one is, what must come out there, what did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import pandas as pd

from lossbench import shown
from lossbench.loss import Loss
from lossbench.records import REFERENCE
from lossbench.report import tables
from lossbench.report.evidence import Known
from lossbench.report.tables import Cell, Row, Table
from lossbench.text import Edge
from lossbench.verdicts import WORST_FIRST

_BRACKETS = str.maketrans("", "", "[] ")


def point(at: Mapping[str, object], *lines: str) -> Cell:
    """A spec's point, a line for each input."""
    text = "\n".join(f"{name} = {shown.declared(value)}" for name, value in at.items())
    return Cell(text=text, shown="code", lines=[line for line in lines if line])


def answer(value: object, gradient: object) -> Cell:
    """A value with the gradient below it, by each input a line."""
    lines = [f"∂ {line}" for line in tables.said(gradient).splitlines()]
    return Cell(text=tables.said(value), shown="code", lines=lines)


def edges(frame: pd.DataFrame, loss: Loss, targets: Sequence[str], known: Known) -> Table:
    """One row for each edge: what must come out, and what each target answered."""
    table = Table(caption="Edges", columns=["At", "Why", "Exact", *targets])
    found = sorted(tables.rows(frame), key=_place)
    for (index, dtype), group in groupby(found, key=_place):
        rows, edge = list(group), loss.edges[index]
        answers = {str(row["target"]): row for row in rows}
        exact = next((row for row in rows if tables.said(row["exact_value"])), rows[0])
        reduction = "" if edge.reduction == "none" else f", {edge.reduction}"
        table.rows.append(
            [
                point(edge.at, f"{dtype}{reduction}"),
                tables.text(edge.why, "" if edge.status == "required" else edge.status),
                known.link(_decided(exact, edge), known.at("edge", index, REFERENCE.name, dtype)),
                *(_answered(answers.get(target), known) for target in targets),
            ]
        )
    return table


def _place(row: Row) -> tuple[int, str]:
    return int(str(row["index"])), str(row["dtype"])


def _decided(row: Row, edge: Edge) -> Cell:
    """The exact answer, and how the spec writes it where that is another text."""
    value = shown.declared(edge.value)
    exact = answer(row["exact_value"] or value, row["exact_gradient"])
    by_input = edge.gradient if isinstance(edge.gradient, Mapping) else {"": edge.gradient}
    said = {name: shown.declared(one) for name, one in by_input.items() if one is not None}
    if len(said) == 1:
        said = {"": next(iter(said.values()))}
    if not exact.lines:
        lines = [f"∂ {name}: {text}" if name else f"∂ {text}" for name, text in said.items()]
        return Cell(text=exact.text, shown="code", lines=lines)
    lines = [f"{line}{_written(said, line)}" for line in exact.lines]
    first = [] if _same(value, exact.text) else [f"= {value}"]
    return Cell(text=exact.text, shown="code", lines=[*first, *lines])


def _written(said: Mapping[str, str], line: str) -> str:
    """What the spec says in place of the numbers of *line*, behind an equals sign; nothing where it says the same."""
    name, _, numbers = line.removeprefix("∂ ").rpartition(": ")
    text = said.get(name, "")
    return f" = {text}" if text and not _same(text, numbers) else ""


def _same(one: str, other: str) -> bool:
    return one.translate(_BRACKETS) == other.translate(_BRACKETS)


def _answered(row: Row | None, known: Known) -> Cell:
    if row is None:
        return Cell()
    found = tables.verdict(str(row["result"]), WORST_FIRST)
    got = answer(row["got_value"] or row["reason"], row["got_gradient"])
    cell = Cell(text=got.text, shown="code", mark=found.mark, sort=found.sort, lines=got.lines)
    return known.link(cell, known.at("edge", row["index"], row["target"], row["dtype"]))
