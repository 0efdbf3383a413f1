"""A file of records, one JSON object a line: many may read it, one appends, and a crash costs at most its last line."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Generic, TypeVar

import msgspec

from lossbench.errors import StoreError

R = TypeVar("R")


class Journal(Generic[R]):
    """The records in the file at *path*, which exists."""

    def __init__(self, path: Path, encode: Callable[[R], bytes], decode: Callable[[bytes], R]) -> None:
        self.path = path
        self._encode = encode
        self._decode = decode
        self._file: IO[bytes] | None = None

    def records(self) -> list[R]:
        """Every record, in the order in which they came; a line that a crash cut off is dropped.

        Raises:
            StoreError: A line before the last is no record, or the file is not there.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read ({error.strerror}); start it again") from None
        found: list[R] = []
        for number, line in enumerate(lines, 1):
            if line:
                try:
                    found.append(self._decode(line))
                except msgspec.DecodeError as error:
                    if number < len(lines):
                        message = f"{self.path}:{number}: no record ({error}); delete the line to go on"
                        raise StoreError(message) from None
        return found

    def lock(self) -> None:
        """Become the one that appends; what a crash left of a last line is cut off.

        Raises:
            StoreError: Another process, or another `Journal`, is appending, or nobody may.
        """
        if self._file is not None:
            return
        try:
            file = self.path.open("r+b")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise StoreError(
                f"{self.path.parent} is in use: another run is writing to it; wait until it ends"
            ) from None
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        self._file = file

    def append(self, record: R) -> None:
        """Write a record so that it survives this process; locks the file if it is not locked yet."""
        self.lock()
        assert self._file is not None
        self._file.write(self._encode(record) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Let others append."""
        if self._file is not None:
            self._file.close()
            self._file = None
