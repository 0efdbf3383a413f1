"""Two runs compared: planted defects are found with their input, what is missing is never fine, times are judged."""

import json
import math
import shutil
from collections import Counter
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import planted_slowdowns
import pytest
from msgspec.structs import replace
from small_run import JAX, TORCH, small_run
from typer.testing import CliRunner

import lossbench
from lossbench import cli, harness, records, spec
from lossbench.comparing import confirm, matching, pairs, rule
from lossbench.errors import LossbenchError
from lossbench.records import REFERENCE, Case, Environment, Job, Output, Refusal, Target, Timing
from lossbench.store import Store
from lossbench.suite import Sampling, Suite

PLANTED = Path(__file__).parent / "planted_adapter"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return Store.open(small_run(tmp_path_factory.mktemp("run")).path)


@pytest.fixture
def doctor(base, tmp_path):
    """Another run: the same with each record edited; one for which there is nothing is left out."""
    numbers = count()

    def made(edit, jobs=None) -> Store:
        folder = tmp_path / f"head-{next(numbers)}"
        shutil.copytree(base.path, folder)
        store = Store.open(folder)
        edited = [edit(one, store) for one in base.records()]
        lines = [records.encode(one) + b"\n" for one in edited if one is not None]
        (folder / "records.jsonl").write_bytes(b"".join(lines))
        if jobs is not None:
            kept = [line for line in (folder / "jobs.jsonl").read_bytes().splitlines(True) if jobs(line)]
            (folder / "jobs.jsonl").write_bytes(b"".join(kept))
        return store

    return made


def same(one, store):
    return one


def planted(loss, name, change, target=TORCH, dtype="float32", points="domain", reduction="none"):
    """An edit that changes one array of one case by one of its entries."""

    def edit(one, store):
        if not isinstance(one, Output) or one.job.target != target or one.job.measure != "accuracy":
            return one
        case = one.job.case
        if (case.loss, case.dtype, case.points, case.reduction) != (loss, dtype, points, reduction):
            return one
        array = store.array(one.arrays[name]).copy()
        flat = array.reshape(-1)
        flat[7] = change(flat[7])
        return replace(one, arrays={**one.arrays, name: store.put(array)})

    return edit


def timed(edit):
    """An edit of all timings."""
    return lambda one, store: edit(one) if isinstance(one, Timing) else one


def processes(times, job=None):
    """An edit that makes every timing one of fresh processes: of each so many seconds for a call."""

    def edit(one):
        if job is not None and not job(one.job):
            return one
        numbers = [number for number in range(len(times)) for _ in range(4)]
        seconds = [times[number] * (1 + 0.001 * sample) for number in range(len(times)) for sample in range(4)]
        return replace(one, seconds=seconds, cpu=seconds, processes=numbers, turns=numbers)

    return timed(edit)


def chain(*edits):
    def edit(one, store):
        for each in edits:
            one = one if one is None else each(one, store)
        return one

    return edit


def single(one, store):
    """Every target had one thread."""
    return replace(one, settings={"LOSSBENCH_THREADS": "1"}) if isinstance(one, Environment) else one


def invoke(*args):
    return CliRunner().invoke(cli.app, ["compare", *map(str, args)], catch_exceptions=False)


def changed(done):
    return done.results[~done.results["change"].isin(["same", "new", "dropped"])]


def test_a_run_beside_itself_is_the_same(base):
    done = lossbench.compare(base, base)

    assert set(done.results["change"]) == {"same"}
    assert set(done.speed["verdict"]) == {"inconclusive"}  # two turns say nothing
    assert done.exit_code == 0
    assert done.differ == ()


def test_notebook_shows_what_changed(base, doctor):
    same = lossbench.compare(base, base)
    done = lossbench.compare(base, doctor(planted("huber", "gradient.y_pred", lambda _: np.nan)))

    assert "<table>" not in same._repr_html_()
    assert "nothing newly failing" in repr(same)
    assert "newly failing" in done._repr_html_()
    assert "<table>" in done._repr_html_()


