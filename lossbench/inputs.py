"""The exact inputs of a case: given ones made into batches, drawn ones over the declared domains; all rounded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np

from lossbench import spec
from lossbench.errors import LossbenchError
from lossbench.loss import Dtype, Loss, Number, Numbers, Reduction
from lossbench.points import domain_points, timing_points
from lossbench.records import Case

CLASSES = 3  # of rows in an empty batch, which say no number of classes themselves


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a target is asked: exact inputs for one call.

    Attributes:
        arrays: Each input: shape (n,) for an element or a label (int64), (n, classes) for a row; float64 for
            dtype float64 and float32 otherwise, which holds 16-bit numbers exactly.
        parameters: Rounded too; an array (classes,) for a row parameter, an int for a label parameter.
        sample_weight: Shape (n,), or None for ones.
        call: A divergence's own call, in place of the spec's.
    """

    loss: Loss
    dtype: str
    reduction: str
    arrays: dict[str, np.ndarray]
    parameters: dict[str, float | int | np.ndarray]
    sample_weight: np.ndarray | None = None
    call: str | None = None


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
    """The inputs of *case*; the same bits in every process.

    A list that a row parameter has is repeated until every class has a value.
    """
    if case.points == "edge":
        return of_point(loss, loss.edges[case.index].at, case.dtype, case.reduction)
    if case.points == "divergence":
        one = loss.divergences[case.index]
        return of_point(loss, one.when, case.dtype, case.reduction, one.call)
    parameters = {name: _float(case.parameters.get(name, one.default)) for name, one in loss.parameters.items()}
    for name, value in parameters.items():
        if loss.parameters[name].kind == "row":
            parameters[name] = np.resize(value, case.shape[-1:])
    points = timing_points if case.points == "timing" else domain_points
    given, weight = points(loss, case, parameters)
    return problem(
        loss,
        {**given, **parameters},
        dtype=case.dtype,
        reduction=case.reduction,
        sample_weight=weight if case.weighted else None,
    )


def of_point(loss: Loss, at: Mapping[str, Numbers], dtype: str, reduction: str, call: str | None = None) -> Problem:
    """The batch that a table of exact numbers says: of one element or row, or of many where nested one level deeper."""
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
    arrays = {name: _batch(name, given[name], one.kind) for name, one in loss.inputs.items()}
    weight = None if sample_weight is None else _batch("sample_weight", sample_weight, "real")
    both = arrays if weight is None else {**arrays, "sample_weight": weight}
    size = _one_length(loss, {name: array.shape[0] for name, array in both.items()}, "entries")
    rows = {name: array.shape[1] for name, array in arrays.items() if array.ndim == 2}
    empty = all(array.size == 0 for array in arrays.values() if array.ndim == 2)
    classes = CLASSES if not rows or empty else _one_length(loss, rows, "classes")

    def whole(array: np.ndarray) -> np.ndarray:
        shape = (size, classes) if array.ndim == 2 else (size,)
        repeated = np.zeros(shape, array.dtype) if array.size == 0 else np.broadcast_to(array, shape)
        return repeated.copy() if array.dtype == np.int64 else rounded(repeated, dtype)

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
        arrays={name: whole(array) for name, array in arrays.items()},
        parameters=parameters,
        sample_weight=None if weight is None else whole(weight),
        call=call,
    )


def _check_option(what: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise LossbenchError(f"unknown {what} {value!r}; expected one of: {', '.join(sorted(options))}")


def _batch(name: str, value: object, kind: str) -> np.ndarray:
    """*value* as a batch: shape (n, classes) for a row, else (n,)."""
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "fiub":
        raise LossbenchError(f"{name} has the type {array.dtype}; expected numbers")
    if kind == "label":
        if np.any(array != np.rint(array)):
            raise LossbenchError(f"{name} has a label that is no whole number; expected class indices")
        array = array.astype(np.int64)
    else:
        array = array.astype(np.float64)
    dimensions = 2 if kind == "row" else 1
    if array.ndim == dimensions - 1:
        return array.reshape(0, CLASSES) if kind == "row" and array.size == 0 else array[None]
    if array.ndim == dimensions:
        return array
    raise LossbenchError(f"{name} has shape {array.shape}; expected {'(n, classes)' if kind == 'row' else '(n,)'}")


def _one_length(loss: Loss, lengths: dict[str, int], what: str) -> int:
    """The length that all have, where a length of 1 fits every other."""
    different = {length for length in lengths.values() if length != 1}
    if len(different) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise LossbenchError(f"the inputs of {loss.name} differ in {what}: {found}; expected one number, or 1")
    return different.pop() if different else 1


def _float(value: object) -> np.ndarray:
    """Exact numbers (`Numbers`), each as its nearest double."""

    def nearest(one: object) -> object:
        return [nearest(inner) for inner in one] if isinstance(one, list) else float(spec.exact(cast(Number, one)))

    return np.asarray(nearest(value), np.float64)
