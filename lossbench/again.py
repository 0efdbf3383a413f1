"""One job of a run, done again by itself: what the script beside each number of a report calls."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pandas as pd

from lossbench import accuracy, harness, hessians, shown, spec, speed
from lossbench.answers import Answers, reference_job, unreduced
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.records import REFERENCE, Job, Observed, Output, Record, Refusal
from lossbench.store import Store
from lossbench.suite import Suite


def again(loss: str | Path, job: str, *, threads: int = 0) -> pd.Series:
    """What comes out when *job* is done now, as the tables of accuracy or speed say it.

    Args:
        loss: The spec: a name, or the path of the run's own copy.
        job: As JSON, as a record has it.
        threads: As many as the run had; 0 for all cores.

    Raises:
        LossbenchError: The text is no job, or the loss is not as it was in the run.
    """
    try:
        asked = msgspec.json.decode(job, type=Job)
    except msgspec.DecodeError as error:
        raise LossbenchError(f"{job[:80]!r} is no job ({error}); expected the JSON beside a record's number") from None
    found = spec.load(loss)
    if (found.name, found.digest) != (asked.case.loss, asked.case.digest):
        wanted = f"{asked.case.loss} with the digest {asked.case.digest}"
        raise LossbenchError(
            f"{loss}: {found.name} with the digest {found.digest}; expected {wanted}, "
            f"which is specs/{asked.case.loss}.toml in the folder of the run"
        )
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder:
        store = Store.create(Path(folder) / "again", _jobs(asked), [found], _suite(asked, threads))
        harness.run(store)
        return _told(store, asked)


def _jobs(asked: Job) -> list[Job]:
    """The job, and those of the reference that it is compared with."""
    if asked.measure not in ("accuracy", "hessian"):
        return [asked]
    exact = reference_job(asked.case, asked.measure)
    whole = reference_job(unreduced(asked.case))
    return list(dict.fromkeys([exact, *([whole] if asked.measure == "accuracy" else []), asked]))


def _suite(asked: Job, threads: int) -> Suite:
    return Suite(name="again", summary="One job of another run.", targets=(asked.target.framework,), threads=threads)


def _told(store: Store, asked: Job) -> pd.Series:
    record = next(one for one in store.records() if getattr(one, "job", None) == asked)
    if asked.timed:
        return _row(speed.medians(store), asked)
    if isinstance(record, Refusal):
        return pd.Series({"reason": record.reason, "detail": record.detail})
    if isinstance(record, Observed):
        return pd.Series(record.says)
    if asked.target == REFERENCE:
        return _certified(store, record)
    answers = Answers(store)
    if asked.measure == "hessian":
        return _row(hessians.jobs(answers), asked)
    found = _row(accuracy.jobs(answers), asked)
    if asked.case.points in ("edge", "divergence"):
        hard = accuracy.edges(answers) if asked.case.points == "edge" else accuracy.divergences(answers)
        said = hard[(hard["target"] == asked.target.name) & (hard["index"] == asked.case.index)].iloc[0]
        found = pd.concat([found, said[[name for name in hard if name not in found]]])
    return found


def _row(frame: pd.DataFrame, asked: Job) -> pd.Series:
    return frame[frame["job"] == asked.key].iloc[0].rename(None)


def _certified(store: Store, record: Record) -> pd.Series:
    assert isinstance(record, Output)
    loss: Loss = store.losses()[record.job.case.loss]
    names = ["value", *(f"gradient.{name}" for name, one in loss.inputs.items() if one.grad)]
    found = {name: store.array(record.arrays[name]) for name in names if name in record.arrays}
    return pd.Series({name: shown.row(array, "float64") for name, array in found.items()})
