"""What a callable makes of the losses of single elements or rows: which mean or sum, over what, under whose name."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lossbench.callables import Entry
from lossbench.errors import LossbenchError
from lossbench.messages import Public
from lossbench.porting.asked import Given

Inner = Literal["none", "mean", "sum"]  # over the last axis
Outer = Literal["none", "mean", "sum"]  # over everything that is left

NAMES: Mapping[str, Outer] = {
    "auto": "mean",
    "batchmean": "mean",
    "mean": "mean",
    "mean_with_sample_weight": "mean",
    "none": "none",
    "sum": "sum",
    "sum_over_batch_size": "mean",
}
GIVES: Mapping[str, tuple[Inner, Outer]] = {
    "none": ("none", "none"),
    "last axis mean": ("mean", "none"),
    "last axis sum": ("sum", "none"),
    "mean": ("none", "mean"),
    "batch mean": ("none", "mean"),
    "sum": ("none", "sum"),
}
FUNCTIONS = {
    "torch": {"mean": "torch.mean", "sum": "torch.sum"},
    "tensorflow": {"mean": "tf.reduce_mean", "sum": "tf.reduce_sum"},
    "jax": {"mean": "jnp.mean", "sum": "jnp.sum"},
}


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What comes after the losses of single elements or rows.

    Attributes:
        inner: Over the last axis.
        outer: Over everything that is left.
        named: What the callable calls it; empty where it has no argument for it.
        by_class: Whether a mean counts each class of a row, and so is that of rows divided by their classes.
    """

    inner: Inner
    outer: Outer
    named: str = ""
    by_class: bool = False

    @property
    def whole(self) -> Outer | None:
        """The reduction of a spec's call that is the same, if one is."""
        if self.inner == "none" or self.outer == "mean" == self.inner:
            return self.outer
        return "sum" if self.inner == self.outer == "sum" else None

    @property
    def by_weight(self) -> bool:
        """Whether a weighted mean divides by the sum of the weights."""
        return self.named == "mean_with_sample_weight"

    @property
    def words(self) -> str:
        """For people."""
        if self.by_class:
            return "the mean over every class of every row"
        last = {"none": "", "mean": "the mean over the last axis", "sum": "the sum over the last axis"}[self.inner]
        if self.outer == "none":
            return last or "one number for each element or row"
        return f"the {self.outer} of {last}" if last and self.whole is None else f"the {self.outer} over everything"

    def of(self, text: str, framework: str) -> str:
        """The code that makes it of *text*, which has one number for each element or row."""
        functions = FUNCTIONS[framework]
        if self.whole is not None:
            return text if self.whole == "none" else f"{functions[self.whole]}({text})"
        rows = f"{functions[self.inner]}({text}, -1)"
        return rows if self.outer == "none" else f"{functions[self.outer]}({rows})"


def asked(entry: Entry, public: Public | None, given: Mapping[str, object]) -> Reduction:
    """The reduction of a callable with the arguments *given*.

    Raises:
        LossbenchError: No such reduction.
    """
    inner, outer = GIVES[entry.callable.gives]
    arguments = {one.name: one.default for one in public.arguments} if public else {}
    default = _name(arguments.get("reduction"))
    if "reduction" not in arguments and "reduction" not in given:
        return Reduction(inner=inner, outer=outer)
    if "reduction" in arguments and NAMES.get(default) != outer:  # it reduces something else, such as classes
        if _name(given.get("reduction", default)) != default:
            raise LossbenchError(f"{entry.name} is a known loss with reduction={default!r} only")
        return Reduction(inner=inner, outer=outer)
    if entry.name.startswith("keras.losses.") and entry.loss.axes == ():
        inner = "mean"  # a Keras class reduces what its function gives: means over the last axis
    name = _name(given.get("reduction", arguments.get("reduction", "none")))
    if given.get("reduce") is False:  # torch's old arguments, which still decide
        name = "none"
    elif given.get("size_average") is False and given.get("reduce", True) is not None:
        name = "sum"
    if entry.callable.gives == "batch mean" and name == "none":
        raise LossbenchError(f"{entry.name} with reduction='none' keeps the term of each class; expected another one")
    if name not in NAMES:
        raise LossbenchError(f"unknown reduction {name!r}; expected one of: {', '.join(sorted(NAMES))}")
    by_class = entry.callable.gives == "batch mean" and name == "mean"
    return Reduction(inner=inner, outer=NAMES[name], named=name, by_class=by_class)


def _name(value: object) -> str:
    if isinstance(value, Given):  # keras.losses.Reduction.SUM
        last = ast.parse(value.code, mode="eval").body
        return last.attr.lower() if isinstance(last, ast.Attribute) else value.code
    return "none" if value is None else str(value).lower()
