"""Numbers and points as text: short enough to read, exact enough to run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lossbench.ulp import Exact

FEW = 10  # entries of a longer row are left out in the middle
FEW_BITS = 2  # entries of which the bits are readable beside the decimal digits

_TYPES: Mapping[str, type] = {"float64": np.float64, "float32": np.float32, "float16": np.float16}


def decimal(value: float, dtype: str) -> str:
    """The shortest decimal number that is *value* again when it is read as *dtype*."""
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16  # which not every environment of a worker has

        text = str(bfloat16(value))
    else:
        with np.errstate(over="ignore"):
            text = str(_TYPES[dtype](value))
    return text.removesuffix(".0")


def hexadecimal(value: float) -> str:
    """The bits of *value*, as `float.fromhex` and C read them."""
    mantissa, found, power = float(value).hex().partition("p")
    return mantissa.rstrip("0").rstrip(".") + found + power


def number(value: object, dtype: str, *, bits: bool = False) -> str:
    """One number or label, with its bits if asked for."""
    if isinstance(value, int | np.integer):
        return str(int(value))
    single = float(value)  # type: ignore[arg-type]
    text = decimal(single, dtype)
    return f"{text} ({hexadecimal(single)})" if bits and np.isfinite(single) and single != round(single) else text


def row(values: np.ndarray, dtype: str, *, bits: bool = False, few: int = FEW) -> str:
    """A number, a row or a batch of rows, with *few* entries along each axis."""
    if values.ndim == 0:
        return number(values.item(), dtype, bits=bits)
    shown = [row(one, dtype, bits=bits, few=few) for one in values[:few]]
    if len(values) > few:
        shown[few - 2 :] = [f"... {len(values) - few + 1} more ...", row(values[-1], dtype, bits=bits, few=few)]
    return f"[{', '.join(shown)}]"


def brief(values: np.ndarray, dtype: str, *, bits: bool = False, few: int = FEW) -> str:
    """As `row`, but bits only of a few entries, and of a table of many only its shape and the range of its numbers."""
    if values.ndim < 2 or values.size <= few:
        return row(values, dtype, bits=bits and values.size <= FEW_BITS, few=few)
    ends = " to ".join(number(end.item(), dtype) for end in (values.min(), values.max()))
    return f"{' x '.join(map(str, values.shape))} numbers, {ends}"


def shape(sizes: Sequence[int], axes: Sequence[str]) -> str:
    """`1024 x 10`, or with the names of *axes* where there are some: `time 50, class 20`; of edges nothing."""
    if not axes:
        return " x ".join(map(str, sizes))
    return ", ".join(f"{axis} {size}" for axis, size in zip(axes, sizes, strict=False))


def answer(values: np.ndarray, dtype: str) -> str:
    """An output: without brackets where it is a single number, or the row of a single entry."""
    while values.ndim and len(values) == 1:
        values = values[0]
    return row(values, dtype)


def exact(of: Exact) -> str:
    """What must come out: to the digits of a double where that helps, intervals at kinks."""
    if of.high.size == 1:
        return entry(of, 0)
    indices = np.arange(of.high.size).reshape(of.high.shape)
    while len(indices) == 1:
        indices = indices[0]
    return _listed(of, indices)


def entry(of: Exact, index: int) -> str:
    """One of the numbers that must come out, by its flat index."""
    if of.kink.ravel()[index]:
        return f"[{_double(of.lower.ravel()[index])}, {_double(of.upper.ravel()[index])}]"
    return _double(of.high.ravel()[index])


def _listed(of: Exact, indices: np.ndarray) -> str:
    if indices.ndim == 0:
        return entry(of, int(indices))
    more = [f"... {len(indices) - FEW} more"] if len(indices) > FEW else []
    return f"[{', '.join([_listed(of, one) for one in indices[:FEW]] + more)}]"


def at(table: Mapping[str, object]) -> str:
    """A spec's table of exact numbers: `y_pred=0, y_true=1`."""
    return ", ".join(f"{name}={declared(value)}" for name, value in table.items())


def declared(value: object) -> str:
    """What a spec says, in its own digits; nothing where it says nothing."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        if len(value) == 1:
            return declared(next(iter(value.values())))
        return at(value)
    if isinstance(value, list):
        return f"[{', '.join(declared(one) for one in value)}]"
    return str(value)


def _double(value: float) -> str:
    return f"{value:.12g}"
