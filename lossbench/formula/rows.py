"""The functions of rows over extended numbers: reductions, the logarithm of softmax, the threshold of sparsemax."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key

from flint import arb, fmpq

from lossbench.formula.extended import INF, NAN, ZERO, Number, add, ball, is_nan, maximum, mul, neg, sub
from lossbench.formula.functions import sqrt


def sum_of(row: Sequence[Number]) -> Number:
    total: Number = ZERO
    for entry in row:
        total = add(total, entry)
    return total


def greatest(row: Sequence[Number]) -> Number:
    largest = row[0]
    for entry in row[1:]:
        largest = maximum(largest, entry)
    return largest


def least(row: Sequence[Number]) -> Number:
    return neg(greatest([-entry for entry in row]))


def norm(row: Sequence[Number]) -> Number:
    return sqrt(sum_of([mul(entry, entry) for entry in row]))


def logsumexp(row: Sequence[Number]) -> Number:
    if any(is_nan(entry) for entry in row):
        return NAN
    if INF in row:
        return INF
    finite = [entry for entry in row if type(entry) is not float]
    if not finite:
        return -INF
    return finite[0] if len(finite) == 1 else logsumexp_ball([ball(entry) for entry in finite])


def log_softmax(row: Sequence[Number], total: Number) -> list[Number]:
    """The row less its logsumexp, *total*: for the greatest entry too without cancellation."""
    if any(is_nan(entry) or entry == INF for entry in row):
        return [sub(entry, total) for entry in row]
    places = [j for j, entry in enumerate(row) if type(entry) is not float]
    if len(places) < 2:
        return [sub(entry, total) for entry in row]
    logs = dict(zip(places, log_softmax_ball([ball(row[j]) for j in places]), strict=True))
    return [logs.get(j, -INF) for j in range(len(row))]


def log_softmax_ball(row: Sequence[arb]) -> list[arb]:
    at, tail = _greatest_and_tail(row)
    return [-tail if j == at else (entry - row[at]) - tail for j, entry in enumerate(row)]


def logsumexp_ball(row: Sequence[arb]) -> arb:
    """log(sum(exp(row))) as greatest + log1p(the rest), which keeps a rest far below 2**-precision."""
    at, tail = _greatest_and_tail(row)
    return row[at] + tail


def _greatest_and_tail(row: Sequence[arb]) -> tuple[int, arb]:
    """Where the greatest entry stands, and by how much the logsumexp is above it."""
    at = max(range(len(row)), key=lambda j: float(row[j])) if len(row) > 1 else 0
    rest = arb(0)
    for j, entry in enumerate(row):
        if j != at:
            rest += (entry - row[at]).exp()
    return at, rest.log1p()


def threshold(row: Sequence[Number]) -> Number:
    """The number at which what is above it has the sum 1: the projection onto the simplex takes it off."""
    if any(is_nan(entry) for entry in row):
        return NAN
    if INF in row:
        return INF
    finite = [entry for entry in row if type(entry) is not float]
    if not finite:
        return NAN
    if all(type(entry) is fmpq for entry in finite):
        return _threshold(finite)
    return threshold_ball([ball(entry) for entry in finite])


def threshold_ball(row: Sequence[arb]) -> arb:
    """It grows with every entry, so that the ends of the balls enclose it."""
    low, high = (ball(_threshold(ends)) for ends in ([one.lower() for one in row], [one.upper() for one in row]))
    return low.union(high)


def _threshold(row: Sequence[Number]) -> Number:
    """The greatest of (sum of the first k - 1)/k, the entries in falling order; they are exact."""
    total: Number = ZERO
    best: Number = None
    falling = sorted(row, key=cmp_to_key(_order), reverse=True)
    for count, entry in enumerate(falling, 1):
        if best is not None and entry < best:
            break
        total = total + entry
        candidate = (total - 1) / count
        best = candidate if best is None else maximum(best, candidate)
    return best


def _order(a: Number, b: Number) -> int:
    """1, 0 or -1: flint's exact balls have no order that sorting takes."""
    return int(bool(a > b)) - int(bool(a < b))
