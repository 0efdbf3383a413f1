"""Conventions as pages show them: each topic over all losses, each loss over all topics."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from lossbench.conventions import TOPICS
from lossbench.report import tables
from lossbench.report.tables import Row
from lossbench.report.words import Mark

FACTS: Mapping[str, Mark] = {  # by what a run says of a fact
    "changed": Mark("△", "changed", "poor", "the callable now does something else than the spec says"),
    "gone": Mark(
        "∅", "gone", "poor", "the spec has a fact of what the callable is no longer asked, or no longer there"
    ),
    "new": Mark("+", "new", "fair", "the spec has no fact of it yet"),
    "not run": Mark("○", "recorded", "none", "as the spec says: this run did not ask, or got no answer"),
    "confirmed": Mark("✓", "confirmed", "other", "this run got what the spec says, or the mark is left out"),
}
NEWS = ("changed", "gone", "new")
GROUPS: Mapping[str, str] = {  # by the module of a topic's probe
    "arguments": "Arguments",
    "reductions": "Reductions",
    "weights": "Weights",
    "labels": "Labels",
    "points": "Hard points",
    "shapes": "Shapes",
    "dtypes": "Dtypes",
    "compiled": "Compiled",
}
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
    search: str = ""  # what a text filter looks into
    has: Sequence[str] = ()  # frameworks that say something
    results: Sequence[str] = ()  # words of their marks


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of answers by framework."""

    caption: str
    first: str
    frameworks: Sequence[str]
    recorded: Collection[str] = ()  # frameworks of which nothing here was run: marks do not say it again
    lines: Sequence[Line] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A topic: which answers there are and who gives them, and the same by loss; `parts` are of other backends."""

    name: str
    asks: str
    answers: Grid
    losses: Grid
    parts: list[Section] = field(default_factory=list)


def sections(frame: pd.DataFrame) -> dict[str, list[Section]]:
    """Every topic of which there are facts, by group, in the order in which callables are asked."""
    found: dict[str, list[Row]] = {}
    for row in tables.rows(frame):
        if row["topic"]:
            found.setdefault(str(row["topic"]), []).append(row)
    known = [topic for topic in TOPICS if topic in found]
    made = {topic: _section(topic, found[topic]) for topic in (*known, *sorted(set(found) - set(known)))}
    groups: dict[str, list[Section]] = {}
    for topic, section in made.items():
        whole = topic.partition(": ")[0]
        if whole != topic and whole in made:
            made[whole].parts.append(section)
        else:
            groups.setdefault(_group(topic), []).append(section)
    return groups


def _group(topic: str) -> str:
    module = TOPICS[topic].probe.__module__.rpartition(".")[2] if topic in TOPICS else ""
    return GROUPS.get(module, "Others")


def of_loss(frame: pd.DataFrame) -> Grid:
    """All topics of one loss: a line for each."""
    rows = [row for row in tables.rows(frame) if row["topic"]]
    frameworks = _frameworks(rows)
    topics = list(dict.fromkeys(str(row["topic"]) for row in rows))
    order = list(TOPICS)
    topics.sort(key=lambda topic: order.index(topic) if topic in order else len(order))
    recorded = _recorded(rows)
    lines = []
    for topic in topics:
        mine = [row for row in rows if row["topic"] == topic]
        lines.append(_line(topic, f"../conventions.html#{anchor(topic)}", mine, frameworks, recorded))
    return Grid(caption="Conventions", first="Topic", frameworks=frameworks, recorded=recorded, lines=lines)


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
    recorded = _recorded(rows)
    answers = [_line(text, "", texts[text], frameworks, recorded) for text in by_count]
    by_loss: dict[str, list[Row]] = {}
    for row in rows:
        by_loss.setdefault(str(row["loss"]), []).append(row)
    losses = [
        _line(loss, f"losses/{loss}.html#conventions", by_loss[loss], frameworks, recorded) for loss in sorted(by_loss)
    ]
    grid = partial(Grid, frameworks=frameworks, recorded=recorded)
    return Section(
        name=topic,
        asks=TOPICS[topic].asks if topic in TOPICS else "",
        answers=grid(caption=f"{topic}: answers", first="Answer", lines=answers),
        losses=grid(caption=f"{topic}: losses", first="Loss", lines=losses),
    )


def _recorded(rows: Iterable[Row]) -> set[str]:
    """The frameworks of which none was run."""
    rows = list(rows)
    return {str(row["framework"]) for row in rows} - {
        str(row["framework"]) for row in rows if row["result"] != "not run"
    }


def _line(head: str, address: str, rows: Sequence[Row], frameworks: Sequence[str], recorded: Collection[str]) -> Line:
    said = [str(row[name]) for row in rows for name in ("loss", "callable", "declared", "observed")]
    return Line(
        head=head,
        address=address,
        boxes=[_box([row for row in rows if row["framework"] == one], one in recorded) for one in frameworks],
        search=" ".join(dict.fromkeys([head, *said])).lower(),
        has=_frameworks(rows),
        results=list(dict.fromkeys(FACTS[str(row["result"])].word for row in rows)),
    )


def _frameworks(rows: Iterable[Row]) -> list[str]:
    found = {str(row["framework"]) for row in rows}
    known = [name for name in ("torch", "tensorflow", "jax") if name in found]
    return [*known, *sorted(found - {*known})]


def _box(rows: Sequence[Row], recorded: bool) -> list[Said]:
    """The answers of one framework, each once, with those who give it."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        result = str(row["result"])
        before = str(row["declared"]) if result == "changed" else ""
        found.setdefault((_text(row), result, before), []).append(row)
    return [
        Said(
            text=text,
            callables=_callables(given),
            mark=None if result == "confirmed" or (recorded and result == "not run") else FACTS[result],
            before=before,
        )
        for (text, result, before), given in found.items()
    ]


def _callables(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Each once, with its loss's page; one of several losses says which."""
    found = dict.fromkeys((short(str(row["callable"])), str(row["loss"])) for row in rows)
    names = [name for name, _ in found]
    return [
        (name if names.count(name) == 1 else f"{name} ({loss})", f"losses/{loss}.html#conventions")
        for name, loss in found
    ]


def _text(row: Row) -> str:
    return str(row["observed"] or row["declared"])
