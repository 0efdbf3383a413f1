"""The loops over the entries of rows: along one row after the other, or, where rows are narrow, over a class of several
rows at once. What is dear and needed again is kept.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lossbench.formula.common import common_form, logarithms_of
from lossbench.formula.expression import EXPENSIVE
from lossbench.formula.folds import SUMS, Along, Beside
from lossbench.formula.graph import Node, is_row, number_of
from lossbench.formula.page import Page
from lossbench.formula.signs import never_negative

_PIECES = (
    ("for first in range(0, classes, REACH):", 0),
    ("length = min(REACH, classes - first)", 1),
)
# Two loops, each with how deep its entries are. What is beyond the last whole vectors is computed together with some
# before it, which sums leave out.
_WHOLE = ("whole = length - length % LANES", 0)
_FLAT = (
    ((_WHOLE, ("for k in range(whole):", 0)), 1),
    ((("if whole < length:", 0), ("for k in range(length - LANES, length):", 1)), 2),
)
_BLOCK = "for k in range(begin, begin + LANES):"
_BLOCKS = (
    ((_WHOLE, ("for begin in range(0, whole, LANES):", 0), (_BLOCK, 1)), 2),
    ((("if whole < length:", 0), ("begin = length - LANES", 1), (_BLOCK, 1)), 2),
)


@dataclass(frozen=True)
class Place:
    """Where one number for each class is kept: the functions that read and write it, and their arguments."""

    read: str
    write: str
    where: str


@dataclass(frozen=True)
class _Loop:
    """What a loop along a row has.

    Attributes:
        group: The reductions and stores.
        entries: The nodes that their arguments are made of.
        folds: Those of the reductions.
        known: What the row has one number of.
        near: The places of labels in this piece.
        turned: The arrays of gradients that are read and written.
        written: What was kept by the loops before.
        in_blocks: Whether blocks of terms are added together.
    """

    group: Sequence[Node]
    entries: Sequence[Node]
    folds: Sequence[Along]
    known: Mapping[Node, str]
    near: Mapping[Node, str]
    turned: Container[object]
    written: frozenset[Node]
    in_blocks: bool


@dataclass
class Passes:
    """Writes one loop after the other.

    Attributes:
        shares: The inputs from 0 to 1.
        arrays: Those that gradients of rows are stored in.
        spare: Those of them that are not written before all that is kept was read.
        count: How many loops there are so far.
        length: How many entries are kept in rooms of their own along the rows.
    """

    page: Page
    shares: Container[str]
    arrays: Sequence[str]
    spare: list[str] = field(default_factory=list)
    count: int = 0
    length: int = 0
    _kept: dict[Node, Place] = field(default_factory=dict)  # one for each class: where it lies
    _written: set[Node] = field(default_factory=set)  # those of them that lie there
    _fetched: bool = False

    def write(self, group: Sequence[Node], later: Sequence[Node]) -> None:
        """The loop of the reductions and stores *group*; *later* are the rows that further ones need."""
        self.count += 1
        self._keep(group, later)
        (self._beside if self.page.narrow else self._along)(group)

    def _keep(self, group: Iterable[Node], later: Iterable[Node]) -> None:
        """Say where the entries will lie that later loops need again, and that take long."""
        here = set(self._entries(node.args[0] for node in group))
        for node in self._entries(later, stop=here):
            if node in here and node not in self._kept and self._takes_long(node):
                if self.page.narrow:
                    at = f"kept_{len(self._kept)}"
                    self._kept[node] = Place("taken", "put", f"{at}, at + r")
                    self.page.room(at, self.page.constants.name(0), "AREA")
                elif self.spare:
                    self._kept[node] = Place("stored", "store", f"{self.spare.pop()}, row + at")
                else:
                    self._kept[node] = Place("recalled", "remember", f"kept, ({self.length}*tile + r)*classes + at")
                    self.length += 1

    def _takes_long(self, node: Node) -> bool:
        every = self._entries([node])
        return node.type == "number" and any(one.op in (*EXPENSIVE, "div") for one in every if one not in self._written)

    def _entries(self, rows: Iterable[Node], stop: Container[Node] = ()) -> list[Node]:
        """The nodes that entries of *rows* are made of, arguments first; those of *stop* too, but not beyond."""
        found: dict[Node, None] = {}
        stack = [(row, False) for row in rows]
        while stack:
            node, expanded = stack.pop()
            if node in found or not is_row(node):
                continue
            if expanded or node in stop or node in self._written:
                found[node] = None
            else:
                stack.append((node, True))
                stack.extend((arg, False) for arg in reversed(node.args))
        return list(found)

    def _along(self, group: Sequence[Node]) -> None:
        """A loop over the classes of one row after the other."""
        entries = self._entries(node.args[0] for node in group)
        dear = any(_is_dear(node) for node in entries)
        in_blocks = not dear and self._adds_up(group)
        folds = [
            Along(node, self.page.new(), self.page.constants, not dear, in_blocks)
            for node in group
            if node.op != "store"
        ]
        self.page.line(2, "for r in range(count):")
        self.page.line(3, "row = (start + r)*classes")
        known: dict[Node, str] = {}
        self.page.take(3, [*(node.args[0] for node in group), *(arg for node in entries for arg in node.args)], known)
        if dear:
            self._fetch()
        for fold in folds:
            self.page.extend(3, fold.begin())
            self.page.rooms |= fold.rooms
        depth, summed = 3, any(node.op in SUMS for node in group)
        kept = [place.where for place in self._kept.values() if place.read == "stored"]
        turned = [node.value for node in group if node.op == "store" and f"{node.value}, row + at" in kept]
        if summed or turned:
            self.page.room("fresh", self.page.constants.name(0), "WINDOW")
        if summed and not in_blocks:
            depth = 4
            for line, deeper in _PIECES:
                self.page.line(3 + deeper, line)
            for fold in folds:
                self.page.extend(depth, fold.begin_piece())
        else:
            self.page.line(3, "first, length = 0, classes")
        hots = [node for node in entries if node.op == "onehot"]
        near = {hot: self.page.assign(depth, f"nearby({known[hot.args[0]]}, first, length)") for hot in hots}
        loop = _Loop(group, entries, folds, known, near, turned, frozenset(self._written), in_blocks)
        numbers = logarithms_of(entries, entries) if dear and not turned else {}
        if numbers:
            zero, carried = self.page.constants.name(0), [name for fold in folds for name in fold.carried]
            self.page.extend(depth, [f"odd = {zero}", *(f"{name}_before = {name}" for name in carried)])
            self._write_loop(depth, loop, numbers)
            self.page.line(depth, f"if odd > {zero}:")
            self.page.extend(depth + 1, [f"{name} = {name}_before" for name in carried])
            for fold in folds:
                self.page.extend(depth + 1, fold.begin_piece())
        self._write_loop(depth + bool(numbers), loop, {})
        for fold in folds:
            self.page.extend(depth, fold.finish_piece())
        for fold in folds:
            self.page.hold(3, fold.node, fold.result())

    def _write_loop(self, depth: int, loop: _Loop, numbers: Mapping[Node, None]) -> None:
        """The loop over a piece, right where *numbers* are common; it counts those that are not."""
        for (header, inside), masked in zip(_BLOCKS if loop.in_blocks else _FLAT, (False, True), strict=True):
            for line, deeper in header:
                self.page.line(depth + deeper, line)
            inside += depth
            self.page.line(inside, "at = first + k")
            if masked and (loop.turned or any(fold.node.op in SUMS for fold in loop.folds)):
                self.page.line(inside, f"new = taken(fresh, LANES - whole + k) > {self.page.constants.name(0)}")
            self._written = set(loop.written)
            inner = dict(loop.known)
            self._write_entries(inside, loop.entries, inner, "at", loop.near, numbers)
            self.page.extend(inside, [f"odd = accumulated(odd, uncommon({inner[one]}))" for one in numbers])
            for node in loop.group:
                if node.op == "store":
                    stored = self.page.name(node.args[0], inner)
                    if masked and node.value in loop.turned:
                        stored = f"select(new, {stored}, stored({node.value}, row + at))"
                    self.page.line(inside, f"store({node.value}, row + at, {stored})")
            for fold in loop.folds:
                self.page.extend(inside, fold.step(self.page.name(fold.node.args[0], inner), masked))
            for fold in loop.folds:
                self.page.extend(inside - 1, fold.finish_block())

    def _adds_up(self, group: Sequence[Node]) -> bool:
        """Whether the loop has sums alone, of float32, in which nothing cancels."""
        folds = [node for node in group if node.op != "store"]
        add_up = all(node.op == "row_sum" and never_negative(node.args[0], self.shares) for node in folds)
        return self.page.constants.dtype == "float32" and bool(folds) and add_up

    def _fetch(self) -> None:
        """While much is computed for a row, bring what is next into the cache."""
        if self._fetched:
            return
        self._fetched = True
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
        self._write_entries(4, entries, known, "j", {}, {})
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

    def _write_entries(
        self,
        depth: int,
        entries: Iterable[Node],
        known: dict[Node, str],
        index: str,
        near: Mapping[Node, str],
        numbers: Mapping[Node, None],
    ) -> None:
        """What one class has, where *numbers* are common; what is kept is read, or written where it is new."""
        new = []
        for node in entries:
            place, form = self._kept.get(node), common_form(node, numbers)
            if node in self._written and place is not None:
                known[node] = self.page.assign(depth, f"{place.read}({place.where})")
                continue
            if form in node.args:
                known[node] = self.page.name(form, known)
            else:
                at, names = ("short(k)", {node.args[0]: near[node]}) if node in near else (index, known)
                known[node] = self.page.assign(depth, self.page.text(form, names, at))
            if place is not None:
                self.page.line(depth, f"{place.write}({place.where}, {known[node]})")
                new.append(node)
        self._written.update(new)


def _is_dear(node: Node) -> bool:
    """Whether it takes so long that sums in float64 beside it are not worth half of the vectors' width."""
    return node.op in EXPENSIVE and not (node.op == "pow" and number_of(node.args[1]) in (-1, 2, 3, 4))
