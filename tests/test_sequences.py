"""Alignments: every way to write the probability of labels, against all alignments one by one."""

import itertools
import math

import numpy as np
import pytest
from mpmath import mp, mpf
from tables import formula

from lossbench.formula import alignments, floats, oracle, unroll
from lossbench.formula.graph import Graph, number_of
from lossbench.formula.node import Variable
from lossbench.formula.parse import parse

CTC = formula("ctc(t, l, m, n, 0)")


def table(times, classes, seed=0):
    """Log probabilities, exact as doubles: normalised only about, which nothing here needs."""
    return np.random.default_rng(seed).normal(size=(times, classes)) - 1


def certified(log_probs, labels, input_length=None, label_length=None, one=CTC):
    points = {"t": log_probs, "l": labels, "m": len(log_probs) if input_length is None else input_length}
    points["n"] = len(labels) if label_length is None else label_length
    arrays = {name: np.asarray(points[name])[None] for name in one.names}
    arrays["l"] = arrays["l"].astype(np.int64)
    return oracle.certify(one, arrays, {})


def in_floats(log_probs, labels, input_length=None, label_length=None, blank=0):
    lengths = (
        len(log_probs) if input_length is None else input_length,
        len(labels) if label_length is None else label_length,
    )
    arguments = (log_probs, np.array(labels, np.int64), *map(np.asarray, lengths), np.asarray(blank))
    return alignments.loss(*arguments), alignments.occupancy(*arguments)


def all_alignments(log_probs, labels, blank=0):
    """The loss and the occupancy by their definitions, in 50 digits."""
    rows = [[mpf(float(one)) for one in row] for row in log_probs]
    weights = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(rows)):
        merged = [one for one, _ in itertools.groupby(path)]
        if [one for one in merged if one != blank] == list(labels):
            weights[path] = mp.exp(mp.fsum(row[one] for row, one in zip(rows, path, strict=True)))
    total = mp.fsum(weights.values())
    shares = np.zeros(log_probs.shape)
    for time, label in np.ndindex(log_probs.shape):
        there = mp.fsum(weight for path, weight in weights.items() if path[time] == label)
        shares[time, label] = float(there / total) if total else math.nan
    return float(-mp.log(total)) if total else math.inf, shares


CASES = [
    (labels, times) for labels in ([], [1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 1], [2, 2, 1]) for times in (1, 2, 3, 5)
]


@pytest.mark.parametrize(("labels", "times"), CASES, ids=str)
def test_all_alignments_are_summed(labels, times):
    log_probs = table(times, 3, seed=times)
    with mp.workdps(50):
        value, shares = all_alignments(log_probs, labels)
    found, rough = certified(log_probs, labels), in_floats(log_probs, labels)

    assert found.value.high == value
    np.testing.assert_allclose(rough[0], value, 1e-13)
    np.testing.assert_allclose(rough[1], shares, 1e-12, 1e-15)
    if math.isfinite(value):
        np.testing.assert_allclose(found.gradient["t"].high[0], -shares, 1e-15, 1e-300)
    else:
        assert np.isnan(found.gradient["t"].high).all()


def test_some_of_these_cases_have_no_alignment():
    losses = [float(in_floats(table(times, 3), labels)[0]) for labels, times in CASES]

    assert 3 <= sum(map(math.isinf, losses)) <= len(CASES) - 10


def test_a_blank_other_than_the_first_class():
    one = formula("ctc(t, l, m, n, 2)")
    log_probs = table(4, 3)
    with mp.workdps(50):
        value, shares = all_alignments(log_probs, [0, 0], blank=2)
    found = certified(log_probs, [0, 0], one=one)

    assert found.value.high == value
    np.testing.assert_allclose(found.gradient["t"].high[0], -shares, 1e-15)
    np.testing.assert_allclose(in_floats(log_probs, [0, 0], blank=2)[1], shares, 1e-12)


