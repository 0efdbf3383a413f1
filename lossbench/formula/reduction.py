"""The lines that build up one number, or write one row, in a loop over the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lossbench.formula.graph import Node

STARTS = {"row_max": "-inf", "row_min": "inf", "argmax": "-inf"}


@dataclass(frozen=True)
class Reduction:
    """A node of `schedule.REDUCTIONS` on its way.

    Attributes:
        name: Of the result in the text.
        exact: Whether a sum carries its rounding errors along; else its terms are added in any order, in vectors.
    """

    node: Node
    name: str
    exact: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """What the loop changes."""
        match self.node.op:
            case "row_sum":
                return (f"{self.name}_total", f"{self.name}_error") if self.exact else (f"{self.name}_total",)
            case "norm":
                return (f"{self.name}_plain", f"{self.name}_large", f"{self.name}_little")
            case "argmax":
                return (f"{self.name}_largest",)
            case "store":
                return ()
        return (self.name,)

    def begin(self, constant: Callable[[str], str]) -> list[str]:
        """Before the loop; *constant* names a number of the kernel's dtype."""
        op = self.node.op
        start = constant(STARTS[op]) if op in STARTS else "wide(0)"
        index = [f"{self.name} = 0"] if op == "argmax" else []
        return [*index, *(f"{variable} = {start}" for variable in self.variables)]

    def step(self, entry: str, index: str) -> list[str]:
        """In the loop, where *entry* is known."""
        variables = ", ".join(self.variables)
        match self.node.op:
            case "store":
                return [f"{self.node.value}[i, {index}] = {entry}"]
            case "row_sum" if self.exact:
                return [f"{variables} = compensated({variables}, {entry})"]
            case "row_sum":
                return [f"{variables} = accumulated({variables}, wide({entry}))"]
            case "norm":
                return [f"{variables} = squares({variables}, wide({entry}))"]
            case "argmax":  # a nan is the largest, and stays
                return [
                    f"if {entry} > {variables} or {entry} != {entry}:",
                    f"    {self.name} = {index}",
                    f"    {variables} = {entry}",
                ]
            case "row_max":
                return [f"{variables} = maximum({variables}, {entry})"]
        return [f"{variables} = minimum({variables}, {entry})"]

    def finish(self) -> list[str]:
        """Behind the loop."""
        variables = ", ".join(self.variables)
        match self.node.op:
            case "row_sum":
                return [f"{self.name} = real({f'completed({variables})' if self.exact else variables})"]
            case "norm":
                return [f"{self.name} = real(root({variables}))"]
        return []
