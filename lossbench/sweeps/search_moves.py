"""Steps from a point to others near it: to neighbours at all powers of two, in one number or in several at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lossbench.sweeps.search_space import Points, Space, bits, stepped

# How often each move is made; those of single numbers most, because they are what finds the last bits.
MOVES: Mapping[str, int] = {
    "one": 8,
    "several": 4,
    "all": 2,
    "low bits": 3,
    "like another": 3,
    "negated": 1,
    "mixed": 2,
}


def children(space: Space, parents: Points, random: np.random.RandomState) -> Points:
    """A point near each of the *parents*, inside the domains."""
    names, odds = list(MOVES), np.array([*MOVES.values()], float)
    chosen = random.choice(len(names), len(parents), p=odds / odds.sum())
    places, labels = parents.places.copy(), parents.labels.copy()
    for index, name in enumerate(names):
        rows = np.flatnonzero(chosen == index)
        if len(rows) and places.shape[1]:
            places[rows] = _MOVES[name](space, parents.places, rows, random)
    if labels.shape[1]:
        _redraw(space, labels, random)
    return space.inside(Points(places, labels), parents)


def steps(random: np.random.RandomState, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Powers of two of either sign, from one place to a quarter of all."""
    return np.asarray((2 * random.randint(0, 2, shape) - 1) * 2 ** random.randint(0, bits(dtype) - 2, shape))


def _one(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    found: np.ndarray = places[rows]
    at = (np.arange(len(rows)), random.randint(0, found.shape[1], len(rows)))
    found[at] = stepped(found[at], steps(random, (len(rows),), space.dtype), space.dtype)
    return found


def _several(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    found: np.ndarray = places[rows]
    moving = random.random_sample(found.shape) < 0.5
    return np.asarray(np.where(moving, stepped(found, steps(random, found.shape, space.dtype), space.dtype), found))


def _all(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """The same step away from 0, or towards it, of all numbers: mostly a common factor."""
    found: np.ndarray = places[rows]
    step = np.broadcast_to(steps(random, (len(rows), 1), space.dtype), found.shape)
    return stepped(found, np.sign(found) * step, space.dtype)


def _low_bits(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    found: np.ndarray = places[rows]
    below = 2 ** random.randint(1, bits(space.dtype) - 2, found.shape)
    moving = random.random_sample(found.shape) < 0.5
    low = (random.random_sample(found.shape) * below).astype(np.int64)
    return np.asarray(np.where(moving, np.sign(found) * (np.abs(found) // below * below + low), found))


def _like_another(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """One number made equal to another of the same point, or nearly so."""
    found: np.ndarray = places[rows]
    place = np.arange(len(rows))
    one, other = random.randint(0, found.shape[1], (2, len(rows)))
    near = steps(random, (len(rows),), space.dtype) * random.randint(0, 2, len(rows))
    found[place, one] = stepped(found[place, other], near, space.dtype)
    return found


def _negated(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    found: np.ndarray = places[rows]
    return np.asarray(np.where(random.random_sample(found.shape) < 0.5, -found, found))


def _mixed(space: Space, places: np.ndarray, rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Some numbers of another parent."""
    found: np.ndarray = places[rows]
    other = places[random.randint(0, len(places), len(rows))]
    return np.asarray(np.where(random.random_sample(found.shape) < 0.3, other, found))


_MOVES: Mapping[str, Callable[[Space, np.ndarray, np.ndarray, np.random.RandomState], np.ndarray]] = {
    "one": _one,
    "several": _several,
    "all": _all,
    "low bits": _low_bits,
    "like another": _like_another,
    "negated": _negated,
    "mixed": _mixed,
}


def _redraw(space: Space, labels: np.ndarray, random: np.random.RandomState) -> None:
    """One label of every eighth point, drawn again."""
    rows = np.flatnonzero(random.randint(0, 8, len(labels)) == 0)
    column = random.randint(0, labels.shape[1], len(rows))
    for name in space.labels:
        at = space.columns[name]
        here = rows[(column >= at.start) & (column < at.stop)]
        where = column[(column >= at.start) & (column < at.stop)]
        labels[here, where] = space.label(name, (len(here),), random)
