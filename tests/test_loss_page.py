"""The page of a loss: records behind its numbers, ports, histogram, kinks, accuracy against time."""

import html
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import pytest
from small_run import small_run

import lossbench
from lossbench import report, spec
from lossbench.again import again
from lossbench.errors import LossbenchError
from lossbench.records import Answer
from lossbench.report import evidence, histogram, kinks, one, pareto, ports
from lossbench.report.evidence import Known
from lossbench.report.findings import Findings

SUITE = """
summary = "one case"
targets = ["torch"]
[[accuracy]]
targets = ["torch"]
dtypes = ["float32"]
points = 40
reductions = ["none"]
"""


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    store = small_run(tmp_path_factory.mktemp("run"))
    report.write(store)
    return Findings.of(store)


@pytest.fixture(scope="module")
def text(findings):
    """The page of one loss, and that of its records."""
    folder = findings.path / "losses"
    return [(folder / name).read_text(encoding="utf-8") for name in ("huber.html", "huber.records.html")]


def test_every_answer_has_its_record_on_the_page_as_it_is_stored(findings, text):
    wanted = [one for one in findings.by_loss["huber"] if isinstance(one, Answer)]

    listed = re.findall(r'<div id="([0-9a-f]{24})"><pre><code>(.*?)</code>', text[1])

    assert {key for key, _ in listed} == {one.job.key for one in wanted}
    stored = {one.job.key: json.loads(msgspec.json.encode(one)) for one in wanted}
    for key, shown in listed:
        assert json.loads(html.unescape(re.sub(r"<.*?>", "", shown))) == stored[key]


def test_numbers_of_the_tables_lead_to_records_that_are_there(text):
    anchors = set(re.findall(r'id="([0-9a-f]{24})"', text[1]))

    led = re.findall(r'href="huber.records.html#([0-9a-f]{24})"', text[0])

    assert set(led) <= anchors
    for section in ("accuracy", "edges", "divergences", "time"):
        part = text[0].partition(f'<section id="{section}">')[2].partition("</section>")[0]
        assert "huber.records.html#" in part, section


def test_largest_error_leads_to_the_case_that_has_it(findings):
    jobs, cells = (findings.about(frame, "huber") for frame in (findings.jobs, findings.cells))

    table = one.verdicts(cells, jobs, Known.of(findings, findings.losses["huber"]))

    row = next(row for row in table.rows if row[0].text == "jax:compiled:cpu" and row[1].text == "float32")
    ((_, address),) = row[table.columns.index("Gradient, ulp")].links
    job = jobs[jobs["job"] == address.partition("#")[2]].iloc[0]
    drawn = jobs[(jobs["target"] == "jax:compiled:cpu") & (jobs["dtype"] == "float32") & (jobs["points"] == "domain")]
    assert job["gradient_max_ulp"] == drawn["gradient_max_ulp"].max() > 2


def test_script_of_a_record_gives_its_number_again(tmp_path):
    (tmp_path / "small.toml").write_text(SUITE, encoding="utf-8")
    run = lossbench.run(tmp_path / "small.toml", losses=["hinge"], out=tmp_path)
    page = (run.path / "losses" / "hinge.records.html").read_text(encoding="utf-8")
    job = run.findings.jobs.iloc[0]

    code = re.search(rf'id="{job["job"]}">.*?<div class="copyable"><pre><code>(.*?)</code>', page, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-c", html.unescape(code)], cwd=run.path, capture_output=True, text=True, check=True
    )

    said = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in done.stdout.splitlines() if "  " in line)
    assert said["verdict"] == job["verdict"]
    assert float(said["value_max_ulp"]) == pytest.approx(job["value_max_ulp"], rel=1e-5)
    assert float(said["gradient_max_ulp"]) == pytest.approx(job["gradient_max_ulp"], rel=1e-5)


def test_job_of_another_formula_is_not_done_again(findings):
    job = next(one.job for one in findings.by_loss["huber"] if isinstance(one, Answer))
    asked = msgspec.json.encode(msgspec.structs.replace(job, case=msgspec.structs.replace(job.case, digest="0")))

    with pytest.raises(LossbenchError, match=r"expected huber with the digest 0, which is specs/huber\.toml"):
        again("huber", asked.decode())
    with pytest.raises(LossbenchError, match="is no job"):
        again("huber", "{}")


def test_markup_in_a_record_stays_text():
    assert evidence._linked('{"detail":"</code><script>&"}') == '{"detail":"&lt;/code&gt;&lt;script&gt;&amp;"}'


def test_array_of_a_record_is_a_link_to_its_file():
    name = "0123456789abcdef" * 2

    assert evidence._linked(f'"{name}"') == f'"<a href="../arrays/{name}.npy">{name}</a>"'


@pytest.mark.parametrize("loss", spec.load_all(), ids=lambda loss: loss.name)
def test_every_pair_of_frameworks_has_its_recipe(loss):
    sides = ports.sides(loss)

    assert loss.accumulated or {side.framework for side in sides} == set(loss.frameworks)
    for side in sides:
        compile(side.code, side.framework, "exec")
        for port in side.ports.values():
            compile(port.code, port.framework, "exec")
            assert bool(port.code) != bool(port.unexpressed)


