"""How many functions Numba has compiled in this process: those that its cache on disk did not have."""

from __future__ import annotations

from functools import cache
from typing import Any

_finished: list[None] = []


def count() -> int:
    """Since `watch` was called first; with each function those that are compiled into it."""
    return len(_finished)


@cache
def watch() -> None:
    """Begin to count."""
    from numba.core import event  # a second to import, and only who compiles needs it

    class Counter(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            pass

        def on_end(self, event: Any) -> None:
            _finished.append(None)

    event.register("numba:compile", Counter())
