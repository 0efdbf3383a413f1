"""Every call of every spec computes its loss: against certified values, at ordinary points, in float64.

Only where nothing is hard: what frameworks do elsewhere is what runs are for. A cell may differ where its spec declares
it, by the region of a divergence or at its point, or by one of float64 that is itself a small difference: such a call
computes in float32 inside, or adds a small number.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from shapes import shape

from lossbench import adapters, conditioning, declared, inputs, spec
from lossbench.adapters.call import requirement_holds
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.points import STYLES
from lossbench.records import Case, Target

NEAR, ROUGH = 1e-8, 1e-5  # relative; the second where a small difference is declared
LEAST = 1e-6  # the size of numbers that are less: sums may cancel to nothing
POINTS, CLASSES, DRAWS = 4, 3, 8
PARTS = ("high", "lower", "upper")
CELLS = [(loss, framework) for loss in spec.load_all() for framework in loss.frameworks]


@cache
def opened(framework: str) -> adapters.Adapter:
    try:
        module = adapters.load(framework)
    except ImportError as error:
        pytest.skip(str(error))
    return module.open(Target(framework=framework, mode=module.MODES[0]))


def ordinary(loss, framework: str, **rest) -> Problem:
    """A problem of points of the first style alone; of a whole batch, one of which nothing is declared if there is."""
    for draw in range(DRAWS):
        case = Case(
            loss=loss.name,
            digest="",
            dtype="float64",
            points="domain",
            shape=shape(loss, POINTS * len(STYLES), CLASSES),
            index=draw * len(STYLES),
            **rest,
        )
        drawn = inputs.draw(loss, case)
        if not loss.batchwise or not excused(drawn, framework).any():
            break
    if loss.batchwise or loss.accumulated:
        return drawn
    arrays = {name: array[:: len(STYLES)] for name, array in drawn.arrays.items()}
    weight = None if drawn.sample_weight is None else drawn.sample_weight[:: len(STYLES)]
    return replace(drawn, arrays=arrays, sample_weight=weight)


def given_to(problem: Problem) -> dict[str, np.ndarray]:
    return problem.arrays | {name: np.asarray(value) for name, value in problem.parameters.items()}


def excused(problem: Problem, framework: str) -> np.ndarray:
    """Which points the spec declares something of: shape (n,), or (1,) for a loss of whole batches."""
    loss, given = problem.loss, given_to(problem)
    found = declared.conventional(loss, framework, "float64", given)
    for one in loss.divergences:  # defects too: they have been found
        if one.framework == framework and one.call is None and one.region:
            found = found | declared.inside(loss, one.region, given)
    return found


def counted(problem: Problem, framework: str, key: str) -> np.ndarray:
    """Which numbers of an output are those of points of which the spec declares nothing, as a mask that broadcasts."""
    loss, left = problem.loss, ~excused(problem, framework)
    if loss.batchwise or loss.accumulated or (key == "value" and problem.reduction != "none"):
        return left.all()
    axes = 1 if key == "value" else len(loss.along(key.removeprefix("gradient.")))
    return left.reshape(-1, *[1] * (axes - 1))


@cache
def nearness(name: str, framework: str) -> float:
    """How near a cell must be: less if the spec declares that it is a little off, whatever the dtype."""
    loss = spec.load(name)
    for one in loss.divergences:
        if (one.framework, one.call, one.dtype, one.mode) != (framework, None, "float64", None) or one.value is None:
            continue
        exact = inputs.of_point(loss, one.when, "float64", one.reduction).certified().value.high
        told = np.array([declared.interval(text)[0] for text in declared.leaves(one.value)])
        if told.size == exact.size and np.allclose(told, exact.ravel(), rtol=ROUGH, atol=0):
            return ROUGH
    return NEAR


def size(problem: Problem, key: str, exact: np.ndarray) -> np.ndarray:
    """What an error is beside: the number's own size, and how far it moves when the inputs move by theirs."""
    if problem.reduction != "none":
        return np.abs(exact[np.isfinite(exact)]).max(initial=LEAST)
    return np.maximum(np.abs(exact), LEAST) + conditioning.estimates(problem.loss, given_to(problem))[key].moved


def compare(problem: Problem, framework: str) -> None:
    """Assert that a cell says what is certified."""
    found = opened(framework).prepare(problem).arrays()
    certified = problem.certified()
    exact = {"value": certified.value} | {f"gradient.{name}": one for name, one in certified.gradient.items()}
    for key, one in exact.items():
        got = found[key].reshape(one.high.shape)
        target = np.clip(got, one.lower, one.upper)  # any subgradient at a kink
        near, on = nearness(problem.loss.name, framework), counted(problem, framework, key)
        if not on.any():  # a difference that is declared everywhere is still a small one
            near, on = ROUGH, ~on
        on = on & ~np.isnan(one.high)
        off = on & ~(np.abs(got - target) <= near * size(problem, key, one.high)) & (got != target)

        assert not off.any(), f"{key}: got {got[off][:3]}, exactly {target[off][:3]}"


@pytest.mark.parametrize(("loss", "framework"), CELLS, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("parameters", ["default", "other"])
def test_every_cell_computes_its_loss(loss, framework, parameters):
    others = [{name: value} for name, one in loss.parameters.items() for value in one.values]
    reduction = "mean" if loss.accumulated else "none"
    for given in [{}] if parameters == "default" else others:
        problem = ordinary(loss, framework, parameters=given, reduction=reduction)
        if is_served(problem, framework):
            compare(problem, framework)


@pytest.mark.parametrize(("loss", "framework"), CELLS, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_cell_averages(loss, framework, weighted):
    if weighted and (loss.pooled or loss.accumulated):
        pytest.skip("one number for a whole batch has no weights, and those of a state are an input")
    problem = ordinary(loss, framework, reduction="mean", weighted=weighted)
    if is_served(problem, framework):
        compare(problem, framework)


def is_served(problem: Problem, framework: str) -> bool:
    """Whether the call is said to cover these parameters; it is refused by the adapter if not."""
    requires = problem.loss.frameworks[framework].requires
    if requires is None or requirement_holds(requires, problem):
        return True
    with pytest.raises(Unsupported):
        opened(framework).prepare(problem)
    return False


def test_a_cell_that_is_a_little_off_is_noticed(monkeypatch):
    loss = spec.load("huber")
    right = inputs.Problem.certified

    def wrong(problem):
        found = right(problem)
        off = replace(found.value, **{name: getattr(found.value, name) * (1 + 1e-7) for name in PARTS})
        return replace(found, value=off)

    monkeypatch.setattr(inputs.Problem, "certified", wrong)

    with pytest.raises(AssertionError, match="value: got"):
        compare(ordinary(loss, "torch"), "torch")
