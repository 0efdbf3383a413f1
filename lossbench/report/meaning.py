"""What the page of a loss says of its mathematics: formula, symbols, properties."""

from __future__ import annotations

from dataclasses import dataclass

from lossbench.formula import typeset
from lossbench.formula.indices import size_of
from lossbench.formula.mathml import mathml_of
from lossbench.loss import Loss
from lossbench.text import CLASS, Input, axes_of

_DOMAINS = {
    "real": "any number",
    "positive": "positive",
    "nonnegative": "at least 0",
    "nonzero": "not 0",
    "unit": "from 0 to 1",
    "sign": "−1 or 1",
    "binary": "0 or 1",
    "logarithm": "the logarithm of a positive number",
    "count": "0, 1, 2, …",
    "simplex": "probabilities that sum to 1",
    "log_simplex": "logarithms of probabilities",
    "onehot": "one 1 among zeros",
    "direction": "of length 1",
    "class": "0 … C − 1",
    "symbol": "0 … C − 1, but for the label parameters",
    "length": "how much is in use",
    "id": "any whole number",
    "update": "0, 1, 2, …",
}
_KINDS = {"real": "number", "row": "one number per class", "label": "class index"}
_PROPERTIES = {
    "convex": "convex in the predictions",
    "nonnegative": "never negative",
    "even": "the same when every input changes its sign",
    "symmetric": "the same when prediction and target change places",
    "zero_at_fit": "0 where the prediction equals the target",
    "shift_invariant": "the same when a constant is added to a whole row of predictions",
    "scale_invariant": "the same when a row of predictions is multiplied by a positive number",
}


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """An input or parameter."""

    mathml: str
    name: str
    role: str
    kind: str
    axes: str
    domain: str
    default: str
    meaning: str


def symbols(loss: Loss) -> list[Symbol]:
    """What the letters of the formula mean."""
    inputs = [
        Symbol(
            mathml=mathml_of(one.symbol),
            name=name,
            role="input, differentiated" if one.grad else "input",
            kind=_kind(one),
            axes=_axes(loss, one),
            domain=_domain(one),
            default="",
            meaning=one.meaning,
        )
        for name, one in loss.inputs.items()
    ]
    parameters = [
        Symbol(
            mathml=mathml_of(one.symbol),
            name=name,
            role="parameter",
            kind=_KINDS[one.kind],
            axes="",
            domain=one.domain or "any",
            default=", ".join(map(str, one.default)) if isinstance(one.default, list) else str(one.default),
            meaning=one.meaning,
        )
        for name, one in loss.parameters.items()
    ]
    return inputs + parameters


def _kind(one: Input) -> str:
    axes = axes_of(one)
    if one.kind == "row" or not axes:
        counts = one.domain in ("length", "id")
        return "number of the update" if one.domain == "update" else "whole number" if counts else _KINDS[one.kind]
    return "label" if one.kind == "label" else "number"


def _axes(loss: Loss, one: Input) -> str:
    """Along which axes an input of a table or a batch is, and how they are long."""
    axes = axes_of(one)
    if not loss.has_sizes:
        return ""
    return f"{' × '.join(axes)}: {' × '.join(map(size_of, axes))}" if axes else "one for each point"


def _domain(one: Input) -> str:
    if one.of == CLASS or one.domain == "id":
        return _DOMAINS[one.domain]
    return f"how much of {one.of} is in use" if one.domain == "length" else f"an index along {one.of}"


def properties(loss: Loss) -> list[tuple[str, bool]]:
    """Each claimed property in words, and whether it holds."""
    claims = ((said, getattr(loss.properties, name)) for name, said in _PROPERTIES.items())
    return [(said, holds) for said, holds in claims if holds is not None]


def formula(loss: Loss) -> str:
    """The definition as MathML."""
    return typeset.mathml(loss)
