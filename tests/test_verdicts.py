"""What errors are called, and that nobody is blamed for conditioning, a choice, or a question without an answer."""

import numpy as np
import pytest
from square import JAX, SPEC, Bench

from lossbench import accuracy, answers, declared, verdicts
from lossbench.accuracy import Exact, compare
from lossbench.errors import SpecError
from lossbench.verdicts import ACCURATE, VERDICTS, hopeless, noticeable, tolerated


def verdict_of(ulps, at=1.0, dtype="float32", **more):
    """The verdict of a number that is so many ulps above *at*, a power of two."""
    high = np.array([at])
    step = at * 2.0 ** (1 - {"float64": 53, "float32": 24, "bfloat16": 8, "float16": 11}[dtype])
    return compare(high + ulps * step, Exact.of({"value": high}, "value", dtype, **more)).verdict


@pytest.mark.parametrize(
    ("ulps", "expected"),
    [
        (0, "exact"),
        (0.5, "exact"),
        (0.51, "faithful"),
        (1, "faithful"),
        (1.01, "accurate"),
        (ACCURATE, "accurate"),
        (ACCURATE + 1, "inaccurate"),
        (2**12, "inaccurate"),
        (2**12 + 1, "wrong"),
    ],
)
def test_grade_by_ulps(ulps, expected):
    assert verdict_of(ulps) == expected


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_half_of_the_digits_is_where_wrong_begins(dtype):
    assert hopeless(dtype) * noticeable(dtype) == 1.0
    assert hopeless(dtype) >= ACCURATE
    assert verdict_of(1.01 * hopeless(dtype), at=2.0, dtype=dtype) == "wrong"


def test_lost_digits_of_a_tiny_loss_are_inaccurate_not_wrong():
    assert verdict_of(2**23, at=2.0**-40) == "inaccurate"
    assert verdict_of(2**23, at=1.0) == "wrong"


def test_gradient_of_a_mean_is_ordinary_at_one_over_its_number():
    assert verdict_of(2**20, at=2.0**-16) == "inaccurate"
    assert verdict_of(2**20, at=2.0**-16, unit=2.0**-16) == "wrong"


@pytest.mark.parametrize(("terms", "expected"), [(1, 16.0), (2, 17.0), (1000, 26.0), (1024, 26.0), (10**7, 40.0)])
def test_sum_may_err_by_the_logarithm_of_its_terms(terms, expected):
    assert tolerated(terms) == expected


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        (["exact", "wrong", "failed"], "wrong"),
        (["exact", "failed", "inaccurate"], "failed"),
        (["inaccurate", "convention"], "inaccurate"),
        (["exact", "convention", "accurate"], "convention"),
        (["exact", "faithful"], "faithful"),
        (["exact", "refused", "unsupported"], "exact"),
        (["refused", "unsupported"], "refused"),
        ([], "unsupported"),
    ],
)
def test_several_verdicts_are_joined_to_the_worst(several, expected):
    assert verdicts.worst(several) == expected


def test_every_verdict_has_its_place():
    assert sorted(verdicts.WORST_FIRST) == sorted(VERDICTS)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_only_a_difference_is_excused(verdict):
    expected = "convention" if verdict in ("inaccurate", "wrong", "refused") else verdict

    assert verdicts.excused(verdict) == expected


@pytest.mark.parametrize(
    ("text", "got", "met"),
    [
        ("1/3", 0.33333334, True),
        ("1/3", 0.3334, False),
        ("0.5", 0.500001, False),
        ("16.118", 16.118095, True),
        ("16.118", 16.119, False),
        ("log(2)", 0.6931472, True),
        ("0", 0.0, True),
        ("0", 1e-30, False),
        ("nan", np.nan, True),
        ("nan", 0.0, False),
        ("inf", np.inf, True),
        ("inf", -np.inf, False),
        ("1", np.nan, False),
        ("[-1, 0]", -0.25, True),
        ("[-1, 0]", 0.25, False),
        (["1", "2"], [1.0, 2.0], True),
        (["1", "2"], [1.0, 3.0], False),
        (["1", "2"], [1.0], False),
    ],
)
def test_declared_number_is_met_to_the_digits_in_which_it_is_written(text, got, met):
    assert declared.is_met(text, np.array(got), "float32") == met


# Edges and divergences of a spec, judged in a store written by hand.


def edge(status, at='y_pred = "1", y_true = "0"', value="1", gradient="2"):
    return f"""
[[edges]]
at = {{ {at} }}
value = "{value}"
gradient = "{gradient}"
status = "{status}"
why = "{status} here"
"""


