"""Second derivatives, as tables: how right each target's Hessian-vector products are, derived from a store's arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lossbench import accuracy, shown, verdicts
from lossbench.accuracy import COUNTS, ERRORS
from lossbench.answers import Answers
from lossbench.judge import judge
from lossbench.records import Job
from lossbench.store import Store

KEY = ["loss", "target", "framework", "mode", "device", "dtype"]


def jobs(store: Store | Answers) -> pd.DataFrame:
    """One row for each job of second derivatives of those who are measured, in the order of the plan.

    Columns:
        job: Its key.
        loss, target, framework, mode, device, dtype, shape, parameters: The case.
        verdict, reason: One of `verdicts.VERDICTS`, and what it does not say by itself.
        max_ulp, p99_ulp, median_ulp, condition, conditioned, normwise, at_zero, nan, inf, finite, flushed, missed,
            undefined: Of the products by all inputs together; see `agreement.Accuracy`.
        worst: The worst input with its direction, in decimal and hex, got and exact.
    """
    answers = Answers.of(store)
    columns = ["job", *KEY, "shape", "parameters", "verdict", "reason", *ERRORS, *COUNTS, "worst"]
    return pd.DataFrame([_row(answers, job) for job in answers.hessians], columns=columns)


def cells(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row for each (loss, target, dtype), without the columns of single cases.

    `reason` and `worst` are those of the worst job, by verdict and then by conditioned error, `condition` is that of
    the largest error; other errors are the largest of any job, and counts are added up.
    """
    found = []
    for _, group in jobs.groupby(["loss", "target", "dtype"], sort=False):
        verdict = verdicts.worst(group["verdict"])
        worst = group[group["verdict"] == verdict].sort_values("conditioned", na_position="first").iloc[-1]
        row = {name: worst[name] for name in (*KEY, "verdict", "reason", "worst")}
        row |= {name: group[name].max() for name in ERRORS} | {name: int(group[name].sum()) for name in COUNTS}
        row["condition"] = group.sort_values("max_ulp", na_position="first")["condition"].iloc[-1]
        found.append(row)
    return pd.DataFrame(found, columns=[*KEY, "verdict", "reason", *ERRORS, *COUNTS, "worst"])


def beside(cells: pd.DataFrame, hessians: pd.DataFrame) -> pd.DataFrame:
    """*cells* of values and gradients with columns `hessian_*` of *hessians*; as they are where there are none."""
    if not len(hessians):
        return cells
    renamed = hessians.rename(columns={name: f"hessian_{name}" for name in hessians.columns if name not in KEY})
    every = pd.concat([cells[KEY], renamed[KEY]]).drop_duplicates()  # an outer join would lose the order of the plan
    joined = every.merge(cells, how="left", on=KEY).merge(renamed, how="left", on=KEY)
    texts = [name for name in joined.columns if name.endswith(("verdict", "reason", "worst"))]
    return joined.fillna(dict.fromkeys(texts, ""))


def _row(answers: Answers, job: Job) -> dict[str, object]:
    measured = judge(answers, job)
    part = measured.gradient
    row: dict[str, object] = {
        "job": job.key,
        **job.labels,
        "shape": shown.shape(job.case.shape, ()),
        "parameters": shown.at(job.case.parameters),
        "verdict": measured.verdict,
        "reason": measured.reason,
        "worst": accuracy.worst(answers, measured, "hessian") if part else "",
    }
    row |= {name: getattr(part, name) if part else np.nan for name in ERRORS}
    return row | {name: getattr(part, name) if part else 0 for name in COUNTS}
