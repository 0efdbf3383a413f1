"""Code to paste that shows at which input one's own loss fails."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from lossbench.adapters.allowed import IMPORTS
from lossbench.adapters.yours import NAME, PICKLED
from lossbench.checking.finding import Finding
from lossbench.checking.questions import Examination
from lossbench.checking.smallest import numbers

ROOTS = {"torch": ("torch",), "tensorflow": ("tf",), "jax": ("jax", "jnp"), "numpy": ("np",)}
_MAKERS: Mapping[str, Callable[[str, str, bool], str]] = {
    "torch": lambda text, dtype, grad: (
        f"torch.tensor({text}, dtype=torch.{dtype}{', requires_grad=True' if grad else ''})"
    ),
    "tensorflow": lambda text, dtype, grad: f"tf.{'Variable' if grad else 'constant'}({text}, dtype=tf.{dtype})",
    "jax": lambda text, dtype, grad: f"jnp.array({text}, dtype=jnp.{dtype})",
    "numpy": lambda text, dtype, grad: f"np.array({text}, dtype=np.{dtype})",
}
_COMPILED = {  # by framework and mode, around a function
    ("torch", "compiled"): "torch.compile({})",
    ("tensorflow", "compiled"): "tf.function({})",
    ("tensorflow", "xla"): "tf.function({}, jit_compile=True)",
    ("jax", "compiled"): "jax.jit({})",
}


def script(code: str, examination: Examination, finding: Finding) -> str:
    """Code to paste: the input, the call, and what comes out beside what must; empty where no one input shows it."""
    problem, framework = finding.problem, examination.subject.framework
    if problem is None:
        return ""
    load, name = _loaded(code)
    text = finding.call or examination.fit.call
    if text.startswith("reduce("):
        text = text.removeprefix("reduce(")[:-1]
    text = re.sub(rf"\b{NAME}\b", name, text)
    leaves = [one for one, given in problem.loss.inputs.items() if given.grad]
    body = []
    for one, array in problem.arrays.items():
        dtype = "int64" if array.dtype == np.int64 else problem.dtype
        body.append(f"{one} = {_MAKERS[framework](_text(array.tolist()), dtype, one in leaves)}")
    if problem.sample_weight is not None:
        made = _MAKERS[framework](_text(problem.sample_weight.tolist()), problem.dtype, False)
        body.append(f"sample_weight = {made}")
    used = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
    for one, value in problem.parameters.items():
        if one in used and isinstance(value, np.ndarray):
            body.append(f"{one} = {_MAKERS[framework](_text(value.tolist()), problem.dtype, False)}")
        elif one in used:
            body.append(f"{one} = {_text(value)}")
    if "reduction" in used:
        body.append(f"reduction = {problem.reduction!r}")
    body += _called(framework, finding, text, [*problem.arrays], leaves)
    roots = sorted({*ROOTS[framework], *(used & {*IMPORTS})}, key=[*IMPORTS].index)
    return "\n".join([*(IMPORTS[one] for one in roots), *load, "", *body]) + "\n"


def _loaded(code: str) -> tuple[list[str], str]:
    """The lines that import it, and what it is called then."""
    where, _, name = code.rpartition(":")
    first = name.partition(".")[0]
    if where.endswith(PICKLED):  # it is where this is pasted
        return ([], name) if name.isidentifier() else ([f"{NAME} = ...  # the loss that was checked"], NAME)
    with suppress(ValueError):  # it lies below the working folder
        where = str(Path(where).relative_to(Path.cwd()))
    if where.endswith(".py"):
        return ["from runpy import run_path", "", f"{first} = run_path({where!r})[{first!r}]"], name
    return [f"from {where} import {first}"], name


def _text(value: object) -> str:
    return re.sub(r"\b(inf|nan)\b", r'float("\1")', repr(value))


def _called(framework: str, finding: Finding, text: str, names: list[str], leaves: list[str]) -> list[str]:
    told = ""
    if finding.got is not None and finding.exact is not None:
        told = f"  # {numbers(finding.got)}; exact: {numbers(finding.exact)}"
    lines = []
    around = _COMPILED.get((framework, finding.mode))
    if around is not None:
        given = ", ".join(names)
        lines.append(f"compiled = {around.format(f'lambda {given}: {text}')}")
        text = f"compiled({given})"
    of = finding.name.removeprefix("gradient.")
    if of == finding.name:
        return [*lines, f"print({text}){told}"]
    match framework:
        case "torch":
            return [*lines, f"torch.sum({text}).backward()", f"print({of}.grad){told}"]
        case "tensorflow":
            taped = ["with tf.GradientTape() as tape:", f"    value = {text}"]
            return [*lines, *taped, f"print(tape.gradient(value, {of})){told}"]
        case "jax":
            return [*lines, f"print(jax.grad(lambda {of}: jnp.sum({text}))({of})){told}"]
    return []
