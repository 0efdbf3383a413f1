"""The lines of a function of rows as they are written, and under which name or in which room each node is known;
and what such a function gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lossbench.formula.expression import PI, Constants, branchless
from lossbench.formula.graph import Node, Variable, number_of


@dataclass(frozen=True)
class Outputs:
    """What a function gives.

    Attributes:
        loss: The value.
        factor: The variable that gradients are multiplied by; None without gradients.
        stores: Row gradients, each a "store" node that names its array.
        patches: Arrays of row gradients, the label at which the entry stored is another, and that entry.
        scalars: Arrays for gradients by a number for each row, and these.
        holds: Whether all this is right for a row, else `otherwise` is called for it; None where it always is.
    """

    loss: Node
    factor: Node | None
    stores: Sequence[Node]
    patches: Sequence[tuple[str, Node, Node]]
    scalars: Sequence[tuple[str, Node]]
    holds: Node | None = None
    otherwise: str = ""

    @property
    def nodes(self) -> list[Node]:
        """All of it."""
        patches = [one for _, *pair in self.patches for one in pair]
        condition = [] if self.holds is None else [self.holds]
        return [self.loss, *self.stores, *patches, *(node for _, node in self.scalars), *condition]


@dataclass
class Page:
    """What is written so far.

    Attributes:
        inputs, parameters: By their names, identifiers in the text and types.
        narrow: Whether a class of several rows is computed at once.
    """

    constants: Constants
    inputs: Mapping[str, tuple[str, Variable]]
    parameters: Mapping[str, tuple[str, Variable]]
    narrow: bool
    lines: list[str] = field(default_factory=list)
    rooms: dict[str, str] = field(default_factory=dict)  # what they hold, and how much
    fixed: dict[Node, str] = field(default_factory=dict)  # the same for every row
    held: dict[Node, str] = field(default_factory=dict)  # one for each row: the room
    count: int = 0

    def text(self, node: Node, known: Mapping[Node, str], index: str) -> str:
        """The expression that *node* is, where its arguments are known; *index* is the class looked at."""
        if node.op == "variable":
            name = str(node.value)
            if name in self.parameters:
                return self.given(f"entry({self.parameters[name][0]}, {index})")
            identifier = self.inputs[name][0]
            text = f"taken(row_{identifier}, at + r)" if self.narrow else f"entry({identifier}, row + at)"
            return self.given(text)
        args = [self.name(arg, known) for arg in node.args]
        if node.op == "inside":
            return f"(0 <= {args[0]}) & ({args[0]} < classes)"
        return branchless(node, args, index, self.constants)

    def given(self, text: str) -> str:
        """A number of an input or parameter, as it is computed with."""
        return f"wide({text})" if self.constants.is_wide else text

    def name(self, node: Node, known: Mapping[Node, str]) -> str:
        value = PI if node.op == "pi" else number_of(node)
        if value is not None:
            return self.constants.name(value)
        if node.op == "size":
            return "size"
        return self.fixed.get(node) or known[node]

    def take(self, depth: int, nodes: Iterable[Node], known: dict[Node, str]) -> None:
        """Read from their rooms those of *nodes* that lie there."""
        for node in nodes:
            if node in self.held and node not in known:
                text = f"taken({self.held[node]}, r)"
                known[node] = self.assign(
                    depth, f"{text} != {self.constants.name(0)}" if node.type == "truth" else text
                )

    def hold(self, depth: int, node: Node, text: str) -> None:
        """Put what a row has one of into a room of its own."""
        if node.type == "truth":
            text = f"select({text}, {self.constants.name(1)}, {self.constants.name(0)})"
        self.held[node] = room = f"h{len(self.held)}"
        self.room(room, "integer(0)" if node.type == "label" else self.constants.name(0))
        self.line(depth, f"put({room}, r, {text})")

    def room(self, name: str, like: str, length: str = "ROWS") -> None:
        self.rooms[name] = f"{like}, {length}"

    def assign(self, depth: int, text: str) -> str:
        name = self.new()
        self.line(depth, f"{name} = {text}")
        return name

    def new(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def extend(self, depth: int, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(depth, text)

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)
