"""TensorFlow and Keras: calls in `tf`, `keras` and `ops` (keras.ops), eager, as a `tf.function`, or through XLA."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"  # read once, when keras is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from lossbench.adapters import Prepared, bounded, call, check_mode, namespace, state, threads, variables
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.records import Target

MODES = ("eager", "compiled", "xla")
MODULES = {"tf": tf, "keras": keras, "ops": keras.ops}


def open(target: Target) -> _TensorFlow:  # noqa: A001  the name that every adapter has
    """Set the threads and find the device."""
    check_mode(target, MODES)
    if keras.backend.backend() != "tensorflow":
        raise Unsupported(
            f"keras runs on {keras.backend.backend()} in this process; expected tensorflow, "
            "set KERAS_BACKEND=tensorflow before keras is imported"
        )
    kind, _, index = target.device.partition(":")
    device = f"/{'GPU' if kind == 'cuda' else kind.upper()}:{index or 0}"
    if not any(found.name.endswith(device.lstrip("/")) for found in tf.config.list_physical_devices()):
        raise Unsupported(f"tensorflow {tf.__version__} finds no {target.device} device here; expected cpu")
    if bounded(target):
        _set_threads(threads())
    return _TensorFlow(target.mode, device)


def _set_threads(count: int) -> None:
    if tf.config.threading.get_intra_op_parallelism_threads() == count:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError:  # TensorFlow runs already, in a user's own process: `settings` says with what
        return


def losses() -> dict[str, Any]:
    """In keras.losses each subclass of its Loss and what compares two things; in tf.nn what says that it is a loss."""
    found = {}
    for name, one in namespace.named("keras.losses", keras.losses):
        if inspect.isclass(one):
            if issubclass(one, keras.losses.Loss):
                found[name] = one
        elif namespace.says_so(name) or namespace.required(one) >= 2:
            found[name] = one
    for name, one in namespace.named("tf.nn", tf.nn):
        if namespace.says_so(name) or namespace.takes(one, "labels", "logits"):
            found[name] = one
    return found


class _TensorFlow:
    def __init__(self, mode: str, device: str) -> None:
        self.mode = mode
        self.device = device
        self._kept = call.Kept("tensorflow", self._functions)

    def versions(self) -> dict[str, str]:
        found = {"tensorflow": tf.__version__, "keras": keras.__version__}
        if "GPU" in self.device:
            build = tf.sysconfig.get_build_info()
            found |= {"cuda": str(build.get("cuda_version")), "cudnn": str(build.get("cudnn_version"))}
        return found

    def settings(self) -> dict[str, str]:
        return {
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads() or "chosen by tensorflow"),
            "keras floatx": keras.backend.floatx(),
            "keras epsilon": repr(keras.backend.epsilon()),
            "keras image data format": keras.backend.image_data_format(),
            **variables("TF_ENABLE", "TF_XLA", "TF_DETERMINISTIC", "TF_GPU", "XLA_FLAGS", "OMP_NUM", "CUDA_VISIBLE"),
        }

    def machine(self) -> dict[str, str]:
        if "GPU" not in self.device:
            return {}
        found = tf.config.list_physical_devices("GPU")[int(self.device.partition(":")[2])]
        details = tf.config.experimental.get_device_details(found)
        return {
            "device": str(details.get("device_name")),
            "compute capability": ".".join(map(str, details.get("compute_capability", ()))),
        }

    def prepare(self, problem: Problem) -> Prepared:
        if problem.loss.accumulated:
            return self._folded(problem)
        names = [name for name, one in problem.loss.inputs.items() if one.grad]
        with tf.device(self.device):
            tensors = [_tensor(array, problem.dtype) for array in call.arrays(problem).values()]
        run_value, run_gradient, run_hessian = self._kept.of(problem)

        def forward() -> Any:
            return self._awaited(run_value(*tensors))

        def gradient() -> Any:
            return self._awaited(run_gradient(*tensors))

        def arrays() -> dict[str, np.ndarray]:
            value, found = gradient() if problem.order is None else (forward(), ())
            named = {"value": value} | {f"gradient.{name}": one for name, one in zip(names, found, strict=False)}
            dtype = tf.float64 if problem.dtype == "float64" else tf.float32
            return {name: tf.cast(tf.convert_to_tensor(one), dtype).numpy() for name, one in named.items()}

        def hessian() -> dict[str, np.ndarray]:
            with tf.device(self.device):
                ways = [_tensor(problem.direction[name], problem.dtype) for name in names]
            found = self._awaited(run_hessian(*tensors, *ways))
            dtype = tf.float64 if problem.dtype == "float64" else tf.float32
            pairs = zip(names, found, strict=True)
            return {f"hessian.{name}": tf.cast(tf.convert_to_tensor(one), dtype).numpy() for name, one in pairs}

        rise = {"forward": partial(self._rise, forward), "gradient": partial(self._rise, gradient)}
        return Prepared(forward=forward, gradient=gradient, arrays=arrays, hessian=hessian, rise=rise)

    def _functions(self, problem: Problem) -> tuple[Callable[..., Any], ...]:
        """Of the problem's arrays the value, and the value with its gradients; of them and a direction, the
        Hessian-vector products."""
        value_of = call.function(problem, "tensorflow", MODULES, total=tf.reduce_sum, mean=tf.reduce_mean)
        given = list(call.arrays(problem))
        at = [given.index(name) for name, one in problem.loss.inputs.items() if one.grad]

        def value_alone(*arguments: Any) -> Any:
            with tf.device(self.device):
                return value_of(*arguments)

        def value_and_gradient(*arguments: Any) -> Any:
            leaves = [arguments[position] for position in at]
            with tf.device(self.device), tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(leaves)
                value = value_of(*arguments)
            # Of the sum of the value: what a tape does with an array.
            return value, tape.gradient(value, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        def hessian(*arguments: Any) -> Any:
            leaves, ways = [arguments[position] for position in at], arguments[len(given) :]
            with tf.device(self.device), tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(leaves)
                _, slopes = value_and_gradient(*arguments[: len(given)])
                slopes = [tf.convert_to_tensor(slope) for slope in slopes]
            zero = tf.UnconnectedGradients.ZERO
            return tape.gradient(slopes, leaves, output_gradients=ways, unconnected_gradients=zero)

        return tuple(map(self._built, (value_alone, value_and_gradient, hessian)))

    def _folded(self, problem: Problem) -> Prepared:
        dtype = tf.float64 if problem.dtype == "float64" else tf.float32
        return state.prepare(
            problem,
            "tensorflow",
            MODULES,
            array=lambda array: _tensor(array, problem.dtype),
            compiled=self._built,
            awaited=self._awaited,
            numbers=lambda value: tf.cast(tf.convert_to_tensor(value), dtype).numpy(),
            scope=lambda: tf.device(self.device),
        )

    def _built(self, function: Any) -> Any:
        if self.mode == "eager":
            return function
        return tf.function(function, autograph=False, jit_compile=self.mode == "xla")

    def _rise(self, run: Callable[[], object]) -> int:
        """By its allocator, which keeps what is freed: on the processor, too, the system sees no call take it."""
        name = self.device.lstrip("/")
        tf.config.experimental.reset_memory_stats(name)
        before = tf.config.experimental.get_memory_info(name)["current"]
        run()
        return int(tf.config.experimental.get_memory_info(name)["peak"] - before)

    def _awaited(self, result: Any) -> Any:
        if "GPU" in self.device:  # on the processor results are there when a call returns
            tf.test.experimental.sync_devices()
        return result


def _tensor(array: np.ndarray, dtype: str) -> Any:
    return tf.constant(array) if array.dtype == np.int64 else tf.cast(tf.constant(array), dtype)
