"""The exact inputs of a case: given ones made into batches, drawn ones over the declared domains; all rounded once."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast, get_args

import numpy as np

from lossbench import spec, worst
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.points import domain_points, drift_points, pool_order, pool_points, timing_points
from lossbench.records import Case
from lossbench.text import BATCH, CLASS, Dtype, Number, Numbers, Reduction

if TYPE_CHECKING:
    from lossbench.formula.oracle import Certified

BLOCK = 1 << 20  # entries that are written out at a time
DIRECTION = (-1.0, -0.75, -0.5, 0.5, 0.75, 1.0)  # the entries of a direction
UNSAID = 3  # How long an axis is in an empty batch, whose rows do not say it themselves.


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a target is asked: exact inputs for one call.

    Attributes:
        arrays: Each input, along the axes of `Loss.along`: shape (n,) for an element or a label (int64), (n, classes)
            for a row; float64 for dtype float64 and float32 otherwise, which holds 16-bit numbers exactly.
        parameters: Rounded too; an array (classes,) for a row parameter, an int for a label parameter.
        sample_weight: Shape (n,), or None for ones.
        call: A divergence's own call, in place of the spec's.
        direction: Of a Hessian-vector product, by each differentiated input, in its shape; empty where none is wanted.
        timed: Whether its first call is timed, so that nothing compiled for another problem may serve it.
        order: Which entry of `arrays` each entry of the batch is, shape (n,), where few points make a long batch, of
            which only the value is asked; None where `arrays` are the batch.
    """

    loss: Loss
    dtype: str
    reduction: str
    arrays: dict[str, np.ndarray]
    parameters: dict[str, float | int | np.ndarray]
    sample_weight: np.ndarray | None = None
    call: str | None = None
    direction: Mapping[str, np.ndarray] = field(default_factory=dict)
    timed: bool = False
    order: np.ndarray | None = None

    @property
    def entries(self) -> int:
        """How many elements or rows the batch has."""
        return self.loss.lengths(self.arrays)[BATCH] if self.order is None else len(self.order)

    @cached_property
    def batch(self) -> dict[str, np.ndarray]:
        """Each input, written out where `order` says so."""
        if self.order is None:
            return self.arrays
        found = {name: np.empty((len(self.order), *one.shape[1:]), one.dtype) for name, one in self.arrays.items()}
        for start in range(0, len(self.order), BLOCK):  # NumPy makes indices eight times as large as these are
            block = slice(start, start + BLOCK)
            for name, array in self.arrays.items():
                found[name][block] = array[self.order[block]]
        return found

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each entry of `arrays` is in the batch."""
        found = np.zeros(self.loss.lengths(self.arrays)[BATCH], np.int64)
        order = np.arange(len(found)) if self.order is None else self.order
        for start in range(0, len(order), BLOCK):
            found += np.bincount(order[start : start + BLOCK], minlength=len(found))
        return found

    def certified(self, *, gradient: bool = True) -> Certified:
        """What the mathematics says of it, proved."""
        from lossbench.formula import oracle  # needs python-flint, which only the reference's worker has to have

        if self.order is not None and self.reduction != "none":
            formula, counts = self.loss.formula, self.counts
            return oracle.repeated(formula, self.arrays, self.parameters, counts, reduction=self.reduction)
        gradient = gradient and self.order is None
        return oracle.certify(
            self.loss.formula,
            self.arrays,
            self.parameters,
            reduction=self.reduction,
            sample_weight=self.sample_weight,
            gradient=gradient,
        )


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """*values* (float64) rounded once, to nearest even, to *dtype*; as float64 for float64, as float32 otherwise."""
    values = np.asarray(values, dtype=np.float64)
    if dtype == "float64":
        return values.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "float16":
            values = values.astype(np.float16).astype(np.float64)
        if dtype == "bfloat16":  # by hand: ml_dtypes rounds a double to float32 first, and so twice
            exponent = np.maximum(np.frexp(values)[1], -125) - 8
            values = np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent)
        return values.astype(np.float32)


def draw(loss: Loss, case: Case) -> Problem:
    """The inputs of *case*; the same bits in every process."""
    if case.points == "edge":
        return of_point(loss, loss.edges[case.index].at, case.dtype, case.reduction)
    if case.points == "divergence":
        one = loss.divergences[case.index]
        return of_point(loss, one.when, case.dtype, case.reduction, one.call)
    parameters = parameters_of(loss, case.parameters, dict(zip(loss.dimensions, case.shape, strict=True)))
    drawn_by = {
        "timing": timing_points,
        "drift": drift_points,
        "domain": domain_points,
        "length": pool_points,
        "worst": worst.points,
    }
    points = drawn_by[case.points]
    given, weight = points(loss, case, parameters)
    drawn = problem(
        loss,
        {**given, **parameters},
        dtype=case.dtype,
        reduction=case.reduction,
        sample_weight=weight if case.weighted else None,
    )
    order = pool_order(loss, case) if case.points == "length" else None
    return replace(drawn, timed=case.points == "timing", order=order)


def parameters_of(
    loss: Loss, said: Mapping[str, Number | list[Number]], sizes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Every parameter, those that are not *said* by default; a list is repeated until every class has a value."""
    found = {name: _float(said.get(name, one.default)) for name, one in loss.parameters.items()}
    rows = {name: np.resize(found[name], sizes[CLASS]) for name, one in loss.parameters.items() if one.kind == "row"}
    return {**found, **rows}


