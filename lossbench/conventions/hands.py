"""A framework's own arrays, gradients and compiled functions, of any shape and dtype: what probes work with.

Built on the modules that the framework's adapter gives to calls; nothing is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from lossbench import adapters
from lossbench.adapters import elsewhere
from lossbench.errors import Unsupported

Function = Callable[..., Any]


class Hands(Protocol):
    """One framework, eager.

    Attributes:
        modules: What its calls may name.
        home: Where its own softmax is.
    """

    modules: Mapping[str, Any]
    home: str

    def array(self, numbers: np.ndarray) -> Any:
        """*numbers* as the framework's array, of the same dtype where it has that."""

    def numbers(self, array: Any) -> np.ndarray:
        """The numbers of an array of the framework, in its own dtype."""

    def gradient(self, function: Function, arrays: Mapping[str, Any], name: str) -> tuple[Any, Any]:
        """The value of *function*, and the derivative of the value's sum by the array of that *name*."""

    def compiled(self, function: Function) -> Function:
        """*function* as the framework compiles it."""

    def softmax(self, logits: Any) -> Any:
        """Probabilities of each row of *logits*, as users of the framework take them."""

    def sigmoid(self, logits: Any) -> Any:
        """The probability of each of *logits*."""

    def wide(self) -> AbstractContextManager[Any]:
        """Within it float64 exists, where a setting decides that."""


def hands(framework: str, *, keras: bool = False) -> Hands:
    """Those of *framework*, with its own modules or, of *keras*, with those of Keras on top of it.

    Raises:
        Unsupported: Nothing is known of its arrays.
        ImportError: It is not installed.
    """
    if framework not in _HANDS:
        options = ", ".join(sorted(_HANDS))
        raise Unsupported(f"conventions are not known how to be asked of {framework}; expected one of: {options}")
    module: Any = adapters.load(framework)
    found = _HANDS[framework](module.MODULES)
    if keras:
        above = elsewhere.keras(framework)
        found.modules = {"keras": above, "ops": above.ops}
    return found


class _Torch:
    home = "torch"

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.modules = modules
        self.torch = modules["torch"]

    def array(self, numbers: np.ndarray) -> Any:
        return self.torch.tensor(numbers)

    def numbers(self, array: Any) -> np.ndarray:
        return np.asarray(array.detach().numpy())

    def gradient(self, function: Function, arrays: Mapping[str, Any], name: str) -> tuple[Any, Any]:
        leaf = arrays[name].clone().requires_grad_()
        value = function(**{**arrays, name: leaf})
        (found,) = self.torch.autograd.grad(value.sum(), [leaf], allow_unused=True, materialize_grads=True)
        return value, found

    def compiled(self, function: Function) -> Function:
        return self.torch.compile(function, dynamic=False)  # type: ignore[no-any-return]

    def softmax(self, logits: Any) -> Any:
        return self.torch.softmax(logits, -1)

    def sigmoid(self, logits: Any) -> Any:
        return self.torch.sigmoid(logits)

    def wide(self) -> AbstractContextManager[Any]:
        return nullcontext()


class _TensorFlow:
    home = "tf.nn"

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.modules = modules
        self.tf = modules["tf"]

    def array(self, numbers: np.ndarray) -> Any:
        return self.tf.constant(numbers)

    def numbers(self, array: Any) -> np.ndarray:
        return np.asarray(self.tf.convert_to_tensor(array).numpy())

    def gradient(self, function: Function, arrays: Mapping[str, Any], name: str) -> tuple[Any, Any]:
        leaf = arrays[name]
        with self.tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(leaf)
            value = function(**arrays)
        return value, tape.gradient(value, leaf, unconnected_gradients=self.tf.UnconnectedGradients.ZERO)

    def compiled(self, function: Function) -> Function:
        return self.tf.function(function, autograph=False)  # type: ignore[no-any-return]

    def softmax(self, logits: Any) -> Any:
        return self.tf.nn.softmax(logits)

    def sigmoid(self, logits: Any) -> Any:
        return self.tf.nn.sigmoid(logits)

    def wide(self) -> AbstractContextManager[Any]:
        return nullcontext()


class _Jax:
    home = "jax.nn"

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.modules = modules
        self.jax, self.jnp = modules["jax"], modules["jnp"]

    def array(self, numbers: np.ndarray) -> Any:
        return self.jnp.asarray(numbers)

    def numbers(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def gradient(self, function: Function, arrays: Mapping[str, Any], name: str) -> tuple[Any, Any]:
        value, pull_back = self.jax.vjp(lambda leaf: function(**{**arrays, name: leaf}), arrays[name])
        (found,) = pull_back(self.jnp.ones_like(value))
        return value, found

    def compiled(self, function: Function) -> Function:
        return self.jax.jit(function)  # type: ignore[no-any-return]

    def softmax(self, logits: Any) -> Any:
        return self.jax.nn.softmax(logits)

    def sigmoid(self, logits: Any) -> Any:
        return self.jax.nn.sigmoid(logits)

    def wide(self) -> AbstractContextManager[Any]:
        return self.jax.enable_x64(True)  # type: ignore[no-any-return]


_HANDS: Mapping[str, Callable[[Mapping[str, Any]], Hands]] = {
    "jax": _Jax,
    "tensorflow": _TensorFlow,
    "torch": _Torch,
}
