"""A sweep's folder: what was planned, the specs it was planned from, one line for each shard that was performed.

sweep.json      when, and by which lossbench
plan.jsonl      every planned shard
shards.jsonl    what came of each, one record a line, in the order in which they came
sessions.jsonl  how long it took, with how many processes
specs/*.toml    copies: a sweep explains itself for ever
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lossbench import __version__, spec
from lossbench.errors import StoreError
from lossbench.journal import Journal
from lossbench.loss import Loss
from lossbench.records import Struct
from lossbench.sweeps import shard
from lossbench.sweeps.shard import Record, Shard

FORMAT = 1

_shards = msgspec.json.Decoder(Shard)


class Head(Struct, frozen=True, kw_only=True):
    """What `sweep.json` says."""

    format: int
    created: datetime
    lossbench: str


class Session(Struct, frozen=True, kw_only=True):
    """How long it took to perform some of the shards.

    Attributes:
        processes: How many worked, here or in a cluster.
        shards, evaluations: What they did.
        seconds: From its start to its end.
    """

    processes: int
    shards: int
    evaluations: int
    seconds: float


class Folder:
    """The folder of one sweep. Many may read it, one appends to it.

    Attributes:
        path: The folder.
        created: When, in UTC.
        records: What came of each shard.
        sessions: How long it took.
    """

    def __init__(self, path: Path, head: Head) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.created = head.created
        self.records: Journal[Record] = Journal(path / "shards.jsonl", shard.encode, shard.decode)
        encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Session)
        self.sessions: Journal[Session] = Journal(path / "sessions.jsonl", encoder.encode, decoder.decode)

    @classmethod
    def create(cls, folder: Path | str, shards: Sequence[Shard], losses: Sequence[Loss]) -> Folder:
        """A new sweep in a folder that does not exist yet, or is empty.

        Raises:
            StoreError: The folder is in use, or cannot be made.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise StoreError(f"{path} is not empty; give a new folder, or resume the sweep in it")
            (path / "specs").mkdir()
        except OSError as error:
            raise StoreError(f"{path}: no sweep can be stored there ({error.strerror})") from None
        for loss in losses:
            (path / "specs" / f"{loss.name}.toml").write_text(loss.source, encoding="utf-8")
        (path / "plan.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in shards))
        for name in ("shards.jsonl", "sessions.jsonl"):
            (path / name).touch()
        head = Head(format=FORMAT, created=datetime.now(UTC), lossbench=__version__)
        # Last: a folder with a sweep.json is complete.
        (path / "sweep.json").write_bytes(msgspec.json.format(msgspec.json.encode(head)) + b"\n")
        return cls(path, head)

    @classmethod
    def open(cls, folder: Path | str) -> Folder:
        """The sweep in that folder.

        Raises:
            StoreError: There is no such folder, or no sweep of this version in it.
        """
        path = Path(folder)
        if not path.is_dir():
            raise StoreError(f"{path}: no such folder; expected that of a sweep")
        try:
            head = msgspec.json.decode((path / "sweep.json").read_bytes(), type=Head)
        except OSError:
            raise StoreError(f"{path} has no sweep.json; expected the folder of a sweep") from None
        except msgspec.DecodeError as error:
            raise StoreError(f"{path / 'sweep.json'}: not written by this version of lossbench ({error})") from None
        if head.format != FORMAT:
            raise StoreError(f"{path}: a sweep of format {head.format}; this lossbench reads format {FORMAT}")
        return cls(path, head)

    def shards(self) -> list[Shard]:
        """Every planned shard, in the order of the plan."""
        try:
            return _shards.decode_lines((self.path / "plan.jsonl").read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"{self.path / 'plan.jsonl'}: damaged ({error}); plan the sweep again") from None

    def losses(self) -> dict[str, Loss]:
        """The losses by name, from the folder's own copies of their specs."""
        return {path.stem: spec.load(path) for path in sorted((self.path / "specs").glob("*.toml"))}

    def left(self) -> list[Shard]:
        """The shards that have no record yet, in the order of the plan."""
        done = {record.shard.key for record in self.records.records()}
        return [one for one in self.shards() if one.key not in done]

    def close(self) -> None:
        """Let others append."""
        self.records.close()
        self.sessions.close()
