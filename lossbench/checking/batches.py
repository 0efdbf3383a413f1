"""What is asked of one's own loss beside its numbers: means, sums, dtype, other shapes of batches, sample weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from lossbench.checking.finding import Finding
from lossbench.checking.questions import GOOD, Examination
from lossbench.checking.reading import call
from lossbench.checking.subject import drawn, judged
from lossbench.inputs import Problem
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Reduction

RESHAPES = {
    "torch": "torch.reshape({}, {shape})",
    "tensorflow": "tf.reshape({}, {shape})",
    "jax": "jnp.reshape({}, {shape})",
    "numpy": "np.reshape({}, {shape})",
}
ONES = {"torch": "torch.sum({})", "tensorflow": "tf.reduce_sum({})", "jax": "jnp.sum({})", "numpy": "np.sum({})"}
CHANGEABLE = ("numpy", "torch")  # whose arrays a loss can write into
COUNT = 12  # elements or rows
FEWEST = (1, 2, 3)  # with which a batch's failure is shown


def means(asked: Examination) -> Iterator[Finding]:
    """Means and sums over a batch, where it makes them itself."""
    fit = asked.fit
    if fit.way.changed:  # the batch has another shape, too, over which a mean of its own may be another one
        return
    own: tuple[Reduction, ...] = (fit.reduction,) if fit.whole else ()
    reductions: tuple[Reduction, ...] = ("mean", "sum") if fit.binding.reduction else own
    for reduction in reductions:
        yield _fewest(partial(_reduced, asked, reduction))


def _reduced(asked: Examination, reduction: Reduction, count: int) -> Finding:
    problem = drawn(asked.subject.loss, "timing", "float32", count, asked.parameters, reduction=reduction)
    base = Finding(question=f"{reduction} over a batch", level="right")
    try:
        got = asked.subject.ask(asked.fit.call, problem)
    except NoAnswer as error:
        return replace(base, level="refused", words=str(error))
    measured = judged(asked.subject, problem, got)
    if measured.verdict in GOOD:
        return replace(base, words=measured.verdict)
    found = asked.told(base, problem, measured)
    if not found.far or "value" not in measured.parts:
        return found
    value, exact = float(np.ravel(measured.got["value"])[0]), float(measured.exact["value"].high)
    times = f": {value / exact:.6g} times as much" if exact else ""
    words = f"it is {value:.7g} where the {reduction} is {exact:.7g}{times}"
    return replace(
        found, level="wrong", words=words, problem=problem, name="value", got=np.array(value), exact=np.array(exact)
    )


def leak(asked: Examination) -> Iterator[Finding]:
    """Whether float32 goes in and float32 comes out."""
    first = next(name for name, one in asked.subject.loss.inputs.items() if one.grad)
    summed = ONES[asked.subject.framework].format(first)
    text = f"{summed}*0 + 1.0*({asked.fit.plain}.dtype == {first}.dtype)"
    problem = drawn(asked.subject.loss, "timing", "float32", 1, asked.parameters)
    base = Finding(question="dtype of the result", level="right", words="float32")
    try:
        same = asked.subject.ask(text, problem)["value"]
    except NoAnswer as error:
        yield replace(base, level="not asked", words=str(error))
        return
    if float(np.ravel(same)[0]) == 1.0:
        yield base
        return
    words = "float32 goes in, another dtype comes out: a constant of float64 in it?"
    yield replace(base, level="wrong", words=words, problem=problem, name="dtype", call=f"{asked.fit.plain}.dtype")


def again(asked: Examination) -> Iterator[Finding]:
    """Whether the same inputs give the same numbers a second time."""
    yield _fewest(partial(_again, asked))


def _again(asked: Examination, count: int) -> Finding:
    base = Finding(question="the same inputs again", level="right", words="the same numbers")
    problem = drawn(asked.subject.loss, "timing", "float32", count, asked.parameters)
    text = asked.fit.plain
    try:
        first, second = (asked.subject.ask(text, problem)["value"] for _ in range(2))
    except NoAnswer as error:
        return replace(base, level="refused", words=str(error))
    if np.array_equal(first, second, equal_nan=True):
        return base
    words = "other numbers: it draws random ones, or remembers something"
    return replace(base, level="wrong", words=words, problem=problem, name="value", call=text)


def untouched(asked: Examination) -> Iterator[Finding]:
    """Whether it leaves its inputs as they are."""
    loss, framework = asked.subject.loss, asked.subject.framework
    if framework not in CHANGEABLE or asked.fit.way.given:
        return
    problem = drawn(loss, "timing", "float32", 6, asked.parameters)
    base = Finding(question="its inputs afterwards", level="right", words="as they were")
    first = next(name for name, one in loss.inputs.items() if one.grad)
    for name, array in problem.arrays.items():
        # The list is made from left to right: what stands in it second is read behind the call.
        text = f"[{asked.fit.plain}, {name}][1] + 0*{ONES[framework].format(first)}"
        try:
            left = asked.subject.ask(text, problem)["value"]
        except NoAnswer as error:
            base = replace(base, level="not asked", words=str(error))
            continue
        if left.shape != array.shape or not np.array_equal(left, array):
            words = f"it writes into {name}, which is its caller's: make a copy first"
            base = replace(base, level="wrong", words=words)
            break
    yield base


def shapes(asked: Examination) -> Iterator[Finding]:
    """Batches of two axes, of one element, and empty ones."""
    loss, fit = asked.subject.loss, asked.fit
    base = Finding(question="a batch of two axes", level="right", words="as one axis")
    if loss.axes or fit.way.given:
        yield replace(base, level="not asked", words="only losses of elements, one by one, have a way of their own")
    else:
        reshape = RESHAPES[asked.subject.framework]
        text = call(fit.binding, dict.fromkeys(loss.inputs, reshape.replace("{shape}", "(2, -1)")))
        text = text if fit.whole else reshape.replace("{shape}", "(-1,)").replace("{}", text)
        problem = drawn(loss, "timing", "float32", COUNT, asked.parameters, reduction=fit.reduction)
        yield _same(asked, base, problem, text)
    problem = drawn(loss, "timing", "float32", 1, asked.parameters)
    yield _same(asked, Finding(question="a batch of one", level="right", words="as any other"), problem, fit.call)
    empty = replace(problem, arrays={name: one[:0] for name, one in problem.arrays.items()})
    base = Finding(question="an empty batch", level="right")
    try:
        got = asked.subject.ask(fit.call, empty)["value"]
        yield replace(base, words=f"gives {got.tolist() if got.size else 'nothing'}")
    except NoAnswer as error:
        yield replace(base, level="weak", words=str(error))


def weights(asked: Examination) -> Iterator[Finding]:
    """Sample weights, where it takes them."""
    fit = asked.fit
    if not fit.weighted:
        return
    reduction = fit.reduction
    problem = drawn(
        asked.subject.loss, "timing", "float32", COUNT, asked.parameters, reduction=reduction, weighted=True
    )
    yield _same(
        asked, Finding(question="sample weights", level="right", words="each weighs its loss"), problem, fit.weighted
    )


def _fewest(answer: Callable[[int], Finding]) -> Finding:
    """The answer to a batch; a wrong one is shown with as few points as show it."""
    found = answer(COUNT)
    if found.level != "wrong":
        return found
    return next((one for one in map(answer, FEWEST) if one.level == "wrong"), found)


def _same(asked: Examination, base: Finding, problem: Problem, text: str) -> Finding:
    try:
        got = asked.subject.ask(text, problem)
    except NoAnswer as error:
        return replace(base, level="refused", words=str(error))
    measured = judged(asked.subject, problem, got)
    if measured.verdict in GOOD:
        return base
    found = replace(asked.told(base, problem, measured), call=text)
    return replace(found, level="wrong") if found.far or not measured.parts else found
