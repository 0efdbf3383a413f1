"""Shared lineage: planted equal wrong numbers are found, independent rounding and right numbers accuse nobody."""

import numpy as np
import pytest

from lossbench import adapters, lineage, plan, report, spec, worker
from lossbench.lineage import BITS, Link, Wrong
from lossbench.records import REFERENCE, Output
from lossbench.store import Store
from lossbench.suite import Accuracy, Suite
from lossbench.sweeps.ask import evaluator

LOSS = spec.load("squared_error")
POINTS = 400
COUNT = 1000
DISTANT = 2.0**-20  # of numbers around 1: eight ulps of float32


def wrong(*numbers, exact=1.0, right=()):
    """What is wrong at as many entries as the arrays of float32 *numbers* have, one array for each target a, b, ...

    Those entries of which *right*, a pair of target and mask, says so are not wrong.
    """
    got = np.stack([np.asarray(one, np.float32).astype(np.float64) for one in numbers])
    amiss = np.ones(got.shape, bool)
    for target, mask in right:
        amiss[target, mask] = False
    distance = np.abs(got - exact)
    grain = np.stack([lineage._grain(one, "float32") for one in got])
    return Wrong(tuple("abcd"[: len(numbers)]), got, amiss, np.ones(got.shape, bool), distance, grain)


def link(*numbers, **rest) -> Link:
    (found,) = lineage.pairs(wrong(*numbers, **rest))
    return found


@pytest.fixture
def random():
    return np.random.RandomState(0)


def off(random, count=COUNT, far=DISTANT):
    """Numbers around 1 that are off in every direction."""
    return 1 + far * (2 * random.random_sample(count) - 1)


def test_equal_wrong_numbers_are_linked(random):
    same = off(random)
    found = link(same, same)

    assert found.holds
    assert (found.share, found.shared, found.either) == (1, COUNT, COUNT)
    assert found.bits > BITS


def test_independent_rounding_is_not(random):
    found = link(off(random), off(random))

    assert not found.holds
    assert found.share < 0.3


def test_two_numbers_to_choose_from_are_chosen_alike_in_half_of_the_entries(random):
    ulp = 2.0**-23
    coins = (1 + 1.0 * ulp * random.choice([-2, 2], COUNT) for _ in range(2))
    found = link(*coins)

    assert 0.4 < found.share < 0.6
    assert found.bits < BITS
    assert not found.holds


def test_coarse_numbers_are_no_evidence_however_far_off_they_are(random):
    """What cancels leaves a few multiples of 2**-24, millions of ulps of the small exact number away from it."""
    few = [random.choice([-(2.0**-24), 2.0**-24], COUNT) for _ in range(2)]
    found = link(*few, exact=1e-15)

    assert found.chance == pytest.approx(COUNT / 2)
    assert not found.holds


def test_right_numbers_accuse_nobody(random):
    right = np.ones(COUNT)
    found = link(right, right, right=[(0, slice(None)), (1, slice(None))])

    assert (found.either, found.shared, found.share, found.bits) == (0, 0, 0, 0)
    assert not found.holds


def test_whoever_is_right_half_of_the_time_is_not_linked_with_whoever_is_wrong(random):
    same, mostly = off(random), np.arange(COUNT) % 5 > 1

    assert not link(same, same, right=[(0, mostly)]).holds
    assert link(same, same, right=[(0, ~mostly)]).holds


def test_one_number_everywhere_is_one_piece_of_evidence(random):
    clipped = np.full(COUNT, 15.942385)

    assert link(clipped, clipped).distinct == 1
    assert not link(clipped, clipped).holds


def test_zero_is_reached_in_many_ways(random):
    nothing = np.zeros(COUNT)

    assert link(nothing, nothing).distinct == 0


def test_nan_and_infinity_alike_count_in_nothing_else(random):
    same = off(random)
    same[:100] = np.nan
    same[100:150] = np.inf
    found = link(same, same)

    assert (found.strange, found.shared, found.either) == (150, COUNT - 150, COUNT - 150)
    assert not link(np.full(COUNT, np.nan), np.full(COUNT, np.nan)).holds


def test_unanswered_entries_are_left_out(random):
    same = off(random)
    gathered = wrong(same, same)
    gathered.answered[1, :990] = False
    (found,) = lineage.pairs(gathered)

    assert (found.either, found.shared) == (10, 10)


def test_links_make_components(random):
    one, other = off(random), off(random)
    groups = lineage.connected(list(lineage.pairs(wrong(one, other, one, other))))

    assert sorted(sorted({name for link in links for name in link.targets}) for links in groups) == [
        ["a", "c"],
        ["b", "d"],
    ]


