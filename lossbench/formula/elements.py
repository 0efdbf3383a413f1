"""A loss of elements as functions without branches: LLVM makes vectors of them, sixteen numbers at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from lossbench.formula.common import common
from lossbench.formula.expression import EXPENSIVE, PI, Constants, expression
from lossbench.formula.graph import Node, number_of, topological
from lossbench.formula.lower import lowered

_INDENT = "    "
_FUNCTIONS = """
@within
def {name}(begin, end, {given}):
{body}


@compiled
def {name}_turns({arguments}):
{checks}
    total, error = wide(0), wide(0)
    for begin in range(0, number, BLOCK):
        total, error = compensated(total, error, {name}(begin, min(begin + BLOCK, number), {given}))
    return {type}(completed(total, error) / parts)


@inlined
def {name}_block(block, {given}, number, sums):
    begin = block * BLOCK
    sums[block] = {name}(begin, min(begin + BLOCK, number), {given})


@compiled
def {name}_blocks(board, {arguments}):
{checks}
    sums = empty(-(-number // BLOCK))
    distribute(board, task({name}_block, ({given}, number, sums)), sums.shape[0])
    return {type}(together(sums) / parts)
"""
SPREAD = 262144  # elements of the cheapest losses that are worth a second thread
FAR = 24 << 20  # bytes of outputs from which on whoever reads them next does not find them in the cache anyway
_STRETCHES = (
    "first = begin",
    "while first < end:",
    "    first, count, known = stretch(begin, first, end, {most})",
)
_ENTRIES = (
    "for k in range(count):",
    "    i = natural(first + k)",  # an integer that may be negative would count from the end
)


@dataclass
class Elements:
    """Functions of elements: of those from `begin` to `end`, and of all, block after block or spread over threads.

    The latter two look at their arguments themselves and divide the sum by `share` for each element and `extra`.

    Attributes:
        inputs, parameters: Their identifiers in the text.
        each: Whether the loss of each element is written; else their sum is returned.
        weighted: Whether each element has a weight.
    """

    constants: Constants
    inputs: Mapping[str, str]
    parameters: Mapping[str, str]
    each: bool
    weighted: bool
    lines: list[str] = field(default_factory=list)
    known: dict[Node, str] = field(default_factory=dict)
    count: int = 0  # of the names so far

    def functions(self, name: str, value: Node, gradients: Mapping[str, Node], type_: str = "real") -> str:
        """Their text.

        Args:
            name: Of the first; the others have it in theirs.
            value: The loss.
            gradients: By the array that they are written into.
            type_: Of the sum.
        """
        arrays = [*self.inputs.values(), *(["weight"] if self.weighted else [])]
        outputs = [*gradients, *(["values"] if self.each else [])]
        first, *others = arrays
        unfit = [f"{one}.shape[0] != number" for one in (*others, *outputs)]
        unfit += [f"overlap({one}, {other})" for one in outputs for other in arrays]
        unfit += [f"overlap({one}, {other})" for one, other in combinations(outputs, 2)]
        checks = [f"number = {first}.shape[0]"]
        if unfit:
            checks += [f"if {' or '.join(unfit)}:", "    raise ValueError"]
        checks.append("parts = number * share + extra")
        scale = ["scale"] if gradients else []
        if gradients:
            checks.append(f"scale = wide(1) / parts if parts else wide({self.constants.name('nan')})")
        loss, *slopes = lowered([value, *gradients.values()], self.parameters)
        dear = _dear(loss, *slopes)
        # What takes longer to compute than to write gains nothing past the cache.
        far = ["far"] if outputs and not dear else []
        if far:
            checks.append(f"far = {' + '.join(f'{one}.nbytes' for one in outputs)} >= {FAR}")
        given = [*self.inputs.values(), *self.parameters.values(), *arrays[len(self.inputs) :]]
        return _FUNCTIONS.format(
            name=name,
            given=", ".join([*given, *scale, *far, *outputs]),
            arguments=", ".join([*given, "share", "extra", *outputs]),
            body=self._body(loss, slopes, outputs, dear),
            checks="\n".join(_INDENT + one for one in checks),
            type=type_,
        )

    def _body(self, loss: Node, slopes: Sequence[Node], arrays: Sequence[str], dear: bool) -> str:
        """The statements of the first, which writes into *arrays*."""
        nodes = list(topological(loss, *slopes))
        varying = _varying(nodes, self.inputs)
        if slopes:
            self._write(1, "factor = real(scale)")
        self._computed([node for node in nodes if node not in varying], self.parameters, 1)
        zero = self.constants.name(0)
        if not dear:
            self._write(1, *(f"r{at} = room({zero})" for at in range(len(arrays))))
        # Dear losses are computed in fewer vectors at once, and float64 has but half as many numbers in each.
        most = "SHORT" if dear and self.constants.dtype == "float64" else "STRETCH"
        if not self.each:
            self._write(1, f"terms = room({zero})", "total, error, again = wide(0), wide(0), False")
        self._write(1, *(text.format(most=most) for text in _STRETCHES))
        rooms = ["" if dear else f"r{at} if far else " for at in range(len(arrays))]
        self._write(2, *(f"o{at} = {rooms[at]}address({array}, first)" for at, array in enumerate(arrays)))
        if not self.each:
            self._write(2, f"part, kept = {zero}, again or count < {most}")
        fixed = dict(self.known)
        results, numbers = common([loss, *slopes], varying)
        if numbers:
            self._write(2, f"odd = {zero}")
            self._entries(2, results, numbers, dear)
            self._write(2, f"if odd > {zero}:", *([] if self.each else [f"    part = {zero}"]))
            self.known = fixed
        self._entries(3 if numbers else 2, [loss, *slopes], [], dear)
        if not self.each:
            self._add(dear)
        if arrays and not dear:
            self._write(2, "if far:", *(f"    streamed({one}, first, r{at}, count)" for at, one in enumerate(arrays)))
        self._write(2, "first += count")
        self._write(1, "return wide(0)" if self.each else "return completed(total, error)")
        return "\n".join(self.lines)

    def _entries(self, depth: int, roots: Sequence[Node], numbers: Sequence[Node], dear: bool) -> None:
        """The loop over the entries of a stretch; it counts those where one of *numbers* is not common."""
        self._write(depth, *_ENTRIES)
        self._computed([node for node in topological(*roots) if node not in self.known], self.inputs, depth + 1, "[i]")
        self._write(depth + 1, *(f"odd = accumulated(odd, uncommon({self._name(one)}))" for one in numbers))
        if self.weighted:
            self._write(depth + 1, "w = weight[i]")
        loss, *slopes = map(self._name, roots)
        results = [f"weighed(factor*w, {one})" if self.weighted else f"factor*{one}" for one in slopes]
        results.append(f"weighed(w, {loss})" if self.weighted else loss)
        outputs = len(slopes) + self.each
        self._write(depth + 1, *(f"put(o{at}, k, {result})" for at, result in enumerate(results[:outputs])))
        if not self.each:
            keep = "put(terms, k, x)" if dear else "keep(terms, k, x, kept)"
            self._write(depth + 1, f"x = {results[-1]}", keep, "part = accumulated(part, x)")

    def _add(self, dear: bool) -> None:
        """What adds up the losses of a stretch; a sum that is infinite in their own numbers may be none in float64."""
        infinite = f"not part - part == {self.constants.name(0)}"
        if dear:
            self._write(2, f"kept = kept or {infinite}")
        else:  # the stretch once more
            self._write(2, f"again = not kept and {infinite}", "if again:", "    continue")
        self._write(2, "total, error = compensated(total, error, added(terms, known, count) if kept else wide(part))")

    def _computed(self, nodes: Iterable[Node], given: Mapping[str, str], depth: int, entry: str = "") -> None:
        for node in nodes:
            if number_of(node) is not None or node.op == "pi":
                continue
            name = f"t{self.count}"
            if node.op == "variable":
                text = f"{given[str(node.value)]}{entry}"
                if not entry:
                    self.known[node] = text
                    continue
            else:
                text = self._expression(node)
            self.known[node] = name
            self.count += 1
            self._write(depth, f"{name} = {text}")

    def _expression(self, node: Node) -> str:
        args = [self._name(arg) for arg in node.args]
        match node.op:
            case "where":
                return f"select({', '.join(args)})"
            case "and" | "or":
                return f"{args[0]} {'&' if node.op == 'and' else '|'} {args[1]}"
        return expression(node, args, None, self.constants)

    def _name(self, node: Node) -> str:
        value = PI if node.op == "pi" else number_of(node)
        return self.known[node] if value is None else self.constants.name(value)

    def _write(self, depth: int, *texts: str) -> None:
        self.lines.extend(_INDENT * depth + text for text in texts)


def spread(*roots: Node) -> int:
    """How many elements are worth a second thread: computing them takes several times what starting it takes."""
    return SPREAD // (4 if _dear(*roots) else 1)


def _dear(*roots: Node) -> bool:
    """Whether computing them takes longer than reading what they are computed from."""
    nodes = [node for node in topological(*roots) if node.op in EXPENSIVE]
    return any(node.op != "pow" or "power" in expression(node, "ab", None, Constants("float64")) for node in nodes)


def _varying(nodes: Iterable[Node], inputs: Mapping[str, str]) -> set[Node]:
    """What is not the same for every element."""
    found: set[Node] = set()
    for node in nodes:
        if (node.op == "variable" and node.value in inputs) or any(arg in found for arg in node.args):
            found.add(node)
    return found
