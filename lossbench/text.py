"""What a spec file may say, table by table; unknown keys and values of other types are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

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


class WideText(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions on a row: where the definition and its gradient, computed in float64, are right in float32."""

    value: str
    gradient: str


class FormulaText(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    definition: str
    divisor: str = "1"
    kernel: str | None = None
    gradient: dict[str, str] = {}
    wide: WideText | msgspec.UnsetType = msgspec.UNSET  # not in the digest of losses without it


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

    `yours` in it is the function or class that `code` names, as FILE.py:NAME or package.module:NAME.
    For a loss of family "metric" `call` makes a fresh `state`. `update` says the state after the inputs of one update,
    or changes it where it is; `result` reads it, and `reset`, where it is changed in place, makes it fresh again.
    """

    call: str
    form: Literal["native", "composed"]
    code: str | None = None
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

    @property
    def keeps_weights(self) -> bool:
        """Whether it is a module with weights of its own, in whose place a call puts others."""
        return "functional_call(" in self.call


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
