"""One's own loss as a target: run in a worker of its framework, and judged like any other."""

from __future__ import annotations

import atexit
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from lossbench import answers, declared, inputs, judge, spec
from lossbench.adapters import reference
from lossbench.answers import Certified, Measured
from lossbench.errors import LossbenchError
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import Inspect, Inspected, Refused
from lossbench.records import REFERENCE, Case, Job, Output, Points, Target
from lossbench.sweeps.ask import Asked, NoAnswer
from lossbench.text import CLASS, Dtype, Edge, Number, Reduction
from lossbench.worker import given
from lossbench.workers import WorkerLost

DEADLINE = 60.0  # seconds: torch.compile takes thirteen for its first function
CLASSES = 4
_OTHERS = re.compile(r"\[+(frameworks|divergences|callables|facts|references)\b")


_open: dict[Target, Asked] = {}  # a second check in one process finds the frameworks imported


@atexit.register
def close() -> None:
    """End every worker; they are started again when they are asked."""
    for one in _open.values():
        one.close()


def asked(target: Target) -> Asked:
    """The worker of *target*."""
    if target not in _open:
        _open[target] = Asked(target, deadline=DEADLINE)
    return _open[target]


def inspected(code: str) -> Inspected:
    """What *code* takes, found in a process of its own.

    Raises:
        LossbenchError: There is nothing of that name, or nothing to call.
        NoAnswer: It raises when it is imported, or ends its process.
    """
    try:
        reply = asked(REFERENCE).opened().ask(Inspect(code=code), Inspected, Refused, deadline=DEADLINE)
    except WorkerLost as lost:
        asked(REFERENCE).close()
        raise NoAnswer(lost.reason, lost.detail) from None
    if isinstance(reply, Refused):
        if reply.reason == "unsupported":
            raise LossbenchError(reply.detail)
        raise NoAnswer(reply.reason, reply.detail)
    assert isinstance(reply, Inspected), "one of the two that were asked for"
    return reply


class Subject:
    """A function or class of *framework* that is to be *loss*."""

    def __init__(self, loss: Loss, code: str, framework: str, folder: Path) -> None:
        """*folder* gets the spec: that of the loss, with no other call than *code*."""
        self.framework = framework
        self.of = loss
        path = folder / f"{loss.name}.toml"
        path.write_text(f"{_without_calls(loss.source)}\n{_table(framework, code)}", encoding="utf-8")
        self.loss = spec.load(path)

    def ask(self, call: str, problem: Problem, *, mode: str = "eager") -> dict[str, np.ndarray]:
        """`value` and `gradient.<input>` of *problem*.

        Raises:
            NoAnswer: It raises, hangs, or ends its process.
        """
        given = problem.arrays
        if problem.sample_weight is not None:
            given = given | {"sample_weight": problem.sample_weight}
        said = {name: _said(value) for name, value in problem.parameters.items()}
        ask = asked(Target(framework=self.framework, mode=mode))
        return ask(self.loss, problem.dtype, given, said, reduction=problem.reduction, call=call)


def judged(subject: Subject, problem: Problem, got: Mapping[str, np.ndarray], edge: Edge | None = None) -> Measured:
    """What *got* is worth beside the certified numbers of *problem*, or beside what the spec decided for its *edge*.

    "convention" where the spec declares that losses of this framework differ there; `reason` says in which way.
    """
    case = Case(
        loss=problem.loss.name,
        digest=problem.loss.digest,
        dtype=problem.dtype,  # type: ignore[arg-type]
        points="edge" if edge else "domain",
        reduction=problem.reduction,  # type: ignore[arg-type]
    )
    job = Job(case=case, target=Target(framework=subject.framework), measure="accuracy")
    arrays = reference.open(REFERENCE).prepare(problem).arrays()
    went_in = {name.partition(".")[2] or name: array for name, array in given(problem).items()}
    exact = answers.exact(case, problem.loss, arrays, went_in)
    output = Output(job=job, arrays={}, inputs="", seconds=0.0)
    certified = Certified(output=output, inputs=went_in, exact=exact)
    required: set[str] = set()
    if edge is not None:
        exact, required = judge.decided(problem.loss, edge, job, certified)
    exact = {name: one for name, one in exact.items() if name in got}  # NumPy's functions have no gradients
    measured = answers.measure(job, got, exact, nan_required=required)
    if measured.verdict not in ("inaccurate", "wrong") or not measured.parts:
        return measured
    if edge is None:
        finite = all(np.isfinite(one).all() for one in got.values())
        return judge.domain(subject.of, replace(certified, exact=exact), measured) if finite else measured
    why = _declared(subject, edge, measured, went_in)
    return replace(measured, verdict="convention", reason=why) if why else measured


def _declared(subject: Subject, edge: Edge, measured: Measured, went_in: Mapping[str, np.ndarray]) -> str:
    """Why losses of this framework give just what came out at *edge*, as the spec declares; empty where it does not."""
    loss = subject.of
    bad = {name for name, part in measured.parts.items() if part.verdict in ("inaccurate", "wrong")}
    case, why = measured.job.case, {}
    for one in declared.differences_at(loss, subject.framework, edge, defects=True):
        for name, claim in declared.claims(loss, one).items():
            if one.dtype == case.dtype and name in bad and declared.is_met(claim, measured.got[name], case.dtype):
                why[name] = one.why
    if bad and bad <= {*why}:
        return next(iter(why.values()))
    finite = all(np.isfinite(measured.got[name]).all() for name in bad)
    if finite and declared.inside_any(loss, subject.framework, went_in).any():
        return "in a region where the spec declares a convention"
    return ""


def drawn(
    loss: Loss,
    points: Points,
    dtype: Dtype,
    count: int,
    parameters: Mapping[str, str],
    *,
    reduction: Reduction = "none",
    weighted: bool = False,
) -> Problem:
    """Points of the loss's domain ("domain"), or ordinary ones ("timing"): *count* elements or rows."""
    case = Case(
        loss=loss.name,
        digest=loss.digest,
        dtype=dtype,
        points=points,
        shape=tuple(CLASSES if axis == CLASS else count for axis in loss.dimensions),
        reduction=reduction,
        parameters=dict(parameters),
        weighted=weighted,
    )
    return inputs.draw(loss, case)


def _said(value: object) -> Number | list[Number]:
    """A rounded parameter as an exact number."""
    if isinstance(value, np.ndarray):
        return [_said(one) for one in value.tolist()]  # type: ignore[misc]
    return repr(value) if isinstance(value, int) else _exact(float(value))  # type: ignore[arg-type]


def _exact(value: float) -> str:
    return str(Fraction(value)) if np.isfinite(value) else str(value)


def _without_calls(source: str) -> str:
    """The spec's text without the tables that name frameworks."""
    kept, keep = [], True
    for line in source.splitlines():
        if line.startswith("["):
            keep = _OTHERS.match(line) is None
        if keep:
            kept.append(line)
    return "\n".join(kept)


def _table(framework: str, code: str) -> str:
    return f'[frameworks.{framework}]\nform = "composed"\ncall = "yours()"\ncode = {json.dumps(code)}\n'
