"""Runs, and asv's results, as one table: a value for each point of each series."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from lossbench import __version__, accuracy, shown
from lossbench.answers import Answers
from lossbench.comparing.rule import time_of
from lossbench.errors import LossbenchError
from lossbench.history import asv
from lossbench.records import CEILING, Environment, Target, Timing
from lossbench.store import Store

# What names a series: everywhere the same case for the same target on the same machine.
KEY = (
    *("loss", "target", "measure", "dtype", "shape", "reduction", "points", "threads", "unit"),
    *("machine", "environment"),
)
COLUMNS = (*KEY, "framework", "date", "at", "commit", "run", "versions", "value", "low", "high")
LISTED = "benchmarks.json"  # asv's list of what it measured, beside its results
SECONDS = "seconds"
MEANING = 1  # of what is kept of a run; another number where its values are derived in another way
PROCESSOR = "processor seconds"  # of one thread: what other programs take of the machine is not in them


Progress = Callable[[int, int, str], None]


def gathered(
    folder: Path | str, kept: Path | None = None, progress: Progress | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """One row for each value of every run, and of asv's results, below a folder, in the order of time; and why runs
    were left out that cannot be read, such as those of a later lossbench.

    Args:
        folder: Such as `reports`.
        kept: Where the values of each run are kept for the next time: to derive a run's errors takes seconds.
        progress: Told how many runs are read, how many there are, and which was read last.

    Columns:
        loss, target, measure, dtype, shape, reduction, points, threads, unit, machine, environment: Whose series it is;
            of runs `environment` is empty, as their versions may change along a series, and of accuracy `shape` is.
        framework: Of the target.
        date: When the run was begun, or the commit made (UTC).
        at: What the point is called: the run's label, else its commit, else its folder.
        commit: The whole hash, where it is known.
        run: The run's folder; empty of asv.
        versions: Of the target's framework and what it stands on: "jax 0.9.2, jaxlib 0.9.2".
        value: In `unit`; nan where it was to be measured and was not. Of times the median over the worker processes,
            of ulps and mismatches the most over the cases of one dtype, reduction and origin of points.
        low, high: The ends of asv's interval; nan of runs.

    Raises:
        LossbenchError: There are neither runs nor results, or none that can be read.
    """
    path = Path(folder)
    runs = sorted(one.parent for one in path.rglob("run.json"))
    results = sorted(one.parent for one in path.rglob(LISTED))
    if not runs and not results:
        told = f"{path} has no runs and no results of asv below it"
        raise LossbenchError(f"{told}; expected a folder such as reports or .asv/results")
    frames = [of_asv(one) for one in results]
    unread = []
    for number, run in enumerate(runs, 1):
        try:
            frames.append(of_run(Store.open(run), kept))
        except LossbenchError as error:
            unread.append(str(error))
        if progress is not None:
            progress(number, len(runs), run.name)
    frames = [one for one in frames if len(one)]
    if not frames:
        raise LossbenchError("; ".join([f"{path}: no times and no accuracies there", *unread]))
    found = _completed(pd.concat(frames, ignore_index=True))
    return found.sort_values(["date"], kind="stable", ignore_index=True), unread


def _completed(found: pd.DataFrame) -> pd.DataFrame:
    """The table in which what was not measured belongs to the series to which it would have belonged."""
    unknown = ("threads", "unit", "machine")
    known = [name for name in KEY if name not in unknown]
    likely = found.groupby(known, dropna=False)[list(unknown)].transform("first")
    filled = {name: found[name].where(found[name].notna(), likely[name]).fillna("") for name in unknown}
    return found.assign(**filled)


def of_run(store: Store, kept: Path | None = None) -> pd.DataFrame:
    """The values of one run; see `gathered`."""
    environments = {one.target: one for one in store.records() if isinstance(one, Environment)}
    machines = {target: _machine(one) for target, one in environments.items()}
    somewhere = next(iter(machines.values()), None)
    rows = _rows(store, environments, kept)
    versions = {target.name: _versions(target, one) for target, one in environments.items()}
    machine = {target.name: one for target, one in machines.items()}
    found = pd.DataFrame(rows, columns=COLUMNS)
    found["machine"] = [machine.get(target, somewhere) for target in found["target"]]
    found["versions"] = [versions.get(target, "") for target in found["target"]]
    common = {"environment": "", "low": np.nan, "high": np.nan, "commit": store.commit, "run": str(store.path)}
    return found.assign(**common, at=_called(store), date=pd.Timestamp(store.created))


def of_asv(folder: Path) -> pd.DataFrame:
    """asv's series; see `gathered`."""
    found = asv.series(folder)
    named = found.assign(at=[str(one)[:10] for one in found["commit"]], run="", versions="")
    return named.reindex(columns=list(COLUMNS))


