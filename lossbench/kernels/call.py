"""A compiled kernel as a callable of arrays: checks them, picks blocks and threads, reduces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from lossbench.errors import LossbenchError

BLOCK = 16384  # numbers in one sum; fewer are not worth a second thread
_LABELS = np.dtype(np.int64)
_THREADS = Lock()  # Numba's own threads end the process when two callers share them
Out = np.ndarray | Mapping[str, np.ndarray] | None


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One loss, compiled: call it with every input, and with the parameters that differ from their defaults.

    Attributes:
        name: Of the loss.
        module: The generated functions.
        dtype: Of arrays and parameters; what has another is converted first.
        reduction: none, mean or sum.
        gradient: Whether calls return the gradients too.
        inputs: By name, whether real, row or label.
        parameters: The same.
        defaults: Of the parameters.
        differentiated: The inputs that have gradients.
        count: What every element or row adds to the divisor of the mean, where that is one number.
    """

    name: str
    module: ModuleType
    dtype: np.dtype[Any]
    reduction: str
    gradient: bool
    inputs: Mapping[str, str]
    parameters: Mapping[str, str]
    defaults: Mapping[str, object]
    differentiated: tuple[str, ...]
    count: float | None
    _none: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_none", np.empty(0, self.dtype))

    def __call__(self, *, sample_weight: object = None, out: Out = None, **given: object) -> Any:
        """The value, or with `gradient` the pair of the value and the gradients by input.

        Args:
            sample_weight: Shape (n,), or None for ones.
            out: Takes the largest result, the gradient if there is one; or several arrays by name, `value` and
                `gradient.<input>`.
            given: Inputs of shape (n,) or (n, classes), and parameters.

        Raises:
            LossbenchError: A name is unknown or missing, a shape does not fit, something is no number or a label
                no whole one, or `out` shares memory with something else.
        """
        arguments = self._arguments(given)
        first = self._first(arguments)
        rows = len(first)
        weighted = sample_weight is not None
        weight = self._array("sample_weight", sample_weight, self.dtype, 1) if weighted else self._none
        if weighted and len(weight) != rows:
            raise LossbenchError(f"sample_weight has shape {weight.shape}; expected ({rows},)")
        outputs = self._outputs(out, arguments, weight, rows)
        values = outputs.get("value", self._none)
        divisor = self._divisor(arguments, first) if self.reduction == "mean" else None
        tail: list[object] = [weight, weighted]
        if self.gradient:
            scale = self.dtype.type(1.0 if divisor is None else 1.0 / divisor if divisor else np.nan)
            tail += [scale, *(outputs[f"gradient.{one}"] for one in self.differentiated)]
        tail += [values, "value" in outputs]
        total = self._run("value_and_gradient" if self.gradient else "value", [*arguments, *tail], first)
        value: Any = values
        if self.reduction != "none":
            with np.errstate(all="ignore"):  # 0/0 is nan, and a large sum infinite
                value = self.dtype.type(total if divisor is None else np.float64(total) / divisor)
        if not self.gradient:
            return value
        return value, {one: outputs[f"gradient.{one}"] for one in self.differentiated}

    def _run(self, name: str, arguments: list[object], first: np.ndarray) -> float:
        """The sum over everything, in pairs of blocks; the same for any number of threads."""
        classes = first.shape[1] if first.ndim == 2 else 1
        length = max(1, BLOCK // max(1, classes))
        if len(first) <= length:
            return float(getattr(self.module, name)(*arguments))
        sums = np.empty(-(-len(first) // length))
        with _THREADS:
            getattr(self.module, f"{name}_blocks")(*arguments, length, sums)
        with np.errstate(all="ignore"):
            return float(sums.sum())

    def _divisor(self, arguments: list[Any], first: np.ndarray) -> float:
        if self.count is not None:
            return len(first) * self.count
        return self._run("divisor", [*arguments, self._none, False, self._none, False], first)

    def _first(self, arguments: list[Any]) -> np.ndarray:
        """The input that knows the number of elements, or of rows and classes."""
        kinds = list(self.inputs.values())
        at = kinds.index("row") if "row" in kinds else 0
        first: np.ndarray = arguments[at]
        return first

    def _arguments(self, given: Mapping[str, object]) -> list[Any]:
        for name in given:
            if name not in self.inputs and name not in self.parameters:
                known = ", ".join((*self.inputs, *self.parameters))
                raise LossbenchError(f"{self.name} takes no {name!r}; expected: {known}")
        found: list[Any] = []
        for name, kind in self.inputs.items():
            if name not in given:
                raise LossbenchError(f"{self.name} needs {name!r}; expected every input: {', '.join(self.inputs)}")
            dtype = _LABELS if kind == "label" else self.dtype
            found.append(self._array(name, given[name], dtype, 2 if kind == "row" else 1))
        first = self._first(found)
        for (name, kind), array in zip(self.inputs.items(), found, strict=True):
            expected = first.shape if kind == "row" else first.shape[:1]
            if array.shape != expected:
                raise LossbenchError(f"{name} has shape {array.shape}; expected {expected}, as the other inputs")
        for name, kind in self.parameters.items():
            value = given.get(name, self.defaults[name])
            if kind == "row":
                row = converted(name, value, self.dtype)
                if row.shape not in ((), (first.shape[1],)):
                    fitting = f"() or {first.shape[1:]}, one per class"
                    raise LossbenchError(f"{name} has shape {row.shape}; expected {fitting}")
                found.append(np.array(np.broadcast_to(row, first.shape[1:])))
            else:
                one = self._array(name, value, _LABELS if kind == "label" else self.dtype, 0)
                found.append(int(one) if kind == "label" else one[()])
        return found

    def _array(self, name: str, value: object, dtype: np.dtype[Any], dimensions: int) -> np.ndarray:
        array = converted(name, value, dtype)
        if array.ndim != dimensions:
            shape = ("(), one number", "(n,)", "(n, classes)")[dimensions]
            raise LossbenchError(f"{name} has shape {array.shape}; expected {shape}")
        return array

    def _outputs(self, out: Out, arguments: list[Any], weight: np.ndarray, rows: int) -> dict[str, np.ndarray]:
        """The arrays to be written, by name."""
        shapes = {"value": (rows,)} if self.reduction == "none" else {}
        inputs = dict(zip(self.inputs, arguments, strict=False))
        if self.gradient:
            shapes |= {f"gradient.{one}": inputs[one].shape for one in self.differentiated}
        if isinstance(out, np.ndarray):
            large = [name for name in shapes if not self.gradient or name != "value"]
            if len(large) != 1:
                expected = ", ".join(large) or "none, for the value is one number"
                raise LossbenchError(f"out is one array; expected a mapping of: {expected}")
            out = {large[0]: out}
        given = {} if out is None else out
        if not isinstance(given, Mapping):
            raise LossbenchError(f"out is a {type(given).__name__}; expected an array or a mapping of arrays")
        for name, array in given.items():
            if name not in shapes:
                raise LossbenchError(f"out has {name!r}; expected: {', '.join(shapes) or 'nothing'}")
            if not isinstance(array, np.ndarray):
                raise LossbenchError(f"out {name!r} is a {type(array).__name__}; expected an array")
            if array.shape != shapes[name] or array.dtype != self.dtype or not array.flags.carray:
                raise LossbenchError(
                    f"out {name!r} is {array.dtype} of shape {array.shape}; expected a writable C-contiguous "
                    f"array, {self.dtype} of shape {shapes[name]}"
                )
            others = {**inputs, "sample_weight": weight, **{one: given[one] for one in given if one != name}}
            for other, taken in others.items():
                if np.may_share_memory(array, taken):  # a row is read again after its first gradients are written
                    raise LossbenchError(f"out {name!r} shares memory with {other!r}; expected an array of its own")
        return {name: given[name] if name in given else np.empty(shape, self.dtype) for name, shape in shapes.items()}


def converted(name: str, value: object, dtype: np.dtype[Any]) -> np.ndarray:
    """*value* as an array of *dtype* that Numba can take.

    Raises:
        LossbenchError: It is not made of real numbers, or of whole ones for a dtype of integers.
    """
    if isinstance(value, np.ndarray) and value.dtype == dtype and value.flags.carray and type(value) is np.ndarray:
        return value
    try:
        given = np.asarray(value)
        # bfloat16 is no number to NumPy itself, but it converts.
        numeric = given.dtype.kind in "biuf" or given.dtype.name == "bfloat16"
    except ValueError:  # rows of several lengths
        numeric = False
    if not numeric or isinstance(value, np.ma.MaskedArray):
        found = getattr(value, "dtype", None) if type(value) is np.ndarray else type(value).__name__
        raise LossbenchError(f"{name} is {found}; expected real numbers that convert to {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the dtype is infinite
        # A read-only array would be another type to Numba, and be compiled for again.
        array = np.require(given, dtype, ["C", "A", "W"])
    if dtype.kind == "i" and not np.array_equal(array, given):
        raise LossbenchError(f"{name} holds a number that is no {dtype}; expected whole numbers")
    return array
