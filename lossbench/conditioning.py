"""How far results move when inputs move: what separates an innocent error from a guilty one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lossbench.formula import floats
from lossbench.loss import Loss
from lossbench.text import BATCH, axes_of

STEP = 2.0**-40  # Small beside float32's spacing, so that no kink is crossed; large beside float64's.
DRAWS = 4


@dataclass(frozen=True)
class Estimate:
    """A number about, and how far it moves when every input moves by its own size."""

    number: np.ndarray
    moved: np.ndarray


def estimates(loss: Loss, inputs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Of `value` and of each `gradient.<input>`.

    How far they move is, for elements, the sum of abs(x*d) over the inputs x, where d is the derivative by x; else an
    estimate of it, from a few draws of signs. It needs no proof: an error is weighed by it, not measured.

    Args:
        loss: Of one element, row, table or batch, without weights or reduction.
        inputs: Every input and parameter.

    Source:
        Kenney, Laub, Small-Sample Statistical Condition Estimates for General Matrix Functions, SIAM J. Sci. Comput. 15
        (1994).
    """
    formula = loss.formula
    names = ["value", *(f"gradient.{name}" for name in formula.kernel_gradients)]
    roots = [formula.kernel, *formula.kernel_gradients.values()]
    given = {name: array.astype(np.float64) for name, array in inputs.items() if name in formula.names}
    axes: list[tuple[str, ...]] = [(BATCH,) if loss.batchwise and not loss.pooled else ()]
    axes += [axes_of(loss.inputs[name]) for name in formula.kernel_gradients]
    shapes = [() if loss.pooled else (loss.lengths(given)[BATCH],)]
    shapes += [given[name].shape for name in formula.kernel_gradients]

    def numbers(at: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        found = floats.evaluate(roots, at, axes, loss.lengths(given))
        return [np.broadcast_to(array, shape) for array, shape in zip(found, shapes, strict=True)]

    still = numbers(given)
    farthest = [np.zeros(shape) for shape in shapes]
    for signs in _signs(loss, given):
        there = given | {name: given[name] * (1.0 + STEP * sign) for name, sign in signs.items()}
        for index, array in enumerate(numbers(there)):
            with np.errstate(invalid="ignore", over="ignore"):
                distance = np.abs(array - still[index]) / STEP
            farthest[index] = np.fmax(farthest[index], distance)
    return {
        name: Estimate(number, np.nan_to_num(array, posinf=0.0))
        for name, number, array in zip(names, still, farthest, strict=True)
    }


def still(loss: Loss) -> dict[str, Estimate]:
    """In place of `estimates`: numbers that are finite and do not move."""
    names = ["value", *(f"gradient.{name}" for name in loss.formula.kernel_gradients)]
    return dict.fromkeys(names, Estimate(np.zeros(()), np.zeros(())))


def divisor(loss: Loss, inputs: Mapping[str, np.ndarray]) -> float:
    """About what the mean over the batch *inputs*, with every parameter, divides by."""
    given = {name: array.astype(np.float64) for name, array in inputs.items() if name in loss.formula.names}
    (terms,) = floats.evaluate([loss.formula.divisor], given, [(BATCH,) if loss.batchwise else ()])
    return float(np.broadcast_to(terms, (loss.lengths(given)[BATCH],)).sum())


def _signs(loss: Loss, given: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Directions in which to move: all those of two elements, some of anything larger."""
    moving = [name for name, one in loss.inputs.items() if one.kind != "label"]
    random = np.random.RandomState(0)
    for draw in range(DRAWS):
        if loss.axes:
            yield {name: 2.0 * random.randint(0, 2, given[name].shape) - 1.0 for name in moving}
        elif draw < 2 ** (len(moving) - 1):
            yield {name: np.asarray(-1.0 if draw >> place & 1 else 1.0) for place, name in enumerate(moving)}
