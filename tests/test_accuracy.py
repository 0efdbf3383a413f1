"""Errors in ulps, what conditioning explains, mismatches of kind, and the tables made of them."""

import math

import numpy as np
import pytest
from shapes import shape
from square import JAX, Bench

from lossbench import accuracy, conditioning, inputs, shown, spec
from lossbench.accuracy import Exact, compare
from lossbench.records import Case
from lossbench.ulp import FORMATS, exponent


def exact(high, dtype="float64", **more):
    """What must come out, where only what matters is said."""
    stored = {name: more.pop(name) for name in ("low", "radius", "lower", "upper") if name in more}
    arrays = {"value": high} | {f"value.{name}": array for name, array in stored.items()}
    return Exact.of({name: np.asarray(array, np.float64) for name, array in arrays.items()}, "value", dtype, **more)


def one_ulp(at, dtype, low=0.0):
    return math.ldexp(1.0, int(exponent(np.array(at), np.array(low), dtype)))


@pytest.mark.parametrize(
    ("dtype", "at", "expected"),
    [
        ("float64", 1.0, 2.0**-52),
        ("float64", 1.9, 2.0**-52),
        ("float64", 2.0, 2.0**-51),
        ("float64", 1e-310, 2.0**-1074),
        ("float32", 1.0, 2.0**-23),
        ("float32", -0.75, 2.0**-24),
        ("float32", 1e-40, 2.0**-149),
        ("float32", 0.0, 2.0**-149),
        ("float32", 1e300, 2.0**104),
        ("bfloat16", 1.0, 2.0**-7),
        ("bfloat16", 300.0, 2.0),
        ("float16", 1.0, 2.0**-10),
        ("float16", 1e-5, 2.0**-24),
    ],
)
def test_ulp_is_the_spacing_of_the_dtype(dtype, at, expected):
    assert one_ulp(at, dtype) == expected


def test_ulp_just_below_a_power_of_two_is_that_of_the_binade_below():
    assert one_ulp(2.0, "float64", low=-1e-20) == one_ulp(1.5, "float64")
    assert one_ulp(2.0, "float64", low=+1e-20) == one_ulp(2.0, "float64")


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("float64", np.finfo(np.float64).max), ("float32", np.finfo(np.float32).max), ("float16", 65504.0)],
)
def test_largest_number_is_numpys(dtype, largest):
    assert FORMATS[dtype].largest == largest


def test_half_way_between_two_floats_is_half_an_ulp():
    found = compare(np.ones(1), exact([1.0], low=[np.spacing(1.0) / 2]))

    assert found.max_ulp == 0.5
    assert found.verdict == "exact"


def test_neighbour_is_one_ulp_away():
    found = compare(np.nextafter(np.ones(1, np.float32), 2), exact([1.0], "float32"))

    assert found.max_ulp == 1.0
    assert found.verdict == "faithful"


def test_remainder_beyond_the_double_counts():
    found = compare(np.array([1.0 + 2.0**-52]), exact([1.0], low=[2.0**-54]))

    assert found.max_ulp == 0.75


def test_proved_radius_is_no_error_of_the_target():
    assert compare(np.array([1.0 + 2.0**-52]), exact([1.0], radius=[2.0**-52])).max_ulp == 0.0


def test_median_and_tail_are_errors_that_were_seen():
    got = 1.0 + np.arange(200) * 2.0**-52

    found = compare(got, exact(np.ones(200)))

    assert (found.median_ulp, found.p99_ulp, found.max_ulp, found.worst) == (99.0, 197.0, 199.0, 199)


def test_sign_of_zero_is_no_error():
    assert compare(np.array([-0.0]), exact([0.0])).verdict == "exact"


@pytest.mark.parametrize("subgradient", [-1.0, -0.5, 0.0])
def test_every_subgradient_has_no_error(subgradient):
    found = compare(np.array([subgradient]), exact([-0.5], lower=[-1.0], upper=[0.0]))

    assert (found.max_ulp, found.verdict) == (0.0, "exact")


