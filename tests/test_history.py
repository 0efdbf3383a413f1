"""Histories of runs made by hand: planted steps are found where they are, with their versions, and no others."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from in_browser import faults, spills, window
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from typer.testing import CliRunner

from lossbench import accuracy, adapters, origin, plan, spec
from lossbench.arrays import Arrays
from lossbench.cli import app
from lossbench.errors import LossbenchError
from lossbench.history import series, steps, whole
from lossbench.records import REFERENCE, Case, Environment, Job, Output, Refusal, Timing
from lossbench.report import history as page
from lossbench.report import index
from lossbench.store import Store
from lossbench.suite import Suite
from lossbench.worker import perform

HUBER = spec.load("huber")
DRAWN = Case(loss="huber", digest=HUBER.digest, dtype="float32", points="domain", shape=(8,))
TIMED = Case(loss="huber", digest=HUBER.digest, dtype="float32", points="timing", shape=(1000,), reduction="mean")
SUITE = Suite(summary="for tests", targets=("torch",), threads=1)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """The reference's answer to the drawn case, and its arrays."""
    arrays = Arrays(tmp_path_factory.mktemp("arrays"))
    adapter = adapters.load("reference").open(REFERENCE)
    found = perform(adapter, HUBER, Job(case=DRAWN, target=REFERENCE, measure="accuracy"), arrays)
    return found, {name: arrays.get(one) for name, one in found.arrays.items()}