@pytest.mark.parametrize("rest", [0, 1, 2, -1, 7])
def test_what_is_behind_the_lengths_does_not_matter(rest):
    log_probs = table(6, 3)
    behind = log_probs.copy()
    behind[4:] = math.nan if rest == 7 else rest
    short = certified(log_probs[:4], [1, 2])
    found = certified(behind, [1, 2, rest], input_length=4, label_length=2)
    rough = in_floats(behind, [1, 2, rest], input_length=4, label_length=2)

    assert found.value.high == short.value.high
    np.testing.assert_allclose(rough[0], short.value.high[0], 1e-13)
    np.testing.assert_allclose(-rough[1][:4], short.gradient["t"].high[0], 1e-12)
    assert not rough[1][4:].any()
    np.testing.assert_array_equal(found.gradient["t"].high[0, :4], short.gradient["t"].high[0])
    assert not found.gradient["t"].high[0, 4:].any()


@pytest.mark.parametrize("labels", [[0], [1, 0], [3], [-1], [1, 9]])
def test_labels_that_no_alignment_can_give_are_impossible(labels):
    log_probs = table(4, 3)

    assert certified(log_probs, labels).value.high == math.inf
    assert in_floats(log_probs, labels)[0] == math.inf


@pytest.mark.parametrize(("labels", "value"), [([], 0), ([1], math.inf)])
def test_no_time_leaves_only_no_labels(labels, value):
    found = certified(table(3, 2), labels, input_length=0)

    assert found.value.high == value
    assert in_floats(table(3, 2), labels, input_length=0)[0] == value
    assert not found.gradient["t"].high.any()


def test_classes_that_cannot_be_leave_the_other_alignments():
    log_probs = table(4, 3)
    log_probs[1, 1] = log_probs[2] = -math.inf
    log_probs[2, 0] = -0.5
    with mp.workdps(50):
        value, shares = all_alignments(np.where(np.isinf(log_probs), -1e6, log_probs), [1, 2])
    found = certified(log_probs, [1, 2])

    assert found.value.high == value
    np.testing.assert_allclose(found.gradient["t"].high[0], -shares, 1e-15, 1e-300)
    np.testing.assert_allclose(in_floats(log_probs, [1, 2])[1], shares, 1e-12, 1e-15)


def test_far_below_every_probability_that_floats_hold():
    log_probs = np.full((3, 2), -5e4)
    log_probs[:, 1] = -1e5
    found = certified(log_probs, [1])

    assert found.value.high == pytest.approx(2e5 - math.log(3), rel=1e-15)
    np.testing.assert_allclose(in_floats(log_probs, [1])[0], found.value.high[0], 1e-15)


def test_occupancies_have_the_sum_one_at_each_time_in_use():
    occupancy = in_floats(table(7, 4), [1, 3, 3], input_length=6)[1]

    np.testing.assert_allclose(occupancy.sum(axis=1), [1, 1, 1, 1, 1, 1, 0], 1e-13)


def test_the_occupancy_written_out_is_that_of_numpy():
    names = {"t": Variable("number", ("time", "class")), "l": Variable("label", ("position",))}
    graph = Graph()
    args = [parse(one, names, graph) for one in ("t", "l", "4", "2", "0")]
    log_probs = table(5, 3)
    numbers = Graph()
    entries = np.array([numbers.variable(f"t{index}", "real") for index in range(15)]).reshape(5, 3)
    given = {"t": entries, "l": np.array([2, 1])}
    sizes = {"time": 5, "class": 3, "position": 2}
    (written,) = unroll.unrolled(numbers, [graph.sequence("ctc_occupancy", *args)], given, sizes)
    found = [_value(one, log_probs.ravel()) for one in written.ravel().tolist()]

    np.testing.assert_allclose(np.reshape(found, (5, 3)), in_floats(log_probs, [2, 1], input_length=4)[1], 1e-12, 1e-15)


def _value(root, numbers):
    if number_of(root) is not None:
        return float(number_of(root))
    return float(floats.evaluate([root], {f"t{index}": np.asarray(one) for index, one in enumerate(numbers)})[0])


def test_a_batch_of_sequences_is_as_each_alone():
    log_probs = np.stack([table(4, 3, seed) for seed in range(3)])
    labels, lengths = np.array([[1, 2], [1, 1], [2, 0]]), np.array([2, 2, 1])
    times = np.array([4, 3, 2])
    together = alignments.loss(log_probs, labels, times, lengths, np.asarray(0))
    shares = alignments.occupancy(log_probs, labels, times, lengths, np.asarray(0))

    for index in range(3):
        alone = in_floats(log_probs[index], labels[index], times[index], lengths[index])
        assert together[index] == alone[0]
        np.testing.assert_array_equal(shares[index], alone[1])
