"""What each accuracy job is called: drawn points, edges and divergences, each by its own rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lossbench import declared, inputs, verdicts
from lossbench.answers import Answers, Certified, Measured, measure
from lossbench.loss import Loss
from lossbench.records import Job, Refusal
from lossbench.text import Edge
from lossbench.ulp import Exact


def judge(answers: Answers, job: Job) -> Measured:
    """What came of *job*, and what that is called."""
    if job.case.points not in ("edge", "divergence"):
        return _judged(answers, job)
    if job.key not in answers.judged:
        answers.judged[job.key] = _judged(answers, job)
    return answers.judged[job.key]


def _judged(answers: Answers, job: Job) -> Measured:
    loss = answers.losses[job.case.loss]
    if job.case.points == "edge":
        return _edge(answers, job, loss)
    measured = answers.measured(job)
    if job.case.points == "divergence":
        one = loss.divergences[job.case.index]
        return measured if one.kind == "defect" else replace(measured, verdict=verdicts.excused(measured.verdict))
    certified = answers.certified(job.case, job.measure)
    if loss.accumulated:  # what is declared is said of whole streams, not of elements
        return measured
    if isinstance(certified, Certified) and measured.verdict in ("inaccurate", "wrong"):
        return domain(loss, certified, measured)
    return measured


def prove(answers: Answers, job: Job) -> tuple[verdicts.Proof, Measured]:
    """Whether a declared divergence is there, as it was declared."""
    measured = judge(answers, job)
    loss = answers.losses[job.case.loss]
    one = loss.divergences[job.case.index]
    answer = answers.by_key.get(job.key)
    if isinstance(answer, Refusal):
        said = one.raises is not None and one.raises.lower() in answer.detail.lower()
        # Only a framework that raises has answered; a worker that dies says nothing, unless that was declared.
        ran = answer.reason == "failed" or (answer.reason == "crashed" and said)
        return verdicts.proof(ran=ran, differs=True, as_declared=said), measured
    if not measured.got:
        return "not run", measured
    claims = declared.claims(loss, one)
    as_declared = one.raises is None and all(
        name in measured.got and declared.is_met(value, measured.got[name], job.case.dtype)
        for name, value in claims.items()
    )
    certified = answers.certified(job.case)
    exact = certified.exact if isinstance(certified, Certified) else {}
    return verdicts.proof(ran=True, differs=_differs(measured, exact, claims), as_declared=as_declared), measured


def _differs(measured: Measured, exact: Mapping[str, Exact], claims: Mapping[str, object]) -> bool:
    """Whether what is declared, or anything if nothing is, is not what mathematics says.

    Where it says more than one thing, or nothing, every answer is a choice: such a divergence holds while the choice
    is the declared one.
    """
    if not measured.parts:
        return True
    for name in claims or measured.parts:
        part, of = measured.parts.get(name), exact.get(name)
        if part is None or of is None:
            continue
        chosen = of.kink.any() or bool((np.isnan(of.high) & ~np.isnan(measured.got[name].reshape(of.high.shape))).any())
        # Not by the verdict alone: what conditioning excuses is still a difference.
        if chosen or part.verdict not in ("exact", "faithful"):
            return True
    return False


def domain(loss: Loss, certified: Certified, measured: Measured) -> Measured:
    """Drawn points count, but for those where the spec declares a convention; such a one excuses a sum over it too."""
    job = measured.job
    excused = declared.conventional(loss, job.target.framework, job.case.dtype, certified.inputs)
    if not excused.any():
        return measured
    left = {name: _without(of, excused) for name, of in certified.exact.items()}
    counted = measure(job, measured.got, left)
    verdict = "convention" if counted.verdict in ("exact", "faithful", "accurate") else counted.verdict
    reason = f"{excused.sum()} of {excused.size} points stand where the spec declares a convention, and are not counted"
    return replace(counted, verdict=verdict, reason=reason if verdict == "convention" else "")


def _without(of: Exact, excused: np.ndarray) -> Exact:
    """*of* without the *excused* elements or rows; a sum over them is undefined."""
    if of.high.ndim == 0:
        return replace(of, high=np.asarray(np.nan))
    return replace(of, high=np.where(excused.reshape(-1, *[1] * (of.high.ndim - 1)), np.nan, of.high))


def _edge(answers: Answers, job: Job, loss: Loss) -> Measured:
    """An edge counts if its answer is required and no convention of the framework is declared there."""
    edge, framework = loss.edges[job.case.index], job.target.framework
    why = [edge.why] if edge.status != "required" else []
    why += [one.why for one in declared.differences_at(loss, framework, edge)]
    certified = answers.certified(job.case)
    exact, nan_required = None, set[str]()
    if isinstance(certified, Certified):
        if not why and declared.inside_any(loss, framework, certified.inputs).any():
            why = ["in a region where the spec declares a convention"]
        exact, nan_required = decided(loss, edge, job, certified)
    measured = answers.measured(job, exact, nan_required=nan_required)
    if not why:
        return measured
    verdict = verdicts.excused(measured.verdict)
    return replace(measured, verdict=verdict, reason=measured.reason or (why[-1] if verdict == "convention" else ""))


def decided(loss: Loss, edge: Edge, job: Job, certified: Certified) -> tuple[dict[str, Exact], set[str]]:
    """What the reference certified and, where that says nothing, what the spec decided; and where nan is required."""
    asked = inputs.of_point(loss, edge.at, "float64", job.case.reduction)
    given = certified.inputs
    as_written = all(np.array_equal(array, given[name], equal_nan=True) for name, array in asked.arrays.items())
    chosen: dict[str, Exact] = {}
    nan_required: set[str] = set()
    claims = declared.claims(loss, edge)
    for name, of in certified.exact.items():
        chosen[name] = of
        decided = declared.exact(claims[name], of) if name in claims else None
        # A point that rounding has moved is another one, of which the spec says nothing.
        if decided is not None and as_written:
            chosen[name] = declared.filled(of, decided)
            if np.isnan(chosen[name].high).any():
                nan_required.add(name)
    return chosen, nan_required
