"""Sums and means of any length: what is drawn, certified, measured, judged and shown."""

import math
from fractions import Fraction

import numpy as np
import pytest
from msgspec.structs import replace

from lossbench import adapters, inputs, lengths, memory, plan, report, spec, worker
from lossbench.arrays import Arrays
from lossbench.formula import oracle
from lossbench.points import POOL
from lossbench.records import LARGE, REFERENCE, Case, Job, Output, Refusal, Target
from lossbench.store import Store
from lossbench.suite import Length, Suite

SQUARED, ROWS, LABELS = (spec.load(name) for name in ("squared_error", "softmax_cross_entropy", "nll"))
TORCH, JAX = Target(framework="torch"), Target(framework="jax", mode="compiled")
TERMS = 4096


def case(loss=SQUARED, terms=TERMS, dtype="float32", reduction="mean", index=0):
    row = (10,) if loss.axes else ()
    return Case(
        loss=loss.name,
        digest=loss.digest,
        dtype=dtype,
        points="length",
        shape=(terms, *row),
        index=index,
        reduction=reduction,
    )


def suite(*, elements=(100, 10_000), targets=("torch:eager", "jax:compiled"), dtypes=("float32",)):
    grid = Length(targets=targets, dtypes=dtypes, elements=elements)
    return Suite(name="tiny", summary="Short sums.", targets=targets, length=(grid,))


# What is drawn


def test_batch_is_made_of_points_of_the_pool():
    problem = inputs.draw(SQUARED, case())

    assert problem.entries == TERMS
    assert {name: len(array) for name, array in problem.arrays.items()} == {"y_pred": POOL, "y_true": POOL}
    assert problem.counts.sum() == TERMS
    for name, array in problem.batch.items():
        assert np.array_equal(array, problem.arrays[name][problem.order])


def test_every_length_has_the_same_pool():
    short, long = (inputs.draw(SQUARED, case(terms=terms)) for terms in (100, 3000))

    assert all(np.array_equal(short.arrays[name], long.arrays[name]) for name in short.arrays)


def test_unreduced_every_point_is_there_once():
    problem = inputs.draw(SQUARED, case(terms=POOL, reduction="none"))

    assert np.array_equal(problem.batch["y_pred"], problem.arrays["y_pred"])
    assert (problem.counts == 1).all()


def test_wide_pools_are_wider():
    ordinary, wide = (np.abs(inputs.draw(SQUARED, case(index=index)).arrays["y_pred"]) for index in (0, 1))

    assert ordinary.max() < 8
    assert wide.max() / wide.min() > 1e6


def test_no_label_is_to_be_ignored():
    problem = inputs.draw(LABELS, case(LABELS))

    assert (problem.arrays["y_true"] >= 0).all()


def test_a_long_batch_is_written_out_in_blocks(monkeypatch):
    whole = inputs.draw(SQUARED, case()).batch
    monkeypatch.setattr(inputs, "BLOCK", 1000)
    parts = inputs.draw(SQUARED, case())

    assert all(np.array_equal(parts.batch[name], whole[name]) for name in whole)
    assert parts.counts.sum() == TERMS


# What is certified


@pytest.mark.parametrize("loss", [SQUARED, ROWS, LABELS], ids=lambda loss: loss.name)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_counting_gives_what_the_whole_batch_gives(loss, reduction):
    problem = inputs.draw(loss, case(loss, terms=300, reduction=reduction))
    written = oracle.certify(loss.formula, problem.batch, problem.parameters, reduction=reduction, gradient=False).value
    counted = problem.certified().value

    assert (counted.high, counted.low) == (written.high, written.low)


def test_a_hundred_million_are_certified_without_being_written_out():
    squares = oracle.repeated(
        SQUARED.formula,
        {"y_pred": np.array([1.0, 3.0]), "y_true": np.zeros(2)},
        {},
        np.array([99_999_999, 1]),
        reduction="sum",
    )

    assert float(squares.value.high) == 99_999_999 + 9


def test_absent_points_do_not_count():
    infinite = oracle.repeated(
        SQUARED.formula,
        {"y_pred": np.array([2.0, np.inf]), "y_true": np.zeros(2)},
        {},
        np.array([5, 0]),
        reduction="mean",
    )

    assert float(infinite.value.high) == 4


# What is planned


def test_plan_has_the_pool_and_every_length():
    jobs = plan.jobs(suite(), [ROWS])
    cases = dict.fromkeys(job.case for job in jobs)

    assert {(one.shape, one.reduction, one.index) for one in cases} == {
        *(((POOL, 10), "none", index) for index in (0, 1)),
        *(((rows, 10), how, index) for rows in (10, 1000) for how in ("mean", "sum") for index in (0, 1)),
    }
    assert {job.target for job in jobs} == {REFERENCE, TORCH, JAX}


