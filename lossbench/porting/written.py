"""Calls as code to copy: the source with its arguments, the target with parameters, reduction and imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from lossbench import callables, plain
from lossbench.adapters import divisor
from lossbench.adapters.allowed import MODULES
from lossbench.callables import Entry
from lossbench.errors import LossbenchError
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import Public
from lossbench.porting import layout
from lossbench.porting.asked import Given
from lossbench.porting.reductions import FUNCTIONS, Reduction

IMPORTS = {
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
}
LOSSES = re.compile(r"(F|nn|keras\.losses|tf\.nn|optax\.losses)\.\w+(\(.*\))?$", re.DOTALL)
ARRAYS = {"torch": "torch.tensor", "tensorflow": "tf.constant", "jax": "jnp.array"}
RESHAPES = {"torch": "torch.reshape", "tensorflow": "tf.reshape", "jax": "jnp.reshape"}
INVERSE = {  # of what a callable wants of an input, by the function's last name
    "log": {"torch": "torch.exp", "tensorflow": "tf.exp", "jax": "jnp.exp"},
    "exp": {"torch": "torch.log", "tensorflow": "tf.math.log", "jax": "jnp.log"},
    "one_hot": {"torch": "torch.argmax", "tensorflow": "tf.argmax", "jax": "jnp.argmax"},
}


def target(problem: Problem, framework: str, reduction: Reduction) -> str:
    """The call of *framework* that serves *problem*, reduced as *reduction* says, for arrays of any shape."""
    if reduction.by_class:
        rows = next(name for name, one in problem.loss.inputs.items() if one.kind == "row")
        return f"{target(problem, framework, replace(reduction, by_class=False))} / {rows}.shape[-1]"
    weighted = problem.sample_weight is not None
    if weighted and reduction.inner != "none":
        rows = target(replace(problem, sample_weight=None), framework, replace(reduction, outer="none"))
        return _weighed(f"{rows} * sample_weight", framework, reduction)
    own = problem.loss.frameworks[framework]
    used = own.weighted if weighted and own.weighted else own.call
    whole = reduction.whole
    if whole is not None and not (weighted and reduction.by_weight) and (whole == "none" or "reduce(" not in used):
        return _anywhere(plain.expression(replace(problem, reduction=whole), framework))
    each = _anywhere(plain.expression(replace(problem, reduction="none"), framework))
    if weighted and reduction.by_weight:
        return _weighed(each, framework, reduction)
    if whole != "mean" or divisor.of(problem) is None:
        return reduction.of(each, framework)
    total = FUNCTIONS[framework]["sum"]
    quotient = f"{total}({each})", f"{total}({_divisor(problem, framework)})"
    # TensorFlow itself divides equal dtypes only.
    return f"ops.divide({', '.join(quotient)})" if framework == "tensorflow" else " / ".join(quotient)


def _weighed(each: str, framework: str, reduction: Reduction) -> str:
    """What a reduction makes of losses that are multiplied by their weights."""
    functions = FUNCTIONS[framework]
    if reduction.by_weight:
        return f"{functions['sum']}({each}) / {functions['sum']}(sample_weight)"
    return each if reduction.outer == "none" else f"{functions[reduction.outer]}({each})"


def source(entry: Entry, public: Public | None, given: Mapping[str, object], arrays: Mapping[str, str]) -> str:
    """The source's call of the spec with the arguments *given*, and those of *arrays* by the spec's names."""
    tree = ast.parse(entry.callable.call.strip(), mode="eval")
    made = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and callables.canonical(_path(node)) == entry.name
    )
    places = [one.name for one in public.arguments if not one.keyword_only] if public else []
    defaults = {one.name: one.default for one in public.arguments if one.plain and not one.required} if public else {}
    # What the spec's call sets and the asker does not is what it is by default.
    left = {one.arg: defaults[one.arg] for one in made.keywords if one.arg in defaults and one.arg not in given}
    for name, value in {**left, **given}.items():
        if name in arrays:
            put: ast.expr = ast.Name(arrays[name], ast.Load())
        elif isinstance(value, Given):
            continue
        else:
            put = ast.parse(repr(value), mode="eval").body
        if name in places[: len(made.args)]:
            made.args[places.index(name)] = put
        else:
            made.keywords = [one for one in made.keywords if one.arg != name] + [ast.keyword(name, put)]
    return ast.unparse(ast.fix_missing_locations(tree))


def settings(entry: Entry, public: Public | None, given: Mapping[str, object]) -> dict[str, object]:
    """The numbers that the spec's own call gives to the same callable, where *given* and the defaults are others."""
    own = entry.loss.frameworks.get(entry.callable.framework)
    defaults = {one.name: one.default for one in public.arguments} if public else {}
    if own is None:
        return {}
    named = [
        one for node in ast.walk(ast.parse(own.call.strip())) if isinstance(node, ast.Call) for one in node.keywords
    ]
    found = {one.arg: one.value.value for one in named if one.arg in defaults and isinstance(one.value, ast.Constant)}
    known = {*given, *callables.arguments(entry.callable), "reduction"}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, float) and name not in known and value != defaults[name]
    }


