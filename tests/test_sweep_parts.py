"""What sweeps count, at inputs whose answers can be seen: patterns, categories, histograms, merging."""

import pickle

import ml_dtypes
import numpy as np
import pytest
from msgspec.structs import replace

from lossbench import plan, spec
from lossbench.errors import LossbenchError
from lossbench.records import Target
from lossbench.sweeps import patterns, shard
from lossbench.sweeps import plan as planned
from lossbench.sweeps.part import histogram, part
from lossbench.sweeps.shard import CATEGORIES, Shard, Tally, Unanswered, joined
from lossbench.ulp import FORMATS, Exact

SHARD = Shard(
    loss="huber",
    digest="0",
    target=Target(framework="torch"),
    dtype="bfloat16",
    method="exhaustive",
    swept=("y_pred",),
    at={"y_true": "0"},
    last=1 << 16,
)
LARGEST = FORMATS["bfloat16"].largest


def exact(high, *, upper=None, moved=None):
    high = np.asarray(high, np.float64)
    zeros = np.zeros(high.shape)
    return Exact(
        dtype="bfloat16",
        high=high,
        low=zeros,
        radius=zeros,
        lower=high,
        upper=high if upper is None else np.asarray(upper, np.float64),
        moved=zeros if moved is None else np.asarray(moved, np.float64),
    )


def counted(got, high, **options):
    got = np.asarray(got, np.float64)
    given = {"x": np.arange(float(got.size))}
    return part(got, exact(high, **options), np.zeros(got.shape, bool), given)


def tally(found, at="0", **changes):
    return Tally(
        shard=replace(SHARD, at={"y_true": at}),
        versions={},
        evaluations=1,
        parts={"value": found},
        seconds=1.0,
        **changes,
    )


@pytest.mark.parametrize(("dtype", "form"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_every_number_of_sixteen_bits_is_swept_once(dtype, form):
    found = patterns.swept(replace(SHARD, dtype=dtype))["y_pred"]

    kept = found[~np.isnan(found)]
    assert len(found) == 1 << 16
    assert len({*kept.view(np.uint32).tolist()}) == len(kept)
    assert np.array_equal(kept.astype(form).astype(np.float32).view(np.uint32), kept.view(np.uint32))
    assert {np.inf, -np.inf, float(ml_dtypes.finfo(form).smallest_subnormal)} <= {*kept.tolist()}
    assert (found == 0).sum() == 2


def test_the_second_of_a_pair_runs_faster():
    found = patterns.swept(
        replace(SHARD, swept=("x", "y"), first=(0x3F80 << 16) + 0x4000, last=(0x3F80 << 16) + 0x4002)
    )

    assert found["x"].tolist() == [1.0, 1.0]
    assert found["y"].tolist() == [2.0, 2.015625]


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        ("real", [-np.inf, -0.0, 1.0, np.nan], []),
        ("positive", [2.0**-130, np.inf], [0.0, -1.0, -np.inf, np.nan]),
        ("nonnegative", [-0.0, 1.0], [-(2.0**-130)]),
        ("nonzero", [-1.0], [0.0, -0.0, np.nan]),
        ("unit", [-0.0, 0.5, 1.0], [1.0078125, -1.0, np.inf, np.nan]),
        ("sign", [1.0, -1.0], [0.0, 2.0]),
        ("binary", [0.0, 1.0], [-1.0]),
        ("logarithm", [10.0, -np.inf], [10.0625, np.inf]),
        ("count", [0.0, 3.0], [0.5, -1.0]),
    ],
)
def test_domains(domain, inside, outside):
    assert patterns.is_in(domain, np.array(inside)).all()
    assert not patterns.is_in(domain, np.array(outside)).any()


