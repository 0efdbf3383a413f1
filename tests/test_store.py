"""A run's folder: what is written is read again, whatever cut it off, and one at a time writes."""

import numpy as np
import pytest

from lossbench import records, spec
from lossbench.errors import StoreError
from lossbench.records import REFERENCE, Case, Job, Output, Target
from lossbench.store import Store
from lossbench.suite import Suite

SUITE = Suite(name="tiny", summary="for tests", targets=("torch",))
CASE = Case(loss="huber", digest="d", dtype="float32", points="domain", shape=(5,))
JOBS = [Job(case=CASE, target=one, measure="accuracy") for one in (REFERENCE, Target(framework="torch"))]


def output(job: Job) -> Output:
    return Output(job=job, arrays={"value": "float32(1,): 1.0"}, inputs="0f", seconds=1.0)


@pytest.fixture
def store(tmp_path):
    created = Store.create(tmp_path / "run", JOBS, [spec.load("huber")], SUITE)
    yield created
    created.close()


def test_what_was_planned_is_read_again(store):
    opened = Store.open(store.path)

    assert opened.jobs() == JOBS
    assert opened.suite == SUITE
    assert opened.created == store.created
    assert opened.losses()["huber"].digest == spec.load("huber").digest


def test_losses_come_from_the_copies_of_the_store(store):
    copy = store.path / "specs" / "huber.toml"
    copy.write_text(copy.read_text().replace('"Huber loss"', '"Another title"'))

    assert Store.open(store.path).losses()["huber"].title == "Another title"


def test_records_are_there_for_others_as_soon_as_they_are_appended(store):
    store.append(output(JOBS[0]))

    assert Store.open(store.path).records() == [output(JOBS[0])]
    assert Store.open(store.path).done() == {JOBS[0].key}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_dropped_and_nothing_else(store, cut):
    store.append(output(JOBS[0]))
    store.append(output(JOBS[1]))
    store.close()
    path = store.path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = Store.open(store.path)
    resumed.lock()

    assert resumed.records() == [output(JOBS[0])]
    resumed.append(output(JOBS[1]))
    assert Store.open(store.path).records() == [output(JOBS[0]), output(JOBS[1])]
    resumed.close()


def test_a_damaged_line_in_the_middle_is_named(store):
    store.append(output(JOBS[0]))
    path = store.path / "records.jsonl"
    path.write_bytes(b'{"type":"out\n' + path.read_bytes())

    with pytest.raises(StoreError, match=r"records\.jsonl:1: no record"):
        store.records()


def test_two_cannot_write_at_the_same_time(store):
    other = Store.open(store.path)
    store.lock()

    with pytest.raises(StoreError, match="is in use: another run is writing to it"):
        other.append(output(JOBS[0]))
    store.close()
    other.append(output(JOBS[0]))
    other.close()


def test_missing_foreign_and_damaged_folders_are_refused(tmp_path, store):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years of work")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text('{"version": "from elsewhere"}')

    with pytest.raises(StoreError, match="no such folder; expected that of a run"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"has no run\.json; expected the folder of a run"):
        Store.open(tmp_path / "foreign")
    with pytest.raises(StoreError, match="not written by this version of lossbench"):
        Store.open(tmp_path / "old")
    with pytest.raises(StoreError, match="is not empty"):
        Store.create(tmp_path / "foreign", JOBS, [], SUITE)
    with pytest.raises(StoreError, match="is not empty"):
        Store.create(store.path, JOBS, [], SUITE)


def test_a_run_without_its_records_is_damaged(store):
    (store.path / "records.jsonl").unlink()

    with pytest.raises(StoreError, match=r"records\.jsonl: cannot be read \(No such file or directory\)"):
        store.done()
    with pytest.raises(StoreError, match=r"records\.jsonl: cannot be written \(No such file or directory\)"):
        store.lock()


def test_the_jobs_that_are_left_are_those_without_a_record(store):
    store.append(output(JOBS[0]))

    assert store.left() == JOBS[1:]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="no run can be stored there"):
        Store.create(tmp_path / "file" / "run", JOBS, [], SUITE)


@pytest.mark.parametrize(
    "array",
    [
        np.array(0.1, np.float32),
        np.array([[np.nan, np.inf], [-np.inf, -0.0]]),
        np.array([5e-324, np.finfo(np.float64).max]),
        np.array([1e-45, np.finfo(np.float32).max], np.float32),
        np.zeros((0, 3), np.float32),
        np.array([-1, 2**40]),
        np.linspace(0, 1, 17),
        np.arange(300.0, dtype=np.float32).reshape(100, 3).T,
        np.array([np.nan, -0.0] * 50),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_bit_by_bit(store, array):
    got = Store.open(store.path).array(store.put(array))

    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()


def test_few_numbers_need_no_file_and_equal_arrays_share_one(store):
    few, many = np.ones(16), np.ones(17)

    assert store.put(few) == "float64(16,): " + " ".join(["1.0"] * 16)
    assert store.put(many) == store.put(many.copy())
    assert store.put(many) != store.put(many.astype(np.float32))
    assert len(list((store.path / "arrays").iterdir())) == 2


def test_a_missing_array_is_named(store):
    with pytest.raises(StoreError, match=r"0f0f\.npy: no such array"):
        store.array("0f0f")


def test_record_lines_are_those_of_the_codec(store):
    store.append(output(JOBS[0]))

    assert (store.path / "records.jsonl").read_bytes() == records.encode(output(JOBS[0])) + b"\n"
