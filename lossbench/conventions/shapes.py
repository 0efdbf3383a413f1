"""Probes of shapes: the axis of the classes, (N,) with (N, 1), no elements at all."""

from __future__ import annotations

import numpy as np

from lossbench.conventions import words
from lossbench.conventions.subject import CLASSES, Arrays, Outcome, Subject

TRIES = 8
PLACES = 2  # beside the classes: as in the pixels of an image


def class_axis(subject: Subject) -> str | None:
    """The axis along which a row lies where there are three."""
    if not subject.is_plain or not subject.has_rows or subject.target is None:
        return None
    row = subject.plain(1)
    exact = float(subject.exact(row)[0])
    one, other = (subject.run(_repeated(subject, row, axis)) for axis in (1, 2))
    first, last = _fits(one, exact), _fits(other, exact)
    option = next((name for name in ("axis", "dim") if subject.expression.takes(name)), "")
    given = f" ({option} = {subject.expression.default(option)})" if option else ""
    if option == "axis":
        moved = subject.run(_repeated(subject, row, 1), {option: 1})
        fits = words.refused(moved) if moved.error else "works" if _fits(moved, exact) else "gives another number"
        given += f"; axis = 1 {fits}"
    if first and last:
        return "works on each class by itself"
    if last:
        return "the last axis" + given
    if first:
        return f"axis 1, the second{given}"
    return words.refused(one) if one.error and other.error else "neither axis 1 nor the last axis alone"


def _repeated(subject: Subject, row: Arrays, axis: int) -> Arrays:
    """The same row at every place of a batch of one, its classes along *axis* of three."""
    found: Arrays = {}
    for name, array in row.items():
        if subject.loss.inputs[name].kind == "row":
            copies = np.repeat(array[:, None, :], PLACES, axis=1)  # (1, places, classes)
            found[name] = np.ascontiguousarray(np.moveaxis(copies, 2, axis))
        else:
            found[name] = np.repeat(array[:, None], PLACES, axis=1)
    return found


def _fits(got: Outcome, exact: float) -> bool:
    """Whether every place has the loss of its row, or the mean or sum of all is that of them."""
    if got.error or not got.value.size:
        return False
    mean = np.asarray(got.value.astype(np.float64).mean())
    one = [exact, exact * PLACES, exact / CLASSES]
    return any(words.same(mean, np.asarray(number)) for number in one) and bool(np.ptp(got.value) < 1e-3)


def column(subject: Subject) -> str | None:
    """A column of targets beside a plain array of predictions, or beside rows."""
    name = subject.target
    if name is None or not subject.is_plain or subject.loss.inputs[name].kind == "row":
        return None
    arrays = subject.plain(3)
    given = {**arrays, name: arrays[name][:, None]}
    got = subject.run(given)
    if got.error:
        return words.refused(got)
    losses = subject.exact(arrays)
    classes = CLASSES if subject.has_rows else 0
    warns = ", with a warning" if got.warned else ""
    if words.reduction(got.value, losses, classes=classes) or words.reduction(got.value, losses[:, None]):
        return f"squeezes{warns}"
    pairs = np.meshgrid(*([np.arange(3)] * 2), indexing="ij")  # targets along the first axis
    every = {one: array[pairs[0] if one == name else pairs[1]] for one, array in arrays.items()}
    if got.value.shape == (3, 3) or words.reduction(got.value, subject.exact(every), classes=classes):
        return f"broadcasts to N × N{warns}"
    return f"shape {got.value.shape}{warns}"


def empty(subject: Subject) -> str | None:
    """The loss of nothing."""
    if not subject.is_plain:
        return None
    shapes = {"(0, C)": (1,), "(0, 2, C)": (1, 2)} if subject.has_rows else {"(0,)": (1,), "(0, 3)": (1, 3)}
    if not subject.has_rows:
        shapes["(0, 2, 3)"] = (1, 2, 3)
    said: dict[str, list[str]] = {}
    for text, shape in shapes.items():
        arrays = {name: array[:0] for name, array in subject.plain(*shape).items()}
        said.setdefault(_of_nothing(subject, arrays), []).append(text)
    if len(said) == 1:
        return next(iter(said))
    return "; ".join(f"{', '.join(of)}: {answer}" for answer, of in said.items())


def _of_nothing(subject: Subject, arrays: Arrays) -> str:
    """The answer to an empty batch; memory that was never written to is asked for more than once."""
    for _ in range(TRIES):
        got = subject.run(arrays)
        if not got.error and np.isfinite(got.value).all() and got.value.any():
            return "an arbitrary number, left in memory"
    return words.answer(got)
