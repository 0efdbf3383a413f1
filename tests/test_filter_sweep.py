"""Parts of a tally by a filter: the same as by proofs alone, to the last count."""

from dataclasses import replace

import numpy as np
import pytest

from lossbench import answers, inputs, spec, ulp
from lossbench.adapters import reference
from lossbench.records import REFERENCE, Case
from lossbench.sweeps import fast, patterns
from lossbench.sweeps.fast_judge import INFINITY, OPEN, judge
from lossbench.sweeps.part import graded, part
from lossbench.sweeps.shard import CATEGORIES

POINTS = 3000
NOISE = (0.0, 0.0, 0.0, 1.0, -1.0, 2.0, 7.0, -3e6)  # ulps by which results are wrong
FIXED = {  # the numbers of all but the first input
    "log_cosh": {"y_true": 0.0},
    "huber": {"y_true": 1.0, "delta": 1.0},
    "sigmoid_cross_entropy": {"y_true": 0.75, "pos_weight": 3.0, "label_smoothing": 0.125},
    "hinge": {"y_true": -1.0},
    "poisson": {"y_true": 3.0, "full": 1.0},
    "poisson_nll": {"y_true": 3.0, "full": 0.0},
    "squared_error": {"y_true": 1024.0},
    "binary_cross_entropy": {"y_true": 0.5, "label_smoothing": 0.0},
}


def prove(problem):
    case = Case(
        loss=problem.loss.name,
        digest=problem.loss.digest,
        dtype=problem.dtype,
        points="domain",
        shape=(problem.entries,),
    )
    return answers.exact(case, problem.loss, reference.open(REFERENCE).prepare(problem).arrays(), given(problem))


def given(problem):
    return problem.arrays | {name: np.asarray(one) for name, one in problem.parameters.items()}


def problem_of(name, dtype, bits):
    loss = spec.load(name)
    swept = next(iter(loss.inputs))
    every = {swept: patterns.numbers(bits, dtype)}
    inside = patterns.inside(loss, every)
    return inputs.problem(loss, {**FIXED[name], swept: every[swept][inside]}, dtype=dtype, reduction="none")


def results(exact, dtype, random):
    """Numbers that a framework might give: mostly right, some wrong in every way."""
    count = len(exact.high)
    with np.errstate(all="ignore"):
        scale = np.ldexp(1.0, np.where(np.isfinite(exact.high), exact.exponent, 0))
        right = inputs.rounded(exact.high, dtype).astype(np.float64)
        found = right + random.choice(NOISE, count) * scale
        kind = random.random(count)
        for place, other in enumerate((np.inf, -np.inf, np.nan, 0.0, right)):
            found = np.where((kind > 0.02 * place) & (kind < 0.02 * (place + 1)), other, found)
        return inputs.rounded(found, dtype)


@pytest.mark.parametrize("flushing", [False, True])
@pytest.mark.parametrize(("name", "dtype"), [(name, "float32") for name in FIXED] + [("log_cosh", "bfloat16")])
def test_filtered_parts_are_the_proved_ones(name, dtype, flushing):
    random = np.random.default_rng(flushing)
    problem = problem_of(name, dtype, random.integers(0, 2 ** patterns.BITS[dtype], POINTS))
    exact = prove(problem)
    got = {key: results(one, dtype, random) for key, one in exact.items()}
    if flushing:
        least = ulp.FORMATS[dtype].normal
        got = {key: np.where(np.abs(array) < least, 0, array) for key, array in got.items()}
    excused = random.random(problem.entries) < 0.01
    asked = []

    def counted(few):
        asked.append(few.entries)
        return prove(few)

    found = fast.parts(problem, fast.bounds(problem), got, excused, counted)

    assert found == {key: part(got[key], one, excused, given(problem)) for key, one in exact.items()}
    assert sum(asked) < problem.entries  # not everything was proved again


def test_pairs_of_short_numbers_are_filtered_too():
    random = np.random.default_rng(3)
    loss = spec.load("smooth_l1")
    pairs = {name: patterns.numbers(random.integers(0, 2**16, POINTS), "bfloat16") for name in loss.inputs}
    problem = inputs.problem(loss, {**pairs, "beta": 0.5}, dtype="bfloat16", reduction="none")
    exact = prove(problem)
    got = {key: results(one, "bfloat16", random) for key, one in exact.items()}
    excused = np.zeros(problem.entries, bool)

    found = fast.parts(problem, fast.bounds(problem), got, excused, prove)

    assert found == {key: part(got[key], one, excused, given(problem)) for key, one in exact.items()}


