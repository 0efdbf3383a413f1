"""How one's own loss is called and what it gives: found out by a few ordinary points, each guess said."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

import numpy as np

from lossbench.checking.reading import Binding, bindings, call
from lossbench.checking.subject import Subject, drawn
from lossbench.checking.ways import Way, ways
from lossbench.errors import LossbenchError
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import Inspected
from lossbench.spec import exact
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Reduction

COUNT = 6  # points: unlike any number of classes
NEAR = 1e-2  # relative
TRUTH = {"True": "1", "False": "0"}
SUMS = {
    "torch": "torch.sum({}, -1)",
    "tensorflow": "tf.reduce_sum({}, -1)",
    "jax": "jnp.sum({}, -1)",
    "numpy": "np.sum({}, -1)",
}
Gives = Literal["none", "entries", "mean", "sum"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A way of calling that gives numbers of the right shape.

    Attributes:
        call: As a spec has it, for one number per element or row, or for one of the whole batch.
        weighted: Likewise with sample weights; empty where it takes none.
        gives: One number per element or row ("none"), one per class of each ("entries"), their mean or sum; a loss that
            is asked for its reduction gives "none".
        way: What becomes of inputs before they go in.
        parameters: Those at which it is examined: as said, else its own defaults, else the loss's.
        apart: The largest relative distance from the certified values at ordinary points; inf where one is missing.
        shape: Of what comes out of `COUNT` elements or rows.
        assumed: As sentences.
    """

    binding: Binding
    call: str
    weighted: str = ""
    gives: Gives | Literal[""] = "none"
    way: Way = field(default_factory=Way)
    parameters: Mapping[str, str] = field(default_factory=dict)
    apart: float = inf
    shape: tuple[int, ...] = ()
    assumed: tuple[str, ...] = field(default_factory=tuple)

    @property
    def reduction(self) -> Reduction:
        """What comes out of it."""
        return self.gives if self.gives in ("mean", "sum") else "none"

    @property
    def plain(self) -> str:
        """The call with nothing around it."""
        return call(self.binding, self.way.given)

    @property
    def whole(self) -> bool:
        """Whether one number comes out for the whole batch, whatever is asked for."""
        return self.gives in ("mean", "sum")


class Misfit(LossbenchError):
    """It gives no numbers at all, or, `misshapen`, some that cannot be those of the loss."""

    def __init__(self, reason: str, *, misshapen: bool = False) -> None:
        super().__init__(reason)
        self.misshapen = misshapen


def fit(
    subject: Subject,
    found: Inspected,
    told: Mapping[str, str],
    parameters: Mapping[str, str],
    reduction: Reduction | None = None,
) -> Fit:
    """The way of calling whose numbers come nearest to the loss's.

    Args:
        subject: Whose worker is asked.
        found: What it takes.
        told: Arguments that are known, by input or parameter.
        parameters: Exact numbers; those left out take its own defaults, else the spec's. A name that is no parameter
            of the loss is an argument of its own.
        reduction: What it gives, where that is known.

    Raises:
        Misfit: Every way ends in an error, or in numbers of no fitting shape.
        LossbenchError: Its arguments cannot be filled.
    """
    loss = subject.loss
    settings = {name: text for name, text in parameters.items() if name not in loss.parameters}
    said = {name: TRUTH.get(text, text) for name, text in parameters.items() if name in loss.parameters}
    tried: list[Fit] = []
    refused: list[NoAnswer] = []
    for way in ways(loss, subject.framework):
        for binding in bindings(loss, found, told, {name: _literal(text) for name, text in settings.items()}):
            for variant in _variants(loss, binding, said):
                _try(subject, variant, way, reduction, tried, refused)
            if any(one.apart <= NEAR for one in tried):
                break
        if any(one.apart <= NEAR and (way.column or loss.axes or not one.whole) for one in tried):
            break
    fitting = [one for one in tried if one.gives]
    if not fitting:
        shapes = ", ".join(dict.fromkeys(str(one.shape) for one in tried))
        if shapes:
            reason = f"of {COUNT} elements or rows it gives the shape {shapes}; expected ({COUNT},) or one number"
            raise Misfit(reason, misshapen=True)
        own = refused[0] if refused else None
        raise Misfit((own.detail if own.reason == "unsupported" else str(own)) if own else "it could not be called")
    # One number per element tells more than one for all; of equals the first, which names speak for.
    return min(fitting, key=lambda one: (one.apart > NEAR, one.whole, one.apart if one.apart > NEAR else 0.0))


