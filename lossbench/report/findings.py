"""All that the pages of one run say, derived once from its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lossbench import accuracy, goals, hessians, kept, lengths, lineage, quiet, speed
from lossbench.answers import Answers
from lossbench.budget import comparison, shelf
from lossbench.conventions import proofs
from lossbench.lineage import Group
from lossbench.loss import Loss
from lossbench.quiet import Conditions
from lossbench.records import (
    REFERENCE,
    Answer,
    Died,
    Environment,
    Job,
    Observed,
    Output,
    Record,
    Refusal,
    Timing,
    decode,
    encode,
)
from lossbench.report.hands import Hands
from lossbench.store import Store
from lossbench.suite import Suite

FRAMES = ("jobs", "cells", "hessians", "edges", "divergences", "medians", "lengths", "kept", "facts", "budgets")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is judged of some losses, as `Findings` has it of all."""

    jobs: pd.DataFrame
    cells: pd.DataFrame
    hessians: pd.DataFrame
    edges: pd.DataFrame
    divergences: pd.DataFrame
    lengths: pd.DataFrame
    kept: pd.DataFrame
    lineage: Sequence[Group]

    @classmethod
    def of(cls, answers: Answers) -> Judged:
        """That of the losses of these answers."""
        jobs = accuracy.jobs(answers)
        return cls(
            jobs=jobs,
            cells=accuracy.cells(jobs),
            hessians=hessians.cells(hessians.jobs(answers)),
            edges=accuracy.edges(answers),
            divergences=accuracy.divergences(answers),
            lengths=lengths.errors(answers),
            kept=kept.points(answers),
            lineage=lineage.groups(answers),
        )

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """That of all losses, from that of each."""
        names = [one.name for one in fields(cls) if one.name != "lineage"]
        frames = {name: _joined([getattr(part, name) for part in parts]) for name in names}
        return cls(**frames, lineage=lineage.ordered(group for part in parts for group in part.lineage))


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, with the types that they have together: a column may be empty for one loss, and text for another."""
    some = [frame for frame in frames if len(frame)] or list(frames[:1])
    return pd.concat([frame.astype(object) for frame in some], ignore_index=True).infer_objects()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One run's frames and records.

    Attributes:
        path: The folder of the run, which gets the pages.
        planned: Every job of the plan.
        targets: The names of those measured, in the order of the plan, without the reference and twins.
        jobs, cells, edges, divergences, medians, noise, bandwidth: As `accuracy` and `speed` derive them.
        hessians: As `hessians` derives its cells.
        conditions: As `quiet` derives them.
        kernels: As `goals` derives the ratios of the local kernels.
        lengths, lineage, kept: As the modules of these names derive them.
        facts: As `conventions.proofs` derives them.
        budgets: As `budget.comparison` derives them, beside the budgets that the run carries and lossbench's own.
        answers: What came of the jobs, for what no frame says.
    """

    path: Path
    suite: Suite
    created: datetime
    losses: dict[str, Loss]
    planned: list[Job]
    targets: list[str]
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
    answers: Answers

    @classmethod
    def of(cls, store: Store, hands: Hands | None = None) -> Findings:
        """What that store says; *hands* judge it."""
        hands = hands or Hands.of(store.path)
        answers = hands.answers
        store = answers.store
        planned = dict.fromkeys(job.case.loss for job in store.jobs())  # in the order of the plan
        judging = hands.each("judging", Judged.of, dict.fromkeys(planned, ()))
        rest = {
            "medians": speed.medians(store),
            "noise": speed.noise(store),
            "conditions": quiet.conditions(store),
            "bandwidth": speed.bandwidth(store),
            "kernels": goals.ratios(store),
            "facts": proofs.facts(store),
        }
        judged = Judged.joined(list(judging))
        return cls(
            path=store.path,
            suite=store.suite,
            created=store.created,
            losses=answers.losses,
            planned=store.jobs(),
            targets=_measured(store.jobs()),
            records=store.records(),
            budgets=comparison.compare(answers, judged.jobs, shelf.carried(store.path)),
            answers=answers,
            **{one.name: getattr(judged, one.name) for one in fields(judged)},
            **rest,
        )

    def part(self, loss: str) -> dict[str, object]:
        """What `of_part` makes the findings about *loss* of, in another process."""
        read = ("answers", "losses", "planned", "records", "suite")
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in read}
        found |= {name: self.about(found[name], loss) for name in FRAMES}
        # As text: what is pickled knows its defaults no more, and is written with them.
        records = [encode(one) for one in self.by_loss.get(loss, [])]
        return found | {"lineage": [group for group in self.lineage if group.loss == loss], "records": records}

    @classmethod
    def of_part(cls, answers: Answers, part: Mapping[str, Any]) -> Findings:
        """The findings about one loss, with the plan of the whole run."""
        store = answers.store
        return cls(
            **{**part, "records": [decode(one) for one in part["records"]]},
            answers=answers,
            losses=store.losses(),
            planned=store.jobs(),
            suite=store.suite,
        )

    def points(self, loss: str, target: str, dtype: str) -> pd.DataFrame:
        """The errors of a loss, target and dtype against the input."""
        return accuracy.points(self.answers, loss, target, dtype)

    @cached_property
    def by_loss(self) -> Mapping[str, list[Record]]:
        """The records that are about a job, by its loss."""
        found: dict[str, list[Record]] = {}
        for one in self.records:
            if isinstance(one, Output | Observed | Timing | Refusal | Died) and one.job is not None:
                found.setdefault(one.job.case.loss, []).append(one)
        return found

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


def _measured(planned: Sequence[Job]) -> list[str]:
    found = [job for job in planned if not job.target.twin and job.target != REFERENCE]
    numbers = [job for job in found if job.measure != "convention"]  # who is asked of conventions alone has none
    return list(dict.fromkeys(job.target.name for job in numbers or found))