@pytest.mark.parametrize(
    ("got", "high", "category"),
    [
        (1.0, 1.0, "normal"),
        (np.inf, 2.0**128, "overflowed rightly"),
        (np.inf, 1.0, "overflowed spuriously"),
        (np.inf, LARGEST, "overflowed spuriously"),  # an ulp beyond the largest: an infinity all the same
        (-np.inf, np.inf, "overflowed spuriously"),
        (LARGEST, 2.0**140, "missed overflow"),
        (3.0, np.inf, "missed overflow"),
        (np.inf, np.inf, "pole"),
        (np.nan, 1.0, "nan"),
        (np.nan, np.inf, "nan"),
        (np.nan, np.nan, "undefined"),
        (5.0, np.nan, "undefined"),
        (0.0, 0.0, "zero"),
        (-0.0, 0.0, "zero"),
        (1e-8, 0.0, "missed zero"),
        (2.0**-130, 2.0**-130, "subnormal"),
        (0.0, 2.0**-130, "flushed"),
    ],
)
def test_each_result_has_one_category(got, high, category):
    assert counted([got], [high]).counts == {category: 1}


def test_a_subgradient_is_right_and_another_number_is_measured_from_the_nearest():
    found = counted([0.5, 1.0, 1.5], [-1.0] * 3, upper=[1.0] * 3)

    assert found.counts == {"kink": 3}
    assert found.worst.ulps == 64.0  # of a half, an ulp being 2**-7
    assert found.worst.exact == "[-1.0, 1.0]"


def test_where_a_convention_is_declared_nothing_is_measured():
    got = np.array([1.0, np.nan])
    found = part(got, exact([2.0, 2.0]), np.ones(2, bool), {"x": got})

    assert found.counts == {"convention": 2}
    assert found.histogram == {}
    assert found.worst is None
    assert found.examples == {}


def test_the_worst_is_the_first_of_the_largest_errors():
    found = counted([1.0, 1 + 2.0**-7, 1 + 2.0**-7, 4.0], [1.0, 1.0, 1.0, 4.0])

    assert found.worst.at == {"x": "0x1p+0"}
    assert (found.worst.ulps, found.worst.got, found.worst.exact) == (1.0, "0x1.02p+0", "1.0")


def test_the_worst_after_conditioning_is_another_one():
    found = counted([1 + 2.0**-5, 1 + 2.0**-7], [1.0, 1.0], moved=[7.0, 0.0])

    assert (found.worst.ulps, found.worst.judged, found.worst.condition) == (4.0, 0.5, 7.0)
    assert (found.conditioned.ulps, found.conditioned.at) == (1.0, {"x": "0x1p+0"})


def test_a_mismatch_has_an_example_and_no_error():
    found = counted([1.0, np.nan, np.nan], [1.0, 1.0, 1.0])

    assert found.examples["nan"].at == {"x": "0x1p+0"}
    assert found.examples["nan"].ulps is None
    assert found.worst.ulps == 0.0


def test_bins_are_powers_of_two_and_half_an_ulp_is_right():
    assert histogram(np.array([0.0, 0.5, 0.51, 1.0, 1.5, 2.0, 2.1, np.nan])) == {-1: 2, 0: 2, 1: 2, 2: 1}
    assert histogram(np.array([1.7e308])) == {1024: 1}


def test_merging_is_commutative():
    parts = [
        counted([1 + 2.0**-7, np.nan], [1.0, 1.0]),
        counted([2.0, 4 + 2.0**-4], [2.0, 4.0]),
        counted([1.0], [np.nan]),
    ]

    once = joined(parts)

    assert once == joined(parts[::-1]) == joined([parts[1], parts[0], parts[2]])
    assert once.counts == {"normal": 3, "nan": 1, "undefined": 1}
    assert once.worst.ulps == 2.0


def test_equal_errors_are_merged_to_the_same_one_in_any_order():
    one, other = counted([1 + 2.0**-7], [1.0]), counted([2 + 2.0**-6], [2.0])

    assert joined([one, other]).worst == joined([other, one]).worst


def test_the_digest_knows_findings_and_not_seconds():
    same, other = counted([1.0], [1.0]), counted([np.nan], [1.0])

    assert tally(same).digest == replace(tally(same), seconds=9.0, asked=3.0).digest
    assert tally(same).digest != tally(other).digest
    assert shard.digest([tally(same), tally(other, "1")]) == shard.digest([tally(other, "1"), tally(same)])
    assert shard.digest([tally(same)]) != shard.digest([tally(same), tally(same)])


