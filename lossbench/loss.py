"""What a spec file says of one loss, as types; its formula is parsed when it is first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from lossbench.errors import SpecError
from lossbench.formula import Formula, Graph, Kind, Node, gradient
from lossbench.formula.graph import Variable, topological
from lossbench.formula.node import described, quoted, variable_of
from lossbench.formula.parse import parse
from lossbench.lines import line_of, shown

if TYPE_CHECKING:
    import numpy as np

Family = Literal[
    "regression", "binary", "multiclass", "divergence", "embedding", "ranking", "segmentation", "sequence", "metric"
]
Domain = Literal[
    "real",  # any number
    "positive",
    "nonnegative",
    "nonzero",
    "unit",  # [0, 1]
    "sign",  # -1 or 1
    "binary",  # 0 or 1
    "logarithm",  # of a number that every dtype can hold: at most 10
    "count",  # 0, 1, 2, ...
    "simplex",  # a row of probabilities that sum to 1
    "log_simplex",  # a row of log-probabilities
    "onehot",  # a row of one 1 and zeros
    "direction",  # a row of length 1, but for rounding
    "class",  # an index of an axis, 0 .. size-1, now and then a label to be ignored
    "symbol",  # an index of an axis, but for the label parameters, such as a blank
    "length",  # how much of an axis is in use, 0 .. size
    "update",  # the number of the update that brings the element to a state: 0, 1, ..., some of them without any
    "id",  # any whole number; drawn from few, so that some are equal
]
DOMAINS: Mapping[str, tuple[Domain, ...]] = {  # those that fit an input of each kind
    "real": ("binary", "count", "logarithm", "nonnegative", "nonzero", "positive", "real", "sign", "unit"),
    "row": ("binary", "direction", "log_simplex", "nonnegative", "onehot", "positive", "real", "simplex", "unit"),
    "label": ("class", "id", "length", "symbol", "update"),
}
Reduction = Literal["none", "mean", "sum"]
Dtype = Literal["float64", "float32", "bfloat16", "float16"]
Framework = str
Number = str | int  # exact: "0.25", "1/3", "-2**-20", "1e-7", 3, "inf", "-inf", "nan", "-0"
# One, a row or a batch, a batch of rows, a batch of tables, and one level more.
Numbers = Number | list[Number | list[Number | list[Number | list[Number]]]]

BATCH = "batch"  # the axis along which a batch's entries lie
CLASS = "class"  # the axis of rows


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a spec; an unknown key in it is an error."""


