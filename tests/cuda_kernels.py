"""What a fresh process says of the kernels for a GPU: one line of JSON for each loss or question, in the simulator."""

import json
import sys
from dataclasses import replace

import numpy as np
from shapes import shape

from lossbench import inputs, spec
from lossbench.adapters import load
from lossbench.errors import Unsupported
from lossbench.records import Case, Target

LARGEST = {"float32": 2.0**-23, "float64": 2.0**-52}  # an ulp of 1

sys.setswitchinterval(1e-6)  # the simulator's threads wait for each other by looking again and again
np.seterr(all="ignore")


def worst(problem, found):
    """By value and gradient, the largest error in ulps of the largest number that it is made of."""
    exact = problem.certified()
    moved = 1.0
    for name, slope in exact.gradient.items():
        product = np.nan_to_num(np.abs(problem.arrays[name].astype(float) * slope.high), posinf=0.0)
        moved = moved + product.sum(axis=None if problem.reduction != "none" else tuple(range(1, product.ndim)))
    errors = {"value": _ulps(found["value"], exact.value, moved, problem.dtype)}
    for name, slope in exact.gradient.items():
        high = np.nan_to_num(np.abs(slope.high), posinf=0.0)
        largest = np.maximum(high.max(axis=tuple(range(1, high.ndim)), keepdims=True, initial=0.0), 1.0)
        errors[name] = _ulps(found[f"gradient.{name}"], slope, largest, problem.dtype)
    return errors


def _ulps(got, exact, size, dtype):
    got = np.asarray(got, np.float64).reshape(exact.high.shape)
    defined = ~np.isnan(exact.high)
    target = np.where(exact.lower < exact.upper, np.clip(got, exact.lower, exact.upper), exact.high)
    right = (got == target) | (got == target.astype(dtype))
    ulps = np.where(right, 0.0, np.abs(got - target) / (LARGEST[dtype] * np.maximum(np.abs(target), size)))
    return float(np.where(np.isnan(ulps), np.inf, ulps)[defined].max(initial=0.0))


def of_loss(adapter, name):
    """Errors of one loss at points of its domain, or why it has no kernel."""
    loss = spec.load(name)
    case = Case(loss=name, digest=loss.digest, dtype="float32", points="domain", shape=shape(loss, 8, 5))
    problem = inputs.draw(loss, case)
    try:
        return worst(problem, adapter.prepare(problem).arrays())
    except Unsupported as refused:
        return {"refused": str(refused)}


def of_edges(adapter, name):
    """How many of a loss's required edges without infinities there are, and which come out wrong."""
    loss = spec.load(name)
    wrong, asked = [], 0
    for index, edge in enumerate(loss.edges):
        if edge.status != "required":
            continue
        problem = inputs.of_point(loss, edge.at, "float32", edge.reduction)
        found = adapter.prepare(problem).arrays()
        exact = problem.certified()
        pairs = [(found["value"], exact.value)]
        pairs += [(found[f"gradient.{one}"], slope) for one, slope in exact.gradient.items()]
        asked += 1
        if not all(_ulps(got, right, 1.0, "float32") <= 4 for got, right in pairs):
            wrong.append(index)
    return {"asked": asked, "wrong": wrong}


def of_reduction(adapter, dtype, reduction, weighted):
    """Errors of a loss whose mean divides by weights of labels, with a label that is ignored."""
    rng = np.random.default_rng(1)
    problem = inputs.problem(
        spec.load("sparse_softmax_cross_entropy"),
        {
            "logits": rng.normal(size=(11, 3)),
            "y_true": [0, 1, 2, -100, 1, 1, 0, 2, 2, 1, 0],
            "class_weight": [1, 2, 0.5],
        },
        dtype=dtype,
        reduction=reduction,
        sample_weight=rng.uniform(0.5, 2, size=11) if weighted else None,
    )
    return worst(problem, adapter.prepare(problem).arrays())


def of_numbers(adapter, name, reduction, given):
    """What a loss gives for these numbers."""
    weight = given.pop("sample_weight", None)
    problem = inputs.problem(spec.load(name), given, dtype="float32", reduction=reduction, sample_weight=weight)
    return {key: np.asarray(one).tolist() for key, one in adapter.prepare(problem).arrays().items()}


def of_sum(adapter, dtype):
    """The relative error of a sum over more elements than all threads take at once, in units of half an ulp."""
    y = np.random.default_rng(2).uniform(0, 1, size=997).astype(dtype).astype(float)
    loss = spec.load("absolute_error")
    problem = inputs.problem(loss, {"y_pred": y, "y_true": np.zeros(997)}, dtype=dtype, reduction="sum")
    found = [float(adapter.prepare(problem).arrays()["value"]) for _ in range(2)]
    exact = problem.certified().value.high
    return {"error": abs(found[0] - float(exact)) / float(exact) / LARGEST[dtype] * 2, "same": found[0] == found[1]}


def of_timing(adapter):
    """Why the simulator is not timed."""
    problem = replace(
        inputs.problem(spec.load("huber"), {"y_pred": [1.0], "y_true": [0.0]}, dtype="float32", reduction="mean"),
        timed=True,
    )
    try:
        adapter.prepare(problem)
    except Unsupported as refused:
        return {"refused": str(refused)}
    return {}


QUESTIONS = {one.__name__: one for one in (of_loss, of_edges, of_reduction, of_numbers, of_sum, of_timing)}


def main():
    adapter = load("numba").open(Target(framework="numba", mode="compiled", device="cuda"))
    for line in sys.stdin:
        question, *arguments = json.loads(line)
        print(json.dumps(QUESTIONS[question](adapter, *arguments)), flush=True)


if __name__ == "__main__":
    main()
