"""What calls may use: an allow-list of modules and of kinds of expressions. It keeps specs honest; it is no sandbox."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from lossbench.errors import CallError

MODULES: dict[str, tuple[str, ...]] = {  # what the calls of each framework may name
    "torch": ("torch", "F", "nn", "math"),
    "tensorflow": ("tf", "keras", "ops", "math"),
    "jax": ("jax", "jnp", "optax", "math"),
    "numpy": ("np", "math"),
}
IMPORTS = {  # how a script gets each of them
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
    "nn": "from torch import nn",
    "keras": "import keras",
    "tf": "import tensorflow as tf",
    "ops": "from keras import ops",
    "jax": "import jax",
    "jnp": "import jax.numpy as jnp",
    "optax": "import optax",
    "math": "import math",
    "np": "import numpy as np",
}
MAX_DEPTH = 100
_ROOTS = {module for modules in MODULES.values() for module in modules}
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
    "keras.metrics",
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
    "tf.sparse",
    "torch.func",
    "torch.linalg",
    "torch.nn",
    "torch.nn.functional",
    "torch.special",
)
ARRAY_ATTRIBUTES = ("astype", "device", "dtype", "mean", "shape", "sum", "to")  # of any array
STATE_ATTRIBUTES = ("reset_state", "result", "update_state")  # of what a metric keeps
REFUSED = {  # read or write files, run other code, or change the whole process
    *("compile", "eval_context", "from_file", "fromfile", "frombuffer", "import_graph_def", "load", "load_library"),
    *("load_op_library", "loads", "loadtxt", "genfromtxt", "numpy_function", "print", "printoptions", "py_function"),
    *("manual_seed", "pure_callback", "save", "savetxt", "savez", "seed", "set_default_device", "set_default_dtype"),
    *("set_num_threads", "set_printoptions", "use_deterministic_algorithms"),
}
_PLAIN = (
    *(ast.Expression, ast.Load, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.IfExp),
    *(ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_EXPECTED = "expected one expression of calls, names, numbers, texts, arithmetic, comparisons, indexing and modules"


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
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise CallError(f"`{_short(text)}` is nested deeper than {MAX_DEPTH}; {_EXPECTED}")
    _check(tree.body, tuple(names), _short(text))
    return tree


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
        case ast.Lambda(
            args=ast.arguments(posonlyargs=[], vararg=None, kwonlyargs=[], kwarg=None, defaults=[]) as given
        ):
            if not given.args:
                raise CallError(f"`{text}` has a lambda without arguments; {_EXPECTED}")
            _check(node.body, (*known, *(one.arg for one in given.args)), text)
        case ast.Constant(value=bytes()):
            raise CallError(f"`{text}` has bytes; {_EXPECTED}")
        case _ if isinstance(node, _PLAIN):
            for child in ast.iter_child_nodes(node):
                _check(child, known, text)
        case _:
            raise CallError(f"`{text}` uses {type(node).__name__} (`{_short(ast.unparse(node))}`); {_EXPECTED}")


def _check_attribute(node: ast.Attribute, known: tuple[str, ...], text: str) -> None:
    path = _path(node.value)
    root = path.split(".")[0] if path else ""
    if root and root not in known:
        raise CallError(f"`{text}` names {root!r}; expected one of: {', '.join(sorted(known))}")
    if path and root in _ROOTS:
        if path != root and path not in SUBMODULES:
            raise CallError(f"`{text}` uses the module {path}; expected one of: {', '.join(_reachable(known))}")
        if node.attr.startswith("_") or node.attr in REFUSED:
            raise CallError(f"`{text}` uses {path}.{node.attr}; expected a loss or an array operation")
    elif node.attr in ARRAY_ATTRIBUTES or (path == "state" and node.attr in STATE_ATTRIBUTES):
        _check(node.value, known, text)
    else:
        raise CallError(
            f"`{text}` uses the attribute {node.attr!r} of `{_short(ast.unparse(node.value))}`; expected attributes of "
            f"modules ({', '.join(_reachable(known))}), or of arrays: {', '.join(ARRAY_ATTRIBUTES)}"
        )


def _reachable(known: tuple[str, ...]) -> list[str]:
    """The modules that a call may name."""
    roots = _ROOTS & set(known)
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
