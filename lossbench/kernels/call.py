"""A compiled kernel as a callable of arrays: checks them, picks blocks and threads, reduces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, prod
from types import ModuleType
from typing import Any

import numpy as np
from numba import get_num_threads

from lossbench.errors import LossbenchError
from lossbench.formula.node import Kind, Variable, variable_of
from lossbench.kernels.arguments import BATCH, Arguments
from lossbench.kernels.compile import first
from lossbench.kernels.outputs import Out, check, named
from lossbench.kernels.quick import Quick
from lossbench.kernels.streams import BLOCK, LANES
from lossbench.kernels.team import spread
from lossbench.kernels.tiles import NARROW, SEVERAL

_SPREAD = 2  # blocks from which on threads are worth their start
_WEIGHT = Variable("number", (BATCH,))


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One loss, compiled: called with every input, and with the parameters that differ from their defaults.

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
    _arguments: Arguments = field(init=False, repr=False)
    _by_case: bool = field(init=False, repr=False)
    _quick: Quick = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_none", np.empty(0, self.dtype))
        object.__setattr__(self, "_by_case", hasattr(self.module, "value_each"))
        points: tuple[str, ...] = () if self.batchwise else (BATCH,)
        given = {name: variable_of(one) for name, one in self.inputs.items()}
        variables = {name: Variable(one.type, (*points, *one.axes)) for name, one in given.items()}
        variables |= {name: variable_of(one) for name, one in self.parameters.items()}
        defaults = {name: self.defaults[name] for name in self.parameters}
        object.__setattr__(self, "_arguments", Arguments(self.name, self.dtype, variables, defaults, self.batchwise))

        outputs = [f"gradient.{one}" for one in self.differentiated] if self.gradient else []
        outputs += ["value"] if self._is_several else []
        sizes = {name: len(variables[name].axes) for name in self.inputs}
        quick = Quick(self._carefully, sizes, tuple(self.parameters), outputs, self.dtype)
        object.__setattr__(self, "_quick", quick)
        results = "The value and the gradients by input" if self.gradient else "The value"
        quick.describe(self.name, f"{results}, {self.dtype}, reduction {self.reduction}.", self.defaults)

    @property
    def function(self) -> Callable[..., Any]:
        """What is called."""
        return self._quick.function

    def __call__(self, **given: Any) -> Any:
        return self.function(**given)

    @property
    def _is_several(self) -> bool:
        """Whether there are values that no reduction has made one of."""
        return self.reduction == "none" and not self.pooled

    def _carefully(self, *, sample_weight: object = None, out: Out = None, **given: object) -> Any:
        # Most calls give no parameter: neither is a default converted, nor found to be one.
        plain = given.keys().isdisjoint(self.fixed)
        arguments, sizes = self._arguments.arrays(given, self.fixed if plain else ())
        rows = sizes.get(BATCH, 0)
        weighted = sample_weight is not None
        if weighted and self.pooled:
            raise LossbenchError(f"{self.name} is one number for a whole batch; expected no sample_weight")
        weight = self._arguments.array("sample_weight", sample_weight, _WEIGHT) if weighted else self._none
        if weighted and len(weight) != rows:
            raise LossbenchError(f"sample_weight has shape {weight.shape}; expected ({rows},)")
        outputs = self._outputs(out, arguments, weight, rows)
        module, arguments = self._chosen(arguments, plain)
        slopes = [outputs[f"gradient.{one}"] for one in self.differentiated] if self.gradient else []
        results = weight if weighted else None, slopes, outputs.get("value")
        if self._by_case:
            value = self._of_elements(module, arguments, given, *results)
        elif self._is_plain(module, sizes, results[0], results[2]):
            value = self._of_rows(module, arguments, given, sizes, slopes)
        else:
            value = self._reduced(module, arguments, sizes, *results)
        if not self.gradient:
            return value
        return value, {one: outputs[f"gradient.{one}"] for one in self.differentiated}

    def _chosen(self, arguments: list[Any], plain: bool) -> tuple[ModuleType, list[Any]]:
        """The module in which defaults are written, if the parameters have them, and what its functions take.

        Where the call is *plain*, *arguments* are without these parameters.
        """
        if self.usual is None or plain:
            return self.usual() if self.usual else self.module, arguments
        given = dict(zip(self._arguments.variables, arguments, strict=True))
        if any(np.any(given[name] != self.dtype.type(self.defaults[name])) for name in self.fixed):
            return self.module, arguments
        return self.usual(), [one for name, one in given.items() if name not in self.fixed]

    def _of_elements(
        self,
        module: ModuleType,
        arguments: list[Any],
        given: Mapping[str, object],
        weight: np.ndarray | None,
        slopes: list[np.ndarray],
        values: np.ndarray | None,
    ) -> Any:
        """The result of functions that divide by themselves; the next call like this one goes straight to them."""
        share, extra = 0.0, 1.0
        if self.reduction == "mean":
            share = self.count or 0.0
            extra = 0.0 if self.count is not None else module.divisor_turns(*arguments, 0.0, 1.0)
        name = "value_and_gradient" if self.gradient else "value"
        name += "_each" * (values is not None) + "_weighted" * (weight is not None)
        both = getattr(module, f"{name}_turns"), getattr(module, f"{name}_blocks")
        weights, last = [] if weight is None else [weight], [] if values is None else [values]
        every = (*arguments, *weights, share, extra, *slopes, *last)
        value = _computed(*both, every, len(arguments[0]) / module.SPREAD)
        if weight is None and (self.reduction != "mean" or self.count is not None):
            behind = [*arguments[len(self.inputs) :], share, extra]
            self._quick.expect(*both, module.SPREAD, given, behind)
        return self.dtype.type(value) if values is None else values

    def _is_plain(
        self, module: ModuleType, sizes: Mapping[str, int], weight: np.ndarray | None, values: np.ndarray | None
    ) -> bool:
        """Whether one function gives the sum or mean over rows: not where few long rows are for several threads."""
        if not hasattr(module, "value_at_once") or weight is not None or values is not None or sizes[BATCH] == 0:
            return False
        entries = self._entries(module, sizes)
        many = sizes[BATCH] >= _shared(entries)
        return many or get_num_threads() == 1 or sizes[BATCH] * entries < _SPREAD * BLOCK

    def _entries(self, module: ModuleType, sizes: Mapping[str, int]) -> int:
        """How many entries a row has that are looked at."""
        return 1 if module.ALONE and not self.gradient else sizes["class"]

    def _of_rows(
        self,
        module: ModuleType,
        arguments: list[Any],
        given: Mapping[str, object],
        sizes: Mapping[str, int],
        slopes: list[np.ndarray],
    ) -> Any:
        """The result of a function that divides by itself; the next call like this one goes straight to it."""
        share = (self.count or 0.0) if self.reduction == "mean" else 0.0
        behind = [*arguments[len(self.inputs) :], share, 0.0 if self.reduction == "mean" else 1.0]
        name = "value_and_gradient" if self.gradient else "value"
        name += "_narrow" * (sizes["class"] < NARROW)
        both = getattr(module, f"{name}_at_once"), getattr(module, f"{name}_at_once_blocks")
        entries = self._entries(module, sizes)
        many = _shared(entries)
        every = (*arguments[: len(self.inputs)], *behind, *slopes)
        size = sizes[BATCH] * entries / (_SPREAD * BLOCK)
        value = _computed(*both, every, size if sizes[BATCH] >= many else 0)
        self._quick.expect(*both, max(1, min(many, _SPREAD * BLOCK // entries)), given, behind)
        return self.dtype.type(value)

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
            tail.insert(0, self.dtype.type(scale))
        weights = self._none if weight is None else weight
        tail = [weights, weight is not None, *tail, self._none if values is None else values, values is not None]
        total = self._run(module, "value_and_gradient" if self.gradient else "value", [*arguments, *tail], sizes)
        if values is not None:
            return values
        with np.errstate(all="ignore"):  # 0/0 is nan, and a large sum infinite
            return self.dtype.type(total if divisor is None else np.float64(total) / divisor)

    def _run(self, module: ModuleType, name: str, arguments: list[Any], sizes: Mapping[str, int]) -> float:
        """The sum over everything, in pairs of blocks of points; the same for any number of threads."""
        rows = sizes.get(BATCH, 0)
        if sizes.get("class", NARROW) < NARROW and hasattr(module, f"{name}_narrow"):
            name = f"{name}_narrow"
        length = max(1, BLOCK * max(1, rows) // max(1, prod(sizes.values())))
        if self.batchwise or rows <= length:
            return float(getattr(module, name)(*arguments))
        sums = np.empty(-(-rows // length))
        turns, blocks = getattr(module, f"{name}_turns"), getattr(module, f"{name}_blocks")
        _computed(turns, blocks, (*arguments, length, sums), rows / (_SPREAD * length))
        with np.errstate(all="ignore"):
            return float(sums.sum())

    def _divisor(self, module: ModuleType, arguments: list[Any], sizes: Mapping[str, int]) -> float:
        if self.count is not None:
            return sizes[BATCH] * self.count
        return self._run(module, "divisor", [*arguments, self._none, False, self._none, False], sizes)

    def _outputs(self, out: Out, arguments: list[Any], weight: np.ndarray, rows: int) -> dict[str, np.ndarray]:
        """The arrays to be written, by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self._is_several:
            shapes["value"] = (rows,)
        inputs = dict(zip(self.inputs, arguments, strict=False))
        if self.gradient:
            shapes |= {f"gradient.{one}": inputs[one].shape for one in self.differentiated}
        given = named(out, [name for name in shapes if not self.gradient or name != "value"])
        check(given, shapes, self.dtype, {**inputs, "sample_weight": weight})
        return {name: given[name] if name in given else np.empty(shape, self.dtype) for name, shape in shapes.items()}


def _shared(classes: int) -> int:
    """How many rows several threads share as they are."""
    return SEVERAL * max(LANES, BLOCK // classes)


def _computed(turns: Any, blocks: Any, arguments: tuple[Any, ...], size: float) -> Any:
    """What `spread` gives, compiled where it has to be; a call worth less than threads stays with *turns*.

    The first long one goes to threads however it comes: whether *blocks* is compiled must not depend on the times.
    """
    ready = _ready(turns), _ready(blocks)
    if size < 1:
        return ready[0](*arguments)
    return spread(*ready, arguments, size if blocks.signatures else inf)


def _ready(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function*, compiled by one caller alone."""

    def called(*arguments: Any) -> Any:
        with first(function):
            return function(*arguments)

    return called
