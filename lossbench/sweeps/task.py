"""The task of a sweep: one shard, one record. It opens the framework's worker itself and proves the errors itself."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
from msgspec.structs import replace

from lossbench import answers, declared, inputs, spec, worst
from lossbench.adapters import reference
from lossbench.formula.filter import Bounds
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.records import REFERENCE, Case, Struct, Target
from lossbench.sweeps import fast, patterns, search
from lossbench.sweeps.ask import Asked, NoAnswer, Parameters
from lossbench.sweeps.part import part
from lossbench.sweeps.shard import Part, Record, Shard, Tally, Unanswered
from lossbench.text import Dtype
from lossbench.ulp import Exact

KEPT = 2  # what so many questions come to stays in memory: shards that differ in their target follow one another


class Source(Struct, frozen=True, kw_only=True):
    """All that a process on another machine has to know of a loss: the texts of its files."""

    name: str
    spec: str
    worst: str = ""

    @classmethod
    def of(cls, loss: Loss) -> Source:
        """The loss's own."""
        path = worst.path_of(loss)
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        return cls(name=loss.name, spec=loss.source, worst=kept)


def perform(shard: Shard, source: Source) -> Record:
    """What comes of *shard*: in any process, on any machine, the same but for its seconds."""
    start = perf_counter()
    asked = _asked(shard.target)
    known = asked.environment
    try:
        found = (_searched if shard.method == "search" else _swept)(shard, loss_of(source), asked)
    except NoAnswer as refused:
        return Unanswered(shard=shard, reason=refused.reason, detail=refused.detail, seconds=perf_counter() - start)
    new = asked.environment if asked.environment is not known else None
    return replace(found, seconds=perf_counter() - start, environment=new)


def _swept(shard: Shard, loss: Loss, asked: Asked) -> Tally:
    question = _question(shard, loss)
    if question is None:
        return _tally(shard, asked, 0, shard.last - shard.first, {}, 0.0)
    asked.opened()  # untimed
    start = perf_counter()
    arrays = asked(loss, shard.dtype, question.problem.arrays, {name: shard.at[name] for name in loss.parameters})
    seconds = perf_counter() - start
    for name, count in {"value": question.evaluations, **question.gradients}.items():
        if name not in arrays or arrays[name].shape != (count,):
            shape = f"shape {arrays[name].shape}" if name in arrays else "nothing"
            raise NoAnswer("failed", f"{name}: {shape} came out; expected shape {(count,)}")
    given = question.given
    excused = declared.conventional(loss, shard.target.framework, shard.dtype, given)
    if question.bounds:
        parts = fast.parts(question.problem, question.bounds, arrays, excused, _exact)
    else:
        parts = {name: part(arrays[name], exact, excused, given) for name, exact in question.exact.items()}
    return _tally(shard, asked, question.evaluations, question.outside, parts, seconds)


def _searched(shard: Shard, loss: Loss, asked: Asked) -> Tally:
    seconds = 0.0

    def ask(arrays: Mapping[str, np.ndarray], parameters: Parameters) -> dict[str, np.ndarray]:
        nonlocal seconds
        asked.opened()  # untimed
        start = perf_counter()
        answer = asked(loss, shard.dtype, arrays, parameters)
        seconds += perf_counter() - start
        return answer

    framework = shard.target.framework
    found = search.search(
        loss, shard.dtype, framework, ask, parameters=shard.at, evaluations=shard.last, seed=shard.seed
    )
    return _tally(shard, asked, found.evaluations, 0, found.parts, seconds)


