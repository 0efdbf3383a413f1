"""Edges and declared divergences, as tables: what must come out at hard points, and what did."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lossbench import shown
from lossbench.answers import Answers, Certified, Measured
from lossbench.judge import judge, prove
from lossbench.records import Job
from lossbench.store import Store
from lossbench.text import Divergence, Edge

_SHARED = [
    *("loss", "target", "framework", "mode", "device", "dtype", "index", "reduction", "at", "why"),
    *("declared_value", "declared_gradient", "exact_value", "exact_gradient", "got_value", "got_gradient"),
    *("result", "reason"),
]


def edges(store: Store | Answers) -> pd.DataFrame:
    """One row for each planned edge of each target.

    Columns:
        loss, target, framework, mode, device, dtype, index, reduction, at, why, status: Of the spec.
        declared_value, declared_gradient, exact_value, exact_gradient, got_value, got_gradient: As text; empty where
            there is none.
        result: One of `verdicts.VERDICTS`.
        reason: A refusal, in its own words.
    """
    answers = Answers.of(store)
    rows = []
    for job in answers.jobs:
        if job.case.points == "edge":
            edge = answers.losses[job.case.loss].edges[job.case.index]
            measured = judge(answers, job)
            row = _row(answers, job, edge.at, edge, measured)
            rows.append({**row, "result": measured.verdict, "status": edge.status})
    return pd.DataFrame(rows, columns=[*_SHARED, "status"])


def divergences(store: Store | Answers) -> pd.DataFrame:
    """One row for each declared divergence of each target of its framework, also where it was not planned.

    Columns:
        loss, target, framework, mode, device, dtype, index, reduction, at, why, kind, url, call, raises: Of the spec;
            the target is empty where none was planned.
        declared_value, declared_gradient, exact_value, exact_gradient, got_value, got_gradient: As text.
        result: One of `verdicts.PROOFS`.
        verdict: One of `verdicts.VERDICTS`; empty where none was planned.
        reason: A refusal, in its own words.
    """
    answers = Answers.of(store)
    rows = []
    planned = set()
    for job in answers.jobs:
        if job.case.points == "divergence":
            planned.add((job.case.loss, job.case.index))
            one = answers.losses[job.case.loss].divergences[job.case.index]
            result, measured = prove(answers, job)
            row = _row(answers, job, one.when, one, measured)
            rows.append({**row, **_of_spec(one), "result": result, "verdict": measured.verdict})
    for loss in answers.losses.values():
        for index, one in enumerate(loss.divergences):
            if (loss.name, index) not in planned:
                rows.append(
                    {
                        **dict.fromkeys(_SHARED, ""),
                        **_declared(one.when, one),
                        **_of_spec(one),
                        "loss": loss.name,
                        "framework": one.framework,
                        "dtype": one.dtype,
                        "index": index,
                        "reduction": one.reduction,
                        "result": "not run",
                        "verdict": "",
                        "reason": "not planned in this run",
                    }
                )
    return pd.DataFrame(rows, columns=[*_SHARED, "kind", "url", "call", "raises", "verdict"])


def _of_spec(one: Divergence) -> dict[str, object]:
    return {"kind": one.kind, "url": one.url, "call": one.call or "", "raises": one.raises or ""}


def _declared(at: Mapping[str, object], one: Edge | Divergence) -> dict[str, object]:
    return {
        "at": shown.at(at),
        "why": one.why,
        "declared_value": shown.declared(one.value),
        "declared_gradient": shown.declared(one.gradient),
    }


def _row(
    answers: Answers, job: Job, at: Mapping[str, object], one: Edge | Divergence, measured: Measured
) -> dict[str, object]:
    case = job.case
    certified = answers.certified(case)
    exact = certified.exact if isinstance(certified, Certified) else {}
    return {
        **job.labels,
        "index": case.index,
        "reduction": case.reduction,
        **_declared(at, one),
        "exact_value": shown.exact(exact["value"]) if exact else "",
        "exact_gradient": _each({name: shown.exact(of) for name, of in exact.items()}),
        "got_value": shown.answer(measured.got["value"], case.dtype) if "value" in measured.got else "",
        "got_gradient": _each({name: shown.answer(got, case.dtype) for name, got in measured.got.items()}),
        "reason": measured.reason,
    }


def _each(texts: Mapping[str, str]) -> str:
    """The gradients among *texts*; a line for each, with its name, if there are several."""
    found = {name.removeprefix("gradient."): text for name, text in texts.items() if name != "value"}
    if len(found) == 1:
        return next(iter(found.values()))
    return "\n".join(f"{name}: {text}" for name, text in found.items())
