"""Whole sweeps: planned, performed, gone on with, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import cast, get_args

import pandas as pd

from lossbench import adapters, plan, spec
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.sweeps import local, shard, table
from lossbench.sweeps import plan as planned
from lossbench.sweeps.folder import Folder, Session
from lossbench.sweeps.shard import Record, Shard, Tally, Unanswered
from lossbench.sweeps.table import Cell
from lossbench.sweeps.task import Source
from lossbench.text import Dtype, Number

EVALUATIONS = 100_000  # of each shard of a search

Progress = Callable[[int, int, str], None]
Performed = Callable[[Sequence[Shard], Mapping[str, Source]], Iterator[Record]]


@dataclass(frozen=True)
class Sweep:
    """A sweep that is over, or was cut off."""

    folder: Folder

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @property
    def page(self) -> Path:
        """Its page."""
        return self.path / "index.html"

    @cached_property
    def records(self) -> list[Record]:
        """What came of each shard."""
        return self.folder.records.records()

    @cached_property
    def cells(self) -> list[Cell]:
        """What was found of each loss, target and dtype."""
        return table.cells(self.folder.losses(), self.folder.shards(), self.records)

    def table(self) -> pd.DataFrame:
        """One row for each loss, target and dtype: worst errors, where, counts by category; see `table.frame`."""
        return table.frame(self.cells)

    @property
    def digest(self) -> str:
        """Equal for equal findings, whatever the processes, the order, and how often it was cut off."""
        return shard.digest(self.records)

    def rates(self) -> pd.DataFrame:
        """One row for each session: processes, shards, evaluations, seconds, and evaluations per second."""
        names = Session.__struct_fields__
        found = pd.DataFrame(
            [[getattr(one, name) for name in names] for one in self.folder.sessions.records()], columns=list(names)
        )
        return found.assign(rate=found["evaluations"] / found["seconds"])

    def unanswered(self) -> list[Unanswered]:
        """The shards that have no answer, and why."""
        return [one for one in self.records if isinstance(one, Unanswered)]


def sweep(
    *losses: str | Path,
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] = ("bfloat16",),
    method: str | None = None,
    at: Mapping[str, Number] | None = None,
    grid: bool = False,
    evaluations: int = EVALUATIONS,
    seed: int = 0,
    share: str | None = None,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    processes: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The worst errors of targets, over every input or by a search, each proved by the reference.

    Args:
        losses: Names, aliases or paths of spec files; every elementwise loss where there are none.
        targets: Such as `torch` or `jax:compiled`; one of each framework where left out.
        dtypes: Of the inputs.
        method: `exhaustive` or `search`; where left out exhaustive for elementwise losses in 16 bits.
        at: Inputs and parameters that stay at one number in an exhaustive sweep, in place of several.
        grid: Whether an exhaustive sweep runs over all pairs of two inputs.
        evaluations: How many a search makes at most, for each target and setting of the parameters.
        seed: Of a search.
        share: "K/N": only the K-th of N parts, which together are everything.
        out: The folder that gets the sweep's folder.
        resume: The folder of a sweep that was cut off, in place of all those above: its missing shards are done.
        processes: How many work at a time; as many as there are cores where left out.
        scheduler: The address of a Dask scheduler whose workers perform the shards, in place of processes here.
        progress: Told how many shards are done, how many there are, and what was done last.

    Raises:
        LossbenchError: Something that is asked for does not exist, or cannot be swept.
    """
    if resume is not None:
        folder = Folder.open(resume)
    else:
        shards, chosen = asked(
            losses, targets, dtypes, method=method, at=at, grid=grid, evaluations=evaluations, seed=seed, share=share
        )
        folder = created(shards, chosen, out)
    return completed(folder, processes=processes, scheduler=scheduler, progress=progress)


def asked(
    losses: Sequence[str | Path],
    targets: Sequence[str] | None,
    dtypes: Sequence[str],
    *,
    method: str | None = None,
    at: Mapping[str, Number] | None = None,
    grid: bool = False,
    evaluations: int = EVALUATIONS,
    seed: int = 0,
    share: str | None = None,
) -> tuple[list[Shard], list[Loss]]:
    """The shards of a sweep, and its losses; arguments and errors as of `sweep`."""
    for dtype in dtypes:
        if dtype not in get_args(Dtype):
            raise LossbenchError(f"unknown dtype {dtype!r}; expected one of: {', '.join(sorted(get_args(Dtype)))}")
    who = [plan.target(text) for text in targets or planned.TARGETS]
    chosen = [spec.load(name) for name in losses] or planned.elementwise()
    found: list[Shard] = []
    for loss in chosen:
        for dtype in cast(Sequence[Dtype], dtypes):
            how = method or planned.method(loss, dtype, at, grid=grid)
            if how == "search":
                found += planned.searches(loss, who, dtype, evaluations=evaluations, seed=seed)
            else:
                found += planned.exhaustive(loss, who, dtype, at=at, grid=grid)
    return (planned.share(found, share) if share else found), chosen


def created(shards: Sequence[Shard], losses: Sequence[Loss], out: str | Path) -> Folder:
    """The folder of a new sweep, in the folder *out*, named after the time."""
    if not shards:
        raise LossbenchError("nothing to sweep: this share has no shards; take fewer shares")
    name = f"{datetime.now():%Y-%m-%d-%H%M%S}-sweep"
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    path = next(Path(out) / one for one in names if not (Path(out) / one).exists())
    return Folder.create(path, shards, losses)


def hands(processes: int | None) -> int:
    """How many processes work at a time: as many as there are cores where nobody says.

    Raises:
        LossbenchError: Fewer than one.
    """
    count = adapters.threads() if processes is None else processes
    if count < 1:
        raise LossbenchError(f"{count} processes cannot do anything; expected at least 1")
    return count


def completed(
    folder: Folder,
    *,
    processes: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The sweep after its missing shards are done and its page is written."""
    count = hands(processes)
    losses = folder.losses()
    folder.records.lock()
    try:
        left, total = folder.left(), len(folder.shards())
        if left:
            sources = {name: Source.of(loss) for name, loss in losses.items()}
            with _performers(folder, min(count, len(left)), scheduler) as (count, performed):
                start, done, evaluations = perf_counter(), total - len(left), 0
                for record in performed(left, sources):
                    folder.records.append(record)
                    done += 1
                    evaluations += record.evaluations if isinstance(record, Tally) else 0
                    if progress is not None:
                        progress(done, total, f"{record.shard.loss} {record.shard.target.name}")
                seconds = perf_counter() - start
            folder.sessions.append(Session(processes=count, shards=len(left), evaluations=evaluations, seconds=seconds))
    finally:
        folder.close()
    return reported(folder)


def reported(folder: Folder) -> Sweep:
    """The sweep in *folder*, with its page written anew."""
    from lossbench.report import sweep as page

    found = Sweep(folder)
    page.write(found)
    return found


@contextmanager
def _performers(folder: Folder, processes: int, scheduler: str | None) -> Iterator[tuple[int, Performed]]:
    """Who performs shards, and how many they are: processes here, or the workers of a scheduler."""
    if scheduler is None:
        yield processes, partial(local.performed, processes=processes)
        return
    try:
        from lossbench.sweeps import cluster  # needs Dask

        with cluster.connected(scheduler) as found:
            yield found.processes, found.performed
    except LossbenchError as error:
        raise LossbenchError(f"{error}; then go on: lossbench sweep --resume {folder.path}") from None
