"""Connectionist temporal classification: the probability that some alignment of a sequence gives its labels.

An alignment says one class at each time; equal neighbours are merged, then blanks removed. With the labels l_1 ... l_U
go the states blank, l_1, blank, l_2, ..., l_U, blank. An alignment starts in one of the first two, ends in one of the
last two, and at each time stays, steps on, or steps over the blank between two different labels.

Source:
    Graves, Fernandez, Gomez, Schmidhuber, Connectionist temporal classification, ICML (2006), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def states(labels: Sequence[int], blank: int) -> list[tuple[int, list[int]]]:
    """The class of each state, and from which states one comes into it."""
    found: list[tuple[int, list[int]]] = []
    for place in range(2 * len(labels) + 1):
        if place % 2 == 0:
            found.append((blank, [one for one in (place, place - 1) if one >= 0]))
        else:
            label = labels[place // 2]
            over = place >= 3 and label != labels[place // 2 - 1]
            found.append((label, [place, place - 1, *([place - 2] if over else [])]))
    return found


def loss(
    log_probs: np.ndarray, labels: np.ndarray, input_length: np.ndarray, label_length: np.ndarray, blank: np.ndarray
) -> np.ndarray:
    """Minus the log probability of the labels: inf where no alignment gives them.

    Args:
        log_probs: Shape (..., time, class).
        labels: Shape (..., position); those from `label_length` on do not matter.
        input_length: Shape (...,), as are the others; times from there on do not matter.
        label_length: How many labels there are.
        blank: The class of the blank.
    """
    lattice = _Lattice(log_probs, labels, input_length, label_length, blank)
    return -lattice.total(lattice.forward()).reshape(lattice.shape)


def occupancy(
    log_probs: np.ndarray, labels: np.ndarray, input_length: np.ndarray, label_length: np.ndarray, blank: np.ndarray
) -> np.ndarray:
    """How probable each class is at each time, given that the labels come out: shape (..., time, class).

    Zero from `input_length` on; nan before it where no alignment gives the labels.
    """
    lattice = _Lattice(log_probs, labels, input_length, label_length, blank)
    forward, backward = lattice.forward(), lattice.backward()
    with np.errstate(invalid="ignore"):  # minus infinity less itself: no alignment
        joint = np.exp(forward + backward - lattice.total(forward)[:, None, None])
    times = np.arange(forward.shape[1])[:, None]
    joint = np.where(times < lattice.input_length[:, None, None], joint, 0.0)
    found = np.zeros(lattice.log_probs.shape)
    for state in range(lattice.classes.shape[1]):
        places = np.arange(len(found)), slice(None), lattice.classes[:, state]
        found[places] += np.where(lattice.reachable[:, None, state], joint[:, :, state], 0.0)
    found = np.where(np.isnan(joint).any(axis=2, keepdims=True), np.nan, found)
    return found.reshape(*lattice.shape, *found.shape[1:])


class _Lattice:
    """The states of a batch of sequences, and the log probability of each of them at each time."""

    def __init__(self, log_probs: np.ndarray, labels: np.ndarray, *scalars: np.ndarray) -> None:
        self.shape: tuple[int, ...] = np.broadcast_shapes(
            log_probs.shape[:-2], labels.shape[:-1], *(np.shape(one) for one in scalars)
        )
        count = int(np.prod(self.shape))
        times, classes = log_probs.shape[-2:]
        self.log_probs = np.broadcast_to(log_probs, (*self.shape, times, classes)).reshape(count, times, classes)
        positions = labels.shape[-1]
        labels = np.broadcast_to(labels, (*self.shape, positions)).reshape(count, positions).astype(np.int64)
        input_length, label_length, blank = (
            np.broadcast_to(one, self.shape).reshape(count).astype(np.int64) for one in scalars
        )
        self.input_length = np.clip(input_length, 0, times)
        self.last = 2 * np.clip(label_length, 0, labels.shape[1])
        self.classes = np.repeat(blank[:, None], 2 * labels.shape[1] + 1, axis=1)
        self.classes[:, 1::2] = labels
        place = np.arange(self.classes.shape[1])
        label = place % 2 == 1
        inside = (self.classes >= 0) & (self.classes < classes) & ~(label & (self.classes == blank[:, None]))
        self.reachable = inside & (place <= self.last[:, None])
        self.classes = np.where(inside, self.classes, 0)
        self.skips = np.zeros(self.classes.shape, bool)
        self.skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
        at = np.take_along_axis(self.log_probs, self.classes[:, None, :].repeat(times, axis=1), axis=2)
        self.emitted: np.ndarray = np.where(self.reachable[:, None, :], at, -np.inf)

    def forward(self) -> np.ndarray:
        """log P(this state at this time, and all classes up to it): shape (count, times, states)."""
        alpha: np.ndarray = np.full(self.emitted.shape, -np.inf)
        for time in range(alpha.shape[1]):
            if time == 0:
                into = np.where(np.arange(alpha.shape[2]) < 2, 0.0, -np.inf)[None]
            else:
                into = self._merged(alpha[:, time - 1], self.skips, back=True)
            alpha[:, time] = into + self.emitted[:, time]
        return alpha

    def backward(self) -> np.ndarray:
        """log P(all classes after this time, given this state at it): shape (count, times, states)."""
        beta: np.ndarray = np.full(self.emitted.shape, -np.inf)
        place = np.arange(beta.shape[2])
        ends = np.where((place == self.last[:, None]) | (place == self.last[:, None] - 1), 0.0, -np.inf)
        for time in reversed(range(beta.shape[1])):
            here: np.ndarray = np.full(ends.shape, -np.inf)
            if time + 1 < beta.shape[1]:
                skips = np.zeros_like(self.skips)
                skips[:, :-2] = self.skips[:, 2:]
                here = self._merged(beta[:, time + 1] + self.emitted[:, time + 1], skips, back=False)
            beta[:, time] = np.where((self.input_length == time + 1)[:, None], ends, here)
        return beta

    def total(self, alpha: np.ndarray) -> np.ndarray:
        """The log probability of the labels."""
        if not alpha.shape[1]:
            return np.where(self.last == 0, 0.0, -np.inf)
        final = np.take_along_axis(alpha, np.maximum(self.input_length - 1, 0)[:, None, None], axis=1)[:, 0]
        ends = np.stack([self.last, np.maximum(self.last - 1, 0)], axis=1)
        both = np.take_along_axis(final, ends, axis=1)
        both[:, 1] = np.where(self.last == 0, -np.inf, both[:, 1])
        empty = np.where(self.last == 0, 0.0, -np.inf)
        return np.where(self.input_length == 0, empty, _logsumexp(both))

    def _merged(self, numbers: np.ndarray, skips: np.ndarray, *, back: bool) -> np.ndarray:
        """The sum over this state, its neighbour, and the one beyond where that step is allowed."""
        nothing = np.full((len(numbers), 2), -np.inf)
        padded = np.concatenate([nothing, numbers] if back else [numbers, nothing], axis=1)
        shifts = (2, 1, 0) if back else (0, 1, 2)
        size = numbers.shape[1]
        here, beside, beyond = (padded[:, start : start + size] for start in shifts)
        return _logsumexp(np.stack([here, beside, np.where(skips, beyond, -np.inf)], axis=-1))


def _logsumexp(numbers: np.ndarray) -> np.ndarray:
    from scipy.special import logsumexp  # of workers only the reference's has to have it

    with np.errstate(all="ignore"):
        return np.asarray(logsumexp(numbers, axis=-1))
