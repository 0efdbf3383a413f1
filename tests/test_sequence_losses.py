"""Losses of sequences and of sampled or clustered classes, against what their definitions say, term by term."""

import itertools
import math

import numpy as np
import pytest
from mpmath import mp, mpf

from lossbench import adapters, inputs, spec
from lossbench.records import Target

CTC, ADAPTIVE, NCE, SAMPLED = map(spec.load, ("ctc", "adaptive_log_softmax", "nce", "sampled_softmax"))


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workdps(150):
        yield


def asked(loss, given, dtype="float64"):
    return inputs.problem(loss, given, dtype=dtype, reduction="none")


def certified(loss, given):
    found = asked(loss, given).certified()
    return found.value.high, {name: one.high for name, one in found.gradient.items()}


def kernel(loss, given, dtype="float32"):
    return (
        adapters.load("numba")
        .open(Target(framework="numba", mode="compiled"))
        .prepare(asked(loss, given, dtype))
        .arrays()
    )


def numbers(array):
    """An array of doubles as mpfs, nested as it is."""
    return [numbers(one) for one in array] if np.ndim(array) else mp.convert(array)


def softmax(row):
    exps = [mp.exp(one) for one in row]
    return [one / mp.fsum(exps) for one in exps]


def dot(row, other):
    return mp.fsum(a * b for a, b in zip(row, other, strict=True))


def softplus(number):
    return mp.log1p(mp.exp(number))


def slopes(function, given, name):
    """The derivatives of *function* by each entry of an input, by differences far finer than a double."""
    step = mpf(10) ** -15
    array = given[name]
    found = np.empty(array.shape)
    for at in np.ndindex(array.shape):
        ends = []
        for sign in (-1, 1):
            moved = np.vectorize(lambda one: mpf(float(one)), otypes=[object])(array)
            moved[at] += sign * step
            ends.append(function({**given, name: moved}))
        found[at] = float((ends[1] - ends[0]) / (2 * step))
    return found


def spelled(given, blank=0):
    """The loss and its gradient from every alignment of a sequence."""
    times, classes = given["logits"].shape
    used, labels = int(given["input_length"]), given["y_true"][: int(given["label_length"])].tolist()
    rows = [softmax(row) for row in numbers(given["logits"])]
    weights = {}
    for path in itertools.product(range(classes), repeat=used):
        if [one for one, _ in itertools.groupby(path) if one != blank] == labels:
            weights[path] = mp.fprod(rows[time][one] for time, one in enumerate(path))
    total = mp.fsum(weights.values())
    slope = np.zeros((times, classes))
    for time, one in itertools.product(range(used), range(classes)):
        share = mp.fsum(weight for path, weight in weights.items() if path[time] == one) / total
        slope[time, one] = float(rows[time][one] - share)
    return float(-mp.log(total)), slope


SEQUENCES = [
    (times, used, labels, length, blank)
    for times, used in ((3, 3), (5, 5), (6, 4))
    for labels, length in (([1, 2], 2), ([1, 1], 2), ([2, 1], 1), ([2, 2], 0))
    for blank in (0, 3)
]


