"""The run that a run is compared with where nobody names one: of the same suite, beside it, the last before it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from lossbench.store import Store


class _Suite(msgspec.Struct):
    name: str


class _Head(msgspec.Struct):
    """What `run.json` of any version says."""

    suite: _Suite
    created: datetime


def run(store: Store) -> Path | None:
    """Its folder, though perhaps not one that this version can read; None where there is none."""
    found: list[tuple[datetime, Path]] = []
    for path in sorted(store.path.resolve().parent.glob("*/run.json")):
        try:
            head = msgspec.json.decode(path.read_bytes(), type=_Head)
        except (OSError, msgspec.DecodeError):
            continue  # who cannot say what it is of is nobody's predecessor
        if head.suite.name == store.suite.name and head.created < store.created:
            found.append((head.created, path.parent))
    return max(found)[1] if found else None
