"""A formula as the text of a module of Numba functions: value, and value with gradient, each in one pass.

For every loss there are two functions, `value` and `value_and_gradient`, and `..._blocks` of each, which spreads
blocks over threads; a third, `divisor`, where the mean does not divide by the number of elements. They return sums
in float64 and write losses per element (`write`) and gradients into the arrays they are given. Losses of elements have
a function for each case instead: `..._each` writes losses, `..._weighted` takes weights; see `elements`. Losses of rows
have all functions once more for rows of few classes, `..._narrow`, and `..._at_once`, which give the sum or mean
themselves; see `classwise`. The text needs `lossbench.kernels` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from lossbench.formula import Formula, Wide, classwise, nested
from lossbench.formula.elements import Elements, spread
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Kind, Node, Variable, number_of, topological
from lossbench.formula.node import CLASS, variable_of
from lossbench.formula.vocabulary import WHOLE, identifier, imports
from lossbench.formula.wide import Widened, widened

_FUNCTION = """
@compiled
def {name}({arguments}):
{body}
"""
_BLOCKS = """
@inlined
def {name}_block(block, {arguments}, length, sums):
    first = block*length
    last = min(first + length, {length})
    sums[block] = {name}({sliced})


@compiled
def {name}_turns({arguments}, length, sums):
    for block in range(sums.shape[0]):
        {name}_block(block, {arguments}, length, sums)


@compiled
def {name}_blocks(board, {arguments}, length, sums):
    distribute(board, task({name}_block, ({arguments}, length, sums)), sums.shape[0])
"""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What the functions of a module take, in order: inputs, then parameters, then outputs.

    Attributes:
        inputs, parameters: By name, with their kinds, or types and axes.
        differentiated: The inputs whose gradients are written.
        shares: The inputs from 0 to 1: sums of what is made of them may be quicker. Others are right, too.
    """

    inputs: Mapping[str, Kind | Variable]
    parameters: Mapping[str, Kind | Variable]
    differentiated: tuple[str, ...]
    shares: frozenset[str] = frozenset()

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
    wide = widened(formula) if dtype == "float32" else None
    functions = []
    if not in_nests and not signature.has_rows:
        for case in CASES:
            functions.append(_of_elements(formula, signature, constants, "value", formula.kernel, case))
            functions.append(_of_elements(formula, signature, constants, "value_and_gradient", formula.kernel, case))
        if number_of(formula.divisor) is None:
            functions.append(_of_elements(formula, signature, constants, "divisor", formula.divisor, Case()))
        functions.append(f"SPREAD = {spread(formula.kernel)}\n")
    elif not in_nests:
        for name in ("value", "value_and_gradient"):
            functions.append(_of_rows(formula, signature, constants, name, formula.kernel, wide))
        if number_of(formula.divisor) is None:
            functions.append(_of_rows(formula, signature, constants, "divisor", formula.divisor))
        functions.append(f"ALONE = {classwise.is_alone(formula, formula.kernel)}\n")
    else:
        exact = dtype == "float64"
        functions.append(_in_nests(formula, signature, constants, "value", formula.kernel, exact=exact))
        functions.append(_in_nests(formula, signature, constants, "value_and_gradient", formula.kernel, exact=exact))
        if number_of(formula.divisor) is None:
            functions.append(_in_nests(formula, signature, constants, "divisor", formula.divisor, exact=True))
    used = "\n".join(functions)
    return "".join(
        [
            f'"""Written by lossbench from the formula of a loss, for {dtype}; an edit is lost."""\n\n',
            "from lossbench.kernels.compile import boolean, compiled, integer, natural, within\n",
            f"from lossbench.kernels.compile import empty, {constants.dtype} as real, float64 as wide\n",
            imports(used),
            "\n",
            constants.lines(used),
            wide.constants.lines(used) if wide else "",
            used,
        ]
    )


