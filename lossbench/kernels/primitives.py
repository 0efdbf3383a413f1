"""The functions of one number that generated kernels call; each takes and returns the kernel's own dtype.

`nan` in is `nan` out, and the ends are exact: softplus(-inf) is 0, log(0) is -inf, sigmoid(inf) is 1. None branches,
so that loops over them become vectors; `ulps.toml` holds the largest errors in float32, of all numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

from lossbench.kernels import arithmetic, elementary
from lossbench.kernels.machine import primitive

Function = TypeVar("Function", bound=Callable[..., object])

# Contracting a*b + c to one rounding is the only liberty: more would delete the treatment of nan and infinity.
FASTMATH = {"contract"}

exp = primitive(elementary.exp)
exp_below = primitive(elementary.exp_below)
exp_difference = primitive(elementary.exp_difference)
expm1 = primitive(elementary.expm1)
log = primitive(elementary.log)
log1p = primitive(elementary.log1p)
common_log = primitive(elementary.common_log)
uncommon = primitive(elementary.uncommon)
log_ratio = primitive(elementary.log_ratio)
softplus = primitive(elementary.softplus)
sigmoid = primitive(elementary.sigmoid)
log_cosh = primitive(elementary.log_cosh)
tanh = primitive(elementary.tanh)
sinh = primitive(elementary.sinh)
cosh = primitive(elementary.cosh)
sqrt = primitive(arithmetic.sqrt)
power = primitive(arithmetic.power)
power_slope = primitive(arithmetic.power_slope)
xlogy = primitive(arithmetic.xlogy)
common_xlogy = primitive(arithmetic.common_xlogy)
maximum = primitive(arithmetic.maximum)
minimum = primitive(arithmetic.minimum)
sign = primitive(arithmetic.sign)
nan_of = primitive(arithmetic.nan_of)
weighed = primitive(arithmetic.weighed)


def inlined(function: Function) -> Function:
    """*function*, compiled where it is called."""
    return cast(Function, numba.njit(function, error_model="numpy", fastmath=FASTMATH))