def _variants(loss: Loss, binding: Binding, said: Mapping[str, str]) -> Iterator[tuple[Binding, Mapping[str, str]]]:
    """With its own defaults; then, where a default is None, with the loss's in its place."""
    own = {one.name: one for one in (*binding.of.called, *binding.of.arguments)}
    defaults, unsaid, assumed = dict(said), [], []
    for name, argument in binding.parameters.items():
        default = own[argument].default
        if name in said or own[argument].required:
            continue
        if isinstance(default, (bool, int, float)) and not isinstance(loss.parameters[name].default, list):
            defaults[name] = _text(default)
            if exact(defaults[name]) != exact(str(loss.parameters[name].default)):
                assumed.append(f"{name} = {defaults[name]}, its own default")
        else:
            unsaid.append(name)
    kept = {name: one for name, one in binding.parameters.items() if name not in unsaid}
    words = (*binding.assumed, *assumed)
    if not unsaid:
        yield replace(binding, assumed=words), defaults
        return
    told = ", ".join(f"`{binding.parameters[name]}`" for name in unsaid)
    yield replace(binding, parameters=kept, assumed=(*words, f"{told} left at None")), defaults
    passed = ", ".join(f"{name} = {loss.parameters[name].default}" for name in unsaid)
    yield replace(binding, assumed=(*words, f"{passed}, the loss's own default")), defaults


def _try(
    subject: Subject,
    variant: tuple[Binding, Mapping[str, str]],
    way: Way,
    reduction: Reduction | None,
    tried: list[Fit],
    refused: list[NoAnswer],
) -> None:
    """Call it once, and keep what came out.

    Raises:
        Misfit: It hangs, or ends its process.
    """
    binding, parameters = variant
    problem = drawn(subject.loss, "timing", "float32", COUNT, parameters)
    try:
        numbers = subject.ask(call(binding, way.given), problem)
    except NoAnswer as error:
        if error.reason in ("crashed", "timed out"):
            raise Misfit(str(error)) from None
        refused.append(error)
        return
    tried.append(_read(subject, binding, way, problem, parameters, numbers["value"], reduction))


def _read(
    subject: Subject,
    binding: Binding,
    way: Way,
    problem: Problem,
    parameters: Mapping[str, str],
    value: np.ndarray,
    reduction: Reduction | None,
) -> Fit:
    gives: Gives | Literal[""]
    text = call(binding, way.given)
    entries = next((one.shape for one in problem.arrays.values() if one.ndim == 2), None)
    apart = {one: _apart(problem, value, one) for one in ("none", "mean", "sum")}
    if value.size == COUNT and (value.ndim == 1 or value.shape[1:] == (1,) * (value.ndim - 1)):
        gives = "none"
    elif value.shape == entries:
        if binding.reduction:  # its own mean and sum are over the classes too
            binding = replace(binding, settings={**binding.settings, binding.reduction: "'none'"}, reduction=None)
            text = call(binding, way.given)
        gives, text = "entries", SUMS[subject.framework].format(text)
        apart["entries"] = _apart(problem, value.sum(axis=-1), "none")
    elif value.size == 1:
        gives = reduction or ("sum" if apart["sum"] < apart["mean"] else "mean")
    else:
        gives = ""
    assumed = [*binding.assumed, *([way.assumed] if way.assumed else [])]
    if gives in ("mean", "sum") and reduction is None:
        assumed.append(f"one number for the whole batch is the {gives} over it")
    if gives == "entries":
        assumed.append("one number for each class: their sum is the loss of a row")
    if gives in ("none", "entries") and not binding.reduction:
        text = f"reduce({text})"
    return Fit(
        binding=binding,
        call=text,
        weighted=call(binding, way.given, weighted=True) if binding.weight else "",
        gives=gives,
        way=way,
        parameters=parameters,
        apart=apart.get(gives, inf),
        shape=value.shape,
        assumed=tuple(assumed),
    )


def _text(value: bool | int | float) -> str:
    return repr(int(value)) if isinstance(value, bool) or float(value).is_integer() else repr(value)


def _literal(text: str) -> str:
    """What an argument of its own gets: a number, True, False or None as they are; everything else is a text."""
    try:
        return repr(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return repr(text)


def _apart(problem: Problem, value: np.ndarray, reduction: str) -> float:
    """The largest relative distance; inf where the sizes differ or a number is missing."""
    exact = replace(problem, reduction=reduction).certified(gradient=False).value.high
    if value.size != exact.size:
        return inf
    scale = np.maximum(np.abs(exact), np.abs(exact).max(initial=0) * NEAR)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(value.reshape(exact.shape) - exact) / scale
    return float(np.nan_to_num(found, nan=inf, posinf=inf).max(initial=0))
