"""Whole runs: planned, done, gone on with, and what they found as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from lossbench import accuracy, harness, hessians, origin, plan, soundness, spec
from lossbench.answers import Answers
from lossbench.budget import comparison, file, shelf
from lossbench.errors import LossbenchError, StoreError
from lossbench.harness import Progress
from lossbench.plan import Some
from lossbench.records import Answer, Refusal
from lossbench.report import against, hands, pages, single
from lossbench.report.findings import Findings
from lossbench.store import Store

Paths = Sequence[str | Path]


@dataclass(frozen=True)
class Run:
    """A run that is over, or was cut off."""

    store: Store
    findings: Findings

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.store.path

    @property
    def page(self) -> Path:
        """Its report's first page."""
        return self.path / "index.html"

    def single_file(self, file: str | Path | None = None) -> Path:
        """Put the pages of its report into one HTML file, by default one in its folder with the folder's name.

        Raises:
            LossbenchError: The file cannot be written.
        """
        return single.write(self.path, Path(file) if file else self.path / f"{self.path.resolve().name}.html")

    def accuracy(self) -> pd.DataFrame:
        """One row for each loss, target and dtype: verdict and worst errors of value and gradient.

        Where second derivatives were measured, the columns `hessian_*` say the same of them.
        """
        return hessians.beside(self.findings.cells, self.findings.hessians)

    def speed(self) -> pd.DataFrame:
        """One row for each timing job: median with its interval, ratio to the fastest, part of the bandwidth."""
        return self.findings.medians

    def warnings(self) -> list[str]:
        """What limits the statements that the times of the run allow; empty where nothing does."""
        return self.findings.warnings

    def proofs(self) -> pd.DataFrame:
        """One row for each declared divergence that was run again: confirmed, changed, fixed or not run."""
        found = self.findings.divergences
        return found[found["target"] != ""]

    def budgets(self) -> pd.DataFrame:
        """One row for the value and one for the gradients of each case: worse than its budget, better, kept."""
        return self.findings.budgets

    def refusals(self) -> dict[str, int]:
        """How many jobs have no answer, by reason."""
        return dict(Counter(one.reason for one in self.store.records() if isinstance(one, Refusal)))

    def silent(self) -> dict[str, str]:
        """The targets that gave no answer at all, by name, and why."""
        answers = [one for one in self.store.records() if isinstance(one, Answer)]
        heard = {one.job.target for one in answers if not isinstance(one, Refusal)}
        return {
            one.job.target.name: f"{one.reason}: {one.detail}"
            for one in answers
            if isinstance(one, Refusal) and not one.job.target.twin and one.job.target not in heard
        }


def run(
    *suites: str | Path,
    losses: Some | None = None,
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    budgets: Paths = (),
    label: str = "",
    progress: Progress | None = None,
) -> Run:
    """Measure, and write the report.

    Args:
        suites: Names, or paths of suite files; `smoke` where there are none.
        losses: Names, aliases or paths of spec files; all losses where there are none.
        targets: Only these, such as `torch`, `torch:compiled` or `jax:compiled:cuda@/path/to/python`.
        dtypes: Only these.
        out: The folder that gets the run's folder.
        resume: The folder of a run that was cut off, in place of all those above: its missing jobs are done.
        budgets: Files, and folders, to be compared with before lossbench's own (see `budget.shelf.carry`).
        label: What the run is called in its history; its commit, where it is started in a git checkout, without one.
        progress: Told how many jobs are done, how many there are, and what was done last.

    Raises:
        LossbenchError: Something that is asked for does not exist.
        SpecError: A spec is broken, or says of its edges or reference values what is not so; nothing is stored then.
        StoreError: The run's folder is in use, foreign, or cannot be made.
    """
    store = opened(
        *suites,
        losses=losses,
        targets=targets,
        dtypes=dtypes,
        out=out,
        resume=resume,
        budgets=budgets,
        label=label,
    )
    return completed(store, progress=progress)