def test_beyond_the_subdifferential_the_nearer_end_counts():
    found = compare(np.array([-1.0 - 2.0**-51]), exact([-0.5], lower=[-1.0], upper=[0.0]))

    assert found.max_ulp == 2.0


def test_smooth_point_has_no_interval():
    assert compare(np.array([0.5]), exact([1.0], lower=[1.0], upper=[1.0])).verdict == "wrong"


def test_error_that_the_condition_explains_is_accurate():
    got = np.array([1.0 + 1000 * 2.0**-52])

    assert compare(got, exact([1.0])).verdict == "inaccurate"
    found = compare(got, exact([1.0], moved=np.array([999.0])))

    assert (found.max_ulp, found.conditioned, found.verdict) == (1000.0, 1.0, "accurate")


def test_exact_zero_that_came_out_of_cancellation_is_judged_beside_what_cancelled():
    got = np.array([2.0**-50])

    assert compare(got, exact([0.0], moved=np.array([2.0]))).verdict == "accurate"
    assert compare(np.array([1e-9]), exact([0.0], moved=np.array([2.0]))).verdict == "inaccurate"
    assert compare(np.array([1e-3]), exact([0.0], moved=np.array([2.0]))).verdict == "wrong"


def test_missed_zero_is_counted_apart_from_ulps():
    found = compare(np.array([1e-20, 1.0]), exact([0.0, 1.0]))

    assert (found.missed, found.at_zero, found.max_ulp, found.verdict) == (1, 1e-20, 0.0, "accurate")


def test_vector_is_judged_beside_its_largest_entry():
    got = np.array([[1.0, 1e-10 + 2.0**-53]])

    assert compare(got, exact([[1.0, 1e-10]])).verdict == "inaccurate"
    found = compare(got, exact([[1.0, 1e-10]], rows=True))

    assert (found.verdict, found.normwise) == ("accurate", 0.5)


def test_whole_array_has_a_normwise_error():
    assert compare(np.array([4.0, 1.0 + 2.0**-50]), exact([4.0, 1.0])).normwise == 1.0


LARGEST = 2.0**128 - 2.0**104


def test_right_overflow_is_no_error():
    assert compare(np.array([np.inf]), exact([1e39], "float32")).verdict == "exact"


def test_infinity_stands_for_the_smallest_number_that_rounds_to_it():
    found = compare(np.array([np.inf]), exact([LARGEST + 2.0**102], "float32"))

    assert (found.max_ulp, found.inf) == (0.25, 0)


def test_largest_number_for_one_just_beyond_is_faithful():
    found = compare(np.array([LARGEST]), exact([LARGEST + 0.75 * 2.0**104], "float32"))

    assert (found.max_ulp, found.finite, found.verdict) == (0.75, 0, "faithful")


@pytest.mark.parametrize(
    ("got", "should", "kind"),
    [
        (np.inf, 1e38, "inf"),
        (np.inf, 1.0, "inf"),
        (-np.inf, np.inf, "inf"),
        (-np.inf, 1e39, "inf"),
        (1e30, 1e39, "finite"),
        (1e30, np.inf, "finite"),
        (np.nan, 1.0, "nan"),
        (np.nan, np.inf, "nan"),
    ],
)
def test_mismatch_of_kind_is_wrong_and_counted_by_what_came_out(got, should, kind):
    found = compare(np.array([got]), exact([should], "float32"))

    assert {name: getattr(found, name) for name in ("nan", "inf", "finite")} == {
        "nan": 0,
        "inf": 0,
        "finite": 0,
        kind: 1,
    }
    assert found.verdict == "wrong"
    assert np.isnan(found.max_ulp)


@pytest.mark.parametrize("got", [np.nan, 1.0, np.inf])
def test_undefined_point_is_not_judged(got):
    found = compare(np.array([got]), exact([np.nan]))

    assert (found.undefined, found.nan, found.inf, found.finite, found.verdict) == (1, 0, 0, 0, "exact")


