"""Folders of shares put together: what several machines found becomes one sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lossbench.errors import StoreError
from lossbench.loss import Loss
from lossbench.sweeps import whole
from lossbench.sweeps.folder import Folder, Session
from lossbench.sweeps.shard import Record, Shard, Unanswered
from lossbench.sweeps.whole import Sweep


def join(shares: Sequence[str | Path], out: str | Path = "reports") -> Sweep:
    """One sweep of all that *shares*, folders of sweeps, planned and found, each shard once; in a new folder of *out*.

    What no share has performed yet is left to do: the new folder can be resumed.

    Raises:
        StoreError: A folder is no sweep's, or two of them have different losses of one name.
    """
    shards: dict[str, Shard] = {}
    losses: dict[str, Loss] = {}
    found: dict[str, Record] = {}
    sessions: list[Session] = []
    for share in map(Folder.open, shares):
        for name, loss in share.losses().items():
            if losses.setdefault(name, loss).digest != loss.digest:
                raise StoreError(f"{share.path}: another {name} than in {shares[0]}; expected shares of one sweep")
        shards |= {one.key: one for one in share.shards()}
        for record in share.records.records():
            if isinstance(found.get(record.shard.key), Unanswered | None):  # where one has an answer, it counts
                found[record.shard.key] = record
        sessions += share.sessions.records()
    folder = whole.created(list(shards.values()), list(losses.values()), out)
    for record in found.values():
        folder.records.append(record)
    for session in sessions:
        folder.sessions.append(session)
    folder.close()
    return whole.reported(folder)
