"""How far results move when inputs move: what separates an innocent error from a guilty one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.formula import Node, floats
from lossbench.formula.graph import COMPARISONS, topological
from lossbench.loss import Loss
from lossbench.text import BATCH, axes_of
from lossbench.ulp import FORMATS

STEP = 2.0**-40  # Small beside float32's spacing, so that no kink is crossed; large beside float64's.
DRAWS = 4
TOGETHER = 2**16  # numbers: as many go through the formula as fast at once as in parts


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
    return _moved(loss, given, names, roots, axes, shapes)


def curved(
    loss: Loss, inputs: Mapping[str, np.ndarray], direction: Mapping[str, np.ndarray], dtype: str
) -> dict[str, Estimate]:
    """The same of each `hessian.<input>`, the Hessian of each point times the *direction*, which moves as well.

    Where two ulps of *dtype* cross to another branch of the formula, the jump counts.
    """
    formula = loss.formula
    given = {name: array.astype(np.float64) for name, array in inputs.items() if name in formula.names}
    ways = {f"v.{name}": array.astype(np.float64) for name, array in direction.items()}
    names = [f"hessian.{name}" for name in formula.kernel_hessians]
    axes = [axes_of(loss.inputs[name]) for name in formula.kernel_hessians]
    shapes = [given[name].shape for name in formula.kernel_hessians]
    every, roots = {**given, **ways}, [*formula.kernel_hessians.values()]
    smooth = _moved(loss, every, names, roots, axes, shapes)
    jumps = _jumps(loss, every, roots, axes, shapes, 2.0 ** (2 - FORMATS[dtype].precision))
    pairs = zip(smooth.items(), jumps, strict=True)
    return {name: Estimate(one.number, np.fmax(one.moved, jump)) for (name, one), jump in pairs}


def _jumps(
    loss: Loss,
    given: Mapping[str, np.ndarray],
    roots: Sequence[Node],
    axes: Sequence[tuple[str, ...]],
    shapes: Sequence[tuple[int, ...]],
    step: float,
) -> list[np.ndarray]:
    """How far the numbers that the *roots* are move within *step*, over it, where that takes another branch."""
    branches = [node for node in topological(*roots) if node.op in COMPARISONS]
    ends = [*axes, *(node.axes for node in branches)]

    def evaluated(at: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return floats.evaluate([*roots, *branches], at, ends, loss.lengths(given))

    still = evaluated(given)
    farthest = [np.zeros(shape) for shape in shapes]
    for signs in _signs(loss, given) if branches else ():
        for side in (step, -step):
            moved = evaluated({**given, **{name: given[name] * (1.0 + side * sign) for name, sign in signs.items()}})
            taken = zip(moved[len(roots) :], still[len(roots) :], strict=True)
            crossed = np.zeros(shapes[0][0], bool)
            for there, here in taken:
                crossed |= (there != here).reshape(max(len(there), len(here)), -1).any(axis=1)
            for most, there, here in zip(farthest, moved, still, strict=False):
                with np.errstate(invalid="ignore", over="ignore"):
                    distance = np.broadcast_to(np.abs(there - here) / step, most.shape)
                most[crossed] = np.fmax(most[crossed], np.nan_to_num(distance[crossed], posinf=0.0))
    return farthest


def _moved(
    loss: Loss,
    given: Mapping[str, np.ndarray],
    names: Sequence[str],
    roots: Sequence[Node],
    axes: Sequence[tuple[str, ...]],
    shapes: Sequence[tuple[int, ...]],
) -> dict[str, Estimate]:
    """The numbers that the *roots* are, under these *names*, and how far each of them moves."""
    moved = [{name: given[name] * (1.0 + STEP * sign) for name, sign in signs.items()} for signs in _signs(loss, given)]
    still, *others = _numbers(loss, given, [{}, *moved], roots, axes, shapes)
    farthest = [np.zeros(shape) for shape in shapes]
    for numbers in others:
        for index, array in enumerate(numbers):
            with np.errstate(invalid="ignore", over="ignore"):
                distance = np.abs(array - still[index]) / STEP
            farthest[index] = np.fmax(farthest[index], distance)
    return {
        name: Estimate(number, np.nan_to_num(array, posinf=0.0))
        for name, number, array in zip(names, still, farthest, strict=True)
    }


def _numbers(
    loss: Loss,
    given: Mapping[str, np.ndarray],
    places: Sequence[Mapping[str, np.ndarray]],
    roots: Sequence[Node],
    axes: Sequence[tuple[str, ...]],
    shapes: Sequence[tuple[int, ...]],
) -> list[list[np.ndarray]]:
    """The numbers that the *roots* are at each of the *places*, which say in what they differ from *given*.

    Small batches of points that know nothing of one another go through the formula as one: its many steps take longer
    than the numbers.
    """
    points = [name for name in given if name in loss.inputs or name.startswith("v.")]
    size = sum(given[name].size for name in points)
    if loss.batchwise or loss.pooled or size * len(places) > TOGETHER:
        found = [floats.evaluate(roots, {**given, **place}, axes, loss.lengths(given)) for place in places]
        return [[np.broadcast_to(one, to) for one, to in zip(numbers, shapes, strict=True)] for numbers in found]
    every = {name: np.concatenate([place.get(name, given[name]) for place in places]) for name in points}
    together = floats.evaluate(roots, {**given, **every}, axes, loss.lengths({**given, **every}))
    stacked = [
        np.broadcast_to(one, (len(places) * to[0], *to[1:])).reshape(len(places), *to)
        for one, to in zip(together, shapes, strict=True)
    ]
    return [list(numbers) for numbers in zip(*stacked, strict=True)]


def still(loss: Loss) -> dict[str, Estimate]:
    """In place of `estimates`: numbers that are finite and do not move."""
    names = ["value", *(f"gradient.{name}" for name in loss.formula.kernel_gradients)]
    return dict.fromkeys(names, Estimate(np.zeros(()), np.zeros(())))


def divisor(loss: Loss, inputs: Mapping[str, np.ndarray], counts: np.ndarray | None = None) -> float:
    """About what the mean over the batch *inputs*, with every parameter, divides by; each as often as *counts* says."""
    given = {name: array.astype(np.float64) for name, array in inputs.items() if name in loss.formula.names}
    (terms,) = floats.evaluate([loss.formula.divisor], given, [(BATCH,) if loss.batchwise else ()])
    each = np.broadcast_to(terms, (loss.lengths(given)[BATCH],))
    return float((each if counts is None else each * counts).sum())


def _signs(loss: Loss, given: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Directions in which to move: all those of two elements, some of anything larger."""
    moving = [name for name, one in loss.inputs.items() if one.kind != "label"]
    moving += [name for name in given if name.startswith("v.")]
    random = np.random.RandomState(0)
    for draw in range(DRAWS):
        if loss.axes:
            yield {name: 2.0 * random.randint(0, 2, given[name].shape) - 1.0 for name in moving}
        elif draw < 2 ** (len(moving) - 1):
            yield {name: np.asarray(-1.0 if draw >> place & 1 else 1.0) for place, name in enumerate(moving)}
