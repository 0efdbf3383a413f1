"""Losses with named axes, by three small specs: read, drawn, planned, refreshed and measured like any other."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import lossbench
from lossbench import accuracy, adapters, declared, inputs, plan, references, soundness, spec, timed, worker
from lossbench.arrays import Arrays
from lossbench.errors import LossbenchError, SpecError
from lossbench.points import STYLES
from lossbench.records import REFERENCE, Case, Output
from lossbench.store import Store
from lossbench.suite import Accuracy, Suite, Timing

FOLDER = Path(__file__).parent / "specs_with_axes"
PAIRS, PROJECTION, FRAMES = LOSSES = [spec.load(FOLDER / f"{name}.toml") for name in ("pairs", "projection", "frames")]
SUITE = Suite(
    name="axes",
    summary="",
    targets=("torch:eager", "tensorflow:eager", "jax:compiled", "numba:compiled"),
    accuracy=(
        Accuracy(
            targets=("torch:eager", "tensorflow:eager", "jax:compiled", "numba:compiled"),
            dtypes=("float32",),
            points=100,
            reductions=("none", "mean"),
            weighted=(False, True),
            parameters="each",
        ),
    ),
    edges=("float32",),
    divergences=True,
    timing=(Timing(targets=("torch:eager",), dtypes=("float32",), elements=(10,), rows=((2, 3),)),),
)


def drawn(loss, **case):
    at = case.pop("shape", tuple(loss.sizes.timing[0][axis] for axis in loss.dimensions))
    case = Case(
        **{"loss": loss.name, "digest": loss.digest, "dtype": "float64", "points": "domain", "shape": at} | case
    )
    return inputs.draw(loss, case)


@pytest.fixture
def changed(tmp_path):
    """The error that a spec of these gets where something in it is another."""

    def changed(loss, old, new):
        path = tmp_path / loss.path.name
        assert loss.source.count(old) >= 1
        path.write_text(loss.source.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            spec.load(path)
        _, line, reason = str(caught.value).split(":", 2)
        return reason.strip(), path.read_text(encoding="utf-8").splitlines()[int(line) - 1]

    return changed


def test_a_loss_says_its_axes():
    assert PAIRS.axes == PAIRS.dimensions == ("batch", "feature")
    assert PROJECTION.axes == ("batch", "feature", "class")
    assert FRAMES.axes == ("time", "class")
    assert FRAMES.dimensions == ("batch", "time", "class")
    assert [loss.batchwise for loss in LOSSES] == [True, True, False]
    assert [loss.pooled for loss in LOSSES] == [True, False, False]
    assert spec.axes_of(FRAMES.inputs["logits"]) == ("time", "class")
    assert (FRAMES.along("logits"), FRAMES.along("length")) == (("batch", "time", "class"), ("batch",))
    assert (PROJECTION.along("features"), PROJECTION.along("weight")) == (("batch", "feature"), ("class", "feature"))


def test_elements_and_rows_have_the_axes_that_they_always_had():
    huber, rows = spec.load("huber"), spec.load("softmax_cross_entropy")

    assert (huber.axes, huber.dimensions, huber.has_sizes) == ((), ("batch",), False)
    assert (rows.axes, rows.dimensions, rows.has_sizes) == (("class",), ("batch", "class"), False)


@pytest.mark.parametrize(
    ("loss", "old", "new", "reason", "line"),
    [
        (FRAMES, 'kind = "real", axes = ["time", "class"]', 'kind = "row", axes = ["class"]', "is a row", "logits"),
        (FRAMES, '["time", "class"]', '["time", "time"]', "'logits' has an axis twice: time, time", "logits"),
        (FRAMES, '["time", "class"]', '["time", "Class"]', "'Class' is no name for an axis", "logits"),
        (FRAMES, 'of = "time"', 'of = "tme"', "'length' is a length of the axis 'tme', which no input has", "length"),
        (FRAMES, 'domain = "symbol"', 'domain = "real"', "domain real; expected one of: class, id, length", "y_true"),
        (PAIRS, '["batch", "feature"]', '["feature", "batch"]', "expected batch as the first of them", "points"),
        (PAIRS, '["batch", "feature"]', '["batch"]', "are batch = 4, feature = 2; expected positive ones", "accuracy"),
        (PAIRS, "{ batch = 4, feature = 2 }", "{ batch = 0, feature = 2 }", "batch = 0, feature = 2", "accuracy"),
        (PAIRS, "timing   =", "# ", "no sizes for timing runs; expected timing = [{ batch = 4, ", "[sizes]"),
        (FRAMES, "batch = 16, ", "", "time = 20, class = 10; expected positive ones: batch = 4, ", "timing"),
        (PAIRS, 'ids = ["1", "1"] }', 'ids = ["1", "1"], sample_weight = ["1", "1"] }', "gives sample_weight", "at ="),
        (PAIRS, "torch.mean(", "sample_weight*torch.mean(", "the call takes sample_weight; expected", "[frameworks"),
        (PROJECTION, "reduce(F", "(F", "the call takes no sample_weight; use it, wrap the call", "[frameworks"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_axes_is_named_with_its_line(changed, loss, old, new, reason, line):
    found, at = changed(loss, old, new)

    assert reason in found
    assert line in at


def test_sizes_of_elements_are_refused(tmp_path):
    path = spec.start("square", tmp_path)
    path.write_text(path.read_text().replace("[formula]", "[sizes]\naccuracy = [{ time = 3 }]\n[formula]", 1))

    with pytest.raises(SpecError, match=r"no axes but that of rows; expected no \[sizes\]"):
        spec.load(path)


def test_every_style_of_a_batch_is_that_of_all_its_entries():
    fit, wide = (drawn(PAIRS, index=STYLES.index(style)).arrays["points"] for style in ("fit", "wide"))

    np.testing.assert_array_equal(fit[::2], fit[1::2])
    assert np.ptp(np.log2(np.abs(wide))) > 40


def test_near_entries_of_a_batch_are_near_the_one_before():
    near = drawn(PAIRS, index=STYLES.index("near")).arrays["points"]

    distance = np.abs(near[1::2] - near[::2]) / np.abs(near[::2])
    assert distance.max() <= 1.5
    assert np.median(distance) < 1e-4


def test_ids_are_few_and_symbols_are_no_blanks():
    ids, symbols = drawn(PAIRS).arrays["ids"], drawn(FRAMES).arrays["y_true"]
    third = drawn(FRAMES, parameters={"blank": "3"}).arrays["y_true"]

    assert len(set(ids.tolist())) < len(ids)
    assert set(symbols.ravel().tolist()) == {*range(1, 10)}
    assert set(third.ravel().tolist()) == {*range(10)} - {3}


def test_lengths_are_at_least_half_and_whole_where_time_is_measured():
    lengths = drawn(FRAMES, shape=(200, 7, 3)).arrays["length"]

    assert set(lengths.tolist()) == {4, 5, 6, 7}
    assert set(drawn(FRAMES, points="timing").arrays["length"].tolist()) == {20}


def test_lists_are_nested_as_the_axes_are():
    batch = inputs.of_point(FRAMES, FRAMES.edges[2].at, "float64", "mean")
    single = inputs.of_point(FRAMES, FRAMES.edges[0].at, "float64", "none")
    shared = inputs.of_point(PROJECTION, PROJECTION.edges[0].at, "float64", "none")

    assert {name: array.shape for name, array in batch.arrays.items()} == {
        "logits": (2, 1, 2),
        "y_true": (2, 1),
        "length": (2,),
    }
    assert single.arrays["logits"].shape == (1, 2, 2)
    assert {name: array.shape for name, array in shared.arrays.items()} == {
        "features": (2, 1),
        "weight": (2, 1),
        "y_true": (2,),
    }
    assert (batch.entries, single.entries, shared.entries) == (2, 1, 2)


def test_an_empty_batch_takes_its_other_lengths_from_what_is_there():
    tables = inputs.of_point(FRAMES, FRAMES.edges[3].at, "float64", "sum")
    shared = inputs.of_point(PROJECTION, {"features": [], "weight": [["1", "2"]], "y_true": []}, "float64", "none")

    assert tables.arrays["logits"].shape == (0, 3, 3)
    assert tables.arrays["length"].shape == (0,)
    assert shared.arrays["features"].shape == (0, 2)
    assert shared.arrays["weight"].shape == (1, 2)


@pytest.mark.parametrize(
    ("loss", "given", "text"),
    [
        (PAIRS, {"points": [1, 2], "ids": [1, 2]}, r"points has shape \(2,\); expected \(n, feature\)"),
        (PAIRS, {"points": [[1, 2]], "ids": 1}, r"ids has shape \(\); expected \(n,\)"),
        (PAIRS, {"points": [[1], [2]], "ids": [1, 2, 3]}, "differ in entries: points 2, ids 3"),
        (PAIRS, {"points": [[1], [2, 3]], "ids": [1, 2]}, "points has lists of different lengths"),
        (
            PAIRS,
            {"points": [[1]], "ids": [1], "sample_weight": [1]},
            "one number for a whole batch; expected no sample",
        ),
        (FRAMES, {"logits": [1, 2], "y_true": [0], "length": 1}, r"expected \(n, time, classes\)"),
        (
            FRAMES,
            {"logits": [[1, 2], [1, 2]], "y_true": [0, 1, 0], "length": 1},
            "frames differ in length along time: logits 2, y_true 3",
        ),
        (
            PROJECTION,
            {"features": [[1, 2]], "weight": [[1, 2, 3]], "y_true": [0]},
            "differ in length along feature: features 2, weight 3",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(loss, given, text):
    weight = given.get("sample_weight")
    arrays = {name: value for name, value in given.items() if name != "sample_weight"}

    with pytest.raises(LossbenchError, match=text):
        inputs.problem(loss, arrays, dtype="float64", reduction="none", sample_weight=weight)


def test_lists_of_different_lengths_in_a_table_are_named():
    with pytest.raises(LossbenchError, match="lists of different lengths"):
        inputs.of_point(PAIRS, {"points": [["1"], ["1", "2"]], "ids": ["0", "1"]}, "float64", "none")


def cases(loss, points="domain"):
    return list(dict.fromkeys(job.case for job in plan.jobs(SUITE, [loss]) if job.case.points == points))


def test_a_whole_batch_is_drawn_in_every_style_and_never_weighted_where_it_is_one_number():
    found = cases(PAIRS)

    assert {case.shape for case in found} == {(4, 2), (6, 3)}
    assert {case.index for case in found} == {*range(len(STYLES))}
    assert {(case.reduction, case.weighted) for case in found} == {("none", False)}
    assert [case.parameters for case in found].count({"margin": "4"}) == len(STYLES) * 2


def test_losses_of_each_entry_are_reduced_and_weighted():
    assert {(case.reduction, case.weighted) for case in cases(PROJECTION)} == {
        ("none", False),
        ("none", True),
        ("mean", False),
        ("mean", True),
    }


def test_tables_are_as_many_as_their_numbers_allow():
    assert {case.shape for case in cases(FRAMES)} == {(100 // 12, 3, 4)}
    grid = replace(SUITE.accuracy[0], points=1200)
    jobs = plan.jobs(replace(SUITE, accuracy=(grid,)), [FRAMES])
    assert {job.case.shape for job in jobs if job.case.points == "domain"} == {(100, 3, 4)}


def test_specs_say_how_large_what_is_timed_is():
    assert [[case.shape for case in cases(loss, "timing")] for loss in LOSSES] == [
        [(64, 8)],
        [(64, 8, 10)],
        [(16, 20, 10)],
    ]


def test_traffic_counts_every_array_once():
    pairs, projection, frames = (drawn(loss, points="timing", dtype="float32") for loss in LOSSES)
    weighted = drawn(PROJECTION, points="timing", dtype="float32", weighted=True)

    assert timed.traffic(pairs, "forward") == 4 * 64 * 8 + 8 * 64 + 4
    assert timed.traffic(projection, "gradient") == 4 * (64 * 8 + 10 * 8) * 2 + 8 * 64 + 4 * 64
    assert timed.traffic(weighted, "forward") == 4 * (64 * 8 + 10 * 8) + 8 * 64 + 4 * 64 * 2
    assert timed.traffic(frames, "forward") == 4 * 16 * 20 * 10 + 8 * 16 * 20 + 8 * 16 + 4 * 16


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_references_are_short_and_hold(loss, tmp_path):
    path = tmp_path / loss.path.name
    path.write_text(loss.source, encoding="utf-8")

    found = references.refresh(path)

    references.verify(found)
    assert len(found.references) == references.POINTS
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) < 600


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_edges_hold_by_the_mathematics(loss):
    soundness.verify(loss)


def test_an_edge_of_a_batch_is_compared_entry_by_entry(tmp_path):
    path = tmp_path / PAIRS.path.name
    path.write_text(PAIRS.source.replace('[["-2", "0"], ["2", "0"]]', '[["-2", "0"], ["2", "1"]]'), encoding="utf-8")

    with pytest.raises(SpecError, match=r"the gradient of this required edge is .*; expected \[-2, 0, 2, 0\]"):
        soundness.verify(spec.load(path))


def test_references_of_a_batch_are_of_all_its_entries():
    first = references.compute(PROJECTION)[0]

    assert np.shape(first.at["features"]) == (5, 2)
    assert np.shape(first.value) == (5,)
    assert np.shape(first.gradient["weight"]) == (3, 2)


def given(loss, point):
    problem = inputs.of_point(loss, point, "float64", "none")
    return problem.arrays | {name: np.asarray(value) for name, value in problem.parameters.items()}


def test_a_region_is_of_whole_batches_or_of_single_tables():
    batch = given(PAIRS, PAIRS.edges[1].at)
    tables = given(FRAMES, FRAMES.edges[2].at)

    assert declared.inside(PAIRS, "points > 2", batch).tolist() == [True]
    assert declared.inside(PAIRS, "points > 3", batch).tolist() == [False]
    assert declared.inside(PAIRS, "margin == 10", batch).tolist() == [True]
    assert declared.inside(FRAMES, "y_true == blank", tables).tolist() == [False, True]


def test_a_batch_stands_where_all_of_it_does():
    undecided = PROJECTION.edges[2].at

    assert declared.conventional(PROJECTION, "torch", "float64", given(PROJECTION, undecided)).tolist() == [True]
    other = given(PROJECTION, {**undecided, "y_true": ["7", "1"]})
    assert declared.conventional(PROJECTION, "torch", "float64", other).tolist() == [False]


def test_one_number_of_a_batch_stays_so_in_every_reduction():
    pytest.importorskip("torch")
    arrays = {"points": [[0, 0], [2, 0]], "ids": [1, 1]}

    for reduction in ("none", "mean", "sum"):
        got = lossbench.evaluate(PAIRS, "torch", reduction=reduction, **arrays)
        exact = lossbench.reference(PAIRS, reduction=reduction, **arrays)
        assert got.value.shape == exact.value.shape == ()
        assert got.value == exact.value == 2
        assert got.gradient["points"].tolist() == exact.gradient["points"].tolist() == [[-2, 0], [2, 0]]


def test_entries_of_a_batch_are_weighted_and_reduced():
    pytest.importorskip("torch")
    arrays = {"features": [[1], [1]], "weight": [[0], [0]], "y_true": [0, 0], "sample_weight": [1, 3]}

    got = lossbench.evaluate(PROJECTION, "torch", dtype="float64", **arrays)
    mean = lossbench.evaluate(PROJECTION, "torch", dtype="float64", reduction="mean", **arrays)

    assert got.value.tolist() == pytest.approx([np.log(2), 3 * np.log(2)])
    assert mean.value == pytest.approx(2 * np.log(2))
    assert mean.gradient["weight"].tolist() == pytest.approx(np.array([[-1], [1]]))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run of all accuracy jobs, in this process."""
    jobs = [job for job in plan.jobs(SUITE, LOSSES) if job.measure == "accuracy"]
    store = Store.create(tmp_path_factory.mktemp("run"), jobs, LOSSES, SUITE)
    arrays = Arrays(store.path / "arrays")
    by_name, opened = {loss.name: loss for loss in LOSSES}, {}
    for job in jobs:
        if job.target not in opened:
            try:
                opened[job.target] = adapters.load(job.target.framework).open(job.target)
            except ImportError:
                opened[job.target] = None
        if opened[job.target] is not None:
            store.append(worker.perform(opened[job.target], by_name[job.case.loss], job, arrays))
    store.close()
    return store


