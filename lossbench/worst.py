"""The worst inputs that searches have found: files beside the specs, written by the tool, asked again in later runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import msgspec
import numpy as np

from lossbench import lines, shown, toml
from lossbench.checks import exact
from lossbench.errors import SpecError
from lossbench.loss import Loss
from lossbench.records import Case
from lossbench.text import BATCH, Dtype, Number, Table
from lossbench.ulp import FORMATS, exponent

FOLDER = "worst"  # beside the specs
HEAD = "# Written by `lossbench sweep --keep`; do not edit by hand.\n"

# A float as `float.fromhex` reads it, or a label; a row, a table of them.
Exactly = str | int
Given = Exactly | list[Exactly | list[Exactly | list[Exactly | list[Exactly]]]]


class Worst(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input at which a target was at its worst, and how bad it was then.

    Attributes:
        target: Framework, mode and device, `torch:eager:cpu`.
        at: Every input, bit by bit, of one element, row or table, or of one whole batch.
        parameters: Those that are not at their defaults, as exact numbers before they are rounded to the dtype.
        ulps: The error in ulps of the exact number; infinite where it is one of kind, nan for a number or the like.
        conditioned: The same after conditioning, by which it is judged.
        got, exact: What came out there and what must, of the worst entry.
        method: How it was found.
        found: With which version of the framework.
    """

    dtype: Dtype
    target: str
    quantity: Literal["value", "gradient"]
    at: dict[str, Given]
    parameters: dict[str, Number | list[Number]] = {}
    ulps: float
    conditioned: float
    got: str
    exact: str
    method: str
    found: str


