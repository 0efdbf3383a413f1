"""Medians and their intervals, ratios within one case, bandwidth, and the noise of a run against itself."""

import numpy as np
import pytest
from msgspec.structs import replace

from lossbench import spec, speed
from lossbench.records import CEILING, Bandwidth, Case, Job, Refusal, Target, Timing
from lossbench.store import Store
from lossbench.suite import Suite

TORCH = Target(framework="torch")
JAX = Target(framework="jax", mode="compiled")
CUDA = Target(framework="torch", device="cuda")


def job(target=TORCH, measure="forward", shape=(1000,)):
    loss = spec.load("huber")
    case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="timing", shape=shape, reduction="mean")
    return Job(case=case, target=target, measure=measure)


def timing(of, seconds, *, calls=1, traffic=8000):
    return Timing(job=of, first_call=0.5, seconds=list(seconds), calls=calls, turns=[0] * len(seconds), traffic=traffic)


@pytest.fixture
def stored(tmp_path):
    def stored(*records, jobs=()):
        jobs = [*jobs, *(one.job for one in records if not isinstance(one, Bandwidth))]
        store = Store.create(tmp_path / "run", jobs, [spec.load("huber")], Suite(summary="", targets=()))
        for record in records:
            store.append(record)
        store.close()
        return store

    return stored


def test_median_is_of_one_call_and_its_interval_of_two_samples(stored):
    found = speed.medians(stored(timing(job(), [2 * n for n in range(1, 16)], calls=2))).iloc[0]

    # Of 15 samples, the 4th and the 12th enclose the median with 96.5 %; the 5th and 11th with 88.2 % only.
    assert (found["median"], found["low"], found["high"]) == (8.0, 4.0, 12.0)
    assert (found["samples"], found["calls"], found["first_call"]) == (15, 2, 0.5)


@pytest.mark.parametrize(("samples", "has_interval"), [(5, False), (6, True)])
def test_five_samples_have_no_interval_of_95_percent(stored, samples, has_interval):
    found = speed.medians(stored(timing(job(), range(1, samples + 1)))).iloc[0]

    assert np.isfinite(found["low"]) == np.isfinite(found["high"]) == has_interval


def test_ratio_is_to_the_fastest_of_the_same_case_measure_and_device(stored):
    store = stored(
        timing(job(), [4.0]),
        timing(job(JAX), [2.0]),
        timing(job(JAX, "gradient"), [8.0]),
        timing(job(JAX, shape=(10,)), [16.0]),
        timing(job(CUDA), [1.0]),
    )

    assert list(speed.medians(store)["ratio"]) == [2.0, 1.0, 1.0, 1.0, 1.0]


def test_a_ceiling_is_no_rival_and_other_numbers_of_threads_are_another_race(stored):
    ceiling = Target(framework=CEILING, mode="plain")
    store = stored(
        timing(job(), [4.0]),
        timing(job(ceiling), [1.0]),
        timing(job(replace(TORCH, threads=1)), [6.0]),
        timing(job(replace(JAX, threads=1)), [3.0]),
    )

    found = speed.medians(store)

    assert list(found["ratio"]) == [1.0, 0.25, 2.0, 1.0]
    assert list(found["threads"]) == [0, 0, 1, 1]


def test_what_a_call_takes_beside_its_time_is_of_one_call(stored):
    full = replace(
        timing(job(), [2.0, 4.0, 6.0], calls=2), cpu=[4.0, 8.0, 8.0], cold=[5.0, 7.0], peak_memory=64, steady=False
    )
    found = speed.medians(stored(full, timing(job(JAX), [1.0])))

    assert list(found.loc[0, ["cpu", "cold", "peak_memory", "steady"]]) == [4.0, 6.0, 64, False]
    assert found.loc[1, ["cpu", "cold", "peak_memory", "steady"]].isna().all()