@pytest.mark.parametrize(("times", "used", "labels", "length", "blank"), SEQUENCES, ids=str)
@pytest.mark.parametrize("size", [1, 30])
def test_ctc_is_the_sum_over_all_alignments(times, used, labels, length, blank, size):
    logits = size * np.random.default_rng(times).normal(size=(times, 4))
    given = {"logits": logits, "y_true": np.array(labels), "input_length": used, "label_length": length}
    value, slope = spelled(given, blank)
    found, gradient = certified(CTC, {**given, "blank": blank})

    assert found == pytest.approx([value], rel=1e-15)
    np.testing.assert_allclose(gradient["logits"][0], slope, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("size", [1, 10, 100])
@pytest.mark.parametrize("labels", [[1, 2], [1, 1], [2, 1]], ids=str)
def test_the_kernel_of_ctc_keeps_small_losses_and_slopes(size, labels):
    random = np.random.default_rng(size)
    logits = random.normal(size=(40, 6, 4)).astype(np.float32)
    path = [labels[0], 0, labels[1], 0, 0, 0]  # what they spell is likely
    logits[:, np.arange(6), path] += size
    given = {"logits": logits, "y_true": [labels] * 40, "input_length": [6] * 40, "label_length": [2] * 40}
    value, gradient = certified(CTC, given)
    found = kernel(CTC, given)

    np.testing.assert_allclose(found["value"], value, rtol=4e-7, atol=0 if size < 20 else 1e-15)
    np.testing.assert_allclose(found["gradient.logits"], gradient["logits"], rtol=1e-5, atol=1e-17)


def test_the_kernel_of_ctc_swallows_no_nan():
    given = {"y_true": [1], "input_length": 2, "label_length": 1}
    for time, one in itertools.product(range(2), range(2)):
        logits = np.zeros((2, 2))
        logits[time, one] = math.nan

        assert np.isnan(kernel(CTC, {**given, "logits": logits})["value"]).all()


def clustered():
    random = np.random.default_rng(3)
    return {
        "features": random.normal(size=(1, 3)).repeat(6, axis=0),
        "head": random.normal(size=(3, 3)),
        "projection": random.normal(size=(2, 3)),
        "tail": random.normal(size=(4, 2)),
        "y_true": np.arange(6),
    }


def of_clusters(given):
    """The sum of the losses of a batch, class by class."""
    head, projection, tail = (numbers(given[name]) for name in ("head", "projection", "tail"))
    losses = []
    for features, label in zip(numbers(given["features"]), given["y_true"].tolist(), strict=True):
        entries = softmax([dot(features, row) for row in head])
        hidden = [dot(features, row) for row in projection]
        rare = softmax([dot(hidden, row) for row in tail])
        everything = [*entries[:-1], *(entries[-1] * one for one in rare)]
        losses.append(-mp.log(everything[label]))
    return mp.fsum(losses)


def test_the_probabilities_of_all_classes_of_an_adaptive_softmax_add_up_to_one():
    value, _ = certified(ADAPTIVE, clustered())

    assert value.shape == (6,)
    assert np.exp(-value).sum() == pytest.approx(1, rel=1e-15)


def sampled(hits=False):
    random = np.random.default_rng(4)
    return {
        "features": random.normal(size=(3, 2)),
        "weights": random.normal(size=(5, 2)),
        "biases": random.normal(size=5),
        "y_true": np.array([4, 0, 2]),
        "sampled": np.array([2, 1, 2] if hits else [1, 3, 3]),
        "true_count": np.array([0.5, 2, 1]),
        "sampled_count": np.array([0.25, 3, 0.75]),
    }


def of_samples(given, of_scores):
    """The sum of the losses of a batch; *of_scores* makes one of the true class's score and those of its samples."""
    weights, biases, counts = (numbers(given[name]) for name in ("weights", "biases", "sampled_count"))
    losses = []
    for row, label, count in zip(
        numbers(given["features"]), given["y_true"].tolist(), given["true_count"], strict=True
    ):
        scores = [dot(row, one) + bias for one, bias in zip(weights, biases, strict=True)]
        others = [
            scores[one] - mp.log(often)
            for one, often in zip(given["sampled"].tolist(), counts, strict=True)
            if not (given.get("remove_accidental_hits") and one == label)
        ]
        losses.append(of_scores(scores[label] - mp.log(float(count)), others))
    return mp.fsum(losses)


def decided(given):
    return of_samples(given, lambda true, others: softplus(-true) + mp.fsum(map(softplus, others)))


def chosen(given):
    return of_samples(given, lambda true, others: -mp.log(softmax([true, *others])[0]))


BATCHES = [
    pytest.param(ADAPTIVE, of_clusters, clustered(), id="adaptive"),
    *(
        pytest.param(
            loss,
            function,
            {**sampled(hits), "remove_accidental_hits": removed},
            id=f"{loss.name}-{'hits' if hits else 'none'}-{'removed' if removed else 'kept'}",
        )
        for loss, function in ((NCE, decided), (SAMPLED, chosen))
        for hits in (False, True)
        for removed in (0, 1)
    ),
]


@pytest.mark.parametrize(("loss", "function", "given"), BATCHES)
def test_a_batch_is_what_its_terms_say(loss, function, given):
    value, gradient = certified(loss, given)

    assert value.sum() == pytest.approx(float(function(given)), rel=1e-15)
    assert set(gradient) == {name for name, one in loss.inputs.items() if one.grad}
    for name, found in gradient.items():
        np.testing.assert_allclose(found, slopes(function, given, name), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("loss", "function", "given"), BATCHES)
def test_the_kernel_of_a_batch_computes_the_same(loss, function, given):
    value, gradient = certified(loss, given)
    found = kernel(loss, given, "float64")

    np.testing.assert_allclose(found["value"], value, rtol=1e-14)
    for name, slope in gradient.items():
        np.testing.assert_allclose(found[f"gradient.{name}"], slope, rtol=1e-13, atol=1e-15)


def test_accidental_hits_matter_where_there_are_some():
    values = [certified(NCE, {**sampled(hits=True), "remove_accidental_hits": one})[0] for one in (0, 1)]

    assert values[0].tolist()[:2] == values[1].tolist()[:2]
    assert values[0][2] > values[1][2]
