"""A formula as the text of a module of Numba functions: value, and value with gradient, each in one pass.

For every loss there are two functions, `value` and `value_and_gradient`, and `..._blocks` of each, which spreads
blocks over threads; a third, `divisor`, where the mean does not divide by the number of elements. They return sums
in float64 and write losses per element (`write`) and gradients into the arrays they are given. Losses of elements have
a function for each case instead: `..._each` writes losses, `..._weighted` takes weights. The text needs
`lossbench.kernels` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, islice

from lossbench.formula import Formula, nested
from lossbench.formula.elements import Elements
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Kind, Node, Variable, is_row, number_of, topological
from lossbench.formula.lower import lowered
from lossbench.formula.node import CLASS, SEQUENCES, variable_of
from lossbench.formula.onehot import onehot_of, picked, replaced
from lossbench.formula.write import Writer

_FUNCTION = """
@compiled
def {name}({arguments}):
{body}
"""
_BLOCKS = """
@{decorator}
def {name}_{suffix}({arguments}, length, sums):
    for block in {loop}(sums.shape[0]):
        first = block*length
        last = min(first + length, {length})
        sums[block] = {name}({sliced})
"""


_AT_ONCE = """
@compiled
def {name}_at_once({arguments}):
    number = {first}.shape[0]
    if number == 0 or number > BLOCK{unfit}:
        raise ValueError
    divisor = number * count if count else wide(1)
    return real({name}({given}) / divisor)
"""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What the functions of a module take, in order: inputs, then parameters, then outputs.

    Attributes:
        inputs, parameters: By name, with their kinds, or types and axes.
        differentiated: The inputs whose gradients are written.
    """

    inputs: Mapping[str, Kind | Variable]
    parameters: Mapping[str, Kind | Variable]
    differentiated: tuple[str, ...]

    @property
    def has_rows(self) -> bool:
        """Whether a loss is of a row of classes."""
        return "row" in self.inputs.values()


def source(formula: Formula, signature: Signature, dtype: str) -> str:
    """The text of the module for *dtype*, float32 or float64.

    What is more than elements and rows is computed in float64 and rounded where it is written.
    """
    in_nests = has_nests(formula)
    constants = Constants("float64" if in_nests else dtype)
    functions = []
    if not in_nests and not signature.has_rows:
        for case in CASES:
            functions.append(_of_elements(formula, signature, constants, "value", formula.kernel, case))
            functions.append(_of_elements(formula, signature, constants, "value_and_gradient", formula.kernel, case))
        if number_of(formula.divisor) is None:
            functions.append(_of_elements(formula, signature, constants, "divisor", formula.divisor, Case()))
    else:
        make = _in_nests if in_nests else _in_one_loop
        functions.append(make(formula, signature, constants, "value", formula.kernel, exact=dtype == "float64"))
        functions.append(
            make(formula, signature, constants, "value_and_gradient", formula.kernel, exact=dtype == "float64")
        )
        if number_of(formula.divisor) is None:
            functions.append(make(formula, signature, constants, "divisor", formula.divisor, exact=True))
    used = "\n".join(functions)
    return "".join(
        [
            f'"""Written by lossbench from the formula of a loss, for {dtype}; an edit is lost."""\n\n',
            "from lossbench.kernels.compile import boolean, compiled, integer, natural, parallel, prange\n",
            f"from lossbench.kernels.compile import empty, {constants.dtype} as real, float64 as wide\n",
            _imports("primitives", PRIMITIVES, used),
            _imports("sums", SUMS, used),
            _imports("sequences", WHOLE, used),
            _imports("streams", STREAMS, used),
            "\n",
            constants.lines(used),
            used,
        ]
    )


def at(formula: Formula, values: Mapping[str, Fraction]) -> Formula:
    """The formula with exact numbers in the place of parameters, simplified."""
    return replace(
        formula,
        names={name: kind for name, kind in formula.names.items() if name not in values},
        kernel=formula.graph.substitute(formula.kernel, values),
        divisor=formula.graph.substitute(formula.divisor, values),
        kernel_gradients={
            name: formula.graph.substitute(slope, values) for name, slope in formula.kernel_gradients.items()
        },
    )


