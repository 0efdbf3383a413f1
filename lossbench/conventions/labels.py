"""Probes of labels: smoothing, ignored ones, indices that no class has, 0 and 1 in place of -1 and 1."""

from __future__ import annotations

import numpy as np

from lossbench.conventions import words
from lossbench.conventions.reductions import several
from lossbench.conventions.subject import CLASSES, Arrays, Subject

SMOOTHING = 0.3


def smoothing(subject: Subject) -> str | None:
    """What smoothed labels are."""
    if not subject.expression.takes("label_smoothing") or subject.target is None or not subject.is_plain:
        return None
    arrays = several(subject)
    if subject.loss.inputs[subject.target].kind == "row":  # soft labels would hide by how much hard ones are moved
        hard = np.eye(CLASSES, dtype=np.float32)[np.arange(len(arrays[subject.target])) % CLASSES]
        arrays[subject.target] = hard
    got = subject.run(arrays, {"label_smoothing": SMOOTHING})
    if got.error:
        return words.refused(got)
    classes = CLASSES if subject.has_rows else 0
    for text, one in _smoothed(subject, arrays).items():
        if words.reduction(got.value, one, classes=classes):
            return text
    return words.numbers(got.value)


def _smoothed(subject: Subject, arrays: Arrays) -> dict[str, np.ndarray]:
    assert subject.target is not None, "asked only of callables with a target"
    target = arrays[subject.target]
    if subject.label is None:
        kept = (1 - SMOOTHING) * target
        shares = {"y(1 - s) + s/C": SMOOTHING / CLASSES, "y(1 - s) + s/2": SMOOTHING / 2, "y(1 - s)": 0.0}
        if not subject.has_rows:
            del shares["y(1 - s) + s/C"]
        return {
            text: subject.exact({**arrays, subject.target: np.asarray(kept + share, np.float32)})
            for text, share in shares.items()
        }
    own = subject.exact(arrays)
    each = [subject.exact({**arrays, subject.label: np.full_like(target, one)}) for one in range(CLASSES)]
    others = np.sum(each, axis=0)
    return {
        "y(1 - s) + s/C": (1 - SMOOTHING) * own + SMOOTHING / CLASSES * others,
        "y(1 - s), s/(C - 1) for the others": (1 - SMOOTHING) * own + SMOOTHING / (CLASSES - 1) * (others - own),
    }


def _ignoring(subject: Subject) -> str | None:
    return next((name for name in ("ignore_index", "ignore_class") if subject.expression.takes(name)), None)


def _rows(subject: Subject, labels: list[int]) -> Arrays:
    assert subject.label is not None, "asked only of callables with a label"
    return {**subject.plain(len(labels)), subject.label: np.array(labels, np.int64)}


def ignored(subject: Subject) -> str | None:
    """Which label is ignored, and what the mean divides by then."""
    option = _ignoring(subject)
    if option is None or subject.label is None or not subject.is_plain:
        return None
    arrays = _rows(subject, [0, 1, 2, 1, 0])
    got = subject.run(arrays, {option: 1})
    default = f"{option} = {subject.expression.default(option)}"
    if got.error:
        return f"{default}; {words.refused(got)}"
    kept = arrays[subject.label] != 1
    losses = np.where(kept, subject.exact(arrays), 0)
    options = {
        "0 for the rows ignored": losses,
        "divides by the rows that are left": losses.sum() / kept.sum(),
        "divides by all rows": losses.mean(),
    }
    found = (text for text, one in options.items() if words.same(got.value, np.asarray(one)))
    return f"{default}; {next(found, words.numbers(got.value))}"


def all_ignored(subject: Subject) -> str | None:
    """The loss of rows that are all ignored."""
    option = _ignoring(subject)
    if option is None or subject.label is None or not subject.is_plain:
        return None
    return words.answer(subject.run(_rows(subject, [1, 1]), {option: 1}))


def ignored_nan(subject: Subject) -> str | None:
    """What NaN in an ignored row does."""
    option = _ignoring(subject)
    if option is None or subject.label is None or not subject.is_plain:
        return None
    arrays = _rows(subject, [0, 1])
    arrays[subject.prediction][1] = np.nan
    got = subject.run(arrays, {option: 1}, slope=subject.prediction)
    if got.error:
        return words.refused(got)
    return f"value {'nan' if np.isnan(got.value).any() else 'finite'}, {words.slope(got.gradient)}"


def too_large(subject: Subject) -> str | None:
    """A label beyond the last class."""
    return _strange(subject, CLASSES)


def negative(subject: Subject) -> str | None:
    """The label -1."""
    return _strange(subject, -1)


def hundred(subject: Subject) -> str | None:
    """The label -100, which torch ignores."""
    return _strange(subject, -100)


def _strange(subject: Subject, label: int) -> str | None:
    if subject.label is None or not subject.is_plain or subject.domain(subject.label) != "class":
        return None
    arrays = _rows(subject, [0, label])
    got = subject.run(arrays, slope=subject.prediction)
    if got.error:
        return words.refused(got)
    if np.isnan(got.value).any():
        return f"nan, {words.slope(got.gradient)}"
    first = subject.exact(_rows(subject, [0, 0]))[0]
    meanings = {"the loss is 0": 0.0}
    for one, place in ((CLASSES - 1, "last"), (0, "first")):
        meanings[f"counts as the {place} class"] = float(subject.exact(_rows(subject, [0, one]))[1])
    if words.same(got.value, np.asarray(first)):
        return "ignored, and not counted by the mean"
    for text, second in meanings.items():
        if words.reduction(got.value, np.array([first, second]), classes=CLASSES):
            return text
    return f"taken: {words.number(got.value.ravel()[-1])}"


def zero_one(subject: Subject) -> str | None:
    """What labels 0 and 1 are for a loss of -1 and 1, alone and in a batch with a -1."""
    name = subject.target
    if name is None or not subject.is_plain or subject.has_rows or subject.domain(name) != "sign":
        return None
    alone = _taken(subject, np.array([[0], [1], [1]], np.float32), name)
    mixed = _taken(subject, np.array([[0], [1], [-1]], np.float32), name)
    return alone if alone == mixed else f"{alone}; with a -1 in the batch {mixed}"


def _taken(subject: Subject, target: np.ndarray, name: str) -> str:
    arrays = {**subject.plain(3, 1), name: target}
    got = subject.run(arrays)
    if got.error:
        return words.refused(got)
    turned = subject.exact({**arrays, name: 2 * target - 1})
    for text, one in (("as they are", subject.exact(arrays)), ("as -1 and 1", turned)):
        if words.reduction(got.value, one):
            return text
    return "neither as they are nor as -1 and 1"
