"""`lossbench sweep`: a thin call of `whole`, and what a terminal shows of a sweep."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lossbench.errors import LossbenchError

if TYPE_CHECKING:
    from lossbench.sweeps.shard import Shard
    from lossbench.sweeps.whole import Sweep

HELP = (
    "The worst errors of value and gradient: over every input in 16 bits, by a search elsewhere.\n\n"
    "Every pattern of bits of a prediction is evaluated, infinities, subnormal numbers and nan among them, at a few "
    "targets and parameters, which are exact numbers of the dtype: one at a time moves from its default. What is "
    "outside the declared domain of an input is left out, and nan with it where the domain is not all numbers; where "
    "the spec declares a convention the inputs are counted apart. An exhaustive sweep gives a bound, a search a lower "
    "bound of the worst error; both say which."
)
UNMEASURED = ("not installed", "crashed", "timed out", "out of memory")
PROVED = 200_000  # inputs that one process evaluates and proves in a second, about

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def sweep(
    losses: Annotated[list[str] | None, typer.Argument(help="Names or spec files.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every elementwise loss.")] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help=r"framework[:mode[:device]], such as torch:compiled; repeatable. One of each framework by default.",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="bfloat16 (the default), float16, float32, float64; repeatable.")
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Through every input; in float32 2**32 of them, which takes its time.")
    ] = False,
    search: Annotated[bool, typer.Option("--search", help="Search, where not every input can be tried.")] = False,
    grid: Annotated[
        bool, typer.Option("--grid", help="Through all pairs of two inputs of 16 bits, in place of a few targets.")
    ] = False,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", help="NAME=NUMBER: an input or parameter that stays there, in place of several."),
    ] = None,
    evaluations: Annotated[int, typer.Option(help="Of a search: at how many inputs, for each target.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of a search.")] = 0,
    share: Annotated[
        str | None, typer.Option("--shard", help="K/N: only the K-th of N parts, which together are everything.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="How many work at a time; as many as there are cores when left out.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="The address of a Dask scheduler, in place of processes here.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the worst inputs beside the specs, for later runs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the shards and what they cost; sweep none.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on with this sweep's folder where it was cut off.")] = None,
    join: Annotated[
        list[Path] | None, typer.Option("--join", help="Put the folders of shares together; repeatable.")
    ] = None,
    to: Annotated[Path, typer.Option("--out", help="The folder that gets the sweep's folder.")] = Path("reports"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Sweep, and print what was found; see `HELP`."""
    from lossbench import terminal
    from lossbench.sweeps import whole  # imports pandas and the oracle
    from lossbench.sweeps.folder import Folder

    whole.hands(processes)
    if exhaustive and search:
        raise LossbenchError("--exhaustive and --search exclude each other; leave one out")
    if resume is not None and (losses or every or target or dtype or exhaustive or search or grid or at or share):
        raise LossbenchError("a resumed sweep does what was planned; leave out losses, --target, --dtype and the like")
    if join:
        from lossbench.sweeps import joining

        if resume is not None or losses or every:
            raise LossbenchError("--join puts finished folders together; leave out losses, --all and --resume")
        _finished(joining.join(join, to), as_json)
        return
    if resume is not None:
        folder = Folder.open(resume)
        shards = folder.left()
    else:
        if bool(losses) == every:
            raise LossbenchError("expected names of losses, or --all")
        method = "exhaustive" if exhaustive else "search" if search else None
        shards, chosen = whole.asked(
            losses or (),
            target,
            dtype or ["bfloat16"],
            method=method,
            at=_fixed(at or ()),
            grid=grid,
            evaluations=evaluations,
            seed=seed,
            share=share,
        )
    if dry_run:
        if as_json:
            print(json.dumps(_cost(shards), indent=2))
        else:
            out.print(plan(shards))
        return
    if resume is None:
        folder = whole.created(shards, chosen, to)
    try:
        with terminal.progress(err) as tell:
            done = whole.completed(folder, processes=processes, scheduler=scheduler, progress=tell)
    except KeyboardInterrupt:
        err.print(f"interrupted; to go on: lossbench sweep --resume {escape(quote(str(folder.path)))}", soft_wrap=True)
        raise typer.Exit(130) from None
    _finished(done, as_json)
    if keep:
        from lossbench.sweeps import keeping

        for path in keeping.keep(done, losses or ()):
            out.print(f"{escape(str(path))} written", soft_wrap=True)
    if any(one.reason in UNMEASURED for one in done.unanswered()):
        raise typer.Exit(3)


