"""The smallest input at which one's own loss fails, shrunk with Hypothesis, and code that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from lossbench import shown
from lossbench.checking.finding import Finding
from lossbench.checking.questions import Examination
from lossbench.inputs import Problem
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Input

EXAMPLES = {"wrong": 300, "weak": 100}
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
    if problem is None or problem.entries > 1 or finding.declared or finding.call or finding.exact is None:
        return finding
    if problem.loss.batchwise or any(one.axes for one in problem.loss.inputs.values()):
        return finding
    best: dict[str, Finding] = {}
    parameters = {
        name: one[:CLASSES] if isinstance(one, np.ndarray) else one for name, one in problem.parameters.items()
    }

    def fails(arrays: Mapping[str, np.ndarray]) -> bool:
        if examination.over and best:
            return False
        try:
            asked = replace(problem, arrays={**problem.arrays, **arrays}, parameters=parameters)
            found = examination.judge(finding.question, asked, finding.mode)
        except (ValueError, NoAnswer):
            return False
        if (
            found.level not in ("weak", "wrong")
            or found.name != finding.name
            or found.declared
            or (finding.far and not found.far)
        ):
            return False
        best["last"] = replace(found, question=finding.question, level=finding.level)
        return True

    try:
        arrays = find(
            _points(problem),
            fails,
            settings=settings(
                max_examples=EXAMPLES[finding.level],
                database=None,
                deadline=None,
                derandomize=True,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except NoSuchExample:
        return finding
    fails(arrays)
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


def numbers(values: object) -> str:
    numbers = np.ravel(np.asarray(values, np.float64))
    return ", ".join(f"{one:.9g}" for one in numbers[:4]) + (", ..." if len(numbers) > 4 else "")