@pytest.mark.parametrize("name", ["streaming_mean", "ctc", "batch_dice"])
def test_states_tables_and_batches_have_none(name):
    both = plan.jobs(suite(), [SQUARED, spec.load(name)])

    assert {job.case.loss for job in both} == {"squared_error"}


def test_suite_has_losses_of_its_own_where_none_are_asked_for():
    of_suite, few = plan.asked(["lengths"])
    _, asked = plan.asked(["lengths"], ["log_cosh"])
    together, every = plan.asked(["smoke", "lengths"])

    assert {loss.name for loss in few} == {*of_suite.losses} != set()
    assert [loss.name for loss in asked] == ["log_cosh"]
    assert len(every) > len(few)
    assert {job.case.loss for job in plan.jobs(together, every) if job.case.points == "length"} <= {*of_suite.losses}


def test_large_batches_run_alone():
    small, large = (Job(case=case(terms=terms), target=TORCH, measure="accuracy") for terms in (LARGE, LARGE + 1))

    assert (small.alone, large.alone) == (False, True)


# What does not fit


def test_what_does_not_fit_is_refused_as_out_of_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available", lambda: 1_000_000)
    job = Job(case=case(terms=100_000), target=TORCH, measure="accuracy")
    refused = worker.perform(None, SQUARED, job, Arrays(tmp_path))

    assert isinstance(refused, Refusal)
    assert refused.reason == "out of memory"
    assert refused.detail.startswith("MemoryError: 100000 entries need about 0.0 GiB")


def test_unknown_memory_refuses_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "SAID", tmp_path / "not there")

    assert memory.available() is None
    memory.check(inputs.draw(SQUARED, case()))


# What is judged


def added(problem, dtype=np.float32):
    """One after the other, in float32."""
    losses = (problem.batch["y_pred"] - problem.batch["y_true"]) ** 2
    return np.add.accumulate(losses, dtype=dtype)[-1]


