"""The page of a sweep: one file, every number of the tallies, nothing taken for markup."""

import re

import pytest
from in_browser import faults, scheme, spills, window
from msgspec.structs import replace

from lossbench import spec
from lossbench.records import Target
from lossbench.report import sweep as page
from lossbench.sweeps.folder import Folder, Session
from lossbench.sweeps.shard import CATEGORIES, Extreme, Part, Shard, Tally, Unanswered
from lossbench.sweeps.whole import Sweep

LOSS = spec.load("absolute_error")
SHARD = Shard(
    loss="absolute_error",
    digest=LOSS.digest,
    target=Target(framework="torch"),
    dtype="bfloat16",
    method="exhaustive",
    swept=("y_pred",),
    at={"y_true": "0"},
    last=1 << 16,
)
WORST = Extreme(
    at={"y_pred": "0x1.8p+0", "y_true": "0x0p+0"}, got="0x1.9p+0", exact="1.5", ulps=8.0, judged=4.0, condition=1.0
)
PART = Part(
    counts={"normal": 65_535, "nan": 1},
    histogram={-1: 65_000, 0: 500, 3: 35},
    worst=WORST,
    conditioned=replace(WORST, at={"y_pred": "0x1p+1", "y_true": "0x0p+0"}, judged=5.0),
    examples={"nan": replace(WORST, at={"y_pred": "inf", "y_true": "0x0p+0"}, got="nan", ulps=None, judged=None)},
)
TALLY = Tally(
    shard=SHARD,
    versions={"torch": "2.0"},
    evaluations=65_536,
    parts={
        "value": PART,
        "gradient.y_pred": replace(PART, counts={"normal": 65_536}, examples={}, histogram={-1: 65_536}),
    },
    seconds=2.0,
    asked=0.5,
)
REFUSED = Unanswered(
    shard=replace(SHARD, target=Target(framework="jax")), reason="failed", detail="<script>alert('no')</script>"
)


@pytest.fixture
def written(tmp_path):
    folder = Folder.create(tmp_path / "sweep", [TALLY.shard, REFUSED.shard], [LOSS])
    for record in (TALLY, REFUSED):
        folder.records.append(record)
    folder.sessions.append(Session(processes=2, shards=2, evaluations=65_536, seconds=4.0))
    folder.close()
    return page.write(Sweep(Folder.open(folder.path)))


@pytest.fixture
def text(written):
    return written.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file_and_no_network(text):
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)


def test_the_worst_inputs_are_there_with_what_came_out(text):
    assert "y_pred = 1.5 (0x1.8p+0), y_true = 0" in text
    assert "1.5625 (0x1.9p+0)" in text
    assert "judged worst: y_pred = 2, y_true = 0" in text
    assert "nan: at y_pred = inf, y_true = 0" in text
    assert "65,535 normal, 1 nan" in text


def test_what_the_errors_are_worth_is_there(text):
    assert "<b>1</b> exhaustive: a bound" in text
    assert "every y_pred, at 1 setting of the rest" in text


def test_speed_is_of_the_target_alone_and_of_whole_sessions(text):
    rates = [float(rate) for rate in re.findall(r'data-sort="([\d.]+)">[\d,]+</td>', text)]

    assert {131_072.0, 16_384.0} <= set(rates)


def test_words_of_a_framework_are_text(text):
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_the_picture_is_read_to_those_who_do_not_see_it(text):
    assert 'aria-label="65,000 within half an ulp; 500 within 1; 35 within 8"' in text


def test_errors_beyond_the_picture_are_in_its_last_bar():
    bars = page._bars({-1: 10, 0: 5, 40: 2, 1024: 1})

    assert bars.label == "10 within half an ulp; 5 within 1; 3 beyond 8192"
    assert bars.ends == "≤ ½ ulp … > 8192"


def test_every_category_is_explained():
    assert set(page.MEANING) == set(CATEGORIES)


@pytest.mark.parametrize(
    ("counts", "worst", "judged", "glyph"),
    [
        ({"normal": 1}, 0.5, 0.5, "✓"),
        ({"normal": 1}, 200.0, 3.0, "≈"),
        ({"normal": 1}, 200.0, 30.0, "▽"),
        ({"normal": 1, "flushed": 1}, 0.5, 0.5, "▽"),
        ({"normal": 1, "nan": 1}, 0.5, 0.5, "✗"),
    ],
)
def test_signs(counts, worst, judged, glyph):
    part = Part(
        counts=counts, histogram={}, worst=replace(WORST, ulps=worst), conditioned=replace(WORST, judged=judged)
    )

    assert page._brief(part)["mark"].glyph == glyph


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_fits_every_window_and_axe_finds_nothing_serious(watched, written, theme):
    scheme(watched, theme)
    for width in (360, 3840):
        window(watched, width)
        watched.get(written.as_uri())

        assert not spills(watched)
        assert faults(watched) == {}
