"""What inputs may have to be made before one's own loss takes them: rows of one, one-hot rows, logarithms, logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lossbench.loss import Loss
from lossbench.text import CLASS

ONEHOTS = {
    "torch": "F.one_hot({}, {row}.shape[-1]).to({row}.dtype)",
    "tensorflow": "tf.one_hot({}, {row}.shape[-1], dtype={row}.dtype)",
    "jax": "jax.nn.one_hot({}, {row}.shape[-1], dtype={row}.dtype)",
    "numpy": "np.eye({row}.shape[-1])[{}].astype({row}.dtype)",
}
LOGARITHMS = {"torch": "torch.log({})", "tensorflow": "tf.math.log({})", "jax": "jnp.log({})", "numpy": "np.log({})"}
LOGITS = {
    "torch": "torch.logit({})",
    "tensorflow": "(tf.math.log({}) - tf.math.log1p(-{}))",
    "jax": "(jnp.log({}) - jnp.log1p(-{}))",
    "numpy": "(np.log({}) - np.log1p(-{}))",
}
COLUMN = "{}[:, None]"
CHANNEL = "{}[..., None]"


@dataclass(frozen=True, kw_only=True)
class Way:
    """What becomes of inputs before they go in, by input, and that in a sentence.

    Attributes:
        column: Whether each element becomes a row of one.
        changed: Whether an input is another number there, such as its logarithm: what comes out at its ends is not
            what the loss alone is at fault for.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    assumed: str = ""
    column: bool = False
    changed: bool = False


def ways(loss: Loss, framework: str) -> Iterator[Way]:
    """The ways in which inputs may be meant, the likeliest first."""
    yield Way()
    if CLASS not in loss.axes:
        assumed = "inputs have a last axis, over which it averages: each element is a row of one"
        yield Way(given=dict.fromkeys(loss.inputs, COLUMN), assumed=assumed, column=True)
    row = next((name for name, one in loss.inputs.items() if one.kind == "row"), "")
    label = next((name for name, one in loss.inputs.items() if one.domain == "class"), "")
    if row and label:
        text = ONEHOTS[framework].replace("{row}", row)
        yield Way(given={label: text}, assumed=f"it takes {label} as rows of one 1 and zeros")
    for name, one in loss.inputs.items():
        if one.grad and one.domain in ("simplex", "unit", "positive"):
            text = LOGARITHMS[framework]
            yield Way(given={name: text}, assumed=f"it takes the logarithm of {name}", changed=True)
        if one.grad and one.domain == "unit":
            text = LOGITS[framework]
            yield Way(given={name: text}, assumed=f"it takes the logits of {name}", changed=True)
            if one.kind == "row":
                given = dict.fromkeys(loss.inputs, CHANNEL) | {name: CHANNEL.replace("{}", text)}
                words = f"it takes the logits of {name}, with a last axis of one channel"
                yield Way(given=given, assumed=words, changed=True)
            else:
                given = dict.fromkeys(loss.inputs, COLUMN) | {name: COLUMN.replace("{}", text)}
                words = f"it takes the logits of {name}, as rows of one"
                yield Way(given=given, assumed=words, changed=True, column=True)
