"""Time against size, as the page of a loss shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from lossbench.loss import Loss
from lossbench.report import charts, tables, words
from lossbench.report.evidence import Known
from lossbench.report.findings import Findings
from lossbench.report.one import Picture
from lossbench.report.tables import Cell, Table


def pictures(findings: Findings, frame: pd.DataFrame, loss: Loss) -> list[Picture]:
    """Time against size, one picture for each measure and dtype."""
    measured = frame[frame["median"].notna()]
    found = []
    for (dtype, measure), rows in measured.groupby(["dtype", "measure"], sort=False):
        known = rows[rows["bandwidth_fraction"].notna()]
        moved = known["busy"].fillna(known["median"]) * known["bandwidth_fraction"]
        limit = dict(zip(known["elements"].astype(float), moved, strict=True))
        title = "value" if measure == "forward" else "value and gradient"
        label = f"seconds of {loss.name}, {title}, {dtype}, against the number of elements"
        picture = charts.times(rows, findings.targets, limit, f"times-{dtype}-{measure}", label)
        found.append(Picture(svg=picture, title=f"{title}, {dtype}"))
    return found


def table(frame: pd.DataFrame, resolution: float, known: Known) -> Table:
    """Every timed case: the median with its interval, beside the fastest and the memory bandwidth.

    Where a device has a clock of its own, its seconds with emptied caches are there too. A ratio below *resolution* is
    within the noise.
    """
    further = {name: words_of for name, (_, words_of) in _FURTHER.items() if frame[name].notna().any()}
    on_device = bool(frame["busy"].notna().any())
    found = Table(
        caption="Times",
        columns=[
            "Target", "Measure", "Dtype", "Shape", "Median", "95 % interval", "To the fastest",
            *(["On the device", "95 % interval on it", "To the least busy"] if on_device else []),
            "Bytes per second", "Of the bandwidth", *(_FURTHER[name][0] for name in further), "Samples", "First call",
        ],
    )  # fmt: skip
    for row in tables.rows(frame):
        if row["verdict"]:
            mark, link = words.mark(str(row["verdict"])), ("record", known.address(row["job"]))
            refused = Cell(mark=mark, lines=[str(row["reason"])], links=[link])
            found.rows.append([*_case(row), refused, *[Cell()] * (len(found.columns) - 5)])
            continue
        found.rows.append(
            [
                *_case(row),
                known.link(tables.number(row["median"], words.seconds(row["median"])), row["job"]),
                tables.number(row["low"], words.interval(row["low"], row["high"], words.seconds)),
                _ratio(row["ratio"], resolution),
                *(_on_device(row) if on_device else []),
                tables.number(row["bytes_per_second"], words.rate(row["bytes_per_second"])),
                tables.number(row["bandwidth_fraction"], words.percent(row["bandwidth_fraction"])),
                *(tables.number(row[name], said(row[name])) for name, said in further.items()),
                _samples(row),
                tables.number(row["first_call"], words.seconds(row["first_call"])),
            ]
        )
    return found


# Columns that a run has or has not.
_FURTHER: Mapping[str, tuple[str, Callable[[object], str]]] = {
    "cpu": ("Processor time", words.seconds),
    "cold": ("Caches emptied", words.seconds),
    "peak_memory": ("Memory taken", words.size),
}


def _ratio(ratio: Any, resolution: float) -> Cell:
    said = words.ratio(ratio)
    return tables.number(ratio, f"{said}, within the noise" if 1 < ratio <= resolution else said)


def _samples(row: Mapping[str, Any]) -> Cell:
    said = words.number(row["samples"], digits=1)
    return tables.number(row["samples"], f"{said}, not seen to be steady" if row["steady"] is False else said)


def _on_device(row: Mapping[str, Any]) -> list[Cell]:
    if pd.isna(row["busy"]):
        return [Cell()] * 3
    return [
        tables.number(row["busy"], words.seconds(row["busy"])),
        tables.number(row["busy_low"], words.interval(row["busy_low"], row["busy_high"], words.seconds)),
        tables.number(row["busy_ratio"], words.ratio(row["busy_ratio"])),
    ]


def _case(row: Mapping[str, object]) -> list[Cell]:
    measure = "value" if row["measure"] == "forward" else "value and gradient"
    shape = tables.number(row["elements"], tables.said(row["shape"]))
    return [tables.text(row["target"]), tables.text(measure), tables.text(row["dtype"]), shape]