def test_number_for_a_required_nan_is_wrong():
    assert compare(np.array([1.0]), exact([np.nan]), nan_required=True).verdict == "wrong"
    assert compare(np.array([np.nan]), exact([np.nan]), nan_required=True).verdict == "exact"


def test_opposite_ends_of_the_range_do_not_overflow_the_measurement():
    largest = np.finfo(np.float64).max

    found = compare(np.array([-largest]), exact([largest]))

    assert np.isfinite(found.max_ulp)
    assert found.verdict == "wrong"


def test_flush_to_zero_is_named_and_not_measured_in_ulps():
    found = compare(np.array([0.0, 1.0]), exact([1e-40, 1.0], "float32"))

    assert (found.flushed, found.max_ulp, found.verdict) == (1, 0.0, "accurate")


def test_target_that_gives_subnormal_numbers_does_not_flush():
    found = compare(np.array([0.0, 1e-41]), exact([1e-40, 1e-41], "float32"))

    assert found.flushed == 0
    assert found.max_ulp > 1e4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_measured_in_their_own_ulps(dtype):
    step = one_ulp(1.0, dtype)

    assert compare(np.array([1.0 + step], np.float32), exact([1.0], dtype)).max_ulp == 1.0


def test_empty_output_agrees():
    found = compare(np.zeros(0), exact(np.zeros(0)))

    assert (found.worst, found.verdict) == (None, "exact")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_job_gets_errors_of_value_and_gradient_and_its_worst_input(bench):
    case = bench.case({"y_pred": [1, 0.1], "y_true": [0, 0]}, [1.0, 0.01], [2.0, 0.2])
    bench.answer(case, [1.0 + 2.0**-23, 0.01], [2.0, 0.2 + 40 * 2.0**-26])

    row = accuracy.jobs(bench.store).iloc[0]

    assert (row["loss"], row["target"], row["dtype"], row["verdict"]) == (
        "square",
        "torch:eager:cpu",
        "float32",
        "inaccurate",
    )
    assert row["value_max_ulp"] == 1.0
    assert row["gradient_max_ulp"] == pytest.approx(40.0)
    assert row["value_worst"] == "y_pred=1, y_true=0: got 1.0000001 (0x1.000002p+0), exact 1, 1 ulp at condition 2"
    assert row["gradient_worst"].startswith("y_pred=0.1 (0x1.99999ap-4), y_true=0: got 0.2000006 (0x1.9999")


def test_reason_quotes_a_few_entries_of_a_long_row_and_the_worst_input_all_of_ten():
    values = np.arange(10) / 3

    assert shown.brief(values, "float64", bits=True).count(",") == 9
    assert "0x" not in shown.brief(values, "float64", bits=True)
    assert shown.brief(values[1:3], "float64", bits=True).count("0x") == 2
    assert shown.brief(values, "float64", few=accuracy.FEW) == "[0, ... 8 more ..., 3]"


def test_drawn_points_have_the_errors_that_jobs_are_judged_by(bench):
    case = bench.case({"y_pred": [1, 0.1], "y_true": [0, 0]}, [1.0, 0.01], [2.0, 0.2])
    bench.answer(case, [1.0 + 2.0**-23, 0.01], [2.0, 0.2 + 40 * 2.0**-26])

    row, drawn = (
        accuracy.jobs(bench.store).iloc[0],
        accuracy.points(bench.store, "square", "torch:eager:cpu", "float32"),
    )

    assert drawn["value_ulp"].max() == row["value_max_ulp"]
    assert drawn["gradient_ulp"].max() == row["gradient_max_ulp"]


def test_answer_that_is_not_whole_has_no_points(bench):
    case = bench.case({"y_pred": [1, 2], "y_true": [0, 0]}, [1.0, 4.0], [2.0, 4.0])
    bench.answer(case, [1.0], [2.0, 4.0])

    assert accuracy.points(bench.store, "square", "torch:eager:cpu", "float32").empty


