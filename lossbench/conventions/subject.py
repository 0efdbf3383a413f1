"""A loss's public callable under examination: its inputs, its answers, and what is exact."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from lossbench import inputs
from lossbench.conventions.edit import Expression, mapped
from lossbench.conventions.hands import Hands
from lossbench.errors import CallError
from lossbench.formula import oracle
from lossbench.loss import Loss
from lossbench.records import Case
from lossbench.text import Callable as Public

CLASSES = 3

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call came to: its numbers, or the error in place of them.

    Attributes:
        error: The exception's type.
        warned: Whether it warned of what went in.
    """

    value: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gradient: np.ndarray = field(default_factory=lambda: np.zeros(0))
    error: str = ""
    warned: bool = False


class Subject:
    """One callable of one loss in one framework."""

    def __init__(self, loss: Loss, public: Public, hands: Hands) -> None:
        self.loss = loss
        self.public = public
        self.hands = hands
        self.expression = Expression(loss, public, hands.modules)

    @cached_property
    def prediction(self) -> str:
        """The input that is differentiated, the first if there are several."""
        return next(name for name, one in self.loss.inputs.items() if one.grad)

    @cached_property
    def target(self) -> str | None:
        """The last input that is not differentiated."""
        return next((name for name, one in reversed(self.loss.inputs.items()) if not one.grad), None)

    @cached_property
    def is_plain(self) -> bool:
        """Whether every input is a number, a row or a label: what shapes can be made up for."""
        return not any(one.axes for one in self.loss.inputs.values())

    @cached_property
    def has_rows(self) -> bool:
        """Whether the loss is one of rows."""
        return any(one.kind == "row" for one in self.loss.inputs.values())

    @cached_property
    def label(self) -> str | None:
        """The input that is a class's index, if there is one."""
        found = [name for name, one in self.loss.inputs.items() if one.kind == "label" and not one.axes]
        return found[0] if found and self.has_rows else None

    def domain(self, name: str) -> str:
        """The domain of an input."""
        return self.loss.inputs[name].domain

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The loss's parameters as the plainest call has them."""
        found: dict[str, Any] = {}
        for name, one in self.loss.parameters.items():
            if name in self.public.parameters:
                try:
                    value = mapped(self.public, name)
                except (CallError, TypeError, ValueError, ZeroDivisionError, NameError):
                    value = None  # an argument without a default
                if isinstance(value, int | float):
                    found[name] = value
                    continue
            found[name] = inputs._float(one.default)
        return found

    def plain(self, *shape: int) -> Arrays:
        """Ordinary points, that many along each leading axis; rows have three classes."""
        if not self.is_plain:
            return self._drawn(prod(shape))
        drawn = self._drawn(prod(shape))
        return {name: array.reshape(*shape, *array.shape[1:]) for name, array in drawn.items()}

    def _drawn(self, count: int) -> Arrays:
        at = _sizes(self.loss, count)
        if self.is_plain:
            at = (count, CLASSES) if self.has_rows else (count,)
        case = Case(loss=self.loss.name, digest=self.loss.digest, dtype="float32", points="timing", shape=at)
        return dict(inputs.draw(self.loss, case).arrays)

    def exact(self, arrays: Mapping[str, np.ndarray], **parameters: object) -> np.ndarray:
        """The certified loss of every element or row, in the shape of the batch."""
        if not self.is_plain:
            flat, shape = dict(arrays), None
        else:
            rows = {name for name, one in self.loss.inputs.items() if one.kind == "row"}
            name = next(iter(self.loss.inputs))
            shape = arrays[name].shape[:-1] if name in rows else arrays[name].shape
            flat = {
                one: array.reshape(-1, array.shape[-1]) if one in rows else array.ravel()
                for one, array in arrays.items()
            }
        given = {**flat, **self.parameters, **parameters}
        problem = inputs.problem(self.loss, given, dtype="float64", reduction="none")
        found = oracle.certify(self.loss.formula, problem.arrays, problem.parameters, gradient=False).value.high
        return found if shape is None else found.reshape(shape)

    def run(
        self,
        arrays: Mapping[str, np.ndarray],
        options: Mapping[str, object] | None = None,
        *,
        slope: str | None = None,
        compiled: bool = False,
        through: Callable[[Any], Any] | None = None,
    ) -> Outcome:
        """What the callable gives.

        Args:
            arrays: Its inputs, in the dtype in which it is to get them.
            options: More arguments of the callable; arrays become those of the framework.
            slope: The input whose gradient is wanted, too.
            compiled: Whether the framework compiles the call first.
            through: An operation of the framework that makes the prediction of what is given in its place.
        """
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                made = {name: self._given(one) for name, one in (options or {}).items()}
                function = self.expression.function(self._constants(), made)
                function = self._behind(through, function) if through else function
                function = self.hands.compiled(function) if compiled else function
                tensors = {name: self.hands.array(array) for name, array in arrays.items()}
                if slope is None:
                    return Outcome(value=self.hands.numbers(function(**tensors)), warned=_warned(said))
                value, gradient = self.hands.gradient(function, tensors, slope)
                return Outcome(
                    value=self.hands.numbers(value), gradient=self.hands.numbers(gradient), warned=_warned(said)
                )
            except Exception as error:  # whatever a framework says no with is an answer
                return Outcome(error=type(error).__name__, warned=_warned(said))

    def _behind(self, through: Callable[[Any], Any], function: Callable[..., Any]) -> Callable[..., Any]:
        name = self.prediction
        return lambda **arrays: function(**{**arrays, name: through(arrays[name])})

    def _given(self, option: object) -> object:
        return self.hands.array(option) if isinstance(option, np.ndarray) else option

    def _constants(self) -> dict[str, Any]:
        """The loss's parameters, for calls that have to name them."""
        found: dict[str, Any] = {"dtype": "float32", "reduction": "none", "sample_weight": None}
        for name, value in self.parameters.items():
            one = self.loss.parameters[name]
            if one.kind == "row":
                row = np.broadcast_to(np.asarray(value, np.float32), (CLASSES,)).copy()
                found[name] = self.hands.array(row)
            else:
                found[name] = int(value) if one.kind == "label" else float(value)
        return found


def _warned(said: list[warnings.WarningMessage]) -> bool:
    """Whether a warning was one for users: not that something will be gone one day."""
    return any(not issubclass(one.category, DeprecationWarning | FutureWarning) for one in said)


def _sizes(loss: Loss, count: int) -> tuple[int, ...]:
    """The shape of a case of a loss with named axes, at the first sizes that its spec gives for accuracy."""
    sizes = (loss.sizes.accuracy or loss.sizes.timing or [{}])[0]
    lengths = tuple(sizes.get(axis, CLASSES) for axis in loss.axes)
    return lengths if loss.batchwise else (count, *lengths)