def test_port_of_huber_is_what_people_write():
    sides = {side.framework: side for side in ports.sides(spec.load("huber"))}

    assert sides["torch"].name == "torch.nn.functional.huber_loss"
    assert sides["torch"].others == ["torch.nn.HuberLoss"]
    assert (
        sides["torch"]
        .ports["jax"]
        .code.endswith("value = jnp.mean(optax.losses.huber_loss(y_pred, y_true, delta=1.0))")
    )


def test_each_error_is_in_the_bin_that_ends_at_it():
    ulps = np.array([0, 0.5, 0.51, 1, 16, 17, 2.0**24, 2.0**25, np.inf, np.nan])

    counts = dict(zip(histogram.BINS, histogram.counted(ulps).tolist(), strict=True))

    assert counts == {
        **dict.fromkeys(histogram.BINS, 0),
        **{"0": 1, "≤ ½": 1, "≤ 1": 2, "≤ 16": 1, "≤ 2⁸": 1, "≤ 2²⁴": 1, "more": 1, "amiss": 1},
    }


def test_histogram_counts_every_drawn_point(findings):
    loss = findings.losses["huber"]
    found = one.points(findings, loss, ["float32"])

    picture, table = histogram.picture(found, loss, ["float32"])

    assert "<text" in picture.svg
    assert [sum(int(cell.text or 0) for cell in row[3:]) for row in table.rows] == [40] * 4


def test_histogram_of_nothing_is_none():
    assert histogram.picture({}, spec.load("huber"), ["float32"]) is None


def cells(*lines):
    names = ["target", "dtype", "verdict", "value_conditioned", "gradient_conditioned", "mismatches"]
    return pd.DataFrame(lines, columns=names).assign(device="cpu", framework="torch")


def medians(*lines):
    names = ["target", "measure", "elements", "median", "framework"]
    return pd.DataFrame(lines, columns=names).assign(dtype="float32", device="cpu", shape="n", job="key")


def test_who_is_beaten_in_both_is_not_on_the_front():
    accurate = cells(
        *[("slow", "float32", "exact", 0.4, 0.5, 0), ("fast", "float32", "wrong", 9e6, 1.0, 0)],
        *[("beaten", "float32", "wrong", 9.1e6, 1.0, 0), ("amiss", "float32", "wrong", 0.1, 0.1, 1)],
    )
    timed = medians(
        *[("slow", "gradient", 1000, 4e-3, "torch"), ("fast", "gradient", 1000, 1e-3, "torch")],
        *[("beaten", "gradient", 1000, 2e-3, "torch"), ("amiss", "gradient", 1000, 3e-3, "torch")],
        *[("slow", "gradient", 10, 1e-9, "torch"), ("slow", "forward", 1000, 1e-9, "torch")],
        *[("ceiling", "gradient", 1000, 1e-9, "ceiling"), ("untested", "gradient", 1000, 1e-9, "torch")],
    )

    found = pareto.points(accurate, timed[timed["target"] != "untested"]).set_index("target")

    assert found["front"].to_dict() == {"slow": True, "fast": True, "beaten": False, "amiss": False}
    assert found["ratio"].to_dict() == {"slow": 4.0, "fast": 1.0, "beaten": 2.0, "amiss": 3.0}
    assert found.loc["fast", "ulps"] == 9e6
    assert np.isinf(found.loc["amiss", "ulps"])


def test_one_target_alone_is_no_picture(findings):
    frame = pareto.points(cells(("a", "float32", "exact", 0.5, 0.5, 0)), medians(("a", "gradient", 9, 1.0, "torch")))

    assert pareto.picture(frame, findings.losses["huber"], ["a"]) is None
    assert len(pareto.table(frame, Known(loss="huber", hard={})).rows) == 1


def kink(**changes):
    inputs = {"y_pred": np.array([1.0]), "y_true": np.array([1.0])}
    got = {"torch:eager:cpu": (0.0, "key"), "jax:compiled:cpu": (-0.5, "key")}
    given = {"edge": 1, "dtype": "float32", "name": "y_pred", "place": 0, "low": -1.0, "high": 0.0}
    return kinks.Kink(**{**given, "inputs": inputs, "got": got, **changes})


def test_slope_jumps_at_the_kink_and_nowhere_else():
    at, loss, slope = kinks._along(kink(), spec.load("hinge"))

    assert set(slope[at < 1]) == {-1.0}
    assert set(slope[at > 1]) == {0.0}
    np.testing.assert_allclose(loss, np.maximum(0, 1 - at))


def test_each_answer_stands_in_the_picture_with_its_target():
    (picture,) = kinks.pictures([kink()], spec.load("hinge"), ["torch:eager:cpu", "jax:compiled:cpu"])

    for words in ("-0.5", "jax:compiled", "torch:eager", "slope"):
        assert f">{words}<" in picture.svg
    assert picture.title.endswith("by y_pred [-1, 0]")


def test_kink_far_out_has_no_picture_but_its_row():
    far = kink(inputs={"y_pred": np.array([1e30]), "y_true": np.array([1.0])})

    assert kinks.pictures([far], spec.load("hinge"), ["torch:eager:cpu"]) == []
    (row,) = kinks.table([far], spec.load("hinge"), ["torch:eager:cpu"], Known(loss="hinge", hard={})).rows
    assert row[-1].links == [("0", "hinge.records.html#key")]


def test_smooth_losses_have_no_kinks(findings):
    assert kinks.found(findings.answers, findings.losses["huber"]) == []
    assert kinks.found(SimpleNamespace(by_loss={}), findings.losses["huber"]) == []
