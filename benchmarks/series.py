"""What the benchmarks' series are: names, units, axes, places on them, and the version that says whether they go on."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator

from lossbench.loss import Loss
from lossbench.records import REFERENCE, Job
from lossbench.suite import Suite
from lossbench.text import axes_of
from lossbench.verdicts import VERDICTS

UNITS = {
    "track_forward": "seconds",  # of the value alone
    "track_gradient": "seconds",  # of value and gradient in one call
    "track_forward_memory": "bytes",
    "track_gradient_memory": "bytes",
    "track_value_ulp": "ulp",  # the largest error
    "track_gradient_ulp": "ulp",
    "track_mismatches": "numbers",  # nan, an infinity or a finite number where none of them belongs
    "track_verdicts": "cases",
}
# All are here from the start, with one value or many: adding one later would drop asv's history.
AXES = ("framework", "mode", "device", "settings", "dtype", "reduction", "threads", "points", "shape")
ANY = "any"

Place = tuple[str, ...]


def axes(method: str) -> tuple[str, ...]:
    """The axes of one method's places: the verdicts have one more, so that each is counted by itself."""
    return (*AXES, "verdict") if method == "track_verdicts" else AXES


def shown(jobs: Iterable[Job], method: str) -> Iterator[Job]:
    """Those of *jobs* that one method shows."""
    timed = UNITS[method] in ("seconds", "bytes")
    measure = method.removeprefix("track_").removesuffix("_memory") if timed else "accuracy"
    for job in jobs:
        drawn = job.case.points in ("domain", "worst", "timing")  # edges and divergences have verdicts alone
        ours = job.target != REFERENCE and not job.target.twin
        if ours and job.measure == measure and (drawn or method == "track_verdicts"):
            yield job


def places(suite: Suite, job: Job, method: str) -> list[Place]:
    """Where on the axes one method shows a job: at one place, or at that of each verdict, one of which is its own."""
    case, target = job.case, job.target
    who = (target.label or target.framework, target.mode, target.device, "plain" if target.plain else "shared")
    threads = str(target.threads or suite.threads or "all")
    if method == "track_verdicts":
        return [(*who, case.dtype, ANY, threads, ANY, ANY, verdict) for verdict in VERDICTS]
    shape = ANY if case.points == "worst" else "x".join(map(str, case.shape))  # searches bring more and more of them
    return [(*who, case.dtype, case.reduction, threads, case.points, shape)]


def version(loss: Loss, frameworks: Collection[str]) -> str:
    """A digest of what is measured: the definition, what goes in, and the calls of *frameworks*.

    Notes, comments, edges and divergences are not in it. Neither are our own kernel and gradient forms: they are how we
    compute the definition, and the series are to show whether a new one is better. Sizes are an axis.
    """
    inputs = {name: (one.kind, axes_of(one), one.domain, one.of, one.grad) for name, one in loss.inputs.items()}
    parameters = {name: (one.kind, one.domain, one.default) for name, one in loss.parameters.items()}
    formula = (plain(loss.formula_text.definition), plain(loss.formula_text.divisor))
    calls = {
        name: [plain(text or "None") for text in (call.call, call.update, call.result, call.reset, call.requires)]
        for name, call in loss.frameworks.items()
        if name in frameworks
    }
    measured = json.dumps((inputs, parameters, formula, calls), sort_keys=True)
    return hashlib.sha256(measured.encode()).hexdigest()[:16]


def plain(text: str) -> str:
    """An expression without its comments and its layout."""
    return ast.unparse(ast.parse(text.strip()))
