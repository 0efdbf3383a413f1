"""How kernels go through long arrays: a short stretch at a time, whose sum is compensated in float64.

LLVM makes a loop of vectors of what computes the losses of a stretch and adds them up, a few to each of the vectors'
numbers. Losses of a stretch that is not whole, or whose sum would overflow, wait in the cache to be added up in
float64. Outputs too long for the cache wait there too, and go past it to the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lossbench.kernels.primitives import inlined
from lossbench.kernels.sums import accumulated, compensated, completed

STRETCH = 1024  # elements: few enough that each number of a vector takes up at most some 16 of them
SHORT = 512  # the same where less is computed at once
LANES = 64  # a multiple of what LLVM computes at once
BLOCK = 16384  # numbers in one sum; fewer are not worth a second thread
LINE = 64  # bytes of the memory that go together


@intrinsic  # type: ignore[untyped-decorator]
def room(typing: Any, like: Any) -> Any:
    """Room for a stretch of numbers like *like*, on the stack."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.ArrayType(context.get_value_type(like), STRETCH)
        with builder.goto_entry_block():
            place = builder.alloca(kind)
            place.align = LINE
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
def keep(typing: Any, place: Any, at: Any, x: Any, wanted: Any) -> Any:
    """Write *x* into a room if it is wanted there; LLVM makes two loops of one in which that does not change."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, index, value, condition = args
        with builder.if_then(condition):
            builder.store(value, builder.gep(pointer, [index], inbounds=True))
        return context.get_dummy_value()

    return types.none(place, types.intp, place.dtype, types.boolean), generated


@intrinsic  # type: ignore[untyped-decorator]
def taken(typing: Any, place: Any, at: Any) -> Any:
    """What lies in a room."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, index = args
        return builder.load(builder.gep(pointer, [index], inbounds=True))

    return place.dtype(place, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def address(typing: Any, array: Any, at: Any) -> Any:
    """Where in the memory an entry of an array is."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]], inbounds=True)

    return types.CPointer(array.dtype)(array, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def ahead(typing: Any, place: Any, by: Any) -> Any:
    """The place so many numbers further on."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]], inbounds=True)

    return place(place, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def before_line(typing: Any, place: Any) -> Any:
    """How many numbers lie from a place to the next line of the memory."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size = context.get_abi_sizeof(context.get_value_type(place.dtype))
        word = context.get_value_type(types.intp)
        bytes_ = builder.and_(builder.neg(builder.ptrtoint(args[0], word)), ir.Constant(word, LINE - 1))
        return builder.udiv(bytes_, ir.Constant(word, size))

    return types.intp(place), generated


@intrinsic  # type: ignore[untyped-decorator]
def line(typing: Any, to: Any, source: Any, at: Any) -> Any:
    """Copy what fills a line of the memory, past the cache; *to* and *at* are together the begin of one."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(to.dtype)
        size = context.get_abi_sizeof(number)
        vector = ir.VectorType(number, LINE // size).as_pointer()
        target, origin = (builder.bitcast(builder.gep(one, [args[2]], inbounds=True), vector) for one in args[:2])
        stored = builder.store(builder.load(origin, align=size), target, align=LINE)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.none(to, source, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def copied(typing: Any, to: Any, source: Any, count: Any) -> Any:
    """Copy so many numbers."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = context.get_value_type(types.intp)
        size = ir.Constant(word, context.get_abi_sizeof(context.get_value_type(to.dtype)))
        cgutils.raw_memcpy(builder, args[0], args[1], args[2], size)
        return context.get_dummy_value()

    return types.none(to, source, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def select(typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """*yes* or *no*, without a branch."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(types.boolean, yes, yes), generated


@inlined
def stretch(begin: int, first: int, end: int, most: int) -> tuple[int, int, int]:
    """Which elements come next: from where on, how many, and how many of them have been computed before.

    The numbers beyond the last whole vectors are computed once more together with some before them, not one by one.
    """
    left = end - first
    if left >= most:
        return first, most, 0
    if left >= LANES:
        return first, left - left % LANES, 0
    known = min(LANES - left, first - begin)
    return first - known, left + known, known


@inlined
def added(place: Any, first: int, end: int) -> float:
    """The sum of some of the numbers in a room, in float64."""
    total = 0.0
    for at in range(first, end):
        total = accumulated(total, np.float64(taken(place, at)))
    return total


@inlined
def streamed(array: np.ndarray, first: int, source: Any, count: int) -> None:
    """Copy *count* numbers from a room into an array, past the cache but for those that share a line with others.

    No fence is needed: what hands results to another thread (a lock, the end of a parallel loop) is one on x86.
    """
    to, step = address(array, first), LINE // array.itemsize
    at = min(count, before_line(to))
    copied(to, source, at)
    for _ in range((count - at) // step):
        line(to, source, at)
        at += step
    copied(ahead(to, at), ahead(source, at), count - at)


@inlined
def together(sums: np.ndarray) -> float:
    """The sum of the sums of blocks."""
    total, error = 0.0, 0.0
    for part in sums:
        total, error = compensated(total, error, part)
    return completed(total, error)


@inlined
def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two contiguous arrays have memory in common."""
    first, second = one.ctypes.data, other.ctypes.data
    return bool(first < second + other.nbytes and second < first + one.nbytes)