def _rows(store: Store, environments: Mapping[Target, Environment], kept: Path | None) -> list[dict[str, object]]:
    """What the run measured, read where it is kept."""
    said = (store.path / "records.jsonl").read_bytes() + f"{__version__} {MEANING}".encode()
    path = None if kept is None else kept / f"{hashlib.sha256(said).hexdigest()[:24]}.msgpack"
    if path is not None and path.exists():
        return msgspec.msgpack.decode(path.read_bytes(), type=list[dict[str, object]])
    rows = [*_times(store, environments), *_errors(store)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.msgpack.encode(rows))
    return rows


def _called(store: Store) -> str:
    commit, _, dirty = store.commit.partition("-")
    return store.label or (f"{commit[:10]}{'-' if dirty else ''}{dirty}" if commit else store.path.name)


def _machine(found: Environment) -> str:
    return ", ".join(found.machine[name] for name in ("processor", "device") if found.machine.get(name))


def _versions(target: Target, found: Environment) -> str:
    """The framework first."""
    names = sorted(found.versions, key=lambda name: (name != target.framework, name))
    return ", ".join(f"{name} {found.versions[name]}" for name in names)


def _times(store: Store, environments: Mapping[Target, Environment]) -> Iterator[dict[str, object]]:
    losses = store.losses()
    answers = {one.job.key: one for one in store.records() if isinstance(one, Timing)}
    for job in store.jobs():
        if not job.timed or job.target.twin or job.target.framework == CEILING:
            continue
        case, environment = job.case, environments.get(job.target)
        threads = environment.settings.get("LOSSBENCH_THREADS", "") if environment else None
        loss = losses[case.loss]
        row: dict[str, object] = {name: job.labels[name] for name in ("loss", "target", "framework", "dtype")}
        row |= {"reduction": case.reduction, "points": case.points, "threads": threads}
        row |= {"shape": shown.shape(case.shape, loss.dimensions if loss.has_sizes else ())}
        answer = answers.get(job.key)
        unit, value = _time(answer, threads) if answer else (None, np.nan)
        yield {**row, "measure": job.measure, "unit": unit, "value": value}
        if answer and answer.peak_memory is not None:
            yield {**row, "measure": f"{job.measure} memory", "unit": "bytes", "value": float(answer.peak_memory)}


def _time(timing: Timing, threads: str | None) -> tuple[str, float]:
    """Of one call: the median over the processes."""
    alone = bool(timing.cpu) and timing.job.target.device == "cpu" and threads == "1"
    samples = timing.cpu if alone else timing.seconds
    processes = timing.processes or [0] * len(samples)  # older records have none
    by_process: dict[int, list[float]] = {}
    for process, seconds in zip(processes, samples, strict=True):
        by_process.setdefault(process, []).append(seconds / timing.calls)
    times = [time_of(some) for some in by_process.values()]
    return PROCESSOR if alone else SECONDS, float(np.median(times)) if times else np.nan


def _errors(store: Store) -> Iterator[dict[str, object]]:
    answers = Answers(store)
    places = set(accuracy.DRAWN) - {"worst"}  # searches find more and more
    answers.jobs = [job for job in answers.jobs if job.case.points in places]
    drawn = accuracy.jobs(answers)
    axes = ["loss", "target", "dtype", "reduction", "points"]
    for place, group in drawn.groupby(axes, sort=False):
        row: dict[str, object] = dict(zip(axes, place, strict=True))
        row |= {"framework": group["framework"].iloc[0], "shape": "", "threads": ""}
        wrong = group[[f"{what}_{kind}" for what in accuracy.WHAT for kind in ("nan", "inf", "finite")]]
        measured = bool((~group["verdict"].isin(("unsupported", "refused", "failed"))).any())
        for what in accuracy.WHAT:
            if group[f"{what}_max_ulp"].notna().any():
                worst = float(group[f"{what}_max_ulp"].max())
                yield {**row, "measure": f"{what} ulp", "unit": "ulp", "value": worst}
        if measured:
            yield {**row, "measure": "mismatches", "unit": "numbers", "value": float(wrong.to_numpy().sum())}
