"""Runs beside budgets: in which cases a target is worse than its budget, or better, with the input that shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lossbench import accuracy, verdicts
from lossbench.answers import Answers, Measured, reference_job
from lossbench.budget import shelf
from lossbench.budget.model import COUNTS, Budget, Errors, Kept, Place, mode_of, public, shortest, whole
from lossbench.judge import judge
from lossbench.records import REFERENCE, Environment, Job, Output, Refusal, Target
from lossbench.text import Dtype
from lossbench.ulp import FORMATS, entries

RESULTS = ("worse", "no answer", "worse elsewhere", "better", "kept", "not comparable", "no budget", "not measured")
FAILING = ("worse", "no answer")
SLACK = 1.125  # other threads add in another order; a real loss of accuracy is more than an eighth
COLUMNS = ("loss", "target", "framework", "version", "mode", "device", "dtype", "against", "case", "what", "result")
ENTRIES = {"ulp": "ulps"}  # what `ulp.Entries` calls an error; the others have one name


@dataclass(frozen=True, kw_only=True)
class Found:
    """One accuracy job, ready to be compared.

    Attributes:
        version: Of its framework; empty where its worker never started.
        name: What budgets call its case.
        inputs: The digest of what went in and how it is reduced; empty where the reference has no answer.
        kept: The errors, None where there are none.
        why: Why not.
        said_no: Whether the framework itself gave no numbers, or too few: that is an answer.
    """

    job: Job
    version: str
    name: str
    inputs: str
    kept: Kept | None
    why: str = ""
    said_no: bool = False


def found(answers: Answers, jobs: pd.DataFrame) -> list[Found]:
    """Every job of which a budget could say something: all but the divergences, which are proved on their own.

    Args:
        answers: Of a run.
        jobs: Its rows of `accuracy.jobs`.
    """
    rows = {str(row["job"]): row for row in jobs.to_dict("records")}
    versions = {target: public(one.versions.get(target.framework, "")) for target, one in environments(answers).items()}
    return [
        _found(answers, job, rows[job.key], versions.get(job.target, ""))
        for job in answers.jobs
        if job.key in rows and job.case.points != "divergence"
    ]


def environments(answers: Answers) -> dict[Target, Environment]:
    """Of each target that started, as it was at its last start."""
    return {one.target: one for one in answers.store.records() if isinstance(one, Environment)}


def budgets(answers: Answers, jobs: pd.DataFrame) -> list[tuple[Budget, set[Place]]]:
    """What a run measured: a budget for each version of a framework, and where it does not answer; as of `found`."""
    made: dict[tuple[str, str], tuple[Budget, set[Place]]] = {}
    for target, one in environments(answers).items():
        if target != REFERENCE:
            version = public(one.versions.get(target.framework, ""))
            of = Budget(
                framework=target.framework,
                version=version,
                processor=one.machine.get("processor", ""),
                versions=one.versions,
            )
            made.setdefault((target.framework, version), (of, set()))
    for job in found(answers, jobs):
        target, case = job.job.target, job.job.case
        if job.version:
            budget, gone = made[target.framework, job.version]
            if job.kept is not None:
                cell = budget.cells.setdefault(case.loss, {}).setdefault(mode_of(target), {}).setdefault(case.dtype, {})
                cell[job.name] = shortest(job.kept)
            elif job.said_no:
                gone.add((case.loss, mode_of(target), case.dtype, job.inputs))
    return [(budget, gone) for budget, gone in made.values() if budget.cells or gone]


def compare(answers: Answers, jobs: pd.DataFrame, carried: Mapping[str, Budget]) -> pd.DataFrame:
    """Each case of a run beside its budget: a row for the value and one for the gradients, or one for both.

    Args:
        answers: Of the run.
        jobs: Its rows of `accuracy.jobs`.
        carried: As `shelf.carried` found them beside the run.

    Columns:
        loss, target, framework, version, mode, device, dtype: The cell.
        against: The version whose budget it is compared with; nothing where there is none.
        case, what: The case as budgets call it; value, gradient, or nothing where the row is about both.
        result: "worse"; "no answer", where there was one; "worse elsewhere", on another processor than the budget's;
            "better"; "kept"; "not comparable", where no case of the budget had these inputs; "no budget" of this loss,
            mode and dtype; "not measured", though the budget was.
        before, now: An error in ulps, or a count of mismatches; or why there is none now.
        worst: The input that shows it in decimal and hex, what came out and what is exact, where the result is worse.
    """
    groups: dict[tuple[Target, str, str, Dtype], list[Found]] = {}
    for one in found(answers, jobs):
        groups.setdefault((one.job.target, one.version, one.job.case.loss, one.job.case.dtype), []).append(one)
    who = {(target.framework, version) for target, version, _, _ in groups}
    chosen = {one: shelf.chosen(*one, carried) for one in who}
    processors = {target: one.machine.get("processor", "") for target, one in environments(answers).items()}
    rows: list[dict[str, object]] = []
    for (target, version, loss, dtype), group in groups.items():
        of = next((one for one in chosen[target.framework, version] if loss in one.cells), None)
        cell = of.cells[loss].get(mode_of(target), {}).get(dtype, {}) if of else {}
        kept = {whole(one).inputs: whole(one) for one in cell.values()}
        labels = {**group[0].job.labels, "version": version, "against": of.version if of else ""}
        here = of is not None and of.processor == processors.get(target)
        for one in group:
            if one.inputs in kept:
                rows += (
                    {**labels, "case": one.name, **row} for row in _rows(answers, one, kept[one.inputs], here=here)
                )
            else:
                result = "not comparable" if cell else "no budget"
                rows.append({**labels, "case": one.name, "what": "", "result": result})
        planned = {one.inputs for one in group} | {one.name for one in group}
        missing = [name for name, one in cell.items() if not planned & {name, whole(one).inputs}]
        rows += ({**labels, "case": name, "what": "", "result": "not measured"} for name in missing)
    return pd.DataFrame(rows, columns=[*COLUMNS, "before", "now", "worst"]).fillna("")


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each loss, target and dtype of a comparison the row of the first of `RESULTS` that any of its cases has."""
    order = rows.assign(result=pd.Categorical(rows["result"], RESULTS, ordered=True)).sort_values(
        "result", kind="stable"
    )
    return order.drop_duplicates(["loss", "target", "dtype"]).astype({"result": str})


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """How many cells have each result, in the order of `RESULTS`."""
    found = cells(rows)["result"].value_counts()
    return {word: int(found[word]) for word in RESULTS if word in found}


