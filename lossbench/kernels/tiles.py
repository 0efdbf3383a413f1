"""How kernels go through rows: some at a time, whose numbers wait on the stack for those of the others."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lossbench.kernels.primitives import inlined
from lossbench.kernels.streams import LANES, taken
from lossbench.kernels.sums import accumulated

ROWS = 32  # in a tile
SEVERAL = 4  # blocks of rows from which on several threads share them as they are
NARROW = 64  # rows of fewer classes are computed side by side
SPAN = 2048  # numbers in a tile of other rows
AREA = ROWS * NARROW
REACH = 1024  # numbers of a row that are added in the kernel's dtype
WINDOW = 2 * LANES
QUARTER = LANES // 4  # of a block of a row; so many sums in float64 are kept beside each other


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def space(typing: Any, like: Any, length: Any) -> Any:
    """Room on the stack for *length* numbers like *like*, a number that is written in the text."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.ArrayType(context.get_value_type(like), length.literal_value)
        with builder.goto_entry_block():
            place = builder.alloca(kind)
            place.align = 64
        return builder.bitcast(place, context.get_value_type(signature.return_type))

    like = types.unliteral(like)
    return types.CPointer(like)(like, length), generated


def _entry(wanted: str) -> Any:
    """An entry of an array by its place in memory: read or written in the scope of what is given, kept or stored.

    Arrays of different scopes share no memory, which LLVM is told: it need not look before a loop of vectors, and
    keeps no second loop for when they do.
    """

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.gep(data, [args[1]], inbounds=True)
        done = builder.load(place) if len(args) == 2 else builder.store(args[2], place)
        module = builder.module
        domain = module.add_metadata(["rows"])
        scopes = {name: module.add_metadata([name, domain]) for name in ("given", "kept", "stored")}
        done.set_metadata("alias.scope", module.add_metadata([scopes.pop(wanted)]))
        done.set_metadata("noalias", module.add_metadata(list(scopes.values())))
        return done if len(args) == 2 else context.get_dummy_value()

    return generated


@intrinsic  # type: ignore[untyped-decorator]
def entry(typing: Any, array: Any, at: Any) -> Any:
    """What is given."""
    return array.dtype(array, types.intp), _entry("given")


@intrinsic  # type: ignore[untyped-decorator]
def recalled(typing: Any, array: Any, at: Any) -> Any:
    """What was kept."""
    return array.dtype(array, types.intp), _entry("kept")


@intrinsic  # type: ignore[untyped-decorator]
def remember(typing: Any, array: Any, at: Any, x: Any) -> Any:
    """Keep a number for a later loop."""
    return types.none(array, types.intp, array.dtype), _entry("kept")


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, at: Any, x: Any) -> Any:
    """Write a gradient's entry."""
    return types.none(array, types.intp, array.dtype), _entry("stored")


@intrinsic  # type: ignore[untyped-decorator]
def stored(typing: Any, array: Any, at: Any) -> Any:
    """What was written where the gradient's entry will be."""
    return array.dtype(array, types.intp), _entry("stored")


@intrinsic  # type: ignore[untyped-decorator]
def clear(typing: Any, sums: Any) -> Any:
    """Begin the sums of a row."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.DoubleType(), QUARTER)
        builder.store(ir.Constant(kind, None), builder.bitcast(args[0], kind.as_pointer()), align=64)
        return context.get_dummy_value()

    return types.none(sums), generated


@intrinsic  # type: ignore[untyped-decorator]
def gather(typing: Any, sums: Any, terms: Any) -> Any:
    """Add a block of terms: four of them in float32, which in float64 would halve the vectors, and these to sums."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.VectorType(ir.DoubleType(), QUARTER)
        real = ir.VectorType(ir.FloatType(), QUARTER)
        place = builder.bitcast(args[0], wide.as_pointer())
        quarters = builder.bitcast(args[1], real.as_pointer())
        first, *rest = [builder.load(builder.gep(quarters, [ir.IntType(64)(at)]), align=64) for at in range(4)]
        pairs = builder.fadd(first, rest[0]), builder.fadd(*rest[1:])
        four = builder.fpext(builder.fadd(*pairs), wide)
        builder.store(builder.fadd(builder.load(place, align=64), four), place, align=64)
        return context.get_dummy_value()

    return types.none(sums, terms), generated


@inlined
def gathered(sums: Any) -> float:
    """All of the sums of a row together."""
    total = 0.0
    for at in range(QUARTER):
        total = accumulated(total, taken(sums, at))
    return total


@intrinsic  # type: ignore[untyped-decorator]
def short(typing: Any, place: Any) -> Any:
    """A place in 32 bits, of which vectors compare twice as many at once."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.trunc(args[0], ir.IntType(32))

    return types.int32(types.int64), generated


@inlined
def nearby(label: int, first: int, length: int) -> Any:
    """The place of a label in a piece of a row, in 32 bits; -1 where it is in another."""
    place = label - first
    return short(place) if 0 <= place < length else short(-1)


@intrinsic  # type: ignore[untyped-decorator]
def fetch(typing: Any, array: Any, i: Any, j: Any, written: Any) -> Any:
    """Begin to bring an entry of rows into the cache, to be read or written, while something else is computed."""

    def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = context.make_array(signature.args[0])(context, builder, args[0])
        at = builder.add(builder.mul(args[1], builder.extract_value(rows.shape, 1)), args[2])
        place = builder.bitcast(builder.gep(rows.data, [at]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kinds = [place.type, number, number, number]
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), kinds)
        )
        for value in range(2):  # the kind of access has to be a constant
            with builder.if_then(builder.icmp_unsigned("==", args[3], args[3].type(value))):
                builder.call(function, [place, number(value), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, types.boolean), generated
