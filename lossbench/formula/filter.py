"""Value and gradient of an elementwise loss in float64, each with a bound of its error: a million points in a blink.

A formula becomes a Numba function over `filter_bounds`. It stands on the assumption that the elementary functions of
the C library are within 4 ulp, and it evaluates the forms for floating point: `kernel` and `gradient` of a spec, which
are the definition on the loss's domain, and there alone. What its bounds leave open is for the oracle, which assumes
nothing: ties of what is differentiated (kinks), numbers that are not finite, poles, and whatever overflows float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType

import numpy as np

from lossbench.formula import Formula
from lossbench.formula.filter_write import CALLS, LOGIC, TRUE, Writer
from lossbench.formula.graph import Graph, topological
from lossbench.kernels.compile import load


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Exact numbers, each in `estimate` +- `bound`, shape (n,); an infinite bound says nothing."""

    estimate: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A loss at given parameters.

    Attributes:
        inputs: Their names, in the order of the generated function.
        roots: What it gives: `value`, then each `gradient.<input>`.
    """

    inputs: tuple[str, ...]
    roots: tuple[str, ...]
    module: ModuleType

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Bounds]:
        """The bounds of each root.

        Args:
            arrays: Each input, inside its domain: float64, shape (n,), or (1,) where all n points have the same.
        """
        given = [np.asarray(arrays[name], np.float64) for name in self.inputs]
        size = max(array.size for array in given)
        out = np.empty((2, len(self.roots), size))
        self.module.bounds(size, out, *(one for array in given for one in (array, int(array.size > 1))))
        return {name: Bounds(estimate=out[0, place], bound=out[1, place]) for place, name in enumerate(self.roots)}


def covers(formula: Formula) -> bool:
    """Whether there is a filter of that loss: it is of one element, and so are its parameters."""
    roots = (formula.definition, formula.kernel, *formula.kernel_gradients.values())
    known = {"number", "pi", "variable", "where", *CALLS, *LOGIC, *TRUE}
    return not formula.axes and all(node.op in known and node.type != "label" for node in topological(*roots))


def filter_of(formula: Formula, parameters: Mapping[str, Fraction]) -> Filter:
    """The filter of a loss that `covers` says there is, at exact *parameters*, every one of them."""
    roots = [formula.kernel, *formula.kernel_gradients.values()]
    graph = Graph()
    nodes = [graph.substitute(root, parameters) for root in roots]
    inputs = tuple(name for name in formula.names if name not in parameters)
    return Filter(
        inputs=inputs,
        roots=("value", *(f"gradient.{name}" for name in formula.kernel_gradients)),
        module=load("filter", Writer(inputs, formula.differentiated).source(nodes)),
    )
