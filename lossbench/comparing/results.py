"""What two runs say of the same cases: no statistics, for the same inputs give the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isnan

import pandas as pd

from lossbench import accuracy, shown
from lossbench.agreement import Accuracy
from lossbench.answers import UNCOMPARED, Measured
from lossbench.budget import comparison
from lossbench.budget.model import COUNTS, RIGHT, Errors
from lossbench.comparing import reproduce
from lossbench.comparing.matching import Match, Part, absent
from lossbench.judge import judge
from lossbench.records import Job, Observed, Output, Refusal
from lossbench.ulp import FORMATS
from lossbench.verdicts import EXACT, FAITHFUL, WORST_FIRST, Verdict

CHANGES = (
    "newly failing",  # it had an answer that was not wrong
    "worse",  # a larger error, or more mismatches, or a worse verdict
    "not measured",  # it was; nobody knows what it is now
    "other answer",  # of a convention
    "newly passing",
    "better",
    "changed case",  # another formula, call or input; nothing got worse or better
    "new",
    "dropped",  # head was not asked
    "same",
)
FAILING = ("newly failing", "worse")
COLUMNS = (
    *("loss", "target", "dtype", "measure", "case", "what", "change", "before", "now", "worst", "script"),
    *("changed", "job"),
)
SCRIPTS = 200  # each takes the reference some 5 ms
STRICT = 1 + 2.0**-20  # times the error: unreduced results do not depend on who computes them together


@dataclass(frozen=True, kw_only=True)
class _Two:
    match: Match
    base: Part
    head: Part

    @property
    def alike(self) -> bool:
        """Whether both had one sort of processor and as many threads: else libraries choose other instructions."""
        return _hardware(self.base, self.match.base) == _hardware(self.head, self.match.head)


def compare(matches: list[Match], base: Part, head: Part) -> pd.DataFrame:
    """Each case that is not timed: a row for value and gradients each, or one for both.

    Columns:
        loss, target, dtype, measure, case: Which; `case` in the words of budgets.
        what: value, gradient, or nothing where the row is about both.
        change: One of `CHANGES`.
        before, now: The verdict, and the error in ulps or count of mismatches that changed; texts of conventions;
            nothing where all bits are the same.
        worst: Where a result is worse, or failing: the input that shows it, in decimal and hex, what came out and what
            is exact.
        script: Of the first of these, Python that shows it, where there is a single input.
        changed: Whether the loss has another formula or call, or the case other inputs.
        job: The key of head's job, of base's where head has none.
    """
    rows: list[dict[str, object]] = []
    for match in matches:
        if not match.job.timed:
            part = head if match.head else base
            labels = {**_labels(match, part), "changed": match.changed, "job": match.job.key}
            rows += ({**labels, "what": "", **row} for row in _rows(_Two(match=match, base=base, head=head)))
    rows.sort(key=lambda row: CHANGES.index(str(row["change"])))
    for number, row in enumerate(rows):
        found = row.pop("_found", None)
        if isinstance(found, Measured) and row["change"] in FAILING:
            what = "value" if "value" in found.parts else "gradient"
            row["worst"] = accuracy.worst(head.answers, found, what)
            row["script"] = reproduce.of(head.answers, found) if number < SCRIPTS else ""
    return pd.DataFrame(rows, columns=COLUMNS).fillna("")


def failing(verdict: Verdict) -> bool:
    """Whether a verdict is one that nobody may be content with."""
    return verdict in ("wrong", "inaccurate", "failed", "refused", "unsupported")


def _hardware(part: Part, job: Job | None) -> tuple[str, ...]:
    found = part.environments.get(job.target) if job else None
    return (found.machine.get("processor", ""), found.settings.get("LOSSBENCH_THREADS", "")) if found else ()


def _labels(match: Match, part: Part) -> dict[str, object]:
    case = match.job.case
    loss = part.losses[case.loss]
    number = str(case.index + 1) if case.points in ("edge", "divergence", "callable") or case.index else ""
    shape = accuracy.shape(loss, case)
    reduction = "" if case.reduction == "none" else case.reduction
    words = (case.points, number, shape, reduction, "weighted" if case.weighted else "", shown.at(case.parameters))
    text = " ".join(word for word in words if word)
    return {"loss": case.loss, "target": match.target, "dtype": case.dtype, "measure": match.job.measure, "case": text}


def _rows(two: _Two) -> list[dict[str, object]]:
    match = two.match
    if gone := absent(match, two.base, two.head):
        return [{"change": gone[0], "now": gone[1]}]
    assert match.base is not None
    assert match.head is not None
    before, now = two.base.by_key.get(match.base.key), two.head.by_key.get(match.head.key)
    if isinstance(before, Observed) and isinstance(now, Observed):
        return _conventions(before, now)
    if match.job.measure == "convention":
        return [_told(isinstance(before, Observed), isinstance(now, Observed), _says(before), _says(now))]
    if not match.changed and isinstance(before, Output) and isinstance(now, Output) and _same_bits(before, now):
        return [{"change": "same"}]
    was, found = judge(two.base.answers, match.base), judge(two.head.answers, match.head)
    if found.reason.startswith(UNCOMPARED):
        return [{"change": "not measured", "now": found.reason}]
    return _numbers(two, was, found)


def _same_bits(before: Output, now: Output) -> bool:
    """Of the same inputs: so it is with most cases of most runs, and there is nothing to be judged."""
    return (before.inputs, before.arrays) == (now.inputs, now.arrays)


def _conventions(before: Observed, now: Observed) -> list[dict[str, object]]:
    topics = [topic for topic in before.says | now.says if before.says.get(topic) != now.says.get(topic)]
    return [
        {
            "what": topic,
            "change": "other answer",
            "before": before.says.get(topic, "nothing"),
            "now": now.says.get(topic, "nothing"),
        }
        for topic in topics
    ] or [{"change": "same"}]


def _told(was: bool, works: bool, before: str, now: str) -> dict[str, object]:
    change = "newly passing" if works and not was else "newly failing" if was and not works else "same"
    return {"change": change, "before": before, "now": now}


def _says(answer: object) -> str:
    return f"{answer.reason}: {answer.detail}" if isinstance(answer, Refusal) else "an answer" if answer else "none"


def _numbers(two: _Two, before: Measured, now: Measured) -> list[dict[str, object]]:
    """What became of a case: told once where it fails only in one of the runs, else of value and gradients apart."""
    was, works = not failing(before.verdict), not failing(now.verdict)
    same = _inputs(two.base, two.match.base) == _inputs(two.head, two.match.head)
    numbers = bool(before.parts and now.parts)
    row: dict[str, object] = {"before": _said(before), "now": _said(now)}
    row |= {"changed": True} if numbers and not same else {}
    if was != works:
        return [{"change": "newly passing" if works else "newly failing", **row, **_worst(now)}]
    if numbers and same and (rows := list(_parts(two, before, now))):
        return rows
    # Of a sum within an ulp the threads decide; of what has no number in common there is nothing else to go by.
    if before.verdict != now.verdict and not (numbers and same):
        rank = WORST_FIRST.index
        worse = rank(now.verdict) < rank(before.verdict) if bool(before.parts) == bool(now.parts) else not now.parts
        return [{"change": "worse" if worse else "better", **row, **_worst(now)}]
    return [{"change": "changed case" if two.match.changed or "changed" in row else "same", **row}]


def _parts(two: _Two, before: Measured, now: Measured) -> Iterator[dict[str, object]]:
    """Value and gradients where they got worse or better."""
    job = now.job
    summed = job.case.reduction != "none"
    for what in accuracy.WHAT:
        old, new = (_errors(getattr(one, what)) for one in (before, now))
        if old is None or new is None:
            continue
        change, name = comparison.decided(
            old,
            new,
            FAITHFUL if summed else EXACT,
            here=two.alike,
            lost=2.0 ** FORMATS[job.case.dtype].precision,
            slack=comparison.SLACK if summed else STRICT,
        )
        if change in ("worse", "better"):
            said: dict[str, object] = {"before": comparison.told(old, name), "now": comparison.told(new, name)}
            found = {"_found": comparison.farthest(two.head.answers, job, what, name)} if change == "worse" else {}
            yield {"what": what if job.measure == "accuracy" else job.measure, "change": change, **said, **found}


def _errors(part: Accuracy | None) -> Errors | None:
    if part is None:
        return None
    ulp, judged = (RIGHT if isnan(one) else one for one in (part.max_ulp, part.conditioned))
    return Errors(ulp=ulp, judged=judged, **{name: getattr(part, name) for name in COUNTS})


def _inputs(part: Part, job: Job | None) -> str:
    answer = part.by_key.get(job.key) if job else None
    return answer.inputs if isinstance(answer, Output) else ""


def _said(measured: Measured) -> str:
    """The verdict, with the mismatches or the largest error where there are any, or with the reason."""
    counts = {name: sum(getattr(part, name) for part in measured.parts.values()) for name in COUNTS[:3]}
    amiss = [f"{number} {name}" for name, number in counts.items() if number]
    ulps = [part.max_ulp for part in measured.parts.values() if not isnan(part.max_ulp)]
    if amiss or ulps:
        return f"{measured.verdict}, {', '.join(amiss) or f'{max(ulps):.3g} ulp'}"
    return f"{measured.verdict}: {measured.reason}" if measured.reason else measured.verdict


def _worst(now: Measured) -> dict[str, object]:
    """What came of the part that fared worst, where there are any numbers; of which the entry is told later."""
    if not now.parts:
        return {}
    what = min(now.parts, key=lambda name: WORST_FIRST.index(now.parts[name].verdict))
    return {"_found": replace(now, parts={what: now.parts[what]})}
