"""What every adapter offers, and how adapters are found. An adapter is the one file that imports its framework.

An adapter module has `MODES`, a literal tuple with the default first, and `open(target)`. Importing it imports the
framework, so an `ImportError` means that the framework is not installed. It may have `losses()`: every public function
and class that is a loss, by its name, found by looking at the framework.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import numpy as np

from lossbench import machine
from lossbench.errors import LossbenchError, Unsupported
from lossbench.inputs import Problem
from lossbench.records import Target

GROUP = "lossbench.adapters"  # the entry points of other packages
SHARED = (
    "allowed",
    "call",
    "cuda",
    "divisor",
    "elsewhere",
    "namespace",
    "state",
    "yours",
)  # modules here that are no adapters


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A problem on its device, ready to run; the first call of each function compiles.

    Attributes:
        forward: Computes the value without tracking gradients, and returns when it is there.
        gradient: Computes value and gradient, and returns when both are there.
        arrays: `value` and `gradient.<input>` of one run, float64 for dtype float64 and float32 otherwise.
        hessian: `hessian.<input>` likewise: of the sum of the value the Hessian by all differentiated inputs, times
            the problem's direction. None where an adapter has no second derivatives.
        busy: By measure, `forward` or `gradient`: runs it once more, the device's caches emptied before, and returns
            the seconds between two events on the device itself. Empty where there are no such events.
        rise: By measure likewise: the bytes by which one run raises the most that its framework's allocator has given
            out. Empty where only the system can say it.
    """

    forward: Callable[[], object]
    gradient: Callable[[], object]
    arrays: Callable[[], dict[str, np.ndarray]]
    hessian: Callable[[], dict[str, np.ndarray]] | None = None
    busy: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    rise: Mapping[str, Callable[[], int]] = field(default_factory=dict)


class Adapter(Protocol):
    """An open target."""

    def versions(self) -> dict[str, str]:
        """Of the framework and what it stands on."""

    def settings(self) -> dict[str, str]:
        """What decides the numbers and the speed: threads, flags, environment variables."""

    def machine(self) -> dict[str, str]:
        """The device, where it is not the processor."""

    def prepare(self, problem: Problem) -> Prepared:
        """The problem made ready.

        Raises:
            Unsupported: The spec has no call for this framework, or the call does not cover the parameters.
        """


class Module(Protocol):
    """An adapter's module."""

    MODES: tuple[str, ...]

    def open(self, target: Target) -> Adapter:
        """Start the framework for *target*.

        Raises:
            Unsupported: No such mode, or no such device here.
        """


def names() -> list[str]:
    """Every framework that has an adapter, `reference` among them; none is imported."""
    here = {module.name for module in pkgutil.iter_modules(__path__)} - {*SHARED}
    return sorted(here | {entry.name for entry in entry_points(group=GROUP)})


def load(framework: str) -> Module:
    """The adapter of *framework*.

    Raises:
        LossbenchError: There is no such adapter.
        ImportError: The framework is not installed.
    """
    if framework not in names():
        raise LossbenchError(f"unknown framework {framework!r}; expected one of: {', '.join(names())}")
    for entry in entry_points(group=GROUP):
        if entry.name == framework:
            return cast(Module, entry.load())
    return cast(Module, importlib.import_module(f"{__name__}.{framework}"))


def losses(framework: str) -> dict[str, Any]:
    """Every public function and class of *framework* that is a loss, by its name; none where its adapter tells none.

    Raises:
        LossbenchError, ImportError: As `load`.
    """
    tell = getattr(load(framework), "losses", None)
    return {} if tell is None else cast(dict[str, Any], tell())


def check_mode(target: Target, modes: tuple[str, ...]) -> None:
    """Raise `Unsupported` where *target* has a mode that is not among *modes*."""
    if target.mode not in modes:
        options = ", ".join(sorted(modes))
        raise Unsupported(f"{target.framework} has no mode {target.mode!r}; expected one of: {options}")


def threads() -> int:
    """How many threads every framework may use: LOSSBENCH_THREADS, or the cores this process may run on."""
    asked = os.environ.get("LOSSBENCH_THREADS")
    if asked is None:
        return len(machine.cores())
    if not asked.isdecimal() or int(asked) < 1:
        raise LossbenchError(f"LOSSBENCH_THREADS is {asked!r}; expected a whole number of at least 1")
    return int(asked)


def bounded(target: Target) -> bool:
    """Whether the target has as many threads as it is told; a plain one has as many as its framework starts."""
    return not target.plain or target.threads > 0


def variables(*prefixes: str) -> dict[str, str]:
    """The environment variables that begin so."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}
