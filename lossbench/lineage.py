"""Which targets share code or a formula: those that give the same wrong number at the same points, beyond chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from lossbench import shown, verdicts
from lossbench.accuracy import outcome
from lossbench.answers import Answers, Certified
from lossbench.records import Case, Job, Target
from lossbench.store import Store
from lossbench.ulp import FORMATS, Exact, entries

# A link between two targets: they agree in so great a part of the entries at which either is wrong, in so many
# different numbers, and chance would give that with a probability of at most 2**-BITS. A run looks at some thousand
# pairs, so that chance links none in a million runs.
SHARE = 0.5
DISTINCT = 8
BITS = 32.0

POINTS = ("domain", "worst", "edge")


@dataclass(frozen=True, kw_only=True)
class Link:
    """What two targets have in common where they are wrong; counts are of entries of values and gradients.

    Attributes:
        either: Entries at which one of them, or both, are wrong.
        both: Those at which both are, with finite numbers.
        shared: Those at which these are one and the same number.
        distinct: Different shared numbers, 0 not counted: many ways lead to it.
        chance: How many of `both` independent rounding would make the same, on average.
        strange: Entries at which both gave nan or the same wrong infinity: weak evidence, which counts in nothing else.
    """

    targets: tuple[str, str]
    either: int
    both: int
    shared: int
    distinct: int
    chance: float
    strange: int

    @property
    def share(self) -> float:
        """Of the entries at which either is wrong, the part in which they agree bit for bit."""
        return self.shared / self.either if self.either else 0.0

    @property
    def bits(self) -> float:
        """Minus the binary logarithm of a bound for the probability that chance makes so many the same.

        Source:
            Hoeffding, On the Distribution of the Number of Successes in Independent Trials, Ann. Math. Stat. 27 (1956).
        """
        if not self.both or self.shared / self.both <= self.chance / self.both:
            return 0.0
        seen, expected = self.shared / self.both, self.chance / self.both
        far = seen * math.log2(seen / expected)
        near = (1 - seen) * math.log2((1 - seen) / (1 - expected)) if seen < 1 else 0.0
        return self.both * (far + near)

    @property
    def holds(self) -> bool:
        """Whether it is beyond chance."""
        return self.share >= SHARE and self.distinct >= DISTINCT and self.bits >= BITS


@dataclass(frozen=True, kw_only=True)
class Group:
    """Targets that are linked with one another, directly or through others.

    Attributes:
        shared: Entries at which all of them give the same wrong number.
        links: Those between its members that hold.
        example: The shared wrong number that is farthest off: its input, what came out, what must come out.
        frameworks: Whose they are, each once; modes and versions of a single one have much in common anyway.
    """

    loss: str
    dtype: str
    targets: tuple[str, ...]
    shared: int
    links: tuple[Link, ...]
    example: str
    frameworks: tuple[str, ...]


@dataclass
class Wrong:
    """The entries of one loss and dtype at which some target is wrong, one column for each.

    Attributes:
        targets: Their names.
        got: Shape (targets, n); nan also where there is no answer.
        wrong: Shape (targets, n); false where there is no answer.
        answered: Shape (targets, n).
        distance, grain: Shape (targets, n): how far the number is off, and the spacing of the numbers that could have
            come out: that of its own last bit, since differences of rounded numbers are coarse.
        places: Of each entry the case, the name of the array and the flat index.
    """

    targets: tuple[str, ...]
    got: np.ndarray
    wrong: np.ndarray
    answered: np.ndarray
    distance: np.ndarray
    grain: np.ndarray
    places: list[tuple[Case, str, int]] = field(default_factory=list)


def groups(store: Store | Answers) -> list[Group]:
    """Every group of a run, see `ordered`."""
    answers = Answers.of(store)
    found = []
    for loss in answers.losses:
        for dtype in dict.fromkeys(job.case.dtype for job in answers.by_loss[loss]):
            wrong = gathered(answers, loss, dtype)
            found += [_group(answers, loss, dtype, wrong, links) for links in connected(list(pairs(wrong)))]
    return ordered(found)


def ordered(found: Iterable[Group]) -> list[Group]:
    """Those of several frameworks first, then by how much they share."""
    return sorted(found, key=lambda one: (-len(one.frameworks), -one.shared, one.loss, one.dtype))


def pairs(wrong: Wrong) -> Iterator[Link]:
    """What each two targets have in common."""
    for one, other in combinations(range(len(wrong.targets)), 2):
        asked = wrong.answered[one] & wrong.answered[other]
        both = wrong.wrong[one] & wrong.wrong[other] & asked
        mine, theirs = wrong.got[one], wrong.got[other]
        finite = np.isfinite(mine) & np.isfinite(theirs) & both
        same = finite & (mine == theirs)
        alike = both & ((np.isnan(mine) & np.isnan(theirs)) | (np.isinf(mine) & (mine == theirs)))
        numbers = np.unique(mine[same])
        yield Link(
            targets=(wrong.targets[one], wrong.targets[other]),
            either=int(((wrong.wrong[one] | wrong.wrong[other]) & asked & ~alike).sum()),
            both=int(finite.sum()),
            shared=int(same.sum()),
            distinct=int((numbers != 0).sum()),
            chance=float(_chances(wrong, one, other)[finite].sum()),
            strange=int(alike.sum()),
        )


def _chances(wrong: Wrong, one: int, other: int) -> np.ndarray:
    """The probability that two numbers, as far off as the farther and as coarse as the coarser, are the same.

    So far and no farther there are about 2 * distance / grain numbers, of which two at least are taken to be there.
    """
    distance = np.maximum(wrong.distance[one], wrong.distance[other])
    grain = np.maximum(wrong.grain[one], wrong.grain[other])
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(1.0 / np.fmax(2.0 * distance / grain, 2.0))


def connected(links: Sequence[Link]) -> list[list[Link]]:
    """The links that hold, those of one component together."""
    parts: list[tuple[set[str], list[Link]]] = []
    for link in (one for one in links if one.holds):
        touched = [part for part in parts if part[0] & {*link.targets}]
        names = set(link.targets).union(*(part[0] for part in touched))
        parts = [part for part in parts if part not in touched]
        parts.append((names, [*(one for part in touched for one in part[1]), link]))
    return [found for _, found in parts]


def gathered(answers: Answers, loss: str, dtype: str) -> Wrong:
    """The entries of unreduced points and of edges at which some target is off by more than an ulp, or in kind."""
    by_case: dict[Case, list[Job]] = {}
    for job in answers.by_loss[loss]:
        plain = job.case.points == "edge" or (job.case.reduction == "none" and not job.case.weighted)
        if job.measure == "accuracy" and job.case.dtype == dtype and job.case.points in POINTS and plain:
            by_case.setdefault(job.case, []).append(job)
    names = tuple(dict.fromkeys(job.target.name for jobs in by_case.values() for job in jobs))
    columns: list[np.ndarray] = []
    places: list[tuple[Case, str, int]] = []
    for case, jobs in by_case.items():
        certified = answers.certified(case)
        if not isinstance(certified, Certified):
            continue
        outputs = {job.target.name: answers.got(job, certified) for job in jobs}
        for name, of in certified.exact.items():
            found = _columns(names, {target: got[name] for target, got in outputs.items() if name in got}, of)
            kept = np.flatnonzero(found[1].any(axis=0))
            columns.append(found[:, :, kept])
            places += [(case, name, int(index)) for index in kept]
    got, wrong, answered, distance, grain = np.concatenate(columns, axis=2) if columns else np.zeros((5, len(names), 0))
    return Wrong(names, got, wrong > 0, answered > 0, distance, grain, places)


def _columns(names: Sequence[str], got: Mapping[str, np.ndarray], of: Exact) -> np.ndarray:
    """The arrays of `Wrong` for one array of a case, as numbers: shape (5, targets, entries)."""
    found = np.zeros((5, len(names), of.high.size))
    found[0] = np.nan
    found[4] = 1.0
    for place, name in enumerate(names):
        if name in got and got[name].size == of.high.size:
            numbers = got[name].ravel().astype(np.float64)
            compared = entries(numbers, of, tolerated=verdicts.tolerated(of.terms))
            far = (compared.ulps > 1) & (compared.judged > 1)
            amiss = compared.nan | compared.inf | compared.finite | compared.missed | far
            found[0, place] = numbers
            found[1, place] = amiss.ravel()
            found[2, place] = 1.0
            with np.errstate(invalid="ignore"):
                found[3, place] = np.abs(numbers - of.high.ravel())
            found[4, place] = _grain(numbers, of.dtype)
    return found


def _grain(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The value of the last bit that is 1, at least the smallest subnormal number of *dtype*; 1 at 0, nan, infinity."""
    form = FORMATS[dtype]
    usual = np.where(np.isfinite(numbers) & (numbers != 0), numbers, 1.0)
    significand, exponent = np.frexp(usual)
    whole = np.abs(np.ldexp(significand, 53)).astype(np.int64)
    return np.asarray(np.maximum(np.ldexp((whole & -whole).astype(np.float64), exponent - 53), form.smallest))


