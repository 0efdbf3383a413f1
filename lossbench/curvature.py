"""What must come out of a Hessian-vector product, and what its errors are weighed by."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from lossbench import conditioning
from lossbench.loss import Loss
from lossbench.records import Case
from lossbench.text import BATCH, axes_of
from lossbench.ulp import Exact

DIRECTION = "direction."  # before the names of inputs, in records


def direction(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the arrays of a reference's output those that are the direction, under their names."""
    return {name: array for name, array in arrays.items() if name.startswith(DIRECTION)}


def exact(
    case: Case, loss: Loss, arrays: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> dict[str, Exact]:
    """What must come out of *case*, as each `hessian.<input>`.

    Args:
        case: Says the dtype.
        loss: Of elements or rows.
        arrays: The reference's.
        inputs: What went in.
    """
    ways = {name.removeprefix(DIRECTION): array for name, array in direction(arrays).items()}
    terms = prod(size for axis, size in loss.lengths(inputs).items() if axis != BATCH) * len(ways)
    return {
        key: Exact.of(
            arrays,
            key,
            case.dtype,
            moved=estimate.moved,
            terms=terms,
            rows=bool(axes_of(loss.inputs[key.removeprefix("hessian.")])),
        )
        for key, estimate in conditioning.curved(loss, inputs, ways, case.dtype).items()
    }
