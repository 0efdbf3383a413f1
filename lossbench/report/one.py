"""What the page of one loss says of the measurements: verdicts, edges, errors and times, as tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from lossbench import shown
from lossbench.accuracy import DRAWN
from lossbench.loss import Loss
from lossbench.report import charts, tables, words
from lossbench.report.findings import Findings
from lossbench.report.tables import Cell, Table
from lossbench.verdicts import WORST_FIRST

MOST = 1e300  # ulps that have a place of their own in a picture; an axis must end before the numbers do
_RANGES = 8  # rows of the table behind the picture of errors


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing and its caption."""

    svg: str
    title: str
    notes: Sequence[str] = ()


def verdicts(cells: pd.DataFrame, jobs: pd.DataFrame) -> Table:
    """One row for each target and dtype: the verdict, and the worst of its drawn cases in value and gradient."""
    table = Table(
        caption="Accuracy",
        columns=[
            "Target", "Dtype", "Verdict", "Of", "Median", "99\u00a0%", "Maximum", "Condition there",
            "Conditioned", "Normwise", "Mismatches", "Worst input",
        ],
    )  # fmt: skip
    drawn = jobs[jobs["points"].isin(DRAWN) & jobs["own_call"]]
    alone = drawn["gradient_max_ulp"].isna().all() and drawn["value_max_ulp"].notna().any()  # there are no gradients
    measured = ("value",) if alone else ("value", "gradient")
    for cell in tables.rows(cells):
        part = drawn[(drawn["target"] == cell["target"]) & (drawn["dtype"] == cell["dtype"])]
        word, reason = str(cell["verdict"]), str(cell["reason"])
        for what in measured:
            worst = {name: part[f"{what}_{name}"].max() for name in ("median_ulp", "p99_ulp")}
            worst |= {name: cell[f"{what}_{name}"] for name in ("max_ulp", "condition", "conditioned", "normwise")}
            mismatches = int(part[[f"{what}_{kind}" for kind in ("nan", "inf", "finite")]].to_numpy().sum())
            table.rows.append(
                [
                    tables.text(cell["target"]),
                    tables.text(cell["dtype"]),
                    tables.verdict(word, WORST_FIRST, reason if what == "value" and ": got " not in reason else ""),
                    tables.text(what),
                    *(tables.number(ulps, words.ulps(ulps)) for ulps in worst.values()),
                    tables.number(mismatches, str(mismatches)),
                    outcome(str(cell[f"{what}_worst"])),
                ]
            )
    return table


def outcome(worst: str) -> Cell:
    """What came out of the worst input; the input itself, which may be a long row, unfolds."""
    where, _, outcome = worst.rpartition(": got ")
    by_input = re.sub(r", (?=[A-Za-z_]\w*=)", "\n", where)
    return Cell(text=f"got {outcome}" if where else worst, shown="code", folded=by_input)


def cases(jobs: pd.DataFrame) -> Table:
    """One row for each case over the domain and target."""
    table = Table(
        caption="Every case",
        columns=[
            "Target", "Dtype", "Shape", "Reduction", "Weighted", "Parameters", "Verdict",
            "Value, max ulp", "Condition there", "Normwise",
            "Gradient, max ulp", "Condition there", "Normwise", "Record",
        ],
    )  # fmt: skip
    for row in tables.rows(jobs[jobs["points"].isin(DRAWN) & (jobs["points"] != "length")]):  # those have a table
        table.rows.append(
            [
                *(tables.text(row[name]) for name in ("target", "dtype", "shape", "reduction")),
                tables.text("yes" if row["weighted"] else "no"),
                tables.code(row["parameters"] or "default"),
                tables.verdict(str(row["verdict"]), WORST_FIRST, tables.said(row["reason"])),
                *(
                    tables.number(row[f"{what}_{name}"], words.ulps(row[f"{what}_{name}"]))
                    for what in ("value", "gradient")
                    for name in ("max_ulp", "condition", "normwise")
                ),
                tables.code(row["job"]),
            ]
        )
    return table


def errors(findings: Findings, loss: Loss, dtypes: Sequence[str]) -> tuple[list[Picture], list[Table]]:
    """Error against input, one picture for each target, and the same as a table for each dtype."""
    found = {
        target: {dtype: frame for dtype in dtypes if len(frame := findings.points(loss.name, target, dtype))}
        for target in findings.targets
    }
    found = {target: frames for target, frames in found.items() if frames}
    if not found:
        return [], []
    every = pd.concat([frame for frames in found.values() for frame in frames.values()])
    scale = charts.Scale.of(every["x"].to_numpy(float))
    ulps = every[["value_ulp", "gradient_ulp"]].to_numpy(float)
    drawn = next(name for name, one in loss.inputs.items() if one.grad)
    largest = max(float(np.max(ulps, where=np.isfinite(ulps), initial=0.0)), 3.0)
    top = 2 * min(largest, MOST)
    pictures = [
        Picture(
            svg=svg,
            title=target,
            notes=[note for dtype, frame in frames.items() for note in _worst(frame, dtype, drawn)],
        )
        for svg, (target, frames) in zip(charts.errors(found, scale, top, loss.name), found.items(), strict=True)
    ]
    behind = []
    for dtype in dtypes:
        of_dtype = {target: frames[dtype] for target, frames in found.items() if dtype in frames}
        if of_dtype:
            behind.append(_ranges(of_dtype, dtype))
    return pictures, behind


