"""Threads that share the blocks of one call: each block is computed by whoever is free first.

The caller begins at the first block and goes on until none is left; the others begin at the last. Nobody waits for a
thread that has not begun: one that comes late, because another program has its core, finds nothing left. Where blocks
lie decides what they are, not who computes them: results are the same for any number of threads.

The others are threads of Python that stay in one compiled function and need no interpreter lock. Between calls they
look for the next one for 100 microseconds, then sleep. To wake them takes the caller some 20: a call does so where it
is much longer than that, or follows on another so soon that they will stay awake. On Linux they are kept from the
caller's core: in a virtual machine the system takes a halted core for one that is busy elsewhere, and would start and
wake them on that of the caller.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from math import inf
from threading import Lock, Thread
from time import perf_counter
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, get_num_threads, types
from numba.core import cgutils
from numba.extending import intrinsic

from lossbench.kernels.compile import compiled
from lossbench.kernels.primitives import inlined
from lossbench.kernels.streams import address

_PATIENCE = 4000  # pauses before sleep: some 100 us, as long as a core of a virtual machine takes to wake up
# Words of the board, each in a cache line of its own: how many blocks are left, and in the upper half how many of them
# were taken from the end; how many are done; and what was last called.
_LEFT, _DONE, _TASK, _FRAME, _COUNT, _WANTED, _LOCK, _CORES, _OTHERS = 0, 8, 16, 17, 18, 19, 20, 24, 40
_SOON = 1e-4  # seconds between calls of which the second one wakes the others
_LONG = 8  # times as much as is worth other threads that are awake is worth waking them
_SET = 16  # words in a set of cores
_LINUX = sys.platform == "linux"
_SLEEPS, _DOOR, _THREAD, _AWAY, _EACH = 0, 1, 2, 3, 8  # words of each of the others, from the last of these on
_FROM_END = (1 << 32) - 1  # takes a block from the end
_WAITS = 1 << 40  # beside the number of blocks done: the caller sleeps until the last one is

_acquire = types.ExternalFunction("PyThread_acquire_lock", types.int32(types.intp, types.int32))
_release = types.ExternalFunction("PyThread_release_lock", types.void(types.intp))
_core = types.ExternalFunction("sched_getcpu", types.int32())
_move = types.ExternalFunction("sched_setaffinity", types.int32(types.int32, types.uintp, types.CPointer(types.int64)))


def _atomic(operation: str) -> Any:
    """A step of several threads on one word; gives what it was before."""

    @intrinsic  # type: ignore[untyped-decorator]
    def step(typing: Any, words: Any, at: Any, x: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            return builder.atomic_rmw(operation, builder.gep(data, [args[1]]), args[2], "seq_cst")

        return types.int64(words, types.intp, types.int64), generated

    return step


_added, _exchanged, _joined = _atomic("add"), _atomic("xchg"), _atomic("or")


@intrinsic  # type: ignore[untyped-decorator]
def _seen(typing: Any, words: Any, at: Any) -> Any:
    """A word as the others have left it."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "seq_cst", 8)

    return types.int64(words, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def _pause(typing: Any) -> Any:
    """A moment in which the core does little."""
    name = {"x86_64": "llvm.x86.sse2.pause", "AMD64": "llvm.x86.sse2.pause"}.get(platform.machine())

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if name:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.none(), generated


@intrinsic  # type: ignore[untyped-decorator]
def _called(typing: Any, task: Any, frame: Any, block: Any) -> Any:
    """Compute a block."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [args[1].type, args[2].type]).as_pointer()
        builder.call(builder.inttoptr(args[0], kind), args[1:])
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp), generated


@intrinsic  # type: ignore[untyped-decorator]
def task(typing: Any, function: Any, arguments: Any) -> Any:
    """What computes a block, *function* of its number and *arguments*, and where those lie: two addresses."""
    inner = function.get_call_type(typing, (types.intp, *arguments.types), {})

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = function.dispatcher.get_compile_result(inner)
        context.add_linking_libs([found.library])
        word = context.get_value_type(types.intp)
        frame = cgutils.alloca_once_value(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [word, word])
        outlined = ir.Function(builder.module, kind, builder.module.get_unique_name("task"))
        outlined.linkage = "internal"
        inside = ir.IRBuilder(outlined.append_basic_block())
        values = cgutils.unpack_tuple(inside, inside.load(inside.inttoptr(outlined.args[0], frame.type)))
        context.call_internal_no_propagate(inside, found.fndesc, inner, [outlined.args[1], *values])
        inside.ret_void()
        addresses = [builder.ptrtoint(one, word) for one in (outlined, frame)]
        return context.make_tuple(builder, signature.return_type, addresses)

    return types.UniTuple(types.intp, 2)(function, arguments), generated


@inlined
def _send_away(board: np.ndarray, at: int, core: int) -> None:
    """Keep one of the others from the core that the caller is on."""
    if board[at + _THREAD] and board[at + _AWAY] != core + 1 and core < 64 * _SET:
        kept = board[_CORES + core // 64]
        board[_CORES + core // 64] = kept & ~(np.int64(1) << (core % 64))
        _move(board[at + _THREAD], 8 * _SET, address(board, _CORES))
        board[_CORES + core // 64] = kept
        board[at + _AWAY] = core + 1


@inlined
def distribute(board: np.ndarray, task: tuple[int, int], count: int) -> None:
    """Have *count* blocks computed, by this thread and those of the board that come in time."""
    others = min(board[_WANTED], count - 1)
    board[_TASK], board[_FRAME], board[_COUNT] = task[0], task[1], count
    _exchanged(board, _DONE, 0)
    _exchanged(board, _LEFT, count)
    core = _core() if _LINUX else 0
    for other in range(others):
        at = _OTHERS + other * _EACH
        if _LINUX:
            _send_away(board, at, core)
        if _seen(board, at + _SLEEPS) and _exchanged(board, at + _SLEEPS, 0):
            _release(board[at + _DOOR])
    mine = 0
    while True:
        word = _added(board, _LEFT, -1)
        left = np.int64(np.int32(word))
        if left <= 0:
            break
        _called(task[0], task[1], count - left - (word >> 32))
        mine += 1
    if _added(board, _DONE, mine) + mine == count:
        return
    for _ in range(_PATIENCE):
        if _seen(board, _DONE) == count:
            return
        _pause()
    if _joined(board, _DONE, _WAITS) != count:
        _acquire(board[_LOCK], 1)


@compiled
def assist(board: np.ndarray, other: int) -> None:
    """Compute blocks of every call that is put on the board, for ever."""
    at = _OTHERS + other * _EACH
    while True:
        looks = 0
        while np.int32(_seen(board, _LEFT)) <= 0 or other >= board[_WANTED]:
            looks += 1
            if looks < _PATIENCE:
                _pause()
                continue
            looks = 0
            _exchanged(board, at + _SLEEPS, 1)
            if np.int32(_seen(board, _LEFT)) <= 0 or not _exchanged(board, at + _SLEEPS, 0):
                _acquire(board[at + _DOOR], 1)
        mine, count = 0, 0
        while True:
            word = _added(board, _LEFT, _FROM_END)
            if np.int32(word) <= 0:
                break
            count = board[_COUNT]
            _called(board[_TASK], board[_FRAME], count - 1 - (word >> 32))
            mine += 1
        if mine:
            done = _added(board, _DONE, mine)
            if done & _WAITS and (done & ~_WAITS) + mine == count:
                _release(board[_LOCK])


class Team:
    """The threads of this process and their board."""

    def __init__(self, most: int) -> None:
        self.free = Lock()  # one call at a time; a second one meanwhile does without
        self.last = -_SOON  # when a call ended
        self._board = np.zeros(_OTHERS + _EACH * most, np.int64)
        self._board[_LOCK] = _locked()
        if _LINUX:
            for core in os.sched_getaffinity(0):
                self._board[_CORES + core // 64] |= np.uint64(1 << core % 64).astype(np.int64)
        self._others = 0

    def board(self, threads: int) -> np.ndarray:
        """Where so many threads, the caller's among them, find what there is to do."""
        while self._others < threads - 1:
            at = _OTHERS + self._others * _EACH
            self._board[at + _DOOR] = _locked()
            other = Thread(target=assist, args=(self._board, self._others), name="lossbench", daemon=True)
            other.start()
            self._board[at + _THREAD] = other.native_id or 0
            self._others += 1
        self._board[_WANTED] = threads - 1
        return self._board


def spread(turns: Callable[..., Any], blocks: Callable[..., Any], arguments: tuple[Any, ...], size: float) -> Any:
    """What *blocks* makes of the board and the arguments, or, to the same bits, *turns* of these alone.

    *size* is how many times as long the call is as one that is worth other threads that are awake.
    """
    threads = 1 if config.NUMBA_NUM_THREADS == 1 else get_num_threads()
    team = _team
    if threads == 1 or not team.free.acquire(blocking=False):
        return turns(*arguments)
    try:
        if size < _LONG and perf_counter() - team.last >= _SOON:
            found = turns(*arguments)
        else:
            # Who fails, for it was not compiled yet, is compiled and comes back, however long that takes.
            team.last = inf
            found = blocks(team.board(threads), *arguments)
        team.last = perf_counter()
        return found
    finally:
        team.free.release()


def _locked() -> int:
    """The address of a new lock of Python's, taken."""
    api = ctypes.pythonapi
    api.PyThread_allocate_lock.restype = ctypes.c_void_p
    lock = api.PyThread_allocate_lock()
    api.PyThread_acquire_lock(ctypes.c_void_p(lock), 0)
    return int(lock)


def _begin() -> None:
    global _team
    _team = Team(config.NUMBA_NUM_THREADS)


_team = Team(config.NUMBA_NUM_THREADS)
if hasattr(os, "register_at_fork"):  # a copy of the process has none of its threads
    os.register_at_fork(after_in_child=_begin)
