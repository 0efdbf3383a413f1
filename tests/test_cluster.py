"""Sweeps in shares and on a Dask cluster: whatever is lost, the digest is that of the local sweep."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import pytest

from lossbench import spec
from lossbench.errors import LossbenchError, StoreError
from lossbench.sweeps import joining, whole

FAKE = Path(__file__).parent / "fake_adapter"
ASKED = {"targets": ["fake:planted"], "dtypes": ["bfloat16"]}
DASK = [sys.executable, "-m", "dask"]


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A spec that no machine of a cluster has."""
    path = tmp_path_factory.mktemp("own") / "mine.toml"
    path.write_text(spec.load("absolute_error").path.read_text(encoding="utf-8").replace("aliases", "# aliases"))
    return path


@pytest.fixture(scope="module")
def local(own, tmp_path_factory):
    """The sweep as this machine does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE))
        patch.setenv("PYTHONPATH", str(FAKE))
        return whole.sweep(own, **ASKED, out=tmp_path_factory.mktemp("local"), processes=1)


@pytest.fixture
def cluster():
    """The module, which needs Dask."""
    pytest.importorskip("distributed", reason="needs Dask: pip install 'lossbench[cluster]'")
    from lossbench.sweeps import cluster

    return cluster


@contextmanager
def dask(folder, *args, **variables):
    """A process of Dask; what it prints goes into a file of *folder*."""
    log = folder / f"{args[0]}.log"
    with log.open("w") as file:
        process = subprocess.Popen([*DASK, *args], stdout=file, stderr=file, env=os.environ | variables, cwd=folder)
        try:
            yield process, log
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler in a process of its own."""
    with dask(
        tmp_path_factory.mktemp("scheduler"),
        *("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1"),
        DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0",
    ) as (process, log):
        for _ in range(600):
            if found := re.search(r"tcp://127\.0\.0\.1:\d+", log.read_text()):
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield found[0]


@pytest.fixture
def worker(scheduler, tmp_path):
    """Starts workers of that scheduler, each in a process of its own."""
    with ExitStack() as open_:

        def start():
            folder = tmp_path / f"worker-{time.monotonic_ns()}"
            folder.mkdir()
            args = ("worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            return open_.enter_context(dask(folder, *args))[0]

        yield start


def keys(found):
    return Counter(record.shard.key for record in found.records)


@pytest.fixture(scope="module")
def shares(own, local, tmp_path_factory):
    """Its three parts, as three machines do them."""
    folder = tmp_path_factory.mktemp("shares")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE))
        patch.setenv("PYTHONPATH", str(FAKE))
        return [whole.sweep(own, **ASKED, share=f"{k}/3", out=folder, processes=1) for k in (1, 2, 3)]


def test_shares_together_are_the_whole(local, shares, tmp_path):
    together = joining.join([share.path for share in shares], tmp_path)

    assert sum(len(share.records) for share in shares) == len(local.records)
    assert together.digest == local.digest
    assert not together.folder.left()


def test_a_share_twice_counts_once(shares, tmp_path):
    assert joining.join([shares[0].path, shares[0].path], tmp_path).digest == shares[0].digest


def test_lines_of_other_shares_may_be_copied(local, shares, tmp_path):
    folder = shutil.copytree(shares[0].path, tmp_path / "copy")
    for share, name in product(shares[1:], ("plan.jsonl", "shards.jsonl")):
        with (folder / name).open("ab") as file:
            file.write((share.path / name).read_bytes())

    assert whole.sweep(resume=folder).digest == local.digest


def test_what_no_share_has_done_is_left(own, local, shares, tmp_path):
    planned = whole.created(*whole.asked([own], ASKED["targets"], ASKED["dtypes"]), tmp_path)

    together = joining.join([planned.path, shares[0].path, shares[1].path], tmp_path)

    assert {one.key for one in together.folder.left()} == set(keys(shares[2]))
    assert whole.sweep(resume=together.path, processes=1).digest == local.digest


def test_shares_of_different_losses_of_one_name_are_refused(own, tmp_path):
    other = tmp_path / "mine.toml"
    other.write_text(own.read_text().replace("abs(y_pred - y_true)", "abs(y_pred - y_true) + 0"))
    planned = [
        whole.created(*whole.asked([path], ASKED["targets"], ASKED["dtypes"]), tmp_path).path for path in (own, other)
    ]

    with pytest.raises(StoreError, match="another mine than in"):
        joining.join(planned, tmp_path)


def test_a_sweep_whose_scheduler_is_not_there_can_be_resumed(own, local, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.2)

    with pytest.raises(
        LossbenchError, match=r"no Dask scheduler at .*; then go on: lossbench sweep --resume (.*)"
    ) as said:
        whole.sweep(own, **ASKED, out=tmp_path, scheduler="tcp://127.0.0.1:1")

    folder = str(said.value).rpartition(" ")[2]
    assert len(whole.Folder.open(folder).left()) == len(local.records)


def test_a_scheduler_without_workers_is_a_clear_error(cluster, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "WAIT", 0.2)

    with pytest.raises(LossbenchError, match="has no workers; start some: dask worker"), cluster.connected(scheduler):
        pass


def test_a_worker_that_is_killed_costs_nothing(own, local, scheduler, worker, tmp_path):
    first, second = worker(), worker()
    killed = []

    def tell(done, total, text):
        if not killed:
            first.kill()
            killed.append((done, first.wait()))

    found = whole.sweep(own, **ASKED, out=tmp_path, scheduler=scheduler, progress=tell)

    assert killed == [(1, -9)]
    assert second.poll() is None
    assert found.digest == local.digest
    assert keys(found) == keys(local)


def test_who_kills_every_worker_is_found_and_only_he(own, scheduler, worker, cluster, tmp_path):
    for _ in range(3):
        worker()
    asked = ASKED | {"targets": ["fake:parricide"]}  # kills the Dask worker where y_true is 1

    found = whole.sweep(own, **asked, out=tmp_path, scheduler=scheduler)

    (one,) = found.unanswered()
    assert one.shard.at == {"y_true": "1"}
    assert (one.reason, one.detail) == ("crashed", "1 Dask worker was lost on it alone")
    assert len(found.records) == len(found.folder.shards())


def test_workers_with_another_lossbench_are_named(cluster, scheduler, worker, monkeypatch):
    worker()
    monkeypatch.setattr(cluster, "code", lambda: "9.9 (elsewhere)")

    with (
        pytest.raises(LossbenchError, match=r"1 of 1 Dask workers have another lossbench: .*expected 9\.9"),
        cluster.connected(scheduler),
    ):
        pass


def test_a_local_cluster_finds_the_same(own, local, cluster, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as dask:
        found = whole.sweep(own, **ASKED, out=tmp_path, scheduler=dask.scheduler_address)

    assert found.digest == local.digest
    assert found.rates()["processes"].tolist() == [2]


def test_no_scheduler_is_a_clear_error(cluster, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.2)

    with (
        pytest.raises(LossbenchError, match=r"no Dask scheduler at 'tcp://127\.0\.0\.1:1' \(.*start one with"),
        cluster.connected("tcp://127.0.0.1:1"),
    ):
        pass
    with pytest.raises(LossbenchError, match="no Dask scheduler at 'nonsense://x'"), cluster.connected("nonsense://x"):
        pass


def test_without_dask_it_is_said_how_to_get_it():
    hide = "import sys; sys.modules['distributed'] = None; from lossbench.sweeps import cluster"
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False)

    assert "LossbenchError: a Dask cluster needs distributed, which is not installed; try: pip install" in done.stderr
