"""What each accuracy job is called: drawn points, edges and divergences, each by its own rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lossbench import declared, inputs, verdicts
from lossbench.answers import Answers, Certified, Measured, measure
from lossbench.loss import Divergence, Edge, Loss, Numbers
from lossbench.records import Job, Refusal
from lossbench.ulp import Exact


def judge(answers: Answers, job: Job) -> Measured:
    """What came of *job*, and what that is called."""
    measured = answers.measured(job)
    loss = answers.losses[job.case.loss]
    if job.case.points == "edge":
        return _edge(answers, job, loss, measured)
    if not measured.parts:
        return measured
    certified = answers.certified(job.case)
    assert isinstance(certified, Certified)
    if job.case.points == "divergence":
        one = loss.divergences[job.case.index]
        return measured if one.kind == "defect" else replace(measured, verdict=verdicts.excused(measured.verdict))
    return _domain(loss, certified, measured)


def prove(answers: Answers, job: Job) -> tuple[verdicts.Proof, Measured]:
    """Whether a declared divergence is there, as it was declared."""
    measured = judge(answers, job)
    one = answers.losses[job.case.loss].divergences[job.case.index]
    answer = answers.by_key.get(job.key)
    if isinstance(answer, Refusal) and answer.reason in ("failed", "crashed"):
        said = one.raises is not None and one.raises.lower() in answer.detail.lower()
        return verdicts.proof(ran=True, differs=True, as_declared=said), measured
    if not measured.got:
        return "not run", measured
    claims = _claims(one, measured)
    as_declared = one.raises is None and all(
        name in measured.got and declared.is_met(value, measured.got[name], job.case.dtype)
        for name, value in claims.items()
    )
    certified = answers.certified(job.case)
    exact = certified.exact if isinstance(certified, Certified) else {}
    return verdicts.proof(ran=True, differs=_differs(measured, exact, claims), as_declared=as_declared), measured


def _claims(one: Divergence, measured: Measured) -> dict[str, Numbers]:
    """What is said of `value` and of each gradient; nothing where only an exception is declared."""
    said = {"value": one.value}
    for name in measured.got:
        if name != "value":
            said[name] = declared.part(one.gradient, name.removeprefix("gradient."))
    return {name: value for name, value in said.items() if value is not None}


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
        if chosen or part.verdict in ("inaccurate", "wrong"):
            return True
    return False


def _domain(loss: Loss, certified: Certified, measured: Measured) -> Measured:
    """Drawn points count, but for those that stand exactly where the spec declares a convention."""
    if measured.verdict not in ("inaccurate", "wrong") or measured.job.case.reduction != "none":
        return measured
    case, framework = measured.job.case, measured.job.target.framework
    batch = measured.parts["value"].grades.size
    grade = np.zeros(batch, np.int8)
    for part in measured.parts.values():
        grade = np.maximum(grade, part.grades.reshape(batch, -1).max(axis=1, initial=0))
    poor = np.flatnonzero(grade > verdicts.GRADES.index("accurate"))
    excused = declared.conventional(loss, framework, case.dtype, certified.inputs, poor)
    if not excused.any():
        return measured
    if not excused.all():
        return replace(measured, verdict=verdicts.GRADES[int(grade[poor[~excused]].max())])
    reason = f"{excused.sum()} points where the spec declares a convention"
    return replace(measured, verdict="convention", reason=reason)


def _edge(answers: Answers, job: Job, loss: Loss, measured: Measured) -> Measured:
    """An edge counts if its answer is required and no convention of the framework is declared at its point."""
    edge = loss.edges[job.case.index]
    excuses = [one for one in declared.divergences_at(loss, job.target.framework, edge) if one.kind != "defect"]
    certified = answers.certified(job.case)
    if measured.parts and isinstance(certified, Certified):
        measured = _measured_edge(loss, edge, certified, measured)
    if edge.status == "required" and not excuses:
        return measured
    why = excuses[0].why if excuses else edge.why
    verdict = verdicts.excused(measured.verdict)
    return replace(measured, verdict=verdict, reason=measured.reason or (why if verdict == "convention" else ""))


def _measured_edge(loss: Loss, edge: Edge, certified: Certified, measured: Measured) -> Measured:
    """Compared with the reference and, where that says nothing, with what the spec decided."""
    case = measured.job.case
    asked = inputs.of_point(loss, edge.at, "float64", case.reduction)
    given = certified.inputs
    as_written = all(np.array_equal(array, given[name], equal_nan=True) for name, array in asked.arrays.items())
    chosen: dict[str, Exact] = {}
    nan_required: set[str] = set()
    for name, of in certified.exact.items():
        chosen[name] = of
        said = edge.value if name == "value" else declared.part(edge.gradient, name.removeprefix("gradient."))
        decided = declared.exact(said, of) if said is not None else None
        # A point that rounding has moved is another one, of which the spec says nothing.
        if decided is not None and as_written:
            chosen[name] = declared.filled(of, decided)
            if np.isnan(chosen[name].high).any():
                nan_required.add(name)
    return measure(measured.job, measured.got, chosen, nan_required=nan_required)
