"""What two runs say of the time that the same cases take, by the rule, over the whole table at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec.structs import replace

from lossbench import shown
from lossbench.comparing import rule
from lossbench.comparing.matching import Match, Part, absent
from lossbench.comparing.rule import Decision
from lossbench.errors import LossbenchError
from lossbench.records import REFERENCE, Job, Refusal, Timing
from lossbench.store import Store

VERDICTS = ("newly failing", "slower", "not measured", "inconclusive", "faster", "new", "dropped", "same")
FAILING = ("newly failing", "slower")
WEAK = 0.10  # the smallest change that counts where each run had too few processes: each has a luck of its own
COLUMNS = (
    *("loss", "target", "dtype", "measure", "case", "verdict", "ratio", "low", "high", "pairs", "evidence", "bound"),
    *("p", "base", "head", "base_control", "head_control", "reason", "changed", "job"),
)

Times = Mapping[int, float]  # seconds of one call by process, or by turn


def compare(matches: Sequence[Match], base: Part, head: Part, history: Path | str | None = None) -> pd.DataFrame:
    """Each case that is timed.

    Args:
        matches: Of both runs.
        base, head: The runs.
        history: A folder of earlier runs: what a benchmark's time changes by from one to the next does not count.

    Columns:
        loss, target, dtype, measure, case: Which; `case` is shape and reduction.
        verdict: One of `VERDICTS`.
        ratio, low, high: Head's time to base's, and the ends of its 95 % interval (nan where there is none).
        pairs, evidence: How many pairs of what.
        bound: The smallest ratio that counts: by the rule, by the A/A controls of the runs, or by history.
        p: Of the likelier direction, adjusted for the whole table.
        base, head: Seconds of one call.
        base_control, head_control: The ratio that the A/A control of the same case showed in each run, of equals; nan
            where none was timed.
        reason: Why there is no ratio.
        changed: Whether the loss has another formula or call.
        job: The key of head's job, of base's where head has none.
    """
    first, second = _controls(base), _controls(head)
    noise = max(rule.fence(list(one.values())) for one in (first, second))
    before = _histories(history, exclude=(base.store, head.store)) if history else {}
    rows: list[dict[str, object]] = []
    decisions: dict[int, Decision] = {}
    for match in matches:
        if match.job.timed:
            row, decision = _row(match, base, head, noise, before.get(_series(match.job), ()))
            if decision:
                decisions[len(rows)] = decision
            control = _control(match.job)
            row["base_control"], row["head_control"] = (math.exp(of.get(control, math.nan)) for of in (first, second))
            rows.append(row)
    slower = rule.adjusted([one.p_slower for one in decisions.values()])
    faster = rule.adjusted([one.p_faster for one in decisions.values()])
    for (at, one), p_slower, p_faster in zip(decisions.items(), slower, faster, strict=True):
        sure = dataclasses.replace(one, p_slower=float(p_slower), p_faster=float(p_faster))
        rows[at] |= {"verdict": sure.verdict(), "p": min(sure.p_slower, sure.p_faster)}
    return ordered(pd.DataFrame(rows, columns=COLUMNS))


def ordered(found: pd.DataFrame) -> pd.DataFrame:
    """The rows by verdict, and the largest change first."""
    rank = found["verdict"].map(VERDICTS.index)
    size = -np.abs(np.log(found["ratio"].astype(float)))
    return found.iloc[np.lexsort((size, rank))].reset_index(drop=True)


def told(decision: Decision, evidence: str) -> dict[str, object]:
    """The columns that a decision fills."""
    return {
        "verdict": decision.verdict(),
        "ratio": decision.ratio,
        "low": decision.low,
        "high": decision.high,
        "pairs": decision.pairs,
        "evidence": evidence,
        "bound": math.exp(decision.bound),
        "p": min(decision.p_slower, decision.p_faster),
    }


def _row(
    match: Match, base: Part, head: Part, noise: float, history: Sequence[float]
) -> tuple[dict[str, object], Decision | None]:
    job = match.job
    loss = (head if match.head else base).losses[job.case.loss]
    shape = shown.shape(job.case.shape, loss.dimensions if loss.has_sizes else ())
    reduction = "" if job.case.reduction == "none" else f" {job.case.reduction}"
    row: dict[str, object] = {"loss": job.case.loss, "target": match.target, "dtype": job.case.dtype}
    row |= {"measure": job.measure, "case": f"{shape}{reduction}", "changed": match.changed, "job": job.key}
    row |= {"evidence": "", "reason": ""}
    if gone := absent(match, base, head):
        return row | {"verdict": gone[0], "reason": gone[1]}, None
    assert match.base is not None
    assert match.head is not None
    before, now = base.by_key[match.base.key], head.by_key[match.head.key]
    if not isinstance(now, Timing):
        assert isinstance(now, Refusal), "what is timed is timed or refused"
        change = "newly failing" if isinstance(before, Timing) else "same"
        return row | {"verdict": change, "reason": f"{now.reason}: {now.detail}"}, None
    if not isinstance(before, Timing):
        return row | {"verdict": "new"}, None
    decision, evidence = _decision(
        before, now, _waits(base, before) or _waits(head, now), max(noise, rule.fence(history))
    )
    seconds = {"base": _median(before), "head": _median(now)}
    return row | told(decision, evidence) | seconds, decision


def _decision(before: Timing, now: Timing, waits: bool, noise: float) -> tuple[Decision, str]:
    """By pairs of processes where both runs have enough of them, else by turns."""
    times, both = _compared(before, now, waits)
    clock = "wall time" if waits else "processor time"
    if both >= rule.FEWEST:
        return rule.decide(*times, bound=max(rule.BOUND, noise)), f"{both} pairs of processes, {clock}"
    # The luck of one process can hide a change as well as make one.
    decision = dataclasses.replace(rule.decide(*times, bound=max(WEAK, noise), paired=False), p_same=1.0)
    processes = "1 process" if both < 2 else f"{both} processes"
    return decision, f"turns of {processes} each, {clock}: weak"


def _compared(before: Timing, now: Timing, waits: bool) -> tuple[tuple[list[float], list[float]], int]:
    """What stands for either side: pairs of processes, or turns where they are too few; and how many both have."""
    first, second = _by_process(before, waits), _by_process(now, waits)
    both = sorted(first.keys() & second.keys())
    if len(both) >= rule.FEWEST:
        return ([first[one] for one in both], [second[one] for one in both]), len(both)
    return (list(_by_turn(before, waits).values()), list(_by_turn(now, waits).values())), len(both)


def _waits(part: Part, timing: Timing) -> bool:
    """Whether processor time does not tell how long a call takes, or is not known."""
    target = timing.job.target
    found = part.environments.get(target)
    threads = found.settings.get("LOSSBENCH_THREADS", "") if found else ""
    return not timing.cpu or target.device != "cpu" or threads != "1"


def _seconds(timing: Timing, waits: bool) -> list[float]:
    """Of one call, by each sample."""
    of = timing.busy if timing.busy else timing.seconds if waits else timing.cpu
    return [one / (1 if timing.busy else timing.calls) for one in of]


def _by_process(timing: Timing, waits: bool) -> Times:
    return {at: rule.time_of(of) for at, of in _grouped(timing.processes, _seconds(timing, waits)).items()}


def _by_turn(timing: Timing, waits: bool) -> Times:
    return {at: float(np.median(of)) for at, of in _grouped(timing.turns, _seconds(timing, waits)).items()}


def _grouped(by: Sequence[int], seconds: Sequence[float]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for at, one in zip(by, seconds, strict=False):  # older records have no processes
        found.setdefault(at, []).append(one)
    return found


def _median(timing: Timing) -> float:
    return float(np.median(timing.seconds)) / timing.calls


def _controls(part: Part) -> dict[str, float]:
    """What the A/A control of each case of a run shows as a change (its logarithm), which is none."""
    found = {}
    for job, twin in part.twins:
        one, other = part.by_key.get(job.key), part.by_key.get(twin.key)
        if isinstance(one, Timing) and isinstance(other, Timing):
            times, pairs = _compared(one, other, _waits(part, one))
            found[_control(job)] = rule.change(*times, paired=pairs >= rule.FEWEST)
    return found


def _control(job: Job) -> str:
    """What a case is called in both runs, whoever is timed."""
    return replace(job, case=replace(job.case, digest=""), target=replace(REFERENCE, device=job.target.device)).key


def _histories(folder: Path | str, exclude: Sequence[Store]) -> dict[str, list[float]]:
    """Of each benchmark, by how much its time changed from each run below a folder to the next."""
    path = Path(folder)
    stores = [Store.open(one.parent) for one in sorted(path.glob("*/run.json"))]
    if not stores:
        raise LossbenchError(f"{path} has no runs; expected a folder of folders of runs, such as reports")
    own = {one.path.resolve() for one in exclude}
    series: dict[str, list[float]] = {}
    for store in sorted((one for one in stores if one.path.resolve() not in own), key=lambda one: one.created):
        for record in store.records():
            if isinstance(record, Timing) and not record.job.target.twin:
                series.setdefault(_series(record.job), []).append(math.log(_median(record)))
    return {name: np.diff(times).tolist() for name, times in series.items() if len(times) > rule.FEWEST}


def _series(job: Job) -> str:
    """What names a benchmark in all runs."""
    target = replace(job.target, interpreter=None)
    return replace(job, case=replace(job.case, digest=""), target=target).key
