"""What has to be said beside the code: conversions of the inputs, conventions of means, differences that remain."""

from __future__ import annotations

import numpy as np

from lossbench import spec
from lossbench.callables import Entry
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import Public
from lossbench.porting import reading
from lossbench.porting.reductions import Reduction
from lossbench.text import Numbers

CLASSES_SECOND = ("F.cross_entropy", "F.nll_loss", "nn.CrossEntropyLoss", "nn.NLLLoss")


def conversions(entry: Entry, public: Public | None, framework: str, text: str) -> tuple[dict[str, str], list[str]]:
    """Lines of code that make the loss's inputs from the source's, and in words what changes with the inputs."""
    before: dict[str, str] = {}
    found: list[str] = []
    own, there = reading.order(entry), reading.taken(text, entry.loss)
    common = [name for name in own if name in there]
    if common != [name for name in there if name in own]:
        found.append(f"order: {entry.name} takes ({', '.join(own)}), here it is ({', '.join(there)})")
    for name, (argument, expression) in reading.takes(entry, public).items():
        said = argument or "it"
        undone = reading.undone(expression, argument or name, name, framework)
        if undone is None:
            found.append(f"{entry.name} is given `{expression}` as {said}; the code here takes {name} itself")
        else:
            if undone != (argument or name):
                before[name] = undone
            found.append(f"{entry.name} takes `{expression}` as {said}: {name} is `{undone}`")
    for name, expression in reading.wraps(text, entry.loss).items():
        found.append(f"the code here makes `{expression}` of {name}")
    if "[..., None]" in text and "keras.losses." in text:
        found.append("the last axis of one element keeps Keras's mean over the last axis from averaging yours")
    if "class" in entry.loss.axes and any(name in f"{entry.callable.call} {text}" for name in CLASSES_SECOND):
        found.append(
            "classes: these losses of torch have them along dim 1 of more than two axes, all others along the last"
        )
    labels = [name for name, one in entry.loss.inputs.items() if one.kind == "label"]
    if labels and framework == "torch":
        found.append(f"dtype: {labels[0]} must be int64 (torch.long)")
    found += _dtypes(entry, framework, text)
    return before, found


def _dtypes(entry: Entry, framework: str, text: str) -> list[str]:
    found = []
    if framework == "tensorflow" and reading.makes_keras_class(text):
        found.append("dtype: a Keras class casts its inputs to float32; for others give it dtype='float64'")
    elif entry.name.startswith("keras.losses.") and reading.makes_keras_class(entry.callable.call):
        found.append("dtype: the Keras class casts its inputs to float32, this code keeps their dtype")
    if framework == "jax":
        found.append("dtype: JAX has float64 only with jax.config.update('jax_enable_x64', True)")
    return found


def conventions(loss: Loss, framework: str, reduction: Reduction) -> list[str]:
    """What means divide by, without weights and with them."""
    each = "rows" if loss.axes else "elements"
    terms = loss.formula_text.divisor.strip()
    counted = f"the number of {each}" if terms == "1" else f"the sum of `{terms}`"
    found = []
    if loss.pooled:
        return ["one number for the whole batch; every reduction leaves it as it is, and there are no weights"]
    if reduction.inner != "none":
        found.append("sample weights are one number for each row: they come after the last axis is reduced")
    if reduction.named == "batchmean":
        found.append("reduction 'batchmean' divides the sum by the number of rows, which is the mean here")
    if reduction.named == "auto":
        found.append("reduction 'auto' is rejected by current releases of Keras; it meant 'sum_over_batch_size'")
    if reduction.by_class:
        found.append(
            "its mean divides by rows times classes, which this code does too; 'batchmean' divides by the rows"
        )
    elif reduction.by_weight:
        found.append(
            "reduction 'mean_with_sample_weight' divides by the sum of the weights; without weights, by their number"
        )
    elif reduction.outer == "mean":
        found.append(f"the mean divides by {counted}, also where there are sample weights")
    if framework == "jax":
        found.append("optax reduces nothing: the mean or sum is written out")
    own = loss.frameworks[framework].note
    return [*found, own] if own else found


def differences(problem: Problem, reduction: Reduction, one: str, other: str) -> list[str]:
    """What the spec declares of the two frameworks' own calls, at these parameters and this reduction: each once."""
    found = {
        f"{found.framework}, {found.kind}: {' '.join(found.why.split())}": None
        for found in problem.loss.divergences
        if found.framework in (one, other)
        and found.kind != "limit"
        and found.call is None
        and found.mode in (None, "eager")
        and found.reduction in ("none", reduction.outer)
        and all(
            _same(value, problem.parameters[name]) for name, value in found.when.items() if name in problem.parameters
        )
    }
    return list(found)


def _same(said: Numbers, value: object) -> bool:
    numbers = said if isinstance(said, list) else [said]
    return np.array_equal(np.array([float(spec.exact(str(one))) for one in numbers]), np.ravel(np.asarray(value)))
