"""Accuracy, as tables: how right each target is, derived from a store's arrays whenever it is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lossbench import shown, verdicts
from lossbench.agreement import Accuracy, compare
from lossbench.answers import Answers, Certified, Measured
from lossbench.edges import divergences, edges
from lossbench.judge import judge
from lossbench.records import Job
from lossbench.store import Store
from lossbench.ulp import Exact, entries

__all__ = ["Accuracy", "Exact", "cells", "compare", "divergences", "edges", "jobs", "points"]

WHAT = ("value", "gradient")
ERRORS = ("max_ulp", "p99_ulp", "median_ulp", "conditioned", "normwise", "at_zero")
COUNTS = ("nan", "inf", "finite", "flushed", "missed", "undefined")


def jobs(store: Store | Answers) -> pd.DataFrame:
    """One row for each accuracy job of those who are measured, in the order of the plan.

    Columns:
        job: Its key.
        loss, target, framework, mode, device, dtype, points, index, shape, reduction, weighted, parameters: The case.
        own_call: Whether the spec's call for this loss was measured; false for a divergence that has its own.
        verdict, reason: One of `verdicts.VERDICTS`, and what it does not say by itself.
        value_*, gradient_*: max_ulp, p99_ulp, median_ulp, conditioned, normwise, at_zero (see `Accuracy`); nan, inf,
            finite, flushed, missed, undefined (counts); worst (the worst input in decimal and hex, got and exact).
    """
    answers = Answers.of(store)
    return pd.DataFrame([_row(answers, job) for job in answers.jobs], columns=_columns())


def cells(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row for each (loss, target, dtype) of which drawn points or edges were planned.

    Columns:
        loss, target, framework, mode, device, dtype, verdict, reason: The worst of its jobs, and why.
        value_max_ulp, gradient_max_ulp, value_conditioned, gradient_conditioned, value_normwise, gradient_normwise,
        value_worst, gradient_worst: Over its drawn points.
        mismatches: Entries of drawn points that differ in kind.
        planned, measured, refused, failed: Jobs without the divergences, refused ones with the unsupported.
        edges, edges_wrong: Edges that were measured, and those of them that are inaccurate or wrong.
    """
    counted = jobs[jobs["own_call"]]
    found = [
        _cell(key, group)
        for key, group in counted.groupby(["loss", "target", "dtype"], sort=False)
        if (group["points"] != "divergence").any()
    ]
    return pd.DataFrame(found, columns=_CELL_COLUMNS)


def points(store: Store | Answers, loss: str, target: str, dtype: str) -> pd.DataFrame:
    """The errors of single drawn points, unreduced, at default parameters: what the picture of errors shows.

    Columns:
        x: The first differentiated input; of a row, its entry of largest size.
        value_ulp, gradient_ulp: Errors in ulps of the exact number, the largest of a row's; infinite at mismatches of
            kind, nan where nothing is to be compared.
        exact: The exact value.
        One for each input that is no row.
    """
    answers = Answers.of(store)
    for job in answers.jobs:
        case = job.case
        if (case.loss, job.target.name, case.dtype, case.points) != (loss, target, dtype, "domain"):
            continue
        measured, certified = answers.measured(job), answers.certified(case)
        plain = case.reduction == "none" and not case.weighted and not case.parameters
        if plain and measured.parts and isinstance(certified, Certified):
            return _points(answers, measured, certified)
    return pd.DataFrame(columns=["x", "value_ulp", "gradient_ulp", "exact"])


def _columns() -> list[str]:
    case = ["loss", "target", "framework", "mode", "device", "dtype", "points", "index", "shape", "reduction"]
    measured = [f"{what}_{name}" for what in WHAT for name in (*ERRORS, *COUNTS, "worst")]
    return ["job", *case, "weighted", "parameters", "own_call", "verdict", "reason", *measured]


def _row(answers: Answers, job: Job) -> dict[str, object]:
    case = job.case
    measured = judge(answers, job)
    own = case.points != "divergence" or answers.losses[case.loss].divergences[case.index].call is None
    row: dict[str, object] = {
        "job": job.key,
        **job.labels,
        "points": case.points,
        "index": case.index,
        "shape": " x ".join(map(str, case.shape)),
        "reduction": case.reduction,
        "weighted": case.weighted,
        "parameters": shown.at(case.parameters),
        "own_call": own,
        "verdict": measured.verdict,
        "reason": measured.reason or _reason(answers, measured),
    }
    parts = {"value": measured.value, "gradient": measured.gradient}
    for what, part in parts.items():
        for name in (*ERRORS, *COUNTS):
            row[f"{what}_{name}"] = getattr(part, name) if part else (np.nan if name in ERRORS else 0)
        row[f"{what}_worst"] = worst(answers, measured, what) if part else ""
        if part and not row["reason"] and part.verdict == measured.verdict in ("inaccurate", "wrong"):
            row["reason"] = f"{what} at {row[f'{what}_worst']}"
    return row


