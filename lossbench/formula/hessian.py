"""Certified second derivatives: the product of each point's Hessian and a direction.

The products are forward mode over the gradient, so that all of the oracle holds for them: exact ties, limits, as many
bits as rounding needs. They exist where the gradient is finite and does not jump. Where the second derivative itself
jumps, that of one number lies between its two sides, which are the whole of Clarke's generalised one; of several
numbers no few sides tell the whole, so that nothing is said there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from flint import ctx

from lossbench.formula import Formula
from lossbench.formula.batch import CHUNK, Batch
from lossbench.formula.enclosure import Enclosure
from lossbench.formula.extended import ONE
from lossbench.formula.oracle import Found


def certify(
    formula: Formula,
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, float | int | np.ndarray],
    direction: Mapping[str, np.ndarray],
) -> dict[str, Enclosure]:
    """The Hessian of each point's loss by all differentiated inputs, times the direction there.

    Args:
        formula: Of an element or a row; not of a whole batch.
        arrays, parameters: As `oracle.certify` takes them.
        direction: By each differentiated input, in its shape.

    Returns:
        By each differentiated input, in its shape; nan where there is no second derivative.
    """
    kept = ctx.prec
    try:
        slopes = _found(Batch(formula, arrays, parameters, None))
        names = {**formula.names, **{f"v.{name}": formula.names[name] for name in formula.differentiated}}
        along = {f"v.{name}": direction[name] for name in formula.differentiated}
        curves = _found(Batch(replace(formula, names=names), {**arrays, **along}, parameters, None, second=True))
    finally:
        ctx.prec = kept
    missing = np.zeros(len(next(iter(arrays.values()))), bool)
    for name, one in slopes.gradients().items():
        unsure = ~np.isfinite(one.high) | np.isinf(one.radius)
        missing |= unsure.any(axis=tuple(range(1, unsure.ndim)))
        missing[list(slopes.vertices[name])] = True
    found = curves.gradients()
    if len(found) > 1 or next(iter(found.values())).high.ndim > 1:
        for vertices in curves.vertices.values():
            missing[list(vertices)] = True
    return {name: _without(one, missing) for name, one in found.items()}


def _found(batch: Batch) -> Found:
    found = Found(batch)
    for start in range(0, batch.size, CHUNK):
        found.add(start, ONE, with_gradient=True)
    return found


def _without(of: Enclosure, missing: np.ndarray) -> Enclosure:
    """*of* with nan at the *missing* points."""
    at = missing.reshape(-1, *[1] * (of.high.ndim - 1))
    high, lower, upper = (np.where(at, np.nan, one) for one in (of.high, of.lower, of.upper))
    low, radius = (np.where(at, 0.0, one) for one in (of.low, of.radius))
    return Enclosure(high=high, low=low, radius=radius, lower=lower, upper=upper)
