"""Numbers by their bits: every float of a dtype, in the order of the unsigned integers that have the same bits."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from lossbench.loss import Loss
from lossbench.sweeps.shard import Shard
from lossbench.text import Domain

BITS: Mapping[str, int] = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}
_FORMS: Mapping[str, tuple[type, type]] = {
    "float16": (np.uint16, np.float16),
    "bfloat16": (np.uint16, ml_dtypes.bfloat16),
    "float32": (np.uint32, np.float32),
}
LARGEST_LOGARITHM = 10.0  # what the domain of that name says


def numbers(bits: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers with these *bits*, as float32, which holds all of them exactly; every nan is the same one."""
    whole, form = _FORMS[dtype]
    found: np.ndarray = np.asarray(bits).astype(whole).view(form)
    with np.errstate(invalid="ignore"):  # one that signals
        missing = np.isnan(found)
    found[missing] = np.nan
    return found.astype(np.float32)


def swept(shard: Shard) -> dict[str, np.ndarray]:
    """The numbers of each swept input, those outside its domain among them: shape (last - first,)."""
    width = BITS[shard.dtype]
    at = np.arange(shard.first, shard.last, dtype=np.uint64)
    found = {}
    for place, name in enumerate(shard.swept):
        shift = np.uint64(width * (len(shard.swept) - 1 - place))
        found[name] = numbers((at >> shift) & np.uint64(2**width - 1), shard.dtype)
    return found


def inside(loss: Loss, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where every one of these inputs is in its domain."""
    return np.asarray(np.logical_and.reduce([is_in(loss.inputs[name].domain, array) for name, array in arrays.items()]))


def is_in(domain: Domain, array: np.ndarray) -> np.ndarray:
    """Which numbers are in a domain of single numbers; nan, a missing number, is among the reals but in no part of them
    that has ends: frameworks may refuse all inputs for it there.
    """
    match domain:
        case "real":
            return np.ones(array.shape, bool)
        case "positive":
            return np.asarray(array > 0)
        case "nonnegative":
            return np.asarray(array >= 0)
        case "nonzero":
            return np.asarray((array < 0) | (array > 0))
        case "unit":
            return np.asarray((array >= 0) & (array <= 1))
        case "sign":
            return np.asarray(np.abs(array) == 1)
        case "binary":
            return np.asarray((array == 0) | (array == 1))
        case "logarithm":
            return np.asarray(array <= LARGEST_LOGARITHM)
        case "count":
            return np.asarray((array >= 0) & (array == np.floor(array)))
    raise AssertionError(f"{domain} is the domain of no single numbers")
