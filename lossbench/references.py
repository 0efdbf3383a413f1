"""Reference values of a spec: certified, written into its file by a tool, and verified from then on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from lossbench import inputs, spec, tail
from lossbench.formula import oracle
from lossbench.loss import Loss
from lossbench.records import Case
from lossbench.text import CLASS, Input, Number, Numbers, Reference

POINTS = 6
CLASSES = 3
UPDATES = 4  # elements that are accumulated, where the loss is
DIGITS = 25
HEADER = tail.header("refresh")
GRID = 64  # points are multiples of 1/64: short as decimals, exact as floats


def compute(loss: Loss) -> list[Reference]:
    """Certified values and gradients at a few short points of the loss's domain, at the default parameters.

    Where the loss is one of whole batches each is a small batch.
    """
    found: list[Reference] = []
    for arrays in _drawn(loss):
        at = {name: _short(array, loss.inputs[name]) for name, array in arrays.items()}
        if at not in (one.at for one in found):
            found.append(_certified(loss, at))
        if len(found) == POINTS:
            break
    return found


def verify(loss: Loss) -> None:
    """Compare every reference value of the file with the oracle, digit by digit.

    Raises:
        SpecError: A digit is wrong; names file and line.
    """
    for index, written in enumerate(loss.references):
        exact = _certified(loss, written.at)
        for field in ("value", "gradient"):
            if getattr(written, field) != getattr(exact, field):
                raise loss.wrong(
                    f"references[{index}].{field}",
                    f"the reference {field} is {getattr(written, field)!r}; expected {getattr(exact, field)!r}; "
                    f"run `lossbench spec refresh {_said(loss.path)}`",
                )


def refresh(path: Path) -> Loss:
    """Write the reference values of the spec file at *path* anew and return what is read from it then."""
    loss = spec.load(path)
    if "[[references]]" in tail.body(loss.source):
        raise loss.wrong("references", "[[references]] outside the part that the tool writes; remove them")
    tail.write(path, tail.replaced(loss.source, "refresh", _lines(compute(loss))))
    spec.forget()
    return spec.load(path)


def _said(path: Path) -> str:
    """How a command names the loss at *path*."""
    return path.stem if path.parent == spec.FOLDER else str(path)


def _drawn(loss: Loss) -> Iterator[dict[str, np.ndarray]]:
    """The inputs of one point after the other, or of one whole batch."""
    sizes = loss.sizes.accuracy[0] if loss.has_sizes else {CLASS: CLASSES}
    shape = tuple(sizes[axis] for axis in loss.axes)
    case = Case(loss=loss.name, digest=loss.digest, dtype="float64", points="domain", shape=shape)
    if loss.batchwise:
        for index in range(8 * POINTS):
            yield inputs.draw(loss, replace(case, index=index)).arrays
    else:
        drawn = inputs.draw(loss, replace(case, shape=(8 * POINTS, *shape))).arrays
        for index in range(8 * POINTS):
            if loss.accumulated:
                yield {name: array[index : index + UPDATES] for name, array in drawn.items()}
            else:
                yield {name: array[index] for name, array in drawn.items()}


def _short(values: np.ndarray, given: Input) -> Numbers:
    if given.kind == "label":
        return values.tolist()  # type: ignore[no-any-return]
    rounded = np.round(np.clip(values, -GRID, GRID) * GRID) / GRID + 0.0  # no negative zero
    if given.domain in ("nonzero", "positive"):
        rounded = np.where(rounded == 0, 1 / GRID, rounded)
    return _nested(rounded, lambda at: _decimal(rounded[at]))


def _nested(like: np.ndarray, number: Callable[[tuple[int, ...]], Number]) -> Numbers:
    """The *number* at each index, in lists as deep as *like* has axes."""
    texts = np.empty(like.shape, object)
    for at in np.ndindex(like.shape):
        texts[at] = number(at)
    return texts.tolist()  # type: ignore[no-any-return]


def _decimal(value: float | np.ndarray) -> Number:
    return format(Decimal(float(value)).normalize(), "f")


def _certified(loss: Loss, at: dict[str, Numbers]) -> Reference:
    reduction = "mean" if loss.accumulated else "none"
    certified = inputs.of_point(loss, at, "float64", reduction).certified()
    gradients = {name: _texts(_alone(loss, enclosure)) for name, enclosure in certified.gradient.items()}
    return Reference(
        at=at,
        value=_texts(_alone(loss, certified.value)),
        gradient=next(iter(gradients.values())) if len(gradients) == 1 else gradients,
    )


def _alone(loss: Loss, enclosure: oracle.Enclosure) -> oracle.Enclosure:
    """The one point of a batch, or the whole batch."""
    if loss.batchwise or loss.accumulated:
        return enclosure
    fields = {field.name: getattr(enclosure, field.name)[0] for field in dataclasses.fields(enclosure)}
    return oracle.Enclosure(**fields)


def _texts(enclosure: oracle.Enclosure) -> Numbers:
    return _nested(np.asarray(enclosure.high), lambda at: _entry(enclosure, at))


def _entry(enclosure: oracle.Enclosure, at: tuple[int, ...]) -> Number:
    lower, upper = enclosure.lower[at], enclosure.upper[at]
    if lower < upper:  # a kink
        return f"[{_decimal(lower)}, {_decimal(upper)}]"
    return _text(enclosure.high[at], enclosure.low[at])


def _text(high: float, low: float) -> Number:
    if not np.isfinite(high):
        return str(float(high))
    both = Context(prec=80).add(Decimal(float(high)), Decimal(float(low)))
    return str(Context(prec=DIGITS).plus(both).normalize()).replace("E+", "e").replace("E", "e")


def _lines(references: list[Reference]) -> Iterator[str]:
    for one in references:
        yield "[[references]]"
        yield f"at = {_toml(one.at)}"
        yield f"value = {_toml(one.value)}"
        if one.gradient != {}:
            yield f"gradient = {_toml(one.gradient)}"
        yield ""


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