def at(formula: Formula, values: Mapping[str, Fraction]) -> Formula:
    """The formula with exact numbers in the place of parameters, simplified."""
    return replace(
        formula,
        names={name: kind for name, kind in formula.names.items() if name not in values},
        definition=formula.graph.substitute(formula.definition, values),
        gradients={name: formula.graph.substitute(slope, values) for name, slope in formula.gradients.items()},
        wide=None if formula.wide is None else Wide(*(formula.graph.substitute(one, values) for one in formula.wide)),
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


@dataclass(frozen=True)
class _Names:
    """What a function calls its arguments."""

    signature: Signature
    gradients: bool

    @property
    def given(self) -> dict[str, str]:
        """Of inputs and parameters."""
        return {name: identifier(name) for name in (*self.signature.inputs, *self.signature.parameters)}

    @property
    def outputs(self) -> list[str]:
        return [f"gradient_{self.given[one]}" for one in self.signature.differentiated] if self.gradients else []

    @property
    def arguments(self) -> list[str]:
        gradients = ["scale", *self.outputs] if self.gradients else []
        return [*self.given.values(), "weight", "weighted", *gradients, "values", "write"]

    def by_point(self, first: str, name: str, body: str) -> str:
        """The function, and two that go through blocks of points, one after the other or spread over threads.

        *first* is an array with as many entries as there are points.
        """
        arguments, length = ", ".join(self.arguments), f"{first}.shape[0]"
        text = self.function(first, name, body)
        return text + _BLOCKS.format(name=name, arguments=arguments, length=length, sliced=self.sliced("[first:last]"))

    def function(self, first: str, name: str, body: str) -> str:
        """The function alone."""
        body = f"    number = {first}.shape[0]\n{body}"
        return _FUNCTION.format(name=name, arguments=", ".join(self.arguments), body=body)

    def sliced(self, points: str) -> str:
        """The arguments for the slice that is *points*."""
        some = {*(self.given[one] for one in self.signature.inputs), "weight", "values", *self.outputs}
        return ", ".join(f"{one}{points}" if one in some else one for one in self.arguments)


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
    names = _Names(signature, name == "value_and_gradient")
    inputs = {one: names.given[one] for one in signature.inputs}
    parameters = {one: names.given[one] for one in signature.parameters}
    slopes = [formula.kernel_gradients[one] for one in signature.differentiated] if names.gradients else []
    elements = Elements(constants, inputs, parameters, case.each, case.weighted)
    gradients = dict(zip(names.outputs, slopes, strict=True))
    return elements.functions(f"{name}{case.suffix}", value, gradients, "wide" if name == "divisor" else "real")


def _of_rows(
    formula: Formula,
    signature: Signature,
    constants: Constants,
    name: str,
    value: Node,
    wide: Widened | None = None,
) -> str:
    """With *wide*, rows are computed so where it holds."""
    names = _Names(signature, name == "value_and_gradient")
    inputs, parameters = (
        {one: (names.given[one], variable_of(kind)) for one, kind in given.items()}
        for given in (signature.inputs, signature.parameters)
    )
    gradients = dict(zip(signature.differentiated, names.outputs, strict=False))
    first = next(identifier for identifier, kind in inputs.values() if kind.axes)
    every = formula, value, gradients, inputs, parameters, constants, signature.shares
    bodies = [classwise.body(*every, narrow=narrow) for narrow in (False, True)]
    if bodies[0] == bodies[1]:
        return names.by_point(first, name, bodies[0])
    text = ""
    if wide:
        holds = wide.holds.gradient if names.gradients else wide.holds.value
        every = wide.formula, wide.formula.kernel, gradients, inputs, parameters, wide.constants, signature.shares
        for narrow, points in ((False, "[start + r:][:1]"), (True, "[start:][:count]")):
            careful = f"{name}{classwise.NARROW * narrow}_careful"
            text += names.function(first, careful, bodies[narrow])
            again = f"{careful}({names.sliced(points)})"
            bodies[narrow] = classwise.body(*every, narrow=narrow, holds=holds, otherwise=again)
    text += "".join(names.by_point(first, f"{name}{classwise.NARROW * at}", body) for at, body in enumerate(bodies))
    if name == "divisor":
        return text
    has_divisor = number_of(formula.divisor) is None
    alone = not names.gradients and classwise.is_alone(formula, value)
    given = names.arguments, inputs, parameters, gradients, constants, has_divisor, alone
    return text + "".join(classwise.at_once(f"{name}{classwise.NARROW * at}", *given) for at in range(2))