def test_one_ulp_more_is_worse_with_the_input_and_a_script(base, doctor):
    head = doctor(planted("huber", "value", lambda value: np.nextafter(value, np.float32(np.inf))))

    done = lossbench.compare(base, head)

    (row,) = changed(done).query("change == 'worse'").to_dict("records")
    assert (row["loss"], row["target"], row["what"]) == ("huber", "torch:eager:cpu", "value")
    assert row["before"] == "0.5 ulp"
    assert 1.0 <= float(row["now"].split()[0]) <= 1.5
    assert row["worst"].startswith("y_pred=")
    assert "0x" in row["worst"]
    assert "F.huber_loss" in row["script"]
    assert done.exit_code == 1


def test_a_nan_is_newly_failing_with_the_input_and_a_script(base, doctor):
    done = lossbench.compare(base, doctor(planted("huber", "gradient.y_pred", lambda _: np.nan)))

    (row,) = changed(done).query("change == 'newly failing'").to_dict("records")
    assert row["now"].startswith("wrong")
    assert "got nan" in row["worst"]
    assert "torch.autograd.grad" in row["script"]
    assert done.results["change"].iloc[0] == "newly failing"
    assert done.exit_code == 1


def test_a_number_for_an_empty_batch_is_newly_failing(base, doctor):
    def zero(one, store):
        asked = isinstance(one, Output) and one.job.target == TORCH and one.job.case.points == "edge"
        if not asked or one.job.case.loss != "huber":
            return one
        edge = spec.load("huber").edges[one.job.case.index]
        if edge.at["y_pred"] != [] or edge.reduction != "sum":
            return one
        return replace(one, arrays={**one.arrays, "value": store.put(np.array(7, np.float32))})

    (row,) = changed(lossbench.compare(base, doctor(zero))).to_dict("records")

    assert row["change"] == "newly failing"
    assert row["script"] == ""  # there is no point at which it could be shown


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["value", "gradient.logits"])
@pytest.mark.parametrize("target", [TORCH, JAX], ids=lambda one: one.framework)
@pytest.mark.parametrize("defect", [np.nan, np.inf, -1e9])
def test_every_planted_defect_is_found(base, doctor, dtype, name, target, defect):
    edit = planted("softmax_cross_entropy", name, lambda _: defect, target, dtype)

    done = lossbench.compare(base, doctor(edit))

    (row,) = changed(done).query("change == 'newly failing'").to_dict("records")
    assert (row["dtype"], row["target"]) == (dtype, target.name)
    assert "logits=" in row["worst"]
    assert done.exit_code == 1


def test_a_repaired_result_is_newly_passing(base, doctor):
    broken = doctor(planted("huber", "value", lambda _: np.nan))

    done = lossbench.compare(broken, base)

    assert changed(done)["change"].tolist() == ["newly passing"]
    assert done.exit_code == 0


def test_a_smaller_error_is_better(base, doctor):
    worse = doctor(planted("huber", "value", lambda value: value * np.float32(1 + 1e-6)))

    done = lossbench.compare(worse, base)

    (row,) = changed(done).to_dict("records")
    assert (row["change"], row["now"], row["worst"]) == ("better", "0.5 ulp", "")


def test_what_has_no_right_digit_gets_neither_worse_nor_better(base, doctor):
    garbage, other = (doctor(planted("huber", "value", lambda _, by=by: by)) for by in (1e30, 1e36))

    done = lossbench.compare(garbage, other)

    assert not len(changed(done))


def test_a_sum_within_an_ulp_is_no_news(base, doctor):
    head = doctor(planted("softmax_cross_entropy", "gradient.logits", lambda value: value, reduction="mean"))

    assert not len(changed(lossbench.compare(base, head)))


