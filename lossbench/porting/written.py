"""Calls as code to copy: the source with its arguments, the target with parameters, reduction and imports."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lossbench import callables, plain
from lossbench.adapters import divisor
from lossbench.adapters.allowed import IMPORTS, MODULES
from lossbench.callables import Entry
from lossbench.errors import LossbenchError
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import Public
from lossbench.porting import layout
from lossbench.porting.asked import Given
from lossbench.porting.reductions import FUNCTIONS, Reduction

ARRAYS = {"torch": "torch.tensor", "tensorflow": "tf.constant", "jax": "jnp.array"}
RESHAPES = {"torch": "torch.reshape", "tensorflow": "tf.reshape", "jax": "jnp.reshape"}


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
    takes_dtype = public is not None and "dtype" in {one.name for one in public.arguments}
    if not takes_dtype or entry.callable.framework != "tensorflow":  # classes of torch keep weights in it, by no name
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
        case (
            ast.Subscript(value=ast.Name(id=row), slice=index)
            | ast.Call(func=ast.Name(id="pick"), args=[ast.Name(id=row), index, *_])
        ):
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
