"""The pages beside the matrix: two runs compared, how to read it all, the environment, the tables to download."""

import json
import math
import re
import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from small_run import ATTACK, small_run
from two_runs import copied, two_runs
from typer.testing import CliRunner

from lossbench import cli, report
from lossbench.comparing import before, results, speeds, whole
from lossbench.errors import LossbenchError, StoreError
from lossbench.report import against, changes, downloads, environment, ratios, sides, two, worked
from lossbench.report.columns import TABLES
from lossbench.report.findings import Findings
from lossbench.store import Store


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return two_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def done(runs):
    return whole.compare(*runs)


@pytest.fixture(scope="module")
def pages(runs):
    """The text of each page of head's report, by its name; it is compared with base by itself."""
    report.write(runs[1])
    return {path.name: path.read_text(encoding="utf-8") for path in runs[1].path.glob("*.html")}


@pytest.fixture(scope="module")
def findings(runs, pages):
    return Findings.of(runs[1])


def lines(text):
    """The attributes of each line that can be filtered."""
    return [dict(re.findall(r'data-(\w+)="([^"]*)"', tag)) for tag in re.findall(r"<tr (data-loss[^>]*)>", text)]


def test_every_word_of_a_comparison_has_a_mark():
    assert {*changes.MARKS} == {*results.CHANGES, *speeds.VERDICTS}


def test_what_was_planted_is_there(done):
    assert {word: done.counts[word] for word in ("newly failing", "worse", "slower", "not measured", "better")} == {
        "newly failing": 1,
        "worse": 1,
        "slower": 4,
        "not measured": 1,
        "better": 1,
    }


def test_news_are_counted_what_is_worst_first_and_lead_to_their_lines(done, runs):
    found = against.strip(against.of(runs[1], runs[0].path))

    assert [(one.word, one.count, one.address) for one in found] == [
        ("newly failing", 1, "compare.html#change=newly+failing"),
        ("worse", 1, "compare.html#change=worse"),
        ("slower", 4, "compare.html#change=slower"),
        ("better", 1, "compare.html#change=better"),
        ("not measured", 1, "compare.html#change=not+measured"),
    ]


def test_that_nothing_is_failing_is_news_too_and_no_link(runs):
    found = against.strip(against.of(runs[0], runs[0].path))

    assert [(one.word, one.count, one.address) for one in found] == [
        (word, 0, "") for word in ("newly failing", "worse", "better", "not measured")
    ]