def test_on_another_processor_only_a_new_sort_of_mismatch_is_worse(base, doctor):
    def elsewhere(one, store):
        return replace(one, machine={"processor": "another"}) if isinstance(one, Environment) else one

    ulp = planted("huber", "value", lambda value: np.nextafter(value, np.float32(np.inf)))
    nan = planted("huber", "gradient.y_pred", lambda _: np.nan)

    done = lossbench.compare(base, doctor(chain(elsewhere, ulp, nan)))

    assert changed(done)["change"].tolist() == ["newly failing"]
    assert "processor a processor -> another" in done.differ


def refused(reason, detail, target=TORCH):
    """An edit after which a target has no answers; one that is not installed has not even started."""

    def edit(one, store):
        if isinstance(one, Environment) and one.target == target and reason == "not installed":
            return None
        ours = isinstance(one, Output | Timing | Refusal) and replace(one.job.target, twin=False) == target
        return Refusal(job=one.job, reason=reason, detail=detail) if ours else one

    return edit


def test_a_framework_that_is_missing_is_not_measured_and_never_fine(base, doctor):
    head = doctor(refused("not installed", "No module named 'torch'"))

    done = lossbench.compare(base, head)

    torch = done.results[done.results["target"] == TORCH.name]
    assert set(torch["change"]) == {"not measured"}
    assert set(done.speed.loc[done.speed["target"] == TORCH.name, "verdict"]) == {"not measured"}
    assert done.exit_code == 3
    assert "not measured" in done.verdict


def test_a_target_that_nobody_asked_is_not_measured_either(base, doctor):
    head = doctor(same, jobs=lambda line: b'"framework":"torch"' not in line)

    done = lossbench.compare(base, head)

    assert set(done.results.loc[done.results["target"] == TORCH.name, "change"]) == {"not measured"}
    assert done.exit_code == 3


def test_a_case_that_nobody_asked_is_dropped_and_one_more_is_new(base, doctor):
    less = doctor(same, jobs=lambda line: b'"points":"edge"' not in line)

    assert "dropped" in set(lossbench.compare(base, less).results["change"])
    assert lossbench.compare(base, less).exit_code == 0
    assert "new" in set(lossbench.compare(less, base).results["change"])


def test_a_framework_that_says_no_where_it_answered_is_newly_failing(base, doctor):
    done = lossbench.compare(base, doctor(refused("failed", "TypeError: unexpected keyword 'delta'")))

    torch = done.results[done.results["target"] == TORCH.name]
    assert set(torch["change"]) == {"newly failing", "worse"}  # the declared defect was wrong before
    assert torch["now"].str.contains("unexpected keyword 'delta'").all()
    assert set(done.speed.loc[done.speed["target"] == TORCH.name, "verdict"]) == {"newly failing"}
    assert done.exit_code == 1


def test_a_run_that_was_cut_off_is_not_measured(base, doctor):
    head = doctor(lambda one, store: None if isinstance(one, Output) and one.job.target == JAX else one)

    done = lossbench.compare(base, head)

    assert done.exit_code == 3
    assert done.results["now"].str.contains("the run ended before this job").any()


def test_what_got_worse_weighs_more_than_what_was_not_measured(base, doctor):
    edit = chain(planted("huber", "value", lambda _: np.nan), refused("not installed", "no jax", JAX))

    done = lossbench.compare(base, doctor(edit))

    assert done.exit_code == 1
    assert done.results["change"].iloc[0] == "newly failing"


def test_what_cannot_be_compared_with_the_reference_is_not_measured(base, doctor):
    def without_reference(one, store):
        return None if isinstance(one, Output) and one.job.target == REFERENCE else one

    edit = chain(planted("huber", "value", lambda _: np.nan), without_reference)

    found = changed(lossbench.compare(base, doctor(edit)))

    assert set(found["change"]) == {"not measured"}
    assert set(found["now"]) == {"nothing to compare with: the reference has no record of this case"}


