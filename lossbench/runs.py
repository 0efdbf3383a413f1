"""Whole runs: planned, done, gone on with, and what they found as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from lossbench import accuracy, harness, plan, references, report, spec, speed
from lossbench.errors import LossbenchError
from lossbench.harness import Progress
from lossbench.loss import Loss
from lossbench.records import Job, Refusal
from lossbench.store import Store
from lossbench.suite import Suite

Some = Sequence[str | Path]


@dataclass(frozen=True)
class Run:
    """A run that is over, or was cut off."""

    store: Store

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.store.path

    @property
    def page(self) -> Path:
        """Its report's first page."""
        return self.path / "index.html"

    def accuracy(self) -> pd.DataFrame:
        """One row for each loss, target and dtype: verdict and worst errors of value and gradient."""
        return accuracy.cells(accuracy.jobs(self.store))

    def speed(self) -> pd.DataFrame:
        """One row for each timing job: median with its interval, ratio to the fastest, part of the bandwidth."""
        return speed.medians(self.store)

    def refusals(self) -> dict[str, int]:
        """How many jobs have no answer, by reason."""
        return dict(Counter(one.reason for one in self.store.records() if isinstance(one, Refusal)))


def run(
    *suites: str | Path,
    losses: Some | None = None,
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Measure, and write the report.

    Args:
        suites: Names, or paths of suite files; `smoke` where there are none.
        losses: Names, aliases or paths of spec files; all losses where there are none.
        targets: Only these, such as `torch`, `torch:compiled` or `jax:compiled:cuda@/path/to/python`.
        dtypes: Only these.
        out: The folder that gets the run's folder.
        resume: The folder of a run that was cut off: its missing jobs are done, whatever the suites.
        progress: Told how many jobs are done, how many there are, and what was done last.

    Raises:
        LossbenchError: Something that is asked for does not exist.
        SpecError: A spec is broken, or a digit of its reference values is wrong; nothing is stored then.
        StoreError: The run's folder is in use, foreign, or cannot be made.
    """
    if resume is None:
        found, chosen = _asked(suites, losses)
        for loss in chosen:
            references.verify(loss)
        jobs = plan.jobs(found, chosen, targets, dtypes)
        store = Store.create(folder(Path(out), found.name, datetime.now()), jobs, chosen, found)
    elif losses or targets or dtypes:
        raise LossbenchError("a resumed run does what was planned; leave out losses, targets and dtypes")
    else:
        store = Store.open(resume)
    harness.run(store, progress=progress)
    report.write(store)
    return Run(store)


def planned(
    suites: Some,
    *,
    losses: Some | None = None,
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
) -> list[Job]:
    """The jobs that `run` would do."""
    return plan.jobs(*_asked(suites, losses), targets, dtypes)


def reported(path: str | Path) -> Run:
    """The run in that folder, with its report written anew."""
    store = Store.open(path)
    report.write(store)
    return Run(store)


def _asked(suites: Some, losses: Some | None) -> tuple[Suite, list[Loss]]:
    names = [spec.load(name) for name in losses] if losses else spec.load_all()
    unique = list({loss.path.resolve(): loss for loss in names}.values())
    return plan.merged([plan.suite(name) for name in suites or ("smoke",)]), unique


def folder(out: Path, suite: str, now: datetime) -> Path:
    """A new folder of *out*, named after the time and the suite."""
    name = f"{now:%Y-%m-%d-%H%M%S}-{suite}"
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(out / one for one in names if not (out / one).exists())