def _found(answers: Answers, job: Job, row: Mapping[str, object], version: str) -> Found:
    case, answer, reference = job.case, answers.by_key.get(job.key), answers.by_key.get(reference_job(job.case).key)
    number = str(case.index + 1) if case.points == "edge" or case.index else ""
    reduction = "" if case.reduction == "none" else case.reduction
    weighted = "weighted" if case.weighted else ""
    words = (case.points, number, row["shape"], reduction, weighted, row["parameters"])
    inputs = ""
    if isinstance(reference, Output):
        inputs = hashlib.sha256(f"{case.points} {case.reduction} {reference.inputs}".encode()).hexdigest()[:12]
    compared = inputs and not np.isnan(row["value_normwise"])  # type: ignore[call-overload]
    return Found(
        job=job,
        version=version,
        name=" ".join(str(word) for word in words if word),
        inputs=inputs,
        kept=Kept(inputs=inputs, value=_errors(row, "value"), gradient=_errors(row, "gradient")) if compared else None,
        why="" if compared else str(row["reason"]),
        said_no=answer.reason in ("unsupported", "failed")
        if isinstance(answer, Refusal)
        else row["verdict"] == "wrong",
    )


def _errors(row: Mapping[str, object], what: str) -> Errors:
    ulp, judged = (float(str(row[f"{what}_{name}"])) for name in ("max_ulp", "conditioned"))
    return Errors.of(ulp, judged, [int(str(row[f"{what}_{name}"])) for name in COUNTS])


