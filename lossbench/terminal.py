"""What a person sees in a terminal: all losses, one loss, a plan of jobs, the progress of a run, what is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, get_args

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.syntax import Syntax
from rich.table import Table

from lossbench.loss import Loss
from lossbench.records import Job, Measure

if TYPE_CHECKING:
    import pandas as pd

    from lossbench.audit import Coverage
    from lossbench.limits import Finding

Tell = Callable[[int, int, str], None]
COLUMNS = {"loss": 37, "family": 12, "torch": 8, "tensorflow": 10, "jax": 8, "also known as": 20}  # least widths
GAP = 1  # between columns
PAUSE = 30.0  # seconds between the lines that a long run leaves in a log


def losses(found: Sequence[Loss], width: int) -> RenderableType:
    """A line for each loss: in which frameworks it is native or composed; what does not fit the width is left out."""
    kept: list[str] = []
    for heading, least in COLUMNS.items():
        if sum(COLUMNS[one] + GAP for one in kept) + least <= width:
            kept.append(heading)
    left_out = [heading for heading in COLUMNS if heading not in kept]
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        title=f"{len(found)} losses, each with a Numba kernel",
        caption=f"too narrow for: {', '.join(left_out)}; widen it or use --json" if left_out else None,
    )
    room = width - sum(COLUMNS[heading] + GAP for heading in kept[:-1])
    for heading in kept:
        table.add_column(heading, no_wrap=True, max_width=room if heading == kept[-1] else COLUMNS[heading])
    for one in found:
        cells = {"loss": one.name, "family": one.family, "also known as": ", ".join(one.aliases)}
        cells |= {name: call.form for name, call in one.frameworks.items()}
        table.add_row(*(escape(cells.get(heading, "-")) for heading in kept))
    return table


def findings(found: Sequence[Finding]) -> RenderableType:
    """What `lossbench doctor` found."""
    table = _table("what", "found", "what it means")
    for one in found:
        table.add_row(one.what, escape(one.found), escape(one.advice))
    return table


def coverage(found: Coverage) -> RenderableType:
    """What `lossbench coverage` found: all callables, what is missing first, and the counts."""
    order = {"missing": 0, "excluded": 1, "covered": 2}
    table = _table("framework", "callable", "spec")
    for line in sorted(found.lines, key=lambda line: (order[line.status], line.framework, line.name)):
        said = {"covered": ", ".join(line.losses), "excluded": f"excluded: {line.reason}", "missing": ""}[line.status]
        text = escape(said) if said else "[red]MISSING[/red]"
        table.add_row(line.framework, escape(line.name), text)
    counts = _table("namespace", "callables", "covered", "excluded", "missing")
    for namespace, count in sorted(found.counts().items()):
        numbers = (count.total(), count["covered"], count["excluded"], count["missing"])
        counts.add_row(escape(namespace), *map(str, numbers))
    parts: list[RenderableType] = [table, counts]
    for framework, versions in found.versions.items():
        parts.append(escape(f"{framework}: " + ", ".join(f"{name} {of}" for name, of in versions.items())))
    parts += [
        f"[yellow]{framework} not measured[/yellow]: {escape(why)}" for framework, why in found.unmeasured.items()
    ]
    parts += [f"[red]wrong[/red]: {escape(said)}" for said in found.wrong]
    parts += [f"note: not in the installed version: {escape(said)}" for said in found.stale]
    parts += [f"[red]missing[/red]: no spec covers {escape(line.name)}" for line in found.missing]
    return Group(*parts)


def cells(found: Mapping[str, Mapping[str, int]]) -> RenderableType:
    """How many losses are native, a recipe or absent, by framework."""
    table = _table("losses that are", *found)
    for form in dict.fromkeys(form for counted in found.values() for form in counted):
        table.add_row(form, *(str(counted.get(form, 0)) for counted in found.values()))
    return table


def loss(one: Loss) -> RenderableType:
    """Formula, inputs, parameters, calls, divergences and edges of a loss."""
    parts: list[RenderableType] = [
        f"[bold]{escape(one.title)}[/bold]  ({escape(one.name)}, {one.family})",
        escape(one.summary),
        f"also known as: {escape(', '.join(one.aliases) or '-')}",
        f"related: {escape(', '.join(one.related) or '-')}",
        _heading("formula, of one element or row"),
        Padding(_python(one.formula_text.definition.strip()), (0, 2)),
    ]
    if one.formula_text.divisor != "1":
        parts.append(f"  the mean divides by the sum of: {escape(one.formula_text.divisor)}")
    inputs = _table("input", "kind", "domain", "gradient", "meaning")
    for name, given in one.inputs.items():
        inputs.add_row(name, given.kind, given.domain, "yes" if given.grad else "", escape(given.meaning))
    parts.append(inputs)
    if one.parameters:
        parameters = _table("parameter", "default", "domain", "meaning")
        for name, parameter in one.parameters.items():
            parameters.add_row(name, str(parameter.default), escape(parameter.domain), escape(parameter.meaning))
        parts.append(parameters)
    for framework, call in one.frameworks.items():
        parts += [_heading(f"{framework} ({call.form})"), Padding(_python(call.call), (0, 2))]
        if call.weighted:
            parts += ["  with sample weights:", Padding(_python(call.weighted), (0, 2))]
        for what, text in (("update", call.update), ("result", call.result), ("reset", call.reset)):
            parts += [f"  {what}:", Padding(_python(text), (0, 2))] if text else []
        parts += [f"  requires: {escape(call.requires)}"] if call.requires else []
        parts += [f"  {escape(call.note)}"] if call.note else []
    parts += [_divergences(one), _edges(one), _heading("sources")]
    parts += [f"  {escape(source.title)}. {escape(source.where)}. {escape(source.url)}" for source in one.sources]
    return Group(*parts)


def proofs(found: pd.DataFrame) -> list[str]:
    """How many divergences are as declared, and a line for each that is not any more."""
    counts = Counter(found["result"])
    if not counts:
        return []
    lines = [f"divergences: {', '.join(f'{count} {word}' for word, count in counts.most_common())}"]
    for row in found[found["result"].isin(["changed", "fixed"])].to_dict("records"):
        got = row["got_value"] or row["reason"]
        got += f", gradient {', '.join(row['got_gradient'].splitlines())}" if row["got_gradient"] else ""
        where = f"{row['loss']} {row['index'] + 1}, {row['target']}, {row['dtype']}, at {row['at']}"
        lines.append(f"[yellow]{row['result']}[/yellow]: {escape(f'{where}: {got}')}")
    return lines


def plan(jobs: Sequence[Job]) -> RenderableType:
    """How many jobs of which kind each target gets."""
    measures = get_args(Measure)
    counts = Counter((job.target.name, job.measure) for job in jobs)
    losses = len({job.case.loss for job in jobs})
    table = _table("target", *measures, title=f"{len(jobs)} jobs on {losses} losses")
    for target in dict.fromkeys(job.target.name for job in jobs):
        table.add_row(escape(target), *(str(counts[target, measure]) for measure in measures))
    return table


@contextmanager
def progress(console: Console) -> Iterator[Tell]:
    """A bar with the time left, or lines in a log; what it yields takes (jobs done, jobs in all, what is running)."""
    if not console.is_terminal:
        yield _logged(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def tell(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(text))

        yield tell


def _logged(console: Console) -> Tell:
    start = said = monotonic()
    before = whole = -1  # how much of how much was done by an earlier run

    def tell(done: int, total: int, text: str) -> None:
        nonlocal start, said, before, whole
        if total != whole:  # something else begins
            start, before, whole = monotonic(), done, total
        if monotonic() - said >= PAUSE and done > before:
            said = monotonic()
            left = (said - start) / (done - before) * (total - done)
            console.print(f"{done} of {total}, {escape(text)}; about {left / 60:.0f} min left", soft_wrap=True)

    return tell


def _table(*headings: str, title: str | None = None) -> Table:
    """A table in which nothing is cut off, however narrow the terminal is."""
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _heading(text: str) -> str:
    return f"\n[bold]{escape(text)}[/bold]"


def _python(text: str) -> Syntax:
    return Syntax(text, "python", background_color="default", word_wrap=True)


def _divergences(one: Loss) -> RenderableType:
    if not one.divergences:
        return ""
    table = _table("number", "framework", "kind", "at", "gives", "why", title="divergences")
    for number, found in enumerate(one.divergences, 1):
        given = [f"raises {found.raises}"] if found.raises else []
        given += [f"value {found.value}"] if found.value is not None else []
        given += [f"gradient {found.gradient}"] if found.gradient is not None else []
        at = ", ".join(f"{name} = {value}" for name, value in found.when.items())
        table.add_row(str(number), found.framework, found.kind, escape(at), escape("; ".join(given)), escape(found.why))
    return table


def _edges(one: Loss) -> RenderableType:
    table = _table("at", "value", "gradient", "status", "why", title="edges")
    for edge in one.edges:
        at = ", ".join(f"{name} = {value}" for name, value in edge.at.items())
        gradient = "" if edge.gradient is None else str(edge.gradient)
        table.add_row(escape(at), escape(str(edge.value)), escape(gradient), edge.status, escape(edge.why))
    return table
