"""The worst inputs that searches have found, asked again in a run: how bad they were then, and how bad they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from lossbench import shown, verdicts, worst
from lossbench.answers import Answers, Certified
from lossbench.loss import Loss
from lossbench.records import Job
from lossbench.store import Store
from lossbench.text import BATCH
from lossbench.ulp import entries
from lossbench.worst import Batch, Worst

COLUMNS = (
    "job",
    *("loss", "target", "dtype", "quantity", "at", "found", "method"),
    *("then", "then_conditioned", "now", "now_conditioned", "got", "exact", "change"),
)
NOTICED = 1.1  # times as many ulps are a change, if there is more than one of them


def points(store: Store | Answers) -> pd.DataFrame:
    """One row for each worst input that was kept of a target and asked of that target in this run.

    Columns:
        job: The key of that which asked it again.
        loss, target, dtype, quantity: What was at its worst.
        at: The input, in decimal with the bits of its numbers.
        found, method: With which version of the framework, and how.
        then, now: The largest error there in ulps of the exact number; infinite where it is one of kind, nan where
            there is no such error, or no answer.
        then_conditioned, now_conditioned: The same after conditioning.
        got, exact: What came out now, and what must, of the worst entry.
        change: "worse", "better" or nothing.
    """
    answers = Answers.of(store)
    found = [
        _row(one, job, loss, answers, place, batch)
        for loss in answers.losses.values()
        for job, place, one, batch in _asked(answers, loss)
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _asked(answers: Answers, loss: Loss) -> Iterator[tuple[Job, int, Worst, Batch]]:
    """What was kept of each target, with the job that asked it again, and its place in which batch."""
    jobs = [job for job in answers.by_loss[loss.name] if job.case.points == "worst"]
    batches = {dtype: worst.batches(loss, dtype) for dtype in {job.case.dtype for job in jobs}}
    for job in jobs:
        batch = batches[job.case.dtype][job.case.index]
        for place, group in enumerate(batch.kept):
            for one in group:
                if one.target == job.target.name:
                    yield job, place, one, batch


def _row(one: Worst, job: Job, loss: Loss, answers: Answers, place: int, batch: Batch) -> dict[str, object]:
    point = {name: array if loss.batchwise else array[place] for name, array in batch.arrays.items()}
    at = [f"{name}={shown.brief(array, one.dtype, bits=True)}" for name, array in point.items()]
    at += [f"{name}={shown.declared(value)}" for name, value in one.parameters.items()]
    row: dict[str, object] = {
        **{"job": job.key, **{name: job.labels[name] for name in ("loss", "target", "dtype")}},
        **{"quantity": one.quantity, "at": "\n".join(at), "found": one.found, "method": one.method},
        **{"then": one.ulps, "then_conditioned": one.conditioned},
        **{"now": np.nan, "now_conditioned": np.nan, "got": "", "exact": "", "change": ""},
    }
    certified, measured = answers.certified(job.case), answers.measured(job)
    if isinstance(certified, Certified) and measured.parts:
        count = 1 if loss.batchwise else loss.lengths(certified.inputs)[BATCH]
        row |= _now(one, certified, measured.got, place, count)
        row["change"] = _change(one.ulps, float(str(row["now"])))
    return row


def _now(one: Worst, certified: Certified, got: Mapping[str, np.ndarray], place: int, count: int) -> dict[str, object]:
    """The worst entry of its quantity at one of *count* points."""
    best: dict[str, object] = {}
    for name, of in certified.exact.items():
        if name.partition(".")[0] != one.quantity:
            continue
        found = entries(got[name], of, tolerated=verdicts.tolerated(of.terms))
        amiss = found.nan | found.inf | found.finite
        errors = np.where(amiss, np.inf, np.nan_to_num(found.ulps, nan=0.0)).reshape(count, -1)[place]
        judged = np.where(amiss, np.inf, np.nan_to_num(found.judged, nan=0.0)).reshape(count, -1)[place]
        if best and errors.max() <= float(str(best["now"])):
            continue
        entry = place * errors.size + int(errors.argmax())
        best = {
            "now": float(errors.max()),
            "now_conditioned": float(judged.max()),
            "got": shown.number(got[name].ravel()[entry], one.dtype),
            "exact": shown.entry(of, entry),
        }
    return best


def _change(then: float, now: float) -> str:
    if now > max(NOTICED * then, 1.0):
        return "worse"
    return "better" if NOTICED * now < then and then > 1.0 else ""
