"""Numba: the kernels that lossbench generates from each formula; no call of a spec is needed."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, get_args

import llvmlite
import numba
import numpy as np

from lossbench import spec
from lossbench.adapters import Prepared, threads, variables
from lossbench.errors import LossbenchError, Unsupported
from lossbench.formula.graph import number_of
from lossbench.formula.kernel import Signature, source
from lossbench.inputs import Problem
from lossbench.kernels.call import Kernel
from lossbench.kernels.compile import load
from lossbench.loss import Loss
from lossbench.records import Target
from lossbench.text import Number, Reduction

MODES = ("compiled",)

# Waiting threads that spin take the cores from whoever computes; read when OpenMP is loaded, at the first large call.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def kernel(name: str, *, dtype: str = "float32", gradient: bool = False, reduction: str = "none") -> Kernel:
    """The local implementation of the loss of that name, for use on its own; compiled when first called.

    Raises:
        SpecError: There is no such loss.
        Unsupported: Numba has no arithmetic of that dtype on the CPU.
    """
    return kernel_of(spec.load(name), dtype=dtype, gradient=gradient, reduction=reduction)


def kernel_of(loss: Loss, *, dtype: str, gradient: bool, reduction: str) -> Kernel:
    """The local implementation of *loss*.

    Raises:
        Unsupported: Numba has no arithmetic of that dtype on the CPU.
    """
    reductions = get_args(Reduction)
    if reduction not in reductions:
        raise LossbenchError(f"unknown reduction {reduction!r}; expected one of: {', '.join(sorted(reductions))}")
    if dtype not in ("float32", "float64"):
        raise Unsupported(f"numba has no {dtype} arithmetic on the CPU; expected float32 or float64")
    signature = signature_of(loss)
    divisor = number_of(loss.formula.divisor)
    return Kernel(
        name=loss.name,
        module=load(f"{loss.name}_{dtype}", source(loss.formula, signature, dtype)),
        dtype=np.dtype(dtype),
        reduction=reduction,
        gradient=gradient,
        inputs=signature.inputs,
        parameters=signature.parameters,
        defaults={name: _number(one.default) for name, one in loss.parameters.items()},
        differentiated=signature.differentiated,
        count=None if divisor is None else float(divisor),
        batchwise=loss.batchwise,
        pooled=loss.pooled,
    )


def signature_of(loss: Loss) -> Signature:
    """What kernels of *loss* take."""
    names = loss.formula.names
    return Signature(
        inputs={name: names[name] for name in loss.inputs},
        parameters={name: names[name] for name in loss.parameters},
        differentiated=loss.formula.differentiated,
    )


def _number(value: Number | list[Number]) -> float | list[float]:
    return [float(spec.exact(one)) for one in value] if isinstance(value, list) else float(spec.exact(value))


def open(target: Target) -> _Numba:  # noqa: A001  the name that every adapter has
    """Set the threads."""
    if target.mode not in MODES:
        raise Unsupported(f"numba has no mode {target.mode!r}; expected: {', '.join(MODES)}")
    if target.device != "cpu":
        raise Unsupported(f"numba kernels are generated for the CPU only; {target.device} has none")
    numba.set_num_threads(min(threads(), numba.config.NUMBA_NUM_THREADS))
    return _Numba()


class _Numba:
    def versions(self) -> dict[str, str]:
        return {"numba": numba.__version__, "llvmlite": llvmlite.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {
            "threads": str(numba.get_num_threads()),
            "threading layer": numba.threading_layer(),
            "outputs": "new arrays for every call",
            **variables("NUMBA_", "OMP_", "KMP_", "LOSSBENCH_"),
        }

    def machine(self) -> dict[str, str]:
        return {}

    def prepare(self, problem: Problem) -> Prepared:
        make = partial(kernel_of, problem.loss, dtype=problem.dtype, reduction=problem.reduction)
        value, value_and_gradient = make(gradient=False), make(gradient=True)
        given: dict[str, Any] = {**problem.arrays, **problem.parameters, "sample_weight": problem.sample_weight}
        gradient = partial(value_and_gradient, **given)

        def arrays() -> dict[str, np.ndarray]:
            found, gradients = gradient()
            return {"value": np.asarray(found), **{f"gradient.{name}": one for name, one in gradients.items()}}

        return Prepared(forward=partial(value, **given), gradient=gradient, arrays=arrays)
