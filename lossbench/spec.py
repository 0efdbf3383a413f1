"""Specs: how a loss's file is found, read and checked.

Raises `SpecError` with file and line for everything that is wrong in a file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path

from lossbench import toml
from lossbench.errors import SpecError
from lossbench.formula import Graph, Kind
from lossbench.formula.parse import parse
from lossbench.lines import line_of, shown
from lossbench.loss import DOMAINS, RESERVED, Divergence, Dtype, Edge, Loss, Number, Numbers, Reduction, Text

__all__ = ["FOLDER", "Dtype", "Loss", "Number", "Numbers", "Reduction", "aliases", "exact", "load", "load_all", "names"]

FOLDER = Path(__file__).parent / "specs"
INFINITE = ("inf", "-inf", "nan", "-0")  # numbers that are no fractions


def names() -> list[str]:
    """Every loss, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | Path) -> Loss:
    """The loss of that name or alias, or of the spec file at that path.

    Raises:
        SpecError: No such loss or file, or something in the file is wrong.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return _read(path)
    key = str(name)
    if key in names():
        return _read(FOLDER / f"{key}.toml")
    canonical = aliases().get(_folded(key))
    if canonical is None:
        near = difflib.get_close_matches(key, sorted({*names(), *aliases()}), n=3)
        hint = f"; did you mean: {', '.join(near)}" if near else ""
        raise SpecError(f"unknown loss {key!r}{hint}; `lossbench list` shows all")
    return _read(FOLDER / f"{canonical}.toml")


def load_all() -> list[Loss]:
    """Every loss."""
    return [load(name) for name in names()]


@cache
def aliases() -> Mapping[str, str]:
    """Each alias, folded to lower case without blanks, and the loss it means."""
    found: dict[str, str] = {}
    for name in names():
        loss = _read(FOLDER / f"{name}.toml")
        for alias in (name, loss.title, *loss.aliases):
            other = found.setdefault(_folded(alias), name)
            if other != name:
                raise SpecError(f"specs/{name}.toml: the alias {alias!r} already means {other}; remove it from one")
    return found


def start(name: str, folder: Path) -> Path:
    """Write a commented spec that already loads; return its path.

    Raises:
        SpecError: The name is no identifier in lower case, or the file exists.
    """
    _check_name(name)
    path = folder / f"{name}.toml"
    if path.exists():
        raise SpecError(f"{path} exists; choose another name or remove it")
    template = (Path(__file__).parent / "template.toml").read_text(encoding="utf-8")
    try:
        path.write_text(template.format(name=name, title=name.replace("_", " ").capitalize()), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out") from None
    return path


def forget() -> None:
    """Read every file again when it is next asked for."""
    _read.cache_clear()
    aliases.cache_clear()


@cache
def exact(text: Number) -> Fraction | float:
    """The number that *text* says: a fraction, or a float where it is infinite, nan or a negative zero.

    Raises:
        SpecError: *text* is no exact number.
    """
    if text in INFINITE:
        return float(text)
    value = parse(str(text), {}, Graph(), where=repr(text)).value
    if not isinstance(value, Fraction):
        raise SpecError(f"{text!r} is not an exact number; expected a decimal, a quotient, inf, -inf or nan")
    return value


def _folded(alias: str) -> str:
    return re.sub(r"[\s_-]+", "_", alias.strip().lower())


@cache
def _read(path: Path) -> Loss:
    source, text = toml.read(path, Text, SpecError)
    loss = Loss(
        **{field: getattr(text, field) for field in Text.__struct_fields__},
        name=path.stem,
        path=path,
        source=source,
    )
    _check(loss)
    return loss


def _check(loss: Loss) -> None:
    """What types cannot say."""
    _check_name(loss.name)
    for name in (*loss.inputs, *loss.parameters):
        if not name.isidentifier() or name in RESERVED:
            raise loss.wrong("inputs", f"the name {name!r} is reserved or no identifier; choose another")
    if not any(one.grad for one in loss.inputs.values()):
        raise loss.wrong("inputs", "no input has `grad = true`; expected at least one")
    for name, one in loss.inputs.items():
        if one.domain not in DOMAINS[one.kind]:
            options = ", ".join(DOMAINS[one.kind])
            reason = f"{name!r} is a {one.kind} of domain {one.domain}; expected one of: {options}"
            raise loss.wrong(f"inputs.{name}", reason)
    both = set(loss.inputs) & set(loss.parameters)
    if both:
        raise loss.wrong("parameters", f"{min(both)!r} is an input and a parameter; choose another name")
    if len(loss.edges) < 1 and loss.path.parent == FOLDER:
        raise loss.wrong("edges", "no [[edges]]; expected at least eight points with a decided answer")
    loss.formula  # noqa: B018  parsed here, so that a broken formula is found when a file is read
    for name, parameter in loss.parameters.items():
        _check_numbers(loss, f"parameters.{name}", [parameter.default, *parameter.values])
        if parameter.domain:
            _check_condition(loss, f"parameters.{name}", parameter.domain)
    for index, edge in enumerate(loss.edges):
        _check_point(loss, f"edges[{index}]", "at", edge.at)
        _check_declared(loss, f"edges[{index}]", edge)
    for index, reference in enumerate(loss.references):
        _check_point(loss, f"references[{index}]", "at", reference.at)
    for index, divergence in enumerate(loss.divergences):
        key = f"divergences[{index}]"
        _check_point(loss, key, "when", divergence.when)
        _check_declared(loss, key, divergence)
        if divergence.region:
            _check_condition(loss, f"{key}.region", divergence.region)
    for framework, call in loss.frameworks.items():
        if "sample_weight" not in (text := call.weighted or call.call) and "reduce(" not in text:
            raise loss.wrong(
                f"frameworks.{framework}",
                "the call takes no sample_weight; use it, wrap the call in reduce(...), or add `weighted`",
            )


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):  # it names pages, too
        raise SpecError(f"{name!r} is no name for a loss; expected lower case letters, digits and _, such as my_loss")


def _check_point(loss: Loss, key: str, field: str, at: Mapping[str, Numbers]) -> None:
    known = {*loss.inputs, *loss.parameters, "sample_weight"}
    strange, missing = set(at) - known, set(loss.inputs) - set(at)
    if strange:
        options = ", ".join(sorted(known))
        raise loss.wrong(key, f"unknown name {min(strange)!r} in {key}; expected one of: {options}")
    if missing:
        raise loss.wrong(key, f"{key} gives no {min(missing)!r}; expected every input")
    _check_numbers(loss, f"{key}.{field}", list(at.values()))


def _check_declared(loss: Loss, key: str, one: Edge | Divergence) -> None:
    """Values and gradients are constants of the formula language, gradients also intervals of them."""
    differentiated = [name for name, given in loss.inputs.items() if given.grad]
    gradients = one.gradient if isinstance(one.gradient, dict) else {differentiated[0]: one.gradient}
    strange = set(gradients) - set(differentiated)
    if strange:
        options = ", ".join(differentiated)
        raise loss.wrong(f"{key}.gradient", f"{min(strange)!r} has no gradient; expected one of: {options}")
    for text in _flat(one.value):
        _check_constant(loss, f"{key}.value", text)
    for text in _flat(list(gradients.values())):
        ends = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
        if text.startswith("[") and len(ends) != 2:
            raise loss.wrong(f"{key}.gradient", f"{text!r} is no interval; expected two numbers, such as [-1, 1]")
        for end in ends:
            _check_constant(loss, f"{key}.gradient", end)


def _check_constant(loss: Loss, key: str, text: str) -> None:
    try:
        kind = _kind(text.strip())
    except SpecError as error:
        reason = str(error).removeprefix(f"{text.strip()!r}:1: ")
        raise loss.wrong(key, f"{text!r} is no number: {reason}") from None
    if kind != "real":
        raise loss.wrong(key, f"{text!r} is a {kind}; expected a number")


@cache
def _kind(constant: str) -> Kind:
    return "real" if constant in INFINITE else parse(constant, {}, Graph(), where=repr(constant)).kind


def _check_condition(loss: Loss, key: str, text: str) -> None:
    line = line_of(loss.source, key)
    found = parse(text, loss.formula.names, Graph(), where=shown(loss.path), line=line)
    if found.kind not in ("bool", "mask"):
        raise loss.wrong(key, f"{text!r} is a {found.kind}; expected a condition")


def _check_numbers(loss: Loss, key: str, value: object) -> None:
    for text in _flat(value):
        try:
            exact(text)
        except SpecError as error:
            _check_constant(loss, key, text)
            raise loss.wrong(key, str(error)) from None


def _flat(value: object) -> Iterator[str]:
    """Every number as it is written; none where there is none."""
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif value is not None:
        yield str(value)
