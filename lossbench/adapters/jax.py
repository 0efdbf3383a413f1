"""JAX and optax: calls in `jax`, `jnp` and `optax`, eager or through `jax.jit`; or Keras on JAX."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lossbench.adapters import Prepared, bounded, call, check_mode, elsewhere, namespace, state, threads, variables
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.records import Target

MODES = ("eager", "compiled", "keras")  # keras: what specs call in TensorFlow, where that is Keras alone, eager on JAX
ASYNCHRONOUS = "jax_cpu_enable_async_dispatch"
MODULES = {"jax": jax, "jnp": jnp, "optax": optax}


def open(target: Target) -> _Jax:  # noqa: A001  the name that every adapter has
    """Set the threads and find the device."""
    check_mode(target, MODES)
    if bounded(target):
        os.environ["PJRT_NPROC"] = str(threads())  # read when the first device is asked for
    if os.environ.get(ASYNCHRONOUS.upper()) == "false" and ASYNCHRONOUS in jax.config.values:
        jax.config.update(ASYNCHRONOUS, False)  # of itself JAX does not read this variable
    kind, _, index = target.device.partition(":")
    try:
        device = jax.devices(kind)[int(index or 0)]
    except (RuntimeError, IndexError) as error:
        raise Unsupported(f"jax {jax.__version__} finds no {target.device} device here ({error})") from None
    if target.mode == "keras":
        keras = elsewhere.keras("jax")
        return _Jax(target.mode, device, "tensorflow", {"keras": keras, "ops": keras.ops})
    return _Jax(target.mode, device, "jax", MODULES)


def losses() -> dict[str, Any]:
    """All of optax.losses, and what else in optax or jax.nn says by its name that it is one."""
    found = dict(namespace.named("optax.losses", optax.losses))
    known = {id(one) for one in found.values()}
    for path, module in (("optax", optax), ("jax.nn", jax.nn)):
        for name, one in namespace.named(path, module):
            if namespace.says_so(name) and id(one) not in known:
                found[name] = one
    return found


class _Jax:
    def __init__(self, mode: str, device: Any, called: str, modules: Mapping[str, Any]) -> None:
        self.mode = mode
        self.device = device
        self.called = called  # whose calls these are
        self.modules = modules
        self._kept = call.Kept(called, self._functions)

    def versions(self) -> dict[str, str]:
        found = {"jax": jax.__version__, "jaxlib": version("jaxlib"), "optax": optax.__version__}
        if "keras" in self.modules:
            found["keras"] = self.modules["keras"].__version__
        if self.device.platform != "cpu":
            found["platform"] = self.device.client.platform_version
        return found

    def settings(self) -> dict[str, str]:
        return {
            "threads": os.environ.get("PJRT_NPROC", "chosen by jax"),
            "asynchronous dispatch": str(jax.config.values.get(ASYNCHRONOUS, "")),
            "x64": "on for float64 problems only",
            "default matmul precision": str(jax.config.jax_default_matmul_precision),
            **variables("JAX_", "XLA_FLAGS", "OMP_NUM", "CUDA_VISIBLE"),
        }

    def machine(self) -> dict[str, str]:
        if self.device.platform == "cpu":
            return {}
        return {
            "device": self.device.device_kind,
            "compute capability": str(getattr(self.device, "compute_capability", "")),
        }

    def prepare(self, problem: Problem) -> Prepared:
        if self.mode == "keras" and (problem.loss.accumulated or "tf." in call.chosen(problem, self.called)):
            raise Unsupported(f"{problem.loss.name} has no call of Keras that runs on JAX")
        if problem.loss.accumulated:
            return self._folded(problem)
        with _precision(problem.dtype):
            arguments = [self._array(array, problem.dtype) for array in call.arrays(problem).values()]
        run_value, run_gradient, run_hessian = self._kept.of(problem)
        names = [name for name, one in problem.loss.inputs.items() if one.grad]
        dtype = np.float64 if problem.dtype == "float64" else np.float32

        def forward() -> Any:
            with _precision(problem.dtype):
                return jax.block_until_ready(run_value(*arguments))

        def gradient() -> Any:
            with _precision(problem.dtype):
                return jax.block_until_ready(run_gradient(*arguments))

        def arrays() -> dict[str, np.ndarray]:
            value, found = gradient() if problem.order is None else (forward(), ())
            named = {"value": value} | {f"gradient.{name}": one for name, one in zip(names, found, strict=False)}
            return {name: np.asarray(one).astype(dtype) for name, one in named.items()}

        def hessian() -> dict[str, np.ndarray]:
            with _precision(problem.dtype):
                ways = [self._array(problem.direction[name], problem.dtype) for name in names]
                found = jax.block_until_ready(run_hessian(*arguments, *ways))
            return {f"hessian.{name}": np.asarray(one).astype(dtype) for name, one in zip(names, found, strict=True)}

        def rise(run: Any) -> int:
            """By the plan of the compiled call: its results, and what it keeps until they are there."""
            with _precision(problem.dtype):
                said = run.lower(*arguments).compile().memory_analysis()
            return int(said.output_size_in_bytes + said.temp_size_in_bytes - said.alias_size_in_bytes)

        planned = {}
        if self.mode == "compiled":
            planned = {"forward": partial(rise, run_value), "gradient": partial(rise, run_gradient)}
        return Prepared(forward=forward, gradient=gradient, arrays=arrays, hessian=hessian, rise=planned)

    def _functions(self, problem: Problem) -> tuple[Callable[..., Any], ...]:
        """Of the problem's arrays the value, and the value with its gradients; of them and a direction, the
        Hessian-vector products."""
        value_of = call.function(problem, self.called, self.modules, total=jnp.sum, mean=jnp.mean)
        given = list(call.arrays(problem))
        at = [given.index(name) for name, one in problem.loss.inputs.items() if one.grad]

        def value_and_gradient(*arguments: Any) -> Any:
            def of_leaves(*leaves: Any) -> Any:
                whole = list(arguments)
                for position, leaf in zip(at, leaves, strict=True):
                    whole[position] = leaf
                return value_of(*whole)

            # Pulling back ones: the gradient of the sum, and the value beside it.
            value, pull_back = jax.vjp(of_leaves, *(arguments[position] for position in at))
            return value, pull_back(jnp.ones_like(value))

        def hessian(*arguments: Any) -> Any:
            arguments, ways = arguments[: len(given)], arguments[len(given) :]

            def slopes(*leaves: Any) -> Any:
                whole = list(arguments)
                for position, leaf in zip(at, leaves, strict=True):
                    whole[position] = leaf
                return value_and_gradient(*whole)[1]

            # Forward mode over reverse mode, as JAX's documentation advises.
            return jax.jvp(slopes, tuple(arguments[position] for position in at), ways)[1]

        functions = (value_of, value_and_gradient, hessian)
        return functions if self.mode != "compiled" else tuple(jax.jit(one) for one in functions)

    def _folded(self, problem: Problem) -> Prepared:
        dtype = np.float64 if problem.dtype == "float64" else np.float32
        return state.prepare(
            problem,
            "jax",
            MODULES,
            array=lambda array: jnp.array(array, problem.dtype),  # half the time of device_put, a million times
            compiled=jax.jit if self.mode == "compiled" else lambda step: step,
            awaited=jax.block_until_ready,
            numbers=lambda value: np.asarray(value).astype(dtype),
            scope=lambda: self._there(problem.dtype),
        )

    @contextmanager
    def _there(self, dtype: str) -> Iterator[None]:
        """Where new arrays are made on the device, in that precision."""
        with _precision(dtype), jax.default_device(self.device):
            yield

    def _array(self, array: np.ndarray, dtype: str) -> Any:
        kept = array if array.dtype == np.int64 else array.astype(jnp.dtype(dtype))
        return jax.device_put(kept, self.device)


def _precision(dtype: str) -> AbstractContextManager[Any]:
    """float64 exists in JAX only while x64 is on, when arrays are made and when functions run."""
    if dtype != "float64":
        return nullcontext()
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)  # type: ignore[no-any-return]
    from jax.experimental import enable_x64  # where it was before jax 0.8

    return enable_x64()  # type: ignore[no-any-return]
