"""Losses of whole batches, and of pairs of classes, against loops over mpmath numbers written for each alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf
from shapes import draws, shape

from lossbench import inputs, spec
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.records import Case

DIGITS = 200  # of the second computation: exponentials of large numbers stand beside 1
STEP = mpf(10) ** -60
Arrays = Mapping[str, list]
Numbers = Mapping[str, mpf]


@pytest.fixture(autouse=True)
def enough_digits():
    with mp.workdps(DIGITS):
        yield


def linear_cross_entropy(given: Arrays, at: Numbers) -> list[mpf]:
    found = []
    for features, label in zip(given["features"], given["y_true"], strict=True):
        if label == at["ignore_index"]:
            found.append(mpf(0))
            continue
        rows = zip(given["weight"], given["bias"], strict=True)
        logits = [mpmath.fdot(features, row) + bias for row, bias in rows]
        log_total = mpmath.log(mpmath.fsum(map(mpmath.exp, logits)))
        loss = mpf(0)
        for number, logit in enumerate(logits):
            hot = 1 if number == label else 0
            target = (1 - at["label_smoothing"]) * hot + at["label_smoothing"] / len(logits)
            loss -= at["class_weight"][number] * target * (logit - log_total)
        found.append(loss)
    return found


def ntxent(given: Arrays, at: Numbers) -> list[mpf]:
    ids, losses = given["ids"], []
    lengths = [mpmath.sqrt(mpmath.fdot(one, one)) for one in given["embeddings"]]

    def similarity(i: int, j: int) -> mpf:
        cosine = mpmath.fdot(given["embeddings"][i], given["embeddings"][j]) / (lengths[i] * lengths[j])
        return cosine / at["temperature"]

    for i, j in itertools.permutations(range(len(ids)), 2):
        if ids[i] == ids[j]:
            others = [mpmath.exp(similarity(i, k)) for k in range(len(ids)) if ids[k] != ids[i]]
            own = mpmath.exp(similarity(i, j))
            losses.append(-mpmath.log(own / (own + mpmath.fsum(others))))
    return [mpmath.fsum(losses) / len(losses)] if losses else [mpmath.nan]


def circle(given: Arrays, at: Numbers) -> list[mpf]:
    gamma, margin, ids, found = at["gamma"], at["margin"], given["ids"], []
    for i, query in enumerate(given["embeddings"]):
        own, others = [], []
        for j, key in enumerate(given["embeddings"]):
            distance = max(mpf(0), 1 - mpmath.fdot(query, key))
            if ids[i] != ids[j]:
                weight = max(mpf(0), 1 + margin - distance)
                others.append(mpmath.exp(gamma * weight * (1 - margin - distance)))
            elif i != j or at["remove_diagonal"] == 0:
                own.append(mpmath.exp(-gamma * (margin + distance) * (margin - distance)))
        found.append(mpmath.log(1 + mpmath.fsum(own) * mpmath.fsum(others)))
    return found


def generalized_dice(given: Arrays, at: Numbers) -> list[mpf]:
    images, masks = given["logits"], given["y_true"]
    classes = range(len(images[0][0]))
    counts = [mpmath.fsum(place[c] for mask in masks for place in mask) for c in classes]
    rarity = [1 / (count**2 + mpf(10) ** -7) for count in counts]
    weights = [len(classes) * one / mpmath.fsum(rarity) for one in rarity]
    losses = []
    for image, mask in zip(images, masks, strict=True):
        chances = []
        for logits in image:
            powers = list(map(mpmath.exp, logits))
            chances.append([one / mpmath.fsum(powers) for one in powers])
        for c in classes[1 if at["ignore_background"] == 1 else 0 :]:
            predicted, true = [chance[c] for chance in chances], [place[c] for place in mask]
            above = mpmath.fdot(predicted, true) + at["smooth"]
            below = (mpmath.fsum(predicted) + mpmath.fsum(true)) / 2 + at["smooth"]
            losses.append(weights[c] * (1 - above / below))
    return [mpmath.fsum(losses) / len(losses)]


def batch_tversky(given: Arrays, at: Numbers) -> list[mpf]:
    both, predicted, true = at["smooth"], mpf(0), mpf(0)
    for p_row, y_row in zip(given["y_pred"], given["y_true"], strict=True):
        for p, y in zip(p_row, y_row, strict=True):
            both, predicted, true = both + p * y, predicted + p * (1 - y), true + (1 - p) * y
    return [1 - both / (both + at["alpha"] * predicted + at["beta"] * true)]


def batch_dice(given: Arrays, at: Numbers) -> list[mpf]:
    return batch_tversky(given, {"smooth": at["smooth"], "alpha": mpf(1) / 2, "beta": mpf(1) / 2})


def multilabel_margin(given: Arrays, at: Numbers) -> list[mpf]:
    found = []
    for scores, there in zip(given["scores"], given["y_true"], strict=True):
        present = [one for one, here in zip(scores, there, strict=True) if here == 1]
        absent = [one for one, here in zip(scores, there, strict=True) if here == 0]
        pairs = itertools.product(present, absent)
        found.append(mpmath.fsum(max(mpf(0), 1 - one + other) for one, other in pairs) / len(scores))
    return found


def sparsemax(given: Arrays, at: Numbers) -> list[mpf]:
    found = []
    for scores, label in zip(given["scores"], given["y_true"], strict=True):
        greatest = sorted(scores, reverse=True)
        inside = [k for k, one in enumerate(greatest, 1) if 1 + k * one > mpmath.fsum(greatest[:k])]
        threshold = (mpmath.fsum(greatest[: len(inside)]) - 1) / len(inside)
        squares = mpmath.fsum(one**2 - threshold**2 for one in scores if one > threshold)
        found.append(squares / 2 + mpf(1) / 2 - scores[label])
    return found


SECOND: dict[str, Callable[[Arrays, Numbers], list[mpf]]] = {
    "batch_dice": batch_dice,
    "batch_tversky": batch_tversky,
    "circle": circle,
    "generalized_dice": generalized_dice,
    "linear_cross_entropy": linear_cross_entropy,
    "multilabel_margin": multilabel_margin,
    "ntxent": ntxent,
    "sparsemax": sparsemax,
}


def drawn(loss: Loss, index: int, *, other: bool) -> Problem:
    """A draw of the first sizes of the spec, at the parameters' defaults or first other values."""
    changed = {name: one.values[0] for name, one in loss.parameters.items() if one.values} if other else {}
    case = Case(
        loss=loss.name,
        digest=loss.digest,
        dtype="float64",
        points="domain",
        shape=shape(loss, 7, 3),
        index=index,
        parameters=changed,
    )
    return inputs.draw(loss, case)


