"""What a sweep is made of: losses x targets x dtypes -> shards. Pure: nothing is asked, and no framework imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from lossbench import spec
from lossbench.errors import LossbenchError
from lossbench.inputs import rounded
from lossbench.loss import Loss
from lossbench.records import Target
from lossbench.shown import decimal
from lossbench.sweeps import patterns
from lossbench.sweeps.shard import Method, Shard
from lossbench.text import Domain, Dtype, Number

TARGETS = ("torch:eager", "tensorflow:eager", "jax:compiled", "numba:compiled")
SIZE = 1 << 20  # patterns of a shard: seconds of work
MOST_BITS = 32  # of all inputs that are swept together: an hour of work
BRIEF = 16  # bits beyond which each setting of the others takes so long that only their first is swept

# The numbers that the other inputs stay at while one is swept: its neighbours, small and large ones, and the ends.
VALUES: Mapping[Domain, tuple[float, ...]] = {
    "real": (0.0, 1.0, -2.5, 2.0**-10, 1024.0),
    "positive": (1.0, 2.0**-10, 2.5, 1024.0),
    "nonnegative": (0.0, 1.0, 2.0**-10, 2.5, 1024.0),
    "nonzero": (1.0, -2.5, 2.0**-10, 1024.0),
    "unit": (0.0, 1.0, 0.5, 2.0**-6, 0.75),
    "sign": (-1.0, 1.0),
    "binary": (0.0, 1.0),
    "logarithm": (0.0, 1.0, -2.5, 8.0),
    "count": (0.0, 1.0, 3.0, 100.0, 1024.0),
}
FINITE: tuple[Domain, ...] = ("sign", "binary")


def elementwise() -> list[Loss]:
    """Every elementwise loss."""
    return [loss for loss in spec.load_all() if is_elementwise(loss)]


def is_elementwise(loss: Loss) -> bool:
    """Whether all of its inputs are single numbers."""
    return not loss.axes and not loss.accumulated and all(one.kind == "real" for one in loss.inputs.values())


def method(loss: Loss, dtype: str, at: Mapping[str, Number] | None = None, *, grid: bool = False) -> Method:
    """How a loss is swept where nobody says: through all inputs where that is possible in minutes, or asked for."""
    small = dtype in patterns.BITS and patterns.BITS[dtype] == 16
    return "exhaustive" if (is_elementwise(loss) and small) or at or grid else "search"


def exhaustive(
    loss: Loss,
    targets: Sequence[Target],
    dtype: Dtype,
    *,
    at: Mapping[str, Number] | None = None,
    grid: bool = False,
) -> list[Shard]:
    """Every shard of an exhaustive sweep; those that differ in their target alone follow one another.

    Args:
        loss: An elementwise one.
        targets: Who is asked.
        dtype: Of 16 bits, or float32.
        at: Inputs and parameters that stay at one number, rounded to the dtype, in place of several.
        grid: Whether pairs of the first two real inputs are swept, instead of one input at some numbers of the others.

    Raises:
        LossbenchError: There are too many inputs to try all, a name in *at* is unknown, or the loss has no two inputs
            for a grid.
    """
    width = patterns.BITS.get(dtype, 64) * (2 if grid else 1)
    if not is_elementwise(loss):
        raise LossbenchError(
            f"{loss.name} has inputs that are no single numbers: too many to try all; expected --search"
        )
    if width > MOST_BITS:
        what = f"pairs of {dtype} numbers" if grid else f"{dtype} numbers"
        raise LossbenchError(f"there are too many {what} to try all; expected --search, or fewer bits")
    return [
        Shard(
            loss=loss.name,
            digest=loss.digest,
            target=target,
            dtype=dtype,
            method="exhaustive",
            swept=swept,
            at=fixed,
            first=first,
            last=min(first + SIZE, 1 << width),
        )
        for swept, fixed in _questions(loss, dtype, at or {}, grid=grid)
        for first in range(0, 1 << width, SIZE)
        for target in targets
    ]


def searches(loss: Loss, targets: Sequence[Target], dtype: Dtype, *, evaluations: int, seed: int = 0) -> list[Shard]:
    """Every shard of a search: one for the defaults of the parameters, and one for each value beside them.

    Raises:
        LossbenchError: The loss is kept in a state, or nothing is to be evaluated.
    """
    if evaluations < 1:
        raise LossbenchError(f"{evaluations} evaluations find nothing; expected at least 1")
    if loss.accumulated:
        raise LossbenchError(f"{loss.name} is kept in a state; expected a loss of elements, rows or batches")
    return [
        Shard(
            loss=loss.name,
            digest=loss.digest,
            target=target,
            dtype=dtype,
            method="search",
            swept=tuple(loss.inputs),
            at=at,
            last=evaluations,
            seed=seed,
        )
        for at in [{}, *({name: value} for name, one in loss.parameters.items() for value in one.values)]
        for target in targets
    ]


def share(shards: Sequence[Shard], text: str) -> list[Shard]:
    """The K-th of N shares for "K/N": together they are all shards, each in one share, whatever the order.

    Shards that differ in their target alone stay together: they have one reference.

    Raises:
        LossbenchError: *text* is not K/N with 1 <= K <= N.
    """
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise LossbenchError(f"--shard is {text!r}; expected K/N with K from 1 to N, such as 3/64")
    place = {key: at for at, key in enumerate(sorted({shard.question for shard in shards}))}
    return [shard for shard in shards if place[shard.question] % int(match[2]) == int(match[1]) - 1]


def values(loss: Loss, name: str, dtype: str) -> list[Number]:
    """The numbers at which an input that is not swept stays, as exact numbers of the dtype."""
    return _exactly(VALUES[loss.inputs[name].domain], dtype)


Fixed = dict[str, Number | list[Number]]


def _questions(
    loss: Loss, dtype: Dtype, at: Mapping[str, Number], *, grid: bool
) -> Iterator[tuple[tuple[str, ...], Fixed]]:
    """What is swept, and where everything else stays."""
    known = {**loss.inputs, **loss.parameters}
    for name in at:
        if name not in known:
            raise LossbenchError(f"{loss.name} takes no {name!r}; expected: {', '.join(known)}")
    free = [name for name in loss.inputs if name not in at]
    if grid:
        pair = tuple(name for name in free if loss.inputs[name].domain not in FINITE)[:2]
        if len(pair) < 2:
            raise LossbenchError(f"{loss.name} has no two inputs that run over many numbers; expected no --grid")
        choices = [pair]
    else:
        choices = [(name,) for name in free if loss.inputs[name].grad]
    if not choices:
        raise LossbenchError(f"every prediction of {loss.name} is fixed; expected one to be swept")
    brief = patterns.BITS[dtype] * len(choices[0]) > BRIEF
    for swept in choices:
        for fixed in _settings(loss, dtype, at, [name for name in free if name not in swept], brief=brief):
            yield swept, fixed


def _settings(
    loss: Loss, dtype: Dtype, at: Mapping[str, Number], free: Sequence[str], *, brief: bool
) -> Iterator[Fixed]:
    """Where inputs and parameters stay: one at a time moves from its first number; those of few numbers have all.

    Where *brief*, only those move that have few numbers.
    """
    several = {name: values(loss, name, dtype) for name in free}
    for name, one in loss.parameters.items():
        several[name] = _exactly([_float(value) for value in (one.default, *one.values)], dtype)
    several |= {name: _exactly([_float(value)], dtype) for name, value in at.items()}
    finite = [name for name in free if loss.inputs[name].domain in FINITE]
    first: Fixed = {name: numbers[0] for name, numbers in several.items()}
    yield from _combined(first, {name: several[name] for name in finite})
    if not brief:
        for name, numbers in several.items():
            for value in numbers[1:] if name not in finite else ():
                yield from _combined({**first, name: value}, {name: several[name] for name in finite})


def _combined(first: Fixed, several: Mapping[str, Sequence[Number]]) -> Iterator[Fixed]:
    """*first* with every combination of *several*."""
    for combined in product(*several.values()):
        yield {**first, **dict(zip(several, combined, strict=True))}


def _float(value: Number | list[Number]) -> float:
    assert not isinstance(value, list), "a loss of single numbers has no rows"
    return float(spec.exact(value))


def _exactly(numbers: Sequence[float], dtype: str) -> list[Number]:
    """*numbers* rounded to the dtype, as exact texts, none twice."""
    found = rounded(np.asarray(numbers, np.float64), dtype)
    return list(dict.fromkeys(decimal(float(one), "float64") for one in found))
