"""Formulas of one line, certified at a point: what tests of the oracle and of kinks stand on."""

import numpy as np

from lossbench.formula import Formula, Graph, gradient, oracle
from lossbench.formula.graph import topological
from lossbench.formula.parse import parse

KINDS = {"x": "real", "z": "real", "y": "real", "c": "real", "p": "row", "q": "row", "j": "label"}  # c: a parameter
DIFFERENTIATED = ("x", "z", "p")


def formula(text: str, by: tuple[str, ...] | None = None, divisor: str = "1") -> Formula:
    graph = Graph()
    root = parse(text, KINDS, graph)
    used = {node.value for node in topological(root) if node.op == "variable"}
    by = tuple(name for name in DIFFERENTIATED if name in used) if by is None else by
    gradients = gradient(graph, root, by)
    return Formula(
        graph=graph,
        names={name: kind for name, kind in KINDS.items() if name in used},
        differentiated=by,
        definition=root,
        divisor=parse(divisor, KINDS, graph),
        gradients=gradients,
        kernel=root,
        kernel_gradients=gradients,
    )


def certify(text: str, by: tuple[str, ...] | None = None, **at: object) -> oracle.Certified:
    """The certified formula at one point."""
    arrays = {name: np.array([value], int if name == "j" else float) for name, value in at.items() if name != "c"}
    return oracle.certify(formula(text, by), arrays, {"c": at["c"]} if "c" in at else {})
