"""Conventions as pages show them: each topic over all losses, each loss over all topics, and what is news."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lossbench.conventions import TOPICS
from lossbench.report import tables
from lossbench.report.tables import Cell, Row, Table
from lossbench.report.words import Mark

FACTS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("△", "changed", "poor", "the callable now does something else than the spec says"),
        Mark("∅", "gone", "poor", "the spec has a fact of what the callable is no longer asked, or no longer there"),
        Mark("+", "new", "fair", "the spec has no fact of it yet"),
        Mark("–", "not run", "none", "as the spec says: its target was not in this run, or gave no answer"),
        Mark("✓", "confirmed", "other", "this run got what the spec says"),
    )
}
NEWS = ("changed", "gone", "new")
SHORT = {"torch.nn.functional.": "F.", "torch.nn.": "nn."}  # as calls are written


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer and who gives it; `mark` where it is not simply confirmed, `before` what the spec says then."""

    text: str
    callables: Sequence[tuple[str, str]]  # with the pages of their losses
    mark: Mark | None = None
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row: what it is of, and for each framework what its callables say."""

    head: str
    address: str = ""
    boxes: Sequence[Sequence[Said]]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of answers by framework."""

    caption: str
    first: str
    frameworks: Sequence[str]
    lines: Sequence[Line] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A topic: which answers there are and who gives them, and the same by loss."""

    name: str
    asks: str
    answers: Grid
    losses: Grid


def sections(frame: pd.DataFrame) -> list[Section]:
    """Every topic of which there are facts, in the order in which callables are asked."""
    found: dict[str, list[Row]] = {}
    for row in tables.rows(frame):
        if row["topic"]:
            found.setdefault(str(row["topic"]), []).append(row)
    known = [topic for topic in TOPICS if topic in found]
    return [_section(topic, found[topic]) for topic in (*known, *sorted(set(found) - set(known)))]


def of_loss(frame: pd.DataFrame) -> Grid:
    """All topics of one loss: a line for each."""
    rows = [row for row in tables.rows(frame) if row["topic"]]
    frameworks = _frameworks(rows)
    topics = list(dict.fromkeys(str(row["topic"]) for row in rows))
    order = list(TOPICS)
    topics.sort(key=lambda topic: order.index(topic) if topic in order else len(order))
    lines = []
    for topic in topics:
        mine = [row for row in rows if row["topic"] == topic]
        lines.append(Line(head=topic, address=f"../conventions.html#{anchor(topic)}", boxes=_boxes(mine, frameworks)))
    return Grid(caption="Conventions", first="Topic", frameworks=frameworks, lines=lines)


def news(frame: pd.DataFrame) -> Table:
    """What an upgrade brings: facts that changed, are gone or are new, and what could not be asked."""
    table = Table(
        caption="Facts that are not as the specs say",
        columns=["Result", "Loss", "Callable", "Topic", "The spec says", "This run got"],
    )
    rows = [row for row in tables.rows(frame) if row["result"] in NEWS or (row["target"] and row["reason"])]
    order = list(FACTS)
    for row in sorted(rows, key=lambda row: (order.index(str(row["result"])), str(row["loss"]), str(row["callable"]))):
        loss, mark = str(row["loss"]), FACTS[str(row["result"])]
        table.rows.append(
            [
                Cell(text=mark.word, mark=mark, sort=str(order.index(mark.word))),
                tables.link(loss, f"losses/{loss}.html#conventions"),
                Cell(text=short(str(row["callable"])), shown="code", lines=[str(row["target"])]),
                tables.text(row["topic"]),
                tables.text(row["declared"]),
                tables.text(row["observed"] or row["reason"]),
            ]
        )
    return table


def counts(frame: pd.DataFrame, results: Iterable[str] = tuple(FACTS)) -> dict[str, int]:
    """How many facts there are of each result, of those that have any."""
    found = frame.loc[frame["topic"] != "", "result"].value_counts() if len(frame) else {}
    return {word: int(found[word]) for word in results if word in found}


def anchor(topic: str) -> str:
    """The topic's place on the page of conventions."""
    return "topic-" + "-".join("".join(one if one.isalnum() else " " for one in topic.lower()).split())


def short(name: str) -> str:
    """A callable as its framework's users write it."""
    prefix = next((one for one in SHORT if name.startswith(one)), "")
    return SHORT.get(prefix, "") + name.removeprefix(prefix)


def _section(topic: str, rows: list[Row]) -> Section:
    frameworks = _frameworks(rows)
    texts: dict[str, list[Row]] = {}
    for row in rows:
        texts.setdefault(_text(row), []).append(row)
    by_count = sorted(texts, key=lambda text: (-len(texts[text]), text))
    answers = [Line(head=text, boxes=_boxes(texts[text], frameworks)) for text in by_count]
    by_loss: dict[str, list[Row]] = {}
    for row in rows:
        by_loss.setdefault(str(row["loss"]), []).append(row)
    losses = [
        Line(head=loss, address=f"losses/{loss}.html#conventions", boxes=_boxes(by_loss[loss], frameworks))
        for loss in sorted(by_loss)
    ]
    return Section(
        name=topic,
        asks=TOPICS[topic].asks if topic in TOPICS else "",
        answers=Grid(caption=f"{topic}: answers", first="Answer", frameworks=frameworks, lines=answers),
        losses=Grid(caption=f"{topic}: losses", first="Loss", frameworks=frameworks, lines=losses),
    )


def _frameworks(rows: Iterable[Row]) -> list[str]:
    found = {str(row["framework"]) for row in rows}
    known = [name for name in ("torch", "tensorflow", "jax") if name in found]
    return [*known, *sorted(found - {*known})]


def _boxes(rows: Sequence[Row], frameworks: Sequence[str]) -> list[list[Said]]:
    return [_box([row for row in rows if row["framework"] == framework]) for framework in frameworks]


def _box(rows: Sequence[Row]) -> list[Said]:
    """The answers of one framework, each once, with those who give it."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        result = str(row["result"])
        before = str(row["declared"]) if result == "changed" else ""
        found.setdefault((_text(row), result, before), []).append(row)
    return [
        Said(
            text=text,
            callables=list(
                dict.fromkeys((short(str(row["callable"])), f"losses/{row['loss']}.html#conventions") for row in given)
            ),
            mark=None if result == "confirmed" else FACTS[result],
            before=before,
        )
        for (text, result, before), given in found.items()
    ]


def _text(row: Row) -> str:
    return str(row["observed"] or row["declared"])
