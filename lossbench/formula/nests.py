"""Lowered nodes along named axes as the statements of a Numba function: a nest of loops for each array of numbers.

What is summed, or dear and needed more than once, gets an array of its own; everything else is computed in the loops
of those that use it, each statement as far outside as its axes allow. All arithmetic is in float64, so that float32
results are rounded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lossbench.formula.expression import EXPENSIVE, PI, Constants, expression
from lossbench.formula.graph import Node, Variable, number_of, topological
from lossbench.formula.node import SEQUENCES, Axes, first_of, other_of
from lossbench.formula.reduction import Reduction

REDUCED = ("row_sum", "row_max", "row_min", "norm", "argmax", "threshold")
LARGEST = 2  # axes of an array that is kept only to save time

Place: TypeAlias = Mapping[str, str]  # the index along each axis
Known: TypeAlias = tuple[str, int]  # a name, and how many loops deep it stands


@dataclass(frozen=True)
class Target:
    """What a nest computes: *node*, kept as *name* along *axes*; *output* is an array that the caller gave."""

    node: Node
    name: str
    axes: Axes
    output: bool = False


@dataclass
class Nests:
    """Writes the nests of one function.

    Attributes:
        variables: What each array and number is, by its identifier in the text; their nodes by name.
        exact: Whether sums carry their rounding errors along.
    """

    constants: Constants
    variables: Mapping[str, tuple[str, Variable]]
    exact: bool
    kept: dict[Node, Target] = field(default_factory=dict)
    empties: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    count: int = 0

    def compute(self, roots: Iterable[Node], outputs: Iterable[Target]) -> None:
        """Keep *roots*, each along its axes, and fill *outputs*."""
        roots, outputs = list(roots), list(outputs)
        every = list(topological(*roots, *(target.node for target in outputs)))
        for node, axes in _kept(every, roots).items():
            target = Target(node, f"t{len(self.kept)}", axes)
            self._allocate(target)
            self._nest(target)
            self.kept[node] = target
        for target in outputs:
            self._nest(target)

    def entry(self, node: Node, index: str) -> str:
        """A kept node along one axis or none, at *index*."""
        if (value := number_of(node)) is not None:
            return self.constants.name(value)
        kept = self.kept[node]
        return f"{kept.name}[{index}]" if kept.axes else kept.name

    def new(self) -> str:
        """A name that no statement of the function has yet: Numba would join the types of two of one name."""
        self.count += 1
        return f"v{self.count}"

    def _allocate(self, target: Target) -> None:
        if target.axes and target.node.op not in SEQUENCES:
            of = {"number": "wide", "label": "integer", "truth": "boolean"}[target.node.type]
            shape = ", ".join(map(length, target.axes))
            self.empties.append(f"{target.name} = empty(({shape},), {of})")

    def _nest(self, target: Target) -> None:
        nest = _Nest(self, target)
        nest.write()
        for depth, lines in enumerate(nest.levels):
            self.lines += ["    " * depth + line for line in lines]


def length(axis: str) -> str:
    """The name of an axis's length."""
    return f"length_{first_of(axis)}"


def _kept(every: Iterable[Node], roots: Iterable[Node]) -> dict[Node, Axes]:
    """The nodes that get arrays, or variables, of their own, and along which axes; arguments come first."""
    users: dict[Node, list[Node]] = {}
    whole: dict[Node, Axes] = {}
    for node in every:
        for arg in node.args:
            users.setdefault(arg, []).append(node)
        if node.op in SEQUENCES:
            table, labels = node.args[:2]
            whole[table], whole[labels] = ("time", "class"), ("position",)
    found: dict[Node, Axes] = {}
    for node in every:
        by = users.get(node, [])
        again = len(by) > 1 or any({*node.axes} < {*user.axes} for user in by)
        often = bool(node.args) and any(len(user.axes) > LARGEST for user in by)
        dear = ((node.op in EXPENSIVE and again) or often) and 0 < len(node.axes) <= LARGEST
        if node in whole:
            found[node] = whole[node]
        elif node.op in REDUCED or node.op in SEQUENCES or dear or (node in roots and number_of(node) is None):
            found[node] = node.axes
    return found


