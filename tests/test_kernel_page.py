"""The page of the local kernels: every case beside its ceiling and the best framework, escaped, with its goals."""

import csv
import re
import tomllib

import pytest
from in_browser import faults, scheme, spills, window

from lossbench import goals, report, spec
from lossbench.records import Case, Job, Output, Target, Timing
from lossbench.report import index, kernels
from lossbench.report.findings import Findings
from lossbench.store import Store
from lossbench.suite import Suite

NUMBA = Target(framework="numba", mode="compiled", threads=1)
# Frameworks may come from anywhere: a path is the text of a page that others choose.
TORCH = Target(framework="torch", threads=1, interpreter="/opt/<b>torch</b>/python")
CEILING = Target(framework="ceiling", mode="reused", threads=1)
LOSSES = ("huber", "log_cosh", "sparse_softmax_cross_entropy")


def timings():
    """Huber at 0.5 of its ceiling, log_cosh at 0.8 and the softmax at 0.1; each is 8 times as fast as torch."""
    for loss, share in zip(LOSSES, (0.5, 0.8, 0.1), strict=True):
        shape = (1_000_000,) if loss != LOSSES[-1] else (1024, 1000)
        one = spec.load(loss)
        case = Case(loss=loss, digest=one.digest, dtype="float32", points="timing", shape=shape, reduction="mean")
        for target, seconds in ((NUMBA, 1e-3), (TORCH, 8e-3), (CEILING, share * 1e-3)):
            yield Timing(
                job=Job(case=case, target=target, measure="forward"),
                first_call=0.1,
                seconds=[seconds] * 8,
                calls=1,
                turns=list(range(8)),
                traffic=8_000_000,
            )


def stored(folder, records):
    store = Store.create(folder, [one.job for one in records], [spec.load(name) for name in LOSSES], SUITE)
    for record in records:
        store.append(record)
    store.close()
    return store


SUITE = Suite(name="kernels", summary="Kernels.", targets=("numba",))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = stored(tmp_path_factory.mktemp("run") / "run", list(timings()))
    report.write(store)
    return store


@pytest.fixture(scope="module")
def page(store):
    return (store.path / "kernels.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(store):
    return Findings.of(store).kernels


def cells(page, loss):
    row = next(row for row in re.findall(r"<tr data-loss.*?</tr>", page, re.DOTALL) if f'data-loss="{loss}"' in row)
    return [re.sub(r"<[^>]+>|\s+", " ", cell).split() for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)]


def test_every_case_stands_beside_what_it_is_compared_with(page):
    assert cells(page, "huber")[6][:4] == ["0.500", "0.500", "to", "0.500"]
    assert cells(page, "log_cosh")[6][0] == "0.800"
    assert cells(page, "sparse_softmax_cross_entropy")[7][0] == "8.00"
    assert "ceiling:reused:cpu*1," in cells(page, "huber")[6]


def test_goals_stand_beside_the_ratios_that_they_are_for(page):
    assert cells(page, "huber")[8 + 1][-1] == "below"
    assert cells(page, "huber")[6][4:8] == ["▽", "below", "≥", "0.950"]
    assert cells(page, "log_cosh")[9][-1] == "reached"
    assert cells(page, "log_cosh")[7][4:8] == ["✓", "reached", "≥", "4.00"]
    assert cells(page, "sparse_softmax_cross_entropy")[9][-1] == "reached"


def test_losses_below_a_goal_are_named_and_counted(store, found):
    below = kernels.below(goals.judged(found, goals.load()))

    assert [row[0].links[0][0] for row in below.rows] == ["huber"]
    assert kernels.missed(found) == 1
    assert "1 loss below a goal of the local kernels" in (store.path / "index.html").read_text(encoding="utf-8")


def test_overview_has_the_lowest_ratio_of_each_goal(found):
    table = kernels.overview(goals.judged(found, goals.load()))
    lowest = {row[0].text: (row[4].text, row[5].text, row[6].text) for row in table.rows}

    assert lowest["arithmetic runs at the ceiling"] == ("1", "0", "0.500")
    assert lowest["softmax of labels, many classes"] == ("1", "1", "8.00")


def test_what_a_run_carries_is_text(page):
    assert "<b>torch</b>" not in page
    assert "&lt;b&gt;torch&lt;/b&gt;" in page


def test_page_has_a_picture_for_each_group_and_measure(page):
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)

    assert len(figures) == 3
    assert all('role="img" aria-label="' in one and "<text" in one for one in figures)
    assert not any(re.search(r"(fill|stroke): #(?!f{6}|0{6})", one) for one in figures)


def test_page_loads_nothing_from_elsewhere_and_its_links_lead_somewhere(store, page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for address in re.findall(r'(?:href|src)="([^"]+)"', page):
        file, _, anchor = address.partition("#")
        assert address.startswith("data:") or (file and (store.path / file).exists()) or "=" in anchor or anchor in ids


def test_every_primitive_stands_with_its_error_over_all_inputs(page):
    rows = tomllib.loads(kernels.ULPS.read_text(encoding="utf-8"))

    assert all(f"<code>{name}</code>" in page and f"{row['worst']:.4f}" in page for name, row in rows.items())


def test_the_same_is_there_as_csv_and_as_markdown(store):
    with (store.path / "kernels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    text = (store.path / "kernels.md").read_text(encoding="utf-8")

    assert {row["loss"]: float(row["of_ceiling"]) for row in rows} == pytest.approx(
        dict(zip(LOSSES, (0.5, 0.8, 0.1), strict=True))
    )
    assert "| huber | 0.500 / 8.00 |" in text
    assert "| sparse_softmax_cross_entropy | 0.100 / 8.00 |" in text


def test_run_without_a_ceiling_has_no_page(tmp_path):
    store = stored(tmp_path / "run", [one for one in timings() if one.job.target != CEILING])
    first = report.write(store)

    assert not (store.path / "kernels.html").exists()
    assert "kernels.html" not in first.read_text(encoding="utf-8")


def test_functions_that_numba_compiled_are_counted():
    first, *rest = timings()
    answer = Output(job=first.job, arrays={}, inputs="", seconds=1.0, compiled=3)

    assert index.compiled([answer, *rest]) == 3
    assert index.compiled([one for one in rest if one.job.target.framework != "numba"]) is None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_fits_every_window_and_axe_finds_nothing_serious(watched, store, theme):
    scheme(watched, theme)
    for width in (360, 3840):
        window(watched, width)
        watched.get((store.path / "kernels.html").as_uri())

        assert not spills(watched)
        assert faults(watched) == {}
