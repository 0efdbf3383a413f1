"""Reference values of a spec: certified, written into its file by a tool, and verified from then on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Context, Decimal
from pathlib import Path

import numpy as np

from lossbench import inputs, spec
from lossbench.errors import SpecError
from lossbench.formula import oracle
from lossbench.loss import Input, Loss, Number, Numbers, Reference
from lossbench.records import Case

POINTS = 6
DIGITS = 25
GRID = 64  # points are multiples of 1/64: short as decimals, exact as floats
HEADER = "# Written by `lossbench spec refresh`; do not edit by hand."
_TAIL = re.compile(rf"\n*{re.escape(HEADER)}.*\Z", re.DOTALL)


def compute(loss: Loss) -> list[Reference]:
    """Certified values and gradients at a few short points of the loss's domain, at the default parameters."""
    case = Case(loss=loss.name, digest=loss.digest, dtype="float64", points="domain", shape=_shape(loss))
    drawn = inputs.draw(loss, case)
    found: list[Reference] = []
    for index in range(_shape(loss)[0]):
        at = {name: _short(array[index], loss.inputs[name]) for name, array in drawn.arrays.items()}
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
    body = _TAIL.sub("", loss.source).rstrip()
    if "[[references]]" in body:
        raise loss.wrong("references", "[[references]] outside the part that the tool writes; remove them")
    lines = [body, "", HEADER, *_lines(compute(loss))]
    text = "\n".join(lines) + "\n"
    beside = path.with_suffix(".toml.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise SpecError(
            f"{beside}: cannot be written ({error.strerror}); refresh a copy in a folder of your own"
        ) from None
    spec.forget()
    return spec.load(path)


def _said(path: Path) -> str:
    """How a command names the loss at *path*."""
    return path.stem if path.parent == spec.FOLDER else str(path)


def _shape(loss: Loss) -> tuple[int, ...]:
    return (8 * POINTS, 3) if loss.formula.has_rows else (8 * POINTS,)


def _short(value: np.ndarray, given: Input) -> Numbers:
    if given.kind == "label":
        return int(value)
    rounded = np.round(np.clip(value, -GRID, GRID) * GRID) / GRID + 0.0  # no negative zero
    if given.domain in ("nonzero", "positive"):
        rounded = np.where(rounded == 0, 1 / GRID, rounded)
    if given.kind == "row":
        return [_decimal(one) for one in rounded]
    return _decimal(rounded)


def _decimal(value: float | np.ndarray) -> Number:
    return format(Decimal(float(value)).normalize(), "f")


def _certified(loss: Loss, at: dict[str, Numbers]) -> Reference:
    problem = inputs.of_point(loss, at, "float64", "none")
    certified = oracle.certify(loss.formula, problem.arrays, problem.parameters)
    gradients = {name: _texts(enclosure, loss.inputs[name].kind) for name, enclosure in certified.gradient.items()}
    return Reference(
        at=at,
        value=_text(certified.value.high[0], certified.value.low[0]),
        gradient=next(iter(gradients.values())) if len(gradients) == 1 else gradients,
    )


def _texts(enclosure: oracle.Enclosure, kind: str) -> Numbers:
    if kind != "row":
        return _entry(enclosure, (0,))
    return [_entry(enclosure, (0, column)) for column in range(enclosure.high.shape[1])]


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
        yield f"gradient = {_toml(one.gradient)}"
        yield ""


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