def _reason(answers: Answers, measured: Measured) -> str:
    """What a verdict does not say by itself: which edge, or that the hardware flushes."""
    case = measured.job.case
    loss = answers.losses[case.loss]
    if measured.verdict in ("inaccurate", "wrong") and case.points == "edge":
        return f"at {shown.at(loss.edges[case.index].at)}: {loss.edges[case.index].why}"
    if measured.verdict in ("inaccurate", "wrong") and case.points == "divergence":
        return f"at {shown.at(loss.divergences[case.index].when)}: {loss.divergences[case.index].why}"
    flushed = sum(part.flushed for part in measured.parts.values())
    if flushed and measured.verdict == "accurate":
        return f"{flushed} subnormal results are flushed to zero"
    return ""


def worst(answers: Answers, measured: Measured, what: str) -> str:
    """The worst entry of a value or gradient: its input in decimal and hex, what came out, what must come out."""
    names = [name for name in measured.parts if (name == "value") == (what == "value")]
    parts = measured.parts
    name = max(names, key=lambda one: (parts[one].grades.max(initial=0), np.nan_to_num(parts[one].conditioned)))
    part, certified = parts[name], answers.certified(measured.job.case)
    if part.worst is None or not isinstance(certified, Certified):
        return ""
    case, loss = measured.job.case, answers.losses[measured.job.case.loss]
    of = certified.exact[name]
    got = measured.got[name].ravel()[part.worst]
    outcome = f"got {shown.number(got, case.dtype, bits=True)}, exact {shown.entry(of, part.worst)}"
    if of.high.ndim == 0 or not part.grades.size:
        return f"{case.reduction} of {len(certified.inputs[next(iter(loss.inputs))])}: {outcome}"
    index = np.unravel_index(part.worst, of.high.shape)
    at = [f"{one}={shown.row(certified.inputs[one][index[0]], case.dtype, bits=True)}" for one in loss.inputs]
    if "sample_weight" in certified.inputs:
        at.append(f"sample_weight={shown.number(certified.inputs['sample_weight'][index[0]], case.dtype)}")
    where = f"{name.removeprefix('gradient.')}[{index[1]}]: " if len(index) > 1 else ""
    return f"{', '.join(at)}: {where}{outcome}"


_CELL_COLUMNS = [
    *("loss", "target", "framework", "mode", "device", "dtype", "verdict", "reason"),
    *(f"{what}_{name}" for what in WHAT for name in ("max_ulp", "conditioned", "normwise", "worst")),
    *("mismatches", "planned", "measured", "refused", "failed", "edges", "edges_wrong"),
]


def _cell(key: tuple[str, str, str], group: pd.DataFrame) -> dict[str, object]:
    verdict = verdicts.worst(group["verdict"])
    first = group.iloc[0]
    of_verdict = group[group["verdict"] == verdict]
    drawn = group[group["points"] == "domain"]
    counted = group["points"] != "divergence"
    measured = counted & ~group["verdict"].isin(["unsupported", "refused", "failed"])
    edge = measured & (group["points"] == "edge")
    row: dict[str, object] = {
        **dict(zip(("loss", "target", "dtype"), key, strict=True)),
        **{name: first[name] for name in ("framework", "mode", "device")},
        "verdict": verdict,
        "reason": next((reason for reason in of_verdict["reason"] if reason), ""),
        "mismatches": int(drawn[[f"{what}_{kind}" for what in WHAT for kind in COUNTS[:3]]].to_numpy().sum()),
        "planned": int(counted.sum()),
        "measured": int(measured.sum()),
        "refused": int((counted & group["verdict"].isin(["unsupported", "refused"])).sum()),
        "failed": int((counted & (group["verdict"] == "failed")).sum()),
        "edges": int(edge.sum()),
        "edges_wrong": int((edge & group["verdict"].isin(["inaccurate", "wrong"])).sum()),
    }
    for what in WHAT:
        for name in ("max_ulp", "conditioned", "normwise"):
            row[f"{what}_{name}"] = drawn[f"{what}_{name}"].max() if len(drawn) else np.nan
        order = drawn.sort_values(f"{what}_conditioned", na_position="first")
        row[f"{what}_worst"] = order[f"{what}_worst"].iloc[-1] if len(order) else ""
    return row


def _points(answers: Answers, measured: Measured, certified: Certified) -> pd.DataFrame:
    loss = answers.losses[measured.job.case.loss]
    given = certified.inputs
    first = given[next(name for name, one in loss.inputs.items() if one.grad)]
    if first.ndim > 1 and first.size:
        first = np.take_along_axis(first, np.abs(first).argmax(axis=1)[:, None], axis=1)[:, 0]
    ulps = {name: _plain_ulps(measured.got[name], of) for name, of in certified.exact.items()}
    gradients = [array.reshape(len(first), -1) for name, array in ulps.items() if name != "value"]
    return pd.DataFrame(
        {
            "x": first.astype(np.float64),
            "value_ulp": ulps["value"],
            "gradient_ulp": np.fmax.reduce(np.concatenate(gradients, axis=1), axis=1),
            "exact": certified.exact["value"].high,
            **{name: given[name] for name, one in loss.inputs.items() if one.kind != "row"},
        }
    )


def _plain_ulps(got: np.ndarray, of: Exact) -> np.ndarray:
    found = entries(got, of, tolerated=verdicts.tolerated(of.terms))
    return np.where(found.nan | found.inf | found.finite, np.inf, found.ulps)
