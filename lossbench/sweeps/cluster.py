"""Shards spread over the workers of a Dask cluster: what one is at when it is lost is done again by another.

Each Dask worker keeps framework workers of its own, which end with it. It needs lossbench and the frameworks, and no
file of the sweep: specs travel with the task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from threading import Lock
from typing import Any

from lossbench import __version__
from lossbench.errors import LossbenchError
from lossbench.sweeps import task
from lossbench.sweeps.shard import Record, Shard, Unanswered
from lossbench.sweeps.task import Source

try:
    from distributed import Client, Future, KilledWorker, as_completed
    from distributed.comm import CommClosedError
except ImportError as error:
    missing = error.name or "distributed"
    raise LossbenchError(
        f"a Dask cluster needs {missing}, which is not installed; try: pip install 'lossbench[cluster]'"
    ) from None

CONNECT = 10.0  # seconds
WAIT = 30.0  # seconds for the first worker
AHEAD = 3  # groups of shards for each thread of the cluster that are under way: a short queue, and nobody waits

_alone = Lock()


class Cluster:
    """The workers of a Dask scheduler."""

    def __init__(self, client: Client) -> None:
        """Use `connected`."""
        self._client = client

    @property
    def processes(self) -> int:
        """How many Dask workers there are now: each does one shard at a time."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def performed(self, shards: Sequence[Shard], sources: Mapping[str, Source]) -> Iterator[Record]:
        """The record of each shard, as they come: of each exactly one; as `local.performed`.

        Raises:
            LossbenchError: The scheduler was lost; what has come is in the folder.
        """
        groups = iter([list(group) for _, group in groupby(shards, key=lambda shard: shard.question)])
        suspects: list[Shard] = []  # that were under way on several Dask workers when those were lost
        under_way: dict[Future, list[Shard]] = {}
        alone: Future | None = None
        waiting = as_completed(loop=self._client.loop)

        def submit(group: list[Shard]) -> Future:
            # Not pure: a record of another sweep that is still around has the seconds of that one.
            future = self._client.submit(_perform, group, sources[group[0].loss], code(), pure=False)
            under_way[future] = group
            waiting.add(future)
            return future

        def fill() -> None:
            nonlocal alone
            for group in islice(groups, max(0, AHEAD * max(1, self.processes) - len(under_way))):
                submit(group)
            if suspects and not under_way:  # nothing but this one can be to blame now
                alone = submit([suspects.pop()])

        fill()
        for future in waiting:
            group = under_way.pop(future)
            try:
                yield from future.result()
            except KilledWorker as killed:
                if future is alone:
                    lost = killed.allowed_failures + 1
                    detail = f"{lost} Dask {'worker was' if lost == 1 else 'workers were'} lost on it alone"
                    yield Unanswered(shard=group[0], reason="crashed", detail=detail)
                else:
                    suspects += group
            except (CancelledError, CommClosedError):
                raise LossbenchError("the Dask scheduler was lost; start it again") from None
            future.release()
            fill()


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster of the scheduler at *address*, such as tcp://127.0.0.1:8786.

    Raises:
        LossbenchError: There is no scheduler, it has no workers, or they have another lossbench.
    """
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as found:
        reason = str(found).splitlines()[0] if str(found) else type(found).__name__
        raise LossbenchError(
            f"no Dask scheduler at {address!r} ({reason}); start one with `dask scheduler`, workers with "
            f"`dask worker {address} --nthreads 1`"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError:
            raise LossbenchError(
                f"the Dask scheduler at {address} has no workers; start some: dask worker {address} --nthreads 1"
            ) from None
        _same(client)
        yield Cluster(client)


@cache
def code() -> str:
    """Version and digest of this lossbench's own code: what two machines must have in common."""
    package = Path(task.__file__).parent.parent
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix()):
        found.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__} ({found.hexdigest()[:12]})"


def _same(client: Client) -> None:
    """Raise an error that names the workers that have another lossbench, or none."""

    def asked() -> str:  # by value: a worker may have no lossbench
        try:
            from lossbench.sweeps import cluster
        except Exception as error:
            return f"none that works: {error}"
        return str(cluster.code())

    there: Mapping[str, Any] = client.run(asked, on_error="return")
    different = {name: found for name, found in there.items() if found != code()}
    if different:
        name, found = next(iter(different.items()))
        raise LossbenchError(
            f"{len(different)} of {len(there)} Dask workers have another lossbench: {name} has {found}; "
            f"expected {code()}; install the same on all of them and start them again"
        )


def _perform(shards: list[Shard], source: Source, expected: str) -> list[Record]:
    """What comes of *shards* in this Dask worker: one thread at a time, for a framework worker answers one question."""
    if code() != expected:  # of a worker that came later
        raise LossbenchError(f"a Dask worker has another lossbench: {code()}; expected {expected}")
    with _alone:
        return [task.perform(shard, source) for shard in shards]
