"""Losses that are kept in a state: the calls of a spec that make it, update it, read it and reset it, and their fold.

    keras.metrics.Mean(dtype=dtype)    state.update_state(value, sample_weight=weight)    state.result()

Each is one expression over `state`, `dtype`, the inputs of one update and the framework's own modules.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lossbench.adapters import Prepared
from lossbench.adapters.allowed import MODULES, check
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.text import Call, Twin

Batch = tuple[Any, ...]  # the arrays of one update


@dataclass(frozen=True, kw_only=True)
class Functions:
    """The calls as functions of arrays.

    Attributes:
        fresh: Makes a state; takes the arrays of an update, of which only dtype and device matter.
        update: Takes a state and the arrays of an update; returns the next state, or None where it changed the one.
        result: Reads a state.
        reset: Makes a state fresh again where it is; None where each fold takes a new one.
    """

    fresh: Callable[..., Any]
    update: Callable[..., Any]
    result: Callable[[Any], Any]
    reset: Callable[[Any], Any] | None


def functions(
    calls: Call | Twin,
    arrays: Iterable[str],
    framework: str,
    modules: Mapping[str, object],
    constants: Mapping[str, Any],
) -> Functions:
    """The *calls* of a state, whose updates take *arrays*.

    Args:
        calls: With `update` and `result`.
        arrays: The names of what an update brings.
        framework: Whose calls.
        modules: The modules of `MODULES`, by name.
        constants: What else calls may name: `dtype`, and parameters.

    Raises:
        CallError: A call uses what calls may not use.
    """
    names = tuple(arrays)
    scope = {**modules, "math": math, **constants}

    def function(text: str | None, *arguments: str) -> Callable[..., Any]:
        tree = check(text or "", (*arguments, *constants, *MODULES[framework]))
        given = ast.arguments(
            posonlyargs=[], args=[ast.arg(name) for name in arguments], kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        made = ast.fix_missing_locations(ast.Expression(ast.Lambda(given, tree.body)))
        return eval(compile(made, f"<a state of {framework}>", "eval"), dict(scope))  # type: ignore[no-any-return]

    return Functions(
        fresh=function(calls.call, *names),
        update=function(calls.update, "state", *names),
        result=function(calls.result, "state"),
        reset=function(calls.reset, "state") if calls.reset else None,
    )


def fold(states: Functions, held: Any, step: Callable[..., Any], batches: Iterable[Batch]) -> Any:
    """What the state *held* gives after every one of *batches*, each brought to it by *step*; it starts fresh."""
    state = held
    if states.reset is not None:
        states.reset(state)
    for batch in batches:
        after = step(state, *batch)
        state = state if after is None else after
    return states.result(state)


def brought(problem: Problem) -> list[str]:
    """The inputs that an update brings: all but its own number."""
    return [name for name, one in problem.loss.inputs.items() if one.domain != "update"]


def updates(problem: Problem) -> Iterator[Sequence[np.ndarray]]:
    """What each update brings, in order: those that no element belongs to bring empty arrays. There is at least one."""
    numbers = next(problem.arrays[name] for name, one in problem.loss.inputs.items() if one.domain == "update")
    order = np.argsort(numbers, kind="stable")
    arrays = [problem.arrays[name][order] for name in brought(problem)]
    ends = np.cumsum(np.bincount(numbers, minlength=1)).tolist()
    start = 0
    for end in ends:
        yield [array[start:end] for array in arrays]
        start = end


def prepare(
    problem: Problem,
    framework: str,
    modules: Mapping[str, object],
    *,
    array: Callable[[np.ndarray], Any],
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]],
    awaited: Callable[[Any], Any],
    numbers: Callable[[Any], np.ndarray],
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Prepared:
    """The fold over all updates of *problem*, made ready; there are no gradients.

    Args:
        problem: Of a loss that is accumulated.
        framework: Whose calls.
        modules: The modules of `MODULES`, by name.
        array: Puts an array on the device.
        compiled: Compiles the step from one state to the next, where the mode says so.
        awaited: Waits for a result.
        numbers: A result as NumPy has it.
        scope: In which everything runs.

    Raises:
        CallError: A call uses what calls may not use.
        Unsupported: The spec has no calls for this framework, or another reduction is asked for.
    """
    loss = problem.loss
    calls = loss.frameworks.get(framework)
    if calls is None:
        raise Unsupported(f"{framework} has no {loss.name}; its spec gives no call")
    if problem.reduction != "mean":
        raise Unsupported(f"{loss.name} is a state that holds a mean; expected the reduction mean")
    states = functions(calls, brought(problem), framework, modules, {"dtype": problem.dtype})
    step = compiled(states.update)

    def batches() -> Iterator[Batch]:
        return (tuple(array(one) for one in brings) for brings in updates(problem))

    # On the device from the first timed call on; a million updates that are folded once are never there together.
    ready = cache(lambda: list(batches()))
    with scope():
        held = states.fresh(*next(batches()))

    def forward() -> Any:
        with scope():
            return awaited(fold(states, held, step, ready()))

    def arrays() -> dict[str, np.ndarray]:
        with scope():
            return {"value": numbers(fold(states, held, step, batches()))}

    return Prepared(forward=forward, gradient=forward, arrays=arrays)
