# mypy: disable-error-code="no-any-return"
"""What generated CUDA kernels stand on: functions of one number, and sums over the threads of a row, block or grid.

The functions are those of `primitives`, made of CUDA's own mathematics. In Numba's simulator
(NUMBA_ENABLE_CUDASIM=1) all of it runs as plain Python, so that kernels can be checked where there is no GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import cuda as compiler

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
WARP = 32  # threads that one instruction serves: they need no barrier of the block

Function = TypeVar("Function", bound=Callable[..., object])

numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch is no mistake
vars(np).setdefault("row_stack", np.vstack)  # numba-cuda 0.30 looks for it; NumPy 2.5 has it no more

cuda: Any
_math: Any
if SIMULATED:
    from numba.cuda.simulator import kernel as _simulator

    class _Within:
        """`numba.cuda` as a running thread sees it; the simulator itself shows it to the kernel's own module only."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_simulator._get_kernel_context(), name)

    cuda = _Within()
    _math = np  # Python's own functions raise where CUDA's return infinity
else:
    cuda, _math = compiler, math


def compiled(signature: str) -> Callable[[Function], Any]:
    """What makes a function a kernel for arguments of those types, compiled now or found on disk."""
    return cast(Callable[[Function], Any], compiler.jit(signature, cache=True))


def device(function: Function) -> Function:
    """*function*, compiled where a kernel calls it."""
    return function if SIMULATED else cast(Function, compiler.jit(function, device=True))


@device
def maximum(a: float, b: float) -> float:
    return a if a > b or a != a else b


@device
def minimum(a: float, b: float) -> float:
    return a if a < b or a != a else b


@device
def sign(x: float) -> float:
    one = type(x)(1)
    return one if x > 0 else (-one if x < 0 else x)


@device
def exp(x: float) -> float:
    return _math.exp(x)


@device
def exp_difference(a: float, b: float) -> float:
    """exp(a - b), corrected for what the rounding of a - b has taken (Knuth): that may be many ulps of the power."""
    difference = a - b
    added = difference - a
    lost = (a - (difference - added)) - (b + added)
    power = _math.exp(difference)
    corrected = power + power * lost
    return corrected if corrected == corrected else power


@device
def expm1(x: float) -> float:
    return _math.expm1(x)


@device
def log(x: float) -> float:
    return _math.log(x)


@device
def log1p(x: float) -> float:
    return _math.log1p(x)


@device
def sqrt(x: float) -> float:
    return _math.sqrt(x)


@device
def sinh(x: float) -> float:
    return _math.sinh(x)


@device
def cosh(x: float) -> float:
    return _math.cosh(x)


@device
def tanh(x: float) -> float:
    return _math.tanh(x)


@device
def log_cosh(x: float) -> float:
    """log(cosh(x)): no exponential overflows, and small numbers keep their digits."""
    size = abs(x)
    half = _math.sinh(min(size, type(x)(1)) / type(x)(2))
    if size < 1:
        return _math.log1p(type(x)(2) * half * half)
    return size + _math.log1p(_math.exp(-(size + size))) - type(x)(math.log(2))


@device
def softplus(x: float) -> float:
    """log(1 + exp(x)): exp never overflows, and log1p keeps what is small beside 1."""
    return maximum(x, type(x)(0)) + _math.log1p(_math.exp(-abs(x)))


@device
def sigmoid(x: float) -> float:
    """1/(1 + exp(-x)), by the exponential that cannot overflow."""
    one = type(x)(1)
    power = _math.exp(-abs(x))
    return (power if x < 0 else one) / (one + power)


@device
def xlogy(x: float, y: float) -> float:
    """x*log(y), and 0 for x = 0 unless y is nan."""
    zero = type(x)(0)
    return zero if x == 0 and y == y else x * _math.log(y)


@device
def power(a: float, exponent: float) -> float:
    return exponent if exponent != exponent else _math.pow(a, exponent)  # C has 1**nan = 1


@device
def power_slope(a: float, exponent: float) -> float:
    """The derivative of a**exponent by a; 0 for the constant a**0."""
    return type(a)(0) if exponent == 0 else exponent * _math.pow(a, exponent - type(a)(1))


@device
def nan_of(operand: float, chosen: float) -> float:
    """*chosen*, but nan where the operand of the comparison that chose it is nan."""
    return operand if operand != operand else chosen


@device
def weighed(weight: float, x: float) -> float:
    """weight*x; a weight of 0 makes 0 even of infinity, for it makes the function 0 everywhere."""
    return weight if weight == 0 and x == x else weight * x
