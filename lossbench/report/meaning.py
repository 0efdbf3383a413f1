"""What the page of a loss says of its mathematics: formula, symbols, properties."""

from __future__ import annotations

from dataclasses import dataclass

from lossbench.formula import typeset
from lossbench.formula.mathml import mathml_of
from lossbench.loss import Loss

_DOMAINS = {
    "real": "any number",
    "positive": "positive",
    "nonnegative": "at least 0",
    "nonzero": "not 0",
    "unit": "from 0 to 1",
    "sign": "−1 or 1",
    "count": "0, 1, 2, …",
    "simplex": "probabilities that sum to 1",
    "log_simplex": "logarithms of probabilities",
    "onehot": "one 1 among zeros",
    "class": "0 … C − 1",
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
            kind=_KINDS[one.kind],
            domain=_DOMAINS[one.domain],
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
            domain=one.domain or "any",
            default=", ".join(map(str, one.default)) if isinstance(one.default, list) else str(one.default),
            meaning=one.meaning,
        )
        for name, one in loss.parameters.items()
    ]
    return inputs + parameters


def properties(loss: Loss) -> list[tuple[str, bool]]:
    """Each claimed property in words, and whether it holds."""
    claims = ((said, getattr(loss.properties, name)) for name, said in _PROPERTIES.items())
    return [(said, holds) for said, holds in claims if holds is not None]


def formula(loss: Loss) -> str:
    """The definition as MathML."""
    return typeset.mathml(loss)
