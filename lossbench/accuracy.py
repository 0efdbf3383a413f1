"""Accuracy, as tables: how right each target is, derived from a store's arrays whenever it is asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lossbench import shown, verdicts
from lossbench.agreement import Accuracy, compare
from lossbench.answers import Answers, Certified, Measured
from lossbench.edges import divergences, edges
from lossbench.judge import judge
from lossbench.loss import Loss
from lossbench.points import DRIFTS, POOLS
from lossbench.records import Case, Job
from lossbench.store import Store
from lossbench.text import BATCH, axes_of
from lossbench.ulp import Exact, entries

__all__ = ["Accuracy", "Exact", "cells", "compare", "divergences", "edges", "jobs", "points"]

WHAT = ("value", "gradient")
DRAWN = ("domain", "drift", "length", "worst")
FEW = 3  # entries of each row that a reason quotes
ERRORS = ("max_ulp", "p99_ulp", "median_ulp", "condition", "conditioned", "normwise", "at_zero")
COUNTS = ("nan", "inf", "finite", "flushed", "missed", "undefined")


def jobs(store: Store | Answers) -> pd.DataFrame:
    """One row for each accuracy job of those who are measured, in the order of the plan.

    Columns:
        job: Its key.
        loss, target, framework, mode, device, dtype, points, index, shape, reduction, weighted, parameters: The case.
        own_call: Whether the spec's call for this loss was measured; false for a divergence that has its own.
        verdict, reason: One of `verdicts.VERDICTS`, and what it does not say by itself.
        value_*, gradient_*: max_ulp, p99_ulp, median_ulp, condition, conditioned, normwise, at_zero (see `Accuracy`);
            nan, inf, finite, flushed, missed, undefined (counts); worst (the worst input in decimal and hex, got and
            exact, the error there and its condition).
    """
    answers = Answers.of(store)
    return pd.DataFrame([_row(answers, job) for job in answers.jobs], columns=_columns())


def cells(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row for each (loss, target, dtype) of which drawn points or edges were planned.

    Columns:
        loss, target, framework, mode, device, dtype, verdict, reason: The worst of its jobs, and why.
        value_max_ulp, gradient_max_ulp, value_condition, gradient_condition, value_conditioned, gradient_conditioned,
        value_normwise, gradient_normwise, value_worst, gradient_worst: Over its drawn points; `condition` is that of
            the largest error in ulps.
        mismatches: Entries of drawn points that differ in kind.
        planned, measured, refused, failed: Jobs without the divergences, refused ones with the unsupported.
        edges, edges_wrong: Edges that were measured, and those of them that are inaccurate or wrong.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in jobs.to_dict("records"):
        if row["own_call"]:
            groups.setdefault((row["loss"], row["target"], row["dtype"]), []).append(row)
    planned = {key: rows for key, rows in groups.items() if any(row["points"] != "divergence" for row in rows)}
    return pd.DataFrame([_cell(key, rows) for key, rows in planned.items()], columns=_CELL_COLUMNS)


def points(store: Store | Answers, loss: str, target: str, dtype: str) -> pd.DataFrame:
    """The errors of single drawn points, unreduced, at default parameters: what the picture of errors shows.

    A point of a loss of whole batches is a batch; those of all of them are here.

    Columns:
        x: The first differentiated input; of a row, a table or a batch, its entry of largest size.
        value_ulp, gradient_ulp: Errors in ulps of the exact number, the largest of a point's; infinite at mismatches of
            kind, nan where nothing is to be compared.
        exact: The exact value, where a point has several that of the largest error.
        One for each input that is one number of a point.
    """
    answers = Answers.of(store)
    found = [pd.DataFrame(columns=["x", "value_ulp", "gradient_ulp", "exact"])]
    for job in answers.by_loss.get(loss, ()):
        case = job.case
        plain = case.reduction == "none" and not case.weighted and not case.parameters
        if not plain or (job.target.name, case.dtype, case.points) != (target, dtype, "domain"):
            continue
        if answered := answers.plain(job):
            found.append(_points(answers.losses[loss], *answered))
            if not answers.losses[loss].batchwise:
                break
    return pd.concat(found[1:] or found, ignore_index=True)


def _columns() -> list[str]:
    case = ["loss", "target", "framework", "mode", "device", "dtype", "points", "index", "shape", "reduction"]
    measured = [f"{what}_{name}" for what in WHAT for name in (*ERRORS, *COUNTS, "worst")]
    return ["job", *case, "weighted", "parameters", "own_call", "verdict", "reason", *measured]


def _row(answers: Answers, job: Job) -> dict[str, object]:
    case = job.case
    measured = judge(answers, job)
    loss = answers.losses[case.loss]
    own = case.points != "divergence" or loss.divergences[case.index].call is None
    row: dict[str, object] = {
        "job": job.key,
        **job.labels,
        "points": case.points,
        "index": case.index,
        "shape": shape(loss, case),
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
            row["reason"] = f"{what} at {worst(answers, measured, what, few=FEW)}"
    return row


def shape(loss: Loss, case: Case) -> str:
    """What a case says of its size, or of how many updates or numbers it is made."""
    if case.points == "drift":
        return f"{case.shape[0]} {DRIFTS[case.index]} updates"
    if case.points == "length":
        return f"{shown.shape(case.shape, ())} of the {POOLS[case.index]} pool"
    return shown.shape(case.shape, loss.dimensions if loss.has_sizes else ())


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


def worst(answers: Answers, measured: Measured, what: str, *, few: int = shown.FEW) -> str:
    """The worst entry of a value or gradient: its input, *few* entries of a row, what came out and what must, the error
    in ulps where it has one, and its condition."""
    names = [name for name in measured.parts if (name == "value") == (what == "value")]
    parts = measured.parts
    name = max(names, key=lambda one: (parts[one].grades.max(initial=0), np.nan_to_num(parts[one].conditioned)))
    part, certified = parts[name], answers.certified(measured.job.case, measured.job.measure)
    if part.worst is None or not isinstance(certified, Certified):
        return ""
    case, got = measured.job.case, measured.got[name].ravel()[part.worst]
    said = outcome(answers.losses[case.loss], case, certified, name, part.worst, got, few=few)
    if np.isnan(part.worst_ulp):
        return said
    condition = float(measured.exact[name].condition.ravel()[part.worst])
    return f"{said}, {part.worst_ulp:.2g} ulp at condition {condition:.2g}"


def outcome(
    loss: Loss, case: Case, certified: Certified, name: str, index: int, got: float, *, few: int = shown.FEW
) -> str:
    """One entry of the array *name*, at a flat index: as `worst` says it."""
    of = certified.exact[name]
    said = f"got {shown.number(got, case.dtype, bits=True)}, exact {shown.entry(of, index)}"
    if of.high.ndim == 0 and not loss.pooled:
        count = case.shape[0] if case.points == "length" else loss.lengths(certified.inputs)[BATCH]
        return f"{case.reduction} of {count}: {said}"
    place: tuple[int | np.integer, ...] = np.unravel_index(index, of.high.shape)
    given = {one: array for one, array in certified.inputs.items() if one not in loss.parameters}
    if not loss.batchwise:
        given, place = {one: array[place[0]] for one, array in given.items()}, place[1:]
    at = [
        f"{one}={shown.brief(array, case.dtype, bits=one != 'sample_weight', few=few)}" for one, array in given.items()
    ]
    where = f"{name.partition('.')[2]}[{', '.join(map(str, place))}]: " if place else ""
    return f"{', '.join(at)}: {where}{said}"


_CELL_COLUMNS = [
    *("loss", "target", "framework", "mode", "device", "dtype", "verdict", "reason"),
    *(f"{what}_{name}" for what in WHAT for name in ("max_ulp", "condition", "conditioned", "normwise", "worst")),
    *("mismatches", "planned", "measured", "refused", "failed", "edges", "edges_wrong"),
]


def _cell(key: tuple[str, str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    verdict = verdicts.worst(row["verdict"] for row in rows)
    drawn = [row for row in rows if row["points"] in DRAWN]
    counted = [row for row in rows if row["points"] != "divergence"]
    found = Counter(row["verdict"] for row in counted)
    measured = [row for row in counted if row["verdict"] not in ("unsupported", "refused", "failed")]
    edges = [row["verdict"] for row in measured if row["points"] == "edge"]
    cell: dict[str, object] = {
        **dict(zip(("loss", "target", "dtype"), key, strict=True)),
        **{name: rows[0][name] for name in ("framework", "mode", "device")},
        "verdict": verdict,
        "reason": next((row["reason"] for row in rows if row["verdict"] == verdict and row["reason"]), ""),
        "mismatches": sum(int(row[f"{what}_{kind}"]) for row in drawn for what in WHAT for kind in COUNTS[:3]),
        "planned": len(counted),
        "measured": len(measured),
        "refused": found["unsupported"] + found["refused"],
        "failed": found["failed"],
        "edges": len(edges),
        "edges_wrong": sum(one in ("inaccurate", "wrong") for one in edges),
    }
    for what in WHAT:
        for name in ("max_ulp", "conditioned", "normwise"):
            cell[f"{what}_{name}"] = _at_most(drawn, f"{what}_{name}").get(f"{what}_{name}", np.nan)
        cell[f"{what}_condition"] = _at_most(drawn, f"{what}_max_ulp").get(f"{what}_condition", np.nan)
        cell[f"{what}_worst"] = _at_most(drawn, f"{what}_conditioned").get(f"{what}_worst", "")
    return cell


def _at_most(rows: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The last of the rows in which that number is the largest; nan is less than all, and without rows it is empty."""
    return max(reversed(rows), key=lambda row: -math.inf if math.isnan(row[name]) else row[name], default={})


