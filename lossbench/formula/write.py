"""A loss of rows as the statements of a Numba function, one line for each node; loops over classes and rows have no
branches, so that LLVM makes vectors of them.

Rows are taken some at a time. What a row has one number of is computed for all of these rows at once and waits in rooms
on the stack; what it has for each class is computed along one row after the other, or, where rows are narrow, for a
class of all these rows at once. Every sum over the classes ends a stage: what needs it comes behind.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from lossbench.formula.graph import Node, is_row, topological
from lossbench.formula.page import Outputs, Page
from lossbench.formula.passes import Passes
from lossbench.formula.schedule import REDUCTIONS, stages_of, used_later

_LEAVES = ("number", "pi", "size", "variable", "pick")


@dataclass
class Writer:
    """Writes one function."""

    page: Page
    shares: Container[str]  # the inputs from 0 to 1

    def body(self, outputs: Outputs) -> str:
        """The statements after the first line of the function."""
        nodes = list(topological(*outputs.nodes))
        stages = stages_of(nodes)
        passes = Passes(self.page, self.shares, [str(node.value) for node in outputs.stores])
        last = max((stages[node.args[0]] for node in nodes if node.op in REDUCTIONS), default=0)
        if len(outputs.stores) == 1 and stages[outputs.stores[0].args[0]] == last:
            passes.spare = list(passes.arrays)
        self._fix(nodes)
        self.page.line(1, "total = wide(0)")
        self.page.line(1, "for start in range(0, number, tile):")
        self.page.line(2, "count = min(tile, number - start)")
        used = used_later(nodes, stages) | {outputs.loss, *(one for one in outputs.nodes if one.op != "store")}
        self._load(nodes, outputs.factor)
        reductions = [node for node in nodes if node.op in REDUCTIONS]
        for stage in range(1 + max(stages.values())):
            here = [node for node in nodes if stages[node] == stage]
            self._rows([node for node in here if self._is_single(node)], used)
            group = [node for node in reductions if stages[node.args[0]] == stage]
            if group:
                passes.write(group, [node.args[0] for node in reductions if stages[node.args[0]] > stage])
        self._finish(outputs)
        self.page.line(1, "return total")
        return "\n".join([*self._first_lines(passes), *self.page.lines])

    def _first_lines(self, passes: Passes) -> list[str]:
        lines = ["classes = {rows}.shape[1]", f"size = {self.page.constants.kind}(classes)"]
        lines = [line.format(rows=next(name for name, one in self.page.inputs.values() if one.axes)) for line in lines]
        if self.page.narrow or passes.count < 2:
            lines.append("tile = ROWS")
        else:
            lines.append("tile = max(1, min(ROWS, SPAN // classes))")
            lines += (
                [f"kept = empty({passes.length}*tile*classes, {self.page.constants.kind})"] if passes.length else []
            )
        lines += [f"{room} = space({given})" for room, given in self.page.rooms.items()]
        if "fresh" in self.page.rooms:
            one, zero = map(self.page.constants.name, (1, 0))
            lines += ["for k in range(WINDOW):", f"    put(fresh, k, {one} if k >= LANES else {zero})"]
        return ["    " + line for line in lines]

    def _fix(self, nodes: Iterable[Node]) -> None:
        """What depends on parameters alone, before the first row."""
        for node in nodes:
            if node.op == "variable" and node.value in self.page.parameters and not node.axes:
                self.page.fixed[node] = self.page.given(self.page.parameters[str(node.value)][0])
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
                text = f"{self.page.inputs[str(node.value)][0]}[i]"
                known[node] = self.page.assign(3, text if node.type == "label" else self.page.given(text))
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
                    self.page.line(2, "for j in range(classes):")
                    self.page.line(3, "for r in range(count):")  # the inner loop: LLVM gathers sooner than it scatters
                    place = "(start + r)*classes + j"
                    self.page.line(4, f"put(row_{identifier}, j*ROWS + r, entry({identifier}, {place}))")

    def _singles(self, depth: int, targets: Iterable[Node], known: dict[Node, str]) -> None:
        """Compute *targets* and what they need of what a row has one of."""
        for node in topological(*targets):
            if node not in known and node not in self.page.fixed and node.op not in _LEAVES:
                known[node] = self.page.assign(depth, self.page.text(node, known, ""))

    def _rows(self, nodes: list[Node], used: set[Node]) -> None:
        """Compute for all the rows what each has one of."""
        if not nodes:
            return
        quick = self.page.constants.is_wide and not self.page.narrow
        rows = "count" if quick else "ROWS"  # few, and quickly computed
        self.page.line(2, f"for r in range({rows}):")
        known: dict[Node, str] = {}
        for node in nodes:
            self.page.take(3, node.args, known)
            known[node] = self.page.assign(3, self.page.text(node, known, ""))
            if node in used:
                self.page.hold(3, node, known[node])

    def _finish(self, outputs: Outputs) -> None:
        """Write what a row has one of, and add up the losses."""
        apart = None if self.page.narrow else outputs.holds
        if self.page.narrow and outputs.holds is not None:
            self._together(outputs.holds, outputs.otherwise)
        self.page.line(2, "for r in range(count):")
        self.page.line(3, "i = natural(start + r)")
        known: dict[Node, str] = {}
        taken = [one for one in outputs.nodes if one.op != "store" and (one is apart or one is not outputs.holds)]
        self.page.take(3, taken, known)
        for node in outputs.stores if self.page.narrow else ():
            self.page.line(3, "for j in range(classes):")
            self.page.line(4, f"{node.value}[i, natural(j)] = taken(of_{node.value}, j*ROWS + r)")
        for array, label, node in outputs.patches:
            at = self.page.name(label, known)
            self.page.line(3, f"if 0 <= {at} < classes:")
            self.page.line(4, f"{array}[i, natural({at})] = {self.page.name(node, known)}")
        for array, node in outputs.scalars:
            self.page.line(3, f"{array}[i] = {self.page.name(node, known)}")
        depth = 3
        if apart is not None:
            self.page.line(3, f"if not {self.page.name(apart, known)}:")
            self.page.line(4, f"total = accumulated(total, {outputs.otherwise})")
            self.page.line(3, "else:")
            depth = 4
        self.page.line(depth, f"loss = weighed(taken(weights, r), {self.page.name(outputs.loss, known)})")
        self.page.line(depth, "if write:")
        self.page.line(depth + 1, "values[i] = loss")
        self.page.line(depth, "total = accumulated(total, wide(loss))")

    def _together(self, condition: Node, otherwise: str) -> None:
        """Rows side by side are computed again as they stand, if one of them has to be."""
        self.page.line(2, "holds = True")
        self.page.line(2, "for r in range(count):")
        known: dict[Node, str] = {}
        self.page.take(3, [condition], known)
        self.page.line(3, f"holds = holds & ({self.page.name(condition, known)})")
        self.page.line(2, "if not holds:")
        self.page.line(3, f"total = accumulated(total, {otherwise})")
        self.page.line(3, "continue")