def opened(
    *suites: str | Path,
    losses: Some | None = None,
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    budgets: Paths = (),
    label: str = "",
) -> Store:
    """The store of a new run, planned and not yet done, or of the one to resume; arguments and errors as of `run`."""
    if resume is not None:
        if suites or losses or targets or dtypes or label:
            options = "suites, losses, targets, dtypes and the label"
            raise LossbenchError(f"a resumed run does what was planned; leave out {options}")
        return _beside(Store.open(resume), budgets)
    suite, chosen = plan.asked(suites, losses)
    jobs = plan.jobs(suite, chosen, targets, dtypes)
    for loss in chosen:
        soundness.verify(loss)
    gathered = shelf.gathered(chosen, [Path(one) for one in budgets])
    path = folder(Path(out), suite.name, datetime.now())
    store = Store.create(path, jobs, chosen, suite, label=label, commit=origin.commit())
    shelf.keep(gathered, store.path)
    return store


def completed(store: Store, *, progress: Progress | None = None) -> Run:
    """The run after its missing jobs are done and its report is written."""
    harness.run(store, progress=progress)
    return _reported(store, progress)


def reported(
    path: str | Path, budgets: Paths = (), *, base: str | Path | None = None, progress: Progress | None = None
) -> Run:
    """The run in that folder, with its report written anew.

    Args:
        path: The folder.
        budgets: What it stands beside from now on, if there are any.
        base: The run that it is compared with; without one the last of the same suite before it, beside it.
        progress: Told how many losses are done, how many there are, and which is next.

    Raises:
        LossbenchError: It cannot be compared with *base*.
        StoreError: There is no run, or its report cannot be written.
    """
    return _reported(_beside(Store.open(path), budgets), progress, base)


def compared(path: str | Path, budgets: Paths = ()) -> pd.DataFrame:
    """The run in that folder beside its budgets, or beside these: see `budget.comparison.compare`."""
    store = Store.open(path)
    answers = Answers(store)
    given = shelf.gathered(list(store.losses().values()), [Path(one) for one in budgets])
    return comparison.compare(answers, accuracy.jobs(answers), shelf.carried(store.path) | given)


def budgeted(path: str | Path, out: str | Path | None = None) -> dict[Path, int]:
    """Write what the run in that folder measured into the budgets of a folder, lossbench's own where none is said.

    Returns:
        How many cells were measured, by file.

    Raises:
        LossbenchError: Nothing was measured, or a loss is not lossbench's own and no folder is said.
    """
    store = Store.open(path)
    foreign = sorted(store.losses().keys() - set(spec.names()))
    if foreign and out is None:
        raise LossbenchError(
            f"{foreign[0]} is no loss of lossbench; say with --out where its budget goes: runs read the folder "
            f"{shelf.FOLDER.name} beside its spec"
        )
    answers = Answers(store)
    found: dict[Path, int] = {}
    for one, gone in comparison.budgets(answers, accuracy.jobs(answers)):
        target = (Path(out) if out else shelf.FOLDER) / f"{one.stem}.toml"
        file.write(file.load(target).merged(one, gone) if target.exists() else one, target)
        found[target] = len(list(one.each()))
    if not found:
        raise LossbenchError(f"{path}: no accuracy was measured; expected a run of a suite such as accuracy or smoke")
    return found


def _beside(store: Store, budgets: Paths) -> Store:
    shelf.keep(shelf.gathered(list(store.losses().values()), [Path(one) for one in budgets]), store.path)
    return store


def _reported(store: Store, progress: Progress | None, base: str | Path | None = None) -> Run:
    with hands.several(store.path, progress) as several:
        compared = against.of(several.answers.store, base)
        findings = Findings.of(store, several)
        try:
            pages.write(findings, several, compared)
        except OSError as error:
            raise StoreError(f"{error.filename}: the report cannot be written ({error.strerror})") from None
    return Run(store, findings)


def folder(out: Path, suite: str, now: datetime) -> Path:
    """A new folder of *out*, named after the time and the suite."""
    name = f"{now:%Y-%m-%d-%H%M%S}-{suite}"
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(out / one for one in names if not (out / one).exists())
