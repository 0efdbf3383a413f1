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
POINTS, CLASSES = 4, 3  # of the ordinary ones
PARTS = ("high", "lower", "upper")
CELLS = [(loss, framework) for loss in spec.load_all() for framework in loss.frameworks]


@cache
def opened(framework: str) -> adapters.Adapter:
    try:
        module = adapters.load(framework)
    except ImportError as error:
        pytest.skip(str(error))
    return module.open(Target(framework=framework, mode=module.MODES[0]))


def ordinary(loss, **rest) -> Problem:
    """A problem of points of the first style alone."""
    case = Case(
        loss=loss.name,
        digest="",
        dtype="float64",
        points="domain",
        shape=shape(loss, POINTS * len(STYLES), CLASSES),
        index=STYLES.index("ordinary"),
        **rest,
    )
    drawn = inputs.draw(loss, case)
    if loss.batchwise or loss.accumulated:
        return drawn
    arrays = {name: array[:: len(STYLES)] for name, array in drawn.arrays.items()}
    weight = None if drawn.sample_weight is None else drawn.sample_weight[:: len(STYLES)]
    return Problem(**{**vars(drawn), "arrays": arrays, "sample_weight": weight})


def given_to(problem: Problem) -> dict[str, np.ndarray]:
    return problem.arrays | {name: np.asarray(value) for name, value in problem.parameters.items()}


def counted(problem: Problem, framework: str, key: str) -> np.ndarray:
    """Which numbers of an output are those of points of which the spec declares nothing, as a mask that broadcasts."""
    loss, given = problem.loss, given_to(problem)
    excused = declared.conventional(loss, framework, "float64", given)
    for one in loss.divergences:  # defects too: they have been found
        if one.framework == framework and one.call is None and one.region:
            excused = excused | declared.inside(loss, one.region, given)
    if loss.batchwise or loss.accumulated:
        return ~excused.any()
    if key == "value":
        return ~excused if problem.reduction == "none" else ~excused.any()
    return ~excused.reshape(-1, *[1] * (len(loss.along(key.removeprefix("gradient."))) - 1))


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


def allowed(problem: Problem, framework: str, key: str, exact: np.ndarray) -> np.ndarray:
    """How far off a number may be, beside its own size and how far it moves when the inputs move by theirs."""
    near = nearness(problem.loss.name, framework)
    if problem.reduction != "none":
        return near * np.abs(exact[np.isfinite(exact)]).max(initial=LEAST)
    moved = conditioning.estimates(problem.loss, given_to(problem))[key].moved
    return near * (np.maximum(np.abs(exact), LEAST) + moved)


def compare(problem: Problem, framework: str) -> int:
    """Assert that a cell says what is certified; how many numbers were compared."""
    found = opened(framework).prepare(problem).arrays()
    certified = problem.certified()
    exact = {"value": certified.value} | {f"gradient.{name}": one for name, one in certified.gradient.items()}
    compared = 0
    for key, one in exact.items():
        got = found[key].reshape(one.high.shape)
        target = np.clip(got, one.lower, one.upper)  # any subgradient at a kink
        off = ~(np.abs(got - target) <= allowed(problem, framework, key, one.high)) & (got != target)
        off &= counted(problem, framework, key) & ~np.isnan(one.high)
        compared += one.high.size - off.sum()

        assert not off.any(), f"{key}: got {got[off][:3]}, exactly {target[off][:3]}"
    return compared


@pytest.mark.parametrize(("loss", "framework"), CELLS, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("parameters", ["default", "other"])
def test_every_cell_computes_its_loss(loss, framework, parameters):
    others = [{name: value} for name, one in loss.parameters.items() for value in one.values]
    reduction = "mean" if loss.accumulated else "none"
    for given in [{}] if parameters == "default" else others:
        problem = ordinary(loss, parameters=given, reduction=reduction)
        if is_served(problem, framework):
            assert compare(problem, framework) > 0


@pytest.mark.parametrize(("loss", "framework"), CELLS, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_cell_averages(loss, framework, weighted):
    if weighted and (loss.pooled or loss.accumulated):
        pytest.skip("one number for a whole batch has no weights, and those of a state are an input")
    problem = ordinary(loss, reduction="mean", weighted=weighted)
    if is_served(problem, framework):
        assert compare(problem, framework) > 0


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
        compare(ordinary(loss), "torch")
