"""Probes of dtypes: what float64, float16 and integers become."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from lossbench.conventions import words
from lossbench.conventions.subject import CLASSES, Arrays, Outcome, Subject

LARGEST = float(np.finfo(np.float16).max)
MANY = 4096  # losses of about 50 each: every one is a float16, and their sum is not


def _as(subject: Subject, arrays: Arrays, dtype: type, *, only: str | None = None) -> Arrays:
    """*arrays* with numbers of that dtype, or those of one input alone; labels are left as they are."""
    return {
        name: array.astype(dtype) if only in (None, name) and subject.loss.inputs[name].kind != "label" else array
        for name, array in arrays.items()
    }


def _dtype(got: Outcome) -> str:
    return words.refused(got) if got.error else str(got.value.dtype)


def double(subject: Subject) -> str | None:
    """The dtype of the result of float64 inputs."""
    arrays = _as(subject, subject.plain(3), np.float64)
    plain = _dtype(subject.run(arrays))
    with subject.hands.wide():
        wide = _dtype(subject.run(arrays))
    return plain if plain == wide else f"{plain}; {wide} under jax_enable_x64"


def half(subject: Subject) -> str | None:
    """The dtype of the result of float16 inputs."""
    return _dtype(subject.run(_as(subject, subject.plain(3), np.float16)))


def half_mean(subject: Subject) -> str | None:
    """Whether a mean of numbers whose sum is beyond float16 is there."""
    if not subject.is_plain or subject.has_rows or subject.target is None:
        return None
    if subject.domain(subject.prediction) != "real" or subject.domain(subject.target) not in ("real", "sign"):
        return None
    target = np.full(MANY, -1.0 if subject.domain(subject.target) == "sign" else 0.0)
    arrays = {**{name: np.zeros(MANY) for name in subject.loss.inputs}, subject.target: target}
    arrays[subject.prediction] = np.full(MANY, 100.0 if _grows_slowly(subject, arrays) else 10.0)
    losses = subject.exact(arrays)
    got = subject.run(_as(subject, arrays, np.float16))
    if got.error:
        return words.refused(got)
    if got.value.size != 1 or losses.sum() < LARGEST or losses.max() > LARGEST:
        return None
    return f"{'finite' if np.isfinite(got.value).all() else words.numbers(got.value)}, as {got.value.dtype}"


def _grows_slowly(subject: Subject, arrays: Arrays) -> bool:
    """Whether a prediction of 10 has a loss that is too small for the sum to overflow."""
    one = {name: array[:1] for name, array in arrays.items()}
    one[subject.prediction] = np.array([10.0])
    return float(subject.exact(one)[0]) * MANY < LARGEST


def mixed(subject: Subject) -> str | None:
    """The dtype of the result of float32 predictions and float64 targets."""
    name = subject.target
    if name is None or subject.loss.inputs[name].kind == "label":
        return None
    with subject.hands.wide() if subject.public.framework == "jax" else nullcontext():
        return _dtype(subject.run(_as(subject, subject.plain(3), np.float64, only=name)))


def integers(subject: Subject) -> str | None:
    """Integers in place of real numbers."""
    if not subject.is_plain or subject.domain(subject.prediction) != "real":
        return None
    arrays = subject.plain(3)
    for name, one in subject.loss.inputs.items():
        if one.kind != "label":
            arrays[name] = np.rint(2 * arrays[name]).astype(np.int64) if one.grad else _whole(one.domain, arrays[name])
    return _counted(subject, arrays)


def integer_targets(subject: Subject) -> str | None:
    """Integers as targets of predictions that are numbers."""
    name = subject.target
    if name is None or not subject.is_plain or subject.loss.inputs[name].kind == "label":
        return None
    arrays = subject.plain(3)
    if subject.domain(name) == "log_simplex":
        return None
    return _counted(subject, {**arrays, name: _whole(subject.domain(name), arrays[name])})


def _whole(domain: str, array: np.ndarray) -> np.ndarray:
    """Integers of that domain in the place of *array*."""
    if domain in ("simplex", "onehot"):
        return np.eye(CLASSES, dtype=np.int64)[np.arange(len(array)) % CLASSES]
    alternating = np.arange(array.size).reshape(array.shape) % 2
    if domain in ("unit", "binary"):
        return np.asarray(alternating)
    if domain == "sign":
        return np.asarray(2 * alternating - 1)
    return np.asarray(1 + np.abs(np.rint(array)), np.int64)


def _counted(subject: Subject, arrays: Arrays) -> str:
    got = subject.run(arrays)
    if got.error:
        return words.refused(got)
    classes = CLASSES if subject.has_rows else 0
    right = words.reduction(got.value, subject.exact(arrays), classes=classes)
    return f"taken: {got.value.dtype}" + ("" if right else ", another number than for floats")


def short_labels(subject: Subject) -> str | None:
    """Labels of 32 bits."""
    if subject.label is None or not subject.is_plain:
        return None
    arrays = subject.plain(3)
    got = subject.run({**arrays, subject.label: arrays[subject.label].astype(np.int32)})
    return words.refused(got) if got.error else "taken"
