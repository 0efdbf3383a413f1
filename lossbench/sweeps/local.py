"""Shards spread over processes of this machine. What one process is at when it dies is given to another, once."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from multiprocessing.connection import Connection, wait
from typing import cast

from lossbench.sweeps import task
from lossbench.sweeps.shard import Record, Shard, Unanswered
from lossbench.sweeps.task import Source

TRIES = 2
ENDING = 10.0  # seconds for an idle process to end its workers and remove its folders by itself


def performed(shards: Sequence[Shard], sources: Mapping[str, Source], processes: int) -> Iterator[Record]:
    """The record of each shard, as they come: of each exactly one.

    Args:
        shards: Those that differ in their target alone, if they follow one another, go to one process.
        sources: Of each loss, by its name.
        processes: How many work at a time; with one, it is this one.
    """
    if processes == 1:
        try:
            for shard in shards:
                yield task.perform(shard, sources[shard.loss])
        finally:
            task.release()
        return
    waiting = deque(list(group) for _, group in groupby(shards, key=lambda shard: shard.question))
    tries: dict[str, int] = {}
    hands: dict[Connection, _Hand] = {}
    try:
        while waiting or hands:
            while waiting and len(hands) < processes:
                hand = _Hand()
                hands[hand.pipe] = hand
                hand.give(waiting.popleft(), sources)
            for pipe in cast(Iterable[Connection], wait(list(hands))):
                hand = hands[pipe]
                try:
                    record = hand.take()
                except (EOFError, ConnectionError):
                    shard = hand.left[0]
                    tries[shard.key] = tries.get(shard.key, 0) + 1
                    if tries[shard.key] == TRIES:
                        detail = f"the process that performed it {hand.ended()}, {TRIES} times"
                        yield Unanswered(shard=shard, reason="crashed", detail=detail)
                        hand.left.popleft()
                    if hand.left:
                        waiting.appendleft(list(hand.left))
                    hands.pop(pipe).end()
                    continue
                yield record
                if not hand.left:
                    if waiting:
                        hand.give(waiting.popleft(), sources)
                    else:
                        hands.pop(pipe).end()
    finally:
        for hand in hands.values():
            hand.end()


class _Hand:
    """A process, and the shards that it has still to perform."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would have only one of our threads
        self.pipe, theirs = context.Pipe()
        self.left: deque[Shard] = deque()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, shards: list[Shard], sources: Mapping[str, Source]) -> None:
        self.left = deque(shards)
        try:
            self.pipe.send([(shard, sources[shard.loss]) for shard in shards])
        except ConnectionError:  # it is dead, which `take` finds
            return

    def take(self) -> Record:
        """The next record.

        Raises:
            EOFError: There is none: the process ended.
        """
        record = cast(Record, self.pipe.recv())
        self.left.popleft()
        return record

    def ended(self) -> str:
        """How it ended."""
        self._process.join(5)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with status {code}"

    def end(self) -> None:
        """Let it go, with all that it started."""
        self.pipe.close()
        if not self.left:
            self._process.join(ENDING)
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection) -> None:
    """Perform what comes out of *pipe* until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, _leave)
    while True:
        try:
            given: list[tuple[Shard, Source]] = pipe.recv()
            for shard, source in given:
                pipe.send(task.perform(shard, source))
        except (EOFError, ConnectionError):
            return


def _leave(*_: object) -> None:
    raise SystemExit  # so that workers are ended and folders removed
