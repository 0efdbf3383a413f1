"""Answers as short texts: what a result is of the exact losses, and numbers with few digits, alike on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossbench.conventions.subject import Outcome

CLOSE = 2e-3  # relative: what the small constants of frameworks, and half precision, explain
DIGITS = 4
FEW = 6  # entries that are shown


def refused(outcome: Outcome) -> str:
    """That there is no answer, and the error's type."""
    return f"refused: {outcome.error}"


def same(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the numbers are equal, to a few digits, in shape too."""
    if got.shape != expected.shape or not got.size:
        return False
    with np.errstate(invalid="ignore"):
        return bool(
            np.allclose(got.astype(np.float64), expected.astype(np.float64), rtol=CLOSE, atol=1e-5, equal_nan=True)
        )


def reduction(got: np.ndarray, losses: np.ndarray, *, classes: int = 0) -> str:
    """Which reduction of exact *losses* it is that came out; empty where it is none.

    Args:
        got: What came out.
        losses: Of every element or row.
        classes: How many a row has; 0 for losses of elements.
    """
    return next((words for words, expected in _reductions(losses, classes) if same(got, expected)), "")


def _reductions(losses: np.ndarray, classes: int) -> Iterator[tuple[str, np.ndarray]]:
    each = "row" if classes else "element"
    yield f"one number for each {each}", losses
    if losses.ndim:
        yield "one number: the mean", losses.mean()
        yield "one number: the sum", losses.sum()
    if losses.ndim > 1:
        yield "the mean over the last axis", losses.mean(-1)
        yield "the sum over the last axis", losses.sum(-1)
        yield "one number: the sum of the means over the last axis", losses.mean(-1).sum()
        yield "one number: the sum divided by the length of the first axis", losses.sum() / len(losses)
    if classes:
        yield "one number: the sum divided by rows and classes", losses.sum() / (losses.size * classes)
        if losses.ndim:
            yield "one number for each row, divided by the classes", losses / classes


def number(value: object) -> str:
    """One number with few digits."""
    single = float(value)  # type: ignore[arg-type]
    if np.isnan(single):
        return "nan"
    if single == 0:
        return "0"
    return f"{single:.{DIGITS}g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def numbers(values: np.ndarray) -> str:
    """A number, or a few of them; without brackets where there is only one."""
    flat = values.ravel()
    if flat.size == 0:
        return "empty"
    if flat.size == 1:
        return number(flat[0])
    shown = [number(one) for one in flat[:FEW]]
    return f"[{', '.join(shown)}{', ...' if flat.size > FEW else ''}]"


def answer(outcome: Outcome) -> str:
    """The numbers of the value, or the refusal."""
    return refused(outcome) if outcome.error else numbers(outcome.value)


def slope(gradient: np.ndarray) -> str:
    """Whether a gradient is all numbers, and which if all are zero."""
    if not gradient.size or np.isnan(gradient).any():
        return "gradient nan" if gradient.size else "no gradient"
    if np.isinf(gradient).any():
        return "gradient infinite"
    return "gradient 0" if not gradient.any() else "gradient finite"
