"""One generated class per loss; lossbench's own collector measures all of them once per run, in turns.

asv stores what the collector found: `track_` methods with samples, which it treats as those of `time_`. No class has a
`setup`, which would make asv call everything once per sample, and nothing here imports a framework: asv may fork.

LOSSBENCH_ASV_LOSSES names the only losses (with blanks between), LOSSBENCH_ASV_SUITE another suite or suite file, whose
series have names of their own: a quick suite's results never get into the history of `asv`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from asv_runner.benchmarks.mark import SkipNotImplemented

import lossbench
from benchmarks.series import UNITS, axes, places, shown, version
from lossbench import plan
from lossbench.loss import Loss

ROOT = Path(__file__).parent.parent
OWN = "asv"

_asked = os.environ.get("LOSSBENCH_ASV_SUITE", OWN)
SUITE, LOSSES = plan.asked(
    [ROOT / _asked if _asked.endswith(".toml") else _asked],
    os.environ.get("LOSSBENCH_ASV_LOSSES", "").split(),
)
JOBS = plan.jobs(SUITE, LOSSES)


class Plain(str):
    """A parameter's value that asv shows without quotes."""

    __repr__ = str.__str__


class Collected:
    """What the generated classes share: one collection for all of them, one small file for each."""

    timeout = 60.0  # to read a file; the collector gives up slow jobs by itself
    rounds = 1  # the fresh processes are the collector's, too

    def setup_cache(self) -> None:
        from benchmarks import collection  # imports SciPy, which no process but this one needs

        collection.check(Path(lossbench.__file__).resolve().parent, ROOT)
        by_loss: dict[str, dict[str, collection.Result]] = {loss.name: {} for loss in LOSSES}
        for (loss, method, place), result in collection.collect(SUITE, LOSSES, JOBS).items():
            by_loss[loss][" ".join((method, *place))] = result
        for loss, found in by_loss.items():
            Path(f"{loss}.json").write_text(json.dumps(found), encoding="utf-8")

    setup_cache.timeout = 4 * 3600.0  # type: ignore[attr-defined]


def series(loss: Loss, method: str) -> Callable[..., object]:
    """A `track_` method with parameters of its own."""

    def track(self: object, *at: str) -> object:
        result = json.loads(Path(f"{loss.name}.json").read_text(encoding="utf-8")).get(" ".join((method, *at)))
        if result is None:
            raise SkipNotImplemented("not planned")
        if "skipped" in result:
            raise SkipNotImplemented(result["skipped"])
        if "failed" in result:
            raise RuntimeError(result["failed"])  # of no kind that asv would take for a skip
        return result.get("value", result)

    jobs = [job for job in JOBS if job.case.loss == loss.name]
    columns = zip(*(place for job in shown(jobs, method) for place in places(SUITE, job, method)), strict=True)
    track.__name__ = method
    track.pretty_name = f"{loss.name}: {method.removeprefix('track_').replace('_', ' ')}"  # type: ignore[attr-defined]
    track.params = [[Plain(value) for value in dict.fromkeys(column)] for column in columns]  # type: ignore[attr-defined]
    track.param_names = list(axes(method))  # type: ignore[attr-defined]
    track.unit = UNITS[method]  # type: ignore[attr-defined]
    track.version = version(loss, {job.target.framework for job in jobs})  # type: ignore[attr-defined]
    return track


def methods(loss: Loss) -> list[str]:
    """Those that its class has: what is not planned is not in it, nor the gradient of what is kept in a state."""
    jobs = [job for job in JOBS if job.case.loss == loss.name]
    none = ("track_gradient_ulp",) if loss.accumulated else ()
    return [method for method in UNITS if method not in none and any(shown(jobs, method))]


def class_name(loss: str) -> str:
    """`SmoothL1` for smooth_l1; with the suite's name behind it unless that is ours."""
    words = [loss] if _asked == OWN else [loss, SUITE.name.replace("-", "_")]
    return "_".join(word.title().replace("_", "") for word in words)


for _loss in LOSSES:
    _methods = {method: series(_loss, method) for method in methods(_loss)}
    globals()[class_name(_loss.name)] = type(class_name(_loss.name), (Collected,), _methods)
del _loss, _methods