def _rows(answers: Answers, one: Found, before: Kept, *, here: bool) -> Iterator[dict[str, object]]:
    if one.kept is None:
        yield {"what": "", "result": "no answer" if one.said_no else "not measured", "now": one.why}
        return
    floor = verdicts.EXACT if one.job.case.reduction == "none" else verdicts.FAITHFUL  # threads decide how sums round
    for what in accuracy.WHAT:
        old, now = getattr(before, what), getattr(one.kept, what)
        result, name = decided(old, now, floor, here=here, lost=2.0 ** FORMATS[one.job.case.dtype].precision)
        worst = worst_of(answers, one.job, what, name) if result.startswith("worse") else ""
        yield {"what": what, "result": result, "before": told(old, name), "now": told(now, name), "worst": worst}


def decided(
    before: Errors,
    now: Errors,
    floor: float,
    *,
    here: bool = True,
    lost: float = np.inf,
    slack: float = SLACK,
) -> tuple[str, str]:
    """The result, and by which number: mismatches first, for an error in ulps is one of the entries without any.

    An error above the *floor* is worse where it is more than *slack* times as large.

    A number of which no digit is right, from *lost* ulps on, gets neither worse nor better: it may be anything, and is
    where a framework returns memory that it never wrote.
    On another processor (not *here*) libraries choose other instructions, and what is left of a cancellation is another
    number: there only a mismatch of a sort that there was none of is worse.
    """
    changes = {name: getattr(now, name) - getattr(before, name) for name in COUNTS}
    for result, names in (
        ("worse", [name for name in COUNTS if changes[name] > 0]),
        ("better", [name for name in COUNTS if changes[name] < 0]),
        (
            "worse",
            [
                name
                for name in ("ulp", "judged")
                if _grew(getattr(before, name), getattr(now, name), floor, lost, slack)
            ],
        ),
        (
            "better",
            [
                name
                for name in ("ulp", "judged")
                if _grew(getattr(now, name), getattr(before, name), floor, lost, slack)
            ],
        ),
    ):
        if names:
            fresh = [name for name in names if name in COUNTS and not getattr(before, name)]
            if result == "worse" and not here:
                return ("worse", fresh[0]) if fresh else ("worse elsewhere", names[0])
            return result, names[0]
    return "kept", "ulp"


def _grew(before: float, now: float, floor: float, lost: float, slack: float) -> bool:
    return now > max(floor, slack * before) and before < lost


def told(errors: Errors, name: str) -> str:
    """The error or count *name*, for people."""
    number = getattr(errors, name)
    return f"{number:g} {'ulp conditioned' if name == 'judged' else name}"


def worst_of(answers: Answers, job: Job, what: str, name: str) -> str:
    """The entry of which the error *name* is the largest, as `accuracy.worst` says it."""
    return accuracy.worst(answers, farthest(answers, job, what, name), what)


def farthest(answers: Answers, job: Job, what: str, name: str) -> Measured:
    """What came of *job*, with that part alone, and as its worst that entry, of which the error *name* is the largest.

    Args:
        answers: Of the run.
        job: Measured, and compared with the reference.
        what: "value", or anything else for gradients.
        name: "ulp", "judged", or one of the mismatches.
    """
    measured = judge(answers, job)
    largest: dict[str, tuple[float, int]] = {}
    for part, of in measured.exact.items():
        if (part == "value") == (what == "value") and of.high.size:
            every = entries(measured.got[part], of, tolerated=verdicts.tolerated(of.terms))
            errors = np.nan_to_num(np.asarray(getattr(every, ENTRIES.get(name, name)), np.float64), nan=-1.0).ravel()
            largest[part] = float(errors.max()), int(errors.argmax())
    part = max(largest, key=lambda one: largest[one][0])
    return replace(measured, parts={part: replace(measured.parts[part], worst=largest[part][1])})
