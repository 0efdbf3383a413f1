"""Generated modules on disk, compiled once: a module's file is named after its content, and Numba caches beside it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, cast

import numba
from numpy import bool_ as boolean
from numpy import empty, float32, float64
from numpy import int64 as integer
from numpy import uint64 as natural

from lossbench.compilations import watch
from lossbench.kernels.primitives import FASTMATH, Function

__all__ = [
    "boolean",
    "compiled",
    "empty",
    "first",
    "float32",
    "float64",
    "folder",
    "integer",
    "load",
    "natural",
    "within",
]


_COMPILING = Lock()


def compiled(function: Function) -> Function:
    """*function* compiled at its first call, and found on disk afterwards."""
    return cast(Function, numba.njit(function, error_model="numpy", fastmath=FASTMATH, nogil=True, cache=True))


def within(function: Function) -> Function:
    """*function* as a part of those that call it: compiled with them, not once more for itself."""
    return cast(Function, numba.njit(function, error_model="numpy", fastmath=FASTMATH, inline="always"))


@contextmanager
def first(function: Any) -> Iterator[None]:
    """One caller at a time until *function* is compiled; from then on arrays of other types are refused.

    Who waited for another's compilation must not find it over.
    """
    with nullcontext() if function.signatures else _COMPILING:
        yield
        function.disable_compile()


def folder() -> Path:
    """Where generated modules lie: LOSSBENCH_CACHE_DIR, else a folder in the user's cache."""
    chosen = os.environ.get("LOSSBENCH_CACHE_DIR")
    if chosen:
        return Path(chosen) / "kernels"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lossbench" / "kernels"


@cache
def load(name: str, source: str) -> ModuleType:
    """The module of that text; *name* makes its file recognisable.

    Raises:
        OSError: The folder cannot be written.
    """
    watch()
    text = f"{source}\n# Compiled against lossbench.kernels {_foundation()}.\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    title = f"{re.sub(r'[^a-z0-9_]', '_', name.lower())}_{digest}"
    path = folder() / f"{title}.py"
    if not path.exists():  # Numba's cache holds as long as the file's time does not change
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    spec = importlib.util.spec_from_file_location(f"lossbench_kernel_{title}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba finds the module of a cached function by name
    spec.loader.exec_module(module)
    return module


@cache
def _foundation() -> str:
    """A digest of what generated functions call: Numba's cache does not see it change."""
    here = Path(__file__).parent
    texts = [(here / "polynomials.toml").read_bytes()]
    texts += [
        (here / f"{name}.py").read_bytes()
        for name in (
            "arithmetic",
            "coefficients",
            "compile",
            "cuda",
            "cuda_sums",
            "elementary",
            "machine",
            "primitives",
            "sequences",
            "streams",
            "sums",
            "team",
            "tiles",
        )
    ]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]