@pytest.mark.parametrize("name", ["log_cosh", "huber", "hinge", "poisson", "sigmoid_cross_entropy"])
def test_results_that_are_right_need_hardly_any_proof(name):
    random = np.random.default_rng(2)
    bits = random.integers(0, 0x7F800000, POINTS)
    problem = problem_of(name, "float32", bits)
    exact = prove(problem)
    got = {key: inputs.rounded(one.high, "float32") for key, one in exact.items()}
    asked = []

    def counted(few):
        asked.append(few.entries)
        return prove(few)

    found = fast.parts(problem, fast.bounds(problem), got, np.zeros(problem.entries, bool), counted)

    assert all(set(one.histogram) == {-1} for one in found.values())
    assert sum(asked) < 60


def judged(got, estimate, bound, dtype="float32"):
    """The category of one entry, and its bin."""
    arrays = (np.array([one]) for one in (got, estimate, bound))
    found = judge(*arrays, np.zeros(1, bool), dtype)
    kind = int(found.kinds[0])
    return (CATEGORIES[kind] if kind >= 0 else kind), int(found.bins[0])


def test_an_error_is_counted_where_both_ends_are_in_one_bin():
    ulp_of_one = 2.0**-23

    assert judged(1 + 3 * ulp_of_one, 1 + ulp_of_one / 4, 2.0**-50) == ("normal", 2)
    assert judged(1 + 3 * ulp_of_one, 1 + ulp_of_one, 2.0**-50)[0] == OPEN  # two ulps, or a little more
    assert judged(1 + 3 * ulp_of_one, 1 + ulp_of_one, 0.0) == ("normal", 1)  # exactly two


def test_a_number_that_may_be_a_power_of_two_has_two_ulps():
    assert judged(1.0, 1.0, 2.0**-50) == ("normal", -1)
    assert judged(1 - 2.0**-24, 1.0, 2.0**-50)[0] == OPEN  # one ulp of the lower binade, half a one of the upper


def test_the_end_of_the_range_is_decided_only_beyond_doubt():
    beyond = 2.0**128 - 2.0**103

    assert judged(np.inf, 2.0**130, 2.0**80) == ("overflowed rightly", -1)
    assert judged(np.inf, beyond, 0.0) == ("overflowed rightly", -1)
    assert judged(np.inf, beyond, 1.0)[0] == OPEN
    assert judged(np.inf, 1.0, 0.0)[0] == INFINITY
    assert judged(np.nan, 1.0, 0.0)[0] == "nan"
    assert judged(1.0, np.nan, np.inf)[0] == OPEN


def test_zero_is_decided_where_it_is_exact_or_vanishes():
    assert judged(0.0, 0.0, 0.0) == ("zero", -1)
    assert judged(0.0, 0.0, 5e-324) == ("zero", -1)
    assert judged(0.0, 0.0, 1e-300)[0] == OPEN
    assert judged(1e-45, 0.0, 0.0)[0] == OPEN


def test_of_errors_that_differ_by_less_than_a_millionth_the_first_is_the_worst():
    close = graded(np.array([0.3, 0.3 + 2.0**-30, 0.3 + 2.0**-19, 1e9, 1e9 + 1e-3, 1e9 + 10]))

    assert close[0] == close[1] < close[2]
    assert close[3] == close[4] < close[5]


def test_a_shard_of_few_inputs_is_proved_and_not_filtered():
    loss = spec.load("huber")

    assert not fast.pays(loss, 1 << 16)
    assert fast.pays(loss, 1 << 20)
    assert not fast.pays(spec.load("softmax_cross_entropy"), 1 << 20)


def test_some_of_a_problem_are_its_inputs_in_order():
    problem = problem_of("hinge", "float32", np.arange(5))

    few = fast.taken(problem, np.array([1, 3]))

    assert few == replace(problem, arrays=few.arrays)
    assert few.entries == 2
