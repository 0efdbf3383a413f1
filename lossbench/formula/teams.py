"""Scheduled nodes as the statements of a CUDA kernel, one line for each; a team of threads shares the loops over a row.

The names that it uses of its surroundings: `classes`, `size`, `lane`, `team`, `room`, and `at` beside `j` for a class.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

from lossbench.formula.expression import EXPENSIVE, PI, Constants, expression
from lossbench.formula.graph import Node, is_row, number_of, topological
from lossbench.formula.schedule import Group, Scope, schedule


@dataclass(frozen=True)
class Place:
    """Where a statement stands: what is named and decided there, and the class looked at, if one is."""

    indent: int
    known: MutableMapping[Node, str]
    decided: Mapping[Node, bool]
    index: str | None = None

    @property
    def scope(self) -> Scope:
        return Scope(self.known, self.decided, self.index is not None)

    def inside(self, decided: Mapping[Node, bool] | None = None, index: str | None = None) -> Place:
        """One level deeper; what is computed there is not known outside."""
        known = ChainMap({}, self.known)
        return Place(self.indent + 1, known, {**self.decided, **(decided or {})}, index or self.index)


@dataclass
class Writer:
    """Statements that compute nodes as `schedule` orders them."""

    constants: Constants
    lines: list[str] = field(default_factory=list)
    count: int = 0

    def variables(self, targets: Iterable[Node], names: Mapping[str, str], place: Place) -> None:
        """Name the variables below *targets*; numbers that lie in an array are read."""
        for node in topological(*targets):
            name = names.get(str(node.value)) if node.op == "variable" else None
            if name is None:
                continue
            if "[" in name and "?" not in name:
                self._assign(node, name, place)
            else:
                place.known[node] = f"{name}[?]" if is_row(node) and "[" not in name else name

    def compute(self, targets: Iterable[Node], place: Place) -> None:
        """Everything that *targets* need, and they themselves."""
        for nodes, group in schedule(targets, place.scope):
            for node in nodes:
                self._single(node, place)
            if group and group.condition is None:
                self._loop(group, place)
            elif group:
                self._choice(group, place)

    def name(self, node: Node, place: Place) -> str:
        """What *node* is called at *place*."""
        node = place.scope.resolved(node)
        value = number_of(node)
        if value is not None:
            return self.constants.name(value)
        if node.op in ("pi", "size"):
            return self.constants.name(PI) if node.op == "pi" else "size"
        # What is no label but counts up needs no check for being negative, when it is unsigned.
        return place.known[node].replace("?", "at" if place.index == "j" else str(place.index))

    def line(self, place: Place, text: str) -> None:
        """One more statement."""
        self.lines.append("    " * place.indent + text)

    def _single(self, node: Node, place: Place) -> None:
        if node.op != "pick":
            args = [self.name(arg, place) for arg in node.args]
            self._assign(node, expression(node, args, place.index, self.constants), place)
            return
        row, label = place.scope.resolved(node.args[0]), self.name(node.args[1], place)
        name = self._new(node, place)
        self.line(place, f"if 0 <= {label} < classes:")
        inside = place.inside(index=label)
        self.compute([row], inside)
        self.line(inside, f"{name} = {self.name(row, inside)}")
        self.line(place, "else:")
        self.line(inside, f"{name} = {self.constants.name(0)}")

    def _choice(self, group: Group, place: Place) -> None:
        condition = group.condition
        assert condition is not None
        names = [self._new(node, place) for node in group.members]
        self.line(place, f"if {self.name(condition, place)}:")
        for taken in (True, False):
            if not taken:
                self.line(place, "else:")
            branches = [place.scope.resolved(node.args[1 if taken else 2]) for node in group.members]
            inside = place.inside({condition: taken})
            self.compute(branches, inside)
            for name, branch in zip(names, branches, strict=True):
                self.line(inside, f"{name} = {self.name(branch, inside)}")

    def _loop(self, group: Group, place: Place) -> None:
        """Each thread takes every team-th class; then the team puts together what its threads have found."""
        rows = [place.scope.resolved(node.args[0]) for node in group.members]
        wide = self.constants.dtype == "float64"
        exact = wide and any(node.op in EXPENSIVE for node in topological(*rows) if is_row(node))
        reductions = [Reduction(node, self._new(node, place), exact) for node in group.members]
        for reduction in reductions:
            self._all(place, reduction.begin(self.constants))
        self.line(place, "j = lane")
        self.line(place, "while j < classes:")
        inside = place.inside(index="j")
        self.line(inside, "at = index(j)")
        self.compute(rows, inside)
        for reduction, row in zip(reductions, rows, strict=True):
            self._all(inside, reduction.step(self.name(row, inside)))
        self.line(inside, "j += team")
        for reduction in reductions:
            self._all(place, reduction.finish())

    def _assign(self, node: Node, text: str, place: Place) -> None:
        self.line(place, f"{self._new(node, place)} = {text}")

    def _new(self, node: Node, place: Place) -> str:
        self.count += 1
        place.known[node] = name = f"t{self.count}"
        return name

    def _all(self, place: Place, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(place, text)


@dataclass(frozen=True)
class Reduction:
    """A node of `schedule.REDUCTIONS`, by the name of its result; *exact* sums carry their rounding errors along."""

    node: Node
    name: str
    exact: bool

    def begin(self, constants: Constants) -> list[str]:
        """Before the loop."""
        name = self.name
        match self.node.op:
            case "row_sum":
                return [f"{name}_total, {name}_error = wide(0), wide(0)"]
            case "norm":
                return [f"{name}_plain, {name}_large, {name}_little = wide(0), wide(0), wide(0)"]
            case "argmax":
                return [f"{name}_at, {name}_largest = 0, {constants.name('-inf')}"]
            case "row_max":
                return [f"{name}_largest = {constants.name('-inf')}"]
            case "row_min":
                return [f"{name}_smallest = {constants.name('inf')}"]
        return []

    def step(self, entry: str) -> list[str]:
        """In the loop, where *entry* is known."""
        name = self.name
        match self.node.op:
            case "store":
                return [f"{self.node.value}[at] = {entry}"]
            case "row_sum" if self.exact:
                return [f"{name}_total, {name}_error = compensated({name}_total, {name}_error, {entry})"]
            case "row_sum":
                return [f"{name}_total += wide({entry})"]
            case "norm":
                sums = f"{name}_plain, {name}_large, {name}_little"
                return [f"{sums} = squares({sums}, wide({entry}))"]
            case "argmax":  # a nan is the largest, and stays
                return [
                    f"if {entry} > {name}_largest or {entry} != {entry}:",
                    f"    {name}_at, {name}_largest = j, {entry}",
                ]
            case "row_max":
                return [f"{name}_largest = maximum({name}_largest, {entry})"]
        return [f"{name}_smallest = minimum({name}_smallest, {entry})"]

    def finish(self) -> list[str]:
        """Behind the loop."""
        name, threads = self.name, "room, lane, team"
        match self.node.op:
            case "store":
                return []
            case "row_sum" if self.exact:
                pair = f"{name}_total, {name}_error"
                return [f"{pair} = exactly_summed({threads}, {pair})", f"{name} = real(completed({pair}))"]
            case "row_sum":
                return [f"{name} = real(summed({threads}, {name}_total))"]
            case "norm":
                sums = [f"summed({threads}, {name}_{one})" for one in ("plain", "large", "little")]
                return [f"{name} = real(root({', '.join(sums)}))"]
            case "argmax":
                return [f"{name} = peak({threads}, wide({name}_largest), {name}_at)"]
            case "row_max":
                return [f"{name} = real(largest({threads}, wide({name}_largest)))"]
        return [f"{name} = real(smallest({threads}, wide({name}_smallest)))"]
