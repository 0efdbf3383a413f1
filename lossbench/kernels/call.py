"""A compiled kernel as a callable of arrays: checks them, picks blocks and threads, reduces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from lossbench.errors import LossbenchError
from lossbench.formula.node import Kind, Variable, variable_of

BATCH = "batch"  # the axis of points, or of a batch's entries
BLOCK = 16384  # numbers in one sum; fewer are not worth a second thread
_LABELS = np.dtype(np.int64)
_WEIGHT = Variable("number", (BATCH,))
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
        inputs: By name, whether real, row or label, or of which type along which axes.
        parameters: The same.
        defaults: Of the parameters.
        differentiated: The inputs that have gradients.
        count: What every element or row adds to the divisor of the mean, where that is one number.
        batchwise: Whether the arrays hold one point, the batch; else they have an axis of points before the others.
        pooled: Whether the loss is one number for a batch, which every reduction leaves as it is.
    """

    name: str
    module: ModuleType
    dtype: np.dtype[Any]
    reduction: str
    gradient: bool
    inputs: Mapping[str, Kind | Variable]
    parameters: Mapping[str, Kind | Variable]
    defaults: Mapping[str, object]
    differentiated: tuple[str, ...]
    count: float | None
    batchwise: bool = False
    pooled: bool = False
    _none: np.ndarray = field(init=False, repr=False)
    _variables: dict[str, Variable] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_none", np.empty(0, self.dtype))
        points: tuple[str, ...] = () if self.batchwise else (BATCH,)
        given = {name: variable_of(one) for name, one in self.inputs.items()}
        variables = {name: Variable(one.type, (*points, *one.axes)) for name, one in given.items()}
        variables |= {name: variable_of(one) for name, one in self.parameters.items()}
        object.__setattr__(self, "_variables", variables)

    def __call__(self, *, sample_weight: object = None, out: Out = None, **given: object) -> Any:
        """The value, or with `gradient` the pair of the value and the gradients by input.

        Args:
            sample_weight: Shape (n,), or None for ones.
            out: Takes the largest result, the gradient if there is one; or several arrays by name, `value` and
                `gradient.<input>`.
            given: Inputs of shape (n,) or (n, classes), or along their axes, and parameters.

        Raises:
            LossbenchError: A name is unknown or missing, a shape does not fit, something is no number or a label
                no whole one, or `out` shares memory with something else.
        """
        arguments, sizes = self._arguments(given)
        rows = sizes.get(BATCH, 0)
        weighted = sample_weight is not None
        if weighted and self.pooled:
            raise LossbenchError(f"{self.name} is one number for a whole batch; expected no sample_weight")
        weight = self._array("sample_weight", sample_weight, _WEIGHT) if weighted else self._none
        if weighted and len(weight) != rows:
            raise LossbenchError(f"sample_weight has shape {weight.shape}; expected ({rows},)")
        outputs = self._outputs(out, arguments, weight, rows)
        values = outputs.get("value", self._none)
        divisor = self._divisor(arguments, sizes) if self.reduction == "mean" and not self.pooled else None
        tail: list[object] = [weight, weighted]
        if self.gradient:
            scale = self.dtype.type(1.0 if divisor is None else 1.0 / divisor if divisor else np.nan)
            tail += [scale, *(outputs[f"gradient.{one}"] for one in self.differentiated)]
        tail += [values, "value" in outputs]
        total = self._run("value_and_gradient" if self.gradient else "value", [*arguments, *tail], sizes)
        value: Any = values
        if self.reduction != "none" or self.pooled:
            with np.errstate(all="ignore"):  # 0/0 is nan, and a large sum infinite
                value = self.dtype.type(total if divisor is None else np.float64(total) / divisor)
        if not self.gradient:
            return value
        return value, {one: outputs[f"gradient.{one}"] for one in self.differentiated}

    def _run(self, name: str, arguments: list[object], sizes: Mapping[str, int]) -> float:
        """The sum over everything, in pairs of blocks of points; the same for any number of threads."""
        rows = sizes.get(BATCH, 0)
        length = max(1, BLOCK * max(1, rows) // max(1, prod(sizes.values())))
        if self.batchwise or rows <= length:
            return float(getattr(self.module, name)(*arguments))
        sums = np.empty(-(-rows // length))
        with _THREADS:
            getattr(self.module, f"{name}_blocks")(*arguments, length, sums)
        with np.errstate(all="ignore"):
            return float(sums.sum())

    def _divisor(self, arguments: list[Any], sizes: Mapping[str, int]) -> float:
        if self.count is not None:
            return sizes[BATCH] * self.count
        return self._run("divisor", [*arguments, self._none, False, self._none, False], sizes)

    def _arguments(self, given: Mapping[str, object]) -> tuple[list[Any], dict[str, int]]:
        """Inputs and parameters in order, and how long each axis is."""
        for name in given:
            if name not in self.inputs and name not in self.parameters:
                known = ", ".join((*self.inputs, *self.parameters))
                raise LossbenchError(f"{self.name} takes no {name!r}; expected: {known}")
        found: list[Any] = []
        sizes: dict[str, int] = {}
        for name in self.inputs:
            if name not in given:
                raise LossbenchError(f"{self.name} needs {name!r}; expected every input: {', '.join(self.inputs)}")
            variable = self._variables[name]
            array = self._array(name, given[name], variable)
            expected = tuple(sizes.setdefault(*pair) for pair in zip(variable.axes, array.shape, strict=True))
            if array.shape != expected:
                raise LossbenchError(f"{name} has shape {array.shape}; expected {expected}, as the other inputs")
            found.append(array)
        for axis, size in sizes.items():
            if size == 0 and axis != BATCH and (self.batchwise or sizes[BATCH]):
                raise LossbenchError(f"the inputs of {self.name} have no entry along {axis!r}; expected at least one")
        for name in self.parameters:
            variable = self._variables[name]
            value = given.get(name, self.defaults[name])
            if variable.axes:
                shape = tuple(sizes[axis] for axis in variable.axes)
                row = converted(name, value, self.dtype)
                if row.shape not in ((), shape):
                    raise LossbenchError(f"{name} has shape {row.shape}; expected () or {shape}, one per class")
                found.append(np.array(np.broadcast_to(row, shape)))
            else:
                one = self._array(name, value, variable)
                found.append(int(one) if variable.type == "label" else one[()])
        return found, sizes

    def _array(self, name: str, value: object, variable: Variable) -> np.ndarray:
        array = converted(name, value, _LABELS if variable.type == "label" else self.dtype)
        if array.ndim != len(variable.axes):
            axes = ["n" if axis == BATCH else "classes" if axis == "class" else axis for axis in variable.axes]
            shape = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})" if axes else "(), one number"
            raise LossbenchError(f"{name} has shape {array.shape}; expected {shape}")
        return array

    def _outputs(self, out: Out, arguments: list[Any], weight: np.ndarray, rows: int) -> dict[str, np.ndarray]:
        """The arrays to be written, by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.reduction == "none" and not self.pooled:
            shapes["value"] = (rows,)
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
