"""One loss on one's own arrays: what a framework gives, and what is certified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from lossbench import adapters, inputs, plan, spec
from lossbench.card import Table, card
from lossbench.errors import LossbenchError, Unsupported
from lossbench.formula import oracle
from lossbench.loss import Loss
from lossbench.records import Target

SHOWN = 20  # entries in a notebook


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a target gives.

    Attributes:
        value: Shape (n,) for reduction none, () otherwise and for a loss that is one number for a whole batch; float64
            for dtype float64, else float32, which holds 16-bit numbers exactly.
        gradient: The derivative of the value's sum by each differentiated input, of that input's shape.
    """

    value: np.ndarray
    gradient: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is certified; every array is float64 and correctly rounded.

    Attributes:
        value: Shape (n,) for reduction none, () otherwise and for a loss that is one number for a whole batch; nan
            where mathematics says nothing.
        gradient: The derivative of the value's sum by each differentiated input, of that input's shape; at a kink the
            centre of the subdifferential.
        certified: The same with remainders, proved radii and the ends of subdifferentials.
    """

    value: np.ndarray
    gradient: dict[str, np.ndarray]
    certified: oracle.Certified

    @property
    def radius(self) -> dict[str, np.ndarray]:
        """Of `value` and of each input's gradient: how far from the certified pair the number may lie at most."""
        return {name: enclosure.radius for name, enclosure in self._enclosures.items()}

    @property
    def kind(self) -> dict[str, np.ndarray]:
        """Of `value` and of each input's gradient, entry by entry: finite, infinite, undefined or kink."""
        return {
            name: np.select(
                [np.isnan(one.high), np.isinf(one.high), one.lower < one.upper],
                ["undefined", "infinite", "kink"],
                "finite",
            )
            for name, one in self._enclosures.items()
        }

    @property
    def subdifferential(self) -> dict[str, np.ndarray]:
        """By each differentiated input: its ends, shape (2, ...); equal where the loss is smooth."""
        return {name: np.stack([one.lower, one.upper]) for name, one in self.certified.gradient.items()}

    def __repr__(self) -> str:
        """One line for each array."""
        kinds = self.kind
        arrays = {"value": self.value, **{f"gradient.{name}": one for name, one in self.gradient.items()}}
        return "\n".join(
            f"{name} = {array} ({', '.join(np.unique(kinds[name.removeprefix('gradient.')]))})"
            for name, array in arrays.items()
        )

    def _repr_html_(self) -> str:
        radii, kinds = self.radius, self.kind
        rows = [
            (name, at, repr(float(number)), f"{radius:.1e}", kind)
            for name, array in {"value": self.value, **self.gradient}.items()
            for at, (number, radius, kind) in enumerate(
                zip(array.ravel()[:SHOWN], radii[name].ravel(), kinds[name].ravel(), strict=False)
            )
        ]
        more = "" if all(one.size <= SHOWN for one in (self.value, *self.gradient.values())) else "(the first entries)"
        headings = ("of", "entry", "certified", "remainder within", "kind")
        return card("Certified", more, tables=[Table(headings=headings, rows=rows)])

    @property
    def _enclosures(self) -> dict[str, oracle.Enclosure]:
        return {"value": self.certified.value, **self.certified.gradient}


def evaluate(
    loss: str | Path | Loss,
    target: str = "torch",
    *,
    dtype: str = "float32",
    reduction: str = "none",
    mode: str | None = None,
    device: str | None = None,
    sample_weight: object = None,
    **inputs_and_parameters: object,
) -> Evaluation:
    """Run a framework's own call of *loss* in this process.

    Args:
        loss: A name, an alias, the path of a spec file, or a loaded loss.
        target: `torch`, or with mode and device: `torch:compiled:cuda`.
        dtype: To which inputs and parameters are rounded, and in which the framework computes.
        reduction: `none`, `mean` or `sum`.
        mode: In place of the target's; by default the first of the framework's modes.
        device: In place of the target's; by default `cpu`.
        sample_weight: Shape (n,); ones where left out.
        **inputs_and_parameters: Numbers, lists or arrays by the names of the spec, along the axes that it names, the
            batch first where entries have their own; one stands for all elements.

    Raises:
        LossbenchError: The request does not fit the loss, or the target cannot serve it.
    """
    found = _loss(loss)
    who = _target(target, mode, device)
    problem = inputs.problem(
        found, inputs_and_parameters, dtype=dtype, reduction=reduction, sample_weight=sample_weight
    )
    try:
        module = adapters.load(who.framework)
    except ImportError as error:
        raise Unsupported(f"{error}; try: pip install 'lossbench[{who.framework}]'") from None
    arrays = module.open(who).prepare(problem).arrays()
    gradients = {name: arrays[f"gradient.{name}"] for name, one in found.inputs.items() if one.grad}
    return Evaluation(value=arrays["value"], gradient=gradients)


def reference(
    loss: str | Path | Loss,
    *,
    dtype: str = "float64",
    reduction: str = "none",
    sample_weight: object = None,
    **inputs_and_parameters: object,
) -> Reference:
    """The certified value and gradient of *loss*, at inputs and parameters rounded to *dtype*.

    Arguments and errors are those of `evaluate`.
    """
    found = _loss(loss)
    problem = inputs.problem(
        found, inputs_and_parameters, dtype=dtype, reduction=reduction, sample_weight=sample_weight
    )
    certified = problem.certified()
    gradient = {name: one.high for name, one in certified.gradient.items()}
    return Reference(value=certified.value.high, gradient=gradient, certified=certified)


def _loss(loss: str | Path | Loss) -> Loss:
    return loss if isinstance(loss, Loss) else spec.load(loss)


def _target(text: str, mode: str | None, device: str | None) -> Target:
    named = plan.target(text)
    if named.interpreter:
        raise LossbenchError(f"{text!r} names an interpreter; expected a target in this process, use `lossbench run`")
    modes = plan.modes(named.framework)
    if mode is not None and mode not in modes:
        raise LossbenchError(f"{named.framework} has no mode {mode!r}; expected one of: {', '.join(sorted(modes))}")
    return replace(named, mode=mode or named.mode, device=device or named.device)