def test_another_formula_is_said(base, doctor):
    def edit(one, store):
        of = getattr(one, "job", None)
        if of is None or of.case.loss != "huber":
            return one
        return replace(one, job=replace(of, case=replace(of.case, digest="another")))

    head = doctor(edit)
    jobs = head.path / "jobs.jsonl"
    digest = lossbench.load("huber").digest
    jobs.write_text(jobs.read_text(encoding="utf-8").replace(digest, "another"), encoding="utf-8")

    done = lossbench.compare(base, head)

    huber = done.results[done.results["loss"] == "huber"]
    assert set(huber["change"]) == {"changed case"}
    assert huber["changed"].all()
    assert set(done.results.loc[done.results["loss"] != "huber", "change"]) == {"same"}
    assert done.exit_code == 0


def test_two_targets_of_one_run_are_compared(base):
    done = lossbench.compare(base, targets=("torch", "jax"))

    worse = done.results[done.results["change"] == "worse"]
    assert set(worse["what"]) == {"gradient"}  # small_run's jax is three ulps off there
    assert set(done.results["target"]) == {"torch:eager:cpu -> jax:compiled:cpu"}
    assert done.exit_code == 1


def test_labels_are_compared_mode_by_mode(tmp_path):
    huber = lossbench.load("huber")
    case = Case(loss="huber", digest=huber.digest, dtype="float32", points="domain", shape=(5,))
    old, new = (
        [Target(framework="torch", label=label), Target(framework="torch", mode="compiled", label=f"{label}:compiled")]
        for label in ("torch-old", "torch-new")
    )
    jobs = [Job(case=case, target=target, measure="accuracy") for target in (*old, *new)]
    store = Store.create(tmp_path / "run", jobs, [huber], Suite(name="tiny", summary="for tests", targets=("torch",)))

    before, after = matching.two(store, store, "torch-old", "torch-new")
    alone, other = matching.two(store, store, "torch-old", "torch-new:compiled")

    assert list(before.who) == old
    assert list(after.who) == new
    assert list(before.who.values()) == list(after.who.values())
    assert len(matching.matched(before, after)) == 2
    assert list(other.who) == [new[1]]
    assert list(alone.who) == [old[1]]


def test_targets_that_differ_in_their_python_alone_are_the_same(base, doctor):
    def moved(one, store):
        if isinstance(one, Environment):
            return replace(one, target=replace(one.target, interpreter="/new/python"))
        of = getattr(one, "job", None)
        if of is None or of.target.framework == "reference":
            return one
        return replace(one, job=replace(of, target=replace(of.target, interpreter="/new/python")))

    head = doctor(moved)
    lines = []
    for line in (head.path / "jobs.jsonl").read_bytes().splitlines(True):
        for own in (b'"framework":"torch"', b'"framework":"jax"'):
            line = line.replace(own, own + b',"interpreter":"/new/python"')
        lines.append(line)
    (head.path / "jobs.jsonl").write_bytes(b"".join(lines))

    assert set(lossbench.compare(base, head).results["change"]) == {"same"}


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        ([1.02, 1.021, 1.019, 1.02, 1.022, 1.018, 1.02], "slower"),
        ([0.97, 0.971, 0.969, 0.97, 0.972, 0.968, 0.97], "faster"),
        ([1.0, 1.001, 0.999, 1.0, 1.002, 0.998, 1.0], "same"),
        ([1.3, 0.8, 1.1, 0.9, 1.2, 0.85, 1.4], "inconclusive"),  # noise too large to say
        ([1.2, 1.3], "inconclusive"),  # too few to say
    ],
)
def test_times_of_processes_are_called_what_they_are(times, verdict):
    assert rule.decide([1.0] * len(times), times).verdict() == verdict


def test_the_shift_is_that_of_hodges_and_lehmann_with_an_interval_around_it():
    logs = [0.01, 0.02, 0.03, 0.04, 0.5]
    found = rule.decide(np.ones(5), np.exp(logs))

    assert math.log(found.ratio) == pytest.approx(0.03)  # the median of the 15 means of two
    assert found.low < found.ratio < found.high


