"""What a kernel is called with by name, as arrays and numbers in the order of its functions."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.errors import LossbenchError
from lossbench.formula.node import Variable
from lossbench.kernels.given import converted

BATCH = "batch"  # the axis of points, or of a batch's entries
_LABELS = np.dtype(np.int64)


@dataclass(frozen=True)
class Arguments:
    """Checks what one loss is given.

    Attributes:
        name: Of the loss.
        dtype: Of arrays and parameters.
        variables: Inputs, then parameters, by name: their types and axes.
        defaults: Of the parameters.
        batchwise: Whether the arrays hold one point, the batch.
    """

    name: str
    dtype: np.dtype[Any]
    variables: Mapping[str, Variable]
    defaults: Mapping[str, object]
    batchwise: bool

    def arrays(self, given: Mapping[str, object], without: Container[str]) -> tuple[list[Any], dict[str, int]]:
        """Inputs and parameters in order, parameters *without* left out, and how long each axis is.

        Raises:
            LossbenchError: One is missing or unknown, or has another shape or type.
        """
        for name in given:
            if name not in self.variables:
                raise LossbenchError(f"{self.name} takes no {name!r}; expected: {', '.join(self.variables)}")
        found: list[Any] = []
        sizes: dict[str, int] = {}
        inputs = [name for name in self.variables if name not in self.defaults]
        for name in inputs:
            if name not in given:
                raise LossbenchError(f"{self.name} needs {name!r}; expected every input: {', '.join(inputs)}")
            variable = self.variables[name]
            array = self.array(name, given[name], variable)
            expected = tuple(sizes.setdefault(*pair) for pair in zip(variable.axes, array.shape, strict=True))
            if array.shape != expected:
                raise LossbenchError(f"{name} has shape {array.shape}; expected {expected}, as the other inputs")
            found.append(array)
        for axis, size in sizes.items():
            if size == 0 and axis != BATCH and (self.batchwise or sizes[BATCH]):
                raise LossbenchError(f"the inputs of {self.name} have no entry along {axis!r}; expected at least one")
        found += [self._parameter(name, given, sizes) for name in self.defaults if name not in without]
        return found, sizes

    def array(self, name: str, value: object, variable: Variable) -> np.ndarray:
        """One of them, of the axes that it should have."""
        array = converted(name, value, _LABELS if variable.type == "label" else self.dtype)
        if array.ndim != len(variable.axes):
            axes = ["n" if axis == BATCH else "classes" if axis == "class" else axis for axis in variable.axes]
            shape = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})" if axes else "(), one number"
            raise LossbenchError(f"{name} has shape {array.shape}; expected {shape}")
        return array

    def _parameter(self, name: str, given: Mapping[str, object], sizes: Mapping[str, int]) -> Any:
        variable = self.variables[name]
        value = given.get(name, self.defaults[name])
        if not variable.axes:
            one = self.array(name, value, variable)
            return int(one) if variable.type == "label" else one[()]
        shape = tuple(sizes[axis] for axis in variable.axes)
        row = converted(name, value, self.dtype)
        if row.shape not in ((), shape):
            raise LossbenchError(f"{name} has shape {row.shape}; expected () or {shape}, one per class")
        return np.array(np.broadcast_to(row, shape))
