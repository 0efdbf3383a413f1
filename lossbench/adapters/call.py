"""A framework's call in a spec: checked against an allow-list, and made into a function of arrays.

    F.huber_loss(y_pred, y_true, reduction=reduction, delta=delta)

One expression over the inputs, the parameters, `sample_weight`, `reduction`, `dtype`, `reduce` and the framework's
own modules. It is run with their full power: the list keeps specs honest, it is no sandbox.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lossbench.adapters import divisor
from lossbench.errors import CallError, Unsupported
from lossbench.inputs import Problem
from lossbench.loss import RESERVED, Loss

MODULES: dict[str, tuple[str, ...]] = {  # what the calls of each framework may name
    "torch": ("torch", "F", "nn", "math"),
    "tensorflow": ("tf", "keras", "ops", "math"),
    "jax": ("jax", "jnp", "optax", "math"),
}
SUBMODULES = (  # besides those, the ones in which losses and array operations are
    "jax.lax",
    "jax.nn",
    "jax.numpy",
    "jax.numpy.linalg",
    "jax.scipy",
    "jax.scipy.special",
    "jnp.linalg",
    "keras.activations",
    "keras.losses",
    "keras.ops",
    "nn.functional",
    "optax.losses",
    "ops.linalg",
    "ops.nn",
    "tf.compat",
    "tf.compat.v1",
    "tf.compat.v1.losses",
    "tf.keras",
    "tf.keras.losses",
    "tf.linalg",
    "tf.losses",
    "tf.math",
    "tf.math.special",
    "tf.nn",
    "torch.linalg",
    "torch.nn",
    "torch.nn.functional",
    "torch.special",
)
ARRAY_ATTRIBUTES = ("dtype", "shape")  # of any array
REFUSED = {  # read or write files, run other code, or change the whole process
    *("compile", "eval_context", "from_file", "fromfile", "frombuffer", "import_graph_def", "load", "load_library"),
    *("load_op_library", "loads", "loadtxt", "genfromtxt", "numpy_function", "print", "printoptions", "py_function"),
    *("manual_seed", "pure_callback", "save", "savetxt", "savez", "seed", "set_default_device", "set_default_dtype"),
    *("set_num_threads", "set_printoptions", "use_deterministic_algorithms"),
}
_PLAIN = (
    *(ast.Expression, ast.Load, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.IfExp, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_EXPECTED = (
    "expected one expression of calls, names, numbers, texts, arithmetic, comparisons, indexing and attributes of modules"
)


def names(loss: Loss, framework: str) -> tuple[str, ...]:
    """What a call of *framework* may name."""
    return (*loss.inputs, *loss.parameters, *RESERVED, *MODULES.get(framework, ()))


def check(text: str, names: Iterable[str]) -> ast.Expression:
    """The expression of a call that uses only *names* and what calls may use.

    Raises:
        CallError: It uses something else; says what, and what is allowed.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error) or type(error).__name__
        raise CallError(f"`{_short(text)}` is not readable ({reason}); {_EXPECTED}") from None
    known = tuple(names)
    _check(tree.body, known, _short(text))
    return tree


def requirement_holds(text: str, problem: Problem) -> bool:
    """Whether a call's `requires` is true of the problem's parameters, reduction, dtype and sample weight."""
    scope = {**problem.parameters, "reduction": problem.reduction, "dtype": problem.dtype}
    scope["sample_weight"] = problem.sample_weight
    tree = check(text, scope)
    return bool(np.all(eval(compile(tree, "<requires>", "eval"), {"__builtins__": {}}, scope)))


def chosen(problem: Problem, framework: str) -> str:
    """The text of the call that serves *problem*.

    Raises:
        Unsupported: The spec has none, or none for these parameters.
    """
    if problem.call is not None:
        return problem.call
    call = problem.loss.frameworks.get(framework)
    if call is None:
        raise Unsupported(f"{framework} has no {problem.loss.name}; its spec gives no call")
    if call.requires is not None and not requirement_holds(call.requires, problem):
        raise Unsupported(f"{framework}'s {problem.loss.name} requires {call.requires}")
    if problem.sample_weight is not None and call.weighted is not None:
        return call.weighted
    return call.call


