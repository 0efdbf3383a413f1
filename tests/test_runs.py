"""A whole run by the interface that people use, with a fake framework and the true reference."""

from datetime import datetime
from pathlib import Path

import pytest

from lossbench import runs, spec
from lossbench.errors import LossbenchError, SpecError, StoreError
from lossbench.records import REFERENCE, Output, Refusal

FAKE = Path(__file__).parent / "fake_adapter"
SUITE = """
summary = "for tests"
targets = ["fake:well", "fake:killed"]
deadline = 60

[[accuracy]]
dtypes = ["float32"]
points = 20
reductions = ["none", "sum"]

[[timing]]
dtypes = ["float32"]
elements = [100]

[sampling]
samples = 2
turns = 2
min_sample = 0.0001
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "own.toml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE))
        patch.setenv("PYTHONPATH", str(FAKE))
        yield runs.run(folder / "own.toml", losses=["huber"], out=folder / "out")


def test_a_run_ends_with_a_page_and_tables(done):
    assert done.page.is_file()
    assert done.path.name.endswith("-own")
    assert set(done.accuracy()["target"]) == {"fake:well:cpu", "fake:killed:cpu"}
    assert len(done.speed()) == 2 * 2  # targets x measures; the twin is a control and no row


def test_every_planned_job_has_its_record(done):
    assert done.store.done() == {job.key for job in done.store.jobs()}
    reference = [one for one in done.store.records() if isinstance(one, Output) and one.job.target == REFERENCE]
    assert len(reference) == 2


def test_refusals_are_counted_by_reason(done):
    assert done.refusals() == {"crashed": 1}
    assert [one.detail for one in done.store.records() if isinstance(one, Refusal)] == [
        "killed by SIGKILL; see logs/fake-killed-cpu.log, which ends: hello from the import of a framework"
    ]


def test_a_run_that_is_over_can_be_gone_on_with_and_reported_again(done):
    before = (done.path / "records.jsonl").read_bytes()
    done.page.unlink()

    assert runs.run(resume=done.path).page.is_file()
    done.page.unlink()
    assert runs.reported(done.path).page.is_file()
    assert (done.path / "records.jsonl").read_bytes() == before


def test_a_resumed_run_cannot_be_asked_for_something_else(done):
    with pytest.raises(LossbenchError, match="a resumed run does what was planned; leave out suites, losses"):
        runs.run(resume=done.path, losses=["huber"])
    with pytest.raises(LossbenchError, match="a resumed run does what was planned; leave out suites, losses"):
        runs.run("timing", resume=done.path)


def test_folders_that_are_no_runs_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        runs.run(resume=tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"has no run\.json"):
        runs.reported(tmp_path)


def test_a_target_that_gave_no_answer_is_named_and_why(done, tmp_path):
    (tmp_path / "own.toml").write_text(SUITE.replace('"fake:killed"', '"fake:missing"'))

    found = runs.run(tmp_path / "own.toml", losses=["huber"], out=tmp_path / "out")

    assert done.silent() == {}
    assert found.silent() == {
        "fake:missing:cpu": "not installed: No module named 'fakelib'; try: pip install 'lossbench[fake]'"
    }


def test_times_that_nothing_tells_from_noise_come_with_a_warning_on_the_page_too(done, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    (tmp_path / "own.toml").write_text(SUITE.replace(', "fake:killed"', "") + "twin = false\n")

    found = runs.run(tmp_path / "own.toml", losses=["huber"], out=tmp_path / "out")

    said = "no target ran twice: nothing says how large a difference must be to mean something"
    assert found.warnings()[0] == said
    assert "environment.html#warnings" in found.page.read_text()
    assert said in found.page.with_name("environment.html").read_text()
    assert said not in done.warnings()


def test_a_report_that_cannot_be_written_is_said(done):
    done.page.unlink()
    done.page.mkdir()

    with pytest.raises(StoreError, match=r"index\.html: the report cannot be written \(Is a directory\)"):
        runs.reported(done.path)
    done.page.rmdir()


def test_nothing_is_stored_where_a_spec_is_unsound(tmp_path):
    path = tmp_path / "huber.toml"
    path.write_text(spec.load("huber").source.replace('value = "1/32"', 'value = "1/33"'))

    with pytest.raises(
        SpecError, match=r"huber\.toml:\d+: the value of this required edge is '1/33'; expected 0\.03125"
    ):
        runs.run(losses=[path], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path):
    now = datetime(2025, 1, 2, 3, 4, 5)
    first = runs.folder(tmp_path, "smoke", now)
    first.mkdir()

    assert first.name == "2025-01-02-030405-smoke"
    assert runs.folder(tmp_path, "smoke", now).name == "2025-01-02-030405-smoke-2"
