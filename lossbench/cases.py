"""The cases that a suite's grids ask of one loss: its dtypes, shapes, reductions, weights, parameters and draws."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from msgspec.structs import replace

from lossbench.loss import Loss
from lossbench.points import DRIFTS, POOL, POOLS, STYLES
from lossbench.records import Case
from lossbench.suite import Accuracy, Drift, Length, Timing
from lossbench.text import Dtype, Number, Reduction
from lossbench.worst import batches

Parameters = dict[str, Number | list[Number]]


def domain(grid: Accuracy, loss: Loss) -> Iterator[Case]:
    """Those whose points are drawn over the domain of *loss*."""
    plain: list[tuple[Reduction, bool, Parameters]] = [
        (reduction, weighted, {}) for reduction, weighted in product(grid.reductions, grid.weighted)
    ]
    if loss.pooled:  # one number, whatever the reduction, and without weights
        plain = [("none", False, {})]
    if loss.accumulated:  # a mean, whose weights are an input
        plain = [("mean", False, {})]
    each = [
        (*plain[0][:2], {name: value})
        for name, parameter in loss.parameters.items()
        for value in parameter.values
        if grid.parameters == "each"
    ]
    draws = range(len(STYLES) if loss.batchwise else 1)  # a whole batch has one style
    for dtype, shape in product(grid.dtypes, _domain_shapes(grid, loss)):
        for (reduction, weighted, parameters), draw in product((*plain, *each), draws):
            yield Case(
                loss=loss.name,
                digest=loss.digest,
                dtype=dtype,
                points="domain",
                shape=shape,
                index=draw,
                reduction=reduction,
                parameters=parameters,
                weighted=weighted,
            )


def hessian(grid: Accuracy, loss: Loss) -> Iterator[Case]:
    """Those whose second derivatives are asked for: of elements and rows, without a state."""
    if not (loss.accumulated or loss.has_sizes):
        yield from domain(replace(grid, reductions=("none",), weighted=(False,)), loss)


def drift(grid: Drift, loss: Loss) -> Iterator[Case]:
    """Those that bring many updates to a state; none for a loss that is not kept in one."""
    draws = range(len(DRIFTS) if loss.accumulated else 0)
    for dtype, updates, draw in product(grid.dtypes, grid.updates, draws):
        yield Case(
            loss=loss.name,
            digest=loss.digest,
            dtype=dtype,
            points="drift",
            shape=(updates,),
            index=draw,
            reduction="mean",
        )


def length(grid: Length, loss: Loss) -> Iterator[Case]:
    """Those that add up many losses, and the pools that these are taken from; none for losses of tables and batches."""
    if loss.accumulated or loss.has_sizes or (grid.losses and loss.name not in grid.losses):
        return
    row = (grid.classes,) if loss.axes else ()
    for dtype, draw in product(grid.dtypes, range(len(POOLS))):
        case = Case(loss=loss.name, digest=loss.digest, dtype=dtype, points="length", shape=(POOL, *row), index=draw)
        yield case
        for elements, reduction in product(grid.elements, grid.reductions):
            yield replace(case, shape=(max(elements // prod(row), 1), *row), reduction=reduction)


def worst(dtype: Dtype, loss: Loss) -> Iterator[Case]:
    """The worst inputs that searches have found in *dtype*: few calls, and none where nothing is kept."""
    for index, batch in enumerate(batches(loss, dtype)):
        yield Case(
            loss=loss.name,
            digest=loss.digest,
            dtype=dtype,
            points="worst",
            shape=batch.shape,
            index=index,
            parameters=batch.parameters,
        )


def timing(grid: Timing, loss: Loss) -> Iterator[Case]:
    """Those that are timed."""
    shapes: list[tuple[int, ...]] = [(elements,) for elements in grid.elements]
    if loss.axes:
        shapes = list(grid.rows)
    if loss.has_sizes:
        shapes = [tuple(sizes[axis] for axis in loss.dimensions) for sizes in loss.sizes.timing]
    for dtype, shape in product(grid.dtypes, shapes):
        yield Case(
            loss=loss.name,
            digest=loss.digest,
            dtype=dtype,
            points="timing",
            shape=shape,
            reduction=grid.reduction,
        )


def _domain_shapes(grid: Accuracy, loss: Loss) -> list[tuple[int, ...]]:
    if not loss.axes:
        return [(grid.points,)]
    if not loss.has_sizes:
        return [(grid.points, classes) for classes in grid.classes]
    found = []
    for sizes in loss.sizes.accuracy:
        shape = tuple(sizes[axis] for axis in loss.axes)
        tables = max(grid.points // prod(shape), len(STYLES))
        found.append(shape if loss.batchwise else (tables, *shape))
    return found