def test_what_the_inputs_explain_is_taken_from_the_formula(bench):
    case = bench.case({"y_pred": [100], "y_true": [99]}, [1.0], [2.0])
    bench.answer(case, [1.0 + 399 * 2.0**-23], [2.0 + 200 * 2.0**-22])

    row = accuracy.jobs(bench.store).iloc[0]

    # Of r**2 and 2*r the inputs move, by 2*r*(100 + 99) = 398 and by 2*(100 + 99) = 398 beside 2.
    assert (row["value_max_ulp"], row["gradient_max_ulp"], row["verdict"]) == (399.0, 200.0, "accurate")
    assert row["value_conditioned"] == pytest.approx(399 / 399, rel=1e-3)
    assert row["gradient_conditioned"] == pytest.approx(200 / 200, rel=1e-3)


def test_mean_of_many_is_judged_by_the_logarithm_of_their_number(bench):
    inputs = {"y_pred": np.ones(1024), "y_true": np.zeros(1024)}
    case = bench.case(inputs, 1.0, np.full(1024, 2 / 1024), reduction="mean")
    # The inputs move each term by 2, and the sum of the terms is 1: four times 16 + log2(1024) ulps are allowed.
    bench.case(inputs, np.ones(1024), np.full(1024, 2.0))
    got = 1.0 + 4 * (16 + 10) * 2.0**-23
    bench.answer(case, got, np.full(1024, 2 / 1024))
    bench.answer(case, got + 2.0**-20, np.full(1024, 2 / 1024), target=JAX)

    frame = accuracy.jobs(bench.store)

    assert list(frame["verdict"]) == ["accurate", "inaccurate"]
    assert frame["value_worst"][0].startswith("mean of 1024: got 1.0000124")


def test_sum_that_cancels_is_judged_beside_its_terms(bench):
    inputs = {"y_pred": [1, 2], "y_true": [0, 0]}
    bench.case(inputs, [1.0, -1.0 + 2.0**-20], [0.0, 0.0])
    case = bench.case(inputs, 2.0**-20, [0.0, 0.0], reduction="sum")
    bench.answer(case, 2.0**-20 + 2.0**-23, [0.0, 0.0])

    row = accuracy.jobs(bench.store).iloc[0]

    assert row["value_max_ulp"] == 2.0**20
    assert row["verdict"] == "accurate"


@pytest.mark.parametrize(
    ("refusal", "verdict"),
    [
        ("unsupported", "unsupported"),
        ("not installed", "refused"),
        ("failed", "refused"),
        ("crashed", "failed"),
        ("timed out", "failed"),
        ("out of memory", "failed"),
    ],
)
def test_refusal_keeps_its_words(bench, refusal, verdict):
    bench.answer(bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0]), refusal=refusal)

    frame = accuracy.jobs(bench.store)

    assert (frame["verdict"][0], frame["reason"][0]) == (verdict, f"{refusal}: in its own words")
    assert accuracy.cells(frame)["verdict"][0] == verdict


def test_two_inputs_are_moved_with_and_against_each_other():
    given = {"y_pred": np.array([3.0, 0.0]), "y_true": np.array([1.0, 5.0])}

    found = conditioning.estimates(spec.load("squared_error"), given)

    # (p - y)**2 moves by 2*abs(p - y)*(abs(p) + abs(y)), its derivative by 2*(abs(p) + abs(y)).
    assert found["value"].moved == pytest.approx([16.0, 50.0], rel=1e-3)
    assert found["gradient.y_pred"].moved == pytest.approx([8.0, 10.0], rel=1e-3)
    assert list(found["value"].number) == [4.0, 25.0]


def test_movement_of_a_row_is_about_that_of_its_entries():
    row = np.array([[20.0, 1.0, 0.0]])

    found = conditioning.estimates(
        spec.load("sparse_softmax_cross_entropy"),
        {
            "logits": row,
            "y_true": np.array([0]),
            "ignore_index": np.array(-100),
            "class_weight": np.ones(3),
            "label_smoothing": np.array(0.0),
        },
    )

    # The loss is exp(-19) + exp(-20) here, and moves by that times its distances from 20.
    assert 10 < found["value"].moved[0] / found["value"].number[0] < 41
    assert found["gradient.logits"].moved.shape == row.shape


