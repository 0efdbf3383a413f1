"""What callers give as arrays that compiled functions take, over the same memory where that is possible."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossbench.errors import LossbenchError

_CPU = (1, 0)  # a device in DLPack


def converted(name: str, value: object, dtype: np.dtype[Any]) -> np.ndarray:
    """*value* as an array of *dtype* that Numba can take.

    Raises:
        LossbenchError: It is not made of real numbers, or of whole ones for a dtype of integers.
    """
    if isinstance(value, np.ndarray) and value.dtype == dtype and value.flags.carray and type(value) is np.ndarray:
        return value
    try:
        given = np.asarray(shared(name, value))
        # bfloat16 is no number to NumPy itself, but it converts.
        numeric = given.dtype.kind in "biuf" or given.dtype.name == "bfloat16"
    except (TypeError, ValueError):  # no dtype of NumPy, or rows of several lengths
        numeric = False
    if not numeric or isinstance(value, np.ma.MaskedArray):
        found = getattr(value, "dtype", None) if type(value) is np.ndarray else type(value).__name__
        raise LossbenchError(f"{name} is {found}; expected real numbers that convert to {dtype}")
    if given.dtype == dtype and given.flags.c_contiguous and given.flags.aligned:
        return given if given.flags.writeable else _as_writable(given)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the dtype is infinite
        array = np.require(given, dtype, ["C", "A", "W"])
    if dtype.kind == "i" and not np.array_equal(array, given):
        raise LossbenchError(f"{name} holds a number that is no {dtype}; expected whole numbers")
    return array


def shared(name: str, value: Any) -> object:
    """A tensor of another framework as an array over the same memory; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__dlpack__"):
        return value
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        if getattr(value, "__dlpack_device__", lambda: _CPU)()[0] != _CPU[0]:
            raise LossbenchError(f"{name} is on another device; expected a tensor on the CPU") from None
        if "grad" in str(error):
            raise LossbenchError(f"{name} is part of an autograd graph; expected .detach()") from None
        return value  # a dtype that DLPack does not share with NumPy


class _Memory:
    """Memory as NumPy's array interface describes it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _as_writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array of the type that kernels are compiled for; they write into outputs alone."""
    return np.asarray(_Memory(array))
