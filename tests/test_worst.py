"""Worst inputs: kept beside the specs by the tool, checked when they are read, asked again in every later run."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from lossbench import inputs, kept, plan, runs, spec, worst
from lossbench.errors import LossbenchError, SpecError
from lossbench.records import REFERENCE
from lossbench.store import Store
from lossbench.suite import Suite
from lossbench.sweeps import keeping, whole
from lossbench.worst import Worst

FAKE = Path(__file__).parent / "fake_adapter"
RELAPSE, ULPS = "0x1.8p+0", 2.0**16  # where the fake framework is wrong in its mode "planted", and by how much
SUITE = """
summary = "Worst inputs alone."
targets = ["fake:planted"]
worst = ["float32"]
deadline = 60
"""
HUBER = Worst(
    dtype="float32",
    target="torch:eager:cpu",
    quantity="value",
    at={"y_pred": "0x1.8p+1", "y_true": "-0x1p-3"},
    ulps=3.0,
    conditioned=2.0,
    got="0x1p+0",
    exact="1.5",
    method="search, 10 evaluations, seed 0",
    found="torch 1.0",
)


@pytest.fixture
def own(tmp_path):
    """A spec in a folder of its own, beside which worst inputs can be kept."""

    def own(name: str, *entries: Worst):
        path = tmp_path / f"{name}.toml"
        path.write_text(spec.load(name).source, encoding="utf-8")
        loss = spec.load(path)
        if entries:
            worst.write(loss, entries)
        return loss

    return own


def test_what_is_written_is_read_again(own):
    entries = [
        HUBER,
        replace(HUBER, quantity="gradient", ulps=np.inf, conditioned=np.inf, got="nan"),
        replace(HUBER, parameters={"delta": "0.5"}, at={"y_pred": "0x0p+0", "y_true": "-0x0p+0"}),
    ]

    assert worst.kept(own("huber", *entries)) == entries


def test_nothing_is_kept_where_there_is_no_file(own):
    assert worst.kept(own("huber")) == []


def test_kept_inputs_leave_the_digest_of_a_spec_alone(own):
    assert own("huber", HUBER).digest == spec.load("huber").digest


BROKEN = {
    'dtype = "float32"': ('dtype = "float31"', ":4: invalid enum value 'float31'"),
    "ulps": ("ulp", "expected one of"),
    "y_true": ("y_tru", ":7: at says y_pred, y_tru; expected every input of huber: y_pred, y_true"),
    '"0x1.8p+1"': ('["0x1.8p+1"]', ":7: y_pred has shape (1,); expected one along no axis that fits the others"),
    '"-0x1p-3"': ('"one"', ":7: y_true is 'one'; expected floats in hexadecimal, such as \"0x1.8p+1\""),
    "0x1.8p+1": ("0x1.0000000001p+1", ":7: y_pred is '0x1.0000000001p+1'; expected finite numbers of float32"),
    "0x1.8p+1 ": ("inf", ":7: y_pred is 'inf'; expected finite numbers of float32"),
}


@pytest.mark.parametrize("right", BROKEN)
def test_a_broken_file_is_refused_with_its_line(own, right):
    wrong, reason = BROKEN[right]
    loss = own("huber", HUBER)
    path = worst.path_of(loss)
    path.write_text(path.read_text(encoding="utf-8").replace(right.strip(), wrong, 1), encoding="utf-8")

    with pytest.raises(SpecError) as error:
        worst.kept(loss)

    assert str(error.value).startswith(f"{path}:")
    assert reason in str(error.value)


def test_unknown_parameters_and_fractional_labels_are_refused(own):
    with pytest.raises(SpecError, match="huber has no parameter 'beta'"):
        worst.kept(own("huber", replace(HUBER, parameters={"beta": "1"})))
    row = replace(HUBER, at={"logits": ["0x1p+0", "0x0p+0"], "y_true": "0x1p+0"})
    with pytest.raises(SpecError, match=r"y_true is '0x1p\+0'; expected labels: whole numbers"):
        worst.kept(own("sparse_softmax_cross_entropy", row))


def test_of_each_cell_the_worst_and_the_worst_after_conditioning_and_one_of_kind_are_kept():
    at = [{"y_pred": f"0x{place}p+0", "y_true": "0x0p+0"} for place in range(1, 6)]
    ulps, conditioned, kind, neither, other = (replace(HUBER, at=one) for one in at)
    ulps = replace(ulps, ulps=100.0, conditioned=1.0)
    conditioned = replace(conditioned, ulps=50.0, conditioned=9.0)
    kind = replace(kind, ulps=np.inf, conditioned=np.inf)
    neither = replace(neither, ulps=60.0, conditioned=5.0)
    other = replace(other, target="jax:compiled:cpu")

    assert worst.merged([ulps, neither, other], [kind, conditioned]) == [other, kind, ulps, conditioned]


def test_merging_does_not_depend_on_the_order():
    entries = [replace(HUBER, at={"y_pred": f"0x{place}p+0", "y_true": "0x0p+0"}, ulps=2.0) for place in (1, 2, 3)]

    assert worst.merged(entries, []) == worst.merged(entries[::-1], [])


def test_what_is_found_at_a_kept_input_now_replaces_what_was_found_then():
    better = replace(HUBER, ulps=1.0, conditioned=1.0)

    assert worst.merged([HUBER], [better]) == [better]


def test_inputs_of_one_shape_are_asked_in_one_batch_and_none_twice(own):
    loss = own(
        "softmax_cross_entropy",
        *(
            replace(
                HUBER, quantity=quantity, at={"logits": logits, "y_true": ["0x1p+0"] + ["0x0p+0"] * (len(logits) - 1)}
            )
            for logits in (["0x1p+0"] * 2, ["0x1p+1"] * 2, ["0x1p+0"] * 3)
            for quantity in ("value", "gradient")
        ),
    )

    assert [(one.shape, [len(found) for found in one.kept]) for one in worst.batches(loss, "float32")] == [
        ((2, 2), [2, 2]),
        ((1, 3), [2]),
    ]


def test_a_whole_batch_is_a_case_of_its_own(own):
    one = {"y_pred": [["0x1p-1"] * 3] * 2, "y_true": [["0x1p+0"] * 3] * 2}
    other = {"y_pred": [["0x1p-2"] * 3] * 2, "y_true": [["0x1p+0"] * 3] * 2}

    found = worst.batches(own("batch_dice", replace(HUBER, at=one), replace(HUBER, at=other)), "float32")

    assert [batch.shape for batch in found] == [(2, 3), (2, 3)]


@pytest.mark.parametrize(
    "loss", [loss for loss in spec.load_all() if worst.path_of(loss).exists()], ids=lambda loss: loss.name
)
def test_every_kept_input_is_asked_bit_by_bit(loss):
    suite = Suite(summary="", targets=("torch",), worst=("float32", "float64", "bfloat16", "float16"))
    cases = [job.case for job in plan.jobs(suite, [loss]) if job.target == REFERENCE]
    found = {
        (case.dtype, str(worst.given(array))) for case in cases for array in inputs.draw(loss, case).arrays.values()
    }

    for one in worst.kept(loss):
        for name, text in one.at.items():
            assert any(dtype == one.dtype and str(text) in arrays for dtype, arrays in found), name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What became of a run of a framework that is wrong at one input, which is kept."""
    folder = tmp_path_factory.mktemp("relapse")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    own = folder / "absolute_error.toml"
    own.write_text(spec.load("absolute_error").source, encoding="utf-8")
    at = {"y_pred": RELAPSE, "y_true": "0x0p+0"}
    entry = replace(HUBER, target="fake:planted:cpu", at=at, ulps=1.0, conditioned=1.0)
    worst.write(spec.load(own), [entry])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE))
        patch.setenv("PYTHONPATH", str(FAKE))
        yield runs.run(folder / "suite.toml", losses=[own], out=folder / "reports")


