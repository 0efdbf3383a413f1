"""`lossbench history`: the steps of many runs, as a table, as JSON and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from lossbench.history.whole import History

SHOWN = 30  # steps; the page has all
COLOURS = {"worse": "red", "better": "green", "other": "yellow"}
HELP = (
    "Where times, memory and errors stepped to another level, over all runs and asv's results below a folder: what "
    "got worse first, with its size, how sure it is, and the commit or version. Leaves with 0 whatever it finds: past "
    "steps are no verdict over a change; `lossbench compare` gives one."
)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def history(
    folder: Annotated[Path, typer.Argument(help="Such as reports, or .asv/results.")] = Path("reports"),
    loss: Annotated[list[str] | None, typer.Option("--loss", help="Only this loss; repeatable.")] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Only this target, or framework; repeatable.")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="Only this, such as gradient or 'value ulp'; repeatable.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="How steps of noisy series are found: steps (asv's) or kernel (that of ruptures).")
    ] = "steps",
    to: Annotated[
        Path, typer.Option("--out", help="The folder that gets history.html, and what to keep of each run.")
    ] = Path("reports/history"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Find the steps, write the page, and print; see `HELP`."""
    from lossbench import terminal
    from lossbench.history import whole  # imports pandas
    from lossbench.report import history as page

    asked = {"losses": loss or (), "targets": target or (), "measures": measure or ()}
    with terminal.progress(err) as tell:
        found = whole.of(folder, **asked, method=method, kept=to / "values", progress=tell)
    written = page.write(found, to)
    if as_json:
        rows = found.steps.to_json(orient="records", date_format="iso")
        counts = {"series": len(found.series), "short": found.short, "searched": found.searched, "unread": found.unread}
        print(json.dumps({"page": str(written), **counts, "steps": json.loads(rows)}, indent=2))
        return
    if len(found.steps):
        out.print(summary(found))
    for line in remarks(found):
        out.print(line)
    for why in found.unread:
        err.print(f"[yellow]left out[/yellow]: {escape(why)}", soft_wrap=True)
    out.print(escape(str(written)), soft_wrap=True)


def summary(found: History) -> Table:
    """The first steps, one a line."""
    from lossbench.report import history as page

    table = Table(box=None, pad_edge=False)
    for heading in ("", "series", "at", "before", "after", "size", "sure"):
        right = heading in ("before", "after", "size")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading not in ("series", "at"))
    for row in found.steps.head(SHOWN).to_dict("records"):
        of, unit = found.series[row["series"]], row["unit"]
        change = f"[{COLOURS[row['change']]}]{row['change']}[/]"
        versions = f" ({row['versions']})" if row["versions"] else ""
        series = f"{row['loss']} {row['target']} {row['measure']}: {page.case(of.key)}"
        numbers = [page.shown(row[name], unit) for name in ("before", "after")]
        sure = page.sureness(of, row["p"])
        cells = [series, f"{row['at']}{versions}", *numbers, page.size(row["ratio"]), sure]
        table.add_row(change, *map(escape, cells))
    return table


def remarks(found: History) -> list[str]:
    """What a table of steps does not say."""
    steps = found.steps["change"].value_counts()
    counts = ", ".join(f"{steps[word]} {word}" for word in COLOURS if word in steps)
    word = "step" if len(found.steps) == 1 else "steps"
    said = [f"{len(found.series)} series, {len(found.steps)} {word}{': ' if counts else ''}{counts}"]
    if len(found.steps) > SHOWN:
        said.append(f"{len(found.steps) - SHOWN} more steps are on the page")
    if found.short:
        from lossbench.history.whole import FEWEST

        said.append(f"{found.short} series of times or memory have fewer than {FEWEST} points: no step there is sure")
    return said
