"""A store's accuracy answers, each joined with the reference's answer to the same case."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from msgspec.structs import replace

from lossbench import conditioning, curvature, verdicts
from lossbench.agreement import Accuracy, compare, together
from lossbench.loss import Loss
from lossbench.points import POOL
from lossbench.records import REFERENCE, Case, Job, Measure, Output, Refusal, Timing
from lossbench.store import Store
from lossbench.text import BATCH
from lossbench.ulp import Exact

UNCOMPARED = "nothing to compare with"  # how the reason begins where the reference has no answer
KEPT = 64  # References of so many cases stay in memory; plans ask case by case.


@dataclass(frozen=True, kw_only=True)
class Certified:
    """The reference's answer to a case, ready to be compared with.

    Attributes:
        inputs: What went in: inputs and parameters by name, and `sample_weight` where one was given.
        exact: What must come out: `value` and `gradient.<input>`.
    """

    output: Output
    inputs: Mapping[str, np.ndarray]
    exact: Mapping[str, Exact]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a job's answer is worth.

    Attributes:
        parts: The accuracy of `value` and of each `gradient.<input>`; empty where nothing was measured.
        exact: What each was compared with.
        reason: Why not, or what the verdict does not say by itself.
    """

    job: Job
    verdict: verdicts.Verdict
    reason: str = ""
    got: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: Mapping[str, Accuracy] = field(default_factory=dict)
    exact: Mapping[str, Exact] = field(default_factory=dict)

    @property
    def value(self) -> Accuracy | None:
        """The accuracy of the value."""
        return self.parts.get("value")

    @property
    def gradient(self) -> Accuracy | None:
        """The accuracy of all gradients, or Hessian-vector products, together."""
        parts = [part for name, part in self.parts.items() if name != "value"]
        return together(parts) if parts else None


