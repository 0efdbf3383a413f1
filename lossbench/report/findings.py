"""All that the pages of one run say, derived once from its store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import pandas as pd

from lossbench import accuracy, goals, hessians, kept, lengths, lineage, quiet, speed
from lossbench.answers import Answers
from lossbench.budget import comparison, shelf
from lossbench.conventions import proofs
from lossbench.lineage import Group
from lossbench.loss import Loss
from lossbench.quiet import Conditions
from lossbench.records import REFERENCE, Answer, Died, Environment, Job, Record, Refusal
from lossbench.store import Store
from lossbench.suite import Suite


class _Read(Store):
    """A store that nobody writes to any more: each part of it is read once."""

    def jobs(self) -> list[Job]:
        return self._jobs

    def losses(self) -> dict[str, Loss]:
        return self._losses

    def records(self) -> list[Record]:
        return self._records

    @cached_property
    def _jobs(self) -> list[Job]:
        return super().jobs()

    @cached_property
    def _losses(self) -> dict[str, Loss]:
        return super().losses()

    @cached_property
    def _records(self) -> list[Record]:
        return super().records()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One run's frames and records.

    Attributes:
        path: The folder of the run, which gets the pages.
        planned: Every job of the plan.
        jobs, cells, edges, divergences, medians, noise, bandwidth: As `accuracy` and `speed` derive them.
        hessians: As `hessians` derives its cells.
        conditions: As `quiet` derives them.
        kernels: As `goals` derives the ratios of the local kernels.
        lengths, lineage, kept: As the modules of these names derive them.
        facts: As `conventions.proofs` derives them.
        budgets: As `budget.comparison` derives them, beside the budgets that the run carries and lossbench's own.
        points: The errors of a loss, target and dtype against the input.
    """

    path: Path
    suite: Suite
    created: datetime
    losses: dict[str, Loss]
    planned: list[Job]
    records: list[Record]
    jobs: pd.DataFrame
    cells: pd.DataFrame
    hessians: pd.DataFrame
    edges: pd.DataFrame
    divergences: pd.DataFrame
    medians: pd.DataFrame
    noise: pd.DataFrame
    conditions: Conditions | None
    bandwidth: pd.DataFrame
    kernels: pd.DataFrame
    lengths: pd.DataFrame
    kept: pd.DataFrame
    lineage: Sequence[Group]
    facts: pd.DataFrame
    budgets: pd.DataFrame
    points: Callable[[str, str, str], pd.DataFrame]

    @classmethod
    def of(cls, store: Store) -> Findings:
        """What that store says."""
        store = _Read.open(store.path)
        answers = Answers(store)
        jobs = accuracy.jobs(answers)
        return cls(
            path=store.path,
            suite=store.suite,
            created=store.created,
            losses=store.losses(),
            planned=store.jobs(),
            records=store.records(),
            jobs=jobs,
            cells=accuracy.cells(jobs),
            hessians=hessians.cells(hessians.jobs(answers)),
            edges=accuracy.edges(answers),
            divergences=accuracy.divergences(answers),
            medians=speed.medians(store),
            noise=speed.noise(store),
            conditions=quiet.conditions(store),
            bandwidth=speed.bandwidth(store),
            kernels=goals.ratios(store),
            lengths=lengths.errors(answers),
            kept=kept.points(answers),
            lineage=lineage.groups(answers),
            facts=proofs.facts(store),
            budgets=comparison.compare(answers, jobs, shelf.carried(store.path)),
            points=lambda loss, target, dtype: accuracy.points(answers, loss, target, dtype),
        )

    @cached_property
    def targets(self) -> list[str]:
        """The names of those measured, in the order of the plan, without the reference and twins."""
        found = [job for job in self.planned if not job.target.twin and job.target != REFERENCE]
        numbers = [job for job in found if job.measure != "convention"]  # who is asked of conventions alone has none
        return list(dict.fromkeys(job.target.name for job in numbers or found))

    @cached_property
    def warnings(self) -> list[str]:
        """What limits the statements that the times allow."""
        return quiet.warnings(self.conditions, self.noise, self.medians)

    @cached_property
    def environments(self) -> list[Environment]:
        """One for each target that started, as it was at its last start."""
        last = {one.target.name: one for one in self.records if isinstance(one, Environment) and not one.target.twin}
        return list(last.values())

    @cached_property
    def died(self) -> list[Died]:
        """The workers that ended before their time."""
        return [one for one in self.records if isinstance(one, Died)]

    @cached_property
    def refusals(self) -> list[Refusal]:
        """The jobs without an answer."""
        return [one for one in self.records if isinstance(one, Refusal)]

    @cached_property
    def unanswered(self) -> list[Job]:
        """The jobs without any record: the run was cut off."""
        done = {one.job.key for one in self.records if isinstance(one, Answer)}
        return [job for job in self.planned if job.key not in done]

    def about(self, frame: pd.DataFrame, loss: str) -> pd.DataFrame:
        """The rows of *frame* that concern *loss*."""
        return frame[frame["loss"] == loss] if len(frame) else frame