def _ranges(frames: Mapping[str, pd.DataFrame], dtype: str) -> Table:
    """The largest errors over ranges of the input that hold equally many points."""
    caption = f"Largest error by range of the input, {dtype}, in ulps: value, gradient"
    table = Table(caption=caption, columns=["From", "To", *frames])
    x = next(iter(frames.values()))["x"].to_numpy(float)
    bounds = np.unique(np.quantile(x[np.isfinite(x)], np.linspace(0, 1, _RANGES + 1)))
    for low, high in pairwise(bounds.tolist()):
        row = [tables.number(bound, words.number(bound)) for bound in (low, high)]
        for frame in frames.values():
            part = frame[(frame["x"] >= low) & (frame["x"] <= high)]
            value, gradient = (float(part[f"{what}_ulp"].max()) for what in ("value", "gradient"))
            row.append(tables.number(value, f"{words.ulps(value)}, {words.ulps(gradient)}"))
        table.rows.append(row)
    return table


def _worst(frame: pd.DataFrame, dtype: str, drawn: str) -> list[str]:
    notes = []
    inputs = [name for name in frame if name not in ("x", "value_ulp", "gradient_ulp", "exact")]
    for what in ("value", "gradient"):
        ulps = frame[f"{what}_ulp"]
        strange = int(np.isinf(ulps).sum())
        if ulps.notna().any():
            at = frame.loc[ulps.idxmax()]
            given = {name: at[name] for name in inputs} if drawn in inputs else {f"largest of {drawn}": at["x"]}
            where = ", ".join(f"{name} = {shown.number(number, dtype)}" for name, number in given.items())
            if ulps.max() == 0:
                notes.append(f"{dtype}, {what}: no error")
                continue
            size = "nan, or an infinity amiss," if strange else f"{words.ulps(float(ulps.max()))} ulp"
            notes.append(f"{dtype}, {what}: {size} at {where}" + (f", {strange} in all" if strange > 1 else ""))
    return notes


def times(findings: Findings, frame: pd.DataFrame, loss: Loss) -> list[Picture]:
    """Time against size, one picture for each measure and dtype."""
    measured = frame[frame["median"].notna()]
    pictures = []
    for (dtype, measure), rows in measured.groupby(["dtype", "measure"], sort=False):
        known = rows[rows["bandwidth_fraction"].notna()]
        moved = known["busy"].fillna(known["median"]) * known["bandwidth_fraction"]
        limit = dict(zip(known["elements"].astype(float), moved, strict=True))
        title = "value" if measure == "forward" else "value and gradient"
        label = f"seconds of {loss.name}, {title}, {dtype}, against the number of elements"
        picture = charts.times(rows, findings.targets, limit, f"times-{dtype}-{measure}", label)
        pictures.append(Picture(svg=picture, title=f"{title}, {dtype}"))
    return pictures


def timings(frame: pd.DataFrame, resolution: float) -> Table:
    """Every timed case: the median with its interval, beside the fastest and the memory bandwidth.

    Where a device has a clock of its own, its seconds with emptied caches are there too. A ratio below *resolution* is
    within the noise.
    """
    further = {name: words_of for name, (_, words_of) in _FURTHER.items() if frame[name].notna().any()}
    on_device = bool(frame["busy"].notna().any())
    table = Table(
        caption="Times",
        columns=[
            "Target", "Measure", "Dtype", "Shape", "Median", "95 % interval", "To the fastest",
            *(["On the device", "95 % interval on it", "To the least busy"] if on_device else []),
            "Bytes per second", "Of the bandwidth", *(_FURTHER[name][0] for name in further), "Samples", "First call",
        ],
    )  # fmt: skip
    for row in tables.rows(frame):
        if row["verdict"]:
            refused = Cell(mark=words.mark(str(row["verdict"])), lines=[str(row["reason"])])
            table.rows.append([*_case(row), refused, *[Cell()] * (len(table.columns) - 5)])
            continue
        table.rows.append(
            [
                *_case(row),
                tables.number(row["median"], words.seconds(row["median"])),
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
    return table


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
