"""How the errors of sums and means grow with their length, beside the bounds that the order of additions gives them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import numpy as np
import pandas as pd

from lossbench.answers import Answers, Certified, unreduced
from lossbench.points import POOLS
from lossbench.records import Job, Output, Refusal
from lossbench.store import Store
from lossbench.ulp import FORMATS, Exact

Judged = Literal["within", "beyond log2", "beyond n", "overflow"]
JUDGED: tuple[Judged, ...] = ("within", "beyond log2", "beyond n", "overflow")

COLUMNS = (
    *("job", "loss", "target", "framework", "mode", "device", "dtype"),
    *("pool", "reduction", "elements", "terms", "got", "exact", "error", "elementwise", "adding"),
    *("log2_bound", "n_bound", "judged", "reason"),
)


def errors(store: Store | Answers) -> pd.DataFrame:
    """One row for each sum or mean that was asked of a target, in the order of the plan.

    Errors and bounds are in u, half the spacing of the dtype's floats at 1, relative to the sum of the sizes of all
    terms: an order of additions can promise nothing better where terms cancel.

    Columns:
        job: Its key.
        loss, target, framework, mode, device, dtype, pool, reduction: The case.
        elements: How many numbers the largest input has.
        terms: How many losses are added up.
        got, exact: The number that came out, and the certified one to the nearest double.
        error: How far apart these are.
        elementwise: The error that the target's own unreduced losses have if nothing is lost in adding them; nan where
            it has none.
        adding: What is judged: the distance to the exact sum of the target's own losses, or to the certified one where
            that is smaller (a fused call need not round each loss).
        log2_bound: ceil(log2(terms)), what pairwise and blocked sums keep.
        n_bound: (n - 1) / (1 - (n - 1) u), what every order of additions keeps; infinite from (n - 1) u = 1 on.
        judged: One of `JUDGED`; "overflow" where the exact number has none in the dtype either; empty without answer.
        reason: Why there is no answer.

    Source:
        Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2.
    """
    answers = Answers.of(store)
    sums = [job for job in answers.jobs if job.case.points == "length" and job.case.reduction != "none"]
    return pd.DataFrame([_row(answers, job) for job in sums], columns=list(COLUMNS))


def worst(errors: pd.DataFrame) -> pd.DataFrame:
    """Of `errors`, for each target, dtype, reduction and pool the row of the largest share of its log2 bound."""
    answered = errors[errors["judged"].isin(JUDGED[:3])]
    if answered.empty:
        return answered
    share = (answered["adding"] / answered["log2_bound"].clip(lower=1)).astype(float).fillna(np.inf)
    ordered = answered.assign(share=share).sort_values("share", ascending=False, kind="stable")
    return ordered.drop_duplicates(["target", "dtype", "reduction", "pool"]).drop(columns="share").sort_index()


def unit(dtype: str) -> float:
    """u of *dtype*: the largest relative error of one rounding, 2**-24 for float32."""
    return math.ldexp(1.0, -FORMATS[dtype].precision)


def log2_bound(terms: int) -> float:
    """The bound of pairwise sums, in u."""
    return float(math.ceil(math.log2(max(terms, 1))))


def n_bound(terms: int, dtype: str) -> float:
    """gamma of n - 1, in u."""
    spent = (terms - 1) * unit(dtype)
    return (terms - 1) / (1 - spent) if spent < 1 else math.inf


def judged(adding: float, terms: int, dtype: str) -> Judged:
    """What an error in u is called; where no order of additions has a bound, only an infinite one is beyond it."""
    if adding <= log2_bound(terms):
        return "within"
    return "beyond n" if adding > n_bound(terms, dtype) or math.isinf(adding) else "beyond log2"


def _row(answers: Answers, job: Job) -> dict[str, object]:
    case, loss = job.case, answers.losses[job.case.loss]
    terms = case.shape[0]
    row: dict[str, object] = {
        "job": job.key,
        **job.labels,
        "pool": POOLS[case.index],
        "reduction": case.reduction,
        "elements": loss.elements(case.shape),
        "terms": terms,
        "log2_bound": log2_bound(terms),
        "n_bound": n_bound(terms, case.dtype),
        "judged": "",
        "reason": "",
    }
    answer = answers.by_key.get(job.key)
    certified, points = answers.certified(case), answers.certified(unreduced(case))
    if not isinstance(answer, Output):
        said = f"{answer.reason}: {answer.detail}" if isinstance(answer, Refusal) else "no record"
        return row | {"reason": said}
    if isinstance(certified, str) or isinstance(points, str):
        said = certified if isinstance(certified, str) else str(points)
        return row | {"reason": f"nothing to compare with: {said}"}
    got = float(answers.store.array(answer.arrays["value"]))
    row |= {"got": got, "exact": float(certified.exact["value"].high)}
    return row | _judged(answers, job, got, certified, points)


def _judged(answers: Answers, job: Job, got: float, certified: Certified, points: Certified) -> dict[str, object]:
    of, each = certified.exact["value"], points.exact["value"]
    if not (np.isfinite(of.high) and np.isfinite(each.high).all()):
        return {"reason": "the exact number is not finite"}
    counts = answers.store.array(certified.output.arrays["counts"])
    exact = _number(of, 0)
    scale = exact / total if (total := _added(counts, _numbers(each))) else Fraction(1)  # 1 / n for a mean
    size = abs(scale) * _added(counts, [abs(one) for one in _numbers(each)])
    form = FORMATS[of.dtype]
    if abs(exact) >= Fraction(form.largest) + Fraction(form.beyond):
        overflows = math.isinf(got) and (got > 0) == (exact > 0)
        return {"judged": "overflow"} if overflows else {"error": math.inf, "adding": math.inf, "judged": "beyond n"}
    if not size:  # every loss is 0
        lost = 0.0 if got == 0 else math.inf
        return {"error": lost, "adding": lost, "judged": "beyond n" if lost else "within"}
    u = Fraction(unit(of.dtype))

    def distance(one: Fraction, other: Fraction) -> float:
        return float(abs(one - other) / (u * size))

    own = _own(answers, job)
    added = None if own is None else scale * _added(counts, own)
    error = distance(Fraction(got), exact) if math.isfinite(got) else math.inf
    apart = distance(Fraction(got), added) if added is not None and math.isfinite(got) else math.inf
    adding = min(error, apart)
    return {
        "error": error,
        "elementwise": math.nan if added is None else distance(added, exact),
        "adding": adding,
        "judged": judged(adding, job.case.shape[0], of.dtype),
    }


def _own(answers: Answers, job: Job) -> list[Fraction] | None:
    """The target's own losses at the points of the pool; None where it gave none, or they are not finite."""
    answer = answers.by_key.get(Job(case=unreduced(job.case), target=job.target, measure=job.measure).key)
    if not isinstance(answer, Output):
        return None
    values = answers.store.array(answer.arrays["value"]).ravel()
    return [Fraction(one) for one in values.tolist()] if np.isfinite(values).all() else None


def _numbers(of: Exact) -> list[Fraction]:
    return [_number(of, index) for index in range(of.high.size)]


def _number(of: Exact, index: int) -> Fraction:
    return Fraction(float(of.high.ravel()[index])) + Fraction(float(of.low.ravel()[index]))


def _added(counts: np.ndarray, numbers: Iterable[Fraction]) -> Fraction:
    return sum((int(count) * one for count, one in zip(counts.tolist(), numbers, strict=True)), Fraction(0))
