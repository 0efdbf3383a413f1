"""How one's own loss is called and what it gives: found out by a few ordinary points, each guess said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

import numpy as np

from lossbench.checking.reading import COLUMN, Binding, bindings, call
from lossbench.checking.subject import Subject, drawn
from lossbench.errors import LossbenchError
from lossbench.inputs import Problem
from lossbench.messages import Inspected
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Reduction

COUNT = 6  # points: unlike any number of classes
SUMS = {
    "torch": "torch.sum({}, -1)",
    "tensorflow": "tf.reduce_sum({}, -1)",
    "jax": "jnp.sum({}, -1)",
    "numpy": "np.sum({}, -1)",
}
Gives = Literal["none", "entries", "mean", "sum"]

NEAR = 1e-2  # relative


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A way of calling that gives numbers of the right shape.

    Attributes:
        call: As a spec has it, for one number per element or row, or for one of the whole batch.
        weighted: Likewise with sample weights; empty where it takes none.
        gives: One number per element or row ("none"), one per class of each ("entries"), their mean or sum; a loss that
            is asked for its reduction gives "none".
        column: Whether inputs of elements get a last axis of one.
        apart: The largest relative distance from the certified values at ordinary points; inf where one is missing.
        shape: Of what comes out of `COUNT` elements or rows.
        assumed: As sentences.
    """

    binding: Binding
    call: str
    weighted: str = ""
    gives: Gives | Literal[""] = "none"
    column: bool = False
    apart: float = inf
    shape: tuple[int, ...] = ()
    assumed: tuple[str, ...] = field(default_factory=tuple)

    @property
    def reduction(self) -> Reduction:
        """What comes out of it."""
        return self.gives if self.gives in ("mean", "sum") else "none"

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
        parameters: Exact numbers; those left out take the spec's defaults.
        reduction: What it gives, where that is known.

    Raises:
        Misfit: Every way ends in an error, or in numbers of no fitting shape.
        LossbenchError: Its arguments cannot be filled.
    """
    problem = drawn(subject.loss, "timing", "float32", COUNT, parameters)
    tried, said = [], []
    for binding in bindings(subject.loss, found, told):
        for column in (False, True):
            if column and "class" in subject.loss.axes:
                continue
            text = call(binding, found, given=COLUMN if column else "{}")
            try:
                numbers = subject.ask(text, problem)
            except NoAnswer as error:
                said.append(str(error))
                if error.reason in ("crashed", "timed out"):
                    raise Misfit(str(error)) from None
                continue
            tried.append(_read(subject, found, binding, column, text, problem, numbers, reduction))
    fitting = [one for one in tried if one.gives]
    if not fitting:
        shapes = ", ".join(str(one.shape) for one in tried)
        if shapes:
            reason = f"of {COUNT} elements or rows it gives the shape {shapes}; expected ({COUNT},) or one number"
            raise Misfit(reason, misshapen=True)
        raise Misfit(said[0] if said else "it could not be called")
    # One number per element tells more than one for all; of equals the first, which names speak for.
    return min(fitting, key=lambda one: (one.apart > NEAR, one.whole, one.apart if one.apart > NEAR else 0.0))


def _read(
    subject: Subject,
    found: Inspected,
    binding: Binding,
    column: bool,
    text: str,
    problem: Problem,
    numbers: Mapping[str, np.ndarray],
    reduction: Reduction | None,
) -> Fit:
    value = numbers["value"]
    gives: Gives | Literal[""]
    entries = next((one.shape for one in problem.arrays.values() if one.ndim == 2), None)
    apart = {one: _apart(problem, value, one) for one in ("none", "mean", "sum")}
    if value.size == COUNT and (value.ndim == 1 or value.shape[1:] == (1,) * (value.ndim - 1)):
        gives = "none"
    elif value.shape == entries:
        gives, text = "entries", SUMS[subject.framework].format(text)
        apart["entries"] = _apart(problem, value.sum(axis=-1), "none")
    elif value.size == 1:
        gives = reduction or ("sum" if apart["sum"] < apart["mean"] else "mean")
    else:
        gives = ""
    assumed = [*binding.assumed]
    if gives in ("mean", "sum") and reduction is None:
        assumed.append(f"one number for the whole batch is the {gives} over it")
    if gives == "entries":
        assumed.append("one number for each class: their sum is the loss of a row")
    if column:
        assumed.append("inputs have a last axis, over which it averages: each element is a row of one")
    weighted = call(binding, found, given=COLUMN if column else "{}", weighted=True) if binding.weight else ""
    if gives in ("none", "entries") and not binding.reduction:
        text = f"reduce({text})"
    return Fit(
        binding=binding,
        call=text,
        weighted=weighted,
        gives=gives,
        column=column,
        apart=apart.get(gives, inf),
        shape=value.shape,
        assumed=tuple(assumed),
    )


def _apart(problem: Problem, value: np.ndarray, reduction: str) -> float:
    """The largest relative distance; inf where the sizes differ or a number is missing."""
    exact = replace(problem, reduction=reduction).certified(gradient=False).value.high
    if value.size != exact.size:
        return inf
    scale = np.maximum(np.abs(exact), np.abs(exact).max(initial=0) * NEAR)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(value.reshape(exact.shape) - exact) / scale
    return float(np.nan_to_num(found, nan=inf, posinf=inf).max(initial=0))
