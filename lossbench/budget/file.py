"""Budgets as files: one order and one line for each case, so that a diff shows what became better or worse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from lossbench import toml
from lossbench.budget.model import COUNTS, Budget, Cell, Errors, Kept, whole
from lossbench.errors import LossbenchError
from lossbench.text import Dtype

HEADER = "# Written by `lossbench budget write`; do not edit by hand."


def load(path: Path) -> Budget:
    """The budget in that file.

    Raises:
        LossbenchError: It is not there, or is no budget.
    """
    return toml.read(path, Budget, LossbenchError)[1]


def write(budget: Budget, path: Path) -> None:
    """Write *budget* into the file at *path*, at once or not at all.

    Raises:
        LossbenchError: It cannot be written.
    """
    beside = path.with_suffix(".toml.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text(budget), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise LossbenchError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None


def text(budget: Budget) -> str:
    """The file of *budget*: in one order whatever was measured first, a line for each case."""
    return "\n".join(_lines(budget)) + "\n"


def _lines(budget: Budget) -> Iterator[str]:
    yield HEADER
    for name in ("framework", "version", "processor"):
        yield f"{name} = {json.dumps(getattr(budget, name))}"
    yield "\n[versions]"
    yield from (f"{_key(name)} = {json.dumps(version)}" for name, version in sorted(budget.versions.items()))
    order = get_args(Dtype)
    for loss, mode, dtype, cell in sorted(budget.each(), key=lambda one: (one[0], one[1], order.index(one[2]))):
        if cell:
            yield f"\n[cells.{_key(loss)}.{_key(mode)}.{dtype}]"
            yield f"# at most: {_most(cell)}"
            yield from (f"{_key(name)} = {_kept(cell[name])}" for name in sorted(cell, key=_natural))


def _most(cell: Cell) -> str:
    """What people want to know of a cell: the largest error of value and of gradient, and how many mismatches."""
    cases = [whole(one) for one in cell.values()]
    parts = []
    for what in ("value", "gradient"):
        errors = [getattr(one, what) for one in cases]
        wrong = sum(one.nan + one.inf + one.finite for one in errors)
        parts.append(f"{what} {max(one.ulp for one in errors):g} ulp" + (f", {wrong} mismatches" if wrong else ""))
    return "; ".join(parts)


def _kept(one: Kept | str) -> str:
    if isinstance(one, str):
        return json.dumps(one)
    parts = [f"inputs = {json.dumps(one.inputs)}"]
    for name, errors in (("value", one.value), ("gradient", one.gradient)):
        said = {key: getattr(errors, key) for key in Errors.__struct_fields__}
        plain = Errors()
        told = [
            f"{key} = {number if key in COUNTS else f'{number:g}'}"
            for key, number in said.items()
            if number != getattr(plain, key)
        ]
        parts += [f"{name} = {{ {', '.join(told)} }}"] if told else []
    return f"{{ {', '.join(parts)} }}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
