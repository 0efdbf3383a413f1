"""Numbers in the making: LLVM values with Python's operators, from which primitives without branches are built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

# Without a flag an instruction would be allowed to contract, as all of a kernel is; this one says nothing of sums.
_AS_WRITTEN = ("arcp",)
_LONG = 8  # coefficients of polynomials that are evaluated in pairs


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes:
        fraction: How many bits of the significand are stored.
        bias: Of the exponent.
    """

    name: str
    fraction: int
    bias: int

    @property
    def type(self) -> ir.Type:
        return ir.FloatType() if self.name == "float32" else ir.DoubleType()

    @property
    def integer(self) -> ir.IntType:
        return ir.IntType(32 if self.name == "float32" else 64)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.name)

    def bits(self, value: float) -> int:
        """The pattern of the nearest number to *value*."""
        return int(self.dtype.type(value).view(f"u{self.dtype.itemsize}"))


FORMATS = {"float32": Format("float32", 23, 127), "float64": Format("float64", 52, 1023)}


@dataclass(frozen=True, eq=False)
class Truth:
    """A condition."""

    builder: Any
    value: Any

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.builder, self.builder.and_(self.value, other.value))

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.builder, self.builder.or_(self.value, other.value))


@dataclass(frozen=True, eq=False)
class Bits:
    """An integer of as many bits as the numbers of a format have."""

    builder: Any
    value: Any
    format: Format

    def _with(self, other: Bits | int) -> Any:
        return other.value if isinstance(other, Bits) else ir.Constant(self.value.type, other)

    def _new(self, value: Any) -> Bits:
        return Bits(self.builder, value, self.format)

    def __add__(self, other: Bits | int) -> Bits:
        return self._new(self.builder.add(self.value, self._with(other)))

    def __sub__(self, other: Bits | int) -> Bits:
        return self._new(self.builder.sub(self.value, self._with(other)))

    def __rsub__(self, other: int) -> Bits:
        return self._new(self.builder.sub(self._with(other), self.value))

    def __and__(self, other: Bits | int) -> Bits:
        return self._new(self.builder.and_(self.value, self._with(other)))

    def __or__(self, other: Bits | int) -> Bits:
        return self._new(self.builder.or_(self.value, self._with(other)))

    def __lshift__(self, count: int) -> Bits:
        return self._new(self.builder.shl(self.value, self._with(count)))

    def __rshift__(self, count: int) -> Bits:
        """Zeros come in from above."""
        return self._new(self.builder.lshr(self.value, self._with(count)))

    def below(self, other: int) -> Truth:
        """Whether it is smaller, neither with a sign."""
        return Truth(self.builder, self.builder.icmp_unsigned("<", self.value, self._with(other)))

    def number(self) -> Number:
        """The number of this pattern."""
        return Number(self.builder, self.builder.bitcast(self.value, self.format.type), self.format)


