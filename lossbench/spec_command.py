"""`lossbench spec`: validate spec files, derive what is derived in them, start a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lossbench import spec

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
app = typer.Typer(no_args_is_help=True, help="Validate spec files, re-derive their reference values, start a new one.")
Files = Annotated[list[str] | None, typer.Argument(help="Names or spec files; all of lossbench's when left out.")]


@app.command("check")
def check_specs(files: Files = None) -> None:
    """Validate spec files: types, formula, calls, edges, and every digit of their reference values."""
    from lossbench import soundness

    names = files or spec.names()
    for name in names:
        soundness.verify(spec.load(name))
    out.print(f"{len(names)} specs are sound")


@app.command("refresh")
def refresh_specs(files: Files = None) -> None:
    """Derive the reference values of spec files anew, and write them into the files."""
    from lossbench import references

    for name in files or spec.names():
        path = Path(name) if name.endswith(".toml") else spec.load(name).path
        found = references.refresh(path)
        out.print(f"{escape(str(path))}: {len(found.references)} reference values")


@app.command("facts")
def write_facts(
    files: Files = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Only this target; facts of others are kept. Repeatable.")
    ] = None,
) -> None:
    """Ask every public callable of spec files how it behaves, in its framework, and write the facts into the files."""
    from lossbench import terminal
    from lossbench.conventions import writing

    losses = [loss for loss in map(spec.load, files or spec.names()) if loss.callables]
    with terminal.progress(err) as tell:
        refused = writing.write(losses, target, progress=tell)
    for name, why in refused.items():
        err.print(f"[yellow]{escape(name)}[/yellow]: {escape(why)}; its facts are kept", soft_wrap=True)
    for loss in losses:
        again = spec.load(loss.path)
        count = sum(len(fact.says) for fact in again.facts)
        out.print(f"{escape(str(again.path))}: {count} facts of {len(again.callables)} callables", soft_wrap=True)
    if refused:
        raise typer.Exit(3)


@app.command("new")
def new_spec(
    name: Annotated[str, typer.Argument(help="The loss's name, a Python identifier in lower case.")],
    to: Annotated[Path, typer.Option("--out", help="The folder that gets NAME.toml.")] = Path(),
) -> None:
    """Write a commented spec that already loads, to be filled in."""
    path = spec.start(name, to)
    out.print(f"{escape(str(path))} written; edit it, then: lossbench spec refresh {escape(str(path))}")
