"""A check as people see it: in a terminal, as plain text, in a notebook."""

from __future__ import annotations

from collections import Counter

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from lossbench.checking.finding import Finding
from lossbench.checking.result import Check
from lossbench.checking.smallest import numbers, point
from lossbench.ulp import exponent

COLOURS = {"right": "green", "weak": "yellow", "wrong": "red", "refused": "red", "no answer": "red", "not asked": "dim"}
FEW = 3  # points that a line has room for
WORDS = {
    "right": "right",
    "weak": "right at ordinary inputs, weak at extreme ones",
    "wrong": "wrong",
    "no answer": "no answer",
}


def told(one: Check) -> RenderableType:
    """The verdict first, then why, the smallest failing input, what was asked, and what was assumed."""
    name = escape(one.code.rpartition("/")[2])
    of = f" as {escape(one.title)} ({escape(one.loss)})" if one.loss else ""
    colour = COLOURS[one.verdict]
    parts: list[RenderableType] = [f"[bold]{name}[/bold]{of}: [{colour}]{WORDS[one.verdict]}[/{colour}]"]
    parts += [f"  {escape(why)}" for why in one.why]
    if one.failing is not None and one.at:
        parts.append(f"  smallest failing input: {escape(one.at)}")
    if one.failing is not None and one.at and one.failing.exact is not None:
        told = f"{one.failing.name} {numbers(one.failing.got)}, exact {numbers(one.failing.exact)}{_ulps(one.failing)}"
        parts.append(f"  there: {escape(told)}")
    if one.script:
        parts += ["", Syntax(one.script, "python", theme="ansi_dark", background_color="default")]
    if one.findings:
        parts += [_table(one)]
    if one.call:
        parts.append(f"called as {escape(one.call)}")
    parts += [f"assumed: {escape(text)}" for text in one.assumed]
    return Group(*parts)


def _ulps(found: Finding) -> str:
    """How far off the farthest entry is."""
    if found.got is None or found.exact is None:
        return ""
    exact = np.ravel(found.exact)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(np.ravel(found.got) - exact) / np.ldexp(1.0, exponent(exact, np.zeros(exact.size), found.dtype))
    return f": {np.nanmax(apart):.3g} ulp" if np.isfinite(apart).any() else ""


def _table(one: Check) -> Table:
    table = Table()
    for heading in ("asked", "dtype", "mode", "verdict", "what came out"):
        table.add_column(heading, overflow="fold")
    alike = Counter((found.question, found.dtype, found.mode, found.level, _words(found)) for found in one.findings)
    for (question, dtype, mode, level, words), count in alike.items():
        colour = COLOURS[level]
        times = f" ({count} times)" if count > 1 else ""
        table.add_row(question, dtype, mode, f"[{colour}]{level}[/{colour}]", escape(words) + times)
    return table


def _words(found: Finding) -> str:
    shown = found.problem is not None and found.problem.entries <= FEW
    return f"{found.words} at {point(found)}" if shown else found.words


def plainly(one: Check) -> dict[str, object]:
    """The same as numbers and texts."""
    failing = {}
    if one.failing is not None and one.failing.problem is not None and one.failing.got is not None:
        failing = {
            "at": {name: array.tolist() for name, array in one.failing.problem.arrays.items()},
            "quantity": one.failing.name,
            "got": np.ravel(one.failing.got).tolist(),
            "exact": np.ravel(np.asarray(one.failing.exact)).tolist(),
        }
    names = ("code", "loss", "title", "framework", "verdict", "call", "gives", "script")
    findings = [
        {
            "question": found.question,
            "dtype": found.dtype,
            "mode": found.mode,
            "level": found.level,
            "words": _words(found),
        }
        for found in one.findings
    ]
    return {name: getattr(one, name) for name in names} | {
        "parameters": dict(one.parameters),
        "why": list(one.why),
        "assumed": list(one.assumed),
        "failing": failing,
        "findings": findings,
    }
