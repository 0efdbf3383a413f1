"""A declared divergence as a short script that shows it without this package: for a framework's own issue tracker."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from lossbench import inputs, plain, shown
from lossbench.adapters import call, state
from lossbench.adapters.allowed import IMPORTS, MODULES
from lossbench.errors import LossbenchError
from lossbench.formula.oracle import Enclosure
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.text import Divergence

LINES = 15  # at most
MODES = {"torch": "eager", "tensorflow": "eager", "jax": "compiled"}  # of a divergence that is there in every mode

_ROOT = {"torch": "torch", "tensorflow": "tf", "jax": "jnp"}  # where arrays and their dtypes are


def numbered(loss: Loss, number: int) -> Divergence:
    """The divergence of that number, as lists count them, from 1.

    Raises:
        LossbenchError: There is none.
    """
    if not 1 <= number <= len(loss.divergences):
        count = len(loss.divergences)
        expected = f"expected a number from 1 to {count}" if count else "its spec declares none"
        raise LossbenchError(f"{loss.name} has no divergence {number}; {expected}")
    return loss.divergences[number - 1]


def of(loss: Loss, number: int, mode: str | None = None) -> str:
    """Python of at most `LINES` lines that prints what the framework gives and what is exact.

    Args:
        loss: Whose divergence.
        number: As `numbered` takes it.
        mode: Where the divergence names none; `MODES` has those in which it is shown else.

    Raises:
        LossbenchError: There is no such divergence, or no script can be written for its framework.
    """
    return at(loss, numbered(loss, number), mode)


def at(loss: Loss, one: Divergence, mode: str | None = None) -> str:
    """The same of a point that need not be declared; arguments and errors as of `of`."""
    framework = one.framework
    if framework not in MODES:
        raise LossbenchError(f"no script can be written for {framework}; expected one of: {', '.join(sorted(MODES))}")
    problem = inputs.of_point(loss, one.when, one.dtype, one.reduction, one.call)
    if loss.accumulated:
        return _folded(problem, framework, one)
    text = plain.expression(problem, framework)
    used = _names(text)
    leaves = [name for name, given in loss.inputs.items() if given.grad]
    arrays = {name: array for name, array in call.arrays(problem).items() if name in used or name in leaves}
    literals = {name: _array(array, problem.dtype, framework, name in leaves) for name, array in arrays.items()}
    body = _BODIES[framework](one.mode or mode or MODES[framework], text, literals, leaves)
    modules = {_ROOT[framework], *(used & set(MODULES[framework])), *({"jax"} if framework == "jax" else ())}
    imports = [line for name, line in IMPORTS.items() if name in modules]
    wide = ['jax.config.update("jax_enable_x64", True)'] if (framework, problem.dtype) == ("jax", "float64") else []
    says = f"# {loss.title}: {' '.join(one.why.split())}" + (f" ({one.raises})" if one.raises else "")
    lines = [says, *imports, *wide, *body, *_prints(problem, framework, leaves)]
    if len(lines) > LINES:
        together = ", ".join(line.removeprefix("import ") for line in imports if line.startswith("import "))
        rest = [line for line in imports if not line.startswith("import ")]
        lines[1 : len(imports) + 1] = [f"import {together}", *rest]
    if len(lines) > LINES:
        lines = _shorter(lines, literals)
    return "\n".join(lines) + "\n"


def _folded(problem: Problem, framework: str, one: Divergence) -> str:
    """Of a state: its updates in a loop, in eager mode."""
    calls, brings = problem.loss.frameworks[framework], ", ".join(state.brought(problem))
    batches = [
        ", ".join(_array(array, problem.dtype, framework, False) for array in each) for each in state.updates(problem)
    ]
    fresh, update, result = (
        plain.with_dtype(text or "", problem.dtype) for text in (calls.call, calls.update, calls.result)
    )
    named = _names(fresh) | _names(update)
    modules = {_ROOT[framework], *(named & set(MODULES[framework])), *({"jax"} if framework == "jax" else ())}
    wide = ['jax.config.update("jax_enable_x64", True)'] if (framework, problem.dtype) == ("jax", "float64") else []
    lines = [
        f"# {problem.loss.title}: {' '.join(one.why.split())}",
        *(line for name, line in IMPORTS.items() if name in modules),
        *wide,
        f"batches = [{', '.join(f'({batch})' for batch in batches)}]",
        *([f"{brings} = batches[0]"] if _names(fresh) & {*state.brought(problem)} else []),
        f"state = {fresh}",
        f"for {brings} in batches:",
        f"    {update if calls.reset else f'state = {update}'}",
        f"value = {result}",
        *_prints(problem, framework, []),
    ]
    return "\n".join(lines) + "\n"


def _names(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def _array(array: np.ndarray, dtype: str, framework: str, differentiated: bool) -> str:
    root = _ROOT[framework]
    kind = f"{root}.{'int64' if array.dtype == np.int64 else dtype}"
    if array.dtype == np.int64 and framework == "jax":
        kind = ""  # 32 bits or 64, as it is set
    if array.size == 0:
        made = f"{root}.zeros({array.shape}"
    else:
        maker = {"torch": "tensor", "tensorflow": "constant", "jax": "array"}[framework]
        made = f"{root}.{maker}({_listed(array, dtype)}"
    extra = f", {'dtype=' if framework == 'torch' else ''}{kind}" if kind else ""
    return f"{made}{extra}{', requires_grad=True' if framework == 'torch' and differentiated else ''})"


def _listed(array: np.ndarray, dtype: str) -> str:
    if array.ndim:
        return f"[{', '.join(_listed(one, dtype) for one in array)}]"
    if array.dtype == np.int64:
        return str(int(array))
    text = shown.decimal(float(array), dtype)
    return plain.literal(float(text))


def _torch(mode: str, text: str, arrays: Mapping[str, str], leaves: Iterable[str]) -> list[str]:
    lines = [f"{name} = {literal}" for name, literal in arrays.items()]
    if mode == "compiled":
        lines.append(f"compiled = torch.compile(lambda {', '.join(arrays)}: {text}, dynamic=False)")
    given = ", ".join(arrays)
    lines.append(f"value = {f'compiled({given})' if mode == 'compiled' else text}")
    return [*lines, f"gradient = torch.autograd.grad(value.sum(), [{', '.join(leaves)}], materialize_grads=True)"]


def _tensorflow(mode: str, text: str, arrays: Mapping[str, str], leaves: Iterable[str]) -> list[str]:
    found = f"tape.gradient(value, [{', '.join(leaves)}], unconnected_gradients='zero')"
    recorded = ["with tf.GradientTape() as tape:", f"    tape.watch([{', '.join(leaves)}])", f"    value = {text}"]
    if mode == "eager":
        return [*(f"{name} = {one}" for name, one in arrays.items()), *recorded, f"gradient = {found}"]
    return [
        "@tf.function(jit_compile=True)" if mode == "xla" else "@tf.function",
        f"def both({', '.join(arrays)}):",
        *(f"    {line}" for line in (*recorded, f"return value, {found}")),
        f"value, gradient = both({', '.join(arrays.values())})",
    ]


def _jax(mode: str, text: str, arrays: Mapping[str, str], leaves: Iterable[str]) -> list[str]:
    lines = [f"{name} = {one}" for name, one in arrays.items()]
    names = ", ".join(leaves)
    pulled = [f"value, pull_back = jax.vjp(lambda {names}: {text}, {names})"]
    if mode == "eager":
        return [*lines, *pulled, "gradient = pull_back(jnp.ones_like(value))"]
    made = ["@jax.jit", f"def both({', '.join(arrays)}):", f"    {pulled[0]}"]
    return [
        *lines,
        *made,
        "    return value, pull_back(jnp.ones_like(value))",
        f"value, gradient = both({', '.join(arrays)})",
    ]


_BODIES: Mapping[str, Callable[[str, str, Mapping[str, str], Iterable[str]], list[str]]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
    "jax": _jax,
}


def _prints(problem: Problem, framework: str, leaves: Iterable[str]) -> list[str]:
    """The lines that print what came out beside what is certified."""
    to_list = ".numpy()" if framework == "tensorflow" else ""
    if problem.dtype in ("bfloat16", "float16") and framework != "torch":
        to_list += ".astype(float)"  # their lists would hold scalars of NumPy
    certified = problem.certified()
    found = [("value", "value", certified.value)]
    found += [(f"gradient of {name}", f"gradient[{at}]", certified.gradient[name]) for at, name in enumerate(leaves)]
    return [f'print("{what}:", {got}{to_list}.tolist(), "exact: {_exact(one)}")' for what, got, one in found]


def _shorter(lines: list[str], arrays: Mapping[str, str]) -> list[str]:
    """The lines with as many inputs in one assignment as it takes to keep within LINES."""
    assigned = [f"{name} = {literal}" for name, literal in arrays.items()]
    kept = [line for line in lines if line not in assigned]
    if len(kept) == len(lines):
        return lines
    many = len(lines) - LINES + 1
    together = dict(list(arrays.items())[:many])
    first = lines.index(assigned[0])
    one = f"{', '.join(together)} = {', '.join(together.values())}"
    return [*lines[:first], one, *lines[first + many :]]


def _exact(of: Enclosure) -> str:
    """The certified number or numbers; both ends at a kink."""
    ends = zip(of.high.ravel(), of.lower.ravel(), of.upper.ravel(), strict=True)
    texts = [
        "undefined" if one != one else f"{one:.12g}" if low == up else f"[{low:.12g}, {up:.12g}]"
        for one, low, up in ends
    ]
    return texts[0] if of.high.size == 1 else f"[{', '.join(texts)}]"
