"""A compiled kernel as a callable of arrays: checks them, picks blocks and threads, reduces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from operator import itemgetter
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numba import get_num_threads

from lossbench.errors import LossbenchError
from lossbench.formula.node import Kind, Variable, variable_of
from lossbench.kernels.streams import BLOCK

BATCH = "batch"  # the axis of points, or of a batch's entries
_SPREAD = 2  # blocks from which on threads are worth their start
_CPU = (1, 0)  # a device in DLPack
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
        fixed: Parameters that `usual` does not take: their defaults are written into it.
        usual: Gives the module for when these have their defaults; many formulas are then shorter.
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
    fixed: tuple[str, ...] = ()
    usual: Callable[[], ModuleType] | None = None
    _none: np.ndarray = field(init=False, repr=False)
    _variables: dict[str, Variable] = field(init=False, repr=False)
    _by_case: bool = field(init=False, repr=False)
    _share: float | None = field(init=False, repr=False)  # of every element in the divisor, 0 for a sum
    _quick: list[Any] = field(init=False, repr=False, default_factory=list)  # the function for one block, once compiled

    def __post_init__(self) -> None:
        object.__setattr__(self, "_none", np.empty(0, self.dtype))
        object.__setattr__(self, "_by_case", hasattr(self.module, "value_each"))
        share = {"mean": self.count, "sum": 0.0}.get(self.reduction)
        object.__setattr__(self, "_share", share if hasattr(self.module, "value_at_once") else None)
        points: tuple[str, ...] = () if self.batchwise else (BATCH,)
        given = {name: variable_of(one) for name, one in self.inputs.items()}
        variables = {name: Variable(one.type, (*points, *one.axes)) for name, one in given.items()}
        variables |= {name: variable_of(one) for name, one in self.parameters.items()}
        object.__setattr__(self, "_variables", variables)

    def __call__(self, *, sample_weight: object = None, out: Out = None, **given: Any) -> Any:
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
        if self._quick and sample_weight is None and len(given) == len(self.inputs):
            # The compiled function looks at types, lengths and memory itself: that takes a tenth of the time.
            function, taken, share, real, name = self._quick
            try:
                if name is None:
                    if out is None:
                        return real(function(*taken(given), share))
                else:
                    written = np.empty(len(given[name]), self.dtype) if out is None else out
                    return real(function(*taken(given), share, written)), {name: written}
            except (KeyError, TypeError, ValueError):
                pass
        return self._carefully(sample_weight, out, given)

    def _carefully(self, sample_weight: object, out: Out, given: Mapping[str, object]) -> Any:
        arguments, sizes = self._arguments(given)
        rows = sizes.get(BATCH, 0)
        weighted = sample_weight is not None
        if weighted and self.pooled:
            raise LossbenchError(f"{self.name} is one number for a whole batch; expected no sample_weight")
        weight = self._array("sample_weight", sample_weight, _WEIGHT) if weighted else self._none
        if weighted and len(weight) != rows:
            raise LossbenchError(f"sample_weight has shape {weight.shape}; expected ({rows},)")
        outputs = self._outputs(out, arguments, weight, rows)
        module = self._module(arguments)
        if module is not self.module:
            arguments = [one for name, one in zip(self._variables, arguments, strict=True) if name not in self.fixed]
        slopes = [outputs[f"gradient.{one}"] for one in self.differentiated] if self.gradient else []
        if not weighted and self._share is not None and 0 < rows <= BLOCK:
            value = self._at_once(module, arguments, slopes)
        else:
            value = self._reduced(module, arguments, sizes, weight if weighted else None, slopes, outputs.get("value"))
        if not self.gradient:
            return value
        return value, {one: outputs[f"gradient.{one}"] for one in self.differentiated}

    def _module(self, arguments: list[Any]) -> ModuleType:
        """That in which the parameters' defaults are written, if they have them."""
        if self.usual is None:
            return self.module
        given = dict(zip(self._variables, arguments, strict=True))
        usual = all(np.all(given[name] == self.dtype.type(self.defaults[name])) for name in self.fixed)
        return self.usual() if usual else self.module

    def _at_once(self, module: ModuleType, arguments: list[Any], slopes: list[np.ndarray]) -> Any:
        """The sum or mean over one block."""
        function = getattr(module, "value_and_gradient_at_once" if self.gradient else "value_at_once")
        value = self.dtype.type(function(*arguments, self._share, *slopes))
        if not self._quick and len(arguments) == len(self.inputs) and len(slopes) == self.gradient:
            function.disable_compile()  # from now on arrays of other types are refused
            name = self.differentiated[0] if self.gradient else None
            self._quick.extend((function, _taken(tuple(self.inputs)), self._share, self.dtype.type, name))
        return value

    def _reduced(
        self,
        module: ModuleType,
        arguments: list[Any],
        sizes: Mapping[str, int],
        weight: np.ndarray | None,
        slopes: list[np.ndarray],
        values: np.ndarray | None,
    ) -> Any:
        """The result, for any number of points."""
        divisor = self._divisor(module, arguments, sizes) if self.reduction == "mean" and not self.pooled else None
        tail: list[object] = list(slopes)
        if self.gradient:
            scale = 1.0 if divisor is None else 1.0 / divisor if divisor else np.nan
            tail.insert(0, scale if self._by_case else self.dtype.type(scale))
        name, each = "value_and_gradient" if self.gradient else "value", values is not None
        if self._by_case:
            name += "_each" * each + "_weighted" * (weight is not None)
            tail = [*([] if weight is None else [weight]), *tail, *([values] if each else [])]
        else:
            weights = self._none if weight is None else weight
            tail = [weights, weight is not None, *tail, values if each else self._none, each]
        total = self._run(module, name, [*arguments, *tail], sizes)
        if values is not None:
            return values
        with np.errstate(all="ignore"):  # 0/0 is nan, and a large sum infinite
            return self.dtype.type(total if divisor is None else np.float64(total) / divisor)

    def _run(self, module: ModuleType, name: str, arguments: list[Any], sizes: Mapping[str, int]) -> float:
        """The sum over everything, in pairs of blocks of points; the same for any number of threads."""
        rows = sizes.get(BATCH, 0)
        length = max(1, BLOCK * max(1, rows) // max(1, prod(sizes.values())))
        if self.batchwise or rows <= length:
            return float(getattr(module, name)(*arguments))
        sums = np.empty(-(-rows // length))
        if get_num_threads() == 1 or rows < _SPREAD * length:
            getattr(module, f"{name}_turns")(*arguments, length, sums)
        else:
            with _THREADS:
                getattr(module, f"{name}_blocks")(*arguments, length, sums)
        with np.errstate(all="ignore"):
            return float(sums.sum())

    def _divisor(self, module: ModuleType, arguments: list[Any], sizes: Mapping[str, int]) -> float:
        if self.count is not None:
            return sizes[BATCH] * self.count
        rest = [] if self._by_case else [self._none, False, self._none, False]
        return self._run(module, "divisor", [*arguments, *rest], sizes)

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
        out = _shared("out", out)  # type: ignore[assignment]
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


def _shared(name: str, value: Any) -> object:
    """A tensor of another framework as an array over the same memory; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__dlpack__"):
        return value
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        if getattr(value, "__dlpack_device__", lambda: _CPU)()[0] != _CPU[0]:
            raise LossbenchError(f"{name} is on another device; expected a tensor on the CPU") from None
        if "grad" in str(error):
            raise LossbenchError(f"{name} is part of an autograd graph; expected .detach()") from None
        return value  # a dtype that DLPack does not share with NumPy


class _Memory:
    """Memory as NumPy's array interface describes it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _as_writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array of the type that kernels are compiled for; they write into outputs alone."""
    return np.asarray(_Memory(array))


def _taken(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """What gives the values of these names, in order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: (given[names[0]],)


def converted(name: str, value: object, dtype: np.dtype[Any]) -> np.ndarray:
    """*value* as an array of *dtype* that Numba can take.

    Raises:
        LossbenchError: It is not made of real numbers, or of whole ones for a dtype of integers.
    """
    if isinstance(value, np.ndarray) and value.dtype == dtype and value.flags.carray and type(value) is np.ndarray:
        return value
    try:
        given = np.asarray(_shared(name, value))
        # bfloat16 is no number to NumPy itself, but it converts.
        numeric = given.dtype.kind in "biuf" or given.dtype.name == "bfloat16"
    except (TypeError, ValueError):  # no dtype of NumPy, or rows of several lengths
        numeric = False
    if not numeric or isinstance(value, np.ma.MaskedArray):
        found = getattr(value, "dtype", None) if type(value) is np.ndarray else type(value).__name__
        raise LossbenchError(f"{name} is {found}; expected real numbers that convert to {dtype}")
    if given.dtype == dtype and given.flags.c_contiguous and given.flags.aligned:
        return given if given.flags.writeable else _as_writable(given)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the dtype is infinite
        array = np.require(given, dtype, ["C", "A", "W"])
    if dtype.kind == "i" and not np.array_equal(array, given):
        raise LossbenchError(f"{name} holds a number that is no {dtype}; expected whole numbers")
    return array