def plan(shards: Sequence[Shard]) -> Table:
    """How many shards and inputs each loss has, and about what they cost."""
    cost = _cost(shards)
    title = f"{cost['shards']:,} shards, {cost['inputs']:,} inputs, about {_time(cost['seconds'])} for one process"
    table = Table(box=None, pad_edge=False, title=title)
    for heading in ("loss", "target", "dtype", "method", "swept", "settings", "inputs"):
        table.add_column(heading, justify="right" if heading in ("settings", "inputs") else "left")
    cells: dict[tuple[str, ...], list[Shard]] = {}
    for one in shards:
        key: tuple[str, ...] = (one.loss, one.target.name, one.dtype, one.method, " or ".join(one.swept))
        cells.setdefault(key, []).append(one)
    for key, group in cells.items():
        settings = len({repr(sorted(one.at.items())) for one in group})
        table.add_row(*map(escape, key), str(settings), f"{sum(one.last - one.first for one in group):,}")
    return table


def summary(done: Sweep) -> Table:
    """A line for each target below its loss: the worst errors, plain and after conditioning, and what is amiss."""
    found = done.table()
    table = Table(box=None, pad_edge=False, title=f"{found['evaluations'].sum():,} evaluations; errors in ulps")
    table.add_column("target", no_wrap=True)
    for what in ("value", "gradient"):
        for heading in (what, "judged", "amiss"):
            table.add_column(heading, justify="right", no_wrap=True)
    table.caption = "judged: after conditioning; amiss: flushed, missed zeros, nan, infinities in the wrong place"
    for (loss, dtype), group in found.groupby(["loss", "dtype"], sort=False):
        table.add_row(f"[bold]{escape(loss)}[/bold] {dtype}")
        for row in group.to_dict("records"):
            numbers = []
            for what in ("value", "gradient"):
                errors = (row[f"{what}_ulps"], row[f"{what}_conditioned_judged"])
                numbers += [*map(_ulps, errors), f"{row[f'{what}_amiss']:,}"]
            table.add_row(f"  {escape(row['target'])}", *numbers)
    return table


def _finished(done: Sweep, as_json: bool) -> None:
    rates = done.rates()
    if as_json:
        found: dict[str, Any] = {"sweep": str(done.path), "page": str(done.page), "digest": done.digest}
        found["label"] = {name: int(count) for name, count in Counter(done.table()["label"]).items()}
        found["rows"] = json.loads(done.table().to_json(orient="records"))
        print(json.dumps(found | {"sessions": json.loads(rates.to_json(orient="records"))}, indent=2))
        return
    out.print(summary(done))
    for why, count in Counter(
        f"{one.shard.target.name} {one.reason}: {one.detail}" for one in done.unanswered()
    ).items():
        err.print(f"[yellow]{_counted(count, 'shard')} without an answer[/yellow]: {escape(why)}", soft_wrap=True)
    for line in _speeds(done):
        out.print(line, soft_wrap=True)
    for label, count in Counter(done.table()["label"]).items():
        out.print(f"{count} of {len(done.table())} cells {escape(label)}")
    out.print(f"digest {done.digest}")
    out.print(escape(str(done.page)), soft_wrap=True)


def _speeds(done: Sweep) -> list[str]:
    """Evaluations per second: of each target alone, and of each session over all, with the reference."""
    found = done.table()
    found = found[found["evaluations"] > 0]
    lines = []
    for target, group in found.groupby("target"):
        rate = group["evaluations"].sum() / (group["evaluations"] / group["rate"]).sum()
        lines.append(f"{escape(str(target))}: {rate:,.0f} evaluations/s in its own process")
    for row in done.rates().to_dict("records"):
        processes = _counted(row["processes"], "process", "es")
        lines.append(
            f"{_counted(row['shards'], 'shard')} in {_time(row['seconds'])} with {processes}: "
            f"{row['rate']:,.0f} evaluations/s, each compared with the reference"
        )
    return lines


def _cost(shards: Sequence[Shard]) -> dict[str, Any]:
    inputs = sum(one.last - one.first for one in shards)
    return {"shards": len(shards), "inputs": inputs, "seconds": inputs / PROVED}


def _fixed(texts: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for text in texts:
        name, said, number = text.partition("=")
        if not said or not name or not number:
            raise LossbenchError(f"--at is {text!r}; expected NAME=NUMBER, such as y_true=0")
        found[name.strip()] = number.strip()
    return found


def _counted(count: int, what: str, many: str = "s") -> str:
    return f"{count:,} {what}{many if count != 1 else ''}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _ulps(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.3g}"
