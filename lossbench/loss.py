"""What a spec file says of one loss, as types; its formula is parsed when it is first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lossbench.errors import SpecError
from lossbench.formula import Formula, Graph, Kind, Node, Wide, gradient
from lossbench.formula.graph import Variable, topological
from lossbench.formula.node import described, quoted, variable_of
from lossbench.formula.parse import parse
from lossbench.lines import line_of, shown
from lossbench.text import BATCH, CLASS, Text, axes_of

if TYPE_CHECKING:
    import numpy as np


class Loss(Text, frozen=True, kw_only=True, dict=True):
    """One loss: the mathematical function and everything that its file says of it.

    Attributes:
        name: The file's name.
        path: The file.
        source: The file's whole text.
    """

    name: str
    path: Path
    source: str

    @cached_property
    def formula(self) -> Formula:
        """The graphs of the definition, its gradients, and their forms for floating point."""
        return _formula(self)

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Every axis of the inputs, in the order in which they first appear; ("class",) for a loss of rows."""
        return tuple(dict.fromkeys(axis for one in self.inputs.values() for axis in axes_of(one)))

    @property
    def batchwise(self) -> bool:
        """Whether its one point is a whole batch."""
        return BATCH in self.axes

    @property
    def pooled(self) -> bool:
        """Whether it is one number for a whole batch, which is left as it is by every reduction."""
        return self.batchwise and not self.formula.definition.axes

    @property
    def accumulated(self) -> bool:
        """Whether frameworks keep it in a state: a mean that updates bring up to date, without gradients."""
        return self.family == "metric"

    @property
    def has_sizes(self) -> bool:
        """Whether its file says how long its axes are: runs choose that of elements and rows themselves."""
        return self.axes not in ((), (CLASS,))

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The axes of a drawn case's shape."""
        return self.axes if self.batchwise else (BATCH, *self.axes)

    def along(self, name: str) -> tuple[str, ...]:
        """The axes of the array that holds an input: the batch is the first where entries have their own."""
        own = axes_of(self.inputs[name])
        return own if self.batchwise else (BATCH, *own)

    def lengths(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """How long each axis is where these are the inputs; "batch" is always among them."""
        return {
            axis: size for name in self.inputs for axis, size in zip(self.along(name), arrays[name].shape, strict=True)
        }

    def elements(self, shape: tuple[int, ...]) -> int:
        """How many numbers the largest input of a drawn case of that shape has."""
        sizes = dict(zip(self.dimensions, shape, strict=True))
        return max(prod(sizes[axis] for axis in self.along(name)) for name in self.inputs)

    @cached_property
    def digest(self) -> str:
        """Of what is measured: inputs, parameters, formula and calls; an edited comment or edge keeps it."""
        parts = (self.inputs, self.parameters, self.formula_text, self.frameworks)
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]

    def __repr__(self) -> str:
        """Its name, title and formula."""
        return f"{self.name}: {self.title}\n{self.formula_text.definition.strip()}"

    def _repr_html_(self) -> str:
        from lossbench.card import Table, card  # templates, which workers do without
        from lossbench.formula import typeset

        inputs = [(name, one.kind, one.domain, one.meaning) for name, one in self.inputs.items()]
        parameters = [(name, one.default, one.domain, one.meaning) for name, one in self.parameters.items()]
        calls = [(name, call.form, call.call) for name, call in self.frameworks.items()]
        tables = [
            Table(headings=("input", "kind", "domain", "meaning"), rows=inputs),
            Table(headings=("parameter", "default", "domain", "meaning"), rows=parameters),
            Table(headings=("framework", "form", "call"), rows=calls),
        ]
        return card(
            f"{self.title} ({self.name})",
            self.summary,
            mathml=typeset.mathml(self),
            tables=[one for one in tables if one.rows],
        )

    def wrong(self, key: str, reason: str) -> SpecError:
        """An error about what stands at the dotted *key* of the file."""
        return SpecError(f"{shown(self.path)}:{line_of(self.source, key)}: {reason}")


def _formula(loss: Loss) -> Formula:
    graph = Graph()
    names: dict[str, Kind | Variable] = {}
    for name, one in (loss.inputs | loss.parameters).items():
        kind = Variable("label" if one.kind == "label" else "number", axes_of(one))
        names[name] = one.kind if variable_of(one.kind) == kind else kind

    def parsed(text: str, key: str) -> Node:
        line = line_of(loss.source, f"formula.{key}")
        first = loss.source.splitlines()[line - 1] if loss.source else ""
        if first.rstrip().endswith(("""'''""", '"""')):
            line += 1
        return parse(text, names, graph, where=shown(loss.path), line=line)

    def one_number(node: Node, key: str) -> Node:
        if node.type != "number" or node.axes not in ((), (BATCH,) if loss.batchwise else ()):
            expected = f'one number, or numbers along "{BATCH}"' if loss.batchwise else "one number per element or row"
            raise loss.wrong(f"formula.{key}", f"the {key} is {described(node)}; expected {expected}")
        return node

    def condition(text: str, key: str) -> Node:
        node = parsed(text, key)
        if node.type != "truth" or node.axes or "row" not in names.values():
            raise loss.wrong(f"formula.{key}", f"this is {described(node)}; expected a condition on each row")
        return node

    text = loss.formula_text
    differentiated = tuple(name for name, one in loss.inputs.items() if one.grad)
    definition = one_number(parsed(text.definition, "definition"), "definition")
    kernel = one_number(parsed(text.kernel, "kernel"), "kernel") if text.kernel else definition
    try:
        gradients = gradient(graph, definition, differentiated)
        kernel_gradients = gradient(graph, kernel, differentiated)
    except SpecError as error:
        raise loss.wrong("formula.definition", str(error)) from None
    for name, override in text.gradient.items():
        if name not in differentiated:
            options = ", ".join(differentiated)
            raise loss.wrong("formula.gradient", f"{name!r} has no gradient; expected one of: {options}")
        slope = parsed(override, f"gradient.{name}")
        axes = axes_of(loss.inputs[name])
        if slope.type != "number" or not {*slope.axes} <= {*axes}:
            expected = f"a number along {quoted(axes, 'and')}" if axes else "a real"
            raise loss.wrong(f"formula.gradient.{name}", f"the gradient is {described(slope)}; expected {expected}")
        kernel_gradients[name] = slope
    divisor = one_number(parsed(text.divisor, "divisor"), "divisor")
    for node in topological(divisor):
        if node.op == "variable" and node.value in differentiated:
            raise loss.wrong("formula.divisor", f"the divisor depends on {node.value!r}; expected no gradient in it")
    wide = None
    if text.wide is not msgspec.UNSET:
        wide = Wide(*(condition(one, f"wide.{key}") for key, one in msgspec.structs.asdict(text.wide).items()))
    return Formula(
        graph=graph,
        names=names,
        differentiated=differentiated,
        definition=definition,
        divisor=divisor,
        gradients=gradients,
        kernel=kernel,
        kernel_gradients=kernel_gradients,
        wide=wide,
    )
