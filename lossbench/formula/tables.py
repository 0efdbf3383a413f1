"""Losses whose inputs have named axes: programs of single numbers, and the numbers at which they run.

A program is the formula written out at the sizes and labels of one point, which may be a whole batch; see `unroll`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lossbench.formula import Formula
from lossbench.formula.derivative import gradient
from lossbench.formula.extended import exact
from lossbench.formula.graph import Graph, Kind, Node
from lossbench.formula.program import Program
from lossbench.formula.ties import Value
from lossbench.formula.unroll import Entries, unrolled

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A loss at given sizes and labels.

    Attributes:
        program: Of the loss, or of each entry's in a batch; their sum is what is differentiated.
        divisor: Of what the point adds to the divisor of the mean; the sum over the entries of a batch.
    """

    program: Program
    divisor: Program


def table(
    formula: Formula,
    labels: Mapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
    parameters: Mapping[str, Fraction],
    weight: np.ndarray | None = None,
    *,
    summed: bool = False,
) -> Table:
    """The loss of a point.

    Args:
        labels: Every input and parameter that is a label, along its axes.
        shapes: Of all others.
        parameters: Those that are known as exact numbers.
        weight: Of each entry of a batch; an input "sample_weight" stands for a weight of 0, and one that is infinite.
        summed: Whether the losses of a batch's entries are added up.
    """
    graph = Graph()
    given: dict[str, Entries] = {name: np.asarray(array, np.int64) for name, array in labels.items()}
    for name, shape in shapes.items():
        nodes = [graph.variable(one, "real") for one in places(name, shape)]
        given[name] = np.array([*nodes, None], object)[:-1].reshape(shape)
    given |= {name: np.array(graph.number(value), object) for name, value in parameters.items()}
    sizes = {
        axis: size
        for name, variable in formula.variables.items()
        for axis, size in zip(variable.axes, given[name].shape, strict=False)
    }
    roots = formula.definition, formula.divisor
    along = (sizes["batch"],) if formula.definition.axes else ()
    losses, shares = (np.broadcast_to(one, along).ravel().tolist() for one in unrolled(graph, roots, given, sizes))
    if weight is not None:
        losses = [_weighted(graph, *one, loss) for one, loss in zip(enumerate(weight.tolist()), losses, strict=True)]
    total = graph.over("row_sum", losses)
    moving = tuple(one for name in formula.differentiated for one in places(name, shapes[name]))
    arrays = {**shapes, **({} if weight is None else {"sample_weight": weight.shape})}
    kinds: dict[str, Kind] = dict.fromkeys((one for name in arrays for one in places(name, arrays[name])), "real")
    return Table(
        program=Program(
            graph=graph,
            kinds=kinds,
            differentiated=moving,
            definition=total,
            gradients=gradient(graph, total, moving),
            values=(total,) if summed else tuple(losses),
        ),
        divisor=Program(
            graph=graph, kinds=kinds, differentiated=(), definition=graph.over("row_sum", shares), gradients={}
        ),
    )


def point(arrays: Mapping[str, np.ndarray]) -> dict[str, Value]:
    """The number of each entry of arrays, under its name in a table's program."""
    return {
        name: exact(float(number))
        for array_name, array in arrays.items()
        for name, number in zip(places(array_name, array.shape), array.ravel().tolist(), strict=True)
    }


def places(name: str, shape: Shape) -> list[str]:
    """A name for each entry of an array: x[0, 1]."""
    return [f"{name}{list(place)}" if place else name for place in np.ndindex(shape)]


def _weighted(graph: Graph, place: int, weight: float, loss: Node) -> Node:
    # A weight of 0 is kept as one, for it leaves nan what is nan.
    ordinary = np.isfinite(weight) and weight != 0
    factor = graph.number(Fraction(weight)) if ordinary else graph.variable(f"sample_weight[{place}]", "real")
    return graph.mul(factor, loss)
