"""A recipe as a person sees it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.syntax import Syntax
from rich.text import Text

from lossbench.porting.recipe import Gap, Port, Proof, Recipe


def recipe(one: Recipe) -> RenderableType:
    """The source as it was understood, and a part for each framework."""
    parts: list[RenderableType] = [
        f"[bold]{escape(one.name)}[/bold] is {escape(one.title)} ({escape(one.loss)})",
        _python(one.code),
        f"gives {escape(one.gives)}",
    ]
    if one.parameters:
        parts.append("with " + escape(", ".join(f"{name} = {value}" for name, value in one.parameters.items())))
    if one.also:
        parts.append(f"for other inputs it is {escape(', '.join(one.also))}: see --loss")
    if one.takes:
        parts.append("its " + escape(", its ".join(f"{own} is {name}" for name, own in one.takes.items())))
    parts += [f"note: {escape(note)}" for note in one.notes]
    return Group(*parts, *(_port(port) for port in one.ports))


def _port(one: Port) -> RenderableType:
    parts: list[RenderableType] = [f"\n[bold]{escape(one.framework)}[/bold] ({one.form})"]
    if one.code:
        parts.append(_python(one.code))
    if one.weighted:
        parts += ["  with sample weights:", _python(one.weighted, "    ")]
    for heading, lines in (
        ("cannot be said", one.unexpressed),
        ("inputs", one.conversions),
        ("conventions", one.conventions),
        ("differences that remain", one.notes),
    ):
        if lines:
            parts += [f"  {heading}:", *(f"    - {escape(line)}" for line in lines)]
    if one.proof:
        parts.append(_proof(one.proof))
    elif one.unproved:
        parts.append(f"  [yellow]not proved[/yellow]: {escape(one.unproved)}")
    return Group(*parts)


def _proof(one: Proof) -> RenderableType:
    colour = {"equal": "green", "differs as declared": "yellow", "failed": "red"}[one.status]
    parts: list[RenderableType] = [
        f"  proof: [{colour}]{one.status}[/{colour}], both run on {one.points} points in float64"
    ]
    if one.words:
        parts.append(f"    {escape(one.words)}")
    for name, gap in one.between.items():
        text = f"{name}: {_gap(gap)} apart; {_ulps(one.source, name)} and {_ulps(one.target, name)} from the certified"
        parts.append(f"    - {escape(text)}")
    return Group(*parts)


def _gap(one: Gap) -> str:
    return f"{one.ulps:.3g} ulp ({one.relative:.1e} relative)"


def _ulps(gaps: Mapping[str, Gap], name: str) -> str:
    return f"{gaps[name].ulps:.3g} ulp"


def _python(text: str, indent: str = "  ") -> Text:
    """Code without the blanks that would fill its lines: it is there to be copied."""
    code = "\n".join(f"{indent}{line}".rstrip() for line in text.splitlines())
    highlighted = Syntax("", "python", background_color="default").highlight(code)
    highlighted.rstrip()
    return highlighted