class _Nest:
    """The loops over one target's axes and, for a reduction, over one more."""

    def __init__(self, nests: Nests, target: Target) -> None:
        self.nests = nests
        self.target = target
        self.levels: list[list[str]] = [[] for _ in range(len(target.axes) + 1)]
        self.depths = {f"i{depth}": depth + 1 for depth in range(len(target.axes) + 1)}
        self.known: dict[tuple[Node, tuple[tuple[str, str], ...]], Known] = {}

    def write(self) -> None:
        """Fill `levels`: the lines at each depth of the loops, the outermost first."""
        target, node = self.target, self.target.node
        place = {axis: f"i{depth}" for depth, axis in enumerate(target.axes)}
        if target.output or node.op not in (*REDUCED, *SEQUENCES):
            name, _ = self._name(node, {axis: one for axis, one in place.items() if axis in node.axes})
            self._loops()
            self.levels[-1].append(f"{self._slot()} = {name}")
        elif node.op in SEQUENCES:
            self.levels[0].append(f"{target.name} = {self._sequence(node)}")
        else:
            self._reduced(node, place)

    def _slot(self) -> str:
        return _at(self.target.name, [f"i{depth}" for depth in range(len(self.target.axes))])

    def _loops(self) -> None:
        """The heads of the loops, behind all that stands outside of each."""
        for depth, axis in enumerate(self.target.axes):
            self.levels[depth].append(f"for i{depth} in range({length(axis)}):")

    def _reduced(self, node: Node, place: dict[str, str]) -> None:
        axis, depth = str(node.value), len(self.target.axes)
        inner: list[str] = []
        self.levels.append(inner)
        entry, _ = self._name(node.args[0], {**place, axis: f"i{depth}"})
        self._loops()
        if node.op == "threshold":
            row = f"row_{self.target.name}"
            self.nests.empties.append(f"{row} = empty({length(axis)}, wide)")
            begin, step, finish, result = [], [f"{row}[i{depth}] = {entry}"], [], f"threshold({row})"
        else:
            result = self.nests.new()
            reduction = Reduction(node, result, self.nests.exact)
            begin = reduction.begin(self.nests.constants.name)
            step, finish = reduction.step(entry, f"i{depth}"), reduction.finish()
        # One text with the level around it, which goes on behind the loop.
        self.levels.pop()
        self.levels[depth] += [*begin, f"for i{depth} in range({length(axis)}):"]
        self.levels[depth] += ["    " + line for line in (*inner, *step)]
        self.levels[depth] += [*finish, f"{self._slot()} = {result}"]

    def _sequence(self, node: Node) -> str:
        table, labels, *numbers = node.args
        names = [self.nests.kept[arg].name for arg in (table, labels)]
        for arg in numbers:  # labels, too: a written number is a whole one
            names.append(self._name(arg, {})[0] if number_of(arg) is None else str(number_of(arg)))
        return f"{node.op}({', '.join(names)})"

    def _name(self, node: Node, place: Place) -> Known:
        """The name of one entry of *node*, computed where the loops of its axes are."""
        if (value := number_of(node)) is not None:
            return self.nests.constants.name(value), 0
        here = {axis: place[axis] for axis in node.axes}
        key = (node, tuple(sorted(here.items())))
        if key not in self.known:
            self.known[key] = self._computed(node, here)
        return self.known[key]

    def _computed(self, node: Node, place: Place) -> Known:
        if node in self.nests.kept:
            kept = self.nests.kept[node]
            return self._element(kept.name, kept.axes, place)
        match node.op:
            case "variable":
                identifier, variable = self.nests.variables[str(node.value)]
                text, depth = self._element(identifier, variable.axes, place)
                return (text, depth) if node.type == "label" else self._assigned(f"wide({text})", depth)
            case "pi":
                return self.nests.constants.name(PI), 0
            case "size":
                return self._assigned(f"wide({length(str(node.value))})", 0)
            case "index":
                name = place[str(node.value)]
                return name, self.depths[name]
            case "other":
                renamed = {_renamed(axis, str(node.value)): name for axis, name in place.items()}
                return self._name(node.args[0], renamed)
            case "pick":
                return self._picked(node, place)
            case "support":
                (entry, first), (least, second) = (self._name(arg, place) for arg in node.args)
                return self._assigned(f"{entry} > {least}", max(first, second))
        args = [self._name(arg, place) for arg in node.args]
        depth = max((one for _, one in args), default=0)
        index = place.get(str(node.value)) if node.op in ("at", "onehot") else None
        if index is not None:
            depth = max(depth, self.depths[index])
        names = [name for name, _ in args]
        if node.op == "where":
            text = f"{names[1]} if {names[0]} else {names[2]}"
        else:
            text = expression(node, names, index, self.nests.constants)
        return self._assigned(text, depth)

    def _picked(self, node: Node, place: Place) -> Known:
        row, label = node.args
        axis = str(node.value)
        asked, depth = self._name(label, {one: place[one] for one in label.axes})
        size = length(axis)
        inside, _ = self._assigned(f"0 <= {asked} < {size}", depth)
        at, _ = self._assigned(f"{asked} if {inside} else 0", depth)
        self.depths[at] = depth
        outer = {one: name for one, name in place.items() if one in row.axes}
        entry, deeper = self._name(row, {**outer, axis: at})
        return self._assigned(f"{entry} if {inside} else {self.nests.constants.name(0)}", max(depth, deeper))

    def _element(self, name: str, axes: Axes, place: Place) -> Known:
        if not axes:
            return name, 0
        places = [place[axis] for axis in axes]
        return _at(name, places), max(self.depths[one] for one in places)

    def _assigned(self, text: str, depth: int) -> Known:
        name = self.nests.new()
        self.levels[depth].append(f"{name} = {text}")
        return name, depth


def _at(name: str, places: Sequence[str]) -> str:
    """An entry of an array; x[i] at [j] is x[i, j]."""
    array, _, first = name.rstrip("]").partition("[")
    places = [*([first] if first else []), *places]
    return f"{array}[{', '.join(places)}]" if places else array


def _renamed(axis: str, argument_axis: str) -> str:
    """The axis of the argument of an "other" that stands behind *axis* of its result."""
    return argument_axis if axis == other_of(argument_axis) else axis
