"""The report of a run: whole, escaped, without network, the same twice, readable in light and dark."""

import json
import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace as replace_struct
from small_run import ATTACK, small_run

from lossbench import accuracy, report, script, spec, verdicts
from lossbench.records import Answer
from lossbench.report import charts, conventions, coverage, defects, hard, index, news, one, words
from lossbench.report.evidence import Known
from lossbench.report.findings import Findings
from lossbench.report.matrix import matrix

STATIC = Path(report.__file__).parent / "static"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def pages(store):
    """The text of each page by its path."""
    first = report.write(store)
    return {
        path: path.read_text(encoding="utf-8")
        for path in (first, *sorted(store.path.glob("[!i]*.html")), *sorted(store.path.glob("losses/*.html")))
    }


@pytest.fixture(scope="module")
def findings(store):
    return Findings.of(store)


class Page(HTMLParser):
    """Tags with their attributes, and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


def test_every_loss_has_its_page(store, pages):
    names = {path.name for path in pages if path.parent.name == "losses"}

    assert names == {f"{name}{kind}.html" for name in store.losses() for kind in ("", ".records")}


def test_every_link_leads_somewhere(pages):
    targets = {path.resolve(): Page(text) for path, text in pages.items()}
    for path, page in targets.items():
        for attributes in page.all("a", "link", "script", "img"):
            address = attributes.get("href") or attributes.get("src")
            if address is None or address.startswith(("https://", "data:")):
                continue
            file, _, anchor = address.partition("#")
            found = (path.parent / file).resolve() if file else path
            assert found.exists(), f"{path.name}: {address}"
            if anchor and "=" not in anchor:
                assert anchor in targets[found].ids(), f"{path.name}: {address}"


def test_nothing_is_loaded_from_elsewhere(pages):
    for text in pages.values():
        for attributes in Page(text).all("link", "script", "img", "iframe", "object", "use", "image"):
            for name in ("href", "src", "xlink:href"):
                assert not re.match(r"(https?:)?//", attributes.get(name, "")), attributes
    for sheet in STATIC.glob("*.css"):
        assert not re.search(r"@import|url\((?!data:)", sheet.read_text(encoding="utf-8"))


def test_pages_do_not_know_where_they_lie(store, pages):
    for text in pages.values():
        assert str(store.path.parent) not in text


def test_markup_of_specs_and_frameworks_is_shown_as_text(pages):
    for path, text in pages.items():
        assert ATTACK not in text
        scripts = [one.get("src", "") for one in Page(text).all("script")]
        assert len(scripts) >= 2
        assert all(address.split("/")[-2:-1] == ["static"] for address in scripts), path.name
    hostile = next(text for path, text in pages.items() if path.stem == "hostile")
    assert hostile.count("&lt;script&gt;") >= 10
    assert "1.2 &lt;beta&gt;" in next(iter(pages.values()))


def test_a_script_never_becomes_a_link(pages):
    for text in pages.values():
        for attributes in Page(text).all("a"):
            assert attributes["href"] is None or not attributes["href"].startswith("javascript")


def test_ids_are_unique_and_drawings_find_theirs(pages):
    for path, text in pages.items():
        ids = Page(text).ids()
        assert not [one for one, count in Counter(ids).items() if count > 1], path.name
        assert set(re.findall(r'(?:url\(|href=")#([^)"=]+)[)"]', text)) <= set(ids), path.name


def test_every_table_has_headers(pages):
    for text in pages.values():
        for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
            head, _, body = table.partition("</thead>")
            assert len(re.findall(r'<th scope="col"', head)) >= 2
            for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL):
                assert len(re.findall(r'<th[^>]* scope="row(?:group)?"', row)) == 1


def test_every_picture_is_described_and_has_its_table(pages):
    for path, text in pages.items():
        pictures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
        assert pictures or path.stem not in ("huber", "softmax_cross_entropy", "hostile")
        assert all('role="img" aria-label="' in picture for picture in pictures)
    huber = next(text for path, text in pages.items() if path.stem == "huber")
    assert "The same as tables" in huber
    assert "Largest error by range of the input, float32" in huber
    assert "Bytes per second" in huber


def test_drawings_keep_their_text_and_take_the_pages_colours(pages):
    css = (STATIC / "report.css").read_text(encoding="utf-8")
    for text in pages.values():
        for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            assert "<text" in svg
            assert not re.search(r"(fill|stroke): #(?!f{6}|0{6})", svg), "a colour that dark mode cannot change"
            for name in re.findall(r"var\(--([\w-]+)\)", svg):
                assert f"--{name}:" in css


def test_matrix_has_every_planned_cell(findings):
    cells = accuracy.cells(findings.jobs)

    lines = [line for family in matrix(findings).families.values() for line in family]

    assert {(line.loss.name, line.dtype) for line in lines} == set(zip(cells["loss"], cells["dtype"], strict=True))
    assert sum(box.mark is not None for line in lines for box in line.boxes) == len(cells)
    assert sum(matrix(findings).counts.values()) == len(cells)


def test_worst_verdict_and_largest_error_sort_first(findings):
    boxes = [box for family in matrix(findings).families.values() for line in family for box in line.boxes]

    ordered = sorted((box for box in boxes if box.mark), key=lambda box: float(box.sort))

    assert [verdicts.WORST_FIRST.index(box.mark.word) for box in ordered] == sorted(
        verdicts.WORST_FIRST.index(box.mark.word) for box in ordered
    )
    exact = [float(box.value) for box in ordered if box.mark.word == "exact" and box.gradient == "0"]
    assert exact == sorted(exact, reverse=True)


def test_what_was_not_measured_is_counted_and_listed(store, findings, pages):
    answered = {one.job.key for one in store.records() if isinstance(one, Answer)}
    missing = len(store.jobs()) - len(answered) + len(findings.refusals)

    table = index.unmeasured(findings)

    assert missing > 1
    assert sum(int(row[3].text) for row in table.rows) == missing
    assert any("jax has no native hostile" in row[2].text for row in table.rows)
    assert any("cut off" in row[2].text for row in table.rows)
    assert f"{missing} of {len(store.jobs())} jobs not measured" in next(iter(pages.values()))


def test_dead_workers_are_reported(findings):
    assert [row[0].text for row in index.died(findings).rows] == ["jax:compiled:cpu"]


def test_cells_of_the_runs_losses_are_counted(findings, pages):
    losses = findings.losses.values()
    table, names = coverage.cells(losses), coverage.callables(losses)

    assert [row[0].text for row in table.rows] == ["native", "recipe", "absent"]
    for framework in range(1, len(table.columns) - 1):
        assert sum(int(row[framework].text) for row in table.rows) <= len(findings.losses)
    assert sum(int(row[1].text) for row in names.rows) == len({one.name for loss in losses for one in loss.callables})
    (page,) = (page for path, page in pages.items() if path.stem == "index")
    assert "coverage" in Page(page).ids()


def test_absent_cell_stands_with_its_reason(findings):
    one = replace_struct(findings.losses["huber"], absent={"jax": "it was taken out"})

    (row,) = coverage.absent([one, findings.losses["hostile"]]).rows

    assert (row[0].links, row[1].text, row[2].text) == ([("huber", "losses/huber.html")], "jax", "it was taken out")


def test_declared_divergences_are_counted_once_for_all_targets(findings):
    frame = pd.concat([findings.divergences, findings.divergences.assign(target="torch:compiled:cpu")])
    table = coverage.divergences(frame)

    counted = sum(int(cell.links[0][0]) for row in table.rows for cell in row[1:])

    assert counted == sum(len(loss.divergences) for loss in findings.losses.values())
    assert table.rows[0][1].links[0][1].startswith("defects.html#framework=torch&kind=defect")


def test_divergences_that_no_longer_hold_come_first(findings):
    results = [row[0].text for row in index.divergences(findings.divergences, findings.losses, "losses/").rows]

    assert set(results) > {"fixed"}, "the fake targets give exact answers, so declared differences are fixed"
    assert results == sorted(results, key=list(words.PROOFS).index)


def test_defects_stand_with_their_scripts_and_conventions_do_not(findings, pages):
    found = defects.declared(findings)
    kinds = {
        (loss.name, at): one.kind for loss in findings.losses.values() for at, one in enumerate(loss.divergences, 1)
    }
    (page,) = (text for path, text in pages.items() if path.stem == "defects")

    assert {(one.loss, one.number) for one in found} == {at for at, kind in kinds.items() if kind != "convention"}
    assert all(len(one.script.splitlines()) <= script.LINES and "print(" in one.script for one in found)
    assert page.count("popovertarget=") == len(found)
    choices = defects.choices(findings)
    assert {(one.loss, one.number) for one in choices} == {at for at, kind in kinds.items() if kind == "convention"}


def test_defects_that_no_longer_hold_stand_first_and_are_counted(findings):
    found = defects.declared(findings)
    results = [one.mark.word for one in found]

    assert "fixed" in results, "the fake targets give exact answers"
    assert not {"changed", "fixed"} & set(results[results.index("not run") :])
    assert defects.counts(found) == {word: results.count(word) for word in words.PROOFS if word in results}


def test_points_and_gradients_have_a_line_for_each_input(findings):
    loss = findings.losses["huber"]
    frame = findings.about(findings.edges, "huber").copy()
    frame["exact_gradient"] = "y_pred: 0.5\ny_true: -0.5"

    table = hard.edges(frame, loss, findings.targets, Known.of(findings, loss))

    assert len(table.rows) == len(loss.edges)
    assert table.rows[0][0].text.splitlines() == [f"{name} = {value}" for name, value in loss.edges[0].at.items()]
    assert [line.partition(" =")[0] for line in table.rows[0][2].lines if line.startswith("∂")] == [
        "∂ y_pred: 0.5",
        "∂ y_true: -0.5",
    ]


def test_what_the_spec_writes_stands_beside_the_digits_only_where_it_is_another_text(findings):
    loss = findings.losses["softmax_cross_entropy"]
    frame = findings.about(findings.edges, loss.name)
    table = hard.edges(frame, loss, findings.targets, Known(loss=loss.name, hard={}))
    said = {row[0].text: row[2] for row in table.rows}

    written = [line for cell in said.values() for line in cell.lines if line.startswith("= ")]

    assert written
    assert not [cell for cell in said.values() if f"= {cell.text}" in cell.lines]


def test_edge_that_is_missed_is_no_secret(findings):
    rows = findings.edges.assign(result="exact")
    rows.loc[rows.index[0], ["result", "got_value"]] = ["wrong", "17"]

    (one,) = defects.missed(replace(findings, edges=rows))

    assert (one.loss, one.mark.word, one.got.text) == (rows.iloc[0]["loss"], "wrong", "17")


def test_got_stands_beside_exact(findings):
    table = index.divergences(findings.divergences, findings.losses, "losses/")

    row = next(row for row in table.rows if row[1].links[0][0] == "hostile")

    assert table.columns[4:6] == ["Exact", "Got"]
    assert (row[4].text, row[5].text) == ("1", "1")


def test_facts_that_were_not_run_show_what_the_spec_says(findings, pages):
    fact = next(fact for fact in findings.losses["huber"].facts if fact.framework == "jax")
    topic, said = next(iter(fact.says.items()))
    (page,) = (text for path, text in pages.items() if path.stem == "conventions")

    grid = conventions.of_loss(findings.about(findings.facts, "huber"))
    (line,) = (line for line in grid.lines if line.head == topic)
    place = grid.frameworks.index("jax")

    assert said in [one.text for one in line.boxes[place]]
    assert "jax" in grid.recorded
    assert "recorded, not run" in page
    assert not news.table(findings.facts).rows


def test_mark_tells_recorded_facts_from_those_that_were_run(findings):
    facts = findings.facts.copy()
    mine = (facts["loss"] == "huber") & (facts["framework"] == "torch")
    run = facts.index[mine][0]
    facts.loc[run, ["target", "observed", "result"]] = ["torch:eager:cpu", facts["declared"][run], "confirmed"]

    grid = conventions.of_loss(facts[facts["loss"] == "huber"])
    torch = [one for line in grid.lines for one in line.boxes[grid.frameworks.index("torch")]]

    assert "torch" not in grid.recorded
    assert {one.mark.word if one.mark else "" for one in torch} == {"", "recorded"}


def test_topics_stand_in_groups_and_other_backends_below_their_topic(findings):
    frame = findings.facts.copy()
    other = frame[frame["topic"] == "empty batch"].assign(topic="empty batch: Keras on jax")
    groups = conventions.sections(pd.concat([frame[~frame["topic"].str.contains("Keras")], other]))
    (empty,) = (section for section in groups["Shapes"] if section.name == "empty batch")

    assert [part.name for part in empty.parts] == ["empty batch: Keras on jax"]
    assert "Others" not in groups


def test_callable_of_several_losses_says_of_which(findings):
    frame = findings.facts[(findings.facts["loss"] == "huber") & (findings.facts["topic"] == "default output")]
    (section,) = conventions.sections(pd.concat([frame, frame.assign(loss="smooth_l1")]))["Reductions"]

    names = [name for line in section.answers.lines for box in line.boxes for said in box for name, _ in said.callables]

    assert len(names) == len(set(names)) == 2 * len(frame)
    assert all(name.endswith((" (huber)", " (smooth_l1)")) for name in names)


def test_callable_that_could_not_be_asked_is_news(findings):
    silent = findings.facts.iloc[[0]].assign(topic="", target="torch:eager:cpu", declared="", reason="failed: alone")

    (row,) = news.table(silent).rows

    assert (row[0].text, row[5].text) == ("no answer", "failed: alone")


def test_every_verdict_and_proof_has_a_sign_and_a_word():
    assert set(words.MARKS) == set(verdicts.VERDICTS)
    assert set(words.PROOFS) == set(verdicts.PROOFS)
    assert len({mark.glyph for mark in words.MARKS.values()}) == len(words.MARKS)


def test_writing_again_gives_the_same_pages(store, pages):
    report.write(store)

    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text


def test_pages_of_losses_that_are_gone_are_removed(store, pages):
    left_over = store.path / "losses" / "gone.html"
    left_over.write_text("of a former report")

    report.write(store)

    assert not left_over.exists()


def test_report_of_a_run_that_was_cut_off_at_once_is_written(store, tmp_path):
    shutil.copytree(store.path, tmp_path / "empty", ignore=shutil.ignore_patterns("losses", "static", "*.npy"))
    (tmp_path / "empty" / "records.jsonl").write_bytes(b"")

    page = report.write(type(store).open(tmp_path / "empty"))

    assert "the run was cut off" in page.read_text(encoding="utf-8")


def test_json_beside_a_page_is_the_losss_records(store, pages):
    listed = json.loads((store.path / "losses" / "huber.json").read_text())

    wanted = [one for one in store.records() if isinstance(one, Answer) and one.job.case.loss == "huber"]
    assert [one["job"]["measure"] for one in listed] == [one.job.measure for one in wanted]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.ulps(0.0), "0"),
        (words.ulps(0.4999), "0.50"),
        (words.ulps(12.4), "12"),
        (words.ulps(23773.0), "23 773"),
        (words.ulps(2.84e14), "2.8e14"),
        (words.ulps(3e-7), "3.0e-7"),
        (words.ulps(float("nan")), "–"),
        (words.ulps(float("inf")), "∞"),
        (words.ulps(None), "–"),
        (words.seconds(2.5e-6), "2.50 µs"),
        (words.seconds(0.0123), "12.3 ms"),
        (words.seconds(75.0), "75.0 s"),
        (words.seconds(float("nan")), "–"),
        (words.interval(1e-3, 2e-3, words.seconds), "1.00 ms to 2.00 ms"),
        (words.interval(float("nan"), float("nan"), words.seconds), "–"),
        (words.rate(1.5e10), "15.0 GB/s"),
        (words.percent(0.5), "50 %"),
        (words.ratio(1.0), "1.00×"),
        (words.size(8_000_000), "8.00 MB"),
    ],
)
def test_numbers_are_short_and_have_their_unit(shown, expected):
    assert shown == expected


def test_largest_error_of_each_place_is_kept():
    x = np.concatenate([np.linspace(-1, 1, 1000), [0.5]])
    error = np.concatenate([np.zeros(1000), [7.0]])

    at, found = charts.largest(x, error, charts.Scale.of(x))

    assert found.max() == 7.0
    assert at[found.argmax()] == 0.5
    assert len(at) <= charts.BINS + 1


@pytest.mark.parametrize("x", [np.linspace(0, 1, 50), np.geomspace(1e-9, 1e9, 50), -np.geomspace(1e-9, 1e30, 50)])
def test_axis_of_inputs_keeps_their_order(x):
    at = charts.Scale.of(x).unit(np.sort(x))

    assert np.isfinite(at).all()
    assert (np.diff(at) > 0).sum() >= 40


def test_the_largest_errors_that_there_are_can_be_drawn():
    most = sys.float_info.max
    frame = pd.DataFrame({"x": [1.0, 2.0], "value_ulp": [1.0, most], "gradient_ulp": [0.0, 0.0], "exact": [1.0, 1.0]})
    (picture,), _ = one.errors({"torch": {"float32": frame}}, spec.load("huber"), ["float32"])

    assert "<svg" in picture.svg


def test_errors_that_are_not_numbers_are_drawn_too():
    frame = pd.DataFrame({"x": [1.0, 2.0, np.inf], "value_ulp": [0.5, np.inf, np.nan], "gradient_ulp": [0.5, 1.0, 2.0]})

    scale = charts.Scale.of(frame["x"].to_numpy())
    without = frame.assign(value_ulp=[0.5, 0.5, np.nan])

    one, other = charts.errors({"torch": {"float32": frame}, "jax": {"float32": without}}, scale, 4.0, "huber")

    assert len(one) > len(other)


def test_pictures_on_the_same_axes_show_only_their_own_marks():
    frame = pd.DataFrame({"x": [1.0, 2.0], "value_ulp": [0.5, 2.0], "gradient_ulp": [0.5, 1.0]})
    scale = charts.Scale.of(frame["x"].to_numpy())
    first, second = charts.errors({"one": {"float32": frame}, "two": {"float32": frame}}, scale, 4.0, "huber")

    assert second == first.replace("errors-0-", "errors-1-").replace("huber by one", "huber by two")


def schemes():
    """The colours of the light and of the dark scheme, by name."""
    text = (STATIC / "report.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", text)
    return {"light": {name: one for name, one, _ in pairs}, "dark": {name: other for name, _, other in pairs}}


def luminance(colour):
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(scheme):
    """At least 4.5 to 1, as WCAG 2 asks for at level AA; pictures 3 to 1."""
    colours = schemes()[scheme]
    tones = [name.removesuffix("-back") for name in colours if name.endswith("-back")]
    pairs = [(tone, f"{tone}-back", 4.5) for tone in tones] + [(tone, "paper", 4.5) for tone in tones]
    pairs += [("ink", f"{tone}-back", 4.5) for tone in tones]
    pairs += [(name, ground, 4.5) for name in ("ink", "muted", "accent") for ground in ("paper", "raised")]
    pairs += [(f"series-{number}", "paper", 3.0) for number in range(8)] + [("limit", "paper", 3.0)]
    for ink, ground, wanted in pairs:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= wanted, f"{ink} on {ground}"


def test_each_colour_is_written_once_for_both_schemes():
    text = (STATIC / "report.css").read_text(encoding="utf-8")
    without = re.sub(r"--[\w-]+: light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\);", "", text)

    assert len(schemes()["dark"]) >= 20
    assert not re.search(r"#[0-9a-f]{3,6}\b", without)


def test_what_is_vendored_brings_its_licence():
    for vendored in ("sortable.min.js", "stix-two-math.css"):
        name = vendored.partition(".")[0]
        assert (STATIC / vendored).exists()
        assert len((STATIC / f"{name}.LICENSE").read_text(encoding="utf-8")) > 500


def test_our_own_scripts_stay_small():
    others = {path.stem for path in STATIC.glob("*.LICENSE")}
    ours = [path for path in STATIC.glob("*.js") if path.name.partition(".")[0] not in others]
    lines = [line for path in ours for line in path.read_text(encoding="utf-8").splitlines()]

    assert len(ours) >= 4
    assert len(lines) < 200
    assert max(map(len, lines)) <= 120
