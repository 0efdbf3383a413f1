"""The page of defects: where frameworks are wrong or limited, and a script for each that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossbench import script
from lossbench.loss import Loss
from lossbench.report import hard, tables, words
from lossbench.report.findings import Findings
from lossbench.report.tables import Cell, Row
from lossbench.report.words import Mark

KINDS = ("defect", "limit")  # a convention is no fault
MISSED = ("inaccurate", "wrong")

_PROOFS = list(words.PROOFS)


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One line: `number` is the divergence's in its spec, 0 for an edge; `search` is what a text filter looks into."""

    framework: str
    target: str
    detail: str
    loss: str
    number: int
    kind: str
    mark: Mark
    where: Cell
    got: Cell
    exact: Cell
    why: Cell
    script: str
    search: str


def declared(findings: Findings) -> list[Defect]:
    """Every declared defect and limit, by framework and loss; those that are new or gone first."""
    rows = (row for row in tables.rows(findings.divergences) if row["kind"] in KINDS)
    return [_declared(row, findings.losses[str(row["loss"])], scripted=True) for row in sorted(rows, key=_order)]


def choices(findings: Findings) -> list[Defect]:
    """Every declared convention, in the same order; their scripts are left to the command line."""
    rows = (row for row in tables.rows(findings.divergences) if row["kind"] not in KINDS)
    return [_declared(row, findings.losses[str(row["loss"])], scripted=False) for row in sorted(rows, key=_order)]


def missed(findings: Findings) -> list[Defect]:
    """Every edge at which a framework's own call is inaccurate or wrong, and no convention excuses it."""
    rows = (row for row in tables.rows(findings.edges) if row["result"] in MISSED)
    return [
        _line(
            row,
            at=findings.losses[str(row["loss"])].edges[int(str(row["index"]))].at,
            number=0,
            kind="edge",
            mark=words.mark(str(row["result"])),
            script="",
        )
        for row in sorted(rows, key=lambda row: (str(row["framework"]), str(row["loss"]), str(row["index"])))
    ]


def counts(lines: Sequence[Defect]) -> Mapping[str, int]:
    """How many lines there are of each result."""
    found = [line.mark.word for line in lines]
    return {word: found.count(word) for word in (*words.PROOFS, *words.MARKS) if word in found}


def _declared(row: Row, loss: Loss, *, scripted: bool) -> Defect:
    number = int(str(row["index"])) + 1
    known = scripted and row["framework"] in script.MODES
    text = script.of(loss, number, tables.said(row.get("mode")) or None) if known else ""
    at, mark = loss.divergences[number - 1].when, words.mark(str(row["result"]))
    return _line(row, at=at, number=number, kind=str(row["kind"]), mark=mark, script=text)


def _line(row: Row, *, at: Mapping[str, object], number: int, kind: str, mark: Mark, script: str) -> Defect:
    url = tables.said(row.get("url"))
    run = bool(row["target"])
    return Defect(
        framework=str(row["framework"]),
        target=tables.said(row["target"]) or "not run",
        detail=tables.said(row["target"]).removeprefix(f"{row['framework']}:"),
        loss=str(row["loss"]),
        number=number,
        kind=kind,
        mark=mark,
        where=hard.point(at, _conditions(row)),
        got=_got(row) if run else hard.answer(row["declared_value"], row["declared_gradient"]),
        exact=hard.answer(row["exact_value"], row["exact_gradient"]),
        why=Cell(
            text=tables.said(row["why"]),
            lines=[f"by {row['call']}"] if row.get("call") else [],
            links=[("upstream", url)] if words.is_web(url) else [],
        ),
        script=script,
        search=" ".join(str(row[name]) for name in ("loss", "target", "dtype", "at", "why")).lower(),
    )


def _got(row: Row) -> Cell:
    return hard.answer(row["got_value"] or row["reason"], row["got_gradient"])


def _conditions(row: Row) -> str:
    """What else was so: dtype, and the reduction where there was one."""
    return f"{row['dtype']}" if row["reduction"] == "none" else f"{row['dtype']}, {row['reduction']}"


def _order(row: Row) -> tuple[int, str, str, int, str]:
    return (
        0 if row["result"] in ("changed", "fixed") else 1,
        str(row["framework"]),
        str(row["loss"]),
        int(str(row["index"])),
        str(row["target"]),
    )