def test_by_default_a_run_stands_against_the_last_one_of_its_suite_before_it(runs, tmp_path):
    first = Store.open(shutil.copytree(runs[0].path, tmp_path / "first"))
    last = copied(first, "last", timedelta(days=3))
    copied(first, "between", timedelta(days=2))
    copied(first, "later", timedelta(days=4))
    other = copied(first, "another-suite", timedelta(days=2.5))
    head = (other.path / "run.json").read_text(encoding="utf-8")
    (other.path / "run.json").write_text(head.replace('"name":"small"', '"name":"other"'), encoding="utf-8")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{", encoding="utf-8")

    assert before.run(last).name == "between"
    assert before.run(first) is None
    assert against.of(first) is None


@pytest.fixture
def unreadable(runs, tmp_path):
    """Head, and a base beside it that a later version wrote."""
    base = shutil.copytree(runs[0].path, tmp_path / runs[0].path.name)
    text = (base / "run.json").read_text(encoding="utf-8")
    (base / "run.json").write_text(re.sub(r'"format":\s*1', '"format": 99', text), encoding="utf-8")
    return base, Store.open(shutil.copytree(runs[1].path, tmp_path / runs[1].path.name))


def test_a_base_of_another_version_is_an_error_where_it_is_named(unreadable):
    base, head = unreadable

    with pytest.raises(StoreError, match="99"):
        against.of(head, base)

    found = CliRunner().invoke(cli.app, ["report", str(head.path), "--against", str(base)])
    assert isinstance(found.exception, LossbenchError)


def test_a_base_of_another_version_is_a_sentence_where_it_was_found(unreadable):
    base, head = unreadable
    page = report.write(head)

    text = page.read_text(encoding="utf-8")
    assert f"Not compared with <code>{base.name}</code>" in text
    assert "99" in text
    assert not (head.path / "compare.html").exists()


def test_a_comparison_that_holds_no_more_leaves_no_page(runs, tmp_path):
    head = Store.open(shutil.copytree(runs[1].path, tmp_path / "alone"))
    (head.path / "compare.html").write_text("of a base that is gone", encoding="utf-8")
    page = report.write(head)

    assert not (head.path / "compare.html").exists()
    assert "compare.html" not in page.read_text(encoding="utf-8")


def test_the_index_leads_to_what_is_new(pages):
    assert 'href="compare.html#change=newly+failing"' in pages["index.html"]


def test_every_row_is_on_the_page_by_itself_or_counted(done):
    content = changes.page(done)
    shown = [*content["results"], *content["same_results"], *content["speeds"], *content["same_speeds"]]

    assert sum(line.count for line in shown) == len(done.results) + len(done.speed)
    counted = {word: sum(line.count for line in shown if line.change == word) for word in done.counts}
    assert counted == done.counts


def test_rows_beyond_those_that_fit_are_counted(done, monkeypatch):
    monkeypatch.setattr(changes, "MOST", 1)
    content = changes.page(done)
    shown = [*content["results"], *content["same_results"], *content["speeds"], *content["same_speeds"]]

    assert sum(bool(line.cells) for line in shown) == 2
    assert sum(line.count for line in shown) == len(done.results) + len(done.speed)


def test_what_got_worse_comes_with_a_script_that_shows_it(done, pages):
    scripts = [line.script for line in changes.page(done)["results"] if line.change == "worse"]

    assert scripts
    assert all("huber_loss" in script for script in scripts)
    assert pages["compare.html"].count('class="opens"') == sum(done.results["script"] != "")


def test_lines_say_how_they_are_filtered(pages):
    found = lines(pages["compare.html"])

    assert {one["kind"] for one in found} == {"changed", "removed", "unchanged"}
    assert {one["change"] for one in found if one["sure"] == "yes"} == {"newly failing", "worse", "better", "slower"}
    assert all(one.keys() >= {"loss", "target", "dtype", "change", "kind", "sure", "search"} for one in found)


def test_beside_each_ratio_stand_its_interval_and_the_control_of_its_case(done):
    slower = next(line for line in changes.page(done)["speeds"] if line.change == "slower")
    _, _, ratio, control, _ = slower.cells

    assert ratio.text == "1.300×"
    assert re.fullmatch(r"1\.\d{3} to 1\.\d{3}", ratio.lines[0])
    assert control.text == "1.000× · 1.000×"
    assert control.lines == ["counts from 1.010× on"]


def test_a_case_without_a_control_has_none(done):
    row = {"base_control": math.nan, "head_control": math.nan, "bound": 1.05}
    found = changes._control(row)

    assert found.text == "none"
    assert found.lines == ["counts from 1.050× on"]


def test_the_band_is_what_nine_in_ten_controls_stay_within():
    controls = [math.exp(step / 100) for step in range(10)]
    frame = pd.DataFrame({"case": range(10), "base_control": controls, "head_control": np.nan})
    frame[["loss", "measure", "dtype"]] = ["huber", "gradient", "float32"]

    assert ratios.band(frame) == pytest.approx(0.09)
    assert ratios.band(frame.head(0)) == 0.0


def test_the_picture_is_bounded_and_keeps_what_changed():
    changed = np.zeros(5000, bool)
    changed[4990:] = True
    drawn = ratios._drawn(changed)

    assert len(drawn) == ratios.MOST
    assert {*np.flatnonzero(changed)} <= {*drawn}


def test_versions_that_differ_are_told_apart_from_those_that_do_not(done):
    differing, alike = sides.machines(done)

    assert [[cell.text for cell in row] for row in differing.rows] == [
        ["torch", "1.2 <beta>", f"1.3 {ATTACK}", "torch:eager:cpu"]
    ]
    assert ["python", "3.11", "all targets"] in [[cell.text for cell in row] for row in alike.rows]


def test_words_of_frameworks_stay_words(pages):
    assert ATTACK not in pages["compare.html"]
    assert pages["compare.html"].count("&lt;script&gt;document.title") >= 2
    assert all(ATTACK not in text for text in pages.values())


def test_a_comparison_is_a_folder_with_all_rows_or_one_file(done, runs, tmp_path):
    page, file = two.write(done, tmp_path / "folder"), two.write(done, tmp_path / "alone" / "one.html")

    assert page == tmp_path / "folder" / "compare.html"
    rows = pd.read_csv(tmp_path / "folder" / "data" / "compared-results.csv")
    assert len(rows) == len(done.results)
    assert rows["change"].value_counts().to_dict() == done.results["change"].value_counts().to_dict()
    assert len(pd.read_csv(tmp_path / "folder" / "data" / "compared-speeds.csv")) == len(done.speed)
    assert [path.name for path in file.parent.iterdir()] == ["one.html"]
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?:static|data)/', text)
    assert lines(text) == lines(page.read_text(encoding="utf-8"))


