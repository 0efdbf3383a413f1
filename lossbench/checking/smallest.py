"""The smallest input at which one's own loss fails, shrunk with Hypothesis, and code that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from lossbench import shown
from lossbench.checking.questions import Examination, Finding
from lossbench.inputs import Problem
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Input

EXAMPLES = 300
CLASSES = 2  # of the smallest row
PLAIN: Mapping[str, tuple[float, ...]] = {  # the numbers of a domain that people would choose, the plainest first
    "real": (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 10.0, -10.0, 100.0, -100.0),
    "unit": (0.0, 1.0, 0.5, 0.25, 0.75),
    "binary": (0.0, 1.0),
    "sign": (1.0, -1.0),
    "positive": (1.0, 2.0, 0.5, 10.0),
    "nonnegative": (0.0, 1.0, 2.0, 0.5, 10.0),
    "nonzero": (1.0, -1.0, 2.0, 0.5),
    "count": (0.0, 1.0, 2.0),
    "logarithm": (0.0, 1.0, -1.0, 10.0),
}
ROWS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "simplex": ((0.5, 0.5), (0.25, 0.75), (0.75, 0.25), (1.0, 0.0), (0.0, 1.0)),
    "onehot": ((1.0, 0.0), (0.0, 1.0)),
    "log_simplex": ((-0.6931471824645996, -0.6931471824645996),),
}


def smallest(examination: Examination, finding: Finding) -> Finding:
    """The finding at the plainest point that is as bad; as it is where none is, or where it is of no single point."""
    problem = finding.problem
    if problem is None or problem.loss.batchwise or any(one.axes for one in problem.loss.inputs.values()):
        return finding
    best: dict[str, Finding] = {}
    parameters = {
        name: one[:CLASSES] if isinstance(one, np.ndarray) else one for name, one in problem.parameters.items()
    }

    def fails(arrays: Mapping[str, np.ndarray]) -> bool:
        try:
            asked = replace(problem, arrays={**problem.arrays, **arrays}, parameters=parameters)
            found = examination.judge(finding.question, asked, finding.mode)
        except (ValueError, NoAnswer):
            return False
        if found.level not in ("weak", "wrong") or found.name != finding.name or (finding.far and not found.far):
            return False
        best["last"] = replace(found, question=finding.question, level=finding.level)
        return True

    try:
        arrays = find(
            _points(problem),
            fails,
            settings=settings(
                max_examples=EXAMPLES,
                database=None,
                deadline=None,
                derandomize=True,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except NoSuchExample:
        return finding
    assert fails(arrays), "it failed a moment ago"
    return best["last"]


def _points(problem: Problem) -> st.SearchStrategy[dict[str, np.ndarray]]:
    """Points of plain numbers; of elements also with fewer and fewer digits of the known one."""
    rows = [one for one in problem.loss.inputs.values() if one.kind == "row"]
    if not rows:
        return st.fixed_dictionaries(
            {name: _element(problem.arrays[name], one, problem.dtype) for name, one in problem.loss.inputs.items()}
        )
    return st.fixed_dictionaries({name: _row(one, problem.dtype) for name, one in problem.loss.inputs.items()})


def _element(known: np.ndarray, one: Input, dtype: str) -> st.SearchStrategy[np.ndarray]:
    number = float(known[0])
    with np.errstate(over="ignore"):
        fewer = [float(f"{number:.{digits}g}") for digits in (1, 2, 3, 5, 9)] if np.isfinite(number) else []
    of_dtype = [float(np.float32(value)) if dtype != "float64" else value for value in (*_plain(one), *fewer, number)]
    return st.sampled_from(list(dict.fromkeys(of_dtype))).map(lambda value: np.array([value], known.dtype))


def _row(one: Input, dtype: str) -> st.SearchStrategy[np.ndarray]:
    kept = np.float64 if dtype == "float64" else np.float32
    if one.kind == "label":
        return st.sampled_from((0, 1)).map(lambda value: np.array([value], np.int64))
    if one.kind != "row":
        return st.sampled_from(_plain(one)).map(lambda value: np.array([value], kept))
    if one.domain in ROWS:
        return st.sampled_from(ROWS[one.domain]).map(lambda row: np.array([row], kept))
    entries = st.sampled_from(_plain(one))
    return st.tuples(entries, entries).map(lambda row: np.array([row], kept))


def _plain(one: Input) -> tuple[float, ...]:
    return PLAIN.get(one.domain, PLAIN["real"])


def point(finding: Finding) -> str:
    """The input, to be read: `y_pred=0, y_true=1`."""
    assert finding.problem is not None, "asked where there is a point"
    dtype = finding.problem.dtype
    return ", ".join(f"{name}={shown.answer(one, dtype)}" for name, one in finding.problem.arrays.items())


_MAKERS: Mapping[str, Callable[[str, str, bool], str]] = {
    "torch": lambda text, dtype, grad: (
        f"torch.tensor({text}, dtype=torch.{dtype}{', requires_grad=True' if grad else ''})"
    ),
    "tensorflow": lambda text, dtype, grad: f"tf.{'Variable' if grad else 'constant'}({text}, dtype=tf.{dtype})",
    "jax": lambda text, dtype, grad: f"jnp.array({text}, dtype=jnp.{dtype})",
    "numpy": lambda text, dtype, grad: f"np.array({text}, dtype=np.{dtype})",
}
_IMPORTS = {
    "torch": "import torch",
    "tensorflow": "import tensorflow as tf",
    "jax": "import jax\nimport jax.numpy as jnp",
    "numpy": "import numpy as np",
}


def script(code: str, examination: Examination, finding: Finding) -> str:
    """Code to paste: the input, the call, and what comes out beside what must."""
    problem, framework = finding.problem, examination.subject.framework
    if problem is None:
        return ""
    where, _, name = code.rpartition(":")
    with suppress(ValueError):  # it lies below the working folder
        where = str(Path(where).relative_to(Path.cwd()))
    if where.endswith(".py"):
        load = (
            f'from runpy import run_path\n\n{name.partition(".")[0]} = run_path({where!r})["{name.partition(".")[0]}"]'
        )
    else:
        load = f"from {where} import {name.partition('.')[0]}"
    lines = [_IMPORTS[framework], load, ""]
    for one, array in problem.arrays.items():
        dtype = "int64" if array.dtype == np.int64 else problem.dtype
        text = repr(array.tolist()).replace("inf", 'float("inf")').replace("nan", 'float("nan")')
        lines.append(f"{one} = " + _MAKERS[framework](text, dtype, problem.loss.inputs[one].grad))
    for one in examination.fit.binding.parameters.values():
        spec = next(key for key, value in examination.fit.binding.parameters.items() if value == one)
        lines.append(f"{spec} = {problem.parameters[spec]!r}")
    text = (
        examination.fit.call.removeprefix("reduce(")
        if examination.fit.call.startswith("reduce(")
        else examination.fit.call
    )
    text = text[:-1] if examination.fit.call.startswith("reduce(") else text
    text = text.replace("yours", name).replace("=reduction", '="none"')
    lines += _called(framework, text, finding, [one for one in problem.loss.inputs if problem.loss.inputs[one].grad])
    return "\n".join(lines) + "\n"


def _called(framework: str, text: str, finding: Finding, leaves: list[str]) -> list[str]:
    told = f"  # {numbers(finding.got)}; exact: {numbers(finding.exact)}"
    if finding.name == "value":
        return [f"print({text}){told}"]
    of = finding.name.removeprefix("gradient.")
    match framework:
        case "torch":
            return [f"torch.sum({text}).backward()", f"print({of}.grad){told}"]
        case "tensorflow":
            return [
                "with tf.GradientTape() as tape:",
                f"    value = {text}",
                f"print(tape.gradient(value, {of})){told}",
            ]
        case "jax":
            return [f"print(jax.grad(lambda {of}: jnp.sum({text}))({of})){told}"]
    return []


def numbers(values: object) -> str:
    numbers = np.ravel(np.asarray(values, np.float64))
    return ", ".join(f"{one:.9g}" for one in numbers[:4]) + (", ..." if len(numbers) > 4 else "")