class Source(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    where: str
    url: str


class Input(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`axes` name what a number or label is repeated along, beside the batch; a row is a real along "class".

    Where any input has the axis "batch" the loss is one of a whole batch: those without it are shared by its entries.
    `of` is the axis that a label indexes, or of which it is a length.
    """

    symbol: str
    kind: Literal["real", "row", "label"]
    axes: list[str] | None = None
    domain: Domain = "real"
    of: str = CLASS
    grad: bool = False
    meaning: str = ""


def axes_of(one: Input | Parameter) -> tuple[str, ...]:
    """The axes along which a number or label is repeated, the batch's among them only for losses of whole batches."""
    if one.kind == "row":
        return (CLASS,)
    return tuple(one.axes or ()) if isinstance(one, Input) else ()


class Parameter(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`values` are those that accuracy runs try beside the default; a row's may be one number for all classes."""

    symbol: str
    default: Number | list[Number]
    meaning: str
    kind: Literal["real", "row", "label"] = "real"
    domain: str = ""
    values: list[Number | list[Number]] = []


class FormulaText(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    definition: str
    divisor: str = "1"
    kernel: str | None = None
    gradient: dict[str, str] = {}


class Sizes(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the named axes are, where runs draw them: each table names every axis.

    The first of `accuracy` is that of the reference values too, which stand in the file. Those of `timing` have a
    "batch" also where the loss is one of single points.
    """

    accuracy: list[dict[str, int]] = []
    timing: list[dict[str, int]] = []


class Properties(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is claimed of the loss, over its domain, at unit sample weight; each claim is tested."""

    convex: bool | None = None  # in the differentiated inputs together
    nonnegative: bool | None = None
    even: bool | None = None  # the same when every input changes its sign
    symmetric: bool | None = None  # the same when prediction and target change places
    zero_at_fit: bool | None = None  # 0 where prediction equals target
    shift_invariant: bool | None = None  # the same when a constant is added to a whole row of predictions
    scale_invariant: bool | None = None  # the same when a row of predictions is multiplied by a positive number


class Call(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`weighted` is used where sample weights are given; without it `call` must take them, or go through `reduce`.

    For a loss of family "metric" `call` makes a fresh `state`. `update` says the state after the inputs of one update,
    or changes it where it is; `result` reads it, and `reset`, where it is changed in place, makes it fresh again.
    """

    call: str
    form: Literal["native", "composed"]
    update: str | None = None
    result: str | None = None
    reset: str | None = None
    weighted: str | None = None
    requires: str | None = None
    note: str = ""


class Callable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public function or class of a framework that is this loss, and how its users call it.

    Attributes:
        name: Its public name, `torch.nn.functional.huber_loss`.
        call: With what it needs and nothing more, `F.huber_loss(y_pred, y_true)`; names as in a framework's `call`.
        gives: What comes out of it: one number per element or row, the mean over the last axis, or over everything.
        parameters: Each parameter of the loss that it can set, as an expression over its arguments, `1 - alpha`.
        defaults: What its arguments are where they are left out; None for those that `parameters` and `when` name and
            this does not. The audit compares them with the installed signature.
        when: The condition on its arguments under which it is this loss; always where there is none.
    """

    name: str
    framework: Framework
    call: str
    gives: Literal["none", "last axis mean", "last axis sum", "mean", "batch mean", "sum"]
    parameters: dict[str, str] = {}
    defaults: dict[str, bool | int | float | str] = {}
    when: str = ""
    note: str = ""


class Twin(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric of a framework that averages this loss over batches, with sample weights: sum(w*l)/sum(w).

    Attributes:
        name: Its public name, `keras.metrics.MeanSquaredError`.
        call: Makes a fresh `state`; names as in a framework's `call`.
        update: Brings the inputs of a batch, and `sample_weight`, to the state.
        gives: What comes out, in the formula language, of the `mean`.
        result: Reads the state.
        reset: Makes the state fresh again.
    """

    name: str
    framework: Framework
    call: str
    update: str
    gives: str = "mean"
    result: str = "state.result()"
    reset: str = "state.reset_state()"
    note: str = ""


class Divergence(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `framework` gives at `when`, by its own call or by `call`, where the mathematics says otherwise.

    `region` says where else it is so: a condition of the formula language on the inputs and parameters.
    """

    framework: Framework
    when: dict[str, Numbers]
    kind: Literal["convention", "limit", "defect"]
    why: str
    dtype: Dtype = "float32"
    mode: str | None = None
    reduction: Reduction = "none"
    call: str | None = None
    value: Numbers | None = None
    gradient: Numbers | dict[str, Numbers] | None = None
    raises: str | None = None
    region: str = ""
    url: str = ""


class Edge(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must come out where it is hard.

    One element or row, or a batch where inputs are nested one level deeper. A value may be any constant expression
    of the formula language, inf, -inf or nan; a gradient also an interval "[a, b]", the subdifferential at a kink.
    """

    at: dict[str, Numbers]
    why: str
    status: Literal["required", "convention", "undefined"]
    value: Numbers
    gradient: Numbers | dict[str, Numbers] | None = None
    reduction: Reduction = "none"


class Reference(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certified value, written by `lossbench spec refresh`."""

    at: dict[str, Numbers]
    value: Numbers
    gradient: Numbers | dict[str, Numbers] = {}


class Fact(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a callable of the spec does, by topic, in a few words; written by `lossbench spec facts`."""

    callable: str
    framework: Framework
    says: dict[str, str]


RESERVED = ("sample_weight", "reduction", "reduce", "dtype")  # names that calls use beside inputs and parameters


class Text(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says, as TOML."""

    title: str
    family: Family
    summary: str
    sources: list[Source]
    inputs: dict[str, Input]
    formula_text: FormulaText = msgspec.field(name="formula")
    frameworks: dict[Framework, Call]
    absent: dict[Framework, str] = {}  # why a framework has neither a call nor a recipe
    aliases: list[str] = []
    related: list[str] = []
    parameters: dict[str, Parameter] = {}
    sizes: Sizes = Sizes()
    properties: Properties = Properties()
    callables: list[Callable] = []
    twins: list[Twin] = []
    divergences: list[Divergence] = []
    edges: list[Edge] = []
    references: list[Reference] = []
    facts: list[Fact] = []


class Loss(Text, frozen=True, kw_only=True, dict=True):
    """One loss: the mathematical function and everything that its file says of it.

    Attributes:
        name: The file's name.
        path: The file.
        source: The file's whole text.
    """

    name: str
    path: Path
    source: str

    @cached_property
    def formula(self) -> Formula:
        """The graphs of the definition, its gradients, and their forms for floating point."""
        return _formula(self)

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Every axis of the inputs, in the order in which they first appear; ("class",) for a loss of rows."""
        return tuple(dict.fromkeys(axis for one in self.inputs.values() for axis in axes_of(one)))

    @property
    def batchwise(self) -> bool:
        """Whether its one point is a whole batch."""
        return BATCH in self.axes

    @property
    def pooled(self) -> bool:
        """Whether it is one number for a whole batch, which is left as it is by every reduction."""
        return self.batchwise and not self.formula.definition.axes

    @property
    def accumulated(self) -> bool:
        """Whether frameworks keep it in a state: a mean that updates bring up to date, without gradients."""
        return self.family == "metric"

    @property
    def has_sizes(self) -> bool:
        """Whether its file says how long its axes are: runs choose that of elements and rows themselves."""
        return self.axes not in ((), (CLASS,))

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The axes of a drawn case's shape."""
        return self.axes if self.batchwise else (BATCH, *self.axes)

    def along(self, name: str) -> tuple[str, ...]:
        """The axes of the array that holds an input: the batch is the first where entries have their own."""
        own = axes_of(self.inputs[name])
        return own if self.batchwise else (BATCH, *own)

    def lengths(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """How long each axis is where these are the inputs; "batch" is always among them."""
        return {
            axis: size for name in self.inputs for axis, size in zip(self.along(name), arrays[name].shape, strict=True)
        }

    def elements(self, shape: tuple[int, ...]) -> int:
        """How many numbers the largest input of a drawn case of that shape has."""
        sizes = dict(zip(self.dimensions, shape, strict=True))
        return max(prod(sizes[axis] for axis in self.along(name)) for name in self.inputs)

    @cached_property
    def digest(self) -> str:
        """Of what is measured: inputs, parameters, formula and calls; an edited comment or edge keeps it."""
        parts = (self.inputs, self.parameters, self.formula_text, self.frameworks)
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]

    def wrong(self, key: str, reason: str) -> SpecError:
        """An error about what stands at the dotted *key* of the file."""
        return SpecError(f"{shown(self.path)}:{line_of(self.source, key)}: {reason}")


def _formula(loss: Loss) -> Formula:
    graph = Graph()
    names: dict[str, Kind | Variable] = {}
    for name, one in (loss.inputs | loss.parameters).items():
        kind = Variable("label" if one.kind == "label" else "number", axes_of(one))
        names[name] = one.kind if variable_of(one.kind) == kind else kind

    def parsed(text: str, key: str) -> Node:
        line = line_of(loss.source, f"formula.{key}")
        first = loss.source.splitlines()[line - 1] if loss.source else ""
        if first.rstrip().endswith(("""'''""", '"""')):
            line += 1
        return parse(text, names, graph, where=shown(loss.path), line=line)

    def one_number(node: Node, key: str) -> Node:
        if node.type != "number" or node.axes not in ((), (BATCH,) if loss.batchwise else ()):
            expected = f'one number, or numbers along "{BATCH}"' if loss.batchwise else "one number per element or row"
            raise loss.wrong(f"formula.{key}", f"the {key} is {described(node)}; expected {expected}")
        return node

    text = loss.formula_text
    differentiated = tuple(name for name, one in loss.inputs.items() if one.grad)
    definition = one_number(parsed(text.definition, "definition"), "definition")
    kernel = one_number(parsed(text.kernel, "kernel"), "kernel") if text.kernel else definition
    try:
        gradients = gradient(graph, definition, differentiated)
        kernel_gradients = gradient(graph, kernel, differentiated)
    except SpecError as error:
        raise loss.wrong("formula.definition", str(error)) from None
    for name, override in text.gradient.items():
        if name not in differentiated:
            options = ", ".join(differentiated)
            raise loss.wrong("formula.gradient", f"{name!r} has no gradient; expected one of: {options}")
        slope = parsed(override, f"gradient.{name}")
        axes = axes_of(loss.inputs[name])
        if slope.type != "number" or not {*slope.axes} <= {*axes}:
            expected = f"a number along {quoted(axes, 'and')}" if axes else "a real"
            raise loss.wrong(f"formula.gradient.{name}", f"the gradient is {described(slope)}; expected {expected}")
        kernel_gradients[name] = slope
    divisor = one_number(parsed(text.divisor, "divisor"), "divisor")
    for node in topological(divisor):
        if node.op == "variable" and node.value in differentiated:
            raise loss.wrong("formula.divisor", f"the divisor depends on {node.value!r}; expected no gradient in it")
    return Formula(
        graph=graph,
        names=names,
        differentiated=differentiated,
        definition=definition,
        divisor=divisor,
        gradients=gradients,
        kernel=kernel,
        kernel_gradients=kernel_gradients,
    )
