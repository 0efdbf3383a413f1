"""Tables as the templates take them: finished strings, with what each cell sorts by and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from lossbench.report.words import Mark, mark

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: `lines` stand below the text, smaller; `links` (text, address) behind it; `folded` opens on a click."""

    text: str = ""
    sort: str = ""
    shown: Literal["text", "number", "code"] = "text"
    mark: Mark | None = None
    lines: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    folded: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a header for each column; the first cell of a row is the row's header."""

    caption: str
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)


def text(value: object, *lines: str) -> Cell:
    """Plain text; nothing for None and nan."""
    return Cell(text=said(value), lines=[line for line in lines if line])


def code(value: object) -> Cell:
    """What a program would read or print."""
    return Cell(text=said(value), shown="code")


def number(value: object, shown: str) -> Cell:
    """A number that sorts by its value, those not measured last."""
    missing = not isinstance(value, int | float) or math.isnan(value)
    return Cell(text=shown, sort="" if missing else repr(float(value)), shown="number")  # type: ignore[arg-type]


def verdict(word: str, order: Sequence[str], *lines: str) -> Cell:
    """A verdict's mark; sorts by its place in *order*."""
    place = order.index(word) if word in order else len(order)
    found = mark(word)
    return Cell(text=found.word, mark=found, sort=str(place), lines=[line for line in lines if line])


def link(shown: str, address: str, *lines: str) -> Cell:
    """A link."""
    return Cell(links=[(shown, address)], sort=shown, lines=[line for line in lines if line])


def links(pairs: Iterable[tuple[str, str]]) -> Cell:
    """Several links."""
    return Cell(links=list(pairs))


def rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The rows of a frame, with plain Python values."""
    names = [str(name) for name in frame.columns]
    columns = [map(_plain, column.tolist()) for _, column in frame.items()]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def said(value: object) -> str:
    """The text of a value; nothing for None and nan."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return ""
    return str(value)


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