def test_a_relapse_at_a_kept_input_is_found_at_once(run):
    (cell,) = run.accuracy().to_dict("records")

    assert cell["verdict"] == "wrong"
    assert "y_pred=1.5" in cell["value_worst"]
    assert cell["value_max_ulp"] == ULPS


def test_a_run_shows_what_was_then_and_what_is_now(run):
    (row,) = kept.points(run.store).to_dict("records")
    page = (run.path / "losses" / "absolute_error.html").read_text(encoding="utf-8")

    assert (row["then"], row["now"], row["change"]) == (1.0, ULPS, "worse")
    assert '<h3 id="worst">' in page


def test_a_run_carries_the_inputs_that_it_knew(run):
    (loss,) = Store.open(run.path).losses().values()

    assert worst.path_of(loss).is_relative_to(run.path)
    assert len(worst.kept(loss)) == 1


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A search of a framework that gives nan at 3 and an infinity at 5, and the spec file that it was made of."""
    folder = tmp_path_factory.mktemp("swept")
    own = folder / "absolute_error.toml"
    own.write_text(spec.load("absolute_error").source, encoding="utf-8")
    start = {"y_pred": "0x1.8p+1", "y_true": "0x0p+0"}
    other = replace(HUBER, target="fake:well:cpu", at=start, ulps=0.75, conditioned=0.75)
    cured = replace(HUBER, target="fake:planted:cpu", at={"y_pred": "0x1p+0", "y_true": "0x0p+0"}, ulps=900.0)
    worst.write(spec.load(own), [other, cured])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE))
        patch.setenv("PYTHONPATH", str(FAKE))
        options = {"targets": ["fake:planted"], "dtypes": ["float32"], "method": "search", "evaluations": 1}
        yield whole.sweep(own, out=folder / "reports", processes=1, **options), own


def test_what_a_sweep_finds_is_kept_beside_the_spec(swept):
    done, own = swept
    (path,) = keeping.keep(done, [own])
    found = worst.kept(spec.load(own))

    assert path == worst.path_of(spec.load(own))
    assert [one.target for one in found if one.ulps == np.inf] == ["fake:planted:cpu"]
    assert next(one for one in found if one.ulps == np.inf).at["y_pred"] in ("0x1.8p+1", "0x1.4p+2")
    assert [one.target for one in found].count("fake:well:cpu") == 1  # what others were found at stays
    assert 900.0 not in [one.ulps for one in found]  # what is right by now does not


def test_a_sweep_of_a_spec_that_is_not_known_is_not_kept(swept):
    done, _own = swept

    with pytest.raises(LossbenchError, match="the spec of huber has changed since the sweep"):
        keeping.keep(_renamed(done))


def _renamed(done):
    (record,) = done.records
    shard = replace(record.shard, loss="huber")
    found = whole.Sweep(done.folder)
    found.__dict__["records"] = [replace(record, shard=shard)]
    return found
