"""What a person sees in a terminal: one loss, a plan of jobs, the progress of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.syntax import Syntax
from rich.table import Table

from lossbench.loss import Loss
from lossbench.records import Job, Measure

Tell = Callable[[int, int, str], None]


def loss(one: Loss) -> RenderableType:
    """Formula, inputs, parameters, calls, divergences and edges of a loss."""
    parts: list[RenderableType] = [
        f"[bold]{escape(one.title)}[/bold]  ({escape(one.name)}, {one.family})",
        escape(one.summary),
        f"also known as: {escape(', '.join(one.aliases) or '-')}",
        f"related: {escape(', '.join(one.related) or '-')}",
        _heading("formula, of one element or row"),
        Padding(Syntax(one.formula_text.definition.strip(), "python", background_color="default"), (0, 2)),
    ]
    if one.formula_text.divisor != "1":
        parts.append(f"  the mean divides by the sum of: {escape(one.formula_text.divisor)}")
    inputs = Table("input", "kind", "domain", "gradient", "meaning")
    for name, given in one.inputs.items():
        inputs.add_row(name, given.kind, given.domain, "yes" if given.grad else "", escape(given.meaning))
    parts.append(inputs)
    if one.parameters:
        parameters = Table("parameter", "default", "domain", "meaning")
        for name, parameter in one.parameters.items():
            parameters.add_row(name, str(parameter.default), escape(parameter.domain), escape(parameter.meaning))
        parts.append(parameters)
    for framework, call in one.frameworks.items():
        parts += [_heading(f"{framework} ({call.form})"), Padding(_python(call.call), (0, 2))]
        if call.weighted:
            parts += ["  with sample weights:", Padding(_python(call.weighted), (0, 2))]
    parts += [_divergences(one), _edges(one), _heading("sources")]
    parts += [f"  {escape(source.title)}. {escape(source.where)}. {escape(source.url)}" for source in one.sources]
    return Group(*parts)


def plan(jobs: Sequence[Job]) -> RenderableType:
    """How many jobs of which kind each target gets."""
    measures = get_args(Measure)
    counts = Counter((job.target.name, job.measure) for job in jobs)
    losses = len({job.case.loss for job in jobs})
    table = Table("target", *measures, title=f"{len(jobs)} jobs on {losses} losses")
    for target in dict.fromkeys(job.target.name for job in jobs):
        table.add_row(escape(target), *(str(counts[target, measure]) for measure in measures))
    return table


@contextmanager
def progress(console: Console) -> Iterator[Tell]:
    """A bar with the time left; what it yields takes (jobs done, jobs in all, what is running)."""
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


def _heading(text: str) -> str:
    return f"\n[bold]{escape(text)}[/bold]"


def _python(text: str) -> Syntax:
    return Syntax(text, "python", background_color="default", word_wrap=True)


def _divergences(one: Loss) -> RenderableType:
    if not one.divergences:
        return ""
    table = Table("framework", "kind", "at", "gives", "why", title="divergences")
    for found in one.divergences:
        given = [f"raises {found.raises}"] if found.raises else []
        given += [f"value {found.value}"] if found.value is not None else []
        given += [f"gradient {found.gradient}"] if found.gradient is not None else []
        at = ", ".join(f"{name} = {value}" for name, value in found.when.items())
        table.add_row(found.framework, found.kind, escape(at), escape("; ".join(given)), escape(found.why))
    return table


def _edges(one: Loss) -> RenderableType:
    table = Table("at", "value", "gradient", "status", "why", title="edges")
    for edge in one.edges:
        at = ", ".join(f"{name} = {value}" for name, value in edge.at.items())
        gradient = "" if edge.gradient is None else str(edge.gradient)
        table.add_row(escape(at), escape(str(edge.value)), escape(gradient), edge.status, escape(edge.why))
    return table