def _points(loss: Loss, got: Mapping[str, np.ndarray], certified: Certified) -> pd.DataFrame:
    given = certified.inputs
    count = 1 if loss.batchwise else loss.lengths(given)[BATCH]
    first = given[next(name for name, one in loss.inputs.items() if one.grad)].reshape(count, -1).astype(np.float64)
    ulps = {name: _plain_ulps(got[name], of).reshape(count, -1) for name, of in certified.exact.items()}
    gradients = [array for name, array in ulps.items() if name != "value"]
    exact = certified.exact["value"].high.reshape(count, -1)
    return pd.DataFrame(
        {
            "x": _largest_by(first, np.abs(first)),
            "value_ulp": np.fmax.reduce(ulps["value"], axis=1),
            "gradient_ulp": np.fmax.reduce(np.concatenate(gradients, axis=1), axis=1),
            "exact": _largest_by(exact, np.nan_to_num(ulps["value"], nan=-1.0, posinf=np.inf)),
            **{name: given[name].reshape(count) for name, one in loss.inputs.items() if not axes_of(one)},
        }
    )


def _largest_by(numbers: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Of each row, the number whose size is the largest."""
    return np.asarray(np.take_along_axis(numbers, size.argmax(axis=1)[:, None], axis=1)[:, 0])


def _plain_ulps(got: np.ndarray, of: Exact) -> np.ndarray:
    found = entries(got, of, tolerated=verdicts.tolerated(of.terms))
    return np.where(found.nan | found.inf | found.finite, np.inf, found.ulps)
