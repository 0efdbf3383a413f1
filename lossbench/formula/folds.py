"""The lines of sums and extremes over the classes, in loops that LLVM makes loops of vectors.

Along a row the terms of a piece are added side by side in the kernel's dtype, pieces in float64. Where a term is soon
made, each is added in float64, or, where none of float32 cancels, the sum of every four. Rows side by side add each
term with what its rounding has taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossbench.formula.expression import Constants
from lossbench.formula.graph import Node

STARTS = {"row_max": "-inf", "row_min": "inf", "peak": "-inf"}
_STEPS = {"row_max": "maximum", "row_min": "minimum", "peak": "larger"}
# nan is their result. What is made of a peak is nan anyway where its row has one.
_RANKS = {
    "row_max": ("highest", "rank_or_first"),
    "row_min": ("lowest", "rank_or_last"),
}
SUMS = ("row_sum", "norm")
_SCALES = ("", "_large", "_little")


@dataclass(frozen=True)
class Along:
    """A node of `schedule.REDUCTIONS`, gathered along one row.

    Attributes:
        name: That of the result.
        exact: Whether each term is added in float64: where terms cancel, what sums in float32 lose would be left.
        in_blocks: Whether the terms of a block wait for each other, to be added by fours.
    """

    node: Node
    name: str
    constants: Constants
    exact: bool
    in_blocks: bool

    @property
    def _in_parts(self) -> bool:
        whole = self.constants.is_wide or (self.exact and self.constants.dtype == "float32")
        return self.node.op == "row_sum" and not whole

    @property
    def rooms(self) -> dict[str, str]:
        """What is kept of a row's sum, and what they hold and how much."""
        terms = f"{self.constants.name(0)}, LANES"
        return {f"{self.name}_sums": "wide(0), QUARTER", f"{self.name}_terms": terms} if self.in_blocks else {}

    @property
    def _sums(self) -> list[str]:
        """Sums of squares: the square of a float64 may overflow or vanish, that of a float32 in float64 cannot."""
        return [f"{self.name}{scale}" for scale in _scales(self.constants)]

    @property
    def carried(self) -> list[str]:
        """What a piece finds and leaves changed."""
        if self.node.op == "norm":
            return self._sums
        return [] if self._in_parts or self.in_blocks else [self.name]

    def begin(self) -> list[str]:
        """Before the loop."""
        name, op = self.name, self.node.op
        if self.in_blocks:
            return [f"clear({name}_sums)"]
        if op in STARTS:
            start = self.constants.name(STARTS[op])
            return [f"{name} = {start}" if op == "peak" else f"{name} = rank_or_last({start})"]
        match op:
            case "row_sum":
                return [f"{name}, {name}_error = wide(0), wide(0)"] if self._in_parts else [f"{name} = wide(0)"]
            case "norm":
                return [f"{one} = wide(0)" for one in self._sums]
        return []

    def begin_piece(self) -> list[str]:
        """Before the loop over a piece."""
        return [f"{self.name}_part = {self.constants.name(0)}"] if self._in_parts else []

    def step(self, entry: str, masked: bool) -> list[str]:
        """In the loop, where *entry* is known, and, where that is *masked*, `new`: whether it was not yet met."""
        name, term = self.name, f"select(new, {entry}, {self.constants.name(0)})" if masked else entry
        match self.node.op:
            case "row_sum" if self.in_blocks:
                return [f"put({name}_terms, k - begin, {term})"]
            case "row_sum" if not self._in_parts:
                add = "fused" if self.constants.is_wide else "accumulated"
                return [f"{name} = {add}({name}, wide({term}))"]
            case "row_sum":
                return [f"{name}_part = accumulated({name}_part, {term})"]
            case "norm":
                lines = [f"{name}_x = wide({term})"]
                if len(self._sums) == 1:
                    return [*lines, f"{name} = fused({name}, {name}_x * {name}_x)"]
                sums = ", ".join(self._sums)
                return [*lines, f"{sums} = squares({sums}, {name}_x)"]
            case "peak":
                return [f"{name} = largest({name}, {entry})"]
        function, rank = _RANKS[self.node.op]
        return [f"{name} = {function}({name}, {rank}({entry}))"]

    def finish_block(self) -> list[str]:
        """Behind the loop over a block."""
        return [f"gather({self.name}_sums, {self.name}_terms)"] if self.in_blocks else []

    def finish_piece(self) -> list[str]:
        """Behind the loop over a piece."""
        if not self._in_parts:
            return []
        pair = f"{self.name}, {self.name}_error"
        return [f"{pair} = compensated({pair}, wide({self.name}_part))"]

    def result(self) -> str:
        """Behind the loop."""
        match self.node.op:
            case "row_sum" if self.in_blocks:
                return f"real(gathered({self.name}_sums))"
            case "row_sum":
                total = f"completed({self.name}, {self.name}_error)" if self._in_parts else self.name
                return f"{self.constants.kind}({total})"
            case "norm":
                return _root(self._sums, self.constants)
            case "peak":
                return self.name
        return f"ranked({self.name})"


@dataclass(frozen=True)
class Beside:
    """The same for rows side by side; `r` is the row, and results and sums lie in rooms."""

    node: Node
    name: str
    constants: Constants

    def rooms(self) -> dict[str, str]:
        """The rooms beside that of the result, and the number that each begins with."""
        match self.node.op:
            case "row_sum" if not self.constants.is_wide:
                return {f"{self.name}_error": self.constants.name(0)}
            case "norm":
                return {f"{self.name}_squares{scale}": "wide(0)" for scale in _scales(self.constants)}
        return {}

    @property
    def start(self) -> str:
        """The number that the result's room begins with."""
        return self.constants.name(STARTS.get(self.node.op, 0))

    def step(self, entry: str) -> list[str]:
        """In the loop, where *entry* is known."""
        rooms = [self.name, *self.rooms()]
        before = [f"taken({room}, r)" for room in rooms]
        match self.node.op:
            case "row_sum" if self.constants.is_wide:
                return [f"put({self.name}, r, {before[0]} + {entry})"]
            case "row_sum":
                new = [f"{room}_new" for room in rooms]
                lines = [f"{', '.join(new)} = compensated({', '.join(before)}, {entry})"]
                return lines + [f"put({room}, r, {one})" for room, one in zip(rooms, new, strict=True)]
            case "norm":
                x, rooms, before = f"{self.name}_x", rooms[1:], before[1:]
                lines = [f"{x} = wide({entry})"]
                if len(rooms) == 1:
                    return [*lines, f"put({rooms[0]}, r, {before[0]} + {x} * {x})"]
                new = [f"{room}_new" for room in rooms]
                lines += [f"{', '.join(new)} = squares({', '.join(before)}, {x})"]
                return lines + [f"put({room}, r, {one})" for room, one in zip(rooms, new, strict=True)]
        return [f"put({self.name}, r, {_STEPS[self.node.op]}({before[0]}, {entry}))"]

    def result(self) -> str | None:
        """Behind the loop; None where the room has it already."""
        rooms = [f"taken({room}, r)" for room in (self.name, *self.rooms())]
        match self.node.op:
            case "row_sum" if not self.constants.is_wide:
                return f"completed({', '.join(rooms)})"
            case "norm":
                return _root(rooms[1:], self.constants)
        return None


def _scales(constants: Constants) -> Sequence[str]:
    return _SCALES if constants.dtype == "float64" and not constants.is_wide else _SCALES[:1]


def _root(sums: list[str], constants: Constants) -> str:
    return f"{constants.kind}({'root' if len(sums) > 1 else 'sqrt'}({', '.join(sums)}))"
