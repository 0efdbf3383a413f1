"""The same loss elsewhere: a callable of one framework as code of another, with the proof that both agree."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lossbench import callables, plan, spec, workers
from lossbench.adapters import call
from lossbench.arrays import Arrays
from lossbench.audit import FRAMEWORKS
from lossbench.errors import LossbenchError
from lossbench.messages import Public, Survey, Surveyed, Tried, Try
from lossbench.porting import asked, layout, notes, proof, reading, written
from lossbench.porting.recipe import Gap, Port, Proof, Recipe
from lossbench.porting.source import Source, chosen
from lossbench.records import Target
from lossbench.workers import Worker

__all__ = ["Gap", "Port", "Proof", "Recipe", "drafted", "port"]

ALIASES = {"keras": "tensorflow", "optax": "jax", "pytorch": "torch", "tf": "tensorflow"}


@dataclass(frozen=True, kw_only=True)
class _Side:
    """What one framework gave: arrays, its own words, or why it was not asked."""

    arrays: proof.Arrays
    failed: str = ""
    missing: str = ""


def port(text: str, to: str | Sequence[str] = "all", *, loss: str | None = None) -> Recipe:
    """The loss that a callable is, in other frameworks; proved by running both sides, each in a process of its own.

    Args:
        text: A public name, an old one, or a call: `keras.losses.Huber(delta=2.0, reduction='sum')`. It is not run.
        to: Frameworks; all but the callable's own by default.
        loss: Which, where the callable is several for different inputs.

    Raises:
        LossbenchError: Nothing is called so, or its arguments do not fit; says what is close.
    """
    entries = callables.entries(spec.load_all())
    wanted = asked.named(asked.read(text), entries)
    claims = entries[wanted.name]
    framework = claims[0].callable.framework
    targets = _targets(to, framework)
    with tempfile.TemporaryDirectory(prefix="lossbench-") as name:
        folder = Path(name)
        with workers.opened(_target(framework), folder) as worker:
            public = _public(worker, wanted.name)
            given = asked.bound(wanted, public)
            entry, also = chosen(claims, given, loss)
            source = Source(entry, public, given)
            here = _tried(worker, source, source.runs, folder)
            plainer = _tried(worker, source, source.plainer, folder) if source.plainer else None
        with ThreadPoolExecutor(2) as pool:
            ports = list(pool.map(lambda one: _port(source, one, here, plainer, folder), targets))
    return Recipe(
        asked=text,
        name=wanted.name,
        framework=framework,
        loss=entry.loss.name,
        title=entry.loss.title,
        parameters={
            name: source.data.get(name, value.tolist() if isinstance(value, np.ndarray) else value)
            for name, value in source.problem.parameters.items()
        },
        takes=reading.own_names(entry, public),
        gives=source.reduction.words,
        code=written.script(source.text, framework, source.rows, {}),
        also=also,
        notes=[one for one in (wanted.note, entry.callable.note, *source.ignored) if one],
        ports=ports,
    )


def _targets(to: str | Sequence[str], own: str) -> list[str]:
    names = [ALIASES.get(one, one) for one in ([to] if isinstance(to, str) else to)]
    if names == ["all"]:
        return [name for name in FRAMEWORKS if name != own]
    for name in names:
        if name not in FRAMEWORKS:
            options = ", ".join(sorted({*FRAMEWORKS, *ALIASES, "all"}))
            raise LossbenchError(f"unknown framework {name!r}; expected one of: {options}")
    return list(dict.fromkeys(names))


def _target(framework: str) -> Target:
    return Target(framework=framework, mode=plan.modes(framework)[0])


def _public(worker: Worker | str, name: str) -> Public | None:
    """The callable as it is installed; None where the framework is not there.

    Raises:
        LossbenchError: The framework is there, and has no such callable.
    """
    if isinstance(worker, str):
        return None
    found = {one.name: one for one in worker.ask(Survey(), Surveyed).callables}
    if name not in found:
        versions = ", ".join(f"{package} {version}" for package, version in worker.versions.items())
        raise LossbenchError(f"{name} is not in what is installed here ({versions}); expected a version that has it")
    return found[name]


def _tried(worker: Worker | str, source: Source, text: str, folder: Path) -> _Side:
    if isinstance(worker, str):
        return _Side(arrays={}, missing=worker)
    found = worker.ask(Try(path=str(source.loss.path), case=source.case, call=text), Tried)
    arrays = Arrays(folder / "arrays")
    return _Side(arrays={name: arrays.get(key) for name, key in found.arrays.items()}, failed=found.failed)


def drafted(source: Source, framework: str) -> Port:
    """The same loss in *framework*, not run."""
    loss, own = source.loss, source.loss.frameworks.get(framework)
    if own is None:
        return Port(
            framework=framework, form="absent", unexpressed=[loss.absent.get(framework, "its spec has no call")]
        )
    if own.requires is not None and not call.requirement_holds(own.requires, source.problem):
        told = f"{framework} has this loss only where {own.requires}"
        return Port(framework=framework, form="absent", unexpressed=[told], notes=[own.note] if own.note else [])
    text = written.target(source.problem, framework, source.reduction)
    weighted = written.target(source.weighted, framework, source.reduction) if source.weighted else ""
    before, conversions = notes.conversions(source.entry, source.public, framework, text)
    return Port(
        framework=framework,
        form=own.form,
        code=written.script(written.lean(text), framework, source.rows, before),
        weighted=layout.folded(written.lean(weighted)) if weighted else "",
        conversions=conversions,
        conventions=notes.conventions(loss, framework, source.reduction),
        notes=notes.differences(source.problem, source.reduction, source.framework, framework),
    )


def _port(source: Source, framework: str, here: _Side, plainer: _Side | None, folder: Path) -> Port:
    found = drafted(source, framework)
    if not found.code:
        return found
    if here.missing:
        return replace(found, unproved=f"{source.framework}: {here.missing}")
    text = written.target(source.problem, framework, source.reduction)
    with workers.opened(_target(framework), folder) as worker:
        there = _tried(worker, source, written.tabled(text, source.loss, framework, proof.TABLE), folder)
    if there.missing:
        return replace(found, unproved=f"{framework}: {there.missing}")
    words = "; ".join(side.failed for side in (here, there) if side.failed)
    if words:
        return replace(found, proof=proof.failed(source.problem, words))
    both = (source.framework, framework)
    exact = proof.certified(source.problem, source.reduction)
    judged = proof.judged(source.problem, both, here.arrays, there.arrays, exact, source.entry.name)
    if plainer is not None and plainer.arrays:
        judged = proof.explained(judged, source.extra, plainer.arrays, there.arrays, exact)
    return replace(found, proof=judged)
