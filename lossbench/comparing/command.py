"""`lossbench compare`: what changed between two runs, for people, pull requests and CI servers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lossbench.errors import LossbenchError

if TYPE_CHECKING:
    from lossbench.comparing.whole import Comparison

SHOWN = 30  # rows of what is failing, and of what is better
SUMMARY = "GITHUB_STEP_SUMMARY"  # GitHub's name for the file of a step's summary
COLORS = {"not measured": "yellow", "inconclusive": "yellow"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

HELP = """What changed between two runs, or two targets of one: newly failing, worse, slower, not measured.

Exit codes: 1 if anything is newly failing, worse or slower, whatever else there is; else 3 if something that base
measured was not measured in head; else 0. 2 is a bad request."""


def compare(
    base: Annotated[Path, typer.Argument(help="A run's folder.")],
    head: Annotated[Path | None, typer.Argument(help="Another's; without it, name two targets of the first.")] = None,
    base_target: Annotated[
        str | None, typer.Option("--base", help="A target of BASE, such as torch-old or torch:eager.")
    ] = None,
    head_target: Annotated[
        str | None, typer.Option("--head", help="The target that it is compared with, of HEAD if given.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="A folder of earlier runs: what times change by from run to run is no news.")
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Measure suspected slowdowns again, both sides in turns.")
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown for a pull request here.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page into this folder, or as one file where it ends in .html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Compare, print, and leave with the comparison's exit code; see `HELP`."""
    from lossbench import terminal
    from lossbench.comparing import whole  # imports pandas and SciPy

    if (base_target is None) != (head_target is None):
        raise LossbenchError("--base and --head go together: name the target of both")
    targets = (base_target, head_target) if base_target is not None and head_target is not None else None
    with terminal.progress(err) as tell:
        done = whole.compare(base, head, targets=targets, history=history, confirm=confirm, progress=tell)
    for path, text in ((markdown, done.markdown), (junit, done.junit)):
        if path is not None:
            path.write_text(text(), encoding="utf-8")
    if html is not None:
        from lossbench.report import two  # imports Matplotlib

        two.write(done, html)
    if summary := os.environ.get(SUMMARY):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(done.markdown())
    if as_json:
        print(json.dumps(_json(done), indent=2))
    else:
        shown(done)
    raise typer.Exit(done.exit_code)


def shown(done: Comparison) -> None:
    """Print what is failing, slower or not measured, then what is better, the counts and the verdict."""
    from lossbench.comparing import told

    rows = told.rows(done)
    for some, color in (
        ([row for row in rows if told.alarming(row["change"])], "red"),
        ([row for row in rows if row["change"] in ("inconclusive", "other answer")], "yellow"),
        ([row for row in rows if row["change"] in told.WELCOME], "green"),
    ):
        if some:
            out.print(_table(some[:SHOWN], color))
        if len(some) > SHOWN:
            out.print(f"and {len(some) - SHOWN} more: --json, --junit FILE have all")
    first = next((row for row in rows if row["script"]), None)
    if first is not None:
        out.print(f"to see the first: {escape(first['name'])}\n")
        print(first["script"])  # as it is: to be copied
    for fact in done.differ:
        out.print(f"differs: {escape(fact)}", soft_wrap=True)
    out.print(f"{escape(done.base)} -> {escape(done.head)}: {told.counted(done)}", soft_wrap=True)
    color = {0: "green", 1: "red", 3: "yellow"}[done.exit_code]
    out.print(f"[{color}]{escape(done.verdict)}[/{color}]", soft_wrap=True)


def _table(rows: list[dict[str, str]], color: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "loss", "target", "dtype", "case", "was -> now, and where"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        change = f"[{COLORS.get(row['change'], color)}]{row['change']}[/]"
        said = " -> ".join(filter(None, (row["was"], row["now"])))
        where = "\n".join(filter(None, (said, row["detail"])))
        table.add_row(change, *(escape(row[name]) for name in ("loss", "target", "dtype", "case")), escape(where))
    return table


def _json(done: Comparison) -> dict[str, object]:
    named = {"base": done.base, "head": done.head, "differ": done.differ, "verdict": done.verdict}
    counts = {"exit_code": done.exit_code, "counts": done.counts}
    tables = {"results": done.results, "speed": done.speed}
    return {**named, **counts, **{name: json.loads(one.to_json(orient="records")) for name, one in tables.items()}}
