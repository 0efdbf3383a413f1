"""A framework's call in a spec: chosen, checked, and made into a function of arrays.

    F.huber_loss(y_pred, y_true, reduction=reduction, delta=delta)

One expression over the inputs, the parameters, `sample_weight`, `reduction`, `dtype`, `reduce` and the framework's
own modules. It is run with their full power.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from lossbench.adapters import divisor, yours
from lossbench.adapters.allowed import MODULES, check
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.text import RESERVED

Functions = TypeVar("Functions")


def names(loss: Loss, framework: str) -> tuple[str, ...]:
    """What a call of *framework* may name."""
    own = loss.frameworks.get(framework)
    code = (yours.NAME,) if own is not None and own.code else ()
    return (*loss.inputs, *loss.parameters, *RESERVED, *MODULES.get(framework, ()), *code)


def requirement_holds(text: str, problem: Problem) -> bool:
    """Whether a call's `requires` is true of the problem's parameters, reduction, dtype and sample weight.

    A row parameter stands for its one number where it is the same for all classes.
    """
    scope = {name: _plain(value) for name, value in problem.parameters.items()}
    scope |= {"reduction": problem.reduction, "dtype": problem.dtype, "sample_weight": problem.sample_weight}
    tree = check(text, scope)
    return bool(eval(compile(tree, "<requires>", "eval"), scope))


def _plain(value: float | int | np.ndarray) -> object:
    """A row as its one number where all are equal, else as a tuple: both can be compared and give one truth value."""
    if not isinstance(value, np.ndarray):
        return value
    numbers = tuple(value.tolist())
    return numbers[0] if len(set(numbers)) == 1 else numbers


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
        if problem.reduction == "none" or problem.loss.pooled:
            return values
        if problem.reduction == "mean" and sample_weight is None and divided is None:
            return mean(values)
        whole = total(values)
        if problem.reduction == "sum":
            return whole
        return whole / (problem.entries if divided is None else divided)

    numbers = {name: value for name, value in problem.parameters.items() if not isinstance(value, np.ndarray)}
    scope = {
        **modules,
        "math": math,
        **numbers,
        "sample_weight": None,
        "reduction": problem.reduction,
        "dtype": problem.dtype,
        "reduce": reduce,
    }
    own = problem.loss.frameworks.get(framework)
    if own is not None and own.code:
        scope[yours.NAME] = yours.answering(yours.imported(own.code), floats=framework == "numpy")
    _Weighing().visit(tree)
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg(name) for name in arrays(problem)], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    made = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, tree.body)))
    # Compiled anew for each problem: torch.compile gives up on a code object that it has seen with eight others.
    return eval(compile(made, f"<{framework} call of {problem.loss.name}>", "eval"), scope)  # type: ignore[no-any-return]


def identity(problem: Problem, framework: str) -> Hashable:
    """Equal for problems that have one function, whatever their arrays hold."""
    loss = problem.loss
    divided = divisor.of(problem) if problem.reduction == "mean" else None
    numbers = {name: value for name, value in problem.parameters.items() if not isinstance(value, np.ndarray)}
    reduced = (problem.reduction, problem.dtype, problem.entries, divided)
    shapes = ((name, array.shape) for name, array in arrays(problem).items())
    return (loss.name, loss.digest, chosen(problem, framework), *shapes, *numbers.items(), *reduced)


class Kept(Generic[Functions]):
    """Functions for problems: what one was compiled for serves others of the same loss that differ in numbers alone."""

    def __init__(self, framework: str, made: Callable[[Problem], Functions]) -> None:
        self._framework = framework
        self._made = made
        self._loss: Loss | None = None
        self._kept: dict[Hashable, Functions] = {}

    def of(self, problem: Problem) -> Functions:
        """Those of *problem*, made anew where their first call is timed."""
        if problem.timed:
            return self._made(problem)
        if problem.loss is not self._loss:
            self._loss, self._kept = problem.loss, {}
        key = identity(problem, self._framework)
        if key not in self._kept:
            self._kept[key] = self._made(problem)
        return self._kept[key]


def arrays(problem: Problem) -> dict[str, np.ndarray]:
    """What a call takes as arrays: inputs, row parameters, and sample weights where there are some."""
    found = dict(problem.batch)
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
