"""`lossbench check`: is my own loss right?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from lossbench.errors import LossbenchError
from lossbench.text import Reduction

HELP = (
    "Is my own loss right? Value, gradient, edges, dtypes, modes and shapes, with the smallest input at which it fails."
)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def check(
    yours: Annotated[str, typer.Argument(help="FILE.py:NAME or package.module:NAME, a function or a class.")],
    loss: Annotated[
        str | None, typer.Option("--loss", help="What it is to be; found out by its values where it is not said.")
    ] = None,
    spec: Annotated[Path | None, typer.Option("--spec", help="In place of --loss: a spec file of one's own.")] = None,
    framework: Annotated[
        str | None, typer.Option("--framework", help="torch, tensorflow, jax or numpy; found out where it is not said.")
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option("--arg", help="INPUT=ARGUMENT: what an input or parameter of the loss is called. Repeatable."),
    ] = None,
    reduction: Annotated[
        str | None, typer.Option("--reduction", help="mean or sum: what its one number for a whole batch is.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="NAME=VALUE: a parameter of the loss, or an argument of yours. Repeatable."),
    ] = None,
    speed: Annotated[bool, typer.Option(help="Time it, too, beside the framework's own, if it is not wrong.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Exit codes: 0 right, or weak at extreme inputs alone; 1 wrong; 2 the request was wrong; 3 it gave no answer."""
    from lossbench.checking import printed, whole  # imports the oracle

    if loss and spec:
        raise LossbenchError("both --loss and --spec are given; expected one of them")
    if reduction not in (None, "mean", "sum"):
        raise LossbenchError(f"unknown reduction {reduction!r}; expected mean or sum")
    parameters = _pairs("--param", param)
    with err.status("starting") as status:
        found = whole.check(
            yours,
            spec or loss,
            framework=framework,
            arguments=_pairs("--arg", argument),
            reduction=cast(Reduction | None, reduction),
            speed=speed,
            progress=status.update,
            **parameters,
        )
    if as_json:
        print(json.dumps(printed.plainly(found), indent=2))
    else:
        out.print(printed.told(found), soft_wrap=False)
    raise typer.Exit(found.exit_code)


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise LossbenchError(f"{option} {text!r}; expected NAME=VALUE")
        found[name] = value
    return found