def divergence(kind, says='value = "3"', at='y_pred = "1", y_true = "0"'):
    return f"""
[[divergences]]
framework = "torch"
when = {{ {at} }}
kind = "{kind}"
why = "it is like that"
{says}
"""


@pytest.fixture
def bench(tmp_path):
    return lambda *tables: Bench(tmp_path, SPEC + "".join(tables))


def test_differing_at_a_required_edge_is_wrong_and_says_where(bench):
    bench = bench(edge("required"))
    case = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="edge", index=1)
    bench.answer(case, [3.0], [2.0])

    frame = accuracy.jobs(bench.store)
    cell = accuracy.cells(frame).iloc[0]

    assert (cell["verdict"], cell["reason"]) == ("wrong", "at y_pred=1, y_true=0: required here")
    assert (cell["edges"], cell["edges_wrong"]) == (1, 1)


@pytest.mark.parametrize("status", ["convention", "undefined"])
def test_differing_where_the_spec_leaves_a_choice_is_convention(bench, status):
    bench = bench(edge(status))
    case = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="edge", index=1)
    bench.answer(case, [3.0], [np.nan])
    bench.answer(case, [1.0], [2.0], target=JAX)

    found = accuracy.edges(bench.store)

    assert list(found["result"]) == ["convention", "exact"]
    assert found["reason"][0] == f"{status} here"
    assert (found["declared_value"][0], found["exact_value"][0], found["got_value"][0]) == ("1", "1", "3")
    assert (found["declared_gradient"][0], found["got_gradient"][0]) == ("2", "nan")


def test_infinity_that_weighs_nothing_is_not_judged(bench):
    bench = bench()
    inputs = {"y_pred": [np.inf, 1], "y_true": [0, 0]}
    weights = {"sample_weight": np.array([0.0, 1.0], np.float32)}
    case = bench.case(inputs, [0.0, 1.0], [0.0, 2.0], extra=weights, weighted=True)
    mean = bench.case(inputs, 0.5, [0.0, 1.0], extra=weights, weighted=True, reduction="mean")
    bench.answer(case, [np.nan, 1.0], [np.nan, 2.0])
    bench.answer(mean, np.nan, [np.nan, 1.0])

    assert list(accuracy.jobs(bench.store)["verdict"]) == ["exact", "exact"]


def test_raising_where_the_spec_leaves_a_choice_is_convention(bench):
    bench = bench(edge("undefined"))
    case = bench.case({"y_pred": [1], "y_true": [0]}, [np.nan], [np.nan], points="edge", index=1)
    bench.answer(case, refusal="failed")
    bench.answer(case, refusal="crashed", target=JAX)

    assert list(accuracy.edges(bench.store)["result"]) == ["convention", "failed"]


def test_edge_is_judged_once_however_often_it_is_asked_for(bench, monkeypatch):
    bench = bench(edge("required"))
    case = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="edge", index=1)
    bench.answer(case, [1.0], [2.0])
    compared = []
    measure = answers.measure
    monkeypatch.setattr(
        answers, "measure", lambda job, *rest, **more: compared.append(job) or measure(job, *rest, **more)
    )
    store = answers.Answers(bench.store)

    accuracy.jobs(store)
    accuracy.edges(store)

    assert [job.case.points for job in compared] == ["edge"]


def test_raising_at_a_required_edge_does_not_blame_the_whole_cell(bench):
    bench = bench(edge("required"))
    drawn = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0])
    bench.answer(drawn, [1.0], [2.0])
    hard = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="edge", index=1)
    bench.answer(hard, refusal="failed")

    cell = accuracy.cells(accuracy.jobs(bench.store)).iloc[0]

    assert (cell["verdict"], cell["refused"]) == ("exact", 1)


def test_swallowed_nan_is_wrong_where_nan_is_required(bench):
    bench = bench(edge("required", 'y_pred = "nan", y_true = "0"', "nan", "nan"))
    case = bench.case({"y_pred": [np.nan], "y_true": [0]}, [np.nan], [np.nan], points="edge", index=1)
    bench.answer(case, [0.0], [np.nan])
    bench.answer(case, [np.nan], [np.nan], target=JAX)

    assert list(accuracy.edges(bench.store)["result"]) == ["wrong", "exact"]


def test_spec_decides_where_the_formula_does_not(bench):
    bench = bench(edge("required", value="log(2)"))
    case = bench.case({"y_pred": [1], "y_true": [0]}, [np.nan], [2.0], points="edge", index=1)
    bench.answer(case, [np.float32(np.log(2))], [2.0])
    bench.answer(case, [0.7], [2.0], target=JAX)

    assert list(accuracy.edges(bench.store)["result"]) == ["exact", "wrong"]