def test_refused_and_unanswered_jobs_keep_their_row(stored):
    refusal = Refusal(job=job(JAX), reason="not installed", detail="No module named 'jax'")
    found = speed.medians(stored(timing(job(), [2.0]), refusal, jobs=[job(CUDA)]))

    assert dict(zip(found["target"], found["verdict"], strict=True)) == {
        "torch:eager:cpu": "",
        "jax:compiled:cpu": "refused",
        "torch:eager:cuda": "failed",
    }
    assert "not installed: No module named 'jax'" in set(found["reason"])
    assert found["median"].notna().sum() == found["ratio"].notna().sum() == 1


def test_bytes_per_second_are_compared_with_the_bandwidth_of_the_nearest_size(stored):
    store = stored(
        timing(job(), [2.0], traffic=8000),
        timing(job(measure="gradient"), [2.0], traffic=12000),
        timing(job(CUDA), [2.0], traffic=8000),
        Bandwidth(kernel="read two", bytes=10_000, seconds=[2.0, 4.0, 6.0], calls=2, threads=1),
        Bandwidth(kernel="read two", bytes=10_000, seconds=[1.0], calls=1, threads=2),
        Bandwidth(kernel="read two", bytes=10**9, seconds=[1.0], calls=1, threads=2),
        Bandwidth(kernel="read two, write one", bytes=12_000, seconds=[0.5], calls=1, threads=2),
    )

    found = speed.medians(store)

    assert list(found["bytes_per_second"]) == [4000.0, 6000.0, 4000.0]
    assert list(found["bandwidth_fraction"])[:2] == [0.4, 0.25]
    assert np.isnan(found["bandwidth_fraction"][2])
    assert list(speed.bandwidth(store)["bytes_per_second"]) == [5000.0, 10_000.0, 1e9, 24_000.0]


def test_what_a_device_says_itself_is_compared_with_its_own_bandwidth(stored):
    busy = replace(timing(job(CUDA), [9.0] * 3, traffic=8000), busy=[1.0, 2.0, 3.0])
    busier = replace(timing(job(replace(CUDA, mode="compiled")), [8.0] * 3, traffic=8000), busy=[4.0] * 3)
    store = stored(
        busy,
        busier,
        timing(job(replace(CUDA, framework="jax")), [7.0]),
        Bandwidth(kernel="read two", bytes=8000, seconds=[0.5], calls=1, threads=1, device="cuda"),
        Bandwidth(kernel="read two", bytes=8000, seconds=[0.25], calls=1, threads=2),
    )

    found = speed.medians(store)

    np.testing.assert_equal(list(found["busy"]), [2.0, 4.0, np.nan])
    np.testing.assert_equal(list(found["busy_ratio"]), [1.0, 2.0, np.nan])
    np.testing.assert_equal(list(found["bandwidth_fraction"]), [0.25, 0.125, np.nan])
    assert list(speed.bandwidth(store)["device"]) == ["cpu", "cuda"]


def test_bandwidth_of_one_kernel_and_size_pools_its_samples(stored):
    found = speed.bandwidth(
        stored(
            Bandwidth(kernel="read two", bytes=12, seconds=[1.0, 2.0, 3.0], calls=1, threads=1),
            Bandwidth(kernel="read two", bytes=12, seconds=[4.0, 5.0, 6.0, 7.0], calls=1, threads=1),
        )
    ).iloc[0]

    assert (found["samples"], found["bytes_per_second"]) == (7, 3.0)
    assert found["low"] <= found["bytes_per_second"] <= found["high"]


def test_twin_is_compared_with_its_original_only(stored):
    twin = replace(TORCH, twin=True)
    store = stored(
        timing(job(), [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]),
        timing(job(twin), [2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6]),
        timing(job(JAX), [5.0]),
    )

    noise = speed.noise(store)

    assert list(noise["target"]) == ["torch:eager:cpu"]
    assert noise["ratio"][0] == pytest.approx(2.0)
    assert noise["apart"][0]
    assert list(speed.medians(store)["target"]) == ["torch:eager:cpu", "jax:compiled:cpu"]


def test_store_without_timings_has_empty_tables_with_columns(stored):
    store = stored(jobs=[replace(job(), measure="accuracy")])

    assert list(map(len, (speed.medians(store), speed.noise(store), speed.bandwidth(store)))) == [0, 0, 0]
    assert {"median", "ratio", "bandwidth_fraction"} <= set(speed.medians(store))