def test_a_drift_that_both_share_is_no_difference():
    drift = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0])

    found = rule.decide(drift, drift * [1.05, 1.051, 1.049, 1.05, 1.052, 1.048, 1.05])

    assert found.verdict() == "slower"
    assert rule.decide(drift, drift[::-1]).verdict() == "inconclusive"


def test_five_that_do_not_agree_are_never_sure():
    assert rule.decide(np.ones(5), [1.5, 1.5, 1.5, 1.5, 1.009]).p_slower == 1.0


def test_one_slow_sample_does_not_stand_for_a_process():
    assert rule.time_of([1.0, 1.0, 1.0, 50.0]) == 1.0


def test_a_table_makes_chance_less_likely():
    assert rule.adjusted([0.01, 1.0, 1.0, 1.0]).tolist() == [0.04, 1.0, 1.0, 1.0]
    assert rule.adjusted([]).tolist() == []


def test_the_fence_is_that_of_tukey():
    assert rule.fence([-0.01, 0.02, -0.03, 0.04, 0.05]) == pytest.approx(0.04 + 3 * 0.02)
    assert rule.fence([0.07]) == 0.07
    assert rule.fence([]) == 0.0


def times_only(line):
    return b'"measure":"accuracy"' not in line


STEADY = [1e-3, 1.001e-3, 0.999e-3, 1.0e-3, 1.002e-3, 0.998e-3, 1.0e-3]
SLOW = [1.1 * one for one in STEADY]


def only_torch(job):
    return job.target.framework == "torch" and job.case.loss == "huber"  # its twin, too


def test_processes_in_pairs_show_what_is_slower(base, doctor):
    before = doctor(chain(single, processes(STEADY)), times_only)
    after = doctor(chain(single, processes(STEADY), processes(SLOW, only_torch)), times_only)

    done = lossbench.compare(before, after)

    slower = done.speed[done.speed["verdict"] == "slower"]
    assert set(zip(slower["loss"], slower["target"], strict=True)) == {("huber", TORCH.name)}
    assert slower["ratio"].tolist() == pytest.approx([1.1] * len(slower))
    assert set(slower["evidence"]) == {"7 pairs of processes, processor time"}
    assert set(done.speed["verdict"]) == {"slower", "same"}
    assert done.exit_code == 1


def test_wall_time_counts_where_there_are_several_threads(base, doctor):
    before, after = doctor(processes(STEADY), times_only), doctor(processes(SLOW), times_only)

    assert set(lossbench.compare(before, after).speed["evidence"]) == {"7 pairs of processes, wall time"}


def test_turns_of_one_process_say_less(base, doctor):
    def turns(factor):
        def edit(one):
            seconds = [factor * 1e-3 * (1 + 0.001 * turn) for turn in range(8)]
            return replace(one, seconds=seconds, turns=list(range(8)))

        return timed(edit)

    one, five, twenty = (doctor(turns(factor), times_only) for factor in (1.0, 1.05, 1.2))

    assert set(lossbench.compare(one, five).speed["verdict"]) == {"inconclusive"}
    assert set(lossbench.compare(one, twenty).speed["verdict"]) == {"slower"}
    assert lossbench.compare(one, twenty).speed["evidence"].str.endswith("weak").all()


def test_what_a_control_shows_as_a_difference_is_none(base, doctor):
    twice = processes([1.2 * one for one in STEADY], lambda job: job.target.twin)
    before = doctor(chain(single, processes(STEADY), twice), times_only)
    after = doctor(chain(single, processes(SLOW)), times_only)

    done = lossbench.compare(before, after)

    assert "slower" not in set(done.speed["verdict"])
    assert done.speed["bound"].min() == pytest.approx(1.2)