def directed(problem: Problem, case: Case) -> Problem:
    """The problem that *case* says, with a direction of numbers so short that every dtype has them."""
    names = [name for name, one in problem.loss.inputs.items() if one.grad]
    # Seeded apart from the points: those of the case stay as they are.
    random = np.random.RandomState([zlib.crc32(f"direction of {problem.loss.name}".encode()), case.index, *case.shape])
    drawn = {name: random.choice(DIRECTION, problem.arrays[name].shape) for name in names}
    return replace(problem, direction={name: rounded(array, problem.dtype) for name, array in drawn.items()})


def of_point(loss: Loss, at: Mapping[str, Numbers], dtype: str, reduction: str, call: str | None = None) -> Problem:
    """The batch that a table of exact numbers says: of one element or row, or of many where nested one level deeper.

    A loss of whole batches is always given one: its lists are nested as its axes are.
    """
    given = {name: _float(value) for name, value in at.items()}
    weight = given.pop("sample_weight", None)
    return problem(loss, given, dtype=dtype, reduction=reduction, sample_weight=weight, call=call)


def problem(
    loss: Loss,
    given: Mapping[str, object],
    *,
    dtype: str,
    reduction: str,
    sample_weight: object = None,
    call: str | None = None,
) -> Problem:
    """The problem that *given* inputs and parameters make; parameters left out take their defaults.

    A single element or row stands for all when another input has more.

    Raises:
        LossbenchError: A name is unknown or missing, a shape does not fit, or an option does not exist.
    """
    _check_option("dtype", dtype, get_args(Dtype))
    _check_option("reduction", reduction, get_args(Reduction))
    known = {**loss.inputs, **loss.parameters}
    for name in given:
        if name not in known:
            raise LossbenchError(f"{loss.name} takes no {name!r}; expected: {', '.join(known)}")
    missing = [name for name in loss.inputs if name not in given]
    if missing:
        raise LossbenchError(f"{loss.name} needs {missing[0]!r}; expected every input: {', '.join(loss.inputs)}")
    along = {name: loss.along(name) for name in loss.inputs}
    arrays = {name: _batch(loss, name, given[name], one.kind, along[name]) for name, one in loss.inputs.items()}
    if sample_weight is not None:
        if loss.pooled:
            raise LossbenchError(f"{loss.name} is one number for a whole batch; expected no sample_weight")
        if loss.accumulated:
            raise LossbenchError(f"{loss.name} takes its weights as an input; expected no sample_weight")
        along["sample_weight"] = (BATCH,)
        arrays["sample_weight"] = _batch(loss, "sample_weight", sample_weight, "real", (BATCH,))
    for name, one in loss.inputs.items():
        if one.domain == "update" and (arrays[name] < 0).any():
            raise LossbenchError(f"{name} has the number {arrays[name].min()}; expected those of updates: 0, 1, ...")
    sizes = {axis: _length(loss, axis, arrays, along) for axis in loss.dimensions}
    classes = sizes.get(CLASS, UNSAID)
    whole = {name: _whole(array, tuple(sizes[axis] for axis in along[name]), dtype) for name, array in arrays.items()}
    weight = whole.pop("sample_weight", None)
    parameters: dict[str, float | int | np.ndarray] = {}
    for name, parameter in loss.parameters.items():
        value = np.asarray(given.get(name, _float(parameter.default)), np.float64)
        if parameter.kind == "row":
            if value.shape not in ((), (1,), (classes,)):
                raise LossbenchError(f"{name} has shape {value.shape}; expected () or ({classes},), one per class")
            parameters[name] = rounded(np.broadcast_to(value, (classes,)), dtype)
        elif value.shape != ():
            raise LossbenchError(f"{name} has shape {value.shape}; expected one number")
        else:
            parameters[name] = int(value) if parameter.kind == "label" else float(rounded(value, dtype))
    return Problem(
        loss=loss,
        dtype=dtype,
        reduction=reduction,
        arrays=whole,
        parameters=parameters,
        sample_weight=weight,
        call=call,
    )