class _File(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    worst: list[Worst] = []


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Kept inputs of one dtype that go into one call: none of them twice.

    Attributes:
        shape: As that of a drawn case.
        arrays: Each input, the batch's axis first where entries have their own.
        kept: Of each entry of the batch, or of the one whole batch, what was found there.
    """

    parameters: dict[str, Number | list[Number]]
    shape: tuple[int, ...]
    arrays: Mapping[str, np.ndarray]
    kept: Sequence[Sequence[Worst]]


def path_of(loss: Loss) -> Path:
    """Where the worst inputs of *loss* are kept; the file need not be there."""
    return loss.path.parent / FOLDER / loss.path.name


def kept(loss: Loss) -> list[Worst]:
    """Every worst input of *loss*, in the order of its file; none where there is no file.

    Raises:
        SpecError: Something is wrong in the file; names file and line.
    """
    path = path_of(loss)
    if not path.exists():
        return []
    source, found = toml.read(path, _File, SpecError)
    for index, one in enumerate(found.worst):
        for key, reason in _faults(loss, one):
            line = lines.line_of(source, f"worst[{index}].{key}")
            again = f"search again with `lossbench sweep {loss.name} --search --keep`"
            raise SpecError(f"{lines.shown(path)}:{line}: {reason}; {again}")
    return found.worst


def batches(loss: Loss, dtype: str) -> list[Batch]:
    """What is kept of *dtype*, as few batches as parameters and shapes allow; each whole batch by itself."""
    groups: dict[str, dict[str, list[Worst]]] = {}
    for one in kept(loss):
        if one.dtype == dtype:
            at = _said(one.at)
            sizes = loss.lengths(_arrays(loss, [one]))
            group = at if loss.batchwise else str([size for axis, size in sizes.items() if axis != BATCH])
            groups.setdefault(f"{_said(one.parameters)} {group}", {}).setdefault(at, []).append(one)
    return [_batch(loss, list(points.values())) for points in groups.values()]


def points(loss: Loss, case: Case, parameters: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each input of the batch that *case* asks for, as other draws give them; its weights are ones."""
    arrays = batches(loss, case.dtype)[case.index].arrays
    return dict(arrays), np.ones(loss.lengths(arrays)[BATCH])


def merged(old: Iterable[Worst], new: Iterable[Worst]) -> list[Worst]:
    """What to keep of both: of each dtype, target and quantity the worst, the worst after conditioning, and the worst
    of kind; those of *new* replace what *old* has of one target at the same input, because they are what it gives now.
    """
    points: dict[tuple[str, str, str, str], Worst] = {}
    for one in (*old, *new):
        points[one.dtype, one.target, one.quantity, _said([one.at, one.parameters])] = one
    rivals: dict[tuple[str, str, str], list[Worst]] = {}
    for (dtype, target, quantity, _), one in sorted(points.items()):
        rivals.setdefault((target, dtype, quantity), []).append(one)
    found: list[Worst] = []
    for group in rivals.values():
        numbers = [one for one in group if one.ulps < np.inf]
        chosen = [one for one in group if one.ulps == np.inf][:1]
        if numbers:
            chosen += [max(numbers, key=lambda one: one.ulps), max(numbers, key=lambda one: one.conditioned)]
        found += [one for place, one in enumerate(chosen) if one not in chosen[:place]]
    return sorted(found, key=lambda one: (one.dtype, one.target, one.quantity, -one.ulps, -one.conditioned))


def write(loss: Loss, worst: Sequence[Worst]) -> Path:
    """Keep these, and no others, as the worst inputs of *loss*; the file, which is gone if there are none.

    Raises:
        SpecError: The file cannot be written.
    """
    path = path_of(loss)
    text = HEAD + "".join(f"\n[[worst]]\n{_lines(one)}" for one in worst)
    try:
        if not worst:
            path.unlink(missing_ok=True)
            return path
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        where = f"{lines.shown(path)}: cannot be written ({error.strerror})"
        raise SpecError(f"{where}; keep the spec where the tool may write") from None
    return path


def given(array: np.ndarray) -> Given:
    """An input bit by bit, as `Worst.at` has it."""
    return cast(Given, _texts(array.tolist()))


def _texts(value: object) -> object:
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return value if isinstance(value, int) else shown.hexadecimal(cast(float, value))


def _lines(one: Worst) -> str:
    table = msgspec.to_builtins(one)
    return "".join(f"{name} = {_toml(value)}\n" for name, value in table.items() if value != {})


def _toml(value: object) -> str:
    match value:
        case str():
            return msgspec.json.encode(value).decode()  # TOML's basic strings are JSON's
        case dict():
            return f"{{ {', '.join(f'{name} = {_toml(one)}' for name, one in value.items())} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _said(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _faults(loss: Loss, one: Worst) -> Iterable[tuple[str, str]]:
    """What is wrong with an entry although its types are right: the key, and the reason."""
    if set(one.at) != set(loss.inputs):
        yield "at", f"at says {', '.join(one.at)}; expected every input of {loss.name}: {', '.join(loss.inputs)}"
        return
    for name, value in one.parameters.items():
        if name not in loss.parameters:
            yield "parameters", f"{loss.name} has no parameter {name!r}"
            return
        for number in value if isinstance(value, list) else [value]:
            try:
                exact(number)
            except SpecError as error:
                yield "parameters", str(error)
                return
    sizes: dict[str, int] = {}
    for name, said in one.at.items():
        label = loss.inputs[name].kind == "label"
        try:
            array = _array(said, label=label)
        except (TypeError, ValueError, OverflowError):
            yield "at", f"{name} is {said!r}; expected {_EXPECTED[label]}"
            return
        along = loss.along(name)[not loss.batchwise :]
        known = [sizes.setdefault(axis, size) for axis, size in zip(along, array.shape, strict=False)]
        if array.shape != (*known,) or len(along) != array.ndim:
            yield "at", f"{name} has shape {array.shape}; expected one along {along or 'no axis'} that fits the others"
            return
        if not label and not _has(array, one.dtype):
            yield "at", f"{name} is {said!r}; expected finite numbers of {one.dtype}"
            return


_EXPECTED = {True: "labels: whole numbers", False: 'floats in hexadecimal, such as "0x1.8p+1"'}


def _has(array: np.ndarray, dtype: str) -> bool:
    if not np.all(np.abs(array) <= FORMATS[dtype].largest):  # nan neither
        return False
    places = np.ldexp(array, -exponent(array, np.zeros(array.shape), dtype))
    return bool(np.all(places == np.rint(places)))


def _array(value: Given, *, label: bool) -> np.ndarray:
    def read(one: object) -> object:
        if isinstance(one, list):
            return [read(inner) for inner in one]
        if label != isinstance(one, int):
            raise ValueError
        return one if label else float.fromhex(cast(str, one))

    return np.array(read(value), np.int64 if label else np.float64)


def _arrays(loss: Loss, points: Sequence[Worst]) -> dict[str, np.ndarray]:
    found = {}
    for name, one in loss.inputs.items():
        arrays = [_array(point.at[name], label=one.kind == "label") for point in points]
        found[name] = arrays[0] if loss.batchwise else np.stack(arrays)
    return found


def _batch(loss: Loss, points: list[list[Worst]]) -> Batch:
    arrays = _arrays(loss, [found[0] for found in points])
    sizes = loss.lengths(arrays)
    shape = tuple(sizes[axis] for axis in loss.dimensions)
    return Batch(parameters=points[0][0].parameters, shape=shape, arrays=arrays, kept=points)
