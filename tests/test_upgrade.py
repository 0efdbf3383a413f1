"""Targets in other environments: what a worker needs there, what it says where that is missing, two versions."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from lossbench import harness, plan, spec, start, workers
from lossbench.records import Environment, Output, Refusal, Target, Timing
from lossbench.report import matrix
from lossbench.store import Store
from lossbench.suite import Accuracy, Sampling, Suite
from lossbench.suite import Timing as Times

PACKAGE = Path(start.__file__).parent
HUBER = spec.load("huber")
ADAPTER = '''
"""Absolute errors by a framework of which each environment has another version, or none."""

import sys

import numpy as np
import tiny

from lossbench.adapters import Prepared

MODES = ("eager", "greedy")


def open(target):
    if target.mode == "greedy":
        import flint
    return Tiny()


class Tiny:
    def versions(self):
        return {"tiny": tiny.__version__}

    def settings(self):
        foreign = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
        modules = " ".join(sorted(one for one in foreign if not one.startswith("__")))
        return {"modules": modules, "path": " ".join(sys.path)}

    def machine(self):
        return {}

    def prepare(self, problem):
        residual = problem.arrays["y_pred"] - problem.arrays["y_true"]

        def arrays():
            return {"value": np.abs(residual) + tiny.off, "gradient.y_pred": np.sign(residual)}

        return Prepared(forward=arrays, gradient=arrays, arrays=arrays)
'''


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A package with an adapter, as others have it; every worker finds it."""
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "lossbench_tiny.py").write_text(ADAPTER)
    (folder / "lossbench_tiny-1.0.dist-info").mkdir()
    (folder / "lossbench_tiny-1.0.dist-info" / "METADATA").write_text("Name: lossbench-tiny\nVersion: 1.0\n")
    (folder / "lossbench_tiny-1.0.dist-info" / "entry_points.txt").write_text(
        "[lossbench.adapters]\ntiny = lossbench_tiny\n"
    )
    return folder


