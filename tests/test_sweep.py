"""Whole sweeps with real worker processes of a fake framework, in which errors are planted."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import lossbench
from lossbench import cli, plan, spec
from lossbench.errors import LossbenchError, StoreError
from lossbench.evaluation import reference
from lossbench.records import Target
from lossbench.sweeps import patterns, table, whole
from lossbench.sweeps import plan as planned_shards
from lossbench.sweeps.ask import Asked, NoAnswer, evaluator
from lossbench.sweeps.folder import Folder
from lossbench.sweeps.task import Source, loss_of

FAKE = Path(__file__).parent / "fake_adapter"
LOSS = spec.load("absolute_error")


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))


def sweep(folder, *modes, **options):
    options = {"at": {"y_true": "0"}, "processes": 1} | options
    return whole.sweep("absolute_error", targets=[f"fake:{mode}" for mode in modes], out=folder, **options)


def few(folder, *modes, processes=1):
    """A sweep of the same settings, of few patterns each: those around 1.5."""
    targets = [plan.target(f"fake:{mode}") for mode in modes]
    shards = [replace(one, first=0x3FB0, last=0x3FD0) for one in planned_shards.exhaustive(LOSS, targets, "bfloat16")]
    return whole.completed(Folder.create(folder, shards, [LOSS]), processes=processes)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE))
        patch.setenv("PYTHONPATH", str(FAKE))
        return sweep(tmp_path_factory.mktemp("planted"), "planted", "well")


def row(found, mode):
    frame = found.table()
    return frame[frame["mode"] == mode].iloc[0]


def test_one_ulp_at_one_of_all_inputs_is_found(planted):
    found = row(planted, "planted")

    assert found["value_ulps"] == 1.0
    assert found["value_at"] == "y_pred=0x1.8p+0, y_true=0x0p+0"
    assert (found["value_got"], found["value_exact"]) == ("0x1.82p+0", "1.5")


def test_planted_mismatches_are_counted_and_shown(planted):
    found = row(planted, "planted")
    (cell,) = [one for one in planted.cells if one.first.target.mode == "planted"]

    names = ("nan", "overflowed spuriously", "missed overflow", "pole", "undefined")
    assert [found[f"value {name}"] for name in names] == [1, 1, 1, 1, 254]
    assert found["value_amiss"] == 3
    assert {name: one.at["y_pred"] for name, one in cell.parts["value"].examples.items()} == {
        "nan": "0x1.8p+1",
        "overflowed spuriously": "0x1.4p+2",
        "missed overflow": "inf",
    }


def test_where_the_spec_declares_a_convention_nothing_counts(planted):
    found = row(planted, "planted")  # a gross error is planted at the fit

    assert (found["value convention"], found["gradient convention"]) == (2, 2)
    assert found["value missed zero"] == 0


def test_the_gradient_is_apart(planted):
    found = row(planted, "planted")

    assert found["gradient_ulps"] == 0.0
    assert found["gradient_amiss"] == 0


def test_a_good_framework_has_no_errors(planted):
    found = row(planted, "well")

    assert (found["value_ulps"], found["gradient_ulps"]) == (0.0, 0.0)
    assert found["evaluations"] == 1 << 16
    assert sum(found[f"value {name}"] for name in table.CATEGORIES) == 1 << 16


def test_the_sweep_agrees_with_the_reference_number_by_number(planted):
    """What one ulp is, and where numbers are normal, found anew from the reference alone."""
    x = patterns.numbers(np.arange(1 << 16), "bfloat16")
    x = x[np.isfinite(x) & (x != 0)]
    exact = reference("absolute_error", dtype="bfloat16", y_pred=x, y_true=0.0).value
    got = np.abs(x).astype(np.float64)
    got[x == 1.5] += 2.0**-7
    off = np.abs(got - exact) / np.exp2(np.maximum(np.floor(np.log2(exact)), -126) - 7)
    found = row(planted, "planted")

    assert off.max() == found["value_ulps"]
    assert (exact >= 2.0**-126).sum() - 2 == found["value normal"]  # the two at which no number came out
    assert (exact < 2.0**-126).sum() == found["value subnormal"]


def test_what_the_numbers_are_worth_is_said(planted, tmp_path):
    searched = sweep(tmp_path, "planted", at=None, method="search", evaluations=10)

    assert set(planted.table()["label"]) == {"exhaustive: a bound"}
    assert set(planted.table()["scope"]) == {"every y_pred, at 1 setting of the rest"}
    assert list(searched.table()["label"]) == ["searched: a lower bound"]
    assert searched.table()["scope"][0].endswith("evaluations, seed 0")


def test_a_finite_target_makes_it_a_bound_of_the_whole_loss(tmp_path):
    found = whole.sweep("perceptron", targets=["fake:well"], dtypes=["float16"], processes=1, out=tmp_path)

    assert found.table()["label"][0] == "exhaustive: a bound"
    assert found.table()["scope"][0] == "the whole loss"


def test_what_was_not_swept_whole_is_no_bound(planted):
    (cell,) = [one for one in planted.cells if one.first.target.mode == "well"]
    half = [replace(one, shard=replace(one.shard, last=one.shard.last // 2)) for one in cell.tallies]
    cut = table.Cell(LOSS, cell.planned, half)

    assert cut.label == "exhaustive in part: a lower bound"
    assert table.Cell(LOSS, cell.planned, []).label == "no answer"


def test_two_processes_find_what_one_finds(tmp_path):
    one = few(tmp_path / "one", "planted", "well")
    two = few(tmp_path / "two", "planted", "well", processes=2)

    assert one.digest == two.digest
    assert one.table()["value_ulps"].tolist() == two.table()["value_ulps"].tolist()
    assert two.rates()["processes"].tolist() == [2]


def test_a_sweep_that_was_cut_off_goes_on_and_repeats_nothing(tmp_path):
    done = few(tmp_path / "cut", "planted", "well")
    path = done.path / "shards.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][: len(lines[2]) // 2])

    again = whole.sweep(resume=done.path, processes=1)

    assert again.digest == done.digest
    assert path.read_bytes().splitlines(keepends=True)[:2] == lines[:2]
    assert len(path.read_bytes().splitlines()) == len(lines)
    assert again.rates()["shards"].tolist() == [len(lines), len(lines) - 2]


def test_what_is_done_is_not_done_again(planted):
    before = (planted.path / "shards.jsonl").read_bytes()

    assert whole.sweep(resume=planted.path, processes=1).digest == planted.digest
    assert (planted.path / "shards.jsonl").read_bytes() == before


def test_a_framework_that_dies_costs_one_shard(tmp_path):
    found = few(tmp_path / "mortal", "mortal")

    (lost,) = found.unanswered()
    assert (lost.reason, lost.shard.at) == ("crashed", {"y_true": "1"})
    assert lost.detail.startswith("killed by SIGKILL")
    assert len(found.records) == len(found.folder.shards()) == 5
    assert found.table()["label"].tolist() == ["exhaustive in part: a lower bound"]
    assert found.table()["unanswered"].tolist() == [1]


def test_a_process_that_dies_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSBENCH_FAKE_ONCE", str(tmp_path / "once"))
    dying = few(tmp_path / "dying", "parricide", processes=2)

    assert (tmp_path / "once").exists()
    assert dying.unanswered() == []
    assert dying.digest == few(tmp_path / "living", "parricide").digest


def test_a_shard_that_ends_every_process_is_given_up(tmp_path):
    found = few(tmp_path / "parricide", "parricide", processes=2)

    (lost,) = found.unanswered()
    assert (lost.reason, lost.shard.at) == ("crashed", {"y_true": "1"})
    assert lost.detail == "the process that performed it was killed by SIGKILL, 2 times"
    assert len(found.records) == 5


def test_who_cannot_be_opened_is_asked_once(tmp_path):
    found = few(tmp_path / "none", "closed", "stillborn")

    assert {one.reason for one in found.unanswered()} == {"not installed"}
    assert set(found.table()["label"]) == {"no answer"}
    assert "fake finds no such device here" in found.table()["reason"][0]


def test_the_environment_is_recorded_once_for_each_worker(planted):
    made = [one.environment for one in planted.records if one.environment is not None]

    assert [one.target.mode for one in made] == ["planted", "well"]
    assert {one.versions["fake"] for one in planted.records} == {"1.0"}


def test_numbers_come_back_bit_for_bit():
    x = np.array([0.5, np.inf, -np.inf, np.nan, -0.0, 1e-45, 3e38], np.float32)
    with evaluator(Target(framework="fake", mode="well"), LOSS, "float32") as ask:
        first = ask({"y_pred": x, "y_true": np.zeros(7)})
        second = ask({"y_pred": -x, "y_true": np.zeros(7)})

    assert first["value"].dtype == np.float32
    assert first["value"].tobytes() == np.abs(x).tobytes()
    assert second["gradient.y_pred"].tobytes() == np.sign(-x).tobytes()


def test_a_lost_worker_is_opened_again():
    asked = Asked(Target(framework="fake", mode="mortal"))
    x = np.ones(1)
    try:
        with pytest.raises(NoAnswer, match="crashed: killed by SIGKILL") as lost:
            asked(LOSS, "float32", {"y_pred": x, "y_true": x}, {})
        again = asked(LOSS, "float32", {"y_pred": x, "y_true": 0 * x}, {})
    finally:
        asked.close()

    assert lost.value.reason == "crashed"
    assert again["value"] == 1.0


def test_what_a_target_refuses_is_said():
    asked = Asked(Target(framework="fake", mode="refuses"))
    try:
        with pytest.raises(NoAnswer, match="unsupported: fake has no sums"):
            asked(LOSS, "float32", {"y_pred": np.ones(2), "y_true": np.ones(2)}, {}, reduction="sum")
    finally:
        asked.close()


def test_a_source_makes_the_same_loss():
    assert loss_of(Source.of(LOSS)).digest == LOSS.digest


def test_the_folder_is_locked_while_it_is_written(planted):
    folder = Folder.open(planted.path)
    folder.records.lock()
    try:
        with pytest.raises(StoreError, match="is in use"):
            whole.sweep(resume=planted.path)
    finally:
        folder.close()


def test_the_api_has_sweeps():
    assert callable(lossbench.sweep)
    with pytest.raises(LossbenchError, match="unknown dtype 'int8'"):
        lossbench.sweep("huber", dtypes=["int8"])


@pytest.fixture
def command(monkeypatch, capsys):
    """What a shell would see of `lossbench sweep`: exit code, what was printed, and what went wrong."""

    def command(*args):
        monkeypatch.setattr(sys, "argv", ["lossbench", "sweep", *args])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return command


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "expected names of losses, or --all"),
        (("huber", "--all"), "expected names of losses, or --all"),
        (("hubris",), "unknown loss 'hubris'"),
        (("huber", "--dtype", "int8"), "unknown dtype 'int8'"),
        (("huber", "--target", "abacus"), "unknown framework 'abacus'"),
        (("huber", "--exhaustive", "--search"), "exclude each other"),
        (("huber", "--exhaustive", "--dtype", "float64"), "too many float64 numbers"),
        (("huber", "--at", "y_true"), "expected NAME=NUMBER"),
        (("huber", "--shard", "5/3"), "expected K/N"),
        (("huber", "--processes", "0"), "0 processes cannot do anything; expected at least 1"),
        (("huber", "--search", "--evaluations", "0"), "0 evaluations find nothing; expected at least 1"),
        (("huber", "--resume", "nowhere"), "a resumed sweep does what was planned"),
        (("--resume", "nowhere"), "nowhere: no such folder; expected that of a sweep"),
    ],
)
def test_bad_requests_are_one_line_and_exit_code_2(command, args, words, tmp_path):
    code, _, said = command(*args, *(() if "--resume" in args else ("--out", str(tmp_path))))

    assert code == 2
    assert words in said


def test_the_command_prints_what_it_found(command, tmp_path):
    where = ("--target", "fake:planted", "--at", "y_true=0", "--processes", "1", "--out", str(tmp_path))
    code, printed, _ = command("absolute_error", *where, "--json")

    said = json.loads(printed)
    assert code == 0
    assert said["rows"][0]["value_ulps"] == 1.0
    assert said["label"] == {"exhaustive: a bound": 1}
    assert Path(said["page"]).exists()
    assert said["sessions"][0]["evaluations"] == 1 << 16


def test_a_crash_is_exit_code_3(command, tmp_path):
    where = ("--target", "fake:mortal", "--at", "y_true=1", "--processes", "1", "--out", str(tmp_path))

    assert command("absolute_error", *where)[0] == 3


def test_a_dry_run_makes_nothing(command, tmp_path):
    code, printed, _ = command("huber", "hinge", "--dry-run", "--out", str(tmp_path / "out"))

    assert code == 0
    assert "32 shards, 2,097,152 inputs" in printed
    assert not (tmp_path / "out").exists()
