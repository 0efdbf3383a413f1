"""The reference: the definition itself, evaluated exactly by the certified oracle; no framework is needed."""

from __future__ import annotations

from collections.abc import Iterator

import flint
import numpy as np

from lossbench.adapters import Prepared, check_mode
from lossbench.errors import Unsupported
from lossbench.formula import hessian
from lossbench.formula.batch import FIRST
from lossbench.formula.enclosure import Enclosure
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
        """`arrays` and `hessian` have more than an adapter's: `.low` and `.radius` of everything, `.lower` and
        `.upper` of derivatives."""

        def arrays() -> dict[str, np.ndarray]:
            found = problem.certified()
            named = {"value": found.value.high, "value.low": found.value.low, "value.radius": found.value.radius}
            for name, one in found.gradient.items():
                named |= dict(_parts(f"gradient.{name}", one))
            return named

        def products() -> dict[str, np.ndarray]:
            found = hessian.certify(problem.loss.formula, problem.arrays, problem.parameters, problem.direction)
            return {key: array for name, one in found.items() for key, array in _parts(f"hessian.{name}", one)}

        return Prepared(
            forward=lambda: problem.certified(gradient=False),
            gradient=lambda: problem.certified(),
            arrays=arrays,
            hessian=products,
        )


def _parts(name: str, one: Enclosure) -> Iterator[tuple[str, np.ndarray]]:
    """A derivative as records name it."""
    yield name, one.high
    for part in ("low", "radius", "lower", "upper"):
        yield f"{name}.{part}", getattr(one, part)