class Answers:
    """The accuracy jobs of a store and what came of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.judged: dict[str, Measured] = {}  # what became of edges and divergences, by job
        self._certified: dict[str, Certified | str] = {}
        self._plain: dict[str, Certified | str] = {}  # the same without how far numbers move
        self._alike: dict[tuple[object, ...], Measured] = {}  # of edges: most targets give the same numbers
        self._hard: dict[str, Certified | str] = {}  # of edges and the like: small, and asked for again

    @classmethod
    def of(cls, store: Store | Answers) -> Answers:
        """Those of *store*; who asks often makes them once and gives them in place of the store."""
        return store if isinstance(store, Answers) else cls(store)

    def about(self, loss: str) -> Answers:
        """Those of one loss, which forget what they have read of it by themselves."""
        found = Answers(self.store)
        found.losses = {loss: self.losses[loss]}
        found.jobs = self.by_loss[loss]
        found.hessians = [job for job in self.hessians if job.case.loss == loss]
        found.by_key = self.by_key
        return found

    @cached_property
    def losses(self) -> dict[str, Loss]:
        """By name, as the run knew them."""
        return self.store.losses()

    @cached_property
    def jobs(self) -> list[Job]:
        """Every planned accuracy job of those who are measured."""
        return [job for job in self.store.jobs() if job.measure == "accuracy" and job.target != REFERENCE]

    @cached_property
    def hessians(self) -> list[Job]:
        """Every planned job of second derivatives of those who are measured."""
        return [job for job in self.store.jobs() if job.measure == "hessian" and job.target != REFERENCE]

    @cached_property
    def by_loss(self) -> dict[str, list[Job]]:
        """The same jobs by the name of their loss."""
        found: dict[str, list[Job]] = {name: [] for name in self.losses}
        for job in self.jobs:
            found[job.case.loss].append(job)
        return found

    @cached_property
    def by_key(self) -> dict[str, Output | Refusal]:
        """The answer to each job that has one."""
        answers = (one for one in self.store.records() if isinstance(one, Output | Refusal | Timing))
        return {one.job.key: one for one in answers if not isinstance(one, Timing)}

    def certified(self, case: Case, measure: Measure = "accuracy") -> Certified | str:
        """The reference's answer to *case*, or why there is none."""
        key = reference_job(case, measure).key
        if case.points in ("edge", "divergence", "worst"):
            if key not in self._hard:
                self._hard[key] = self._read(case, key)
            return self._hard[key]
        return self._keep(self._certified, case, key, weighed=True)

    def _keep(self, kept: dict[str, Certified | str], case: Case, key: str, *, weighed: bool) -> Certified | str:
        if key not in kept:
            if len(kept) >= KEPT:
                kept.pop(next(iter(kept)))
            kept[key] = self._read(case, key, weighed=weighed)
        return kept[key]

    def plain(self, job: Job) -> tuple[Mapping[str, np.ndarray], Certified] | None:
        """What came out of *job* and what must, of which it is not known how far it moves: enough for plain ulps.

        None where either is missing, or not whole.
        """
        answer = self.by_key.get(job.key)
        certified = self._keep(self._plain, job.case, reference_job(job.case).key, weighed=False)
        if not isinstance(answer, Output) or isinstance(certified, str) or answer.inputs != certified.output.inputs:
            return None
        got = self._got(answer, certified)
        whole = all(name in got and got[name].size == one.high.size for name, one in certified.exact.items())
        return (got, certified) if whole else None

    def measured(
        self, job: Job, exact: Mapping[str, Exact] | None = None, *, nan_required: Collection[str] = ()
    ) -> Measured:
        """What came of *job*, beside the reference, or beside *exact*: what was decided of its case."""
        answer = self.by_key.get(job.key)
        if answer is None:
            return Measured(job=job, verdict="failed", reason="no record: the run ended before this job")
        if isinstance(answer, Refusal):
            reason = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
            return Measured(job=job, verdict=verdicts.of_refusal(answer.reason), reason=reason)
        certified = self.certified(job.case, job.measure)
        if isinstance(certified, str):
            return Measured(job=job, verdict="failed", reason=f"{UNCOMPARED}: {certified}")
        if answer.inputs != certified.output.inputs:
            return Measured(job=job, verdict="failed", reason=f"{UNCOMPARED}: the reference had other inputs")
        if exact is None:
            return measure(job, self._got(answer, certified), certified.exact, nan_required=nan_required)
        same = (certified.output.job.key, *answer.arrays.items())
        if same not in self._alike:
            self._alike[same] = measure(job, self._got(answer, certified), exact, nan_required=nan_required)
        return dataclasses.replace(self._alike[same], job=job)

    def got(self, job: Job, certified: Certified) -> Mapping[str, np.ndarray]:
        """What came out of *job* where *certified* is; nothing where it has no output, or one for other inputs."""
        answer = self.by_key.get(job.key)
        if not isinstance(answer, Output) or answer.inputs != certified.output.inputs:
            return {}
        return self._got(answer, certified)

    def _got(self, answer: Output, certified: Certified) -> dict[str, np.ndarray]:
        return {name: self.store.array(digest) for name, digest in answer.arrays.items() if name in certified.exact}

    def _read(self, case: Case, key: str, *, weighed: bool = True) -> Certified | str:
        answer = self.by_key.get(key)
        if answer is None:
            return "the reference has no record of this case"
        if isinstance(answer, Refusal):
            return f"the reference {answer.reason}: {answer.detail}"
        arrays = {name: self.store.array(digest) for name, digest in answer.arrays.items()}
        inputs = {
            name.partition(".")[2] or name: array
            for name, array in arrays.items()
            if name.startswith(("input.", "parameter.")) or name == "sample_weight"
        }
        if answer.job.measure == "hessian":
            found = curvature.exact(case, self.losses[case.loss], arrays, inputs)
            return Certified(output=answer, inputs=inputs | curvature.direction(arrays), exact=found)
        plain = self.by_key.get(reference_job(unreduced(case)).key)
        elements = self.store.array(plain.arrays["value"]) if isinstance(plain, Output) else None
        found = exact(case, self.losses[case.loss], arrays, inputs, elements, weighed=weighed)
        return Certified(output=answer, inputs=inputs, exact=found)


def reference_job(case: Case, measure: Measure = "accuracy") -> Job:
    """The reference's job for *case*."""
    return Job(case=case, target=REFERENCE, measure=measure)


