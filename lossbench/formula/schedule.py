"""In which order a graph is computed: what always, what only in one branch, which sums over the classes in one loop.

Every condition gets one `if` where possible, so that a branch that is not taken costs nothing. What both of its
branches need, or two conditions, is computed before.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lossbench.formula.graph import Node, is_row

REDUCTIONS = ("row_sum", "row_max", "row_min", "norm", "argmax", "peak", "store")  # each needs a loop over the classes


@dataclass(frozen=True)
class Group:
    """Nodes that share an `if` (*condition* is its node) or a loop over the classes (it is None)."""

    condition: Node | None
    members: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """What is known at one place of the program.

    Attributes:
        known: The nodes that need not be computed.
        decided: The conditions whose branch one is in.
        in_row: Whether one class is looked at; then numbers of the whole row are known.
    """

    known: Container[Node]
    decided: Mapping[Node, bool]
    in_row: bool

    def resolved(self, node: Node) -> Node:
        """*node*, or the branch of it that is already decided; itself where it is known, for its branch need not be."""
        while node.op == "where" and node not in self.known and node.args[0] in self.decided:
            node = node.args[1] if self.decided[node.args[0]] else node.args[2]
        return node

    def has(self, node: Node) -> bool:
        """Whether *node* needs no statement here."""
        leaf = node.op in ("number", "pi", "variable", "size")
        return leaf or node in self.known or (self.in_row and not is_row(node))

    def needs(self, node: Node) -> Iterator[Node]:
        """What must be known before *node*, whichever branches are taken."""
        if node.op == "where":
            wanted: Iterable[Node] = node.args[:1]
        elif node.op in REDUCTIONS:
            wanted = self.beside(node.args[0])
        elif node.op == "pick":
            wanted = (*self.beside(node.args[0]), node.args[1])
        else:
            wanted = node.args
        return (one for one in map(self.resolved, wanted) if not self.has(one))

    def branches(self, node: Node) -> Iterator[tuple[bool, Node]]:
        """The branches of a `where` that need statements."""
        for taken, branch in ((True, node.args[1]), (False, node.args[2])):
            branch = self.resolved(branch)
            if not self.has(branch):
                yield taken, branch

    def beside(self, row: Node) -> list[Node]:
        """The numbers of the whole row that an entry of *row* is made of."""
        found: dict[Node, None] = {}
        stack, seen = [row], set()
        while stack:
            node = self.resolved(stack.pop())
            if node in seen or node in self.known:
                continue
            seen.add(node)
            if is_row(node):
                stack.extend(node.args)
            else:
                found[node] = None
        return list(found)


def schedule(targets: Iterable[Node], scope: Scope) -> list[tuple[list[Node], Group | None]]:
    """Steps that compute *targets*: in each, nodes one by one, then a group."""
    always = _always(targets, scope)
    order = [node for node in _ordered(targets, scope) if node in always]
    groups: list[Group] = []
    slot: dict[Node, int] = {}
    for node in order:
        ready = max((slot[one] for one in _below(node, always, scope)), default=0)
        if node.op != "where" and node.op not in REDUCTIONS:
            slot[node] = ready
            continue
        condition = scope.resolved(node.args[0]) if node.op == "where" else None
        for index in range(ready, len(groups)):
            if groups[index].condition is condition:
                break
        else:
            index = len(groups)
            groups.append(Group(condition))
        groups[index].members.append(node)
        slot[node] = index + 1
    grouped = {member for group in groups for member in group.members}
    steps: list[tuple[list[Node], Group | None]] = []
    for index in range(len(groups) + 1):
        single = [node for node in order if slot[node] == index and node not in grouped]
        steps.append((single, groups[index] if index < len(groups) else None))
    return steps


def _always(targets: Iterable[Node], scope: Scope) -> set[Node]:
    """The nodes that are computed outside of any branch."""
    always: set[Node] = set()
    wanted = set(targets)
    while wanted:
        stack = list(wanted)
        while stack:
            node = scope.resolved(stack.pop())
            if node not in always and not scope.has(node):
                always.add(node)
                stack.extend(scope.needs(node))
        owner: dict[Node, tuple[Node, bool]] = {}
        wanted = set()
        for node in always:
            if node.op == "where":
                for taken, branch in scope.branches(node):
                    for inner in _ordered([branch], scope, stop=always):
                        if owner.setdefault(inner, (node.args[0], taken)) != (node.args[0], taken):
                            wanted.add(inner)
    return always


def _below(node: Node, always: set[Node], scope: Scope) -> set[Node]:
    """The nodes of *always* on which *node* depends, directly or through a branch."""
    found: set[Node] = set()
    stack, seen = [node], {node}
    while stack:
        one = stack.pop()
        for arg in _all_needs(one, scope):
            if arg in always:
                found.add(arg)
            elif arg not in seen:
                seen.add(arg)
                stack.append(arg)
    return found


def _all_needs(node: Node, scope: Scope) -> Iterator[Node]:
    yield from scope.needs(node)
    if node.op == "where":
        for _, branch in scope.branches(node):
            yield branch


def _ordered(targets: Iterable[Node], scope: Scope, stop: Container[Node] = ()) -> Iterator[Node]:
    """Every node that *targets* may need, arguments first; not beyond those of *stop*."""
    seen: set[Node] = set()
    stack = [(scope.resolved(target), False) for target in reversed(list(targets))]
    while stack:
        node, expanded = stack.pop()
        if node in seen or node in stop or scope.has(node):
            continue
        if expanded:
            seen.add(node)
            yield node
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in _all_needs(node, scope))


def stages_of(nodes: Iterable[Node]) -> dict[Node, int]:
    """Behind how many sums over the classes each of the nodes is known."""
    stages: dict[Node, int] = {}
    for node in nodes:
        before = max((stages[arg] for arg in node.args), default=0)
        stages[node] = before + (node.op in REDUCTIONS and node.op != "store")
    return stages


def used_later(nodes: Iterable[Node], stages: Mapping[Node, int]) -> set[Node]:
    """What a row has one of and is needed in another loop than its own."""
    used: set[Node] = set()
    for node in nodes:
        apart = is_row(node) or node.op in REDUCTIONS
        used.update(arg for arg in node.args if not is_row(arg) and (apart or stages[arg] < stages[node]))
    return used
