"""asv from run to page, in a repository of its own: one loss, our kernel, and a framework that breaks as it is told."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree

import pandas as pd
import pytest

from lossbench.errors import LossbenchError
from lossbench.history import asv

ROOT = Path(__file__).parent.parent
FAKE = Path(__file__).parent / "fake_adapter"
HERE = f"existing:{sys.executable}"
SUITE = """
summary = "One loss, four targets, few samples."
targets = ["numba:compiled", "fake:well", "fake:missing", "fake:raises"]
threads = 1
edges = ["float32"]
[[accuracy]]
dtypes = ["float32"]
points = 50
[[timing]]
dtypes = ["float32"]
elements = [1000]
reduction = "sum"
[sampling]
samples = 4
turns = 2
processes = 2
min_sample = 0.0002
twin = false
"""
COMMITS = 6
WORSE = 3  # from this commit on


@dataclass(frozen=True)
class Project:
    """A repository with the benchmarks, a few commits, and what its first run left."""

    path: Path
    env: dict[str, str]
    run: subprocess.CompletedProcess[str]

    @property
    def results(self):
        return self.path / ".asv" / "results"

    @property
    def commits(self):
        return git(self.path, "log", "--reverse", "--format=%H").split()

    def asv(self, *arguments):
        return run_asv(self.path, self.env, *arguments)


def run_asv(path, env, *arguments):
    command = [sys.executable, "-m", "asv", *arguments]
    return subprocess.run(command, cwd=path, env=env, capture_output=True, text=True, check=False)


def git(path, *arguments):
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=path, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asv")
    path, suite = folder / "project", folder / "tiny.toml"
    suite.write_text(SUITE)
    copytree(ROOT / "benchmarks", path / "benchmarks")
    copy(ROOT / "asv.conf.json", path)
    (path / "lossbench").symlink_to(ROOT / "lossbench")  # what is measured is this project's
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "add", "--all")
    for number in range(COMMITS):
        git(path, "commit", "--quiet", "--allow-empty", f"--date=2026-01-0{number + 1}T00:00:00Z", "-m", str(number))
    env = os.environ | {
        "HOME": str(folder),  # where asv remembers the machine
        "PYTHONPATH": str(FAKE),  # for workers
        "ASV_PYTHONPATH": str(FAKE),  # for asv, which drops the other one
        "LOSSBENCH_ASV_SUITE": str(suite),
        "LOSSBENCH_ASV_LOSSES": "mae",
    }
    assert run_asv(path, env, "machine", "--yes").returncode == 0
    first = git(path, "rev-list", "--max-parents=0", "HEAD").strip()
    done = run_asv(path, env, "run", "--environment", HERE, "--set-commit-hash", first, "--show-stderr")
    return Project(path, env, done)


@pytest.fixture(scope="module")
def history(project):
    """The same result at every commit, but half as slow again, less right, and wrong, from one on; then published."""
    (first,) = (project.results).glob("*/*existing*.json")
    text = first.read_text()
    for number, commit in enumerate(project.commits):
        found = json.loads(text)
        found["commit_hash"] = commit
        found["date"] += number * 86_400_000
        for name, columns in found["results"].items():
            if number >= WORSE and columns[0] is not None:
                more = 1 if "verdicts" in name or "mismatches" in name else 0
                columns[0] = [one if one is None else one * 1.5 + more for one in columns[0]]
        (first.parent / first.name.replace(project.commits[0][:8], commit[:8])).write_text(json.dumps(found))
    assert project.asv("publish").returncode == 0
    return project


def results_of(project):
    """The value of every series at the first commit."""
    found = asv.series(project.results)
    return found[found["commit"] == project.commits[0]].set_index(["target", "measure"])["value"]


def test_asv_finds_and_accepts_the_benchmarks(project):
    env = {name: value for name, value in project.env.items() if not name.startswith("LOSSBENCH_")}
    done = run_asv(ROOT, env, "check", "--environment", HERE)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_stores_times_memory_errors_and_verdicts(project):
    found = results_of(project)

    for target in ("numba:compiled:cpu", "fake:well:cpu"):
        assert 0 < found[target, "forward"] < 1
        assert found[target, "value ulp"] <= 1
        assert found[target, "mismatches"] == 0
        assert found[target, "verdicts: failed"] == 0
        assert found[target, "verdicts: exact"] > 0
        assert found[target, "forward memory"] >= 0


def test_what_is_not_installed_is_skipped_and_what_breaks_has_failed(project):
    found = results_of(project)

    assert "fake:missing:cpu" not in found.index
    assert pd.isna(found["fake:raises:cpu", "forward"])
    assert pd.isna(found["fake:raises:cpu", "gradient memory"])
    assert found["fake:raises:cpu", "value ulp"] <= 1  # it breaks at sums alone
    assert project.run.returncode == 2, project.run.stdout + project.run.stderr
    assert "RuntimeError: failed: ValueError: shapes do not match" in project.run.stdout
    assert project.run.stdout.count("Setting up") == 1  # one collection for all


def test_another_suite_stays_out_of_the_history_of_our_own(project):
    benchmarks = json.loads((project.results / "benchmarks.json").read_text())

    assert {name.split(".")[1] for name in benchmarks if "." in name} == {"AbsoluteError_Tiny"}


def test_published_pages_have_series_of_every_kind(history):
    index = json.loads((history.path / ".asv" / "html" / "index.json").read_text())
    shown = index["benchmarks"]
    name = "losses.AbsoluteError_Tiny."

    assert {shown[name + method]["unit"] for method in ("track_forward", "track_gradient")} == {"seconds"}
    assert shown[name + "track_forward_memory"]["unit"] == "bytes"
    assert shown[name + "track_gradient_ulp"]["unit"] == "ulp"
    assert shown[name + "track_verdicts"]["param_names"][-1] == "verdict"
    assert len(index["revision_to_hash"]) == COMMITS
    for method in shown:
        (graph,) = (history.path / ".asv" / "html" / "graphs").glob(f"arch-*/**/{method}.json")
        assert len(json.loads(graph.read_text())) == COMMITS


def test_published_regressions_are_of_times_errors_and_bad_verdicts_alone(history):
    found = json.loads((history.path / ".asv" / "html" / "regressions.json").read_text())["regressions"]
    numba = [entry[0] for entry in found if "(numba, compiled" in entry[0]]
    revisions = {tuple(jump[:2]) for entry in found for jump in entry[6]}

    for method in ("track_forward(", "track_gradient(", "track_value_ulp(", "track_mismatches("):
        assert any(method in name for name in numba), method
    assert any(name.endswith("wrong)") for name in numba)
    assert not any(name.endswith(("exact)", "faithful)", "accurate)")) and "inaccurate" not in name for name in numba)
    assert len(revisions) == 1  # all at the commit from which on it is worse


def test_our_own_report_reads_the_series(history):
    found = asv.series(history.results)
    one = found[(found["target"] == "numba:compiled:cpu") & (found["measure"] == "value ulp")]

    assert list(found.columns) == asv.COLUMNS
    assert list(one["commit"]) == history.commits
    assert one["date"].is_monotonic_increasing
    assert str(one["date"].dt.tz) == "UTC"
    assert one["value"].iloc[-1] == 1.5 * one["value"].iloc[0] > 0
    assert set(one["unit"]) == {"ulp"}
    assert set(one["loss"]) == {"absolute_error"}
    assert set(one["shape"]) == {"50"}
    times = found[found["measure"] == "forward"].dropna(subset="value")
    assert (times["low"] <= times["high"]).all()


def test_a_folder_without_results_says_what_was_expected(tmp_path):
    with pytest.raises(LossbenchError, match=r"no benchmarks\.json; expected the results of asv"):
        asv.series(tmp_path)