def test_what_changes_from_run_to_run_anyway_is_no_news(base, doctor, tmp_path):
    jumping = [doctor(processes([by * one for one in STEADY]), times_only) for by in (1, 1.3, 1, 1.3, 1, 1.3)]
    before = doctor(chain(single, processes(STEADY)), times_only)
    after = doctor(chain(single, processes(SLOW)), times_only)

    done = lossbench.compare(before, after, history=jumping[0].path.parent)

    assert "slower" not in set(done.speed["verdict"])
    assert done.speed["bound"].min() == pytest.approx(1.3)
    with pytest.raises(LossbenchError, match="has no runs"):
        lossbench.compare(before, after, history=tmp_path / "head-0")


def test_runs_without_a_case_in_common_are_a_bad_request(base, doctor):
    huber = doctor(same, jobs=lambda line: b'"huber"' in line)
    others = doctor(same, jobs=lambda line: b'"huber"' not in line)

    with pytest.raises(LossbenchError, match="no case in common"):
        lossbench.compare(huber, others)


def test_bad_requests_say_what_was_expected(base):
    assert_says(["compare", base.path], "one run alone has nothing to be compared with")
    assert_says(["compare", base.path, "--base", "torch"], "--base and --head go together")
    assert_says(["compare", base.path, "--base", "torch", "--head", "mlx"], "has no target 'mlx'; expected one of: jax")
    assert_says(["compare", base.path, base.path / "nowhere"], "no such folder")


def assert_says(args, text):
    with pytest.raises(LossbenchError, match=text):
        CliRunner().invoke(cli.app, [str(arg) for arg in args], catch_exceptions=False)


def test_the_command_says_the_worst_first_and_leaves_with_the_code(base, doctor, tmp_path):
    edit = chain(
        planted("huber", "gradient.y_pred", lambda _: np.nan),
        planted("huber", "value", lambda value: np.nextafter(value, np.float32(np.inf))),
        refused("not installed", "no jax", JAX),
    )
    head = doctor(edit)

    done = invoke(base.path, head.path, "--markdown", tmp_path / "m.md", "--junit", tmp_path / "j.xml")

    assert done.exit_code == 1
    assert done.stdout.index("newly failing") < done.stdout.index("not measured")
    assert "torch.autograd.grad" in done.stdout
    text = (tmp_path / "m.md").read_text(encoding="utf-8")
    assert text.startswith("## ❌ 1 newly failing")
    assert "<details><summary>Unchanged" in text
    root = ET.parse(tmp_path / "j.xml").getroot()
    rows = json.loads(invoke(base.path, head.path, "--json").stdout)
    assert int(root.get("failures")) == len(root.findall(".//failure")) == 1
    assert int(root.get("errors")) == rows["counts"]["not measured"]
    assert int(root.get("tests")) == len(root.findall(".//testcase")) == len(rows["results"]) + len(rows["speed"])
    assert rows["exit_code"] == 1


def test_the_command_leaves_with_nothing_and_with_what_is_missing(base, doctor):
    assert invoke(base.path, base.path).exit_code == 0
    assert invoke(base.path, doctor(refused("not installed", "no jax", JAX)).path).exit_code == 3


def test_markdown_is_cut_and_says_so(base, doctor, monkeypatch):
    from lossbench.comparing import markdown

    head = doctor(refused("failed", "TypeError: |no| <script>"))
    done = lossbench.compare(base, head)

    assert "\\|no\\| &lt;script&gt;" in done.markdown()
    monkeypatch.setattr(markdown, "MOST", 12_000)
    text = done.markdown()
    assert len(text.encode()) <= 12_000
    assert "more rows do not fit here" in text


def test_a_step_summary_is_written_where_github_wants_it(base, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    invoke(base.path, base.path)

    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("## ✅ nothing newly failing")


@pytest.fixture(scope="module")
def _planted():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLANTED))
        patch.setenv("PYTHONPATH", str(PLANTED))
        yield


