"""The command line: each command a thin call of the API.

Exit codes: 0 all well; 1 something got wrong or slower; 2 the request was wrong; 3 something could not be measured.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from lossbench import spec, spec_command
from lossbench.budget import command as budgets
from lossbench.checking import command as checking
from lossbench.comparing import command as comparing
from lossbench.errors import LossbenchError
from lossbench.history import command as past
from lossbench.records import Job
from lossbench.sweeps import command as sweeps

UNMEASURED = ("not installed", "crashed", "timed out", "out of memory")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=__doc__.rpartition("\n\n")[2] if __doc__ else None,
)
app.add_typer(spec_command.app, name="spec")
app.add_typer(budgets.app, name="budget")
app.command(help=checking.HELP)(checking.check)
app.command(help=past.HELP)(past.history)
app.command(help=sweeps.HELP)(sweeps.sweep)
app.command(help=comparing.HELP)(comparing.compare)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """Run the command line; what users can cause is one line and exit code 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a run ends its workers then, too
    try:
        app()
    except LossbenchError as error:
        err.print(f"[red]lossbench:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


@app.callback()
def common(
    folder: Annotated[
        list[Path] | None,
        typer.Option("--specs", help=f"A folder of specs of your own, beside lossbench's; also ${spec.VARIABLE}."),
    ] = None,
) -> None:
    """What every loss function is, whether frameworks compute it right, and how fast."""
    if folder:  # in the environment, so that workers find them too
        os.environ[spec.VARIABLE] = os.pathsep.join(str(one.resolve()) for one in folder)


@app.command("list")
def show_all(
    family: Annotated[str | None, typer.Option(help="Only losses of this family.")] = None, as_json: Json = False
) -> None:
    """The table of losses by frameworks: which have a native call, which a composed one."""
    losses = spec.load_all()
    families = sorted({loss.family for loss in losses})
    if family is not None and family not in families:
        raise LossbenchError(f"unknown family {family!r}; expected one of: {', '.join(families)}")
    losses = [loss for loss in losses if family in (None, loss.family)]
    if as_json:
        _print_json([_summary(loss) for loss in losses])
        return
    from lossbench import terminal

    out.print(terminal.losses(losses, out.width))


@app.command()
def show(
    loss: Annotated[str, typer.Argument(help="A name, an alias, or the path of a spec file.")],
    number: Annotated[
        int | None, typer.Option("--script", help="Only a script that shows the divergence of this number.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One loss: formula, parameters, calls, divergences, edges."""
    from lossbench import terminal

    found = spec.load(loss)
    if number is not None:
        from lossbench import script  # imports NumPy and the oracle

        text = script.of(found, number)
        if as_json:
            _print_json({"loss": found.name, "number": number, "script": text})
        else:
            print(text, end="")  # as it is: to be copied, or written to a file
    elif as_json:
        _print_json(msgspec.to_builtins(found, enc_hook=str))
    else:
        out.print(terminal.loss(found))


@app.command()
def run(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites: their names, or paths of suite files.")] = None,
    loss: Annotated[list[str] | None, typer.Option("--loss", help="Only this loss; repeatable.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help=r"[LABEL=]framework\[:mode\[:device]]\[@python], such as torch:compiled; repeatable."
        ),
    ] = None,
    targets: Annotated[
        Path | None, typer.Option(help=r"Only the targets of this TOML file: its table \[targets] names them by label.")
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option("--dtype", help="Only this dtype; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs and run none.")] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run's folder where it was cut off.")] = None,
    to: Annotated[Path, typer.Option("--out", help="The folder that gets the run's folder.")] = Path("reports"),
    budget: budgets.Given = None,
    label: Annotated[str, typer.Option(help="What the run is called in its history, such as a version.")] = "",
    as_json: Json = False,
) -> None:
    """Run accuracy and timing suites and write their report."""
    from lossbench import plan, terminal

    who = [*(target or ()), *(plan.listed(targets) if targets else ())]
    if dry_run:
        jobs = _left(resume) if resume else plan.jobs(*plan.asked(suites or (), loss), who, dtype)
        if as_json:
            _print_json([msgspec.to_builtins(job) for job in jobs])
        else:
            out.print(terminal.plan(jobs))
        return
    from lossbench import runs  # imports pandas, SciPy and Matplotlib

    asked = suites or ()
    given = budget or ()
    store = runs.opened(
        *asked, losses=loss, targets=who, dtypes=dtype, out=to, resume=resume, budgets=given, label=label
    )
    try:
        with terminal.progress(err) as tell:
            done = runs.completed(store, progress=tell)
    except KeyboardInterrupt:
        err.print(f"interrupted; to go on: lossbench run --resume {escape(quote(str(store.path)))}", soft_wrap=True)
        raise typer.Exit(130) from None
    _finished(done, as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    file: Annotated[
        Path | None, typer.Argument(help="Where --single-file writes; in the run's folder where nothing is said.")
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Also put all pages into one HTML file, to be mailed.")
    ] = False,
    budget: budgets.Given = None,
    against: Annotated[
        Path | None, typer.Option(help="A run to compare it with; else the last one before it, of its suite.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the pages of a run again, from its store."""
    from lossbench import runs, terminal

    if file is not None and not single_file:
        raise LossbenchError(f"{file}: reports are written into the run's folder; add --single-file for one in a file")
    with terminal.progress(err) as tell:
        done = runs.reported(run, budget or (), base=against, progress=tell)
    _finished(done, as_json, done.single_file(file) if single_file else None)


@app.command()
def coverage(
    framework: Annotated[list[str] | None, typer.Option("--framework", help="Only this framework; repeatable.")] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="Only write the table of cells into this Markdown file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every public loss of every installed framework, and the spec that covers it."""
    from lossbench import audit, terminal

    losses = spec.load_all()
    if write is not None:
        write.write_text(audit.written(write.read_text(encoding="utf-8"), losses), encoding="utf-8")
        return
    found = audit.coverage(framework)
    if as_json:
        _print_json(_coverage(found, audit.cells(losses)))
    else:
        out.print(terminal.coverage(found))
        out.print(terminal.cells(audit.cells(losses)))
    raise typer.Exit(found.exit_code)


@app.command()
def port(
    call: Annotated[
        str, typer.Argument(help="A loss of a framework, as it is written: 'keras.losses.Huber(delta=2.0)', mse.")
    ],
    to: Annotated[
        list[str] | None, typer.Option("--to", help="The framework to go to; repeatable; all others by default.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", help="Which, where the callable is several for different inputs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The same loss in other frameworks: code to copy, what to convert, and the proof that both agree."""
    from lossbench import porting
    from lossbench.porting import printed

    found = porting.port(call, to or "all", loss=loss)
    if as_json:
        _print_json(asdict(found))
    else:
        out.print(printed.recipe(found), soft_wrap=True)  # code is there to be copied
    raise typer.Exit(found.exit_code)


def _coverage(found: Any, cells: dict[str, Any]) -> dict[str, object]:
    lines = [{**asdict(line), "status": line.status} for line in found.lines]
    named = {name: getattr(found, name) for name in ("versions", "wrong", "stale", "unmeasured")}
    return {"callables": lines, "cells": cells, **named}


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is installed, which devices there are, what limits the measurement."""
    from lossbench import doctor, terminal

    findings = doctor.examine()
    if as_json:
        _print_json([msgspec.to_builtins(finding) for finding in findings])
        return
    out.print(terminal.findings(findings))


def _left(run: Path) -> list[Job]:
    from lossbench.store import Store  # imports NumPy

    return Store.open(run).left()


def _finished(done: Any, as_json: bool, page: Path | None = None) -> None:
    """Print where the report is, *page* if not its index; leave with 1 where something is worse than its budget, with 3
    where it was not measured."""
    from lossbench import terminal

    page = page or done.page
    refusals, silent = done.refusals(), done.silent()
    unmeasured = {reason: count for reason, count in refusals.items() if reason in UNMEASURED}
    for target, why in silent.items():
        err.print(f"[yellow]{escape(target)} gave no answer[/yellow]: {escape(why)}", soft_wrap=True)
    for reason, count in unmeasured.items():
        jobs = "job" if count == 1 else "jobs"
        err.print(f"[yellow]{count} {jobs} {reason}[/yellow]: the report says which and why", soft_wrap=True)
    proofs, beside, warnings = done.proofs(), done.budgets(), done.warnings()
    for said in warnings:
        err.print(f"[yellow]the times[/yellow]: {escape(said)}", soft_wrap=True)
    if as_json:
        found = {"refusals": refusals, "silent": silent, "divergences": proofs["result"].value_counts().to_dict()}
        found |= {"warnings": warnings, "budgets": budgets.counted(beside)}
        _print_json({"run": str(done.path), "report": str(page), **found})
    else:
        for line in budgets.lines(beside, done.path):
            out.print(line, soft_wrap=True)
        for line in terminal.proofs(proofs):
            out.print(line, soft_wrap=True)
        out.print(escape(str(page)), soft_wrap=True)
    if budgets.failing(beside):
        raise typer.Exit(1)
    if unmeasured or silent:
        raise typer.Exit(3)


def _summary(loss: spec.Loss) -> dict[str, object]:
    return {
        "name": loss.name,
        "title": loss.title,
        "family": loss.family,
        "aliases": loss.aliases,
        "frameworks": {name: call.form for name, call in loss.frameworks.items()},
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))
