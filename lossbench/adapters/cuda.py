"""The kernels of `formula.cuda` on a GPU, or in Numba's simulator of one: what `numba` opens for device cuda."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import cuda

from lossbench.adapters import Prepared, variables
from lossbench.errors import Unsupported
from lossbench.formula.cuda import source
from lossbench.formula.graph import number_of
from lossbench.formula.kernel import Signature, at, has_nests
from lossbench.inputs import Problem
from lossbench.kernels.compile import load
from lossbench.kernels.cuda import SIMULATED
from lossbench.kernels.cuda_call import Launch, busy_with, launch
from lossbench.records import Target


def open(target: Target) -> _Cuda:  # noqa: A001  the name that every adapter has
    """Find the GPU.

    Raises:
        Unsupported: There is none here.
    """
    index = int(target.device.partition(":")[2] or 0)
    found = len(cuda.gpus) if cuda.is_available() else 0
    if index >= found:
        raise Unsupported(f"numba {numba.__version__} finds no {target.device} device here; expected cpu")
    cuda.select_device(index)
    return _Cuda()


class _Cuda:
    def versions(self) -> dict[str, str]:
        found = {"numba": numba.__version__, "llvmlite": llvmlite.__version__, "numpy": np.__version__}
        try:
            return {**found, "numba-cuda": version("numba-cuda")}
        except PackageNotFoundError:  # Numba's own CUDA target then, which is no longer developed
            return found

    def settings(self) -> dict[str, str]:
        return {
            "outputs": "the same arrays for every call",
            "simulator": "on" if SIMULATED else "off",
            **variables("NUMBA_", "CUDA_VISIBLE", "LOSSBENCH_"),
        }

    def machine(self) -> dict[str, str]:
        if SIMULATED:
            return {"device": "simulator"}
        device = cuda.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
        return {"device": name, "compute capability": ".".join(str(one) for one in device.compute_capability)}

    def prepare(self, problem: Problem) -> Prepared:
        if problem.timed and SIMULATED:
            raise Unsupported("the simulator of a GPU has no speed of its own; expected a GPU")
        given = _Arrays(problem)

        def arrays() -> dict[str, np.ndarray]:
            asked = given.value_and_gradient if problem.order is None else given.value
            asked.run()
            values = asked.values.copy_to_host()
            slopes = {f"gradient.{name}": one.copy_to_host() for name, one in asked.gradients.items()}
            return {"value": values if problem.reduction == "none" else values[0], **slopes}

        return Prepared(
            forward=lambda: given.value.run(),
            gradient=lambda: given.value_and_gradient.run(),
            arrays=arrays,
            busy={
                "forward": lambda: busy_with(given.value.queue),
                "gradient": lambda: busy_with(given.value_and_gradient.queue),
            },
        )


def _is_zero(value: Any, kind: str) -> bool:
    """Whether a parameter turns something off: a kernel without it does less."""
    return kind == "real" and value == 0


class _Arrays:
    """A problem's arrays on the GPU, and the kernels over them, compiled when they are first asked for."""

    def __init__(self, problem: Problem) -> None:
        dtype = problem.dtype
        zeros = [name for name, one in problem.loss.parameters.items() if _is_zero(problem.parameters[name], one.kind)]
        self.formula = formula = at(problem.loss.formula, dict.fromkeys(zeros, Fraction(0)))
        if dtype not in ("float32", "float64"):
            raise Unsupported(f"lossbench generates no CUDA kernels for {dtype}; expected float32 or float64")
        if has_nests(formula):
            raise Unsupported("CUDA kernels are generated for losses of elements or rows; this one has other axes")
        self.problem = problem
        self.dtype = np.dtype(dtype)
        names = formula.names
        self.signature = Signature(
            inputs={name: names[name] for name in problem.loss.inputs},
            parameters={name: names[name] for name in problem.loss.parameters if name not in zeros},
            differentiated=formula.differentiated,
        )
        self.inputs = {name: self._there(array) for name, array in problem.batch.items()}
        self.parameters = [self._parameter(problem.parameters[name]) for name in self.signature.parameters]
        self.weight = None if problem.sample_weight is None else self._there(problem.sample_weight)

    @cached_property
    def value(self) -> Launch:
        """The value alone."""
        return self._launch(gradient=False)

    @cached_property
    def value_and_gradient(self) -> Launch:
        """The value with its gradients."""
        return self._launch(gradient=True)

    def _launch(self, *, gradient: bool) -> Launch:
        problem, formula = self.problem, self.formula
        text = source(
            formula,
            self.signature,
            problem.dtype,
            gradient=gradient,
            each=problem.reduction == "none",
            weighted=self.weight is not None,
        )
        rows = [self.inputs[name] for name, kind in self.signature.inputs.items() if kind == "row"]
        divisor = number_of(formula.divisor)
        return launch(
            load(f"{problem.loss.name}_{problem.dtype}_cuda", text),
            self.dtype,
            self.inputs,
            self.parameters,
            weight=self.weight,
            differentiated=self.signature.differentiated if gradient else (),
            reduction=problem.reduction,
            classes=rows[0].shape[1] if rows else None,
            count=None if divisor is None else float(divisor),
        )

    def _there(self, array: np.ndarray) -> Any:
        return cuda.to_device(np.ascontiguousarray(array if array.dtype == np.int64 else array.astype(self.dtype)))

    def _parameter(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._there(value)
        return value if isinstance(value, int) else self.dtype.type(value)
