"""The proof of a port: both sides run on the same inputs, and beside the certified result."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lossbench import callables, declared
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.porting.recipe import Gap, Proof, Status
from lossbench.porting.reductions import Reduction
from lossbench.records import Case
from lossbench.text import BATCH, CLASS, Number
from lossbench.text import Reduction as LossReduction

TABLE = (4, 3)  # Elements are given as a table: its last axis is what some callables reduce.
ROWS, CLASSES = 6, 4
NEAR = 1e-8

Arrays = Mapping[str, np.ndarray]


def case(loss: Loss, parameters: Mapping[str, Number | list[Number]], classes: int, outer: LossReduction) -> Case:
    """Where a proof draws its points: ordinary ones, few."""
    if loss.has_sizes:
        sizes: Mapping[str, int] = {BATCH: ROWS, **loss.sizes.accuracy[0]}
    else:
        sizes = {BATCH: ROWS if loss.axes else TABLE[0] * TABLE[1], CLASS: classes}
    return Case(
        loss=loss.name,
        digest=loss.digest,
        dtype="float64",
        points="timing",
        shape=tuple(sizes[axis] for axis in loss.dimensions),
        reduction=outer,
        parameters=dict(parameters),
    )


def certified(problem: Problem, reduction: Reduction) -> Arrays:
    """Value and gradients that are proved, reduced as *reduction* says."""
    found = problem.certified()
    names = [name for name, one in problem.loss.inputs.items() if one.grad]
    value = found.value.high
    gradient = {f"gradient.{name}": found.gradient[name].high for name in names}
    if reduction.by_class:
        classes = next(one.shape[-1] for one in problem.arrays.values() if one.ndim == 2)
        return {name: one / classes for name, one in {"value": value, **gradient}.items()}
    if reduction.whole is not None:
        return {"value": value, **gradient}
    rows, columns = TABLE
    table = value.reshape(TABLE)
    inner = table.mean(axis=1) if reduction.inner == "mean" else table.sum(axis=1)
    factor = (1 / columns if reduction.inner == "mean" else 1) * (1 / rows if reduction.outer == "mean" else 1)
    outer = {"none": inner, "mean": inner.mean(), "sum": inner.sum()}[reduction.outer]
    return {"value": np.asarray(outer), **{name: one * factor for name, one in gradient.items()}}


def judged(
    problem: Problem, frameworks: tuple[str, str], source: Arrays, target: Arrays, exact: Arrays, name: str = ""
) -> Proof:
    """How far the two sides are apart, and whether that is expected.

    Args:
        problem: The points.
        frameworks: Of the source and the target.
        source: What the source gave.
        target: What the target gave.
        exact: What is certified.
        name: The source's public name; a divergence may be of it alone.
    """
    between, of_source, of_target = (
        {name: _gap(one[name], other[name], exact[name]) for name in exact}
        for one, other in ((source, target), (source, exact), (target, exact))
    )
    near = all(gap.relative <= NEAR for gap in between.values())
    status: Status = "equal" if near else "differs as declared" if _declared(problem, frameworks, name) else "failed"
    return Proof(points=problem.entries, status=status, between=between, source=of_source, target=of_target)


def explained(one: Proof, extra: Mapping[str, object], source: Arrays, target: Arrays, exact: Arrays) -> Proof:
    """*one*, or where the sides differ no more as soon as the source gets the arguments *extra*, that it is so."""
    if one.status == "equal" or not all(
        _gap(source[name], target[name], exact[name]).relative <= NEAR for name in exact
    ):
        return one
    told = ", ".join(f"{name}={value}" for name, value in extra.items())
    words = f"the source differs from the loss by its default; with {told} both are equal to {NEAR:g}"
    return replace(one, status="differs as declared", words=words)


def failed(problem: Problem, words: str) -> Proof:
    """A proof that a framework refused, in its *words*."""
    return Proof(points=problem.entries, status="failed", between={}, source={}, target={}, words=words)


def _declared(problem: Problem, frameworks: tuple[str, str], name: str) -> bool:
    """Whether the spec declares that one of the two, or the callable *name*, differs at one of the points."""
    loss = problem.loss
    given = problem.arrays | {key: np.asarray(value) for key, value in problem.parameters.items()}
    if any(declared.inside_any(loss, framework, given).any() for framework in frameworks):
        return True
    own = [one for one in loss.divergences if one.call and one.region and name and _calls(one.call, name)]
    return any(declared.inside(loss, one.region, given).any() for one in own)


def _calls(text: str, name: str) -> bool:
    """Whether the callable *name* is called in *text*."""
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(text.strip())) if isinstance(node, ast.Call)}
    return name in {callables.canonical(one) for one in called}


def _gap(one: np.ndarray, other: np.ndarray, exact: np.ndarray) -> Gap:
    first, second, true = (np.asarray(array, np.float64).ravel() for array in (one, other, exact))
    if not first.size == second.size == true.size:
        return Gap(ulps=float("inf"), relative=float("inf"))
    apart = np.abs(first - second)
    apart[(first == second) | (np.isnan(first) & np.isnan(second))] = 0
    if not apart.size or not apart.any():
        return Gap(ulps=0.0, relative=0.0)
    finite = np.abs(true[np.isfinite(true)])
    largest = finite.max() if finite.size and finite.any() else 1.0
    apart = np.where(np.isnan(apart), np.inf, apart)
    with np.errstate(invalid="ignore"):
        unit = np.spacing(np.where(np.isfinite(true), np.abs(true), largest))
    return Gap(ulps=float((apart / unit).max()), relative=float(apart.max() / largest))