def test_chain_is_one_component():
    def held(one, other):
        return Link(targets=(one, other), either=100, both=100, shared=100, distinct=100, chance=10, strange=0)

    (links,) = lineage.connected([held("a", "b"), held("c", "d"), held("b", "c")])

    assert len(links) == 3


@pytest.mark.parametrize(("number", "grain"), [(1.5, 0.5), (1 + 2.0**-23, 2.0**-23), (-6, 2), (0, 1), (np.inf, 1)])
def test_grain_is_the_last_bit(number, grain):
    assert lineage._grain(np.array([number], np.float64), "float32")[0] == grain


# A run


def spoiled(values, random):
    """A number near each, by hundreds of ulps away."""
    return (values * (1 + 2.0**-12 * (random.random_sample(values.shape) - 0.5))).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """torch and jax give the same wrong numbers, tensorflow others as wrong, and numba the right ones."""
    targets = ("torch:eager", "jax:compiled", "tensorflow:eager", "numba:compiled")
    grid = Accuracy(targets=targets, dtypes=("float32",), points=POINTS, reductions=("none", "mean"))
    suite = Suite(name="tiny", summary="One loss.", targets=targets, accuracy=(grid,), edges=("float32",))
    jobs = plan.jobs(suite, [LOSS])
    store = Store.create(tmp_path_factory.mktemp("lineage") / "run", jobs, [LOSS], suite)
    reference = adapters.load("reference").open(REFERENCE)
    asked = [job for job in jobs if job.target == REFERENCE]
    exact = {job.case: worker.perform(reference, LOSS, job, store.arrays) for job in asked}
    seeds = {"torch": 1, "jax": 1, "tensorflow": 2}
    for job in jobs:
        found = exact[job.case]
        if job.target != REFERENCE:
            names = [name for name in found.arrays if name == "value" or name in ("gradient.y_pred", "gradient.y_true")]
            with np.errstate(over="ignore"):
                arrays = {name: np.asarray(store.array(found.arrays[name]), np.float32) for name in names}
            if job.target.framework in seeds:
                random = np.random.RandomState(seeds[job.target.framework])
                arrays = {name: spoiled(array, random) for name, array in arrays.items()}
            kept = {name: store.put(array) for name, array in arrays.items()}
            found = Output(job=job, arrays=kept, inputs=found.inputs, seconds=0.0)
        store.append(found)
    store.close()
    return store


def test_planted_group_is_found_with_its_evidence(store):
    (group,) = lineage.groups(store)

    assert group.targets == ("torch:eager:cpu", "jax:compiled:cpu")
    assert group.frameworks == ("torch", "jax")
    assert (group.loss, group.dtype) == ("squared_error", "float32")
    assert group.shared > POINTS / 2
    assert "got " in group.example
    assert "exact " in group.example


def test_pages_list_it(store):
    report.write(store)
    index = (store.path / "index.html").read_text(encoding="utf-8")
    page = (store.path / "losses" / "squared_error.html").read_text(encoding="utf-8")

    assert 'href="losses/squared_error.html#lineage"' in index
    assert 'id="lineage"' in page
    assert "wrong entries alike (100 %)" in page
    assert "beyond chance" not in index


def test_run_without_groups_says_nothing(tmp_path):
    suite = Suite(name="tiny", summary="One loss.", targets=("torch:eager",), edges=("float32",))
    store = Store.create(tmp_path / "run", plan.jobs(suite, [LOSS]), [LOSS], suite)
    report.write(store)

    assert lineage.groups(store) == []
    assert "Shared lineage" not in (store.path / "index.html").read_text(encoding="utf-8")


def test_keras_on_jax_is_another_than_jax():
    targets = [plan.target(text) for text in ("jax:eager", "old=jax:eager@/p", "jax:keras", "torch=jax:keras")]

    assert lineage.frameworks(targets) == ("jax", "keras")


def test_ctc_of_keras_on_jax_is_that_of_optax():
    pytest.importorskip("optax")
    pytest.importorskip("keras")
    ctc, found = spec.load("ctc"), []
    impossible = {
        "logits": np.zeros((1, 2, 2)),
        "y_true": np.ones((1, 1), np.int64),
        "input_length": np.zeros(1, np.int64),
        "label_length": np.ones(1, np.int64),
    }
    for target in ("jax:eager", "jax:keras"):
        with evaluator(plan.target(target), ctc, "float32") as ask:
            found.append(float(ask(impossible)["value"][0]))

    assert found[0] == found[1]
    assert np.isfinite(found[0])  # infinity is exact: there is no alignment
