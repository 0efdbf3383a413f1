"""Formulas with named axes, their random texts, and the oracle and NumPy at a point: what their tests stand on."""

import re

import numpy as np

from lossbench.formula import Formula, Graph, Variable, floats, gradient, oracle
from lossbench.formula.parse import parse

NAMES = {
    "x": Variable("number", ("batch", "feature")),
    "w": Variable("number", ("class", "feature")),
    "s": Variable("number", ("batch",)),
    "y": Variable("label", ("batch",)),
    "t": Variable("number", ("time", "class")),
    "u": Variable("number", ("class", "time")),
    "l": Variable("label", ("position",)),
    "k": Variable("label", ("class",)),
    "m": "label",
    "n": "label",
    "c": "real",  # a parameter
}
SIZES = {"batch": 3, "feature": 2, "class": 3, "time": 4, "position": 3}
DIFFERENTIATED = ("x", "w", "s", "t", "u")


def formula(text: str, divisor: str = "1") -> Formula:
    graph = Graph()
    root = parse(text, NAMES, graph)
    roots = (root, parse(divisor, NAMES, graph))
    used = set(re.findall(r"\w+", f"{text} {divisor}"))
    by = tuple(name for name in DIFFERENTIATED if name in used)
    gradients = gradient(graph, root, by)
    return Formula(
        graph=graph,
        names={name: variable for name, variable in NAMES.items() if name in used},
        differentiated=by,
        definition=root,
        divisor=roots[1],
        gradients=gradients,
        kernel=root,
        kernel_gradients=gradients,
    )


def point(one: Formula, seed: int, sizes: dict[str, int] = SIZES) -> dict[str, np.ndarray]:
    """Random arrays for the inputs of *one*: a point, without an axis of points."""
    random = np.random.default_rng(seed)
    found = {}
    for name, variable in one.variables.items():
        shape = [sizes[axis] for axis in variable.axes]
        if name in ("m", "n"):
            found[name] = np.array(random.integers(0, sizes["position"], shape))
        elif variable.type == "label":
            found[name] = np.array(random.integers(0, 3, shape))
        elif name != "c":
            found[name] = np.array(random.normal(size=shape)).astype(np.float32).astype(np.float64)
    return found


def certified(one: Formula, arrays: dict[str, np.ndarray], **parameters: float) -> oracle.Certified:
    """The oracle at one point."""
    if not one.batchwise:
        arrays = {name: array[None] for name, array in arrays.items()}
    return oracle.certify(one, arrays, parameters)


def in_floats(one: Formula, arrays: dict[str, np.ndarray], **parameters: float) -> dict[str, np.ndarray]:
    """NumPy's value, and its gradients by the axis-aware derivative."""
    given = arrays | {name: np.asarray(value) for name, value in parameters.items()}
    roots = {"value": one.definition} | one.gradients
    axes = [one.definition.axes, *(one.variables[name].axes for name in one.differentiated)]
    found = dict(zip(roots, floats.evaluate(list(roots.values()), given, axes, SIZES), strict=True))
    shapes = {name: arrays[name].shape for name in one.differentiated}
    return {name: np.broadcast_to(array, shapes.get(name, array.shape)) for name, array in found.items()}


def random_text(choose, axes, depth):
    """The text of a number along exactly these axes."""
    if depth == 0:
        return leaf(choose, axes)
    inner = depth - 1
    options = ["infix", "infix", "call", "two", "where", "reduce", "reduce"]
    options += ["row"] if axes else []
    options += ["pick", "hot"] if axes == ("batch",) else ["pairs"] if axes == ("batch", "other batch") else []
    match choose(options):
        case "infix":
            part = tuple(axis for axis in axes if choose((True, False)))
            pair = [random_text(choose, axes, inner), random_text(choose, part, inner)]
            first, second = pair if choose((True, False)) else pair[::-1]
            return f"({first} {choose('+-*')} {second})"
        case "call":
            return f"{choose(('abs', 'tanh', 'softplus', 'sigmoid', 'sign'))}({random_text(choose, axes, inner)})"
        case "two":
            part = tuple(axis for axis in axes if choose((True, False)))
            return f"{choose(('max', 'min'))}({random_text(choose, axes, inner)}, {random_text(choose, part, inner)})"
        case "where":
            condition = truth(choose, axes, inner)
            return f"where({condition}, {random_text(choose, axes, inner)}, {random_text(choose, axes, inner)})"
        case "reduce":
            free = [one for one in ("batch", "feature", "class", "other batch") if one not in axes]
            if not free:
                return leaf(choose, axes)
            axis = choose(free)
            along = random_text(choose, (*axes, axis), inner)
            return f'{choose(("sum", "mean", "max", "min", "logsumexp", "norm"))}({along}, "{axis}")'
        case "row":
            function = choose(("softmax", "log_softmax", "sparsemax"))
            return f'{function}({random_text(choose, axes, inner)}, "{choose(axes)}")'
        case "pick":
            return f'pick({random_text(choose, ("batch", "class"), inner)}, {choose(("y", "y + 1", "2 - y"))}, "class")'
        case "hot":
            return f'sum(onehot(y, "class")*({random_text(choose, ("class",), inner)}), "class")'
        case "pairs":
            first, second = (random_text(choose, ("batch",), inner) for _ in range(2))
            return f'({first} - other({second}, "batch"))'
    raise AssertionError


def leaf(choose, axes):
    """A product of inputs that has these axes."""
    parts = {
        "batch": "s",
        "feature": 'sum(w, "class")',
        "class": 'sum(w, "feature")',
        "other batch": 'other(s, "batch")',
    }
    if axes == ("batch", "feature"):
        return "x"
    if axes == ("batch", "class"):
        return 'sum(x*w, "feature")'
    if not axes:
        return choose(("1", "0.5", "c", 'mean(s, "batch")'))
    return "(" + choose("+*").join(parts[axis] for axis in axes) + ")"


def truth(choose, axes, depth):
    """The text of a condition along some of these axes."""
    if "batch" in axes and choose((True, False)):
        if "other batch" in axes:
            return choose(('y == other(y, "batch")', 'index("batch") != other(index("batch"), "batch")'))
        return choose(("y < 2", "y >= 1", "y != 0 and y <= 1", 'index("batch") == y'))
    return f"{random_text(choose, axes, depth)} < {random_text(choose, axes, depth)}"
