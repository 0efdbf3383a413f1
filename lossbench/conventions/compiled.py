"""Probes of compilers: the eager call against the compiled one, and probabilities whose logits are in reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lossbench.conventions import words
from lossbench.conventions.reductions import several
from lossbench.conventions.subject import CLASSES, Arrays, Outcome, Subject

CERTAIN = 60.0  # a logit so far below another that probabilities are clipped, and far from underflow


def agreement(subject: Subject) -> str | None:
    """Value and gradient, eager and compiled."""
    arrays = several(subject)
    eager = subject.run(arrays, slope=subject.prediction)
    compiled = subject.run(arrays, slope=subject.prediction, compiled=True)
    if eager.error or compiled.error:
        if eager.error == compiled.error:
            return words.refused(eager)
        return f"eager {_brief(eager)}, compiled {_brief(compiled)}"
    if words.same(eager.value, compiled.value) and words.same(eager.gradient, compiled.gradient):
        return "the same"
    return f"eager {words.numbers(eager.value)}, compiled {words.numbers(compiled.value)}"


def _brief(outcome: Outcome) -> str:
    return words.refused(outcome) if outcome.error else "runs"


def hidden(subject: Subject) -> str | None:
    """The loss of a certain and wrong probability that was just computed from logits, eagerly."""
    if not _takes_probabilities(subject):
        return None
    own = _of_logits(subject, subject.hands.softmax, subject.hands.sigmoid, compiled=False)
    operations: Any = subject.hands.modules.get("ops")
    if operations is None:
        return own
    of_keras = _of_logits(subject, operations.softmax, operations.sigmoid, compiled=False)
    return own if own == of_keras else f"{subject.hands.home}: {own}; keras.ops: {of_keras}"


def hidden_compiled(subject: Subject) -> str | None:
    """The same within a compiled function."""
    if not _takes_probabilities(subject):
        return None
    return _of_logits(subject, subject.hands.softmax, subject.hands.sigmoid, compiled=True)


def _takes_probabilities(subject: Subject) -> bool:
    target = subject.target
    if not subject.is_plain or target is None or subject.domain(subject.prediction) not in ("simplex", "unit"):
        return False
    if subject.domain(target) not in ("simplex", "onehot", "class", "unit", "binary"):
        return False
    return bool(np.isinf(subject.exact(_wrong(subject, [0, 1, 0], 0))).all())


def _of_logits(subject: Subject, softmax: Any, sigmoid: Any, *, compiled: bool) -> str:
    """The loss where the true class, or the only one, has the logit -60 beside another's 0."""
    arrays = _wrong(subject, [-CERTAIN, 0, -CERTAIN], -CERTAIN)
    arrays[subject.prediction] = arrays[subject.prediction].astype(np.float32)
    got = subject.run(arrays, through=softmax if subject.has_rows else sigmoid, compiled=compiled)
    if got.error:
        return words.refused(got)
    total = float(got.value.sum())
    probability = math.exp(-CERTAIN)
    exact = subject.exact(_wrong(subject, [probability, 1 - 2 * probability, probability], probability))
    whole = any(words.same(np.asarray(total * count), exact.sum()) for count in (1, CLASSES))
    return "exact" if whole else f"{words.number(total)} where {words.numbers(exact)} is exact"


def _wrong(subject: Subject, row: list[float], single: float) -> Arrays:
    """A batch of one of which the first class is the true one, with that *row*, or of a positive *single* number."""
    assert subject.target is not None, "asked only of callables with a target"
    arrays = subject.plain(1) if subject.has_rows else subject.plain(1, 1)
    is_label = subject.loss.inputs[subject.target].kind == "label"
    one_hot = np.eye(CLASSES, dtype=np.float32)[:1]
    target = np.array([0]) if is_label else one_hot if subject.has_rows else np.ones((1, 1), np.float32)
    prediction = np.array([row] if subject.has_rows else [[single]])
    return {**arrays, subject.prediction: prediction, subject.target: target}
