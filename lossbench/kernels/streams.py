"""How kernels go through long arrays: a short piece at a time, whose losses wait in the cache to be added up.

LLVM makes a loop of vectors of what computes the losses of a piece, and another of their sum in float64: it costs next
to nothing beside the memory, and neither overflows nor rounds where a sum in float32 would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lossbench.kernels.primitives import inlined
from lossbench.kernels.sums import accumulated, compensated, completed, root, squares

PIECE = 256  # numbers
LANES = 64  # a multiple of what LLVM computes at once
BLOCK = 16384  # numbers in one sum; fewer are not worth a second thread


@intrinsic  # type: ignore[untyped-decorator]
def room(typing: Any, like: Any) -> Any:
    """Room for a piece of numbers like *like*, on the stack."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.ArrayType(context.get_value_type(like), PIECE)
        with builder.goto_entry_block():
            place = builder.alloca(kind)
        return builder.bitcast(place, context.get_value_type(signature.return_type))

    return types.CPointer(like)(like), generated


@intrinsic  # type: ignore[untyped-decorator]
def put(typing: Any, place: Any, at: Any, x: Any) -> Any:
    """Write *x* into a room."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, index, value = args
        builder.store(value, builder.gep(pointer, [index], inbounds=True))
        return context.get_dummy_value()

    return types.none(place, types.intp, place.dtype), generated


@intrinsic  # type: ignore[untyped-decorator]
def taken(typing: Any, place: Any, at: Any) -> Any:
    """What lies in a room."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, index = args
        return builder.load(builder.gep(pointer, [index], inbounds=True))

    return place.dtype(place, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def select(typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """*yes* or *no*, without a branch."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(types.boolean, yes, yes), generated


@inlined
def added(place: Any, count: int) -> float:
    """The sum of the first *count* numbers in a room, in float64."""
    total = 0.0
    for at in range(count):
        total = accumulated(total, np.float64(taken(place, at)))
    return total


@inlined
def summed(row: np.ndarray) -> float:
    """The sum of a row, in float64."""
    total, error = 0.0, 0.0
    for first in range(0, len(row), PIECE):
        part = 0.0
        for at in range(first, min(first + PIECE, len(row))):
            part = accumulated(part, np.float64(row[np.uint64(at)]))  # a signed one may count from the end
        total, error = compensated(total, error, part)
    return completed(total, error)


@inlined
def length_of(row: np.ndarray) -> float:
    """The root of the sum of a row's squares."""
    plain = 0.0
    for at in range(len(row)):
        x = np.float64(row[np.uint64(at)])
        plain = accumulated(plain, x * x)
    large, little = 0.0, 0.0
    if not 1e-260 < plain < 1e300:
        plain = 0.0
        for at in range(len(row)):
            plain, large, little = squares(plain, large, little, np.float64(row[np.uint64(at)]))
    return root(plain, large, little)


@inlined
def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two contiguous arrays have memory in common."""
    first, second = one.ctypes.data, other.ctypes.data
    return bool(first < second + other.nbytes and second < first + one.nbytes)
