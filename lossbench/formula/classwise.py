"""A loss of rows as the body of a function: what is written where, and which entries stand at a label alone; and as a
function of whole arrays that looks at them itself.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import reduce
from itertools import combinations

from lossbench.formula import Formula
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Node, is_row, number_of, topological
from lossbench.formula.lower import lowered
from lossbench.formula.node import Variable
from lossbench.formula.onehot import at_label, onehot_of, picked, replaced, unpicked
from lossbench.formula.page import Outputs, Page
from lossbench.formula.schedule import REDUCTIONS
from lossbench.formula.write import Writer

NARROW = "_narrow"  # behind the name of a function for rows side by side
_BEGIN = """    number, classes = {array}.shape
    if number == 0 or classes == 0 or classes {other} NARROW or {unfit}:
        raise ValueError
    divided = number*share + extra
    if not divided:
        divided = {divisor}
    scale = real(wide(1) / divided if divided else {nan})
    length = {length}"""
_AT_ONCE = f"""
@compiled
def {{name}}_at_once({{arguments}}, share, extra{{outputs}}):
{_BEGIN}
    total, error = wide(0), wide(0)
    for first in range(0, number, length):
        last = min(first + length, number)
        total, error = compensated(total, error, {{name}}({{sliced}}))
    return real(completed(total, error) / divided)


@inlined
def {{name}}_at_once_block(block, {{arguments}}, scale{{outputs}}, number, length, sums):
    first = block*length
    last = min(first + length, number)
    sums[block] = {{name}}({{sliced}})


