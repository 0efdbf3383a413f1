"""Keras on top of another adapter's framework: its losses are the same code, and still not the same losses."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from lossbench.errors import Unsupported

BACKENDS = ("jax", "torch")


def keras(backend: str) -> Any:
    """Keras, which this process must not have imported yet, or on that *backend*.

    Raises:
        ImportError: Keras is not installed.
        Unsupported: There is no such backend, or this process has another.
    """
    if backend not in BACKENDS:
        raise Unsupported(f"keras on {backend} is not asked; expected one of: {', '.join(BACKENDS)}")
    os.environ["KERAS_BACKEND"] = backend  # read once, when keras is imported
    found = import_module("keras")
    if found.backend.backend() != backend:
        raise Unsupported(f"keras runs on {found.backend.backend()} in this process; expected {backend}")
    return found
