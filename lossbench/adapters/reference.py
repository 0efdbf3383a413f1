"""The reference: the definition itself, evaluated exactly by the certified oracle; no framework is needed."""

from __future__ import annotations

import flint
import numpy as np

from lossbench.adapters import Prepared, check_mode
from lossbench.errors import Unsupported
from lossbench.formula.batch import FIRST
from lossbench.formula.extended import HIGHEST
from lossbench.inputs import Problem
from lossbench.records import Target

MODES = ("exact",)


def open(target: Target) -> _Reference:  # noqa: A001  the name that every adapter has
    """Nothing to start."""
    check_mode(target, MODES)
    if target.device != "cpu":
        raise Unsupported(f"the reference has no device {target.device!r}; expected cpu")
    return _Reference()


class _Reference:
    def versions(self) -> dict[str, str]:
        return {"python-flint": flint.__version__, "flint": flint.__FLINT_VERSION__}

    def settings(self) -> dict[str, str]:
        return {"bits": f"{FIRST} to {HIGHEST}"}

    def machine(self) -> dict[str, str]:
        return {}

    def prepare(self, problem: Problem) -> Prepared:
        """`arrays` has more than an adapter's: `.low` and `.radius` of everything, `.lower` and `.upper` of
        gradients."""

        def arrays() -> dict[str, np.ndarray]:
            found = problem.certified()
            named = {"value": found.value.high, "value.low": found.value.low, "value.radius": found.value.radius}
            for name, one in found.gradient.items():
                parts = {"": one.high, ".low": one.low, ".radius": one.radius, ".lower": one.lower, ".upper": one.upper}
                named |= {f"gradient.{name}{part}": array for part, array in parts.items()}
            return named

        return Prepared(
            forward=lambda: problem.certified(gradient=False), gradient=lambda: problem.certified(), arrays=arrays
        )