@dataclass(frozen=True, eq=False)
class Number:
    """A number of a format; a Python number beside it is rounded to that format."""

    builder: Any
    value: Any
    format: Format

    def _with(self, other: Number | float) -> Any:
        return other.value if isinstance(other, Number) else self.constant(other).value

    def _new(self, value: Any) -> Number:
        return Number(self.builder, value, self.format)

    def constant(self, value: float) -> Number:
        return self._new(ir.Constant(self.format.type, float(self.format.dtype.type(value))))

    def __add__(self, other: Number | float) -> Number:
        return self._new(self.builder.fadd(self.value, self._with(other), flags=_AS_WRITTEN))

    __radd__ = __add__

    def __sub__(self, other: Number | float) -> Number:
        return self._new(self.builder.fsub(self.value, self._with(other), flags=_AS_WRITTEN))

    def __rsub__(self, other: float) -> Number:
        return self._new(self.builder.fsub(self._with(other), self.value, flags=_AS_WRITTEN))

    def __mul__(self, other: Number | float) -> Number:
        return self._new(self.builder.fmul(self.value, self._with(other), flags=_AS_WRITTEN))

    __rmul__ = __mul__

    def __truediv__(self, other: Number | float) -> Number:
        return self._new(self.builder.fdiv(self.value, self._with(other)))

    def __rtruediv__(self, other: float) -> Number:
        return self._new(self.builder.fdiv(self._with(other), self.value))

    def __neg__(self) -> Number:
        return self._new(self.builder.fneg(self.value))

    def __abs__(self) -> Number:
        return self._call("llvm.fabs", self)

    def __lt__(self, other: Number | float) -> Truth:
        return self._compare("<", other)

    def __le__(self, other: Number | float) -> Truth:
        return self._compare("<=", other)

    def __gt__(self, other: Number | float) -> Truth:
        return self._compare(">", other)

    def __ge__(self, other: Number | float) -> Truth:
        return self._compare(">=", other)

    def equals(self, other: Number | float) -> Truth:
        return self._compare("==", other)

    @property
    def is_nan(self) -> Truth:
        return Truth(self.builder, self.builder.fcmp_unordered("uno", self.value, self.value))

    def times_plus(self, factor: Number | float, term: Number | float) -> Number:
        """self*factor + term, rounded once where the machine can."""
        if not _fuses():
            return self * factor + term
        return self._new(self.builder.fma(self.value, self._with(factor), self._with(term)))

    def sqrt(self) -> Number:
        return self._call("llvm.sqrt", self)

    def libm_power(self, exponent: Number) -> Number:
        """self**exponent, one number after the other."""
        return self._call("llvm.pow", self, exponent)

    def to(self, format_: Format) -> Number:
        """The nearest number of another format."""
        if format_ == self.format:
            return self
        cast = self.builder.fpext if format_.fraction > self.format.fraction else self.builder.fptrunc
        return Number(self.builder, cast(self.value, format_.type), format_)

    def with_sign_of(self, other: Number) -> Number:
        return self._call("llvm.copysign", self, other)

    def bits(self) -> Bits:
        return Bits(self.builder, self.builder.bitcast(self.value, self.format.integer), self.format)

    def _compare(self, comparison: str, other: Number | float) -> Truth:
        return Truth(self.builder, self.builder.fcmp_ordered(comparison, self.value, self._with(other)))

    def _call(self, name: str, *args: Number) -> Number:
        kind = self.format.type
        declared = ir.FunctionType(kind, [kind] * len(args))
        function = self.builder.module.declare_intrinsic(name, [kind], declared)
        return self._new(self.builder.call(function, [arg.value for arg in args]))


def where(condition: Truth, yes: Number | float, no: Number | float) -> Number:
    """*yes* or *no*, both of which are computed."""
    some = yes if isinstance(yes, Number) else no
    assert isinstance(some, Number)
    return some._new(some.builder.select(condition.value, some._with(yes), some._with(no)))


def polynomial(coefficients: Sequence[float], x: Number) -> Number:
    """The sum of coefficients times powers of *x*, that of the constant first."""
    if len(coefficients) > _LONG:
        return _in_pairs(coefficients, x)
    *lower, last = coefficients
    total = x.constant(last)
    for coefficient in reversed(lower):
        total = total.times_plus(x, coefficient)
    return total


def _in_pairs(coefficients: Sequence[float], x: Number) -> Number:
    """The same in fewer steps that wait for each other (Estrin)."""
    terms = [x.constant(one) for one in coefficients]
    while True:
        pairs = [high.times_plus(x, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        if len(terms) == 1:
            return terms[0]
        x = x * x


def primitive(build: Callable[..., Number]) -> Any:
    """A function that kernels call, made of what *build* writes for numbers of one format."""
    arity = len(inspect.signature(build).parameters)

    def typed(*given: Any) -> Any:
        wide = any(one != types.float32 for one in given)
        kind = types.float64 if wide else types.float32
        format_ = FORMATS["float64" if wide else "float32"]

        def generated(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return build(*(Number(builder, arg, format_) for arg in args)).value

        return kind(*(kind for _ in given)), generated

    # Numba counts the parameters by looking at them.
    def of_one(typing: Any, a: Any) -> Any:
        return typed(a)

    def of_two(typing: Any, a: Any, b: Any) -> Any:
        return typed(a, b)

    def of_three(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return typed(a, b, c)

    return intrinsic((of_one, of_two, of_three)[arity - 1])


def _fuses() -> bool:
    """Whether the machine rounds a*b + c once; elsewhere that is a slow function."""
    if not binding.get_process_triple().startswith(("x86_64", "i386", "i686")):
        return True
    if config.CPU_FEATURES is not None:  # NUMBA_CPU_FEATURES: compile for another machine than this
        return "+fma" in config.CPU_FEATURES
    return bool(binding.get_host_cpu_features().get("fma"))
