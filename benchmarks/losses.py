"""One generated class per loss; lossbench's own collector measures all of them once per run, in turns.

asv stores what the collector found: `track_` methods with the raw samples, which it treats as those of `time_`.
LOSSBENCH_ASV_SUITE names another suite, LOSSBENCH_ASV_LOSSES only some losses (with blanks between).
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from asv_runner.benchmarks.mark import SkipNotImplemented

from lossbench import plan, spec
from lossbench.records import REFERENCE, Case, Job, Timing

if TYPE_CHECKING:
    from lossbench.store import Store

SUITE = plan.suite(os.environ.get("LOSSBENCH_ASV_SUITE", "asv"))
LOSSES = [spec.load(name) for name in os.environ.get("LOSSBENCH_ASV_LOSSES", "").split() or spec.names()]
JOBS = plan.jobs(SUITE, LOSSES)

Place = tuple[str, ...]
Key = tuple[str, str, Place]  # loss, method, place
Result = dict[str, object] | float  # samples and number, as asv stores those of its own timings; or a value


AXES = ("framework", "mode", "device", "dtype", "reduction", "threads", "shape")
UNITS = {
    "track_forward": "seconds",
    "track_gradient": "seconds",
    "track_value_ulp": "ulp",
    "track_gradient_ulp": "ulp",
}


class Plain(str):
    """A parameter's value that asv shows without quotes."""

    __repr__ = str.__str__


def place(job: Job) -> Place:
    """The job's place on the axes; all are here from the start, since adding one later would drop asv's history."""
    case, target = job.case, job.target
    threads = str(SUITE.threads or "all")
    return (target.framework, target.mode, target.device, case.dtype, case.reduction, threads, shape(case))


def shape(case: Case) -> str:
    return "x".join(map(str, case.shape))


def jobs(loss: str, method: str) -> list[Job]:
    """What one method shows."""
    measure = method.removeprefix("track_")
    return [
        job
        for job in JOBS
        if job.case.loss == loss
        and job.measure == (measure if UNITS[method] == "seconds" else "accuracy")
        and job.target != REFERENCE
        and not job.target.twin
    ]


def collect() -> dict[Key, Result]:
    """Run the suite once; the result of each loss and method at each place."""
    from lossbench import harness
    from lossbench.store import Store

    with tempfile.TemporaryDirectory(prefix="lossbench-asv-") as folder:
        store = Store.create(folder, JOBS, LOSSES, SUITE)
        harness.run(store)
        return {**dict(_timings(store)), **largest(_errors(store))}


def largest(errors: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """The largest error at each place: several draws of a whole batch have one place."""
    found: dict[Key, float] = {}
    for key, ulps in errors:
        found[key] = max(ulps, found.get(key, 0.0))
    return found


def _timings(store: Store) -> Iterator[tuple[Key, Result]]:
    for record in store.records():
        if isinstance(record, Timing) and not record.job.target.twin:
            samples = [seconds / record.calls for seconds in record.seconds]
            key = (record.job.case.loss, f"track_{record.job.measure}", place(record.job))
            yield key, {"samples": samples, "number": record.calls}


def _errors(store: Store) -> Iterator[tuple[Key, float]]:
    from lossbench import accuracy

    by_key = {job.key: job for job in JOBS}
    for row in accuracy.jobs(store).to_dict("records"):
        job = by_key[row["job"]]
        for what in ("value", "gradient"):
            ulps = float(row[f"{what}_max_ulp"])
            if not math.isnan(ulps):
                yield (job.case.loss, f"track_{what}_ulp", place(job)), ulps


def series(loss: spec.Loss, method: str) -> Callable[..., Result]:
    """A `track_` method with parameters of its own."""

    def track(self: object, cache: dict[Key, Result], *at: str) -> Result:
        found = cache.get((loss.name, method, at))
        if found is None:  # such as a framework that is not installed; the run's report would say why
            raise SkipNotImplemented(f"{loss.name} was not measured at {', '.join(at)}")
        return found

    columns = zip(*(place(job) for job in jobs(loss.name, method)), strict=True)
    track.__name__ = method
    track.params = [[Plain(value) for value in dict.fromkeys(column)] for column in columns]  # type: ignore[attr-defined]
    track.param_names = list(AXES)  # type: ignore[attr-defined]
    track.unit = UNITS[method]  # type: ignore[attr-defined]
    track.version = loss.digest  # type: ignore[attr-defined]  # an edited comment or edge keeps the history
    return track


class Collected:
    """What the generated classes share: one collection for all of them."""

    timeout = 60.0

    def setup_cache(self) -> dict[Key, Result]:
        return collect()

    setup_cache.timeout = 3600.0  # type: ignore[attr-defined]


def methods(loss: spec.Loss) -> list[str]:
    """Those that its class has: a loss that is kept in a state has no gradient."""
    return [method for method in UNITS if "gradient" not in method or not loss.accumulated]


for _loss in LOSSES:
    _name = _loss.name.title().replace("_", "")
    globals()[_name] = type(_name, (Collected,), {method: series(_loss, method) for method in methods(_loss)})
del _loss, _name