def pairwise(problem):
    return ((problem.batch["y_pred"] - problem.batch["y_true"]) ** 2).sum(dtype=np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """torch adds pairwise, jax one after the other; at 40,000 numbers jax refuses, and at 1,000 torch is far off."""
    asked = suite(elements=(1000, 40_000, 1_000_000))
    jobs = plan.jobs(asked, [SQUARED])
    store = Store.create(tmp_path_factory.mktemp("lengths") / "run", jobs, [SQUARED], asked)
    reference = adapters.load("reference").open(REFERENCE)
    exact = {}
    for job in jobs:
        if job.target == REFERENCE:
            exact[job.case] = worker.perform(reference, SQUARED, job, store.arrays)
            store.append(exact[job.case])
    for job in jobs:
        if job.target != REFERENCE:
            store.append(answered(store, job, exact[job.case]))
    store.close()
    return store


def answered(store, job, exact):
    terms, is_torch = job.case.shape[0], job.target == TORCH
    if terms == 40_000 and not is_torch:
        return Refusal(job=job, reason="out of memory", detail="no room")
    problem = inputs.draw(SQUARED, job.case)
    if job.case.reduction == "none":
        value = (problem.batch["y_pred"] - problem.batch["y_true"]) ** 2
    else:
        value = pairwise(problem) if is_torch else added(problem)
        value = np.float32(value / np.float32(terms)) if job.case.reduction == "mean" else value
        value = value * np.float32(1.01) if is_torch and terms == 1000 else value
    return Output(job=job, arrays={"value": store.put(np.asarray(value))}, inputs=exact.inputs, seconds=0.0)


@pytest.fixture(scope="module")
def errors(store):
    return lengths.errors(store)


def of(errors, target, elements, reduction="sum", pool="ordinary"):
    found = errors[
        (errors["target"] == target.name)
        & (errors["elements"] == elements)
        & (errors["reduction"] == reduction)
        & (errors["pool"] == pool)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_pairwise_sums_are_within_and_loops_beyond(errors):
    long = of(errors, TORCH, 1_000_000)
    loop = of(errors, JAX, 1_000_000)

    assert (long["judged"], long["log2_bound"]) == ("within", 20)
    assert long["adding"] <= 20
    assert loop["judged"] == "beyond log2"
    assert 20 < loop["adding"] < loop["n_bound"]


def test_what_no_order_explains_is_beyond_n(errors):
    row = of(errors, TORCH, 1000)

    assert row["judged"] == "beyond n"
    assert row["adding"] == pytest.approx(0.01 * 2**24, rel=0.01)


def test_where_no_order_has_a_bound_none_is_broken():
    assert lengths.n_bound(1_000_000, "float16") == math.inf
    assert lengths.judged(1000.0, 1_000_000, "float16") == "beyond log2"
    assert lengths.judged(math.inf, 1_000_000, "float16") == "beyond n"


def test_error_is_measured_in_u_of_the_exact_sum(errors):
    row, problem = of(errors, JAX, 1_000_000), inputs.draw(SQUARED, case(terms=1_000_000, reduction="sum"))
    terms = [Fraction(float(p)) - Fraction(float(t)) for p, t in zip(*problem.arrays.values(), strict=True)]
    exact = sum(int(count) * one**2 for count, one in zip(problem.counts, terms, strict=True))

    assert row["error"] == pytest.approx(float(abs(Fraction(row["got"]) / exact - 1) * 2**24), rel=1e-9)


def test_what_the_losses_lose_is_not_blamed_on_the_sum(errors):
    row = of(errors, TORCH, 40_000)

    assert 0 < row["elementwise"] < 2
    assert row["adding"] <= row["error"]


def test_refused_sums_say_why(errors):
    row = of(errors, JAX, 40_000)

    assert (row["judged"], row["reason"]) == ("", "out of memory: no room")
    assert math.isnan(row["adding"])


def test_worst_is_the_largest_share_of_its_bound(errors):
    found = lengths.worst(errors)

    assert len(found) == 8
    assert of(found, JAX, 1_000_000)["judged"] == "beyond log2"
    assert of(found, TORCH, 1000)["judged"] == "beyond n"


def test_bounds():
    assert [lengths.log2_bound(terms) for terms in (1, 2, 100, 128, 129)] == [0, 1, 7, 7, 8]
    assert lengths.n_bound(1, "float32") == 0
    assert lengths.n_bound(1025, "float64") == pytest.approx(1024)
    assert lengths.n_bound(256, "bfloat16") == 255 / (1 - 255 / 256)
    assert math.isinf(lengths.n_bound(257, "bfloat16"))


def test_a_sum_that_overflows_rightly_is_none_of_its_faults(tmp_path):
    asked = suite(elements=(40_000,), targets=("torch:eager",), dtypes=("float16",))
    jobs = plan.jobs(asked, [SQUARED])
    store = Store.create(tmp_path / "run", jobs, [SQUARED], asked)
    reference = adapters.load("reference").open(REFERENCE)
    asked_first = [job for job in jobs if job.target == REFERENCE]
    exact = {job.case: worker.perform(reference, SQUARED, job, store.arrays) for job in asked_first}
    for job in jobs:
        found = exact[job.case]
        if job.target != REFERENCE:
            value = np.float32(np.inf)
            found = Output(job=job, arrays={"value": store.put(np.asarray(value))}, inputs=found.inputs, seconds=0.0)
        store.append(found)
    store.close()
    judged = lengths.errors(store).set_index(["pool", "reduction"])["judged"]

    assert judged["ordinary", "sum"] == "overflow"  # 40,000 numbers of 4 on average
    assert judged["ordinary", "mean"] == "beyond n"


# What is shown


def test_page_has_pictures_and_tables(store):
    report.write(store)
    page = (store.path / "losses" / "squared_error.html").read_text(encoding="utf-8")
    index = (store.path / "index.html").read_text(encoding="utf-8")

    assert page.count('aria-label="error of the ') == 2
    assert '<th scope="row">float32</th>' in page
    assert "out of memory: no room" in page
    assert 'id="lengths"' in index
    assert "1 beyond log2" not in index
    assert "beyond n" in index


def test_other_runs_say_nothing_of_lengths(tmp_path):
    small = replace(suite(), length=(), edges=("float32",))
    jobs = plan.jobs(small, [SQUARED])
    store = Store.create(tmp_path / "run", jobs, [SQUARED], small)
    report.write(store)

    assert "Sums and means" not in (store.path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["torch:eager", "torch:compiled", "tensorflow:eager", "tensorflow:xla", "jax:eager"])
def test_frameworks_are_within_a_few_u_at_a_thousand(target, tmp_path):
    framework = target.partition(":")[0]
    pytest.importorskip(framework)
    asked = plan.target(target)
    adapter = adapters.load(framework).open(asked)
    for reduction in ("mean", "sum"):
        problem = inputs.draw(ROWS, case(ROWS, terms=1000, reduction=reduction))
        exact = problem.certified().value
        found = adapter.prepare(problem).arrays()

        assert {*found} == {"value"}
        assert abs(float(found["value"]) - float(exact.high)) <= 10 * 2.0**-24 * float(exact.high)
