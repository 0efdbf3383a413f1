"""The body of a kernel of a loss along named axes: of one point after the other, or of a batch that is one point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lossbench.formula import Formula
from lossbench.formula.derivative import gradient
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Node, Variable
from lossbench.formula.lower import lowered
from lossbench.formula.nests import Nests, Target, length
from lossbench.formula.node import Axes

FACTOR = "factor"  # what gradients are multiplied by
ENTRIES: Axes = ("batch",)
_COUNTED = ("if write:", "    values[i] = loss", "total = accumulated(total, loss)")


def body(
    formula: Formula,
    value: Node,
    differentiated: tuple[str, ...],
    identifiers: Mapping[str, str],
    inputs: Mapping[str, Variable],
    constants: Constants,
    *,
    exact: bool,
) -> str:
    """The statements of a function that returns the sum of *value* and writes losses and gradients.

    Args:
        formula: Whose gradients are written.
        value: The loss, or its divisor.
        differentiated: The inputs whose gradients are written; none where only the value is asked for.
        identifiers: Of inputs and parameters, in the text.
        inputs: Their types and axes, without that of the points.
        constants: All of float64.
        exact: Whether sums carry their rounding errors along.
    """
    entries = formula.batchwise and value.axes == ENTRIES
    graph = formula.graph
    factor = graph.variable(FACTOR, Variable("number", ENTRIES if entries else ()))
    slopes = formula.kernel_gradients
    if entries:  # each entry's weight belongs inside the sum over the entries
        slopes = gradient(graph, graph.mul(factor, value), differentiated)
    parameters = {name: one for name, one in formula.variables.items() if name not in inputs}
    loss, scale, *found = lowered([value, factor, *(slopes[name] for name in differentiated)], parameters)
    point = "" if formula.batchwise else "[i]"
    variables = {FACTOR: (FACTOR, Variable("number", factor.axes))}
    variables |= {name: (identifiers[name], one) for name, one in parameters.items()}
    variables |= {name: (f"{identifiers[name]}{point}", one) for name, one in inputs.items()}
    nests = Nests(constants, variables, exact)
    outputs = []
    for name, slope in zip(differentiated, found, strict=True):
        if not entries:
            slope = Graph().rebuild(Node("weighed", (), "number", slope.axes), scale, slope)
        outputs.append(Target(slope, f"gradient_{identifiers[name]}{point}", inputs[name].axes, output=True))
    nests.compute([loss], outputs)
    lines = [*_lengths(variables), *nests.empties]
    if not formula.batchwise:
        lines += _points(nests, loss, gradients=bool(differentiated))
    elif entries:
        lines += _entries(nests, loss, gradients=bool(differentiated))
    else:
        lines += [f"{FACTOR} = wide(scale)"] if differentiated else []
        lines += [*nests.lines, f"return {nests.entry(loss, '')}"]
    return "\n".join(f"    {line}" for line in lines)


def _lengths(variables: Mapping[str, tuple[str, Variable]]) -> Iterator[str]:
    """The length of every axis, read off the first array that has it."""
    seen: set[str] = set()
    for name, (identifier, variable) in variables.items():
        array, _, point = identifier.partition("[")
        for position, axis in enumerate(variable.axes):
            if axis not in seen and name != FACTOR:
                seen.add(axis)
                yield f"{length(axis)} = {array}.shape[{position + bool(point)}]"


def _points(nests: Nests, loss: Node, *, gradients: bool) -> list[str]:
    """One point after the other."""
    inside = [f"w = {_weight(nests)}", *([f"{FACTOR} = scale*w"] if gradients else []), *nests.lines]
    inside += [f"loss = weighed(w, {nests.entry(loss, '')})", *_COUNTED]
    return ["total = wide(0)", "for i in range(number):", *_indented(inside), "return total"]


def _entries(nests: Nests, loss: Node, *, gradients: bool) -> list[str]:
    """A batch whose entries have losses, and weights, of their own."""
    number = length(*ENTRIES)
    head = [f"{FACTOR} = empty({number}, wide)", f"for i in range({number}):"]
    head += _indented([f"{FACTOR}[i] = scale*{_weight(nests)}"])
    inside = [f"w = {_weight(nests)}", f"loss = weighed(w, {nests.entry(loss, 'i')})", *_COUNTED]
    lines = [*(head if gradients else []), *nests.lines]
    return [*lines, "total = wide(0)", f"for i in range({number}):", *_indented(inside), "return total"]


def _weight(nests: Nests) -> str:
    return f"(wide(weight[i]) if weighted else {nests.constants.name(1)})"


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