@pytest.fixture(scope="module")
def measured(store):
    frame = accuracy.jobs(store)
    return frame[frame["reason"] != "no record: the run ended before this job"]


def test_every_case_has_a_reference(store):
    answers = {record.job.key for record in store.records() if isinstance(record, Output)}

    assert [job for job in store.jobs() if job.target == REFERENCE and job.key not in answers] == []


def test_every_call_agrees_with_the_mathematics(measured):
    own = measured[measured["own_call"]]
    poor = own[~own["verdict"].isin(["exact", "faithful", "accurate", "convention"])]

    assert len(own)
    assert poor[["loss", "target", "points", "index", "verdict", "reason"]].to_dict("records") == []


def test_edges_and_divergences_are_judged(store):
    if not {"torch"} & {record.job.target.framework for record in store.records() if isinstance(record, Output)}:
        pytest.skip("torch is not installed")
    edges = accuracy.edges(store)
    divergence = accuracy.divergences(store).iloc[0]
    kink = edges[(edges["loss"] == "pairs") & (edges["index"] == 2) & (edges["framework"] == "torch")].iloc[0]

    assert kink["at"] == "points=[[0, 0], [1, 0]], ids=[1, 2]"
    assert kink["exact_gradient"] == "[[[0, 1], 0], [[-1, 0], 0]]"
    assert divergence["result"] == "confirmed"
    assert divergence["got_gradient"] == "[[1, 1], [1, 1]]"


def test_the_worst_input_is_short(measured):
    texts = [text for what in ("value", "gradient") for text in measured[f"{what}_worst"] if text]

    assert max(map(len, texts)) < 500
    assert any("points=6 x 3 numbers, " in text for text in texts)
    assert any(": points[" in text for text in texts)
    assert any(": weight[" in text for text in texts)


def test_points_are_batches_or_tables(store, measured):
    target = next(iter(measured["target"]))
    batches = accuracy.points(store, "pairs", target, "float32")
    tables = accuracy.points(store, "frames", target, "float32")

    assert len(batches) == 2 * len(STYLES)
    assert len(tables) == 8
    assert list(batches.columns) == ["x", "value_ulp", "gradient_ulp", "exact"]
    assert list(tables.columns) == ["x", "value_ulp", "gradient_ulp", "exact", "length"]


def test_shapes_are_said_with_their_axes(measured):
    assert {*measured[measured["points"] == "domain"]["shape"]} == {
        "batch 4, feature 2",
        "batch 6, feature 3",
        "batch 5, feature 2, class 3",
        "batch 8, time 3, class 4",
    }
