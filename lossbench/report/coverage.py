"""What the index says of completeness: which cells there are, which are not and why, which callables have a spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from lossbench import audit
from lossbench.loss import Loss
from lossbench.report import tables
from lossbench.report.tables import Cell, Table

KINDS = ("defect", "limit", "convention")


def cells(losses: Iterable[Loss]) -> Table:
    """In how many of the run's losses each framework is native, a recipe or absent."""
    counted = audit.cells(losses)
    table = Table(caption="Losses by framework", columns=["Cells", *counted, "Meaning"])
    meanings = ("ships a callable for the loss", "composed from what it ships", "neither: the spec says why")
    for form, meaning in zip(audit.FORMS, meanings, strict=True):
        numbers = [tables.number(one[form], str(one[form])) for one in counted.values()]
        table.rows.append([tables.text(form), *numbers, tables.text(meaning)])
    return table


def absent(losses: Iterable[Loss]) -> Table:
    """The cells that there are not, with what the specs say of them."""
    table = Table(caption="Absent", columns=["Loss", "Framework", "Why"])
    for loss in losses:
        for framework, why in loss.absent.items():
            row = [tables.link(loss.name, f"losses/{loss.name}.html"), tables.text(framework), tables.text(why)]
            table.rows.append(row)
    return table


def callables(losses: Iterable[Loss]) -> Table:
    """How many public callables of each namespace are in the specs."""
    names = sorted({one.name for loss in losses for one in loss.callables})
    counted = Counter(name.rpartition(".")[0] for name in names)
    table = Table(caption="Public callables with a spec", columns=["Namespace", "Callables"])
    for namespace, count in counted.items():
        table.rows.append([tables.code(namespace), tables.number(count, str(count))])
    return table


def divergences(frame: pd.DataFrame) -> Table:
    """How many declared divergences there are of each kind, in each framework: a link leads to them."""
    frameworks = [name for name in audit.FRAMEWORKS if (frame["framework"] == name).any()]
    once = frame.drop_duplicates(["loss", "index"])
    table = Table(caption="Divergences by kind", columns=["Kind", *frameworks])
    for kind in KINDS:
        of_kind = once[once["kind"] == kind]
        row = [tables.text(kind)]
        for framework in frameworks:
            count = int((of_kind["framework"] == framework).sum())
            address = f"defects.html#framework={framework}&kind={kind}"
            row.append(Cell(links=[(str(count), address)], sort=str(count), shown="number"))
        table.rows.append(row)
    return table
