"""What a measured error is called: every threshold, with its reason, and the rules by which verdicts are joined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from lossbench.records import Reason
from lossbench.ulp import FORMATS, Entries, Exact

Verdict = Literal[
    "exact",  # every result is the float nearest to the exact number
    "faithful",  # one of the two floats around it
    "accurate",  # within the rounding errors that the formula's operations and its conditioning explain
    "inaccurate",  # beyond that, but the error stays small, or the number does
    "wrong",  # not even half of the digits, or nan, an infinity, a finite number where none of them belongs
    "convention",  # accurate but at points where the spec says that there is more than one answer
    "unsupported",  # the spec has no call for this framework, or none for this case
    "refused",  # the framework is not installed, or says in its own words that it does not take this
    "failed",  # no answer: crashed, timed out, out of memory, or there was nothing to compare it with
]
VERDICTS: tuple[Verdict, ...] = (
    "exact",
    "faithful",
    "accurate",
    "inaccurate",
    "wrong",
    "convention",
    "unsupported",
    "refused",
    "failed",
)
GRADES: tuple[Verdict, ...] = VERDICTS[:5]  # those that a single number can get, best first

# Correct rounding is half an ulp by definition; a millionth more covers the arithmetic of the measurement itself.
EXACT = 0.5 + 2.0**-20
FAITHFUL = 1.0
# A loss is a chain of up to about sixteen rounded operations, and good libraries keep each within one ulp.
ACCURATE = 16.0


def tolerated(terms: int = 1) -> float:
    """The error, in ulps after conditioning, up to which a result of *terms* added numbers is accurate.

    Pairwise and blocked sums stay within ceil(log2 n) roundings; a plain loop (n - 1 of them) does not get more,
    because measured means of 1e7 numbers by NumPy, torch, JAX and TensorFlow were within 2.

    Source:
        Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2.
    """
    return ACCURATE + math.ceil(math.log2(max(terms, 1)))


def hopeless(dtype: str) -> float:
    """The judged error in ulps that leaves less than half of the digits: 2**12 for float32."""
    return float(2.0 ** (FORMATS[dtype].precision / 2))


def noticeable(dtype: str) -> float:
    """The error beside 1 that half of the digits would show: 2**-12 for float32.

    Losses and their gradients count beside 1: a loss that should be 4e-16 and is 6e-8 in float32 has no right digit,
    which is inaccurate, but it misleads nobody, so it is not called wrong.
    """
    return 1.0 / hopeless(dtype)


def grades(got: Entries, exact: Exact) -> np.ndarray:
    """The grade of each entry, as its index in `GRADES`.

    Undefined entries get 0: there is nothing to be wrong about. A flushed result, or a missed exact zero, is at best
    accurate.
    """
    dtype = exact.dtype
    grade = np.select([~(got.ulps > EXACT), got.ulps <= FAITHFUL], [0, 1], 2)
    grade = np.where(got.flushed | got.missed, 2, grade)
    poor = got.judged > tolerated(exact.terms)
    lost = poor & (got.judged > hopeless(dtype)) & (got.distance > noticeable(dtype) * exact.unit)
    # An error that conditioning explains can still be a whole ulp or more; a small one is never poor.
    grade = np.where(poor & ~(got.ulps <= FAITHFUL), 3, grade)
    grade = np.where(lost & ~(got.ulps <= FAITHFUL), 4, grade)
    return np.asarray(np.where(got.nan | got.inf | got.finite, 4, grade), np.int8)


def of_refusal(reason: Reason) -> Verdict:
    """What a refused job is called."""
    return _REFUSALS[reason]


_REFUSALS: Mapping[Reason, Verdict] = {
    "unsupported": "unsupported",
    "not installed": "refused",
    "failed": "refused",  # the framework raised: it said no, in its own words
    "crashed": "failed",
    "timed out": "failed",
    "out of memory": "failed",
}

# Where jobs of one cell differ, the first of these that any of them got. No answer weighs less than a wrong one and
# more than an inaccurate one; a case that the framework does not take is no fault of those that it does take.
WORST_FIRST: tuple[Verdict, ...] = (
    "wrong",
    "failed",
    "inaccurate",
    "convention",
    "accurate",
    "faithful",
    "exact",
    "refused",
    "unsupported",
)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several jobs together; unsupported if there are none."""
    return min(verdicts, key=WORST_FIRST.index, default="unsupported")


def excused(verdict: Verdict) -> Verdict:
    """The verdict at a point where the spec says that there is more than one answer."""
    return "convention" if verdict in ("inaccurate", "wrong", "refused") else verdict


Proof = Literal["confirmed", "changed", "fixed", "not run"]
PROOFS: tuple[Proof, ...] = ("confirmed", "changed", "fixed", "not run")


def proof(*, ran: bool, differs: bool, as_declared: bool) -> Proof:
    """What a run says of a declared divergence."""
    if not ran:
        return "not run"
    if not differs:
        return "fixed"
    return "confirmed" if as_declared else "changed"