def test_decision_is_not_carried_to_a_point_that_rounding_moved(bench):
    bench = bench(edge("required", 'y_pred = "0.1", y_true = "0"'))
    case = bench.case({"y_pred": [0.1], "y_true": [0]}, [np.nan], [np.nan], points="edge", index=1)
    bench.answer(case, [7.0], [7.0])

    assert list(accuracy.edges(bench.store)["result"]) == ["exact"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("convention", "convention"), ("limit", "convention"), ("defect", "wrong")]
)
def test_declared_difference_excuses_its_edge_unless_it_is_a_defect(bench, kind, expected):
    bench = bench(edge("required"), divergence(kind))
    case = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="edge", index=1)
    bench.answer(case, [3.0], [2.0])

    assert accuracy.edges(bench.store)["result"][0] == expected


def test_declared_difference_excuses_nobody_else_and_nowhere_else(bench):
    elsewhere = divergence("convention", at='y_pred = "2", y_true = "0"')
    bench = bench(edge("required"), divergence("convention"), edge("required", 'y_pred = "4", y_true = "0"'), elsewhere)
    near = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="edge", index=1)
    far = bench.case({"y_pred": [4], "y_true": [0]}, [16.0], [8.0], points="edge", index=2)
    bench.answer(near, [3.0], [2.0], target=JAX)
    bench.answer(far, [3.0], [2.0])

    assert list(accuracy.edges(bench.store)["result"]) == ["wrong", "wrong"]


def test_drawn_points_count_except_at_declared_conventions(bench):
    bench = bench(divergence("limit"), edge("undefined", 'y_pred = "5", y_true = "0"'))
    inputs = {"y_pred": [1, 2, 5], "y_true": [0, 0, 0]}
    case = bench.case(inputs, [1.0, 4.0, 25.0], [2.0, 4.0, 10.0])
    bench.answer(case, [3.0, 4.0, 0.0], [2.0, 4.0, 10.0])
    bench.answer(case, [1.0, 7.0, 0.0], [2.0, 4.0, 10.0], target=JAX)

    frame = accuracy.jobs(bench.store)

    assert list(frame["verdict"]) == ["convention", "wrong"]
    assert frame["reason"][0] == "2 of 3 points stand where the spec declares a convention, and are not counted"


def test_declared_region_excuses_what_lies_in_it(bench):
    bench = bench(
        divergence("limit", 'value = "3"\nregion = "y_pred - y_true < 2"'),
        edge("required", 'y_pred = "0.5", y_true = "0"', "1/4", "1"),
    )
    case = bench.case({"y_pred": [0, 1, 2], "y_true": [0, 0, 0]}, [0.0, 1.0, 4.0], [0.0, 2.0, 4.0])
    bench.answer(case, [5.0, 5.0, 4.0], [0.0, 2.0, 4.0 + 2.0**-21])
    bench.answer(case, [5.0, 5.0, 5.0], [0.0, 2.0, 4.0], target=JAX)
    hard = bench.case({"y_pred": [0.5], "y_true": [0]}, [0.25], [1.0], points="edge", index=1)
    bench.answer(hard, [5.0], [1.0])

    frame = accuracy.jobs(bench.store)

    assert list(frame["verdict"]) == ["convention", "wrong", "convention"]
    assert (frame["value_max_ulp"][0], frame["gradient_max_ulp"][0]) == (0.0, 1.0)


def test_convention_in_one_term_excuses_the_mean_but_not_the_other_gradients(bench):
    bench = bench(divergence("limit"))
    case = bench.case({"y_pred": [1, 2], "y_true": [0, 0]}, 2.5, [1.0, 2.0], reduction="mean")
    bench.answer(case, 3.5, [7.0, 2.0])
    other = bench.case({"y_pred": [1, 2], "y_true": [0, 0]}, 2.5, [1.0, 2.0], reduction="mean", index=1)
    bench.answer(other, 3.5, [1.0, 7.0])

    assert list(accuracy.jobs(bench.store)["verdict"]) == ["convention", "wrong"]


@pytest.mark.parametrize(
    ("region", "reason"),
    [("y_pred - y_true", "'y_pred - y_true' is a real; expected a condition"), ("y_prd < 1", "unknown name 'y_prd'")],
)
def test_region_that_is_no_condition_is_an_error_of_the_spec(bench, region, reason):
    with pytest.raises(SpecError, match=rf"square.toml:\d+: .*{reason}"):
        bench(divergence("limit", f'value = "3"\nregion = "{region}"'))


