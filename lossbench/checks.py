"""What types cannot say of a spec: names, axes, sizes, points and numbers, checked whenever a file is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path

from lossbench.errors import SpecError
from lossbench.formula import Graph, Kind
from lossbench.formula.calls import CONSTANTS
from lossbench.formula.node import described
from lossbench.formula.parse import parse
from lossbench.lines import line_of, shown
from lossbench.loss import Loss
from lossbench.text import BATCH, DOMAINS, RESERVED, Divergence, Edge, Input, Number, Numbers, axes_of

INFINITE = ("inf", "-inf", "nan", "-0")  # numbers that are no fractions


def check(loss: Loss) -> None:
    """Find what is wrong in a file although its types are right.

    Raises:
        SpecError: Something is; names file and line.
    """
    check_name(loss.name)
    for name in (*loss.inputs, *loss.parameters):
        if not name.isidentifier() or name in (*RESERVED, *CONSTANTS):
            raise loss.wrong("inputs", f"the name {name!r} is reserved or no identifier; choose another")
    if not loss.accumulated and not any(one.grad for one in loss.inputs.values()):
        raise loss.wrong("inputs", "no input has `grad = true`; expected at least one")
    for name, one in loss.inputs.items():
        of_rows = DOMAINS["row"] if one.kind == "real" and set(axes_of(one)) - {BATCH} else ()  # along the last axis
        domains = {*DOMAINS[one.kind], *of_rows}
        if one.domain not in domains:
            options = ", ".join(sorted(domains))
            reason = f"{name!r} is a {one.kind} of domain {one.domain}; expected one of: {options}"
            raise loss.wrong(f"inputs.{name}", reason)
        _check_axes(loss, name, one)
    _check_sizes(loss)
    _check_states(loss)
    both = set(loss.inputs) & set(loss.parameters)
    if both:
        raise loss.wrong("parameters", f"{min(both)!r} is an input and a parameter; choose another name")
    if len(loss.edges) < 1 and loss.path.parent == Path(__file__).parent / "specs":
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
        if loss.accumulated and divergence.call is not None:
            raise loss.wrong(f"{key}.call", "a state takes several calls; expected a divergence of the framework's own")
        if divergence.region:
            _check_condition(loss, f"{key}.region", divergence.region)
    for framework, call in loss.frameworks.items():
        takes = "sample_weight" in (text := call.weighted or call.call) or "reduce(" in text
        if loss.pooled and (call.weighted or "sample_weight" in text):
            raise loss.wrong(f"frameworks.{framework}", f"the call takes sample_weight; {_NO_WEIGHTS}")
        if not takes and not loss.pooled and not loss.accumulated and call.code is None:
            raise loss.wrong(
                f"frameworks.{framework}",
                "the call takes no sample_weight; use it, wrap the call in reduce(...), or add `weighted`",
            )


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


_NO_WEIGHTS = "expected none: the loss is one number for a whole batch"


def _check_axes(loss: Loss, name: str, one: Input) -> None:
    key, axes = f"inputs.{name}", axes_of(one)
    if one.kind == "row" and one.axes is not None:
        raise loss.wrong(key, f'{name!r} is a row, which has the axis class; say kind = "real" beside `axes`')
    for axis in axes:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", axis):
            raise loss.wrong(key, f"{axis!r} is no name for an axis; expected lower case letters, digits and _")
    if len(set(axes)) < len(axes):
        raise loss.wrong(key, f"{name!r} has an axis twice: {', '.join(axes)}; expected each once")
    if BATCH in axes[1:]:
        raise loss.wrong(key, f"{name!r} has the axes {', '.join(axes)}; expected batch as the first of them")
    if one.kind != "label" or one.domain in ("id", "update"):
        return
    if one.of not in loss.dimensions:
        options = ", ".join(loss.dimensions)
        reason = (
            f"{name!r} is a {one.domain} of the axis {one.of!r}, which no input has; expected `of` one of: {options}"
        )
        raise loss.wrong(key, f'{reason}, or domain = "id"')


def _check_states(loss: Loss) -> None:
    """A metric is a mean of elements, each of one update, and its calls work on a state; those of others do not."""
    updates = [name for name, one in loss.inputs.items() if one.domain == "update"]
    if loss.accumulated != (len(updates) == 1):
        reason = f"{len(updates)} inputs of the domain update in the family {loss.family}"
        raise loss.wrong("inputs", f"{reason}; expected one in a metric, and none in any other loss")
    if loss.accumulated and (loss.axes or any(one.grad for one in loss.inputs.values())):
        raise loss.wrong("inputs", "a metric is kept in a state; expected elements without axes and gradients")
    for framework, call in loss.frameworks.items():
        if loss.accumulated and (call.update is None or call.result is None):
            raise loss.wrong(f"frameworks.{framework}", "the call makes a state; expected `update` and `result` too")
        if not loss.accumulated and (call.update, call.result, call.reset) != (None, None, None):
            reason = f"a {loss.family} loss is no state; expected neither `update`, `result` nor `reset`"
            raise loss.wrong(f"frameworks.{framework}", reason)
    for index, twin in enumerate(loss.twins):
        try:
            parse(twin.gives, {"mean": "real"}, Graph(), where=twin.name)
        except SpecError as error:
            raise loss.wrong(f"twins[{index}].gives", str(error)) from None


def _check_sizes(loss: Loss) -> None:
    for field, axes in (("accuracy", loss.axes), ("timing", loss.dimensions)):
        key, given = f"sizes.{field}", getattr(loss.sizes, field)
        if not loss.has_sizes and given:
            raise loss.wrong(key, "the loss has no axes but that of rows; expected no [sizes]: suites say them")
        if loss.has_sizes and not given:
            raise loss.wrong("sizes", f"no sizes for {field} runs; expected {field} = [{{ {_example(axes)} }}]")
        for sizes in given:
            if set(sizes) != set(axes) or min(sizes.values()) < 1:
                said = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
                raise loss.wrong(key, f"the sizes are {said}; expected positive ones: {_example(axes)}")


def _example(axes: tuple[str, ...]) -> str:
    return ", ".join(f"{axis} = 4" for axis in axes)


def check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):  # it names pages, too
        raise SpecError(f"{name!r} is no name for a loss; expected lower case letters, digits and _, such as my_loss")


def _check_point(loss: Loss, key: str, field: str, at: Mapping[str, Numbers]) -> None:
    if loss.pooled and "sample_weight" in at:
        raise loss.wrong(f"{key}.{field}", f"{key} gives sample_weight; {_NO_WEIGHTS}")
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
    gradients = one.gradient if isinstance(one.gradient, dict) else dict.fromkeys(differentiated[:1], one.gradient)
    strange = set(gradients) - set(differentiated)
    if strange or (one.gradient is not None and not differentiated):
        if not differentiated:
            raise loss.wrong(f"{key}.gradient", "no input is differentiated; expected no gradient")
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
    if found.type != "truth":
        raise loss.wrong(key, f"{text!r} is {described(found)}; expected a condition")


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
