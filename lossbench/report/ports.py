"""The same loss from one framework in another: every pair, as `lossbench port` writes it, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench import callables, inputs, porting
from lossbench.adapters import call
from lossbench.audit import FRAMEWORKS
from lossbench.callables import Entry
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.porting import Port, notes, proof, written
from lossbench.porting.reductions import Reduction
from lossbench.porting.source import Source

EACH = Reduction(inner="none", outer="none")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One framework's own way to the loss.

    Attributes:
        name: Of the callable; empty where the loss is composed of other operations.
        code: To copy, with its imports.
        others: What else it has for the same loss.
        ports: Into each other framework.
    """

    framework: str
    name: str
    code: str
    others: Sequence[str]
    ports: Mapping[str, Port]


def sides(loss: Loss) -> list[Side]:
    """Each framework that has the loss with its parameters as they are by default; none for a state."""
    if loss.accumulated:
        return []
    return [side for name in loss.frameworks if (side := _native(loss, name) or _composed(loss, name))]


def _native(loss: Loss, framework: str) -> Side | None:
    """From its own callable; None where the spec knows none that is the loss without arguments."""
    entries = [
        entry
        for index, one in enumerate(loss.callables)
        if one.framework == framework and not one.keeps_weights
        if callables.fits(entry := Entry(loss=loss, index=index), {})
    ]
    if not entries:
        return None
    source = Source(entries[0], None, {})
    return Side(
        framework=framework,
        name=entries[0].name,
        code=written.script(source.text, framework, source.rows, {}),
        others=[one.name for one in entries[1:]],
        ports={other: porting.drafted(source, other) for other in FRAMEWORKS if other != framework},
    )


def _composed(loss: Loss, framework: str) -> Side | None:
    """From the spec's call, one number for each element or row; None where that needs other parameters."""
    problem = inputs.draw(loss, proof.case(loss, {}, proof.CLASSES, "none"))
    if not _serves(problem, framework):
        return None
    return Side(
        framework=framework,
        name="",
        code=_code(problem, framework),
        others=[],
        ports={other: _between(problem, framework, other) for other in FRAMEWORKS if other != framework},
    )


def _between(problem: Problem, framework: str, other: str) -> Port:
    loss = problem.loss
    if not _serves(problem, other):
        own = loss.frameworks.get(other)
        told = f"{other} has this loss only where {own.requires}" if own else loss.absent.get(other, "it has no call")
        return Port(framework=other, form="absent", unexpressed=[told])
    return Port(
        framework=other,
        form=loss.frameworks[other].form,
        code=_code(problem, other),
        conventions=notes.conventions(loss, other, EACH),
        notes=notes.differences(problem, EACH, framework, other),
    )


def _serves(problem: Problem, framework: str) -> bool:
    own = problem.loss.frameworks.get(framework)
    return own is not None and (own.requires is None or call.requirement_holds(own.requires, problem))


def _code(problem: Problem, framework: str) -> str:
    rows = {name: one for name, one in problem.parameters.items() if isinstance(one, np.ndarray)}
    return written.script(written.lean(written.target(problem, framework, EACH)), framework, rows, {})