def function(
    problem: Problem,
    framework: str,
    modules: Mapping[str, object],
    *,
    total: Callable[[Any], Any],
    mean: Callable[[Any], Any],
) -> Callable[..., Any]:
    """The call for *problem* as a function of `arrays(problem)`, in that order.

    Args:
        problem: Its numbers become constants, its arrays do not.
        framework: Whose call.
        modules: The modules of `MODULES`, by name.
        total: The sum of an array of the framework.
        mean: The mean of one.

    Raises:
        CallError: The call uses what calls may not use.
        Unsupported: As `chosen`.
    """
    tree = check(chosen(problem, framework), names(problem.loss, framework))
    divided = divisor.of(problem)

    def reduce(values: Any, sample_weight: Any) -> Any:
        if sample_weight is not None:
            values = values * sample_weight
        if problem.reduction == "none":
            return values
        if problem.reduction == "mean" and sample_weight is None and divided is None:
            return mean(values)
        whole = total(values)
        if problem.reduction == "sum":
            return whole
        return whole / (len(next(iter(problem.arrays.values()))) if divided is None else divided)

    numbers = {name: value for name, value in problem.parameters.items() if not isinstance(value, np.ndarray)}
    scope = {
        **modules,
        "math": math,
        **numbers,
        "sample_weight": None,
        "reduction": problem.reduction,
        "dtype": problem.dtype,
        "reduce": reduce,
        "__builtins__": {},
    }
    _Weighing().visit(tree)
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg(name) for name in arrays(problem)], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    made = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, tree.body)))
    # Compiled anew for each problem: torch.compile gives up on a code object that it has seen with eight others.
    return eval(compile(made, f"<{framework} call of {problem.loss.name}>", "eval"), scope)  # type: ignore[no-any-return]


def arrays(problem: Problem) -> dict[str, np.ndarray]:
    """What a call takes as arrays: inputs, row parameters, and sample weights where there are some."""
    found = dict(problem.arrays)
    found |= {name: value for name, value in problem.parameters.items() if isinstance(value, np.ndarray)}
    if problem.sample_weight is not None:
        found["sample_weight"] = problem.sample_weight
    return found


class _Weighing(ast.NodeTransformer):
    """reduce(x) becomes reduce(x, sample_weight), so that tracing sees the weights as an argument."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "reduce":
            node.args.append(ast.Name("sample_weight", ast.Load()))
        return node


def _check(node: ast.AST, known: tuple[str, ...], text: str) -> None:
    match node:
        case ast.Name(id=name):
            if name not in known:
                raise CallError(f"`{text}` names {name!r}; expected one of: {', '.join(sorted(known))}")
        case ast.Attribute():
            _check_attribute(node, known, text)
        case ast.Call(func=func, args=args, keywords=keywords):
            if isinstance(func, ast.Name) and func.id == "reduce" and (len(args) != 1 or keywords):
                raise CallError(f"`{text}` gives reduce {len(args) + len(keywords)} arguments; expected 1")
            if any(keyword.arg is None for keyword in keywords):
                raise CallError(f"`{text}` uses ** in a call; {_EXPECTED}")
            for child in ast.iter_child_nodes(node):
                _check(child, known, text)
        case ast.Constant(value=bytes()):
            raise CallError(f"`{text}` has bytes; {_EXPECTED}")
        case _ if isinstance(node, _PLAIN):
            for child in ast.iter_child_nodes(node):
                _check(child, known, text)
        case _:
            raise CallError(f"`{text}` uses {type(node).__name__} (`{_short(ast.unparse(node))}`); {_EXPECTED}")


def _check_attribute(node: ast.Attribute, known: tuple[str, ...], text: str) -> None:
    path = _path(node.value)
    if path is not None and path.split(".")[0] in (roots := {root for all_ in MODULES.values() for root in all_}):
        root = path.split(".")[0]
        if root not in known:
            options = sorted(set(known) & roots)
            raise CallError(f"`{text}` names {root!r}; expected one of: {', '.join(options)}")
        if path != root and path not in SUBMODULES:
            raise CallError(f"`{text}` uses the module {path}; expected one of: {', '.join(_submodules(known))}")
        if node.attr.startswith("_") or node.attr in REFUSED:
            raise CallError(f"`{text}` uses {path}.{node.attr}; expected a loss or an array operation")
    elif node.attr in ARRAY_ATTRIBUTES:
        _check(node.value, known, text)
    else:
        raise CallError(
            f"`{text}` uses the attribute {node.attr!r} of `{_short(ast.unparse(node.value))}`; expected attributes of "
            f"modules only ({', '.join(_submodules(known))}), and of arrays {' and '.join(ARRAY_ATTRIBUTES)}"
        )


def _submodules(known: tuple[str, ...]) -> list[str]:
    roots = {root for all_ in MODULES.values() for root in all_} & set(known)
    return sorted(roots | {path for path in SUBMODULES if path.split(".")[0] in roots})


def _path(node: ast.expr) -> str | None:
    """The dotted name that *node* is, if it is one."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            inner = _path(value)
            return None if inner is None else f"{inner}.{attr}"
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