def result_of(bench, value, gradient=(2.0,), refusal=None, exact=1.0, extra=None):
    """What a run says of the only divergence."""
    case = bench.case({"y_pred": [1], "y_true": [0]}, [exact], [2.0], extra=extra, points="divergence")
    bench.answer(case, None if value is None else [value], list(gradient), refusal=refusal)
    return accuracy.divergences(bench.store).iloc[0]


@pytest.mark.parametrize(
    ("got", "expected"),
    [(3.0, "confirmed"), (3.0000002, "confirmed"), (2.0, "changed"), (1.0, "fixed"), (None, "not run")],
)
def test_divergence_is_proved_again(bench, got, expected):
    found = result_of(bench(divergence("defect")), got)

    assert found["result"] == expected
    assert (found["kind"], found["at"], found["why"]) == ("defect", "y_pred=1, y_true=0", "it is like that")
    assert (found["declared_value"], found["exact_value"]) == ("3", "1")


def test_difference_that_conditioning_excuses_is_still_there(bench):
    bench = bench(divergence("limit", 'value = "1.000001"', at='y_pred = "100", y_true = "99"'))
    case = bench.case({"y_pred": [100], "y_true": [99]}, [1.0], [2.0], points="divergence")
    bench.answer(case, [1.000001], [2.0])

    found = accuracy.divergences(bench.store).iloc[0]

    assert (found["result"], found["verdict"]) == ("confirmed", "accurate")


def test_divergence_of_the_gradient_is_not_proved_by_the_value(bench):
    found = result_of(bench(divergence("defect", 'gradient = "nan"')), 3.0, gradient=[2.0])

    assert found["result"] == "fixed"


def test_choice_at_a_kink_is_a_convention_that_holds(bench):
    interval = {"gradient.y_pred.lower": np.array([-1.0]), "gradient.y_pred.upper": np.array([1.0])}
    bench = bench(divergence("convention", 'gradient = "1"'))

    assert result_of(bench, 1.0, gradient=[1.0], extra=interval)["result"] == "confirmed"


def test_choice_where_nothing_is_defined_is_a_convention_that_holds(bench):
    found = result_of(bench(divergence("convention", 'value = "0"')), 0.0, exact=np.nan)

    assert (found["result"], found["verdict"]) == ("confirmed", "exact")


@pytest.mark.parametrize(
    ("says", "expected"),
    [('raises = "own words"', "confirmed"), ('raises = "IndexError"', "changed"), ('value = "3"', "changed")],
)
def test_declared_exception_is_compared_with_what_was_said(bench, says, expected):
    assert result_of(bench(divergence("limit", says)), None, refusal="failed")["result"] == expected


def test_exception_that_no_longer_comes_is_fixed_where_the_answer_is_right(bench):
    assert result_of(bench(divergence("limit", 'raises = "IndexError"')), 1.0)["result"] == "fixed"


@pytest.mark.parametrize("refusal", ["not installed", "unsupported", "timed out", "crashed", "out of memory"])
@pytest.mark.parametrize("says", ['value = "3"', 'raises = "IndexError"'])
def test_divergence_that_could_not_run_is_not_run_and_says_why(bench, says, refusal):
    found = result_of(bench(divergence("defect", says)), None, refusal=refusal)

    assert (found["result"], found["reason"].partition(":")[0]) == ("not run", refusal)


def test_declared_crash_is_confirmed_by_one(bench):
    found = result_of(bench(divergence("defect", 'raises = "own words"')), None, refusal="crashed")

    assert found["result"] == "confirmed"


def test_divergence_that_was_not_planned_is_not_run(bench):
    bench = bench(divergence("defect"))
    bench.answer(bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0]), [1.0], [2.0])

    found = accuracy.divergences(bench.store).iloc[0]

    assert (found["result"], found["target"], found["reason"]) == ("not run", "", "not planned in this run")


@pytest.mark.parametrize(
    ("kind", "says", "expected"),
    [
        ("defect", 'value = "3"', "wrong"),
        ("convention", 'value = "3"', "convention"),
        ("defect", 'value = "3"\ncall = "reduce(y_pred)"', "exact"),
    ],
)
def test_confirmed_divergence_of_the_own_call_counts_for_its_cell(bench, kind, says, expected):
    bench = bench(divergence(kind, says))
    drawn = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0])
    bench.answer(drawn, [1.0], [2.0])
    point = bench.case({"y_pred": [1], "y_true": [0]}, [1.0], [2.0], points="divergence")
    bench.answer(point, [3.0], [2.0])

    assert list(accuracy.cells(accuracy.jobs(bench.store))["verdict"]) == [expected]
