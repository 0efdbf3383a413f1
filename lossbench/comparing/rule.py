"""When a difference in time is called one: the same rule for stored samples, for `--confirm` and for its own test.

The unit is the process: the samples of one share its luck, so that taking them for independent finds differences where
there are none. What is compared is one time for each fresh process, in pairs, as the logarithm of head to base.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Verdict = Literal["slower", "faster", "same", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "same", "inconclusive")

BOUND = 0.01  # of the logarithm: a smaller change is no news, and no measurement here shows it
LEVEL = 0.01  # how often, at most, a whole table calls something a change that is within the bound
FEWEST = 5  # pairs: of fewer the exact test says nothing, not even where all agree
SAME = 0.3  # of that level is what "same" may be wrong by: a change must not be lost where more pairs would show it
AGREED = 2.0**-FEWEST  # what it says where five pairs agree
CONFIDENCE = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How head's time relates to base's.

    Attributes:
        ratio: Head to base, by the Hodges-Lehmann estimate; nan where nothing can be said.
        low, high: The ends of its 95 % bootstrap interval over pairs.
        pairs: How many.
        bound: The logarithm of the smallest ratio that counts.
        p_slower, p_faster: How likely such pairs are if head is at most *bound* slower, or faster.
        p_same: How likely they are if it is slower, or faster, by at least twice `BOUND`.
    """

    ratio: float
    low: float
    high: float
    pairs: int
    bound: float
    p_slower: float
    p_faster: float
    p_same: float

    def verdict(self, level: float = LEVEL) -> Verdict:
        """What is sure enough at this *level*."""
        if self.p_slower <= level:
            return "slower"
        if self.p_faster <= level:
            return "faster"
        return "same" if self.p_same <= SAME * level else "inconclusive"


def time_of(seconds: Sequence[float]) -> float:
    """What stands for a process: the mean of the faster half of its samples.

    Disturbances only add, so the slower half tells of the machine. The minimum alone is a worse witness: over 104 pairs
    of fresh processes here its logarithm was off by 0.93 % (root mean square), that of the median by 0.67 %, this by
    0.60 %.
    """
    return float(np.sort(seconds)[: math.ceil(len(seconds) / 2)].mean())


def decide(base: Sequence[float], head: Sequence[float], *, bound: float = BOUND, paired: bool = True) -> Decision:
    """Compare the times of *base* and *head*, one for each process.

    Two tests have to agree. Student's gives probabilities as small as a table of hundreds of rows needs, but believes
    in bell curves; the exact one, of signed ranks or of ranks, believes in nothing, but cannot be sure of few pairs.

    Args:
        base, head: Seconds, of the same processes in pairs, or not.
        bound: The logarithm of the smallest ratio that counts.
        paired: Whether those of one place ran side by side.
    """
    before, after = np.log(base), np.log(head)
    apart = _apart(before, after, paired=paired)
    count = min(len(before), len(after))
    shift = change(base, head, paired=paired)
    if count < FEWEST:
        return Decision(
            ratio=math.exp(shift),
            low=math.nan,
            high=math.nan,
            pairs=count,
            bound=bound,
            p_slower=1.0,
            p_faster=1.0,
            p_same=1.0,
        )

    def test(off: float, side: Literal["greater", "less"]) -> float:
        """How likely such times are if head is not *side* of *off*."""
        if paired:
            exact = stats.wilcoxon(apart - off, alternative=side)
        else:
            exact = stats.mannwhitneyu(after - off, before, alternative=side, method="exact")
        if not exact.pvalue <= AGREED:
            return 1.0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Precision loss")  # of times that are all equal
            if paired:
                return float(stats.ttest_1samp(apart, off, alternative=side).pvalue)
            return float(stats.ttest_ind(after - off, before, equal_var=False, alternative=side).pvalue)

    low, high = _interval(before, after, paired=paired)
    return Decision(
        ratio=math.exp(shift),
        low=math.exp(low),
        high=math.exp(high),
        pairs=count,
        bound=bound,
        p_slower=test(bound, "greater"),
        p_faster=test(-bound, "less"),
        p_same=max(test(2 * BOUND, "less"), test(-2 * BOUND, "greater")),
    )


def change(base: Sequence[float], head: Sequence[float], *, paired: bool = True) -> float:
    """The logarithm of head's time to base's, by the Hodges-Lehmann estimate; nan where there are none."""
    apart = _apart(np.log(base), np.log(head), paired=paired)
    return float(_between(apart, paired=paired)) if apart.size else math.nan


def adjusted(p: Sequence[float]) -> np.ndarray:
    """The probabilities of one table, made larger so that *LEVEL* is the rate of false discoveries among its findings.

    Source:
        Benjamini and Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    return np.asarray(stats.false_discovery_control(np.asarray(p, np.float64))) if len(p) else np.zeros(0)


def fence(changes: Sequence[float]) -> float:
    """What chance alone hardly exceeds, judged by changes (logarithms) of which none is one: Tukey's outer fence."""
    size = np.abs(changes)
    if len(size) < FEWEST:
        return float(size.max(initial=0.0))
    lower, upper = np.quantile(size, [0.25, 0.75])
    return float(upper + 3 * (upper - lower))


def _between(apart: np.ndarray, *, paired: bool) -> np.ndarray:
    """Hodges-Lehmann along the last axes: the median of all means of two, or of all differences of two samples."""
    if not paired:
        return np.asarray(np.median(apart, axis=(-2, -1)))
    first, second = np.triu_indices(apart.shape[-1])
    return np.asarray(np.median((apart[..., first] + apart[..., second]) / 2, axis=-1))


def _apart(before: np.ndarray, after: np.ndarray, *, paired: bool) -> np.ndarray:
    return np.asarray(after - before if paired else after[..., :, None] - before[..., None, :])


def _interval(before: np.ndarray, after: np.ndarray, *, paired: bool) -> tuple[float, float]:
    def estimate(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return _between(_apart(one, other, paired=paired), paired=paired)

    found = stats.bootstrap(
        (before, after),
        estimate,
        paired=paired,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=0,  # a table reads the same whenever it is made
    ).confidence_interval
    return float(found.low), float(found.high)