def wide(text: str, entry: Entry, public: Public | None) -> str:
    """The source's call in float64: a class of Keras casts to float32 unless it is told otherwise."""
    if public is None or "dtype" not in {one.name for one in public.arguments}:
        return text
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and callables.canonical(_path(node)) == entry.name:
            kept = [one for one in node.keywords if one.arg != "dtype"]
            node.keywords = [*kept, ast.keyword("dtype", ast.Constant("float64"))]
    return ast.unparse(ast.fix_missing_locations(tree))


def tabled(text: str, loss: Loss, framework: str, shape: tuple[int, int]) -> str:
    """A call with its inputs as tables of *shape*, in which the last axis is not all there is."""
    if loss.axes:
        return text
    tree = ast.parse(text, mode="eval")
    function = ast.parse(RESHAPES[framework], mode="eval").body

    class Table(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            if node.id not in loss.inputs:
                return node
            return ast.Call(function, [node, ast.parse(repr(shape), mode="eval").body], [])

    return ast.unparse(ast.fix_missing_locations(Table().visit(tree)))


def lean(text: str) -> str:
    """The code without `dtype`: who copies it has arrays of the dtype that he wants."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [one for one in node.keywords if one.arg != "dtype" or not _is_float64(one.value)]
    return ast.unparse(tree)


def script(text: str, framework: str, rows: Mapping[str, np.ndarray | str], before: Mapping[str, str]) -> str:
    """Copyable code: imports, the lines *before* by the names that they make, the parameters that are *rows*, the call.

    A row is numbers, or the code of the asker's own.
    """
    made = dict(before)
    for name in sorted({node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} & set(rows)):
        row = rows[name]
        made[name] = f"{ARRAYS[framework]}({row.tolist()})" if isinstance(row, np.ndarray) else row
    code = "\n".join(f"{name} = {layout.folded(one, len(name) + 3)}" for name, one in (made | {"value": text}).items())
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    imports = [line for name, line in IMPORTS.items() if name in used and name in MODULES[framework]]
    return "\n".join([*imports, "", code] if imports else [code])


def takes(entry: Entry, public: Public | None) -> dict[str, tuple[str, str]]:
    """What the source is given for each input that it does not take as it is: its own argument, and the expression."""
    return {name: pair for name, pair in _given(entry, public) if pair[1] != name}


def own_names(entry: Entry, public: Public | None) -> dict[str, str]:
    """The source's own name for each input that it takes as it is, where it is another."""
    return {
        name: argument
        for name, (argument, said) in _given(entry, public)
        if said == name and argument not in ("", name)
    }


def places(entry: Entry, public: Public | None) -> list[str]:
    """The source's own arguments that stand for data."""
    return [argument for _, (argument, _) in _given(entry, public)]


def order(entry: Entry) -> list[str]:
    """The inputs in the order in which the source takes them."""
    return [name for name, _ in _given(entry, None)]


def taken(text: str, loss: Loss) -> list[str]:
    """The inputs in the order in which the framework's own loss takes them in a call; none where it has none."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and LOSSES.match(ast.unparse(node.func)):
            parts = [*node.args, *(one.value for one in node.keywords)]
            inside = [{leaf.id for leaf in ast.walk(part) if isinstance(leaf, ast.Name)} for part in parts]
            found = [name for names in inside for name in loss.inputs if name in names]
            if len(found) > 1:
                return list(dict.fromkeys(found))
    return []


def wraps(text: str, loss: Loss) -> dict[str, str]:
    """What a call of a loss makes of an input before it takes it: its log, one-hot rows."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(attr="log" | "exp" | "one_hot" | "cast"), args=[ast.Name(id=name), *_]):
                if name in loss.inputs:
                    found[name] = ast.unparse(node)
    return found


def makes_keras_class(text: str) -> bool:
    """Whether a call makes an instance of a class of keras.losses."""
    return re.search(r"keras\.losses\.[A-Z]", text) is not None


def undone(expression: str, argument: str, name: str, framework: str) -> str | None:
    """The input *name*, in code of *framework*, from what the source takes in its place; None where no rule knows."""
    node = ast.parse(expression, mode="eval").body
    match node:
        case ast.Name(id=found) if found == name:
            return argument
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name()):
            return f"-{argument}"
        case ast.Subscript(value=ast.Name(), slice=ast.Tuple(elts=[*_, ast.Constant(value=None)])):
            return f"{argument}[..., 0]"
        case ast.Call(func=ast.Attribute(attr="to" | "astype"), args=_):
            return argument
        case ast.Call(func=ast.Attribute(attr="cast"), args=[ast.Name(), *_]):
            return argument
        case ast.Call(func=ast.Attribute(attr=last) | ast.Name(id=last), args=[ast.Name(), *_]) if last in INVERSE:
            return f"{INVERSE[last][framework]}({argument}{', -1' if last == 'one_hot' else ''})"
    return None