@pytest.fixture
def run(tmp_path, certified):
    """Makes the run of one day: how long a call took, how many ulps the value is off, what memory it took."""

    def run(day: int, seconds: float | None, ulps: int = 0, *, memory: int = 10**6, version="1.0", **options) -> Store:
        target = plan.target(options.pop("target", "torch"))
        jobs = [Job(case=DRAWN, target=who, measure="accuracy") for who in (REFERENCE, target)]
        jobs.append(Job(case=TIMED, target=target, measure="gradient"))
        path = tmp_path / "runs" / f"{day:03}"
        store = Store.create(path, jobs, [HUBER], SUITE, label=options.pop("label", f"day {day}"), **options)
        head = msgspec.json.decode((path / "run.json").read_bytes())
        head["created"] = (BEGUN + timedelta(days=day)).isoformat()
        (path / "run.json").write_bytes(msgspec.json.encode(head))
        answer, exact = certified
        store.append(
            Environment(
                target=target,
                versions={"python": "3.11", "torch": version},
                settings={"LOSSBENCH_THREADS": "1"},
                machine={"processor": "a processor"},
            )
        )
        for name in answer.arrays:
            store.put(exact[name])
        store.append(answer)
        value = exact["value"].astype(np.float32)
        for _ in range(ulps):
            value[-1:] = np.nextafter(value[-1:], np.float32(np.inf))
        got = {"value": store.put(value), "gradient.y_pred": store.put(exact["gradient.y_pred"].astype(np.float32))}
        store.append(Output(job=jobs[1], arrays=got, inputs=answer.inputs, seconds=0.0))
        if seconds is None:
            store.append(Refusal(job=jobs[2], reason="crashed", detail="killed by SIGKILL"))
        else:
            ten = 10 * float(seconds)  # calls; of a process the slower half of its samples does not matter
            samples = [ten, ten, 99.0] * 3
            store.append(
                Timing(
                    job=jobs[2],
                    first_call=1.0,
                    seconds=[1.0] * 9,
                    calls=10,
                    turns=[0] * 9,
                    traffic=1,
                    cpu=samples,
                    processes=[0] * 3 + [1] * 3 + [2] * 3,
                    peak_memory=memory,
                )
            )
        store.close()
        return store

    return run


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Times near 1 ms, each 1 % from the others."""
    return 1e-3 * np.exp(np.random.default_rng(seed).normal(0, 0.01, count))


def test_a_planted_step_is_found_in_time_ulps_and_memory(run, tmp_path):
    for day, seconds in enumerate(noise(20)):
        late = day >= 12
        run(day, seconds * (1.2 if late else 1), 3 * (day >= 15), memory=10**6 * (1 + late), version=f"1.{int(late)}")

    found = whole.of(tmp_path / "runs").steps

    assert set(found["measure"]) == {"gradient", "value ulp", "gradient memory"}
    assert set(found["change"]) == {"worse"}
    rows = {row["measure"]: row for row in found.to_dict("records")}
    assert [rows[name]["at"] for name in ("gradient", "gradient memory", "value ulp")] == ["day 12", "day 12", "day 15"]
    assert rows["gradient"]["versions"] == "torch 1.0 -> 1.1"
    assert rows["value ulp"]["versions"] == ""
    assert rows["gradient"]["unit"] == "processor seconds"
    assert rows["gradient"]["low"] < 1.2 < rows["gradient"]["high"]
    assert rows["gradient"]["high"] - rows["gradient"]["low"] < 0.04
    assert rows["gradient"]["p"] == pytest.approx(1 / 2000)
    assert rows["gradient memory"]["ratio"] == 2
    assert rows["value ulp"]["after"] - rows["value ulp"]["before"] > 2
    assert rows["value ulp"]["p"] == 0


def test_what_got_worse_comes_first_and_what_came_back_is_said(run, tmp_path):
    for day, seconds in enumerate(noise(30)):
        run(day, seconds * (1.5 if 10 <= day < 20 else 1))

    found = whole.of(tmp_path / "runs").steps

    assert list(zip(found["change"], found["at"], found["still"], strict=True)) == [
        ("worse", "day 10", False),
        ("better", "day 20", True),
    ]


def test_a_series_that_stays_has_no_step(run, tmp_path):
    for day, seconds in enumerate(noise(30, seed=5)):
        run(day, seconds)

    found = whole.of(tmp_path / "runs")

    assert found.steps.empty
    assert sorted(one.key["measure"] for one in found.series) == [
        "gradient",
        "gradient memory",
        "gradient ulp",
        "mismatches",
        "value ulp",
    ]
    assert all(len(one.levels) == 1 for one in found.series)


def test_two_runs_are_enough_for_errors_and_too_few_for_times(run, tmp_path):
    run(0, 1e-3)
    run(1, 2e-3, 5)

    found = whole.of(tmp_path / "runs")

    assert set(found.steps["measure"]) == {"value ulp"}
    assert (found.short, found.searched) == (2, 0)


def test_what_was_not_measured_is_a_gap_and_no_step(run, tmp_path):
    for day, seconds in enumerate(noise(16)):
        run(day, None if day % 5 == 4 else seconds * (1.3 if day >= 10 else 1))

    found = whole.of(tmp_path / "runs", measures=["gradient"])

    (step,) = found.steps.to_dict("records")
    assert (step["last"], step["at"]) == ("day 8", "day 10")  # of day 9 nothing is known
    (one,) = found.series
    assert np.isnan(one.values).sum() == 3
    assert one.key["unit"] == "processor seconds"
    assert "13<small>3 missing</small>" in page.write(found, tmp_path / "out").read_text()


def test_a_loss_that_becomes_infinite_and_zero_are_levels(run):
    levels, found = steps.exact(np.array([0.0, 0.0, np.nan, np.inf, np.inf, 2.0]))

    assert [(level.start, level.stop, level.value) for level in levels] == [(0, 2, 0.0), (3, 5, np.inf), (5, 6, 2.0)]
    assert [(step.last, step.first, step.ratio) for step in found] == [(1, 3, np.inf), (4, 5, 0.0)]


@pytest.mark.parametrize("method", steps.METHODS)
def test_both_methods_find_a_step_of_a_tenth_and_none_in_noise(method):
    for seed in range(20):
        values = noise(40, seed)
        assert steps.noisy(values, method)[1] == [], seed
        values[25:] *= 1.1
        (step,) = steps.noisy(values, method)[1]
        assert abs(step.first - 25) <= 1
        assert step.low < step.ratio < step.high


@pytest.mark.parametrize("method", steps.METHODS)
def test_constant_series_and_single_points_have_no_steps(method):
    assert steps.noisy(np.full(20, 3.0), method)[1] == []
    assert steps.noisy(np.array([np.nan, 3.0]), method)[1] == []
    assert steps.noisy(np.array([np.nan]), method) == ([], [])
    lone = np.r_[np.full(10, 1.0), 5.0, np.full(10, 1.0)]
    assert steps.noisy(lone, method)[1] == []


def test_small_steps_one_after_the_other_add_up():
    values = np.repeat([1.0, 1.02, 1.05], 10)

    (step,) = steps.noisy(values)[1]

    assert step.first == 20
    assert step.before == pytest.approx(1.01)


def test_the_chance_of_no_step_is_not_small():
    """Of series without one, those called surer than 0.1 are about a tenth: the place was looked for."""
    chances = np.array([steps._chance(noise(20, seed)) for seed in range(200)])

    assert 0.04 < (chances <= 0.1).mean() < 0.17
    assert 0.4 < chances.mean() < 0.6


def test_labels_come_before_commits_and_commits_before_folders(run, tmp_path):
    run(0, 1e-3, label="v1")
    run(1, 1e-3, label="", commit="0123456789abcdef-dirty")
    run(2, 1e-3, label="")

    found, _ = series.gathered(tmp_path / "runs")

    assert list(dict.fromkeys(found["at"])) == ["v1", "0123456789-dirty", "002"]


def test_machines_and_targets_have_series_of_their_own(run, tmp_path):
    run(0, 1e-3)
    run(1, 2e-3, target="old=torch")

    found = whole.of(tmp_path / "runs", measures=["gradient"])

    assert [one.key["target"] for one in found.series] == ["old", "torch:eager:cpu"]


def test_a_folder_without_runs_and_what_is_not_there_are_said(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LossbenchError, match=r"empty has no runs and no results of asv below it; expected a folder"):
        whole.of(tmp_path / "empty")
    run(0, 1e-3)
    with pytest.raises(LossbenchError, match=r"no target 'jax' in .*; there are: torch, torch:eager:cpu"):
        whole.of(tmp_path / "runs", targets=["jax"])
    with pytest.raises(LossbenchError, match=r"no loss 'hubert' in .*; there are: huber"):
        whole.of(tmp_path / "runs", losses=["hubert"])
    with pytest.raises(LossbenchError, match="unknown method 'luck'; expected one of: kernel, steps"):
        whole.of(tmp_path / "runs", method="luck")


def test_page_shows_the_step_with_its_picture_and_its_version(run, tmp_path):
    for day, seconds in enumerate(noise(20)):
        late = day >= 12
        store = run(day, seconds * (1.2 if late else 1), version=f"1.{int(late)}", label=f"<v{day}>")
        (store.path / "index.html").write_text("the run's page")

    written = page.write(whole.of(tmp_path / "runs"), tmp_path / "out")

    text = written.read_text()
    assert "torch 1.0 -&gt; 1.1" in text
    assert "<v12>" not in text
    assert '<a href="../runs/012/index.html">&lt;v12&gt;</a>' in text
    assert 'text-anchor="middle">&lt;v12&gt;</text>' in text
    assert "p 0.0005" in text
    assert 'data-change="worse"' in text
    assert text.count("<svg") == 1 + 5  # the step, and every series
    assert "http" not in text.replace("http://www.w3.org", "")


def test_command_prints_steps_and_json(run, tmp_path):
    for day in range(4):
        run(day, 1e-3, 2 * (day >= 2))
    asked = ["history", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]

    shown = CliRunner().invoke(app, asked, env={"COLUMNS": "200"})
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)

    assert shown.exit_code == 0
    assert "worse" in shown.stdout
    assert "day 2" in shown.stdout
    assert "5 series, 1 step: 1 worse" in shown.stdout
    assert "2 series of times or memory have fewer than 6 points" in shown.stdout
    (step,) = told["steps"]
    assert (step["loss"], step["measure"], step["at"]) == ("huber", "value ulp", "day 2")
    assert Path(told["page"]).name == "history.html"


def test_a_run_knows_the_commit_that_it_was_started_in(tmp_path):
    def git(*words):
        alone = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *alone, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert origin.commit(tmp_path) == ""
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    whole_hash = git("rev-parse", "HEAD").strip()
    assert origin.commit(tmp_path) == whole_hash
    (tmp_path / "file").write_text("two")
    assert origin.commit(tmp_path) == f"{whole_hash}-dirty"


def test_stores_from_before_labels_can_be_read(run):
    store = run(0, 1e-3)
    head = msgspec.json.decode((store.path / "run.json").read_bytes())
    del head["label"]
    (store.path / "run.json").write_bytes(msgspec.json.encode(head))

    assert Store.open(store.path).label == ""
    assert Store.open(store.path).commit == ""


def test_values_are_kept_until_the_run_goes_on(run, tmp_path, monkeypatch):
    store = run(0, 1e-3, 2)
    kept = tmp_path / "values"
    found, _ = series.gathered(tmp_path / "runs", kept)
    derived = []
    jobs = accuracy.jobs
    monkeypatch.setattr(accuracy, "jobs", lambda answers: derived.append(answers) or jobs(answers))

    pd.testing.assert_frame_equal(series.gathered(tmp_path / "runs", kept)[0], found, check_dtype=False)
    assert derived == []
    store.append(Refusal(job=store.jobs()[1], reason="failed", detail="again"))
    store.close()
    series.gathered(tmp_path / "runs", kept)
    assert len(derived) == 1


def test_a_run_that_cannot_be_read_is_left_out_and_said(run, tmp_path):
    run(0, 1e-3)
    path = run(1, 1e-3).path / "run.json"
    path.write_text(path.read_text().replace('"format":1', '"format":99'))

    shown = CliRunner().invoke(app, ["history", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])

    assert shown.exit_code == 0
    assert "a store of format 99; this lossbench reads format 1" in shown.stderr
    assert "a store of format 99" in (tmp_path / "out" / "history.html").read_text()
    assert [len(one.points) for one in whole.of(tmp_path / "runs").series] == [1] * 5


def test_a_run_beside_a_history_leads_to_it(tmp_path):
    (tmp_path / "run").mkdir()
    assert index.past(tmp_path / "run") == ""

    (tmp_path / "history").mkdir()
    (tmp_path / "history" / page.NAME).touch()

    assert index.past(tmp_path / "run") == "../history/history.html"


def test_page_filters_sorts_and_fits(watched, run, tmp_path):
    driver = watched
    for day in range(4):
        run(day, 1e-3, 2 * (day >= 2) - (day >= 3))
    driver.get(page.write(whole.of(tmp_path / "runs"), tmp_path / "out").as_uri())
    lines = driver.find_elements(By.CSS_SELECTOR, "table.filtered tbody tr")
    assert len(lines) == 2 + 5
    Select(driver.find_element(By.NAME, "change")).select_by_value("better")
    WebDriverWait(driver, 5).until(lambda _: "change=better" in driver.current_url)
    assert [line.is_displayed() for line in lines] == [False, True] + [
        "better" in line.get_attribute("data-change") for line in lines[2:]
    ]
    driver.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()
    WebDriverWait(driver, 5).until(lambda _: all(line.is_displayed() for line in lines))
    (size,) = [one for one in driver.find_elements(By.CSS_SELECTOR, "#steps thead button") if one.text == "Size"]
    size.click()
    first = "return document.querySelector('#steps tbody tr').cells[3].textContent"
    WebDriverWait(driver, 5).until(lambda _: "better" in driver.execute_script(first))  # the smaller one
    for width in (360, 1400):
        window(driver, width)
        assert not spills(driver)
    assert faults(driver) == {}
