"""The page of the local kernels: what they are to reach and what they reach, case by case, and how exact they are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lossbench import goals, kernels
from lossbench.formula.elements import FAR
from lossbench.goals import AGAINST
from lossbench.report import kernel_charts, lengths, tables, words
from lossbench.report.one import Picture
from lossbench.report.tables import Row, Table
from lossbench.report.words import Mark

ULPS = Path(kernels.__file__).with_name("ulps.toml")
MARKS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("▽", "below", "poor", "the median is less than what is wanted"),
        Mark("✓", "reached", "good", "the median is at least what is wanted of every goal of the case"),
        Mark("–", "no goal", "none", "measured, and nothing is wanted of it"),
    )
}
MEASURES = {"forward": "value", "gradient": "value and gradient"}
_ORDER = list(MARKS)
_UNITS = {"ceiling": "of the ceiling", "frameworks": "times the best framework", "one thread": "times one thread"}


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One ratio as its cell shows it: `wanted` are the goals that it is held against."""

    text: str = ""
    sort: str = ""
    interval: str = ""
    beside: str = ""
    wanted: Sequence[tuple[Mark, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Line:
    """One case of one kernel."""

    loss: str
    dtype: str
    measure: str
    outputs: str
    threads: str
    result: Mark
    shape: tables.Cell
    seconds: tables.Cell
    ratios: Sequence[Ratio]
    search: str


def page(found: pd.DataFrame) -> dict[str, object]:
    """All that the template takes, of `goals.ratios`."""
    judged = goals.judged(found, goals.load())
    lines = _lines(found, judged)
    return {
        "goals": overview(judged),
        "below": below(judged),
        "counts": {word: sum(line.result.word == word for line in lines) for word in _ORDER},
        "lines": lines,
        "ratios": [f"{unit[0].upper()}{unit[1:]}" for unit in _UNITS.values()],
        "fields": {name: _values(lines, name) for name in ("loss", "measure", "dtype", "threads", "outputs")},
        "marks": MARKS,
        "pictures": pictures(found),
        "ulps": ulps(),
        "far": FAR >> 20,
    }


def missed(found: pd.DataFrame) -> int | None:
    """How many losses miss a goal; None where no ceiling was measured, and there is no page."""
    if not found["ceiling"].any():
        return None
    judged = goals.judged(found, goals.load())
    return int(judged["loss"][~judged["reached"].astype(bool)].nunique())


def overview(judged: pd.DataFrame) -> Table:
    """One row for each goal and dtype: how many of its cases reach it, and the one that is farthest from it."""
    columns = ["Goal", "Against", "At least", "Dtype", "Cases", "Reached", "Lowest", "95 % interval", "There"]
    table = Table(caption="Goals", columns=columns)
    for (goal, dtype), rows in judged.groupby(["goal", "dtype"], sort=False):
        worst = tables.rows(rows.loc[[rows["ratio"].idxmin()]])[0]
        table.rows.append(
            [
                tables.text(goal),
                tables.text(worst["against"]),
                tables.number(worst["least"], words.number(worst["least"])),
                tables.text(dtype),
                tables.number(len(rows), str(len(rows))),
                tables.number(int(rows["reached"].sum()), str(int(rows["reached"].sum()))),
                tables.number(worst["ratio"], words.number(worst["ratio"])),
                tables.number(worst["low"], words.interval(worst["low"], worst["high"], words.number)),
                tables.text(_case(worst)),
            ]
        )
    return table


def below(judged: pd.DataFrame) -> Table:
    """The losses that miss a goal, each with its lowest ratio: those farthest away first."""
    columns = ["Loss", "Goal", "Dtype", "Cases below", "At least", "Lowest", "95 % interval", "There", "Beside"]
    table = Table(caption="Below what is wanted", columns=columns)
    missed = judged[~judged["reached"].astype(bool)]
    missed = missed.assign(share=missed["ratio"] / missed["least"]).sort_values("share", kind="stable")
    for (loss, goal, dtype), rows in missed.groupby(["loss", "goal", "dtype"], sort=False):
        worst = tables.rows(rows.iloc[[0]])[0]
        table.rows.append(
            [
                tables.link(str(loss), f"losses/{loss}.html#time"),
                *(tables.text(one) for one in (goal, dtype)),
                tables.number(len(rows), str(len(rows))),
                tables.number(worst["least"], words.number(worst["least"])),
                tables.number(worst["ratio"], words.number(worst["ratio"])),
                tables.number(worst["low"], words.interval(worst["low"], worst["high"], words.number)),
                tables.text(_case({**worst, "loss": ""})),
                tables.text(_beside(worst, str(worst["against"]))),
            ]
        )
    return table


def pictures(found: pd.DataFrame) -> list[Picture]:
    """Bytes per second against the bytes of a call, of every group of losses and measure, in the first dtype."""
    groups = {loss: group for group, losses in goals.load().groups.items() for loss in losses}
    alone = found["threads"] == 1
    drawn = found[alone if alone.any() else found["threads"] == found["threads"].max()]
    drawn = drawn[(drawn["dtype"] == drawn["dtype"].iloc[0]) & (drawn["outputs"] != "fresh")]
    made: list[Picture] = []
    for (group, measure), rows in drawn.groupby([drawn["loss"].map(groups), "measure"], sort=False):
        title = f"{group}: {MEASURES[str(measure)]}"
        svg = kernel_charts.speeds(rows, f"speeds-{len(made)}", f"bytes per second against bytes, {title}")
        made.append(Picture(svg=svg, title=title))
    return made


def ulps() -> Table:
    """The errors of the float32 primitives over all inputs, as their file says them."""
    rows = tomllib.loads(ULPS.read_text(encoding="utf-8"))
    limits = list(dict.fromkeys(key for row in rows.values() for key in row if key.startswith("beyond ")))
    columns = ["Primitive", "Largest error, ulp", "At", *(f"Inputs {limit} ulp" for limit in limits)]
    table = Table(caption="Float32 primitives at every input", columns=columns)
    for name, row in rows.items():
        table.rows.append(
            [
                tables.code(name),
                tables.number(row["worst"], f"{row['worst']:.4f}"),
                tables.code(row["at"]),
                *(tables.number(row.get(limit), lengths.grouped(row.get(limit, 0))) for limit in limits),
            ]
        )
    return table


def _lines(found: pd.DataFrame, judged: pd.DataFrame) -> list[Line]:
    by_row = dict(tuple(judged.groupby("row")))
    lines = []
    for at, row in zip(found.index, tables.rows(found), strict=True):
        goals_of = tables.rows(by_row[at]) if at in by_row else []
        reached = [bool(one["reached"]) for one in goals_of]
        result = MARKS["no goal" if not reached else "reached" if all(reached) else "below"]
        measure, threads = MEASURES[str(row["measure"])], threads_of(row)
        lines.append(
            Line(
                loss=str(row["loss"]),
                dtype=str(row["dtype"]),
                measure=measure,
                outputs=str(row["outputs"]) or "none",
                threads=threads,
                result=result,
                shape=tables.number(row["elements"], str(row["shape"])),
                seconds=tables.number(row["seconds"], words.seconds(row["seconds"])),
                ratios=[_ratio(row, against, goals_of) for against in AGAINST],
                search=f"{row['loss']} {row['dtype']} {measure} {row['shape']} {row['best']} {row['outputs']}".lower(),
            )
        )
    order = {name: place for place, name in enumerate(_ORDER)}
    return sorted(lines, key=lambda line: (order[line.result.word], line.loss))


def _ratio(row: Row, against: str, goals_of: Sequence[Row]) -> Ratio:
    column = AGAINST[against]
    value = row[column]
    if words.number(value) == "–":
        return Ratio()
    wanted = [one for one in goals_of if one["against"] == against]
    return Ratio(
        text=words.number(value),
        sort=repr(value),
        interval=words.interval(row[f"{column}_low"], row[f"{column}_high"], words.number),
        beside=_beside(row, against),
        wanted=[(MARKS["reached" if one["reached"] else "below"], f"≥ {words.number(one['least'])}") for one in wanted],
    )


def _beside(row: Row, against: str) -> str:
    """With what a ratio compares, and its seconds."""
    if against == "one thread":
        return ""
    name = "ceiling" if against == "ceiling" else "best"
    return f"{row[name]}, {words.seconds(row[f'{name}_seconds'])}"


def _case(row: Row) -> str:
    parts = [row["loss"], MEASURES[str(row["measure"])], row["shape"], row["outputs"] and f"{row['outputs']} outputs"]
    return ", ".join(str(part) for part in (*parts, threads_of(row)) if part)


def threads_of(row: Row) -> str:
    """In words."""
    many = int(str(row["threads"]))
    return "1 thread" if many == 1 else f"{many} threads" if many else "all threads"


def _values(lines: Sequence[Line], name: str) -> list[str]:
    return sorted({str(getattr(line, name)) for line in lines})
