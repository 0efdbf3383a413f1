"""What a wrong loss is instead: the right one times a number, with other parameters, its sign turned, or another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from lossbench import inputs, spec
from lossbench.checking.finding import Finding
from lossbench.checking.questions import Examination
from lossbench.checking.subject import drawn
from lossbench.errors import LossbenchError
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.sweeps.ask import NoAnswer

COUNT = 24
SAME = 2e-4  # relative, in float32
NAMED = {  # factors by which people are known to be off
    -1.0: "its sign is turned round",
    0.5: "half of it: a factor 2 is missing, or a 1/2 too many",
    2.0: "twice it: a 1/2 is missing",
    1 / math.log(2): "its logarithm is to the base 2",
    1 / math.log(10): "its logarithm is to the base 10",
}


def explained(examination: Examination, worst: Finding) -> list[str]:
    """Sentences on why the *worst* answer is what it is, the first that holds; none where none is known."""
    if worst.name == "dtype":
        return ["a number of another dtype takes part: make it of the dtype of the inputs"]
    if worst.question == "the same inputs again":
        return ["two calls with the same inputs differ: it draws random numbers, or keeps something from call to call"]
    if worst.mode != "eager":
        return [
            f"right when eager, another number in the mode {worst.mode}: something in it is decided while it is "
            "traced, such as an `if` on values, on the mode, or a Python number that changes"
        ]
    if worst.got is not None and not np.isfinite(worst.got).all() and np.isfinite(np.asarray(worst.exact)).all():
        return [_of_nothing(worst)]
    subject = examination.subject
    problem = _hard_targets(drawn(subject.loss, "timing", "float32", COUNT, examination.parameters))
    try:
        got = examination.answers(problem)
    except NoAnswer:
        return []
    certified = problem.certified()
    exact = certified.value.high.ravel()
    value = np.ravel(got["value"]).astype(np.float64)
    if value.size != exact.size:
        return []
    if not _same(value, exact):
        found = _of_value(examination, problem, value, exact)
        return [found] if found else [f"this is {one}" for one in named(subject.loss, problem, value)][:1]
    found = _of_gradient(problem, got, {name: one.high for name, one in certified.gradient.items()})
    return [found] if found else []


def _of_nothing(worst: Finding) -> str:
    """Why nan or an infinity comes out where a number must."""
    assert worst.got is not None, "asked where one came out"
    gone = "nan" if np.isnan(worst.got).any() else "an infinity"
    loss = worst.problem.loss if worst.problem is not None else None
    bounded = loss is not None and any(one.domain in ("unit", "simplex") for one in loss.inputs.values() if one.grad)
    if bounded:
        return f"{gone} where a logarithm of 0 meets 0: clip its argument away from 0, or use xlogy"
    if worst.name.startswith("gradient."):
        return (
            f"the gradient is {gone}, the value a number: a square root, norm, power or quotient has no slope there, "
            "even where a `where` does not choose it; make its argument a safe one first"
        )
    return f"{gone} comes out where a number must: an exponential that overflows, 0/0, or a logarithm of 0"


def _of_value(examination: Examination, problem: Problem, value: np.ndarray, exact: np.ndarray) -> str | None:
    loss = examination.subject.loss
    for said, other in _others(problem):
        if _same(value, other):
            return f"it is the loss with {said}"
    factor = _factor(value, exact)
    classes = problem.arrays[next(iter(problem.arrays))].shape[-1] if "class" in loss.axes else 0
    if factor is not None:
        if classes and math.isclose(factor, 1 / classes, rel_tol=SAME):
            return f"it is the loss divided by {classes}, the number of classes: a mean over them in place of their sum"
        near = next((words for one, words in NAMED.items() if math.isclose(factor, one, rel_tol=SAME)), None)
        return near or f"it is {factor:.6g} times the loss, everywhere"
    return _by_target(loss, problem, value, exact)


def _by_target(loss: Loss, problem: Problem, value: np.ndarray, exact: np.ndarray) -> str | None:
    """Where it is right for one label, and a number times the loss for another."""
    for name, one in loss.inputs.items():
        target = problem.arrays[name]
        if one.grad or target.ndim > 1 or len(labels := np.unique(target)) != 2:
            continue
        factors = {float(label): _factor(value[target == label], exact[target == label]) for label in labels}
        if None in factors.values():
            continue
        low, high = (float(label) for label in labels)
        alpha = problem.parameters.get("alpha")
        if isinstance(alpha, float) and 0 < alpha < 1:
            swapped = {high: (1 - alpha) / alpha, low: alpha / (1 - alpha)}
            alike = {high: 1.0, low: alpha / (1 - alpha)}
            if _close(factors, alike):
                return (
                    f"one alpha weighs all classes alike: where {name} = {low:g} the weight must be 1 - alpha = "
                    f"{1 - alpha:g}, not alpha = {alpha:g}"
                )
            if _close(factors, swapped):
                return f"alpha is swapped: {name} = {high:g} gets 1 - alpha and {name} = {low:g} gets alpha"
        told = " and ".join(
            f"{factor:.6g} times the loss where {name} = {label:g}" for label, factor in factors.items()
        )
        return f"it is {told}"
    return None


def _of_gradient(problem: Problem, got: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> str | None:
    for name, one in exact.items():
        slope = np.ravel(got.get(f"gradient.{name}", one)).astype(np.float64)
        true = np.ravel(one)
        if slope.size != true.size or _same(slope, true):
            continue
        if not slope.any():
            return f"its value is right, its gradient by {name} is 0 everywhere: detached from it?"
        factor = _factor(slope, true)
        if factor is not None:
            return f"its value is right, its gradient by {name} is {factor:.6g} times what it must be"
        gone = (slope == 0) & (true != 0)
        if gone.any() and _same(slope[~gone], true[~gone]):
            some = f"{gone.sum()} of {gone.size} entries"
            return f"its value is right, its gradient by {name} is 0 at {some}: a clip ends it there?"
    return None


def _others(problem: Problem) -> Iterator[tuple[str, np.ndarray]]:
    """The loss with one parameter changed, as people change them by mistake."""
    for name, one in problem.loss.parameters.items():
        now = problem.parameters[name]
        if isinstance(now, np.ndarray) or one.kind == "label":
            continue
        said = {float(spec.exact(value)) for value in [one.default, *one.values] if not isinstance(value, list)}
        for other in sorted({1 - now, 0.0, 1.0, 2.0, 2 * now, now / 2, *said} - {now}):
            try:
                yield (
                    f"{name} = {other:g} in place of {now:g}",
                    _value(replace(problem, parameters={**problem.parameters, name: other})),
                )
            except (LossbenchError, ValueError, ZeroDivisionError):
                continue


def named(own: Loss, problem: Problem, value: np.ndarray) -> Iterator[str]:
    """The losses of the catalogue, with their parameters, that give *value* at the inputs of *problem*."""
    kinds = [one.kind for one in own.inputs.values()]
    for loss in spec.load_all():
        if loss.name == own.name or [one.kind for one in loss.inputs.values()] != kinds or loss.axes != own.axes:
            continue
        given = dict(zip(loss.inputs, problem.arrays.values(), strict=True))
        choices: list[dict[str, object]] = [{}]
        choices += [{name: value} for name, one in loss.parameters.items() for value in one.values]
        for chosen in choices:
            try:
                numbers = {name: inputs._float(one) for name, one in chosen.items()}
                other = inputs.problem(loss, {**given, **numbers}, dtype=problem.dtype, reduction="none")
                if _same(value, _value(other)):
                    with_ = ", ".join(f"{name} = {one}" for name, one in chosen.items())
                    yield f"{loss.name} ({loss.title}){f' with {with_}' if with_ else ''}"
                    break
            except (LossbenchError, ValueError, ZeroDivisionError):
                continue


def _value(problem: Problem) -> np.ndarray:
    return problem.certified(gradient=False).value.high.ravel()


def _hard_targets(problem: Problem) -> Problem:
    """Targets between two labels made one of them: a factor that goes with the label shows only there."""
    arrays = dict(problem.arrays)
    for name, one in problem.loss.inputs.items():
        if not one.grad and one.domain == "unit" and arrays[name].ndim == 1:
            arrays[name] = (np.arange(arrays[name].size) % 2).astype(arrays[name].dtype)
    return replace(problem, arrays=arrays)


def _same(value: np.ndarray, exact: np.ndarray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.abs(exact) + SAME * np.nanmax(np.abs(exact), initial=0)
        return bool(
            np.isfinite(value).all()
            and np.isfinite(exact).all()
            and (np.abs(value - exact) <= SAME * scale + 1e-12).all()
        )


def _factor(value: np.ndarray, exact: np.ndarray) -> float | None:
    """The one number that *exact* must be multiplied by; None where there is none, or nothing to tell it by."""
    told = np.abs(exact) > SAME * np.abs(exact).max(initial=0)
    if told.sum() < 2 or not np.isfinite(value).all():
        return None
    factor = float(np.median(value[told] / exact[told]))
    return factor if factor and _same(value, factor * exact) else None


def _close(found: Mapping[float, float | None], expected: Mapping[float, float]) -> bool:
    return all(math.isclose(found[key] or 0.0, expected[key], rel_tol=10 * SAME) for key in expected)
