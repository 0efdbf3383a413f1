"""NumPy: values alone, for losses of one's own; it has none itself, and no gradients."""

from __future__ import annotations

import numpy as np

from lossbench.adapters import Prepared, call, check_mode
from lossbench.inputs import Problem
from lossbench.records import Target

MODES = ("eager",)
TYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16}


def open(target: Target) -> _NumPy:  # noqa: A001  the name that every adapter has
    """Nothing to start."""
    check_mode(target, MODES)
    return _NumPy()


class _NumPy:
    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {}

    def machine(self) -> dict[str, str]:
        return {}

    def prepare(self, problem: Problem) -> Prepared:
        function = call.function(problem, "numpy", {"np": np}, total=np.sum, mean=np.mean)
        dtype = TYPES[problem.dtype]
        given = [one if one.dtype == np.int64 else one.astype(dtype) for one in call.arrays(problem).values()]
        wide = np.float64 if problem.dtype == "float64" else np.float32

        def value() -> object:
            return function(*given)

        return Prepared(forward=value, gradient=value, arrays=lambda: {"value": np.asarray(value(), wide)})
