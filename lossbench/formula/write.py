"""A loss of rows as the statements of a Numba function, one line for each node; loops over classes and rows have no
branches, so that LLVM makes vectors of them.

Rows are taken some at a time. What a row has one number of is computed for all of these rows at once and waits in rooms
on the stack; what it has for each class is computed along one row after the other, or, where rows are narrow, for a
class of all these rows at once. Every sum over the classes ends a stage: what needs it comes behind.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lossbench.formula.expression import EXPENSIVE, PI, Constants, branchless
from lossbench.formula.folds import SUMS, Along, Beside
from lossbench.formula.graph import Node, Variable, is_row, number_of, topological
from lossbench.formula.schedule import REDUCTIONS, stages_of, used_later

_LEAVES = ("number", "pi", "size", "variable", "pick")
_PIECES = (
    ("for first in range(0, classes, REACH):", 0),
    ("length = min(REACH, classes - first)", 1),
)
_WINDOWS = (
    ("whole = length - length % LANES", 0),
    ("for again in range(2 if whole < length else 1):", 0),
    ("back = LANES - (whole if again else 0)", 1),
    ("for k in range(length - LANES if again else 0, length if again else whole):", 1),
)


@dataclass(frozen=True)
class Outputs:
    """What a function gives.

    Attributes:
        loss: The value.
        factor: The variable that gradients are multiplied by; None without gradients.
        stores: Row gradients, each a "store" node that names its array.
        patches: Arrays of row gradients, the label at which the entry stored is another, and that entry.
        scalars: Arrays for gradients by a number for each row, and these.
    """

    loss: Node
    factor: Node | None
    stores: Sequence[Node]
    patches: Sequence[tuple[str, Node, Node]]
    scalars: Sequence[tuple[str, Node]]

    @property
    def nodes(self) -> list[Node]:
        """All of it."""
        patches = [one for _, *pair in self.patches for one in pair]
        return [self.loss, *self.stores, *patches, *(node for _, node in self.scalars)]


@dataclass
class Writer:
    """Writes one function.

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
    kept: dict[Node, str] = field(default_factory=dict)  # one for each class: where it lies
    written: set[Node] = field(default_factory=set)  # those of `kept` that lie there
    stages: dict[Node, int] = field(default_factory=dict)
    arrays: list[str] = field(default_factory=list)  # that gradients of rows are stored in
    fetched: bool = False
    count: int = 0

    def body(self, outputs: Outputs) -> str:
        """The statements after the first line of the function."""
        nodes = list(topological(*outputs.nodes))
        self.stages = stages_of(nodes)
        self.arrays = [str(node.value) for node in outputs.stores]
        self._fix(nodes)
        self._line(1, "total = wide(0)")
        self._line(1, "for start in range(0, number, tile):")
        self._line(2, "count = min(tile, number - start)")
        used = used_later(nodes, self.stages) | {outputs.loss, *(one for one in outputs.nodes if one.op != "store")}
        self._load(nodes, outputs.factor)
        for stage in range(1 + max(self.stages.values())):
            here = [node for node in nodes if self.stages[node] == stage]
            self._rows([node for node in here if self._is_single(node)], used)
            group = [node for node in nodes if node.op in REDUCTIONS and self.stages[node.args[0]] == stage]
            if group:
                self._keep(stage, group, nodes)
                (self._beside if self.narrow else self._along)(group)
        self._finish(outputs)
        self._line(1, "return total")
        return "\n".join([*self._first_lines(), *self.lines])

    def _first_lines(self) -> list[str]:
        lines = ["classes = {rows}.shape[1]", "size = real(classes)"]
        lines = [line.format(rows=next(name for name, one in self.inputs.values() if one.axes)) for line in lines]
        if self.narrow or not any("classes" in line for line in self.lines):
            lines.append("tile = ROWS")
        else:
            lines.append("tile = max(1, min(ROWS, SPAN // classes))")
            lines += [f"kept = empty(({len(self.kept)}, tile, classes), real)"] if self.kept else []
        lines += [f"{room} = space({given})" for room, given in self.rooms.items()]
        if "fresh" in self.rooms:
            one, zero = map(self.constants.name, (1, 0))
            lines += ["for k in range(WINDOW):", f"    put(fresh, k, {one} if k >= LANES else {zero})"]
        return ["    " + line for line in lines]

    def _fix(self, nodes: Iterable[Node]) -> None:
        """What depends on parameters alone, before the first row."""
        for node in nodes:
            if node.op == "variable" and node.value in self.parameters and not node.axes:
                self.fixed[node] = self.parameters[str(node.value)][0]
            elif self._is_single(node) and all(arg in self.fixed or arg.op in _LEAVES[:3] for arg in node.args):
                self.fixed[node] = self._assign(1, self._text(node, {}, ""))

    def _is_single(self, node: Node) -> bool:
        """Whether a row has one of it, which a statement computes."""
        return not is_row(node) and node.op not in (*_LEAVES, *REDUCTIONS) and node not in self.fixed

    def _load(self, nodes: Sequence[Node], factor: Node | None) -> None:
        """Put what is given for each row into rooms."""
        self._line(2, "for r in range(count):")
        self._line(3, "i = natural(start + r)")
        known: dict[Node, str] = {}
        for node in nodes:
            if node.op == "variable" and node.value in self.inputs and not node.axes:
                known[node] = self._assign(3, f"{self.inputs[str(node.value)][0]}[i]")
                self._hold(3, node, known[node])
        self._line(3, f"w = weight[i] if weighted else {self.constants.name(1)}")
        self._room("weights", self.constants.name(0))
        self._line(3, "put(weights, r, w)")
        if factor is not None:
            self._hold(3, factor, "scale*w")
        for node in nodes:
            if node.op == "pick":
                row, label = node.args
                self._singles(3, [label], known)
                at = self._name(label, known)
                name, given = {**self.inputs, **self.parameters}[str(row.value)]
                entry = f"{name}[{at}]" if str(row.value) in self.parameters else f"{name}[i, {at}]"
                self._hold(3, node, f"{entry} if 0 <= {at} < classes else {self.constants.name(0)}")
        if self.narrow:
            for name, (identifier, given) in self.inputs.items():
                if given.axes and any(node.op == "variable" and node.value == name for node in nodes):
                    self._room(f"row_{identifier}", self.constants.name(0), "AREA")
                    self._line(3, "for j in range(classes):")
                    self._line(4, f"put(row_{identifier}, j*ROWS + r, {identifier}[i, j])")

    def _singles(self, depth: int, targets: Iterable[Node], known: dict[Node, str]) -> None:
        """Compute *targets* and what they need of what a row has one of."""
        for node in topological(*targets):
            if node not in known and node not in self.fixed and node.op not in _LEAVES:
                known[node] = self._assign(depth, self._text(node, known, ""))

    def _rows(self, nodes: list[Node], used: set[Node]) -> None:
        """Compute for all the rows what each has one of."""
        if not nodes:
            return
        self._line(2, "for r in range(ROWS):")
        known: dict[Node, str] = {}
        for node in nodes:
            self._take(3, node.args, known)
            known[node] = self._assign(3, self._text(node, known, ""))
            if node in used:
                self._hold(3, node, known[node])

    def _keep(self, stage: int, group: Iterable[Node], nodes: Iterable[Node]) -> None:
        """Say where the expensive entries will lie that later loops need again."""
        later = [node.args[0] for node in nodes if node.op in REDUCTIONS and self.stages[node.args[0]] > stage]
        here = set(self._entries(node.args[0] for node in group))
        for node in self._entries(later, stop=here):
            if node in here and node.op in EXPENSIVE and node not in self.kept:
                at = len(self.kept)
                self.kept[node] = f"kept[{at}, r, j]"
                if self.narrow:
                    self.kept[node] = f"kept_{at}"
                    self._room(f"kept_{at}", self.constants.name(0), "AREA")

    def _entries(self, rows: Iterable[Node], stop: Container[Node] = ()) -> list[Node]:
        """The nodes that entries of *rows* are made of, arguments first; those of *stop* too, but not beyond."""
        found: dict[Node, None] = {}
        stack = [(row, False) for row in rows]
        while stack:
            node, expanded = stack.pop()
            if node in found or not is_row(node):
                continue
            if expanded or node in stop or node in self.written:
                found[node] = None
            else:
                stack.append((node, True))
                stack.extend((arg, False) for arg in reversed(node.args))
        return list(found)

    def _along(self, group: Sequence[Node]) -> None:
        """A loop over the classes of one row after the other."""
        entries = self._entries(node.args[0] for node in group)
        exact = not any(node.op in EXPENSIVE for node in entries)  # sums in float64 would halve the vectors
        folds = [Along(node, self._new(), self.constants, exact) for node in group if node.op != "store"]
        self._line(2, "for r in range(count):")
        self._line(3, "i = natural(start + r)")
        known: dict[Node, str] = {}
        self._take(3, [*(node.args[0] for node in group), *(arg for node in entries for arg in node.args)], known)
        if not exact:
            self._fetch()
        for fold in folds:
            self._lines(3, fold.begin())
        depth, summed = 3, any(node.op in SUMS for node in group)
        if summed:
            self._room("fresh", self.constants.name(0), "WINDOW")
            depth = 4
            for line, deeper in _PIECES:
                self._line(3 + deeper, line)
            for fold in folds:
                self._lines(depth, fold.begin_piece())
        else:
            self._line(3, "first, length = 0, classes")
        for line, deeper in _WINDOWS:
            self._line(depth + deeper, line)
        inside = depth + 2
        self._lines(inside, ["at = first + k", "j = natural(at)"])
        if summed:
            self._line(inside, f"new = taken(fresh, back + k) > {self.constants.name(0)}")
        self._write_entries(inside, entries, known, "at")
        for node in group:
            if node.op == "store":
                self._line(inside, f"{node.value}[i, j] = {self._name(node.args[0], known)}")
        for fold in folds:
            self._lines(inside, fold.step(self._name(fold.node.args[0], known)))
        for fold in folds:
            self._lines(depth, fold.finish_piece())
        for fold in folds:
            self._hold(3, fold.node, fold.result())

    def _fetch(self) -> None:
        """While much is computed for a row, bring what is next into the cache."""
        if self.fetched:
            return
        self.fetched = True
        step = 64 // (4 if self.constants.dtype == "float32" else 8)  # a line of the cache
        rows = [name for name, given in self.inputs.values() if given.axes]
        self._line(3, "ahead = min(start + tile + r, number - 1)")
        self._line(3, "if classes <= REACH:")
        self._line(4, f"for line in range(0, classes, {step}):")
        self._lines(5, [f"fetch({array}, start + r, line, True)" for array in self.arrays])
        self._lines(5, [f"fetch({array}, ahead, line, False)" for array in rows])

    def _beside(self, group: Sequence[Node]) -> None:
        """A loop over the classes of several rows at once."""
        folds = [Beside(node, self._new(), self.constants) for node in group if node.op != "store"]
        entries = self._entries(node.args[0] for node in group)
        if folds:
            self._line(2, "for r in range(ROWS):")
        for fold in folds:
            self._room(fold.name, self.constants.name(0))
            self._line(3, f"put({fold.name}, r, {fold.start})")
            for room, start in fold.rooms().items():
                self._room(room, start)
                self._line(3, f"put({room}, r, {start})")
        self._line(2, "for j in range(classes):")
        self._line(3, "at = j*ROWS")
        self._line(3, "for r in range(ROWS):")
        known: dict[Node, str] = {}
        self._take(4, [*(node.args[0] for node in group), *(arg for node in entries for arg in node.args)], known)
        self._write_entries(4, entries, known, "j")
        for node in group:
            if node.op == "store":
                self._room(f"of_{node.value}", self.constants.name(0), "AREA")
                self._line(4, f"put(of_{node.value}, at + r, {self._name(node.args[0], known)})")
        for fold in folds:
            self._lines(4, fold.step(self._name(fold.node.args[0], known)))
        results = [(fold.name, fold.result()) for fold in folds]
        if any(result for _, result in results):
            self._line(2, "for r in range(ROWS):")
        self._lines(3, [f"put({name}, r, {result})" for name, result in results if result])
        self.held |= {fold.node: fold.name for fold in folds}

    def _write_entries(self, depth: int, entries: Iterable[Node], known: dict[Node, str], index: str) -> None:
        """What one class has; what is kept is read, or written where it is new."""
        new = []
        for node in entries:
            place = self.kept.get(node)
            if node in self.written and place is not None:
                known[node] = self._assign(depth, f"taken({place}, at + r)" if self.narrow else place)
                continue
            known[node] = self._assign(depth, self._text(node, known, index))
            if place is not None:
                self._line(depth, f"put({place}, at + r, {known[node]})" if self.narrow else f"{place} = {known[node]}")
                new.append(node)
        self.written.update(new)

    def _finish(self, outputs: Outputs) -> None:
        """Write what a row has one of, and add up the losses."""
        self._line(2, "for r in range(count):")
        self._line(3, "i = natural(start + r)")
        known: dict[Node, str] = {}
        self._take(3, [one for one in outputs.nodes if one.op != "store"], known)
        for node in outputs.stores if self.narrow else ():
            self._line(3, "for j in range(classes):")
            self._line(4, f"{node.value}[i, natural(j)] = taken(of_{node.value}, j*ROWS + r)")
        for array, label, node in outputs.patches:
            at = self._name(label, known)
            self._line(3, f"if 0 <= {at} < classes:")
            self._line(4, f"{array}[i, natural({at})] = {self._name(node, known)}")
        for array, node in outputs.scalars:
            self._line(3, f"{array}[i] = {self._name(node, known)}")
        self._line(3, f"loss = weighed(taken(weights, r), {self._name(outputs.loss, known)})")
        self._line(3, "if write:")
        self._line(4, "values[i] = loss")
        self._line(3, "total = accumulated(total, wide(loss))")

    def _text(self, node: Node, known: Mapping[Node, str], index: str) -> str:
        """The expression that *node* is, where its arguments are known; *index* is the class looked at."""
        if node.op == "variable":
            name = str(node.value)
            if name in self.parameters:
                return f"{self.parameters[name][0]}[natural({index})]"
            identifier = self.inputs[name][0]
            return f"taken(row_{identifier}, at + r)" if self.narrow else f"{identifier}[i, j]"
        args = [self._name(arg, known) for arg in node.args]
        if node.op == "inside":
            return f"(0 <= {args[0]}) & ({args[0]} < classes)"
        return branchless(node, args, index, self.constants)

    def _name(self, node: Node, known: Mapping[Node, str]) -> str:
        value = PI if node.op == "pi" else number_of(node)
        if value is not None:
            return self.constants.name(value)
        if node.op == "size":
            return "size"
        return self.fixed.get(node) or known[node]

    def _take(self, depth: int, nodes: Iterable[Node], known: dict[Node, str]) -> None:
        """Read from their rooms those of *nodes* that lie there."""
        for node in nodes:
            if node in self.held and node not in known:
                text = f"taken({self.held[node]}, r)"
                known[node] = self._assign(
                    depth, f"{text} != {self.constants.name(0)}" if node.type == "truth" else text
                )

    def _hold(self, depth: int, node: Node, text: str) -> None:
        """Put what a row has one of into a room of its own."""
        if node.type == "truth":
            text = f"select({text}, {self.constants.name(1)}, {self.constants.name(0)})"
        self.held[node] = room = f"h{len(self.held)}"
        self._room(room, "integer(0)" if node.type == "label" else self.constants.name(0))
        self._line(depth, f"put({room}, r, {text})")

    def _room(self, name: str, like: str, length: str = "ROWS") -> None:
        self.rooms[name] = f"{like}, {length}"

    def _assign(self, depth: int, text: str) -> str:
        name = self._new()
        self._line(depth, f"{name} = {text}")
        return name

    def _new(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def _lines(self, depth: int, texts: Iterable[str]) -> None:
        for text in texts:
            self._line(depth, text)

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)
