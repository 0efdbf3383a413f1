"""Probes of weights: what the mean divides by, along which axis they go, whether 0 hides NaN."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossbench.conventions import words
from lossbench.conventions.reductions import several
from lossbench.conventions.subject import CLASSES, Arrays, Subject

WEIGHTS = np.array([1.0, 0.0, 0.5], np.float32)  # their sum, their number and the number of those not 0 all differ
OF_CLASSES = np.array([1.0, 3.0, 0.5], np.float32)


def argument(subject: Subject) -> str | None:
    """The argument that takes a weight for each loss; None where there is none."""
    for name in ("sample_weight", "weights", "weight"):
        if subject.expression.takes(name):
            return None if name == "weight" and subject.has_rows else name
    return None


def divisor(subject: Subject) -> str | None:
    """What the mean of weighted losses divides by."""
    option = argument(subject)
    if not subject.is_plain:
        return None
    if option is None:
        return "takes none"
    last = ""
    for arrays, weights in _forms(subject):
        got = subject.run(arrays, {option: weights})
        if got.error:
            last = last or words.refused(got)
            continue
        found = _weighted(got.value.squeeze(), subject.exact(arrays).ravel())
        if found:
            return found + _by_name(subject, arrays, option, found)
        last = "weighs something else than whole losses"
    return last


def _by_name(subject: Subject, arrays: Arrays, option: str, plain: str) -> str:
    """What else the mean divides by where a reduction that Keras has beside its usual one is asked for."""
    name = "mean_with_sample_weight"
    if not subject.expression.takes("reduction"):
        return ""
    got = subject.run(arrays, {option: WEIGHTS, "reduction": name})
    found = "" if got.error else _weighted(got.value.squeeze(), subject.exact(arrays).ravel())
    return f"; with {name} {found}" if found and found != plain else ""


def _forms(subject: Subject) -> Iterator[tuple[Arrays, np.ndarray]]:
    """Three losses with three weights: as a column first, for callables that take the mean over the last axis."""
    if not subject.has_rows:
        yield subject.plain(3, 1), WEIGHTS
    yield subject.plain(3), WEIGHTS


def _weighted(got: np.ndarray, losses: np.ndarray) -> str:
    weighted = WEIGHTS * losses
    total = weighted.sum()
    options = {
        "one number for each loss": weighted,
        "divides by N": total / 3,
        "divides by the sum of the weights": total / WEIGHTS.sum(),
        "divides by the number of weights that are not 0": total / 2,
        "the sum": total,
    }
    return next((text for text, expected in options.items() if words.same(got, np.asarray(expected))), "")


def axis(subject: Subject) -> str | None:
    """Which axis of losses (N, T) a weight for each of N goes along."""
    option = argument(subject)
    if option != "sample_weight" or not subject.is_plain:
        return None
    extra = () if subject.has_rows else (1,)
    arrays, weights = subject.plain(2, 2, *extra), np.array([1.0, 0.0], np.float32)
    got = subject.run(arrays, {"sample_weight": weights})
    if got.error:
        return words.refused(got)
    losses = subject.exact(arrays).reshape(2, 2)
    along = {"the first axis": losses * weights[:, None], "the last axis": losses * weights}
    found = next((text for text, one in along.items() if words.reduction(got.value.squeeze(), one)), "neither axis")
    other = subject.run(subject.plain(2, 3, *extra), {"sample_weight": weights})
    return f"{found}; N other than T {words.refused(other) if other.error else 'taken'}"


def flat(subject: Subject) -> str | None:
    """Whether weights (N,) weigh each loss where inputs have the shape (N,)."""
    option = argument(subject)
    if option is None or not subject.is_plain or subject.has_rows:
        return None
    arrays = subject.plain(3)
    got = subject.run(arrays, {option: WEIGHTS})
    if got.error:
        return words.refused(got)
    losses = subject.exact(arrays)
    if _weighted(got.value.squeeze(), losses):
        return "each loss has its weight"
    if words.reduction(got.value.squeeze(), losses.mean() * WEIGHTS):
        return "each weight multiplies the mean of all losses"
    return words.numbers(got.value)


def zero(subject: Subject) -> str | None:
    """The result where all weights are 0."""
    option = argument(subject)
    if option is None or not subject.is_plain:
        return None
    got = subject.run(next(_forms(subject))[0], {option: np.zeros(3, np.float32)})
    if got.error or got.value.squeeze().ndim:
        got = subject.run(subject.plain(3), {option: np.zeros(3, np.float32)})
    return words.answer(got)


def masked(subject: Subject) -> str | None:
    """Whether the weight 0 hides a NaN."""
    option = argument(subject)
    if option is None or not subject.is_plain or subject.loss.inputs[subject.prediction].kind == "label":
        return None
    said = "refused"
    for arrays, weights in _forms(subject):
        arrays[subject.prediction] = arrays[subject.prediction].copy()
        arrays[subject.prediction][1] = np.nan
        got = subject.run(arrays, {option: weights}, slope=subject.prediction)
        if not got.error:
            value = "value nan" if np.isnan(got.value).any() else "value finite"
            return f"{value}, {words.slope(got.gradient)}"
        said = words.refused(got)
    return said


def of_classes(subject: Subject) -> str | None:
    """What the mean divides by where each class has a weight."""
    if not subject.is_plain or not subject.has_rows or not subject.expression.takes("weight"):
        return None
    arrays = several(subject)
    got = subject.run(arrays, {"weight": OF_CLASSES})
    if got.error:
        return words.refused(got)
    parameter = next((name for name, text in subject.public.parameters.items() if "weight" in text), None)
    of_rows: np.ndarray = np.ones(4)
    if subject.label is not None:
        of_rows = OF_CLASSES[arrays[subject.label]]
    elif subject.target is not None and subject.loss.inputs[subject.target].kind == "row":
        of_rows = (arrays[subject.target] * OF_CLASSES).sum(-1)
    if parameter:
        losses = subject.exact(arrays, **{parameter: OF_CLASSES})
    elif subject.label is not None:
        losses = of_rows * subject.exact(arrays)
    else:
        return words.numbers(got.value)
    options = {
        "one number for each row": losses,
        "divides by the number of rows": losses.mean(),
        "divides by the sum of the weights of the true classes": losses.sum() / of_rows.sum(),
        "divides by rows and classes": losses.mean() / CLASSES,
    }
    return next(
        (text for text, one in options.items() if words.same(got.value, np.asarray(one))),
        "neither divisor: " + words.numbers(got.value),
    )
