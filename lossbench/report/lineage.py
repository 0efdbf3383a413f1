"""Targets that share code or a formula, as tables: who, how it shows, and one of the wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence

from lossbench.lineage import Group, Link
from lossbench.report import one, tables, words
from lossbench.report.tables import Cell, Table


def groups(found: Sequence[Group], *, folder: str | None = None) -> Table:
    """A row for each group; with links to the losses where the folder of their pages is given."""
    columns = ["Loss", "Targets", "Dtype", "Alike", "Shared by all", "Evidence", "One of them"]
    table = Table(caption="Shared lineage", columns=columns if folder is not None else columns[1:])
    for group in found:
        alike = "frameworks" if len(group.frameworks) > 1 else f"targets of {group.frameworks[0]}"
        cells = [
            tables.link(group.loss, f"{folder}{group.loss}.html#lineage"),
            tables.text(group.targets[0], *group.targets[1:]),
            tables.text(group.dtype),
            tables.text(alike),
            tables.number(group.shared, str(group.shared)),
            Cell(text="", lines=[_evidence(link, named=len(group.targets) > 2) for link in group.links]),
            one.outcome(group.example),
        ]
        table.rows.append(cells if folder is not None else cells[1:])
    return table


def _evidence(link: Link, *, named: bool) -> str:
    who = f"{link.targets[0]} and {link.targets[1]}: " if named else ""
    strange = f", and nan or infinity alike at {link.strange}" if link.strange else ""
    return (
        f"{who}{link.shared} of {link.either} wrong entries alike ({words.percent(link.share)}), "
        f"{link.distinct} different numbers; by chance {words.number(link.chance, digits=2)} of {link.both}, "
        f"so many with a probability below 2^-{int(link.bits)}{strange}"
    )
