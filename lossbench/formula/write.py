"""A loss of rows as the statements of a Numba function, one line for each node; loops over classes and rows have no
branches, so that LLVM makes vectors of them.

Rows are taken some at a time. What a row has one number of is computed for all of these rows at once and waits in rooms
on the stack; what it has for each class is computed along one row after the other, or, where rows are narrow, for a
class of all these rows at once. Every sum over the classes ends a stage: what needs it comes behind.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from lossbench.formula.expression import EXPENSIVE
from lossbench.formula.folds import SUMS, Along, Beside
from lossbench.formula.graph import Node, is_row, number_of, topological
from lossbench.formula.page import Outputs, Page
from lossbench.formula.schedule import REDUCTIONS, stages_of, used_later

_LEAVES = ("number", "pi", "size", "variable", "pick")
_PIECES = (
    ("for first in range(0, classes, REACH):", 0),
    ("length = min(REACH, classes - first)", 1),
)
# What is beyond the last whole vectors is computed together with some before it, which sums leave out.
_WHOLE = (("whole = length - length % LANES", 0), ("for k in range(whole):", 0))
_REST = (("if whole < length:", 0), ("for k in range(length - LANES, length):", 1))


@dataclass(frozen=True)
class Place:
    """Where one number for each class is kept: the functions that read and write it, and their arguments."""

    read: str
    write: str
    where: str


@dataclass
class Writer:
    """Writes one function."""

    page: Page
    kept: dict[Node, Place] = field(default_factory=dict)  # one for each class: where it lies
    length: int = 0  # how many of them lie in rooms of their own along the rows
    spare: list[str] = field(default_factory=list)  # arrays that are not written before all that is kept was read
    written: set[Node] = field(default_factory=set)  # those of `kept` that lie there
    stages: dict[Node, int] = field(default_factory=dict)
    arrays: list[str] = field(default_factory=list)  # that gradients of rows are stored in
    fetched: bool = False

    def body(self, outputs: Outputs) -> str:
        """The statements after the first line of the function."""
        nodes = list(topological(*outputs.nodes))
        self.stages = stages_of(nodes)
        self.arrays = [str(node.value) for node in outputs.stores]
        last = max((self.stages[node.args[0]] for node in nodes if node.op in REDUCTIONS), default=0)
        if len(outputs.stores) == 1 and self.stages[outputs.stores[0].args[0]] == last:
            self.spare = list(self.arrays)
        self._fix(nodes)
        self.page.line(1, "total = wide(0)")
        self.page.line(1, "for start in range(0, number, tile):")
        self.page.line(2, "count = min(tile, number - start)")
        used = used_later(nodes, self.stages) | {outputs.loss, *(one for one in outputs.nodes if one.op != "store")}
        self._load(nodes, outputs.factor)
        for stage in range(1 + max(self.stages.values())):
            here = [node for node in nodes if self.stages[node] == stage]
            self._rows([node for node in here if self._is_single(node)], used)
            group = [node for node in nodes if node.op in REDUCTIONS and self.stages[node.args[0]] == stage]
            if group:
                self._keep(stage, group, nodes)
                (self._beside if self.page.narrow else self._along)(group)
        self._finish(outputs)
        self.page.line(1, "return total")
        return "\n".join([*self._first_lines(), *self.page.lines])

    def _first_lines(self) -> list[str]:
        lines = ["classes = {rows}.shape[1]", "size = real(classes)"]
        lines = [line.format(rows=next(name for name, one in self.page.inputs.values() if one.axes)) for line in lines]
        if self.page.narrow or not any("classes" in line for line in self.page.lines):
            lines.append("tile = ROWS")
        else:
            lines.append("tile = max(1, min(ROWS, SPAN // classes))")
            lines += [f"kept = empty({self.length}*tile*classes, real)"] if self.length else []
        lines += [f"{room} = space({given})" for room, given in self.page.rooms.items()]
        if "fresh" in self.page.rooms:
            one, zero = map(self.page.constants.name, (1, 0))
            lines += ["for k in range(WINDOW):", f"    put(fresh, k, {one} if k >= LANES else {zero})"]
        return ["    " + line for line in lines]

    def _fix(self, nodes: Iterable[Node]) -> None:
        """What depends on parameters alone, before the first row."""
        for node in nodes:
            if node.op == "variable" and node.value in self.page.parameters and not node.axes:
                self.page.fixed[node] = self.page.parameters[str(node.value)][0]
            elif self._is_single(node) and all(arg in self.page.fixed or arg.op in _LEAVES[:3] for arg in node.args):
                self.page.fixed[node] = self.page.assign(1, self.page.text(node, {}, ""))

    def _is_single(self, node: Node) -> bool:
        """Whether a row has one of it, which a statement computes."""
        return not is_row(node) and node.op not in (*_LEAVES, *REDUCTIONS) and node not in self.page.fixed

    def _load(self, nodes: Sequence[Node], factor: Node | None) -> None:
        """Put what is given for each row into rooms."""
        self.page.line(2, "for r in range(count):")
        self.page.line(3, "i = natural(start + r)")
        known: dict[Node, str] = {}
        for node in nodes:
            if node.op == "variable" and node.value in self.page.inputs and not node.axes:
                known[node] = self.page.assign(3, f"{self.page.inputs[str(node.value)][0]}[i]")
                self.page.hold(3, node, known[node])
        self.page.line(3, f"w = weight[i] if weighted else {self.page.constants.name(1)}")
        self.page.room("weights", self.page.constants.name(0))
        self.page.line(3, "put(weights, r, w)")
        if factor is not None:
            self.page.hold(3, factor, "scale*w")
        for node in nodes:
            if node.op == "pick":
                row, label = node.args
                self._singles(3, [label], known)
                at = self.page.name(label, known)
                name, given = {**self.page.inputs, **self.page.parameters}[str(row.value)]
                entry = f"{name}[{at}]" if str(row.value) in self.page.parameters else f"{name}[i, {at}]"
                self.page.hold(3, node, f"{entry} if 0 <= {at} < classes else {self.page.constants.name(0)}")
        if self.page.narrow:
            for name, (identifier, given) in self.page.inputs.items():
                if given.axes and any(node.op == "variable" and node.value == name for node in nodes):
                    self.page.room(f"row_{identifier}", self.page.constants.name(0), "AREA")
                    self.page.line(3, "for j in range(classes):")
                    self.page.line(4, f"put(row_{identifier}, j*ROWS + r, {identifier}[i, j])")

    def _singles(self, depth: int, targets: Iterable[Node], known: dict[Node, str]) -> None:
        """Compute *targets* and what they need of what a row has one of."""
        for node in topological(*targets):
            if node not in known and node not in self.page.fixed and node.op not in _LEAVES:
                known[node] = self.page.assign(depth, self.page.text(node, known, ""))

    def _rows(self, nodes: list[Node], used: set[Node]) -> None:
        """Compute for all the rows what each has one of."""
        if not nodes:
            return
        self.page.line(2, "for r in range(ROWS):")
        known: dict[Node, str] = {}
        for node in nodes:
            self.page.take(3, node.args, known)
            known[node] = self.page.assign(3, self.page.text(node, known, ""))
            if node in used:
                self.page.hold(3, node, known[node])

    def _keep(self, stage: int, group: Iterable[Node], nodes: Iterable[Node]) -> None:
        """Say where the expensive entries will lie that later loops need again."""
        later = [node.args[0] for node in nodes if node.op in REDUCTIONS and self.stages[node.args[0]] > stage]
        here = set(self._entries(node.args[0] for node in group))
        for node in self._entries(later, stop=here):
            if node in here and node.op in (*EXPENSIVE, "div") and node not in self.kept:
                if self.page.narrow:
                    at = f"kept_{len(self.kept)}"
                    self.kept[node] = Place("taken", "put", f"{at}, at + r")
                    self.page.room(at, self.page.constants.name(0), "AREA")
                elif self.spare:
                    self.kept[node] = Place("stored", "store", f"{self.spare.pop()}, row + at")
                else:
                    self.kept[node] = Place("recalled", "remember", f"kept, ({self.length}*tile + r)*classes + at")
                    self.length += 1

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
        exact = not any(_is_dear(node) for node in entries)  # sums in float64 would halve the vectors
        folds = [Along(node, self.page.new(), self.page.constants, exact) for node in group if node.op != "store"]
        self.page.line(2, "for r in range(count):")
        self.page.line(3, "row = (start + r)*classes")
        known: dict[Node, str] = {}
        self.page.take(3, [*(node.args[0] for node in group), *(arg for node in entries for arg in node.args)], known)
        if not exact:
            self._fetch()
        for fold in folds:
            self.page.extend(3, fold.begin())
        depth, summed = 3, any(node.op in SUMS for node in group)
        kept = [place.where for place in self.kept.values() if place.read == "stored"]
        turned = [node.value for node in group if node.op == "store" and f"{node.value}, row + at" in kept]
        if summed or turned:
            self.page.room("fresh", self.page.constants.name(0), "WINDOW")
        if summed:
            depth = 4
            for line, deeper in _PIECES:
                self.page.line(3 + deeper, line)
            for fold in folds:
                self.page.extend(depth, fold.begin_piece())
        else:
            self.page.line(3, "first, length = 0, classes")
        written = set(self.written)
        for header, masked in ((_WHOLE, False), (_REST, True)):
            for line, deeper in header:
                self.page.line(depth + deeper, line)
            inside = depth + 1 + masked
            self.page.line(inside, "at = first + k")
            if masked and (summed or turned):
                self.page.line(inside, f"new = taken(fresh, LANES - whole + k) > {self.page.constants.name(0)}")
            self.written = set(written)
            inner = dict(known)
            self._write_entries(inside, entries, inner, "at")
            for node in group:
                if node.op == "store":
                    stored = self.page.name(node.args[0], inner)
                    if masked and node.value in turned:
                        stored = f"select(new, {stored}, stored({node.value}, row + at))"
                    self.page.line(inside, f"store({node.value}, row + at, {stored})")
            for fold in folds:
                self.page.extend(inside, fold.step(self.page.name(fold.node.args[0], inner), masked))
        for fold in folds:
            self.page.extend(depth, fold.finish_piece())
        for fold in folds:
            self.page.hold(3, fold.node, fold.result())

    def _fetch(self) -> None:
        """While much is computed for a row, bring what is next into the cache."""
        if self.fetched:
            return
        self.fetched = True
        step = 64 // (4 if self.page.constants.dtype == "float32" else 8)  # a line of the cache
        rows = [name for name, given in self.page.inputs.values() if given.axes]
        self.page.line(3, "ahead = min(start + tile + r, number - 1)")
        self.page.line(3, "if classes <= REACH:")
        self.page.line(4, f"for line in range(0, classes, {step}):")
        self.page.extend(5, [f"fetch({array}, start + r, line, True)" for array in self.arrays])
        self.page.extend(5, [f"fetch({array}, ahead, line, False)" for array in rows])

    def _beside(self, group: Sequence[Node]) -> None:
        """A loop over the classes of several rows at once."""
        folds = [Beside(node, self.page.new(), self.page.constants) for node in group if node.op != "store"]
        entries = self._entries(node.args[0] for node in group)
        if folds:
            self.page.line(2, "for r in range(ROWS):")
        for fold in folds:
            self.page.room(fold.name, self.page.constants.name(0))
            self.page.line(3, f"put({fold.name}, r, {fold.start})")
            for room, start in fold.rooms().items():
                self.page.room(room, start)
                self.page.line(3, f"put({room}, r, {start})")
        self.page.line(2, "for j in range(classes):")
        self.page.line(3, "at = j*ROWS")
        self.page.line(3, "for r in range(ROWS):")
        known: dict[Node, str] = {}
        self.page.take(4, [*(node.args[0] for node in group), *(arg for node in entries for arg in node.args)], known)
        self._write_entries(4, entries, known, "j")
        for node in group:
            if node.op == "store":
                self.page.room(f"of_{node.value}", self.page.constants.name(0), "AREA")
                self.page.line(4, f"put(of_{node.value}, at + r, {self.page.name(node.args[0], known)})")
        for fold in folds:
            self.page.extend(4, fold.step(self.page.name(fold.node.args[0], known)))
        results = [(fold.name, fold.result()) for fold in folds]
        if any(result for _, result in results):
            self.page.line(2, "for r in range(ROWS):")
        self.page.extend(3, [f"put({name}, r, {result})" for name, result in results if result])
        self.page.held |= {fold.node: fold.name for fold in folds}

    def _write_entries(self, depth: int, entries: Iterable[Node], known: dict[Node, str], index: str) -> None:
        """What one class has; what is kept is read, or written where it is new."""
        new = []
        for node in entries:
            place = self.kept.get(node)
            if node in self.written and place is not None:
                known[node] = self.page.assign(depth, f"{place.read}({place.where})")
                continue
            known[node] = self.page.assign(depth, self.page.text(node, known, index))
            if place is not None:
                self.page.line(depth, f"{place.write}({place.where}, {known[node]})")
                new.append(node)
        self.written.update(new)

    def _finish(self, outputs: Outputs) -> None:
        """Write what a row has one of, and add up the losses."""
        self.page.line(2, "for r in range(count):")
        self.page.line(3, "i = natural(start + r)")
        known: dict[Node, str] = {}
        self.page.take(3, [one for one in outputs.nodes if one.op != "store"], known)
        for node in outputs.stores if self.page.narrow else ():
            self.page.line(3, "for j in range(classes):")
            self.page.line(4, f"{node.value}[i, natural(j)] = taken(of_{node.value}, j*ROWS + r)")
        for array, label, node in outputs.patches:
            at = self.page.name(label, known)
            self.page.line(3, f"if 0 <= {at} < classes:")
            self.page.line(4, f"{array}[i, natural({at})] = {self.page.name(node, known)}")
        for array, node in outputs.scalars:
            self.page.line(3, f"{array}[i] = {self.page.name(node, known)}")
        self.page.line(3, f"loss = weighed(taken(weights, r), {self.page.name(outputs.loss, known)})")
        self.page.line(3, "if write:")
        self.page.line(4, "values[i] = loss")
        self.page.line(3, "total = accumulated(total, wide(loss))")


def _is_dear(node: Node) -> bool:
    """Whether it takes so long that sums in float64 beside it are not worth half of the vectors' width."""
    return node.op in EXPENSIVE and not (node.op == "pow" and number_of(node.args[1]) in (-1, 2, 3, 4))