def unreduced(case: Case) -> Case:
    """The case whose values *case* adds up."""
    plain = replace(case, reduction="none", weighted=False)
    return replace(plain, shape=(POOL, *case.shape[1:])) if case.points == "length" else plain


def exact(
    case: Case,
    loss: Loss,
    arrays: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    elements: np.ndarray | None = None,
    *,
    weighed: bool = True,
) -> dict[str, Exact]:
    """What must come out of *case*: `value` and each `gradient.<input>`, with what their errors are weighed by.

    Args:
        case: Says dtype and reduction.
        loss: Says along which axes inputs are and which have gradients.
        arrays: The reference's.
        inputs: What went in.
        elements: The value before weights and reduction, where known: it tells what a sum cancels.
        weighed: Whether errors will be; if not, nothing is said to move, and cases have to be without weights.
    """
    sizes = loss.lengths(inputs)
    counts = arrays.get("counts")  # how often each point is in the batch that they make
    batch = sizes[BATCH] if counts is None else int(counts.sum())
    numbers = prod(size for axis, size in sizes.items() if loss.batchwise or axis != BATCH)  # in one point
    reduced = case.reduction != "none" and not loss.pooled
    divisor = conditioning.divisor(loss, inputs, counts) if case.reduction == "mean" and reduced else 1.0
    share = 1.0 / divisor if divisor else 1.0
    given = inputs.get("sample_weight") if counts is None else counts
    weight = np.ones(() if loss.pooled else batch) if given is None else given.astype(np.float64)
    estimates = conditioning.estimates(loss, inputs) if weighed else conditioning.still(loss)
    moved = weight * estimates["value"].moved
    if reduced:
        if elements is not None:
            with np.errstate(invalid="ignore"):
                moved = moved + np.nan_to_num(np.abs(weight * elements), posinf=0.0)
        moved = share * moved.sum()
    unsaid = _weighed_away(weight, estimates["value"].number) if counts is None else np.zeros(())
    value = np.where(unsaid.any() if reduced else unsaid, np.nan, arrays["value"])
    terms = numbers * batch if reduced and not loss.batchwise else numbers
    found = {"value": Exact.of({**arrays, "value": value}, "value", case.dtype, moved=moved, terms=terms)}
    for name, one in loss.inputs.items():
        key, along = f"gradient.{name}", loss.along(name)
        if one.grad and key in arrays:  # no gradient is asked of a batch that a few points make
            if loss.batchwise:  # an input moves the losses of many entries, each with its own weight
                least, most = weight.min(initial=1.0), weight.max(initial=0.0)
            else:
                least = most = weight.reshape(-1, *[1] * (len(along) - 1))
            slopes = np.where(_weighed_away(least, estimates[key].number), np.nan, arrays[key])
            found[key] = Exact.of(
                {**arrays, key: slopes},
                key,
                case.dtype,
                moved=share * most * estimates[key].moved,
                unit=share if BATCH in along else 1.0,
                terms=numbers,
                rows=bool({*along} - {BATCH}),
            )
    return found


def _weighed_away(weight: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Where an infinite number has the weight 0: nobody has decided what that is."""
    return np.asarray((weight == 0) & ~np.isfinite(number))


def measure(
    job: Job, got: Mapping[str, np.ndarray], exact: Mapping[str, Exact], *, nan_required: Collection[str] = ()
) -> Measured:
    """The accuracy of each array of *got*, and the worst of their verdicts.

    Args:
        job: What was asked.
        got: What came out.
        exact: What must come out.
        nan_required: Arrays in which a number is wrong where the exact one is undefined.
    """
    for name, one in exact.items():
        if name not in got:
            return Measured(job=job, verdict="failed", reason=f"no {name} came out")
        if got[name].size != one.high.size:
            reason = f"{name} has shape {got[name].shape}; expected {one.high.shape}"
            return Measured(job=job, verdict="wrong", reason=reason, got=got)
    parts = {name: compare(got[name], one, nan_required=name in nan_required) for name, one in exact.items()}
    verdict = verdicts.worst(part.verdict for part in parts.values())
    return Measured(job=job, verdict=verdict, got=got, parts=parts, exact=exact)