def _check_option(what: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise LossbenchError(f"unknown {what} {value!r}; expected one of: {', '.join(sorted(options))}")


def _batch(loss: Loss, name: str, value: object, kind: str, along: tuple[str, ...]) -> np.ndarray:
    """*value* as an array with the axes *along*; a single element or row becomes a batch of one."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise LossbenchError(f"{name} has lists of different lengths; expected equal ones") from None
    if array.size and array.dtype.kind not in "fiub":
        raise LossbenchError(f"{name} has the type {array.dtype}; expected numbers")
    if kind == "label":
        if np.any(array != np.rint(array)):
            raise LossbenchError(f"{name} has a label that is no whole number; expected class indices")
        array = array.astype(np.int64)
    else:
        array = array.astype(np.float64)
    if array.ndim == len(along):
        return array
    if array.size == 0 and 0 < array.ndim < len(along):  # an empty list does not say what it is a list of
        return array.reshape(*array.shape, *[UNSAID] * (len(along) - array.ndim))
    if array.ndim == len(along) - 1 and (name == "sample_weight" or not loss.batchwise):
        return array[None]
    raise LossbenchError(f"{name} has shape {array.shape}; expected {_shape(along)}")


def _shape(along: tuple[str, ...]) -> str:
    names = [{BATCH: "n", CLASS: "classes"}.get(axis, axis) for axis in along]
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _length(loss: Loss, axis: str, arrays: Mapping[str, np.ndarray], along: Mapping[str, tuple[str, ...]]) -> int:
    """How long *axis* is in all arrays that have it, where a length of 1 fits every other."""
    having = {name: array for name, array in arrays.items() if axis in along[name] and (array.size or axis == BATCH)}
    if not having:
        return UNSAID
    lengths = {name: array.shape[along[name].index(axis)] for name, array in having.items()}
    different = {length for length in lengths.values() if length != 1}
    if len(different) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        what = {BATCH: "entries", CLASS: "classes"}.get(axis, f"length along {axis}")
        raise LossbenchError(f"the inputs of {loss.name} differ in {what}: {found}; expected one number, or 1")
    return different.pop() if different else 1


def _whole(array: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """*array* repeated to *shape* and rounded."""
    repeated = np.zeros(shape, array.dtype) if array.size == 0 else np.broadcast_to(array, shape)
    return repeated.copy() if array.dtype == np.int64 else rounded(repeated, dtype)


def _float(value: object) -> np.ndarray:
    """Exact numbers (`Numbers`), each as its nearest double.

    Raises:
        LossbenchError: Lists of one level differ in their lengths.
    """

    def nearest(one: object) -> object:
        return [nearest(inner) for inner in one] if isinstance(one, list) else float(spec.exact(cast(Number, one)))

    try:
        return np.asarray(nearest(value), np.float64)
    except ValueError:
        raise LossbenchError(f"{value} has lists of different lengths; expected equal ones") from None
