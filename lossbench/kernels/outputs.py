"""Arrays that callers give for results: by name, of the right shape and dtype, and apart from everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossbench.errors import LossbenchError
from lossbench.kernels.given import shared

Out = np.ndarray | Mapping[str, np.ndarray] | None


def named(out: Out, alone: Sequence[str]) -> Mapping[str, np.ndarray]:
    """What is given, by name.

    Args:
        out: One array, or several by name.
        alone: Which results one array may stand for, if there is but one.

    Raises:
        LossbenchError: It is one array for several results or none, or neither.
    """
    found: Any = shared("out", out)
    if isinstance(found, np.ndarray):
        if len(alone) != 1:
            expected = ", ".join(alone) or "none, for the value is one number"
            raise LossbenchError(f"out is one array; expected a mapping of: {expected}")
        return {alone[0]: found}
    if found is not None and not isinstance(found, Mapping):
        raise LossbenchError(f"out is a {type(found).__name__}; expected an array or a mapping of arrays")
    return found or {}


def check(
    given: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: np.dtype[Any],
    read: Mapping[str, np.ndarray],
) -> None:
    """Look whether results can be written into what is given.

    Args:
        given: The arrays, by the result's name.
        shapes: Of the results.
        dtype: Of the results.
        read: The arrays that are read meanwhile, with which they may have no memory in common.

    Raises:
        LossbenchError: An array is of no result, has another shape or dtype, or shares memory.
    """
    for name, array in given.items():
        if name not in shapes:
            raise LossbenchError(f"out has {name!r}; expected: {', '.join(shapes) or 'nothing'}")
        if not isinstance(array, np.ndarray):
            raise LossbenchError(f"out {name!r} is a {type(array).__name__}; expected an array")
        if array.shape != shapes[name] or array.dtype != dtype or not array.flags.carray:
            raise LossbenchError(
                f"out {name!r} is {array.dtype} of shape {array.shape}; expected a writable C-contiguous "
                f"array, {dtype} of shape {shapes[name]}"
            )
        others = {**read, **{one: given[one] for one in given if one != name}}
        for other, taken in others.items():
            if np.may_share_memory(array, taken):  # a row is read again after its first gradients are written
                raise LossbenchError(f"out {name!r} shares memory with {other!r}; expected an array of its own")