def test_where_it_cannot_be_written_is_said(done, tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")

    with pytest.raises(StoreError, match="cannot be written"):
        two.write(done, tmp_path / "taken" / "below")


def test_the_command_writes_the_page(runs, tmp_path):
    base, head = (str(one.path) for one in runs)
    found = CliRunner().invoke(cli.app, ["compare", base, head, "--html", str(tmp_path / "out")])

    assert found.exit_code == 1
    assert (tmp_path / "out" / "compare.html").exists()


def test_the_nearest_float_is_exact_and_the_next_ones_an_ulp_further_each():
    rows = worked.ulps().rows
    errors = [float(row[2].sort) for row in rows]

    assert [row[3].text for row in rows] == ["accurate", "exact", "faithful", "accurate"]
    assert np.diff([-errors[0], -errors[1], *errors[2:]]) == pytest.approx([1.0, 1.0, 1.0])


def test_the_condition_of_a_squared_error_is_twice_the_sum_over_the_difference():
    for row in worked.conditions().rows:
        prediction, truth, _, condition = (float(cell.sort) for cell in row[:4])

        assert condition == pytest.approx(2 * (prediction + truth) / (prediction - truth), rel=1e-3)


def test_at_the_kink_every_slope_in_between_is_right():
    assert [row[2].text for row in worked.kinks().rows] == ["-1", "every number from -1 to 1", "1"]


def test_three_percent_are_seen_in_six_pairs_and_not_in_four():
    assert [row[5].text for row in worked.decisions().rows] == ["slower", "inconclusive", "same", "same"]


def test_every_sign_is_explained(pages):
    text = pages["method.html"]

    for mark in (*report.words.MARKS.values(), *report.words.PROOFS.values(), *changes.MARKS.values()):
        assert f"{mark.glyph}</span> {mark.word}</span></dt>" in text


def test_the_environment_has_every_target_and_setting(findings):
    content = environment.page(findings)
    said = {cell.text for table in content["environment"] for row in table.rows for cell in row}

    assert {"1.2 <beta>", f"1.3 {ATTACK}", "a processor", "python"} <= said


def test_every_column_is_explained_and_no_other(findings):
    assert {name: {*frame.columns} for name, frame in downloads.frames(findings).items()} == {
        name: {*columns} for name, columns in TABLES.items()
    }


@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back_as_they_were(findings, name):
    frame, folder = downloads.frames(findings)[name], findings.path / "data"
    texts = {column: str for column in frame if frame[column].dtype == "str"}
    numbers = [column for column in frame if column not in texts and frame[column].dtype.kind == "f"]
    rows = pd.DataFrame(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), columns=frame.columns)
    rows[numbers] = rows[numbers].astype(float)
    read = pd.read_csv(
        folder / f"{name}.csv",
        float_precision="round_trip",
        keep_default_na=False,
        na_values={column: [""] for column in frame if column not in texts},
        dtype=texts,
    )

    pd.testing.assert_frame_equal(pd.read_parquet(folder / f"{name}.parquet"), frame)
    pd.testing.assert_frame_equal(read, frame, check_dtype=False, check_exact=True)
    pd.testing.assert_frame_equal(rows, frame, check_dtype=False, check_exact=True)


def test_parquet_says_what_its_columns_mean(findings):
    schema = parquet.read_schema(findings.path / "data" / "timings.parquet")

    assert schema.field("median").metadata == {b"unit": b"s", b"meaning": b"of one call, over all samples"}


def test_infinities_and_what_is_missing_survive_json():
    rows = json.loads(downloads._listed(pd.DataFrame({"number": [math.inf, -math.inf, math.nan, 0.1]})))

    assert [row["number"] for row in rows] == ["inf", "-inf", None, 0.1]


def test_columns_have_one_type_each():
    frame = pd.DataFrame({"truth": [True, None], "text": ["a", math.nan], "number": [1, math.nan]}, dtype=object)
    found = downloads._typed(frame)

    assert [str(one) for one in found.dtypes] == ["boolean", "str", "float64"]
    assert found["text"].tolist() == ["a", ""]


def test_downloads_lead_to_every_file(pages, findings):
    addresses = re.findall(r'href="([^"#]+)" download', pages["downloads.html"])

    assert len(addresses) == 3 * len(TABLES) + 3
    assert all((findings.path / one).exists() for one in addresses)


def test_a_run_that_timed_nothing_has_its_pages_too(tmp_path):
    store = small_run(tmp_path)
    kept = [line for line in (store.path / "records.jsonl").read_bytes().splitlines(True) if b'"timing"' not in line]
    (store.path / "records.jsonl").write_bytes(b"".join(kept))
    jobs = [line for line in (store.path / "jobs.jsonl").read_bytes().splitlines(True) if b'"accuracy"' in line]
    (store.path / "jobs.jsonl").write_bytes(b"".join(jobs))
    report.write(store)

    assert len(pd.read_parquet(store.path / "data" / "timings.parquet")) == 0
    assert "No target was timed twice" in (store.path / "environment.html").read_text(encoding="utf-8")