@pytest.fixture(scope="module")
def planted_run(_planted, tmp_path_factory):
    """A run of real workers: the same call as two targets, of which one has a twentieth more to do."""
    huber = lossbench.load("huber")
    case = Case(loss="huber", digest=huber.digest, dtype="float32", points="timing", shape=(10,), reduction="mean")
    targets = [Target(framework="planted", mode=mode) for mode in ("0", "5")]
    jobs = [Job(case=case, target=target, measure="gradient") for target in targets]
    sampling = Sampling(samples=5, turns=5, processes=5, min_sample=1e-4, twin=False)
    suite = Suite(name="tiny", summary="for tests", targets=("planted",), threads=1, sampling=sampling)
    store = Store.create(tmp_path_factory.mktemp("planted") / "run", jobs, [huber], suite)
    harness.run(store)
    return store


def test_a_suspect_is_measured_again_by_fresh_processes_of_both(planted_run, monkeypatch):
    monkeypatch.setattr(pairs, "MOST", rule.FEWEST)
    monkeypatch.setattr(pairs, "SECONDS", 0.01)
    monkeypatch.setattr(confirm, "suspects", lambda found: found)  # whatever the machine does meanwhile

    done = lossbench.compare(planted_run, targets=("planted:0", "planted:5"), confirm=True)

    (row,) = done.speed.to_dict("records")
    assert row["evidence"] == "5 pairs side by side"
    assert row["reason"] == ""
    assert row["verdict"] in rule.VERDICTS
    assert row["low"] <= row["ratio"] <= row["high"]


def test_a_worker_that_is_lost_ends_a_confirmation_and_is_named(planted_run, monkeypatch):
    monkeypatch.setattr(confirm, "suspects", lambda found: found)
    monkeypatch.setattr(pairs, "SLOWEST", 0.0)

    done = lossbench.compare(planted_run, targets=("planted:0", "planted:5"), confirm=True)

    (row,) = done.speed.to_dict("records")
    assert row["verdict"] == "inconclusive"
    assert "timed out" in row["reason"]


def test_what_ran_with_another_version_cannot_be_confirmed(planted_run, tmp_path, monkeypatch):
    monkeypatch.setattr(confirm, "suspects", lambda found: found)
    shutil.copytree(planted_run.path, tmp_path / "older")
    records_of = tmp_path / "older" / "records.jsonl"
    text = records_of.read_text(encoding="utf-8")
    records_of.write_text(text.replace('"planted":"1.0"', '"planted":"0.9"'), encoding="utf-8")

    done = lossbench.compare(tmp_path / "older", targets=("planted:0", "planted:5"), confirm=True)

    (row,) = done.speed.to_dict("records")
    assert row["reason"] == "cannot be confirmed: planted:0:cpu ran with planted 0.9; here is planted 1.0"


def test_suspects_are_those_that_may_be_slower():
    rows = [("slower", 1.1), ("inconclusive", 1.1), ("inconclusive", 1.001), ("same", 1.0), ("faster", 0.9)]
    found = pd.DataFrame([{"verdict": verdict, "ratio": ratio, "bound": 1.01} for verdict, ratio in rows])

    assert confirm.suspects(found).index.tolist() == [0, 1]


def test_the_experiment_has_the_comparisons_that_it_says():
    asked = Counter(planted for planted, _, _ in planted_slowdowns.comparisons(50))

    assert asked == {"0": 200, "2": 50, "5": 50, "10": 50, "20": 50}
    assert len({(size, measure) for planted, size, measure in planted_slowdowns.comparisons(50) if planted == "2"}) == 4


def test_the_experiment_counts_what_was_found_and_what_was_not():
    found = [{"planted": "2", "verdict": verdict, "base": [1.0] * 5, "ratio": 1.02} for verdict in ("slower", "same")]

    last = planted_slowdowns.table(found).splitlines()[-1]

    assert last == "| 2 % | 2 | 1 (50.0%) | 1.3% to 98.7% | 0 | 1 | 0 | 5.0 | 1.0200 |"