def _tally(shard: Shard, asked: Asked, evaluations: int, outside: int, parts: dict[str, Part], seconds: float) -> Tally:
    return Tally(
        shard=shard,
        versions=dict(asked.environment.versions) if asked.environment else {},
        evaluations=evaluations,
        outside=outside,
        parts=parts,
        seconds=0.0,
        asked=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Question:
    """The inputs of a shard, whoever is asked, and what must come out.

    Attributes:
        evaluations: How many inputs there are.
        outside: How many patterns are outside the domain.
        exact: Of `value` and each `gradient.<input>`, shape (n,); empty where there are bounds instead.
        bounds: Of the same, where there are so many inputs that not all are proved.
    """

    problem: Problem
    evaluations: int
    outside: int
    exact: Mapping[str, Exact]
    bounds: Mapping[str, Bounds]

    @property
    def gradients(self) -> dict[str, int]:
        """How many numbers each gradient has."""
        return {f"gradient.{name}": self.evaluations for name, one in self.problem.loss.inputs.items() if one.grad}

    @property
    def given(self) -> dict[str, np.ndarray]:
        """Every input, shape (n,), and every parameter, shape ()."""
        return _given(self.problem)


_questions: dict[str, Question | None] = {}


def _question(shard: Shard, loss: Loss) -> Question | None:
    """The shard's; None where no pattern of it is inside the domain."""
    if shard.question not in _questions:
        if len(_questions) >= KEPT:
            _questions.pop(next(iter(_questions)))
        _questions[shard.question] = _asked_of_all(shard, loss)
    return _questions[shard.question]


def _asked_of_all(shard: Shard, loss: Loss) -> Question | None:
    every = patterns.swept(shard)
    inside = patterns.inside(loss, every)
    if not inside.any():
        return None
    arrays = {name: array[inside] for name, array in every.items()}
    fixed = {name: inputs._float(value) for name, value in shard.at.items()}
    problem = inputs.problem(loss, {**fixed, **arrays}, dtype=shard.dtype, reduction="none")
    count = int(inside.sum())
    filtered = fast.pays(loss, count)
    return Question(
        problem=problem,
        evaluations=count,
        outside=len(inside) - count,
        exact={} if filtered else _exact(problem),
        bounds=fast.bounds(problem) if filtered else {},
    )


def _exact(problem: Problem) -> dict[str, Exact]:
    """What must come out, as the reference proves it."""
    loss = problem.loss
    count = problem.entries
    case = Case(loss=loss.name, digest=loss.digest, dtype=cast(Dtype, problem.dtype), points="domain", shape=(count,))
    return answers.exact(case, loss, _certified(problem), _given(problem))


def _given(problem: Problem) -> dict[str, np.ndarray]:
    return problem.arrays | {name: np.asarray(one) for name, one in problem.parameters.items()}


def _certified(problem: Problem) -> dict[str, np.ndarray]:
    """The reference's arrays; every input with a nan only once, because it takes its time with them."""
    bits = np.stack([array.astype(np.float64) for array in problem.arrays.values()])
    missing = np.asarray(np.isnan(bits).any(axis=0))
    _, first, group = np.unique(bits[:, missing].view(np.uint64), axis=1, return_index=True, return_inverse=True)
    chosen = np.concatenate([np.flatnonzero(~missing), np.flatnonzero(missing)[first]])
    back = np.empty(len(missing), int)
    back[~missing] = np.arange(len(missing) - missing.sum())
    back[missing] = len(missing) - missing.sum() + group.ravel()
    found = reference.open(REFERENCE).prepare(fast.taken(problem, chosen)).arrays()
    return {name: array[back] for name, array in found.items()}


@cache
def loss_of(source: Source) -> Loss:
    """The loss that these texts say, from files of its own."""
    folder = tempfile.TemporaryDirectory(prefix="lossbench-")
    Finalize(None, folder.cleanup, exitpriority=1)  # as atexit, but run in processes of a pool too
    path = Path(folder.name) / f"{source.name}.toml"
    path.write_text(source.spec, encoding="utf-8")
    loss = spec.load(path)
    if source.worst:
        worst.path_of(loss).parent.mkdir()
        worst.path_of(loss).write_text(source.worst, encoding="utf-8")
    return loss


_open: dict[Target, Asked] = {}


def _asked(target: Target) -> Asked:
    """This process's own worker of *target*."""
    if not _open:
        Finalize(None, release, exitpriority=1)
    return _open.setdefault(target, Asked(target))


def release() -> None:
    """End the workers of this process."""
    while _open:
        _open.popitem()[1].close()
