"""Where an error says nothing of a target: at conventions of the spec, and where the rounding of inputs explains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lossbench import declared, inputs
from lossbench.formula import floats
from lossbench.loss import Loss
from lossbench.text import BATCH, Numbers
from lossbench.ulp import FORMATS

DRAWS = 8  # directions in which inputs move, each with its opposite
MOVED = 4.0  # units in the last place by which they move


def conventional(loss: Loss, framework: str, dtype: str, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which points of the batch *given* stand where the spec declares that there is more than one answer, or have only
    entries that such a point has, all zeros for instance, whatever its length: shape (n,), or (1,) for a whole batch.
    """
    found = declared.conventional(loss, framework, dtype, given)
    names = [name for name, one in loss.inputs.items() if one.kind != "label"]
    if not loss.axes or len(names) < len(loss.inputs) or len({given[name].shape for name in names}) > 1:
        return found
    columns = np.stack([given[name].reshape(len(found), -1) for name in names], axis=-1)
    for at in _declared(loss, framework):
        point = inputs.of_point(loss, at, dtype, "none")
        same = all(np.array_equal(np.unique(given[name]), np.unique(value)) for name, value in point.parameters.items())
        entries = np.unique(np.stack([point.arrays[name].ravel() for name in names], axis=-1), axis=0)
        if same and len(entries):
            hits = np.stack([(columns == one).all(axis=-1) for one in entries])
            found = found | (hits.any(axis=0).all(axis=-1) & hits.any(axis=-1).all(axis=0))
    return found


def _declared(loss: Loss, framework: str) -> Iterator[Mapping[str, Numbers]]:
    for edge in loss.edges:
        if edge.status != "required":
            yield edge.at
    for one in loss.divergences:
        if one.framework == framework and one.kind != "defect" and one.call is None:
            yield one.when


def moved(loss: Loss, dtype: str, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How far `value` and each `gradient.<input>` move, by their largest entry, when inputs move by a few units in the
    last place, each up or down: shape (n,), or (1,) for a whole batch.

    Beside a condition number, which looks at steps too small to cross anything, this tells an innocent error at a jump
    of the gradient, or where a margin is just missed: no sum of rounded numbers tells on which side of it they are.
    """
    formula, sizes = loss.formula, loss.lengths(given)
    count = 1 if loss.batchwise else sizes[BATCH]
    names = ["value", *(f"gradient.{name}" for name in formula.kernel_gradients)]
    roots = [formula.kernel, *formula.kernel_gradients.values()]
    numbers = {name: array.astype(np.float64) for name, array in given.items() if name in formula.names}
    moving = [name for name, one in loss.inputs.items() if one.kind != "label" and name in numbers]
    step = MOVED * np.ldexp(1.0, 1 - FORMATS[dtype].precision)

    def at(there: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        found = floats.evaluate(roots, there, sizes=sizes)
        return [one.reshape(1 if loss.batchwise else len(one), -1) for one in map(np.asarray, found)]

    still = at(numbers)
    farthest = [np.zeros(count) for _ in names]
    random = np.random.RandomState(0)
    for _ in range(DRAWS):
        signs = {name: 2.0 * random.randint(0, 2, numbers[name].shape) - 1.0 for name in moving}
        for way in (step, -step):
            there = at(numbers | {name: numbers[name] * (1.0 + way * sign) for name, sign in signs.items()})
            for index, array in enumerate(there):
                with np.errstate(invalid="ignore", over="ignore"):
                    distance = np.nan_to_num(np.abs(array - still[index]), posinf=0.0).max(axis=1)
                farthest[index] = np.maximum(farthest[index], distance)
    return dict(zip(names, farthest, strict=True))
