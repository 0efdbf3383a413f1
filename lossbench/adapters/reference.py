"""The reference: the definition itself, evaluated exactly by the certified oracle; no framework is needed."""

from __future__ import annotations

import flint
import numpy as np

from lossbench.adapters import Prepared, check_mode
from lossbench.errors import Unsupported
from lossbench.formula import oracle
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
        """`arrays` has more than an adapter's: `.low` and `.radius` of everything, `.lower` and `.upper` of gradients,
        and for reduction none `condition`: by how much the value amplifies relative changes of the inputs."""

        def certified(*, gradient: bool) -> oracle.Certified:
            return oracle.certify(
                problem.loss.formula,
                problem.arrays,
                problem.parameters,
                reduction=problem.reduction,
                sample_weight=problem.sample_weight,
                gradient=gradient,
            )

        def arrays() -> dict[str, np.ndarray]:
            found = certified(gradient=True)
            named = {"value": found.value.high, "value.low": found.value.low, "value.radius": found.value.radius}
            for name, one in found.gradient.items():
                parts = {"": one.high, ".low": one.low, ".radius": one.radius, ".lower": one.lower, ".upper": one.upper}
                named |= {f"gradient.{name}{part}": array for part, array in parts.items()}
            if problem.reduction == "none":
                named["condition"] = condition(problem.arrays, found)
            return named

        return Prepared(
            forward=lambda: certified(gradient=False), gradient=lambda: certified(gradient=True), arrays=arrays
        )


def condition(inputs: dict[str, np.ndarray], certified: oracle.Certified) -> np.ndarray:
    """The condition number of each value by the differentiated inputs: sum of |x*g| over |v|, shape (n,).

    An input or slope of 0 adds nothing, whatever the other is; 0/0 is 0.
    """
    value = np.abs(certified.value.high)
    total = np.zeros_like(value)
    with np.errstate(all="ignore"):
        for name, one in certified.gradient.items():
            size = np.abs(inputs[name].astype(np.float64))
            slope = np.maximum(np.abs(one.lower), np.abs(one.upper))
            terms = np.where((size == 0) | (slope == 0), 0.0, size * slope)
            total += terms.reshape(len(value), -1).sum(axis=1) if terms.size else 0.0
        return np.where(total == 0, 0.0, total / value)