@compiled
def {{name}}_at_once_blocks(board, {{arguments}}, share, extra{{outputs}}):
{_BEGIN}
    if number < SEVERAL*length:
        raise ValueError
    sums = empty(-(-number // length))
    given = ({{arguments}}, scale{{outputs}}, number, length, sums)
    distribute(board, task({{name}}_at_once_block, given), sums.shape[0])
    return real(together(sums) / divided)
"""

_FACTOR = "gradient factor"
Given = Mapping[str, tuple[str, Variable]]  # by their names, identifiers in the text and types


def body(
    formula: Formula,
    value: Node,
    gradients: Mapping[str, str],
    inputs: Given,
    parameters: Given,
    constants: Constants,
    shares: Container[str],
    *,
    narrow: bool,
    holds: Node | None = None,
    otherwise: str = "",
) -> str:
    """The statements after the first line.

    Args:
        gradients: The arrays of gradients, by input.
        shares: The inputs from 0 to 1.
        narrow: Whether rows are computed side by side.
        holds: For which rows what is computed is right. For others *otherwise* is called: the sum of one of them, or
            of all those side by side.
    """
    slopes = [formula.kernel_gradients[name] for name in gradients]
    if constants.is_wide:
        factor = formula.graph.variable(_FACTOR, "real")
        slopes = [_combined(formula.graph, factor, slope) for slope in slopes]
    value, *slopes = picked(formula.graph, [value, *slopes])
    hots = [onehot_of(slope) for slope in slopes]
    labels = [hot.args[0] if hot is not None and hot.args[0].op == "variable" else None for hot in hots]
    # Where a label makes the difference the row is written without it, and its entry once more.
    parts = [[slope] for slope in slopes]
    for part, hot, label in zip(parts, hots, labels, strict=True):
        if hot is not None and label is not None:
            part[:] = [*(replaced(formula.graph, part[0], hot, one) for one in (0, 1)), label]

    wanted = [value, *(one for part in parts for one in part), *([] if holds is None else [holds])]
    every = _selecting(lowered(wanted, parameters, by_value=True))
    graph = Graph()
    loss, *found = unpicked(graph, every)
    factor = graph.variable(_FACTOR, "real")
    stores, patches, scalars = [], [], []
    for (name, array), part in zip(gradients.items(), parts, strict=True):
        usual, *special = [found.pop(0) for _ in part]
        slope = usual if constants.is_wide else _weighed(graph, factor, usual)
        if not inputs[name][1].axes:
            scalars.append((array, slope))
            continue
        stores.append(Node("store", (slope,), "number", (), array))
        if special:
            entry, label = special
            entry = entry if constants.is_wide else _weighed(graph, factor, entry)
            patches.append((array, label, at_label(graph, entry, label)))
    writer = Writer(Page(constants, inputs, parameters, narrow), shares)
    condition = None if holds is None else found.pop()
    return writer.body(Outputs(loss, factor if gradients else None, stores, patches, scalars, condition, otherwise))


def is_alone(formula: Formula, value: Node) -> bool:
    """Whether *value* needs no loop over the classes."""
    graph = formula.graph
    return not any(node.op in REDUCTIONS for node in topological(*unpicked(graph, picked(graph, [value]))))


def _weighed(graph: Graph, factor: Node, slope: Node) -> Node:
    return graph.rebuild(Node("weighed", (), slope.type, slope.axes), factor, slope)


def _combined(graph: Graph, factor: Node, slope: Node) -> Node:
    """The product of finite numbers that need not be rounded in this order: each row by one number, and added up."""
    terms = [
        graph.rebuild(Node("times", (), row.type, row.axes), number, row)
        for row, number in _terms(graph, factor, slope).items()
    ]
    return reduce(graph.add, terms) if terms else graph.number(0)


def _terms(graph: Graph, factor: Node, slope: Node) -> dict[Node, Node]:
    """Rows, and the number that each is multiplied by."""
    if is_row(slope):
        match slope.op, slope.args:
            case "neg", (a,):
                return _terms(graph, graph.neg(factor), a)
            case "add" | "sub", (a, b) if not a.op == b.op == "variable":  # their difference is nearly exact as it is
                terms = _terms(graph, factor, a)
                for row, number in _terms(graph, factor if slope.op == "add" else graph.neg(factor), b).items():
                    terms[row] = graph.add(terms[row], number) if row in terms else number
                return terms
            case "where", (condition, *branches) if not is_row(condition):
                first, second = (_terms(graph, factor, branch) for branch in branches)
                zero = graph.number(0)
                rows = dict.fromkeys([*first, *second])
                return {row: graph.where(condition, first.get(row, zero), second.get(row, zero)) for row in rows}
            case "mul" | "div", (a, b) if not is_row(b):
                return _terms(graph, graph.rebuild(slope, factor, b), a)
            case "mul", (a, b) if not is_row(a):
                return _terms(graph, graph.mul(factor, a), b)
        return {slope: factor}
    return {} if number_of(slope) == 0 else {graph.number(1): graph.mul(factor, slope)}


def _selecting(roots: list[Node]) -> list[Node]:
    """The graphs with selects for the choices among entries of rows: simplified no further."""
    graph = Graph()
    new: dict[Node, Node] = {}
    for node in topological(*roots):
        args = [new[arg] for arg in node.args]
        chosen = node.op == "where" and is_row(node)
        new[node] = graph.rebuild(Node("select", (), node.type, node.axes) if chosen else node, *args)
    return [new[root] for root in roots]


def at_once(
    name: str,
    arguments: Sequence[str],
    inputs: Given,
    parameters: Given,
    gradients: Mapping[str, str],
    constants: Constants,
    has_divisor: bool,
    alone: bool,
) -> str:
    """A function that divides by itself and goes through blocks of rows.

    Args:
        name, arguments: Of the function for a block.
        gradients: The arrays of gradients, by input.
        has_divisor: Whether another function gives the divisor of the mean.
        alone: Whether a row is as soon computed as an element.
    """
    given = [identifier for identifier, _ in (*inputs.values(), *parameters.values())]
    rows = [identifier for identifier, kind in inputs.values() if kind.axes]
    like = {array: inputs[one] for one, array in gradients.items()}
    arrays = [*inputs.values(), *((array, kind) for array, (_, kind) in like.items())]
    unfit = [f"{one}.shape != {rows[0]}.shape" for one, kind in arrays if kind.axes and one != rows[0]]
    unfit += [f"{one}.shape[0] != number" for one, kind in arrays if not kind.axes]
    unfit += [f"{one}.shape[0] != classes" for one, kind in parameters.values() if kind.axes]
    unfit += [f"overlap({array}, {one})" for array in like for one, _ in inputs.values()]
    unfit += [f"overlap({one}, {other})" for one, other in combinations(like, 2)]
    others = {"weight": f"{rows[0]}[0]", "weighted": "False", "values": f"{rows[0]}[0]", "write": "False"}
    sliced = {one: f"{one}[first:last]" for one, _ in arrays}
    return _AT_ONCE.format(
        name=name,
        arguments=", ".join(given),
        outputs="".join(f", {one}" for one in like),
        array=rows[0],
        other=">=" if name.endswith(NARROW) else "<",
        unfit=" or ".join(unfit) or "False",
        divisor=f"divisor({', '.join([*given, *others.values()])})" if has_divisor else "wide(1)",
        nan=constants.name("nan"),
        length="BLOCK" if alone else "max(LANES, BLOCK // classes)",
        sliced=", ".join({**others, **sliced}.get(one, one) for one in arguments),
    )
