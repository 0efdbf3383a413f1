"""Sums that keep their digits: the steps of the loops in generated kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lossbench.kernels.primitives import inlined

_LARGE = 2.0**-700  # scales what is too large to be squared
_LITTLE = 2.0**700


def _step(build: Callable[[Any, Any, Any], Any]) -> Any:
    """A primitive of two numbers of one type, made of LLVM instructions of its own."""

    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return build(builder, *args)

        return a(a, a), generated

    return intrinsic(typed)


def _extreme(name: str) -> Any:
    """The larger or smaller of two numbers of one type; of a number and nan the number."""

    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = context.get_value_type(a)
            function = builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind, kind]))
            return builder.call(function, args)

        return a(a, a), generated

    return intrinsic(typed)


larger = _extreme("llvm.maxnum")


def _largest(builder: Any, a: Any, b: Any) -> Any:
    numbers = {"flags": ("nnan", "nsz")}
    return builder.select(builder.fcmp_ordered(">", b, a, **numbers), b, a, **numbers)


# Of numbers alone: beside nan it may be anything.
largest = _step(_largest)


def _rank(first: bool) -> Any:
    """A number as an integer in the same order, nan above or below all others: largest and smallest ones of integers
    LLVM finds in a loop of vectors beside sums, those of numbers only alone."""

    def typed(typing: Any, x: Any) -> Any:
        bits = 32 if x == types.float32 else 64

        def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            integer = ir.IntType(bits)
            pattern = builder.bitcast(args[0], integer)
            rank = _turned(builder, pattern)
            is_nan = builder.fcmp_unordered("uno", args[0], args[0])
            # Not quite the end: a largest one with that would be simplified to what LLVM no longer knows.
            end = (1 << (bits - 1)) - 2 if first else 2 - (1 << (bits - 1))
            return builder.select(is_nan, ir.Constant(integer, end), rank)

        return (types.int32 if bits == 32 else types.int64)(x), generated

    return intrinsic(typed)


def _turned(builder: Any, pattern: Any) -> Any:
    """The pattern of a negative number with all bits but that of the sign turned: this way and back."""
    bits = pattern.type.width
    signs = builder.ashr(pattern, ir.Constant(pattern.type, bits - 1))
    return builder.xor(pattern, builder.and_(signs, ir.Constant(pattern.type, (1 << (bits - 1)) - 1)))


@intrinsic  # type: ignore[untyped-decorator]
def ranked(typing: Any, rank: Any) -> Any:
    """The number of a rank; nan of the first and the last."""
    kind = types.float32 if rank == types.int32 else types.float64

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # What follows from the number must not be moved into the loop, which then would be none of vectors.
        function = ir.FunctionType(args[0].type, [args[0].type])
        rank = builder.call(ir.InlineAsm(function, "", "=r,0"), args)
        return builder.bitcast(_turned(builder, rank), context.get_value_type(kind))

    return kind(rank), generated


rank_or_first = _rank(True)
rank_or_last = _rank(False)
highest = _extreme("llvm.smax")
lowest = _extreme("llvm.smin")

# LLVM may add in any order, hence in vectors: some 32 partial sums side by side, added in the end. What a select makes
# 0 it need not add, if the sign of 0 does not matter.
accumulated = _step(lambda builder, a, b: builder.fadd(a, b, flags=("reassoc", "nsz")))
# The same of products that need not be rounded before they are added.
fused = _step(lambda builder, a, b: builder.fadd(a, b, flags=("reassoc", "nsz", "contract")))
# The flag says nothing of sums; without any they would get that of the kernel, and a product contracted into them.
_plus = _step(lambda builder, a, b: builder.fadd(a, b, flags=("arcp",)))
_minus = _step(lambda builder, a, b: builder.fsub(a, b, flags=("arcp",)))


@inlined
def compensated(total: float, error: float, x: float) -> tuple[float, float]:
    """The total with *x*, and what rounding has taken from it so far (Knuth's exact sum of two)."""
    larger = _plus(total, x)
    added = _minus(larger, total)
    return larger, error + _plus(_minus(total, _minus(larger, added)), _minus(x, added))


@inlined
def completed(total: float, error: float) -> float:
    """The sum; beside an infinite total the error is nan."""
    return total + error if error == error else total


@inlined
def squares(plain: float, large: float, little: float, x: float) -> tuple[float, float, float]:
    """Three sums of squares of which at least one neither overflows nor vanishes."""
    big, small = x * _LARGE, x * _LITTLE
    return accumulated(plain, x * x), accumulated(large, big * big), accumulated(little, small * small)


@inlined
def root(plain: float, large: float, little: float) -> float:
    """The square root of the sum of squares."""
    if 1e-260 < plain < 1e300:
        return math.sqrt(plain)
    if plain >= 1e300:
        return math.sqrt(large) / _LARGE
    return math.sqrt(little) / _LITTLE