@pytest.mark.parametrize("name", spec.names())
def test_every_kernel_is_estimated_as_the_reference_certifies_it(name):
    loss = spec.load(name)
    case = Case(loss=name, digest=loss.digest, dtype="float64", points="domain", shape=shape(loss, 14, 4))
    problem = inputs.draw(loss, case)
    given = problem.arrays | {key: np.asarray(value) for key, value in problem.parameters.items()}

    found = conditioning.estimates(loss, given)
    certified = problem.certified(gradient=False).value.high

    finite = np.isfinite(certified)
    error = np.abs(found["value"].number[finite] - certified[finite])
    assert np.all(error <= 1e-6 * (np.abs(certified) + found["value"].moved)[finite] + 1e-15)


def test_job_without_a_record_and_case_without_a_reference_are_failed(bench):
    bench.answer(bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0]))
    bench.answer(bench.case(dtype="float64"), [1.0], [2.0])

    frame = accuracy.jobs(bench.store)

    assert list(frame["verdict"]) == ["failed", "failed"]
    assert list(frame["reason"]) == [
        "no record: the run ended before this job",
        "nothing to compare with: the reference has no record of this case",
    ]


def test_output_of_the_wrong_shape_is_wrong(bench):
    bench.answer(bench.case({"y_pred": [1, 1], "y_true": [0, 0]}, [1.0, 1.0], [2.0, 2.0]), [1.0], [2.0, 2.0])

    row = accuracy.jobs(bench.store).iloc[0]

    assert (row["verdict"], row["reason"]) == ("wrong", "value has shape (1,); expected (2,)")


def test_every_planned_cell_appears(bench):
    for dtype in ("float32", "float64"):
        case = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], dtype=dtype)
        bench.answer(case, [1.0], [2.0])
        bench.answer(case, target=JAX)

    cells = accuracy.cells(accuracy.jobs(bench.store))

    assert {(cell.target, cell.dtype): cell.verdict for cell in cells.itertuples()} == {
        ("torch:eager:cpu", "float32"): "exact",
        ("torch:eager:cpu", "float64"): "exact",
        ("jax:compiled:cpu", "float32"): "failed",
        ("jax:compiled:cpu", "float64"): "failed",
    }


def test_cell_has_the_largest_errors_of_its_drawn_points(bench):
    for index, ulps in enumerate((1, 3)):
        case = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], index=index)
        bench.answer(case, [1.0 + ulps * 2.0**-23], [2.0])
    refused = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], weighted=True)
    bench.answer(refused, refusal="unsupported")

    cell = accuracy.cells(accuracy.jobs(bench.store)).iloc[0]

    assert (cell["verdict"], cell["value_max_ulp"], cell["gradient_max_ulp"]) == ("accurate", 3.0, 0.0)
    assert (cell["planned"], cell["measured"], cell["refused"], cell["mismatches"]) == (3, 2, 1, 0)
    assert "got 1.0000004" in cell["value_worst"]


def test_points_are_those_of_the_plain_case(bench):
    case = bench.case({"y_pred": [1, 2, 3], "y_true": [0, 0, 0]}, [1.0, 4.0, 9.0], [2.0, 4.0, 6.0])
    bench.answer(case, [1.0 + 2.0**-23, 4.0, np.nan], [2.0, 4.0, 6.0])

    found = accuracy.points(bench.store, "square", "torch:eager:cpu", "float32")

    assert list(found["x"]) == [1.0, 2.0, 3.0]
    assert list(found["value_ulp"]) == [1.0, 0.0, np.inf]
    assert list(found["y_true"]) == [0.0, 0.0, 0.0]
    assert accuracy.points(bench.store, "square", "numba", "float32").empty
