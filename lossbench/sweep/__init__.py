"""Sweeps: every input of a range, or the worst that a search finds, each error proved by the reference.

`lossbench.sweep(...)` is `lossbench.sweep.whole.sweep(...)`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbench.sweep.whole import Sweep


class _Callable(ModuleType):
    """This package, which is called as what it does: the API's name and the package's are one."""

    def __call__(self, *args: Any, **options: Any) -> Sweep:
        from lossbench.sweep.whole import sweep

        return sweep(*args, **options)


sys.modules[__name__].__class__ = _Callable
