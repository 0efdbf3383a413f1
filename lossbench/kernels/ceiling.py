"""The ceiling of every kernel: reads arrays and writes arrays as wide and as fast as memory goes, and computes nothing.

What is written is made of what was read, and what was read comes back as one number, so that no load can be left out.
"""

from __future__ import annotations

from ctypes import addressof, c_char
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from lossbench.kernels.team import distribute, spread, task

LINE = 64  # bytes: a cache line, and the widest register
UNROLLED = 4  # lines of each array in one step, each with an accumulator of its own
PART = 2**18  # bytes of an array that a thread moves at a time, where there are several
WORTH = 2**19  # bytes of traffic from which on several threads are worth their start

_LANES = ir.VectorType(ir.IntType(64), LINE // 8)


def aligned(size: int) -> np.ndarray:
    """A new array of at least *size* bytes that begins at a cache line, rounded up to whole ones; not yet touched."""
    room = np.empty(-(-size // LINE) * LINE + LINE, np.uint8)
    first = -address(room) % LINE
    return room[first : first + room.size - LINE]


def address(array: np.ndarray) -> int:
    """Where its memory begins; NumPy's own way takes longer than moving a thousand numbers."""
    return addressof(c_char.from_buffer(array.data))


def move(reads: tuple[int, ...], writes: tuple[int, ...], size: int, *, streamed: bool, threads: int) -> int:
    """Read arrays and write arrays of *size* bytes each, line by line of all of them.

    Args:
        reads, writes: Addresses of arrays as `aligned` makes them.
        size: A multiple of `LINE`.
        streamed: Whether the stores go past the caches.
        threads: 1, or as many as Numba is set to.
    """
    alone = _streamed if streamed else _stored
    if threads > 1 and (len(reads) + len(writes)) * size >= WORTH:
        parts = np.empty(-(-size // PART), np.int64)
        shared, times = _streamed_parts if streamed else _stored_parts, (len(reads) + len(writes)) * size / WORTH
        return int(spread(lambda *_: alone(reads, writes, 0, size), shared, (reads, writes, size, parts), times))
    return int(alone(reads, writes, 0, size))


def _moving(nontemporal: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def moving(typing: Any, reads: Any, writes: Any, first: Any, last: Any) -> Any:
        """Move the bytes from *first* to *last* of every array."""

        def generated(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            sources = cgutils.unpack_tuple(builder, args[0], len(signature.args[0]))
            sinks = cgutils.unpack_tuple(builder, args[1], len(signature.args[1]))
            sums = [cgutils.alloca_once_value(builder, ir.Constant(_LANES, None)) for _ in range(UNROLLED)]

            def line(address: Any, at: Any) -> Any:
                return builder.inttoptr(builder.add(address, at), _LANES.as_pointer())

            def step(at: Any, many: int) -> None:
                for number in range(many):
                    here = builder.add(at, ir.Constant(at.type, number * LINE))
                    found = ir.Constant(_LANES, None)
                    for source in sources:
                        found = builder.xor(found, builder.load(line(source, here), align=LINE))
                    for sink in sinks:
                        stored = builder.store(found, line(sink, here), align=LINE)
                        if nontemporal:
                            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
                    builder.store(builder.xor(builder.load(sums[number]), found), sums[number])

            wide = ir.Constant(args[2].type, UNROLLED * LINE)
            middle = builder.sub(args[3], builder.urem(builder.sub(args[3], args[2]), wide))
            for start, stop, many in ((args[2], middle, UNROLLED), (middle, args[3], 1)):
                width = ir.Constant(start.type, many * LINE)
                with cgutils.for_range_slice(builder, start, stop, width) as (at, _):
                    step(at, many)
            total = builder.load(sums[0])
            for other in sums[1:]:
                total = builder.xor(total, builder.load(other))
            lanes = [builder.extract_element(total, ir.IntType(32)(lane)) for lane in range(LINE // 8)]
            result = lanes[0]
            for lane in lanes[1:]:
                result = builder.xor(result, lane)
            return result

        return types.int64(reads, writes, types.int64, types.int64), generated

    return moving


_move_stored, _move_streamed = _moving(False), _moving(True)


@numba.njit(nogil=True, cache=True)
def _stored(reads, writes, first, last):  # type: ignore[no-untyped-def]
    return _move_stored(reads, writes, first, last)


@numba.njit(nogil=True, cache=True)
def _streamed(reads, writes, first, last):  # type: ignore[no-untyped-def]
    return _move_streamed(reads, writes, first, last)


@numba.njit(nogil=True)
def _stored_part(part, reads, writes, size, length, parts):  # type: ignore[no-untyped-def]
    first = min(part * length, size)
    parts[part] = _move_stored(reads, writes, first, min(first + length, size))


@numba.njit(nogil=True)
def _streamed_part(part, reads, writes, size, length, parts):  # type: ignore[no-untyped-def]
    first = min(part * length, size)
    parts[part] = _move_streamed(reads, writes, first, min(first + length, size))


# Not from disk, where it would stay as it is when `distribute` changes.
@numba.njit(nogil=True)
def _stored_parts(board, reads, writes, size, parts):  # type: ignore[no-untyped-def]
    length = -(-size // (parts.size * LINE)) * LINE
    distribute(board, task(_stored_part, (reads, writes, size, length, parts)), parts.size)
    return parts[0]


@numba.njit(nogil=True)
def _streamed_parts(board, reads, writes, size, parts):  # type: ignore[no-untyped-def]
    length = -(-size // (parts.size * LINE)) * LINE
    distribute(board, task(_streamed_part, (reads, writes, size, length, parts)), parts.size)
    return parts[0]
