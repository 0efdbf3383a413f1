"""The lines of a loop over the classes that LLVM makes one of vectors: terms are written down first, then added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lossbench.formula.graph import Node

STARTS = {"row_max": "-inf", "row_min": "inf", "peak": "-inf"}


@dataclass(frozen=True)
class Fold:
    """A node of `schedule.REDUCTIONS` on its way.

    Attributes:
        name: Of the result in the text.
        place: Where the terms of a sum wait to be added up.
    """

    node: Node
    name: str
    place: str

    def begin(self, constant: Callable[[str], str]) -> list[str]:
        """Before the loop; *constant* names a number of the kernel's dtype."""
        op = self.node.op
        lines = [f"{self.name} = {constant(STARTS[op])}"] if op in STARTS else []
        return [*lines, f"{self.name}_nan = False"] if op in ("row_max", "row_min") else lines

    def step(self, entry: str, index: str) -> list[str]:
        """In the loop, where *entry* is known."""
        match self.node.op:
            case "store":
                return [f"{self.node.value}[i, {index}] = {entry}"]
            case "row_sum" | "norm":
                return [f"{self.place.replace('?', index)} = {entry}"]
            case "peak":
                return [f"{self.name} = larger({self.name}, {entry})"]
        function = "larger" if self.node.op == "row_max" else "smaller"
        return [
            f"{self.name} = {function}({self.name}, {entry})",
            f"{self.name}_nan = {self.name}_nan | ({entry} != {entry})",
        ]

    def finish(self, constant: Callable[[str], str]) -> list[str]:
        """Behind the loop."""
        row = self.place.replace(", ?", "")
        match self.node.op:
            case "row_sum":
                return [f"{self.name} = real(summed({row}))"]
            case "norm":
                return [f"{self.name} = real(length_of({row}))"]
            case "row_max" | "row_min":
                return [f"{self.name} = select({self.name}_nan, {constant('nan')}, {self.name})"]
        return []
