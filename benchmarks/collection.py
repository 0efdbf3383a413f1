"""One run of lossbench's own collector, and what it found at each place of each series."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.series import AXES, UNITS, Place, places, shown
from lossbench import accuracy, harness
from lossbench.comparing import rule
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.records import Job, Refusal, Timing
from lossbench.store import Store
from lossbench.suite import Suite

Result = dict[str, object]  # {"value": ...}, {"samples": ..., "number": 1}, {"skipped": why} or {"failed": why}
Results = dict[tuple[str, str, Place], Result]  # by loss, method and place

ABSENT = ("not installed", "unsupported")  # nobody's failure; every other refusal is one


def check(package: Path, root: Path) -> None:
    """That it is no other checkout than *root* whose *package* is measured, which asv would put down to this one.

    Raises:
        LossbenchError: It is: an environment has another checkout installed as editable.
    """
    if package.parent.name not in ("site-packages", "dist-packages") and package != (root / "lossbench").resolve():
        raise LossbenchError(f"{package} would be measured for {root}; expected this one, or one that is installed")


def collect(suite: Suite, losses: Sequence[Loss], jobs: Sequence[Job]) -> Results:
    """Run the suite once, every target in processes of its own and in turns, whatever asv does around it."""
    with tempfile.TemporaryDirectory(prefix="lossbench-asv-") as folder:
        store = Store.create(folder, jobs, losses, suite)
        harness.run(store)
        return results(store)


def results(store: Store) -> Results:
    """The result at every place where a job was planned: a framework that broke is among them."""
    jobs = store.jobs()
    answers = {one.job.key: one for one in store.records() if isinstance(one, Timing | Refusal)}
    rows = {row["job"]: row for row in accuracy.jobs(store).to_dict("records")}
    found: dict[tuple[str, str, Place], list[Result]] = defaultdict(list)
    for method in UNITS:
        for job in shown(jobs, method):
            for place in places(store.suite, job, method):
                if job.timed:
                    one = timed(method, place, answers.get(job.key))
                else:
                    one = compared(method, place, rows[job.key], answers.get(job.key))
                found[job.case.loss, method, place].append(one)
    return {key: joined(key[1], all_) for key, all_ in found.items()}


def timed(method: str, place: Place, answer: Timing | Refusal | None) -> Result:
    """Of one timing job: one time for each fresh process, since the samples of one share its luck; or its memory."""
    if not isinstance(answer, Timing):
        return missing(answer)
    if UNITS[method] == "bytes":
        if answer.peak_memory is None:
            return {"skipped": "its memory cannot be seen"}
        return {"value": answer.peak_memory}
    # What one thread takes, its processor time says best: waiting for the processor is not in it.
    alone = bool(answer.cpu) and dict(zip(AXES, place, strict=True))["threads"] == "1"
    processes = answer.processes or [0] * len(answer.seconds)
    by_process: dict[int, list[float]] = defaultdict(list)
    for process, seconds in zip(processes, answer.cpu if alone else answer.seconds, strict=True):
        by_process[process].append(seconds / answer.calls)
    return {"samples": [rule.time_of(times) for times in by_process.values()], "number": 1}


def compared(method: str, place: Place, row: Mapping[str, object], answer: Timing | Refusal | None) -> Result:
    """Of one accuracy job: its largest error, how many numbers are of a wrong kind, or whether it has the verdict."""
    if isinstance(answer, Refusal) and (method != "track_verdicts" or answer.reason == "not installed"):
        return missing(answer)
    if method == "track_verdicts":
        return {"value": int(row["verdict"] == place[-1])}
    if row["verdict"] == "failed":
        return {"failed": row["reason"]}
    if method == "track_mismatches":
        return {
            "value": sum(row[f"{what}_{kind}"] for what in ("value", "gradient") for kind in ("nan", "inf", "finite"))
        }
    what = method.removeprefix("track_").removesuffix("_ulp")
    ulps = float(row[f"{what}_max_ulp"])
    if not math.isnan(ulps):
        return {"value": ulps}
    if wrong := mismatches(row, what):
        return {"failed": f"no number to compare: {wrong} are nan, infinite or finite where they must not be"}
    return {"skipped": "no number to compare"}


def mismatches(row: Mapping[str, object], what: str) -> int:
    """How many numbers are of a wrong kind."""
    return sum(int(row[f"{what}_{kind}"]) for kind in ("nan", "inf", "finite"))


def missing(refusal: Refusal | None) -> Result:
    """Why there is no result; what is not there is skipped, what broke has failed."""
    if refusal is None:
        return {"failed": "no record: the run ended before this job"}
    why = f"{refusal.reason}: {refusal.detail}"
    return {"skipped": why} if refusal.reason in ABSENT else {"failed": why}


def joined(method: str, found: Sequence[Result]) -> Result:
    """Of all jobs at one place: a failure if there is one, else the largest error, or how many there are."""
    for one in found:
        if "failed" in one:
            return one
    values = [one["value"] for one in found if "value" in one]
    if not values:
        return found[0]
    return {"value": max(values) if UNITS[method] in ("ulp", "bytes") else sum(values)}
