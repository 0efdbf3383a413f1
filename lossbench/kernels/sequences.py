"""What generated kernels compute of whole rows and tables, in float64: the simplex projection, and alignments.

The recursions are those of `formula.alignments`, for one sequence at a time.
"""

from __future__ import annotations

import math

import numpy as np

from lossbench.kernels.primitives import inlined


@inlined
def threshold(row: np.ndarray) -> float:
    """The number that, taken from every entry of *row*, leaves a sum of 1 above zero (Michelot).

    From below, where the greatest entry alone would leave 1: what is above decides where it can be at the least, and
    is above that or takes no part.
    """
    top, sound = -math.inf, True
    for x in row:
        top = x if x > top else top
        sound = sound & (x == x)
    if not sound:
        return math.nan
    found, count = top - 1.0, len(row) + 1
    while True:
        total, above = 0.0, 0
        for x in row:
            inside = x > found
            total += x if inside else 0.0
            above += inside
        if above == 0:
            return math.nan
        if above >= count:
            return found
        found, count = (total - 1.0) / above, above


@inlined
def ctc(log_probs: np.ndarray, labels: np.ndarray, input_length: int, label_length: int, blank: int) -> float:
    """Minus the log probability of the first *label_length* of *labels* within *input_length* times; inf where no
    alignment gives them.

    *log_probs* has shape (time, class).
    """
    times, last = _lengths(log_probs, labels, input_length, label_length)
    if times == 0:
        return 0.0 if last == 0 else math.inf
    emitted = _emitted(log_probs, labels, times, last, blank)
    return 0.0 - _ends(_forward(emitted, labels, False)[times - 1])  # no negative zero


@inlined
def ctc_occupancy(
    log_probs: np.ndarray, labels: np.ndarray, input_length: int, label_length: int, blank: int
) -> np.ndarray:
    """How probable each class is at each time, given that the labels come out: shape (time, class).

    Zero from *input_length* on; nan before it where no alignment gives the labels.
    """
    times, last = _lengths(log_probs, labels, input_length, label_length)
    found: np.ndarray = np.zeros(log_probs.shape)
    if times == 0:
        return found
    emitted = _emitted(log_probs, labels, times, last, blank)
    forward, backward = _forward(emitted, labels, True), _backward(emitted, labels)
    for time in range(times):
        total = -math.inf
        for state in range(last + 1):
            total = _added(total, forward[time, state] + backward[time, state])
        for state in range(last + 1):
            joint = math.exp(forward[time, state] + backward[time, state] - total)
            label = labels[state // 2] if state % 2 else blank
            if joint != joint:
                found[time, :] = math.nan
            elif 0 <= label < found.shape[1]:
                found[time, label] += joint
    return found


@inlined
def _lengths(log_probs: np.ndarray, labels: np.ndarray, input_length: int, label_length: int) -> tuple[int, int]:
    """How many times there are, and the last state."""
    return min(max(input_length, 0), log_probs.shape[0]), 2 * min(max(label_length, 0), len(labels))


@inlined
def _emitted(log_probs: np.ndarray, labels: np.ndarray, times: int, last: int, blank: int) -> np.ndarray:
    """The log probability of each state's class at each time; -inf of a class that is none."""
    found = np.full((times, last + 1), -math.inf)
    for state in range(last + 1):
        label = labels[state // 2] if state % 2 else blank
        if 0 <= label < log_probs.shape[1] and (state % 2 == 0 or label != blank):
            found[:, state] = log_probs[:times, label]
    return found


@inlined
def _forward(emitted: np.ndarray, labels: np.ndarray, shifted: bool) -> np.ndarray:
    """log P(this state at this time, and all classes up to it); *shifted*, less the largest of that time."""
    alpha = np.full(emitted.shape, -math.inf)
    for time in range(emitted.shape[0]):
        for state in range(emitted.shape[1]):
            if time == 0:
                into = 0.0 if state < 2 else -math.inf
            else:
                before = alpha[time - 1]
                beside = before[state - 1] if state > 0 else -math.inf
                beyond = before[state - 2] if _steps_over(state, labels) else -math.inf
                into = _added(_added(before[state], beside), beyond)
            alpha[time, state] = into + emitted[time, state]
        if shifted:
            _shift(alpha[time])
    return alpha


@inlined
def _backward(emitted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log P(all classes after this time, given this state at it), less the largest of that time."""
    times, states = emitted.shape
    beta = np.full(emitted.shape, -math.inf)
    beta[times - 1, max(states - 2, 0) :] = 0.0
    for time in range(times - 2, -1, -1):
        after = beta[time + 1] + emitted[time + 1]
        for state in range(states):
            beside = after[state + 1] if state + 1 < states else -math.inf
            over = state + 2 < states and _steps_over(state + 2, labels)
            beyond = after[state + 2] if over else -math.inf
            beta[time, state] = _added(_added(after[state], beside), beyond)
        _shift(beta[time])
    return beta


@inlined
def _shift(row: np.ndarray) -> None:
    """Take the largest entry from all: of logs near -1e12 no difference below 1e-4 would be left."""
    largest = row.max()
    if largest > -math.inf:
        row -= largest


@inlined
def _ends(final: np.ndarray) -> float:
    """The log probability of the last label or the last blank at the last time."""
    return _added(final[-1], final[-2]) if len(final) > 1 else final[-1]


@inlined
def _steps_over(state: int, labels: np.ndarray) -> bool:
    """Whether the blank before *state* may be left out."""
    return state % 2 == 1 and state >= 3 and labels[state // 2] != labels[state // 2 - 1]


@inlined
def _added(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    larger, smaller = (a, b) if a >= b else (b, a)
    if larger != larger or smaller != smaller:
        return math.nan
    if smaller == -math.inf:
        return larger
    return larger + math.log1p(math.exp(smaller - larger))