def test_records_come_back_as_they_were():
    for record in (tally(counted([np.nan, 1.5], [1.0, 1.0])), Unanswered(shard=SHARD, reason="failed", detail="x")):
        assert shard.decode(shard.encode(record)) == record


def test_categories_are_those_of_the_type():
    assert len(set(CATEGORIES)) == len(CATEGORIES) == 13


def shards(name, **options):
    targets = options.pop("targets", ["torch", "numba"])
    return planned.exhaustive(
        spec.load(name), [plan.target(text) for text in targets], **{"dtype": "bfloat16"} | options
    )


def test_a_finite_target_has_all_of_its_numbers():
    found = shards("hinge")

    assert {one.at["y_true"] for one in found} == {"-1", "1"}
    assert len(found) == 2 * 2


def test_one_setting_moves_at_a_time():
    settings = [one.at for one in shards("huber", targets=["torch"])]

    assert settings[0] == {"y_true": "0", "delta": "1"}
    assert all(sum(one[name] != settings[0][name] for name in one) == 1 for one in settings[1:])
    assert {one["delta"] for one in settings} == {"1", "0.5"}


def test_every_prediction_is_swept_in_turn():
    assert {one.swept for one in shards("margin_ranking")} == {("x1",), ("x2",)}


def test_parameters_are_numbers_of_the_dtype():
    values = {one.at["eps"] for one in shards("gaussian_nll")}

    assert {float(value) for value in values} == {float(ml_dtypes.bfloat16(1e-6)), 0.125}


def test_what_is_fixed_stays_there():
    assert [one.at for one in shards("huber", targets=["torch"], at={"y_true": "1/3", "delta": "2"})] == [
        {"y_true": "0.333984375", "delta": "2"}
    ]


def test_a_grid_runs_over_all_pairs():
    found = shards("log_cosh", targets=["torch"], grid=True)

    assert {one.swept for one in found} == {("y_pred", "y_true")}
    assert sum(one.last - one.first for one in found) == 1 << 32


def test_one_real_variable_in_float32_is_all_of_two_to_the_32_for_each_sign():
    found = shards("soft_margin", targets=["torch"], dtype="float32")

    assert {one.at["y_true"] for one in found} == {"-1", "1"}
    assert sum(one.last - one.first for one in found) == 2 << 32


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("softmax_cross_entropy", {}, "no single numbers: too many to try all; expected --search"),
        ("huber", {"dtype": "float64"}, "too many float64 numbers to try all; expected --search"),
        ("huber", {"dtype": "float32", "grid": True}, "too many pairs of float32 numbers"),
        ("huber", {"at": {"gamma": "1"}}, "huber takes no 'gamma'; expected: y_pred, y_true, delta"),
        ("huber", {"at": {"y_pred": "1"}}, "every prediction of huber is fixed"),
        ("hinge", {"grid": True}, "hinge has no two inputs that run over many numbers"),
    ],
)
def test_what_cannot_be_swept_is_said(name, options, words):
    with pytest.raises(LossbenchError, match=words):
        shards(name, **options)


def test_shares_are_all_shards_and_each_only_once():
    every = shards("huber") + shards("hinge")

    parts = [planned.share(every, f"{number}/3") for number in (1, 2, 3)]

    assert sorted(one.key for found in parts for one in found) == sorted(one.key for one in every)
    assert all(parts)
    assert planned.share(every[::-1], "2/3") == parts[1][::-1]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "a/b", "1/3/5", ""])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(LossbenchError, match="expected K/N with K from 1 to N"):
        planned.share(shards("hinge"), text)


def test_a_shard_from_another_process_is_the_same_one():
    there = pickle.loads(pickle.dumps(SHARD))

    assert there == SHARD
    assert there.key == SHARD.key
    assert there.question == replace(SHARD, target=Target(framework="jax", mode="compiled")).question


def test_an_infinite_condition_can_be_written():
    found = counted([2.0**-100], [2.0**-100], moved=[1.7e308])

    assert shard.decode(shard.encode(tally(found))) == tally(found)
