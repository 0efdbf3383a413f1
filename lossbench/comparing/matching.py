"""Which job of one run is which of another: the same case for the same target, whatever its version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import replace as replaced

from lossbench import targets
from lossbench.answers import Answers
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.records import CEILING, REFERENCE, Answer, Environment, Job, Record, Refusal, Target
from lossbench.store import Store

GIVEN_UP = ("not installed", "timed out", "out of memory")  # says more of the machine than of the framework


@dataclass(frozen=True)
class Part:
    """What is compared of a run.

    Attributes:
        who: Each target that is, with what it is called in both.
    """

    store: Store
    who: dict[Target, str]

    @cached_property
    def answers(self) -> Answers:
        """Its accuracy answers beside the reference's."""
        return Answers(self.store)

    @cached_property
    def losses(self) -> dict[str, Loss]:
        """By name, as the run knew them."""
        return self.answers.losses

    @cached_property
    def by_key(self) -> dict[str, Answer]:
        """The answer to each job that has one."""
        return {one.job.key: one for one in self._records if isinstance(one, Answer)}

    @cached_property
    def environments(self) -> dict[Target, Environment]:
        """Of each target that started, as it was at its last start."""
        return {one.target: one for one in self._records if isinstance(one, Environment)}

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Every planned job that is compared, by what names it in both runs."""
        return {self._name(job): job for job in self._planned if job.target in self.who}

    @cached_property
    def twins(self) -> list[tuple[Job, Job]]:
        """Each job that was timed twice under two names, and its twin."""
        return [
            (replaced(job, target=replaced(job.target, twin=False)), job)
            for job in self.store.jobs()
            if job.target.twin
        ]

    @cached_property
    def _records(self) -> list[Record]:
        return self.store.records()

    @cached_property
    def _planned(self) -> list[Job]:
        return self.store.jobs()

    def _name(self, job: Job) -> str:
        named = replaced(job, case=replaced(job.case, digest=""), target=Target(framework=self.who[job.target]))
        return named.key


@dataclass(frozen=True, kw_only=True)
class Match:
    """One job in both runs, or in one of them.

    Attributes:
        target: What it is called.
        changed: Whether the loss has another formula, or another call, in head.
    """

    target: str
    base: Job | None
    head: Job | None

    @property
    def job(self) -> Job:
        """Head's, or else base's."""
        found = self.head or self.base
        assert found is not None, "one of them has it"
        return found

    @property
    def changed(self) -> bool:
        """Whether the loss has another formula, or another call, in head."""
        return bool(self.base and self.head and self.base.case.digest != self.head.case.digest)


def matched(base: Part, head: Part) -> list[Match]:
    """Every job of either part, head's first, in the order of their plans."""
    return [
        Match(target=part.who[part.jobs[name].target], base=base.jobs.get(name), head=head.jobs.get(name))
        for part, names in ((head, head.jobs), (base, base.jobs.keys() - head.jobs.keys()))
        for name in part.jobs
        if name in names
    ]


def absent(match: Match, base: Part, head: Part) -> tuple[str, str] | None:
    """What a job is called of which one run has no answer, and why; None where both have one."""
    if match.base is None:
        return "new", ""
    before = base.by_key.get(match.base.key)
    was = not (before is None or (isinstance(before, Refusal) and before.reason in GIVEN_UP))
    if match.head is None:
        # Of a target that is gone altogether nobody knows how it would have done.
        missing = was and match.target not in head.who.values()
        return ("not measured", "the target is not in head") if missing else ("dropped", "")
    now = head.by_key.get(match.head.key)
    if now is None:
        return ("not measured" if was else "same"), "no record: the run ended before this job"
    if isinstance(now, Refusal) and (now.reason in GIVEN_UP or match.head.target not in head.environments):
        return ("not measured" if was else "same"), f"{now.reason}: {now.detail}"
    return None if was else ("new", "")


def runs(base: Store, head: Store) -> tuple[Part, Part]:
    """All of two runs: targets of one name are the same, and so are those that differ in their Python alone."""
    left, right = _measured(base), _measured(head)
    same = {one.name for one in left} & {one.name for one in right}

    def called(own: Sequence[Target]) -> dict[Target, str]:
        short = [_without_python(one) for one in own]
        return {
            one: one.name if one.name in same or short.count(name) > 1 else name
            for one, name in zip(own, short, strict=True)
        }

    return Part(base, called(left)), Part(head, called(right))


def two(first: Store, second: Store, base: str, head: str) -> tuple[Part, Part]:
    """Two targets, of one run or of two, or all modes and devices of two frameworks or labels.

    Raises:
        LossbenchError: The run has no such target, or no two of them fit together.
    """
    chosen = []
    for store, text in ((first, base), (second, head)):
        every = _measured(store)
        named = [one for one in every if one.name == text]
        found = [one for one in named if not one.label] or [one for one in every if _means(text, one)] or named
        if not found:
            names = ", ".join(sorted(one.name for one in every)) or "none"
            raise LossbenchError(f"{store.path} has no target {text!r}; expected one of: {names}")
        chosen.append(found)
    left, right = chosen
    if len(left) == len(right) == 1:
        name = f"{left[0].name} -> {right[0].name}"
        return Part(first, {left[0]: name}), Part(second, {right[0]: name})
    shared = {_role(one) for one in left} & {_role(one) for one in right}
    if not shared:
        raise LossbenchError(f"{base!r} and {head!r} have no mode in common; name one target of each")
    called = {role: f"{base} -> {head} ({role})" for role in shared}
    return (
        Part(first, {one: called[_role(one)] for one in left if _role(one) in shared}),
        Part(second, {one: called[_role(one)] for one in right if _role(one) in shared}),
    )


def _measured(store: Store) -> list[Target]:
    every = dict.fromkeys(job.target for job in store.jobs() if not job.target.twin)
    return [one for one in every if one != REFERENCE and one.framework != CEILING]


def _means(text: str, one: Target) -> bool:
    if one.label:
        return re.split("[:*]", one.label)[0] == text
    wish = targets.read(text)
    return wish.fits(one) and wish.threads in (0, one.threads)


def _role(one: Target) -> str:
    threads = f"*{one.threads}" if one.threads else ""
    return f"{one.mode}:{one.device}{threads}{'!plain' if one.plain else ''}"


def _without_python(one: Target) -> str:
    return replaced(one, interpreter=None).name
