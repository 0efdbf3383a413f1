"""Numba: the kernels that lossbench generates from each formula; no call of a spec is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from types import ModuleType
from typing import Any, get_args

import llvmlite
import numba
import numpy as np

from lossbench import spec
from lossbench.adapters import Adapter, Prepared, threads, variables
from lossbench.errors import LossbenchError, Unsupported
from lossbench.formula.graph import number_of
from lossbench.formula.kernel import Signature, at, has_nests, source
from lossbench.inputs import Problem, rounded
from lossbench.kernels.call import Kernel
from lossbench.kernels.compile import folder, load
from lossbench.loss import Loss
from lossbench.records import Target
from lossbench.text import Number, Reduction

MODES = ("compiled", "reused")  # reused: the gradients of a timed call go into the same arrays every time
WIDER = {"float16": "float32", "bfloat16": "float32"}  # Numba has no 16-bit arithmetic on the CPU

_MODULES: dict[tuple[str, ...], ModuleType] = {}  # by loss, digest and dtype: writing one takes longer than loading it


def kernel(name: str, *, dtype: str = "float32", gradient: bool = False, reduction: str = "none") -> Callable[..., Any]:
    """The local implementation of the loss of that name, a function for use on its own; compiled when first called.

    Raises:
        SpecError: There is no such loss.
        Unsupported: Numba has no arithmetic of that dtype on the CPU.
    """
    return kernel_of(spec.load(name), dtype=dtype, gradient=gradient, reduction=reduction).function


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
    fixed = {} if has_nests(loss.formula) else _fixed(loss, np.dtype(dtype))
    key = (loss.name, loss.digest, dtype)
    return Kernel(
        name=loss.name,
        module=_kept(key, lambda: load(f"{loss.name}_{dtype}", source(loss.formula, signature, dtype))),
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
        fixed=tuple(fixed),
        usual=cache(partial(_kept, (*key, "usual"), partial(_usual, loss, dtype))) if fixed else None,
    )


def _kept(key: tuple[str, ...], made: Callable[[], ModuleType]) -> ModuleType:
    """The module of that key in the folder of kernels, made once in this process."""
    key = (str(folder()), *key)
    if key not in _MODULES:
        _MODULES[key] = made()
    return _MODULES[key]


def _fixed(loss: Loss, dtype: np.dtype[Any]) -> dict[str, Fraction]:
    """The parameters whose default is one number, and that number as the dtype has it."""
    defaults = {name: one.default for name, one in loss.parameters.items() if not isinstance(one.default, list)}
    return {name: Fraction(float(dtype.type(float(spec.exact(one))))) for name, one in defaults.items()}


def _usual(loss: Loss, dtype: str) -> ModuleType:
    """The functions of *loss* at the parameters' defaults."""
    fixed = _fixed(loss, np.dtype(dtype))
    signature = signature_of(loss)
    parameters = {name: kind for name, kind in signature.parameters.items() if name not in fixed}
    text = source(at(loss.formula, fixed), replace(signature, parameters=parameters), dtype)
    return load(f"{loss.name}_usual_{dtype}", text)


_SHARES = ("binary", "onehot", "simplex", "unit")  # domains from 0 to 1


def signature_of(loss: Loss) -> Signature:
    """What kernels of *loss* take."""
    names = loss.formula.names
    return Signature(
        inputs={name: names[name] for name in loss.inputs},
        parameters={name: names[name] for name in loss.parameters},
        differentiated=loss.formula.differentiated,
        shares=frozenset(name for name, one in loss.inputs.items() if one.domain in _SHARES),
    )


def _number(value: Number | list[Number]) -> float | list[float]:
    return [float(spec.exact(one)) for one in value] if isinstance(value, list) else float(spec.exact(value))


def open(target: Target) -> Adapter:  # noqa: A001  the name that every adapter has
    """Set the threads."""
    if target.mode not in MODES:
        raise Unsupported(f"numba has no mode {target.mode!r}; expected: {', '.join(MODES)}")
    if target.device.partition(":")[0] == "cuda":
        from lossbench.adapters import cuda

        return cuda.open(target)
    if target.device != "cpu":
        raise Unsupported(f"numba finds no {target.device} device here; expected cpu or cuda")
    numba.set_num_threads(min(threads(), numba.config.NUMBA_NUM_THREADS))
    return _Numba(target.mode)


class _Numba:
    def __init__(self, mode: str) -> None:
        self._mode = mode

    def versions(self) -> dict[str, str]:
        return {"numba": numba.__version__, "llvmlite": llvmlite.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {
            "threads": str(numba.get_num_threads()),
            "waiting threads": "look for work for 100 microseconds, then sleep",
            "outputs": "the same arrays for every call" if self._mode == "reused" else "new arrays for every call",
            "float16 and bfloat16": "computed in float32, rounded once",
            **variables("NUMBA_", "LOSSBENCH_"),
        }

    def machine(self) -> dict[str, str]:
        return {}

    def prepare(self, problem: Problem) -> Prepared:
        # Timed, it would be the speed of another dtype.
        computed = problem.dtype if problem.timed else WIDER.get(problem.dtype, problem.dtype)
        make = partial(kernel_of, problem.loss, dtype=computed, reduction=problem.reduction)
        value, value_and_gradient = make(gradient=False), make(gradient=True)
        said = _said(problem.parameters, value.defaults, computed)
        given: dict[str, Any] = {**problem.batch, **said, "sample_weight": problem.sample_weight}
        forward, written = _called(value, given), given
        if self._mode == "reused":
            buffers = {f"gradient.{name}": np.zeros_like(given[name]) for name in problem.loss.formula.differentiated}
            written = {**given, "out": buffers if len(buffers) > 1 else next(iter(buffers.values()))}
        gradient = _called(value_and_gradient, written)

        def arrays() -> dict[str, np.ndarray]:
            found, gradients = gradient() if problem.order is None else (forward(), {})
            named = {"value": np.asarray(found), **{f"gradient.{name}": one for name, one in gradients.items()}}
            if computed != problem.dtype:
                named = {name: rounded(one, problem.dtype) for name, one in named.items()}
            return named

        return Prepared(forward=forward, gradient=gradient, arrays=arrays)


def _called(kernel: Kernel, given: Mapping[str, Any]) -> Callable[[], Any]:
    """A call as it is written in a program: keywords that are bound before take a good part of a microsecond."""
    text = f"lambda: function({', '.join(f'{name}={name}' for name in given)})"
    return eval(text, {"function": kernel.function, **given})  # type: ignore[no-any-return]


def _said(parameters: Mapping[str, Any], defaults: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Those that differ from their defaults in *dtype*, that of the kernel: the others a caller need not write."""
    found = {}
    for name, number in parameters.items():
        usual = np.resize(rounded(np.asarray(defaults[name]), dtype), np.shape(number))
        if not np.array_equal(usual, number):
            found[name] = number
    return found