def _group(answers: Answers, loss: str, dtype: str, wrong: Wrong, links: Sequence[Link]) -> Group:
    members = [name for name in wrong.targets if any(name in link.targets for link in links)]
    rows = [wrong.targets.index(name) for name in members]
    got = wrong.got[rows]
    common = wrong.wrong[rows].all(axis=0) & np.isfinite(got).all(axis=0) & (got == got[0]).all(axis=0)
    pair = [wrong.targets.index(name) for name in max(links, key=lambda link: link.shared).targets]
    # A chain of links need not have a number that all its ends share: then one of its strongest link is shown.
    seen = common if common.any() else wrong.wrong[pair].all(axis=0) & (wrong.got[pair[0]] == wrong.got[pair[1]])
    relative = np.where(seen, wrong.distance[pair[0]] / wrong.grain[pair[0]], -1.0)
    at = int(relative.argmax())
    case, name, index = wrong.places[at]
    certified = answers.certified(case)
    assert isinstance(certified, Certified), "only certified cases are gathered"
    text = outcome(answers.losses[loss], case, certified, name, index, float(wrong.got[pair[0], at]), few=shown.FEW)
    who = {job.target.name: job.target for job in answers.jobs}
    return Group(
        loss=loss,
        dtype=dtype,
        targets=tuple(members),
        shared=int(common.sum()),
        links=tuple(links),
        example=f"{name}: {text}" if name != "value" else text,
        frameworks=frameworks(who[one] for one in members),
    )


def frameworks(targets: Iterable[Target]) -> tuple[str, ...]:
    """Whose the targets are, each once; Keras is itself whatever it stands on."""
    return tuple(dict.fromkeys("keras" if one.mode == "keras" else one.framework for one in targets))
