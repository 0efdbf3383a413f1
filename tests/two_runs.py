"""Two runs of which the second differs in planted ways: what tests of comparisons' pages stand on."""

import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace
from small_run import ATTACK, JAX, TORCH, small_run

from lossbench import records
from lossbench.records import Environment, Output, Refusal, Timing
from lossbench.store import Head, Store

LATER = timedelta(days=1)


def two_runs(folder: Path) -> tuple[Store, Store]:
    """Base, and beside it head, a day later: huber is worse and better, softmax fails, one is gone; jax is slower."""
    base = small_run(folder)
    head = copied(base, "2026-01-03-small")
    written(base, [_base(one, base) for one in base.records()])
    written(head, [_head(one, head) for one in head.records()])
    return Store.open(base.path), Store.open(head.path)


def copied(store: Store, name: str, later: timedelta = LATER) -> Store:
    """A copy beside it, of another time."""
    path = store.path.parent / name
    shutil.copytree(store.path, path)
    head = msgspec.json.decode((path / "run.json").read_bytes(), type=Head)
    (path / "run.json").write_bytes(msgspec.json.encode(replace(head, created=head.created + later)))
    return Store.open(path)


def written(store: Store, answers) -> None:
    """Replaces the records of a store."""
    lines = [records.encode(one) + b"\n" for one in answers if one is not None]
    (store.path / "records.jsonl").write_bytes(b"".join(lines))


def _is(one, loss, target, reduction="none"):
    if not isinstance(one, Output) or one.job.target != target:
        return False
    case = one.job.case
    return (case.loss, case.dtype, case.points, case.reduction) == (loss, "float32", "domain", reduction)


def _moved(one, store, name="value"):
    """One entry five ulps off or more."""
    array = store.array(one.arrays[name]).copy()
    array.reshape(-1)[7] *= 1 + 5 * np.finfo(array.dtype).eps
    return replace(one, arrays={**one.arrays, name: store.put(array)})


def _sampled(one, slowness=1.0):
    """Six processes, each with the same luck in both runs."""
    seconds = [one.seconds[0] * slowness * (1 + place / 500) for place in range(6)]
    return replace(one, seconds=seconds, turns=list(range(6)), processes=list(range(6)))


def _base(one, store):
    if isinstance(one, Timing):
        return _sampled(one)
    return _moved(one, store) if _is(one, "huber", JAX) else one


def _head(one, store):
    if isinstance(one, Timing):
        return _sampled(one, 1.3 if one.job.target == JAX and one.job.case.loss == "huber" else 1.0)
    if isinstance(one, Environment) and one.target == TORCH:
        return replace(one, versions={**one.versions, "torch": f"1.3 {ATTACK}"})
    if _is(one, "huber", TORCH):
        return _moved(one, store)
    if _is(one, "softmax_cross_entropy", TORCH):
        return Refusal(job=one.job, reason="crashed", detail=ATTACK)
    return None if _is(one, "softmax_cross_entropy", JAX, "mean") else one