def numbers(array: np.ndarray) -> list:
    """An array as nested lists of exact numbers."""
    if array.ndim:
        return [numbers(one) for one in array]
    return int(array) if array.dtype.kind == "i" else mpf(float(array))


def moved(array: np.ndarray, place: tuple[int, ...], by: mpf) -> list:
    nested = numbers(array)
    inner = nested
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] += by
    return nested


def close(got: float, exact: mpf, size: mpf) -> bool:
    return abs(mpf(got) - exact) <= mpf(2) ** -52 * abs(exact) + size


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("other", [False, True], ids=["defaults", "others"])
def test_value_and_gradient_are_those_of_loops(name: str, other: bool):
    loss = spec.load(name)
    compared = 0
    for index in draws(loss):
        problem = drawn(loss, index, other=other)
        given = {key: numbers(array) for key, array in problem.arrays.items()}
        at = {key: numbers(np.asarray(value)) for key, value in problem.parameters.items()}
        exact = SECOND[name](given, at)
        certified = problem.certified()

        for got, one in zip(np.atleast_1d(certified.value.high), exact, strict=True):
            assert close(got, one, mpf(10) ** -300) or (np.isnan(got) and mpmath.isnan(one))
        for key, found in certified.gradient.items():
            for place in np.ndindex(found.high.shape):
                if found.lower[place] < found.upper[place] or any(map(mpmath.isnan, exact)):
                    continue
                after, before = (
                    mpmath.fsum(SECOND[name](given | {key: moved(problem.arrays[key], place, by)}, at))
                    for by in (STEP, -STEP)
                )
                assert close(found.high[place], (after - before) / (2 * STEP), mpf(10) ** -30), (key, place)
                compared += 1

    assert compared


def test_the_comparison_can_fail():
    assert not close(1 + 2**-50, mpf(1), mpf(0))
