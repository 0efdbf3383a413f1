"""`lossbench budget`: write what runs measured, compare runs with it, and what a terminal shows of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # of those that are worse; the report has all

out = Console(highlight=False)
app = typer.Typer(
    no_args_is_help=True, help="The errors that a version of a framework was measured to stay within: write, compare."
)
Given = Annotated[
    list[Path] | None,
    typer.Option("--budget", help="Compare with this file, whatever its version, or with this folder's. Repeatable."),
]


@app.command()
def write(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="The folder of budgets; lossbench's own when left out.")
    ] = None,
) -> None:
    """Write what a run measured into the budget of each framework's version; what it did not measure is kept."""
    from lossbench import runs  # imports pandas

    for path, cells in runs.budgeted(run, to).items():
        out.print(f"{escape(str(path))}: {cells} cells measured", soft_wrap=True)


@app.command()
def check(run: Annotated[Path, typer.Argument(help="A run's folder.")], given: Given = None) -> None:
    """Compare a run with budgets again, and leave with 1 where it is worse."""
    from lossbench import runs

    found = runs.compared(run, given or ())
    for line in lines(found, run):
        out.print(line, soft_wrap=True)
    raise typer.Exit(1 if failing(found) else 0)


def failing(found: pd.DataFrame) -> bool:
    """Whether any case is worse than its budget."""
    from lossbench.budget.comparison import FAILING

    return bool(found["result"].isin(FAILING).any())


def counted(found: pd.DataFrame) -> dict[str, int]:
    """How many cells (a loss, target and dtype) have each result."""
    from lossbench.budget.comparison import counts

    return counts(found)


def lines(found: pd.DataFrame, run: Path) -> list[str]:
    """What a terminal says of a comparison: what is worse first, with the input that shows it.

    Args:
        found: As of `comparison.compare`.
        run: The folder of the run.
    """
    from lossbench.budget import shelf
    from lossbench.budget.comparison import FAILING

    said = []
    worse = found[found["result"].isin(FAILING)].to_dict("records")
    for row in worse[:SHOWN]:
        said.append(f"[red]{row['result']}[/red]: {escape(_change(row))}")
    if len(worse) > SHOWN:
        said.append(f"[red]{len(worse) - SHOWN} more[/red] are in the report, at budgets.html")
    for row in found[found["result"] == "better"].to_dict("records")[:SHOWN]:
        said.append(f"[green]better[/green]: {escape(_change(row))}")
    if counts := counted(found):
        said.append("cells beside their budgets: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
    for framework, version in unknown(found):
        there = ", ".join(name for name in shelf.known() if name.startswith(f"{framework}-")) or "none"
        said.append(
            f"no budget of {framework} {version or '(unknown version)'}; there are: {there}; "
            f"to write one: lossbench budget write {escape(str(run))}; to compare with another: --budget FILE"
        )
    if other := int((found["result"] == "not comparable").sum()):
        cases = "case has" if other == 1 else "cases have"
        said.append(
            f"{other} {cases} other inputs than the budgets; to add them: lossbench budget write {escape(str(run))}"
        )
    return said


def _change(row: Mapping[str, object]) -> str:
    where = ", ".join(str(row[name]) for name in ("loss", "target", "dtype", "what") if row[name])
    was = f", was {row['before']}" if row["before"] else ""
    at = f": {row['worst']}" if row["worst"] else ""
    return f"{where} ({row['case']}): {row['now']}{was}{at}"


def unknown(found: pd.DataFrame) -> Sequence[tuple[str, str]]:
    """The frameworks and versions of a run that have no budget at all."""
    none = found.groupby(["framework", "version"])["against"].agg(lambda of: not of.astype(bool).any())
    return [one for one, without in none.items() if without]
