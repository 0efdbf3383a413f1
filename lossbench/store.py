"""A run's folder: what was planned, the specs it was planned from, one line for each record, arrays by digest.

run.json        the suite, when, by which lossbench, and what people call the run
jobs.jsonl      every planned job
records.jsonl   what was answered, one record a line, in the order in which it came
specs/*.toml    copies: a run explains itself for ever; specs/worst/*.toml the worst inputs that it knew
arrays/*.npy    arrays of more than a few numbers, named by digest
logs/*.log      what each target's worker printed
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from lossbench import __version__, records, spec, worst
from lossbench.arrays import Arrays
from lossbench.errors import StoreError
from lossbench.journal import Journal
from lossbench.loss import Loss
from lossbench.records import Answer, Job, Record, Struct
from lossbench.suite import Suite

FORMAT = 1

_jobs = msgspec.json.Decoder(Job)


class Head(Struct, frozen=True, kw_only=True):
    """What `run.json` says."""

    format: int
    suite: Suite
    created: datetime
    lossbench: str
    label: str = ""
    commit: str = ""


class Store:
    """The folder of one run. Many may read it, one appends to it.

    Attributes:
        path: The folder.
        suite: What was asked for.
        created: When, in UTC.
        label: What people call the run in its history; empty where they call it nothing.
        commit: Of the git checkout that it was started in, see `origin.commit`; empty where that is not known.
    """

    def __init__(self, path: Path, head: Head) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.suite = head.suite
        self.created = head.created
        self.label = head.label
        self.commit = head.commit
        self._journal: Journal[Record] = Journal(path / "records.jsonl", records.encode, records.decode)

    @classmethod
    def create(
        cls,
        folder: Path | str,
        jobs: Sequence[Job],
        losses: Sequence[Loss],
        suite: Suite,
        *,
        label: str = "",
        commit: str = "",
    ) -> Store:
        """A new run in a folder that does not exist yet, or is empty.

        Raises:
            StoreError: The folder is in use, or cannot be made.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise StoreError(f"{path} is not empty; give a new folder, or resume the run in it")
            for name in ("specs", "arrays", "logs"):
                (path / name).mkdir()
        except OSError as error:
            raise StoreError(f"{path}: no run can be stored there ({error.strerror})") from None
        for loss in losses:
            (path / "specs" / f"{loss.name}.toml").write_text(loss.source, encoding="utf-8")
            if worst.path_of(loss).exists():
                (path / "specs" / worst.FOLDER).mkdir(exist_ok=True)
                shutil.copy(worst.path_of(loss), path / "specs" / worst.FOLDER)
        (path / "jobs.jsonl").write_bytes(b"".join(msgspec.json.encode(job) + b"\n" for job in jobs))
        (path / "records.jsonl").touch()
        now = datetime.now(UTC)
        head = Head(format=FORMAT, suite=suite, created=now, lossbench=__version__, label=label, commit=commit)
        # Last: a folder with a run.json is complete.
        (path / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(head)) + b"\n")
        return cls(path, head)

    @classmethod
    def open(cls, folder: Path | str) -> Store:
        """The run in that folder.

        Raises:
            StoreError: There is no such folder, or no run of this version in it.
        """
        path = Path(folder)
        if not path.is_dir():
            raise StoreError(f"{path}: no such folder; expected that of a run")
        try:
            head = msgspec.json.decode((path / "run.json").read_bytes(), type=Head)
        except OSError:
            raise StoreError(f"{path} has no run.json; expected the folder of a run") from None
        except msgspec.DecodeError as error:
            raise StoreError(f"{path / 'run.json'}: not written by this version of lossbench ({error})") from None
        if head.format != FORMAT:
            raise StoreError(f"{path}: a store of format {head.format}; this lossbench reads format {FORMAT}")
        return cls(path, head)

    def jobs(self) -> list[Job]:
        """Every planned job, in the order of the plan."""
        try:
            return _jobs.decode_lines((self.path / "jobs.jsonl").read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"{self.path / 'jobs.jsonl'}: damaged ({error}); plan the run again") from None

    def losses(self) -> dict[str, Loss]:
        """The losses by name, from the store's own copies of their specs."""
        return {path.stem: spec.load(path) for path in sorted((self.path / "specs").glob("*.toml"))}

    def records(self) -> list[Record]:
        """Every record, in the order in which they came; a line that a crash cut off is dropped.

        Raises:
            StoreError: A line before the last is no record, or the file is not there.
        """
        return self._journal.records()

    def done(self) -> set[str]:
        """The keys of the jobs that have their record."""
        return {one.job.key for one in self.records() if isinstance(one, Answer)}

    def left(self) -> list[Job]:
        """The jobs that have no record yet, in the order of the plan."""
        done = self.done()
        return [job for job in self.jobs() if job.key not in done]

    def lock(self) -> None:
        """Become the one that appends; what a crash left of a last line is cut off.

        Raises:
            StoreError: Another process, or another `Store`, is appending, or nobody may.
        """
        self._journal.lock()

    def append(self, record: Record) -> None:
        """Write a record so that it survives this process; locks the store if it is not locked yet."""
        self._journal.append(record)

    def close(self) -> None:
        """Let others append."""
        self._journal.close()

    def put(self, array: np.ndarray) -> str:
        """Keep *array*; its name in the store, the same for equal arrays."""
        return self.arrays.put(array)

    def array(self, name: str) -> np.ndarray:
        """The array of that name.

        Raises:
            StoreError: It is not there.
        """
        return self.arrays.get(name)

    @cached_property
    def arrays(self) -> Arrays:
        """The arrays alone, which workers write by themselves."""
        return Arrays(self.path / "arrays")