def has_nests(formula: Formula) -> bool:
    """Whether a kernel needs more than one loop over points and their classes."""
    every = topological(formula.kernel, formula.divisor, *formula.kernel_gradients.values())
    return formula.has_tables or any(node.op in WHOLE or node.axes not in ((), CLASS) for node in every)


PRIMITIVES = (
    *("maximum", "minimum", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus"),
    *("sigmoid", "xlogy", "power", "power_slope", "exp_difference", "nan_of", "weighed"),
)
SUMS = ("accumulated", "compensated", "completed", "squares", "root", "larger", "smaller")
WHOLE = ("threshold", *SEQUENCES)
STREAMS = ("BLOCK", "LANES", "PIECE", "added", "length_of", "overlap", "put", "room", "select", "summed")


@dataclass(frozen=True)
class Case:
    """What a function of elements is asked for: each loss, or their sum; times weights, or not."""

    each: bool = False
    weighted: bool = False

    @property
    def suffix(self) -> str:
        """Behind the function's name."""
        return "_each" * self.each + "_weighted" * self.weighted


CASES = tuple(Case(each, weighted) for each in (False, True) for weighted in (False, True))


def _imports(module: str, names: Iterable[str], text: str) -> str:
    used = sorted(name for name in names if re.search(rf"\b{name}\b", text))
    return f"from lossbench.kernels.{module} import {', '.join(used)}\n" if used else ""


@dataclass(frozen=True)
class _Names:
    """What a function calls its arguments."""

    signature: Signature
    gradients: bool
    case: Case | None = None

    @property
    def given(self) -> dict[str, str]:
        """Of inputs and parameters."""
        return {name: _identifier(name) for name in (*self.signature.inputs, *self.signature.parameters)}

    @property
    def outputs(self) -> list[str]:
        return [f"gradient_{self.given[one]}" for one in self.signature.differentiated] if self.gradients else []

    @property
    def arguments(self) -> list[str]:
        gradients = ["scale", *self.outputs] if self.gradients else []
        if self.case is None:
            return [*self.given.values(), "weight", "weighted", *gradients, "values", "write"]
        weight, values = (["weight"] if self.case.weighted else []), (["values"] if self.case.each else [])
        return [*self.given.values(), *weight, *gradients, *values]

    def at_once(self, name: str) -> str:
        """A function for one block that looks at its arguments itself, and gives the sum or mean."""
        first, *others = arrays = [self.given[one] for one in self.signature.inputs]
        unfit = [f"{one}.shape[0] != number" for one in (*others, *self.outputs)]
        unfit += [f"overlap({one}, {other})" for one in self.outputs for other in arrays]
        unfit += [f"overlap({one}, {other})" for one, other in combinations(self.outputs, 2)]
        scale = ["wide(1) / divisor"] if self.gradients else []
        return _AT_ONCE.format(
            name=name,
            arguments=", ".join([*self.given.values(), "count", *self.outputs]),
            first=first,
            unfit="".join(f" or {one}" for one in unfit),
            given=", ".join([*self.given.values(), *scale, *self.outputs]),
        )

    def by_point(self, first: str, name: str, body: str) -> str:
        """The function, and two that go through blocks of points, one after the other or spread over threads.

        *first* is an array with as many entries as there are points.
        """
        every, arguments = f"{first}.shape[0]", ", ".join(self.arguments)
        sliced = {*(self.given[one] for one in self.signature.inputs), "weight", "values", *self.outputs}
        text = _FUNCTION.format(name=name, arguments=arguments, body=f"    number = {every}\n{body}")
        blocks = {
            "name": name,
            "arguments": arguments,
            "length": every,
            "sliced": ", ".join(f"{one}[first:last]" if one in sliced else one for one in self.arguments),
        }
        text += _BLOCKS.format(suffix="blocks", decorator="parallel", loop="prange", **blocks)
        return text + _BLOCKS.format(suffix="turns", decorator="compiled", loop="range", **blocks)


def _in_nests(
    formula: Formula, signature: Signature, constants: Constants, name: str, value: Node, *, exact: bool
) -> str:
    names = _Names(signature, name == "value_and_gradient")
    inputs = {one: variable_of(given) for one, given in signature.inputs.items()}
    differentiated = signature.differentiated if names.gradients else ()
    body = nested.body(formula, value, differentiated, names.given, inputs, constants, exact=exact)
    if formula.batchwise:
        return _FUNCTION.format(name=name, arguments=", ".join(names.arguments), body=body)
    return names.by_point(names.given[next(iter(inputs))], name, body)


def _of_elements(
    formula: Formula, signature: Signature, constants: Constants, name: str, value: Node, case: Case
) -> str:
    names = _Names(signature, name == "value_and_gradient", case)
    inputs = {one: names.given[one] for one in signature.inputs}
    parameters = {one: names.given[one] for one in signature.parameters}
    elements = Elements(constants, inputs, parameters, case.each, case.weighted)
    gradients = [formula.kernel_gradients[one] for one in signature.differentiated] if names.gradients else []
    body = elements.body(value, list(zip(names.outputs, gradients, strict=True)))
    text = names.by_point(next(iter(inputs.values())), f"{name}{case.suffix}", body)
    return text + (names.at_once(name) if case == Case() and name != "divisor" else "")


def _in_one_loop(
    formula: Formula, signature: Signature, constants: Constants, name: str, value: Node, *, exact: bool
) -> str:
    names = _Names(signature, name == "value_and_gradient")
    given, outputs = names.given, names.outputs
    slopes = [formula.kernel_gradients[one] for one in signature.differentiated] if names.gradients else []
    first = given[next(one for one, kind in signature.inputs.items() if kind == "row" or not signature.has_rows)]
    value, *slopes = picked(formula.graph, [value, *slopes])
    usual, special, labels = [], [], []
    for slope in slopes:
        hot = onehot_of(slope)
        apart = hot is not None and hot.args[0].op == "variable"
        labels.append(hot.args[0] if hot is not None and apart else None)
        usual.append(replaced(formula.graph, slope, hot, 0) if hot is not None and apart else slope)
        special.append(replaced(formula.graph, slope, hot, 1) if hot is not None and apart else slope)

    picks = [label for label in labels if label is not None]
    roots = selecting(lowered([value, *usual, *special, *picks], signature.parameters, by_value=True))
    loss, found = roots[0], iter(roots[1:])
    graph = Graph()
    factor = graph.variable("gradient factor", "real")
    finished = [
        graph.rebuild(Node("weighed", (), one.type, one.axes), factor, one) for one in islice(found, 2 * len(slopes))
    ]
    chosen = list(found)
    stores, patches, scalars = [], [], []
    for at, (one, output) in enumerate(zip(signature.differentiated, outputs, strict=False)):
        if signature.inputs[one] == "row":
            stores.append(Node("store", (finished[at],), "number", (), output))
            if labels[at] is not None:
                label = chosen.pop(0)
                patches.append((output, graph.pick(finished[at + len(slopes)], label)))
        else:
            scalars.append((output, finished[at]))
    body = Writer(constants).body(
        {given[one]: (one, variable_of(signature.inputs[one])) for one in signature.inputs},
        {given[one]: (one, variable_of(signature.parameters[one])) for one in signature.parameters},
        loss,
        factor,
        stores,
        patches,
        scalars,
        f"{first}.shape[1]" if signature.has_rows else None,
    )
    return names.by_point(first, name, body)


def selecting(roots: list[Node]) -> list[Node]:
    """The graphs with selects for the choices among entries of rows: a loop of vectors has no branches."""
    graph = Graph()
    new: dict[Node, Node] = {}
    for node in topological(*roots):
        args = [new[arg] for arg in node.args]
        chosen = node.op == "where" and is_row(node)
        new[node] = (
            graph.rebuild(Node("select", (), node.type, node.axes), *args) if chosen else graph.rebuild(node, *args)
        )
    return [new[root] for root in roots]


def _identifier(name: str) -> str:
    """A name that means nothing else in the text."""
    taken = name in TAKEN or re.fullmatch(r"[a-z]\d*|(gradient|length|row)_.*|[a-z]+_\d*", name)
    return f"{name}_" if taken else name


TAKEN = {
    *PRIMITIVES,
    *SUMS,
    *WHOLE,
    *STREAMS,
    *("boolean", "integer", "natural", "real", "wide", "empty", "compiled", "parallel", "prange"),
    *("weight", "weighted", "scale", "values", "write"),
    *("number", "classes", "size", "kept", "total", "loss", "factor", "block", "length", "sums", "first", "last"),
    *("error", "terms", "count", "whole", "again"),
    *("min", "range", "abs", "value", "value_and_gradient", "divisor"),
}