@pytest.fixture(autouse=True)
def _installed(monkeypatch, adapter):
    monkeypatch.syspath_prepend(str(adapter))
    monkeypatch.setenv("PYTHONPATH", str(adapter))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Makes an environment with some of our packages, and a version of the framework; returns its Python."""

    def made(name: str, version: str = "", packages: tuple[str, ...] = ("msgspec", "numpy")) -> str:
        path = tmp_path_factory.mktemp("envs") / name
        venv.EnvBuilder(with_pip=False, symlinks=True).create(path)
        (site,) = path.glob("lib/python*/site-packages")
        for package in packages:
            for one in Path(__import__(package).__file__).parents[1].glob(f"{package}*"):
                (site / one.name).symlink_to(one)
        if version:
            (site / "tiny.py").write_text(f"__version__ = {version!r}\noff = {float(version) - 1}\n")
        return str(path / "bin" / "python")

    return made


@pytest.fixture(scope="module")
def old(python):
    return python("old", "1.0")


@pytest.fixture(scope="module")
def new(python):
    return python("new", "2.0")


@pytest.fixture
def opened(tmp_path):
    """What the worker of a target says when it is opened: its environment, or why there is none."""

    def opened(text: str) -> Environment | str:
        with workers.opened(plan.target(text), tmp_path, 1) as found:
            return found if isinstance(found, str) else found.environment

    return opened


def test_a_worker_needs_numpy_and_msgspec_alone(opened, old):
    found = opened(f"tiny@{old}")

    assert found.settings["modules"] == "lossbench lossbench_tiny msgspec numpy tiny"
    assert found.versions["tiny"] == "1.0"
    assert str(PACKAGE) not in found.settings["path"].split()  # its modules would hide others: `toml`, `text`


def test_an_environment_of_these_tests_lacks_all_else(opened, old):
    assert opened(f"tiny:greedy@{old}") == f"No module named 'flint'; try: {old} -m pip install flint"


def test_our_own_environment_is_not_seen_from_another(old):
    """The reference needs python-flint, which is here, but not there."""
    assert subprocess.run([sys.executable, "-c", "import flint"], check=False).returncode == 0
    assert subprocess.run([old, "-c", "import flint"], check=False, capture_output=True).returncode == 1


def test_a_framework_that_is_missing_is_said_with_what_to_type(opened, python):
    bare = python("bare")

    assert opened(f"tiny@{bare}") == f"No module named 'tiny'; try: {bare} -m pip install tiny"


@pytest.mark.parametrize("packages", [(), ("msgspec",)])
def test_what_lossbench_itself_lacks_is_said_with_what_to_type(python, packages, tmp_path):
    empty = python("empty", "1.0", packages)
    missing = sorted({"msgspec", "numpy"} - set(packages))
    job = jobs(tmp_path, f"it=tiny@{empty}")[0]
    store = Store.create(tmp_path / "run", [job], [HUBER], SUITE)

    harness.run(store)

    (refusal,) = [one for one in store.records() if isinstance(one, Refusal)]
    assert refusal.reason == "not installed"
    told = f"ends: No module named {missing[0]!r}; try: {empty} -m pip install {' '.join(missing)}"
    assert refusal.detail.endswith(told)


def test_a_python_that_is_too_old_is_said(monkeypatch):
    monkeypatch.setattr(start, "OLDEST", (99, 0))
    monkeypatch.setattr(sys, "path", [*sys.path])

    with pytest.raises(SystemExit, match=r"^Python 3\..* in .*; expected 3.11 or newer$") as ended:
        start.main()
    assert harness.UNFIT.search(str(ended.value))


SUITE = Suite(
    name="two",
    summary="for tests",
    targets=("tiny",),
    threads=1,
    accuracy=(Accuracy(dtypes=("float32",), points=5),),
    timing=(Times(dtypes=("float32",), elements=(100,), measures=("forward",)),),
    sampling=Sampling(samples=4, turns=2, min_sample=1e-5, max_seconds=1.0, twin=False),
)


def jobs(folder: Path, *wanted: str):
    return [job for job in plan.jobs(SUITE, [HUBER], wanted) if job.target.framework == "tiny"]


def test_two_versions_answer_in_one_run_under_their_labels(tmp_path, old, new):
    store = Store.create(tmp_path / "run", jobs(tmp_path, f"v1=tiny@{old}", f"v2=tiny@{new}"), [HUBER], SUITE)

    harness.run(store)

    records = store.records()
    values = {one.job.target.name: store.array(one.arrays["value"]) for one in records if isinstance(one, Output)}
    assert values["v2"].tolist() == pytest.approx((values["v1"] + 1).tolist())
    versions = {one.target.name: one.versions["tiny"] for one in records if isinstance(one, Environment)}
    assert versions == {"v1": "1.0", "v2": "2.0"}
    times = [one for one in records if isinstance(one, Timing)]
    assert [one.job.target.label for one in times] == ["v1", "v2"]
    assert all(one.turns == [0, 0, 1, 1] for one in times)
    assert {path.name for path in (store.path / "logs").iterdir()} >= {"v1.log", "v2.log"}


def test_the_suite_of_upgrades_takes_two_versions_in_turns():
    suite = plan.suite("upgrade")

    found = plan.jobs(suite, [HUBER], ["a=jax@/old/python", "b=jax@/new/python"])

    timed = [job for job in found if job.timed and not job.target.twin]
    assert [job.target.name for job in timed[:4]] == ["a:compiled", "b:compiled"] * 2
    assert {job.target.interpreter for job in timed} == {"/old/python", "/new/python"}
    assert {job.case.points for job in found} >= {"domain", "edge", "divergence", "timing"}
    compared = {job.target.name for job in found if job.measure == "accuracy"}
    assert compared == {"reference:exact:cpu", "a", "a:compiled", "b", "b:compiled"}


def test_a_label_heads_its_column():
    named = {"label": "old"}, {"label": "old:compiled", "mode": "compiled"}, {"mode": "compiled"}, {"device": "cuda"}
    columns = [matrix._column(Target(framework="jax", **one)) for one in named]

    assert [one.detail for one in columns] == ["old", "old:compiled", "compiled", "eager on cuda"]
    assert {one.framework for one in columns} == {"jax"}


@pytest.mark.slow
def test_two_versions_of_jax_from_the_package_index(tmp_path):
    from lossbench import runs

    texts = []
    for label, version in (("old", "0.9.2"), ("new", "0.10.2")):
        subprocess.run([sys.executable, "-m", "venv", tmp_path / label], check=True)
        packages = [f"jax=={version}", "optax==0.2.8", "numpy", "msgspec"]
        installed = [tmp_path / label / "bin" / "python", "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(installed, check=True)
        texts.append(f"jax-{label}=jax@{tmp_path}/{label}/bin/python")

    run = runs.run("upgrade", losses=["huber", "softmax_cross_entropy"], targets=texts, out=tmp_path)

    versions = {one.target.label: one.versions for one in run.findings.environments}
    assert versions["jax-old"]["jax"] == "0.9.2"
    assert versions["jax-new:compiled"]["jax"] == "0.10.2"
    cells = run.accuracy()
    assert set(cells["target"]) == {"jax-old", "jax-old:compiled", "jax-new", "jax-new:compiled"}
    assert not set(cells["verdict"]) & {"wrong", "refused", "failed"}
    assert set(run.speed()["target"]) == {"jax-old:compiled", "jax-new:compiled"}
    assert run.silent() == {}
    assert "jax-old" in run.page.read_text()
