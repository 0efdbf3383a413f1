"""What the page of one loss says of accuracy: verdicts, cases and errors, as tables and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from lossbench import shown
from lossbench.accuracy import DRAWN
from lossbench.loss import Loss
from lossbench.report import charts, tables, words
from lossbench.report.evidence import Known
from lossbench.report.findings import Findings
from lossbench.report.tables import Cell, Table
from lossbench.verdicts import WORST_FIRST

MOST = 1e300  # ulps that have a place of their own in a picture; an axis must end before the numbers do
Points = Mapping[str, Mapping[str, pd.DataFrame]]
_RANGES = 8  # rows of the table behind the picture of errors


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing and its caption."""

    svg: str
    title: str
    notes: Sequence[str] = ()


def verdicts(cells: pd.DataFrame, jobs: pd.DataFrame, known: Known) -> Table:
    """One row for each target and dtype: the verdict, why, and the worst of its drawn cases in value and gradient."""
    drawn = jobs[jobs["points"].isin(DRAWN) & jobs["own_call"].astype(bool)]
    alone = drawn["gradient_max_ulp"].isna().all() and drawn["value_max_ulp"].notna().any()  # there are no gradients
    measured = ("value",) if alone else ("value", "gradient")
    heads = [head for what in measured for head in (f"{what.capitalize()}, ulp", f"{what.capitalize()}, conditioned")]
    table = Table(
        caption="Accuracy", columns=["Target", "Dtype", "Verdict", *heads, "Mismatches", "Why, and the worst inputs"]
    )
    for cell in tables.rows(cells):
        part = drawn[(drawn["target"] == cell["target"]) & (drawn["dtype"] == cell["dtype"])]
        word, reason = str(cell["verdict"]), str(cell["reason"])
        mismatches = int(str(cell["mismatches"]))
        table.rows.append(
            [
                tables.text(cell["target"]),
                tables.text(cell["dtype"]),
                replace(tables.verdict(word, WORST_FIRST), links=_record(reason, _of_verdict(cell, jobs), known)),
                *(one for what in measured for one in _errors_of(cell, part, what, known)),
                tables.number(mismatches, str(mismatches)),
                _why(reason, {what: str(cell[f"{what}_worst"]) for what in measured}),
            ]
        )
    return table


def _errors_of(cell: tables.Row, part: pd.DataFrame, what: str, known: Known) -> list[Cell]:
    """The largest error in ulps with its median and 99 %, and after conditioning with what it is beside the norm."""
    most, judged = cell[f"{what}_max_ulp"], cell[f"{what}_conditioned"]
    usual = [
        f"{said} {words.ulps(float(part[f'{what}_{name}'].max()))}"
        for name, said in (("median_ulp", "median"), ("p99_ulp", "99\u00a0%"))
    ]
    condition, normwise = (words.ulps(cell[f"{what}_{name}"]) for name in ("condition", "normwise"))
    beside = [f"condition {condition}", f"normwise {normwise}"]
    return [
        known.link(replace(tables.number(most, words.ulps(most)), lines=usual), _farthest(part, f"{what}_max_ulp")),
        known.link(
            replace(tables.number(judged, words.ulps(judged)), lines=beside), _farthest(part, f"{what}_conditioned")
        ),
    ]


def _farthest(part: pd.DataFrame, column: str) -> str:
    """The job whose number is the largest in that column; empty where none has one."""
    numbers = part[column].dropna()
    return str(part.loc[numbers.idxmax(), "job"]) if len(numbers) else ""


def _of_verdict(cell: tables.Row, jobs: pd.DataFrame) -> str:
    """The job that has the verdict of *cell*, with the same reason if one has it."""
    same = jobs[jobs["own_call"].astype(bool) & (jobs["target"] == cell["target"]) & (jobs["dtype"] == cell["dtype"])]
    same = same[same["verdict"] == cell["verdict"]]
    told = same[same["reason"] == cell["reason"]]
    return str((told if len(told) else same)["job"].iloc[0]) if len(same) else ""


def _record(reason: str, key: str, known: Known) -> list[tuple[str, str]]:
    """The link to the record that a reason is about; that of a number stands at the number."""
    return [("record", known.address(key))] if key and reason else []


def _why(reason: str, worst: Mapping[str, str]) -> Cell:
    """The reason of a verdict, and the worst inputs, which may be long rows, folded."""
    folded = "\n\n".join(f"{what}: {_by_input(one)}" for what, one in worst.items() if one)
    return Cell(text="worst inputs", folded=folded, lines=[reason] if reason else []) if folded else tables.text(reason)


def outcome(worst: str) -> Cell:
    """What came out of the worst input; the input itself, which may be a long row, unfolds."""
    where, _, outcome = worst.rpartition(": got ")
    return Cell(text=f"got {outcome}" if where else worst, shown="code", folded=_by_input(where))


def _by_input(text: str) -> str:
    """Each input on a line of its own."""
    return re.sub(r", (?=[A-Za-z_]\w*=)", "\n", text)


def cases(jobs: pd.DataFrame, known: Known) -> Table:
    """One row for each case over the domain and target."""
    table = Table(
        caption="Every case",
        columns=[
            "Target", "Dtype", "Shape", "Reduction", "Weighted", "Parameters", "Verdict",
            "Value, max ulp", "Condition there", "Normwise",
            "Gradient, max ulp", "Condition there", "Normwise",
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
                    known.link(tables.number(row[f"{what}_{name}"], words.ulps(row[f"{what}_{name}"])), row["job"])
                    for what in ("value", "gradient")
                    for name in ("max_ulp", "condition", "normwise")
                ),
            ]
        )
    return table


def points(findings: Findings, loss: Loss, dtypes: Sequence[str]) -> dict[str, dict[str, pd.DataFrame]]:
    """The errors of single points, as `accuracy.points` has them, by target and dtype; only of those that have some."""
    found = {
        target: {dtype: frame for dtype in dtypes if len(frame := findings.points(loss.name, target, dtype))}
        for target in findings.targets
    }
    return {target: frames for target, frames in found.items() if frames}


def errors(found: Points, loss: Loss, dtypes: Sequence[str]) -> tuple[list[Picture], list[Table]]:
    """Error against input, one picture for each target, and the same as a table for each dtype."""
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
    arrays = [
        (frame["x"].to_numpy(float), frame[["value_ulp", "gradient_ulp"]].to_numpy(float)) for frame in frames.values()
    ]
    bounds = np.unique(np.quantile(x[np.isfinite(x)], np.linspace(0, 1, _RANGES + 1)))
    for low, high in pairwise(bounds.tolist()):
        row = [tables.number(bound, words.number(bound)) for bound in (low, high)]
        for at, errors in arrays:
            inside = errors[(at >= low) & (at <= high)]
            value, gradient = np.fmax.reduce(inside, axis=0, initial=-1.0).tolist()
            value, gradient = (math.nan if most < 0 else most for most in (value, gradient))
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