def _given(entry: Entry, public: Public | None) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each input, the source's argument for it, and the expression that stands there."""
    tree = ast.parse(entry.callable.call.strip(), mode="eval").body
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = next(node for node in calls if callables.canonical(_path(node)) == entry.name)
    outer = next((node for node in calls if node.func is made), made)
    names = [] if public is None else public.called if outer is not made else [one.name for one in public.arguments]
    places: list[tuple[str, ast.expr]] = [
        (names[place] if place < len(names) else "", one) for place, one in enumerate(outer.args)
    ]
    places += [(one.arg or "", one.value) for one in outer.keywords]
    seen: set[str] = set()
    for argument, value in places:
        for node in ast.walk(value):
            if isinstance(node, ast.Name) and node.id in entry.loss.inputs and node.id not in seen:
                seen.add(node.id)
                yield node.id, (argument, ast.unparse(value))


def _anywhere(text: str) -> str:
    """`x[:, None]` as `x[..., None]`: the same for one axis, and right for more."""
    return text.replace("[:, None]", "[..., None]").replace("[:, 0]", "[..., 0]")


def _divisor(problem: Problem, framework: str) -> str:
    """The terms by which a mean divides, as code: the spec's divisor with its numbers put in."""
    return _term(ast.parse(problem.loss.formula_text.divisor.strip(), mode="eval").body, problem, framework, "")


def _term(node: ast.expr, problem: Problem, framework: str, left_out: str) -> str:
    """A part of a divisor; labels for which *left_out* holds index nothing, so that they may be any."""
    where = {"torch": "torch.where", "tensorflow": "ops.where", "jax": "jnp.where"}[framework]

    def inner(part: ast.expr) -> str:
        return _term(part, problem, framework, left_out)

    match node:
        case ast.Call(func=ast.Name(id="where"), args=[condition, then, otherwise]):
            holds = inner(condition)
            return f"{where}({holds}, {inner(then)}, {_term(otherwise, problem, framework, holds)})"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return ast.unparse(ast.Compare(_parsed(inner(left)), [op], [_parsed(inner(right))]))
        case ast.BinOp(left=left, op=operation, right=right):
            return ast.unparse(ast.BinOp(_parsed(inner(left)), operation, _parsed(inner(right))))
        case ast.Subscript(value=ast.Name(id=row), slice=index):
            weights = problem.parameters[row]
            if isinstance(weights, np.ndarray) and (weights == 1).all():
                return "1.0"
            label = inner(index)
            label = f"{where}({left_out}, 0, {label})" if left_out else label
            return f"ops.take({row}, {label})" if framework == "tensorflow" else f"{row}[{label}]"
        case ast.Name(id=name) if isinstance(problem.parameters.get(name), int | float):
            return plain.literal(problem.parameters[name])
        case ast.Constant(value=int() as number):
            return repr(float(number))
        case ast.Name(id=name):
            return name
    raise LossbenchError(
        f"{problem.loss.name} divides its mean by `{ast.unparse(node)}`, which cannot be written as code"
    )


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _path(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _is_float64(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == "float64"
