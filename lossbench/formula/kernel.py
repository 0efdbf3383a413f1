"""A formula as the text of a module of Numba functions: value, and value with gradient, each in one pass.

For every loss there are two functions, `value` and `value_and_gradient`, and `..._blocks` of each, which spreads
blocks over threads; a third, `divisor`, where the mean does not divide by the number of elements. They return sums
in float64 and write losses per element (`write`) and gradients into the arrays they are given. The text needs
`lossbench.kernels` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lossbench.formula import Formula, nested
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Kind, Node, Variable, number_of, topological
from lossbench.formula.lower import lowered
from lossbench.formula.node import CLASS, SEQUENCES, variable_of
from lossbench.formula.write import Writer

_FUNCTION = """
@compiled
def {name}({arguments}):
{body}
"""
_BLOCKS = """
@parallel
def {name}_blocks({arguments}, length, sums):
    for block in prange(sums.shape[0]):
        first = block*length
        last = min(first + length, {length})
        sums[block] = {name}({sliced})
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
    make = _in_nests if in_nests else _in_one_loop
    functions = [
        make(formula, signature, constants, "value", formula.kernel, exact=dtype == "float64"),
        make(formula, signature, constants, "value_and_gradient", formula.kernel, exact=dtype == "float64"),
    ]
    if number_of(formula.divisor) is None:
        functions.append(make(formula, signature, constants, "divisor", formula.divisor, exact=True))
    used = "\n".join(functions)
    return "".join(
        [
            f'"""Written by lossbench from the formula of a loss, for {dtype}; an edit is lost."""\n\n',
            "from lossbench.kernels.compile import boolean, compiled, integer, parallel, prange\n",
            f"from lossbench.kernels.compile import empty, {constants.dtype} as real, float64 as wide\n",
            _imports("primitives", PRIMITIVES, used),
            _imports("sums", SUMS, used),
            _imports("sequences", WHOLE, used),
            "\n",
            constants.lines(used),
            used,
        ]
    )


def has_nests(formula: Formula) -> bool:
    """Whether a kernel needs more than one loop over points and their classes."""
    every = topological(formula.kernel, formula.divisor, *formula.kernel_gradients.values())
    return formula.has_tables or any(node.op in WHOLE or node.axes not in ((), CLASS) for node in every)


PRIMITIVES = (
    *("maximum", "minimum", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus"),
    *("sigmoid", "xlogy", "power", "power_slope", "exp_difference", "nan_of", "weighed"),
)
SUMS = ("accumulated", "compensated", "completed", "squares", "root")
WHOLE = ("threshold", *SEQUENCES)


def _imports(module: str, names: Iterable[str], text: str) -> str:
    used = sorted(name for name in names if re.search(rf"\b{name}\(", text))
    return f"from lossbench.kernels.{module} import {', '.join(used)}\n" if used else ""


@dataclass(frozen=True)
class _Names:
    """What a function calls its arguments."""

    signature: Signature
    gradients: bool

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
        return [*self.given.values(), "weight", "weighted", *gradients, "values", "write"]

    def by_point(self, first: str, name: str, body: str) -> str:
        """The function, and another that spreads blocks of points over threads; *first* has as many as there are."""
        every, arguments = f"{first}.shape[0]", ", ".join(self.arguments)
        sliced = {*(self.given[one] for one in self.signature.inputs), "weight", "values", *self.outputs}
        blocks = ", ".join(f"{one}[first:last]" if one in sliced else one for one in self.arguments)
        text = _FUNCTION.format(name=name, arguments=arguments, body=f"    number = {every}\n{body}")
        return text + _BLOCKS.format(name=name, arguments=arguments, length=every, sliced=blocks)


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


def _in_one_loop(
    formula: Formula, signature: Signature, constants: Constants, name: str, value: Node, *, exact: bool
) -> str:
    names = _Names(signature, name == "value_and_gradient")
    given, outputs = names.given, names.outputs
    gradients = [formula.kernel_gradients[one] for one in signature.differentiated] if names.gradients else []
    first = given[next(one for one, kind in signature.inputs.items() if kind == "row" or not signature.has_rows)]

    graph = Graph()
    factor = graph.variable("gradient factor", "real")
    roots = lowered([value, *gradients], signature.parameters)
    stores, scalars = [], []
    for one, output, slope in zip(signature.differentiated, outputs, roots[1:], strict=False):
        finished = graph.rebuild(Node("weighed", (), slope.type, slope.axes), factor, slope)
        if signature.inputs[one] == "row":
            stores.append(Node("store", (finished,), "number", (), output))
        else:
            scalars.append((output, finished))
    body = Writer(constants).body(
        {given[one]: (one, variable_of(signature.inputs[one])) for one in signature.inputs},
        {given[one]: (one, variable_of(signature.parameters[one])) for one in signature.parameters},
        roots[0],
        factor,
        stores,
        scalars,
        f"{first}.shape[1]" if signature.has_rows else None,
    )
    return names.by_point(first, name, body)


def _identifier(name: str) -> str:
    """A name that means nothing else in the text."""
    taken = name in TAKEN or re.fullmatch(r"[a-z]\d*|(gradient|length|row)_.*|[a-z]+_\d*", name)
    return f"{name}_" if taken else name


TAKEN = {
    *PRIMITIVES,
    *SUMS,
    *WHOLE,
    *("boolean", "integer", "real", "wide", "empty", "compiled", "parallel", "prange"),
    *("weight", "weighted", "scale", "values", "write"),
    *("number", "classes", "size", "kept", "total", "loss", "factor", "block", "length", "sums", "first", "last"),
    *("min", "range", "abs", "value", "value_and_gradient", "divisor"),
}
