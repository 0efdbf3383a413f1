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

from lossbench.formula import Formula
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Kind, Node, number_of
from lossbench.formula.lower import lowered
from lossbench.formula.write import Writer

_FUNCTION = """
@compiled
def {name}({arguments}):
    number = {length}
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
        inputs, parameters: By name, with their kinds.
        differentiated: The inputs whose gradients are written.
    """

    inputs: Mapping[str, Kind]
    parameters: Mapping[str, Kind]
    differentiated: tuple[str, ...]

    @property
    def has_rows(self) -> bool:
        """Whether a loss is of a row of classes."""
        return "row" in self.inputs.values()


def source(formula: Formula, signature: Signature, dtype: str) -> str:
    """The text of the module for *dtype*, float32 or float64."""
    constants = Constants(dtype)
    writer = Writer(constants)
    gradients = [formula.kernel_gradients[name] for name in signature.differentiated]
    functions = [
        _function(writer, signature, "value", formula.kernel, []),
        _function(writer, signature, "value_and_gradient", formula.kernel, gradients),
    ]
    if number_of(formula.divisor) is None:
        functions.append(_function(writer, signature, "divisor", formula.divisor, []))
    used = "\n".join(functions)
    return "".join(
        [
            f'"""Written by lossbench from the formula of a loss, for {dtype}; an edit is lost."""\n\n',
            "from lossbench.kernels.compile import compiled, parallel, prange\n",
            f"from lossbench.kernels.compile import empty, {dtype} as real, float64 as wide\n",
            _imports("primitives", PRIMITIVES, used),
            _imports("sums", SUMS, used),
            "\n",
            constants.lines(used),
            used,
        ]
    )


PRIMITIVES = (
    *("maximum", "minimum", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus"),
    *("sigmoid", "xlogy", "power", "power_slope", "exp_difference", "nan_of", "weighed"),
)
SUMS = ("accumulated", "compensated", "completed", "squares", "root")


def _imports(module: str, names: Iterable[str], text: str) -> str:
    used = sorted(name for name in names if re.search(rf"\b{name}\(", text))
    return f"from lossbench.kernels.{module} import {', '.join(used)}\n" if used else ""


def _function(writer: Writer, signature: Signature, name: str, value: Node, gradients: list[Node]) -> str:
    names = {name: _identifier(name) for name in (*signature.inputs, *signature.parameters)}
    outputs = [f"gradient_{names[one]}" for one in signature.differentiated] if gradients else []
    arguments = [*names.values(), "weight", "weighted"]
    arguments += ["scale", *outputs] if gradients else []
    arguments += ["values", "write"]
    first = names[next(one for one, kind in signature.inputs.items() if kind == "row" or not signature.has_rows)]

    graph = Graph()
    factor = graph.variable("gradient factor", "real")
    roots = lowered([value, *gradients], signature.parameters)
    stores, scalars = [], []
    for one, output, slope in zip(signature.differentiated, outputs, roots[1:], strict=False):
        finished = graph.rebuild(Node("weighed", (), slope.kind), factor, slope)
        if signature.inputs[one] == "row":
            stores.append(Node("store", (finished,), "real", output))
        else:
            scalars.append((output, finished))
    body = writer.body(
        {names[one]: (one, kind) for one, kind in signature.inputs.items()},
        {names[one]: (one, kind) for one, kind in signature.parameters.items()},
        roots[0],
        factor,
        stores,
        scalars,
        f"{first}.shape[1]" if signature.has_rows else None,
    )
    text = _FUNCTION.format(name=name, arguments=", ".join(arguments), length=f"{first}.shape[0]", body=body)
    by_element = {*(names[one] for one in signature.inputs), "weight", "values", *outputs}
    sliced = [f"{one}[first:last]" if one in by_element else one for one in arguments]
    return text + _BLOCKS.format(
        name=name, arguments=", ".join(arguments), length=f"{first}.shape[0]", sliced=", ".join(sliced)
    )


def _identifier(name: str) -> str:
    """A name that means nothing else in the text."""
    taken = name in TAKEN or re.fullmatch(r"[a-z]\d*|gradient_.*|[a-z]+_\d*", name)
    return f"{name}_" if taken else name


TAKEN = {
    *PRIMITIVES,
    *SUMS,
    *("real", "wide", "empty", "compiled", "parallel", "prange", "weight", "weighted", "scale", "values", "write"),
    *("number", "classes", "size", "kept", "total", "loss", "factor", "block", "length", "sums", "first", "last"),
    *("min", "range", "abs", "value", "value_and_gradient", "divisor"),
}
