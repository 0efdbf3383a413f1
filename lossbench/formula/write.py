"""Scheduled nodes as the statements of a Numba function, one line for each."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

from lossbench.formula.expression import EXPENSIVE, PI, Constants, branchless
from lossbench.formula.folds import Fold
from lossbench.formula.graph import Node, Variable, is_row, number_of, topological
from lossbench.formula.schedule import Group, Scope, schedule


@dataclass(frozen=True)
class _Place:
    """Where in the program a statement stands.

    Attributes:
        known: The names of nodes already computed, and the place in `kept` of rows.
        decided: The conditions whose branch this is.
        index: The class looked at, or None where the place is outside of loops over them.
    """

    indent: int
    known: MutableMapping[Node, str]
    decided: Mapping[Node, bool]
    index: str | None = None

    @property
    def scope(self) -> Scope:
        return Scope(self.known, self.decided, self.index is not None)

    def inside(self, decided: Mapping[Node, bool] | None = None, index: str | None = None) -> _Place:
        """One level deeper; what is computed there is not known outside."""
        known = ChainMap({}, self.known)
        return _Place(self.indent + 1, known, {**self.decided, **(decided or {})}, index or self.index)


@dataclass
class Writer:
    """Writes functions that share one table of constants."""

    constants: Constants
    lines: list[str] = field(default_factory=list)
    count: int = 0
    rows: int = 0  # how many rows `kept` holds

    def body(
        self,
        inputs: Mapping[str, tuple[str, Variable]],
        parameters: Mapping[str, tuple[str, Variable]],
        loss: Node,
        factor: Node,
        stores: list[Node],
        patches: list[tuple[str, Node]],
        scalars: list[tuple[str, Node]],
        classes: str | None,
    ) -> str:
        """The statements after the first line of a function.

        Args:
            inputs, parameters: By their identifiers in the text.
            loss: The value.
            factor: The variable that gradients are multiplied by.
            stores: Row gradients, each a "store" node that names its array.
            patches: Arrays of row gradients, and a "pick" at the one label where the entry stored is another.
            scalars: Arrays for gradients by a number for each element or row, and these.
            classes: What says the number of classes, or None.
        """
        self.lines, self.rows = [], 0
        outside = _Place(1, {}, {})
        targets = [loss, *stores, *(node for _, node in (*patches, *scalars))]
        nodes = list(topological(*targets))
        variables = {node.value: node for node in nodes if node.op == "variable"}
        if classes is not None:
            self._line(outside, f"classes = {classes}")
            self._line(outside, "size = real(classes)")
        for identifier, (name, _) in parameters.items():
            if name in variables:
                outside.known[variables[name]] = identifier
        fixed = _fixed(nodes, {name for name, _ in parameters.values()})
        self._compute(fixed, outside)
        self._line(outside, "total = wide(0)")
        self._line(outside, "for i in range(number):")
        inside = outside.inside()
        for identifier, (name, given) in inputs.items():
            if name in variables and given.axes:
                inside.known[variables[name]] = f"{identifier}[i, ?]"
            elif name in variables:
                self._assign(variables[name], f"{identifier}[i]", inside)
        self._line(inside, f"w = weight[i] if weighted else {self.constants.name(1)}")
        if stores or scalars:
            inside.known[factor] = "factor"
            self._line(inside, "factor = scale*w")
        self._compute(targets, inside)
        for array, node in patches:
            label = self._name(node.args[1], inside)
            self._line(inside, f"if 0 <= {label} < classes:")
            self._line(inside.inside(), f"{array}[i, {label}] = {self._name(node, inside)}")
        for array, node in scalars:
            self._line(inside, f"{array}[i] = {self._name(node, inside)}")
        self._line(inside, f"loss = weighed(w, {self._name(loss, inside)})")
        self._line(inside, "if write:")
        self._line(inside.inside(), "values[i] = loss")
        self._line(inside, "total = accumulated(total, wide(loss))")
        self._line(outside, "return total")
        if self.rows:
            self.lines.insert(2, f"    kept = empty(({self.rows}, classes), real)")
        return "\n".join(self.lines)

    def _compute(self, targets: Iterable[Node], place: _Place) -> None:
        steps = schedule(targets, place.scope)
        keep = self._shared([group for _, group in steps if group and group.condition is None], place)
        for nodes, group in steps:
            for node in nodes:
                self._single(node, place)
            if group and group.condition is None:
                self._loop(group, keep, place)
            elif group:
                self._choice(group, place)

    def _single(self, node: Node, place: _Place) -> None:
        if node.op != "pick":
            args = [self._name(arg, place) for arg in node.args]
            self._assign(node, branchless(node, args, place.index, self.constants), place)
            return
        row, label = place.scope.resolved(node.args[0]), self._name(node.args[1], place)
        name = self._new(node, place)
        self._line(place, f"if 0 <= {label} < classes:")
        inside = place.inside(index=label)
        self._compute([row], inside)
        self._line(inside, f"{name} = {self._name(row, inside)}")
        self._line(place, "else:")
        self._line(inside, f"{name} = {self.constants.name(0)}")

    def _choice(self, group: Group, place: _Place) -> None:
        condition = group.condition
        assert condition is not None
        names = [self._new(node, place) for node in group.members]
        self._line(place, f"if {self._name(condition, place)}:")
        for taken in (True, False):
            if not taken:
                self._line(place, "else:")
            branches = [place.scope.resolved(node.args[1 if taken else 2]) for node in group.members]
            inside = place.inside({condition: taken})
            self._compute(branches, inside)
            for name, branch in zip(names, branches, strict=True):
                self._line(inside, f"{name} = {self._name(branch, inside)}")

    def _loop(self, group: Group, keep: list[Node], place: _Place) -> None:
        rows = [place.scope.resolved(node.args[0]) for node in group.members]
        entries = _entries(rows, place)
        kept = [node for node in keep if node not in place.known and node in entries]
        reductions = [Fold(node, self._new(node, place), self._room(node)) for node in group.members]
        for reduction in reductions:
            self._lines(place, reduction.begin(self.constants.name))
        self._line(place, "for j in range(classes):")
        inside = place.inside(index="j")
        self._compute([*kept, *rows], inside)
        for node in kept:
            self._line(inside, f"kept[{self.rows}, j] = {self._name(node, inside)}")
            place.known[node] = f"kept[{self.rows}, ?]"
            self.rows += 1
        for reduction, row in zip(reductions, rows, strict=True):
            self._lines(inside, reduction.step(self._name(row, inside), "j"))
        for reduction in reductions:
            self._lines(place, reduction.finish(self.constants.name))

    def _room(self, node: Node) -> str:
        """A row of `kept` for the terms of a sum."""
        if node.op not in ("row_sum", "norm"):
            return ""
        self.rows += 1
        return f"kept[{self.rows - 1}, ?]"

    def _name(self, node: Node, place: _Place) -> str:
        node = place.scope.resolved(node)
        value = number_of(node)
        if value is not None:
            return self.constants.name(value)
        if node.op == "pi":
            return self.constants.name(PI)
        if node.op == "size":
            return "size"
        name = place.known[node]
        if node.op == "variable" and node.kind == "row" and "?" not in name:
            return f"{name}[{place.index}]"
        return name.replace("?", str(place.index))

    def _shared(self, loops: list[Group], place: _Place) -> list[Node]:
        """The expensive rows that several of *loops* need, inner ones first."""
        needed: set[Node] = set()
        shared: dict[Node, None] = {}
        for group in loops:
            rows = [place.scope.resolved(node.args[0]) for node in group.members]
            mine = [node for node in _entries(rows, place, stop=needed) if node.op in EXPENSIVE]
            shared.update(dict.fromkeys(node for node in mine if node in needed))
            needed.update(mine)
        return list(shared)

    def _assign(self, node: Node, text: str, place: _Place) -> None:
        self._line(place, f"{self._new(node, place)} = {text}")

    def _new(self, node: Node, place: _Place) -> str:
        self.count += 1
        name = f"t{self.count}"
        place.known[node] = name
        return name

    def _lines(self, place: _Place, texts: Iterable[str]) -> None:
        for text in texts:
            self._line(place, text)

    def _line(self, place: _Place, text: str) -> None:
        self.lines.append("    " * place.indent + text)


def _entries(rows: Iterable[Node], place: _Place, stop: Iterable[Node] = ()) -> list[Node]:
    """The nodes that entries of *rows* are made of, arguments first; those of *stop* too, but not beyond."""
    found: dict[Node, None] = {}
    stop = set(stop)
    stack = [(row, False) for row in rows]
    while stack:
        node, expanded = stack.pop()
        node = place.scope.resolved(node)
        if node in found or not is_row(node) or node in place.known:
            continue
        if expanded or node in stop:
            found[node] = None
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in node.args)
    return list(found)


def _fixed(nodes: Iterable[Node], parameters: set[str]) -> list[Node]:
    """What depends on parameters alone: computed once, before the first element."""
    fixed: dict[Node, None] = {}
    for node in nodes:
        own = node.op in ("number", "pi", "size") or (node.op == "variable" and node.value in parameters)
        if own or (node.args and node.op != "store" and all(arg in fixed for arg in node.args)):
            fixed[node] = None
    return [node for node in fixed if node.args and not is_row(node)]
