"""asv in environments that it builds with pip: commits against each other, and versions of a framework. `make slow`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossbench.history import asv

ROOT = Path(__file__).parent.parent
SUITE = """
summary = "One loss, few samples."
targets = ["{target}"]
threads = 1
[[accuracy]]
dtypes = ["float32"]
points = 50
[[timing]]
dtypes = ["float32"]
elements = [1000]
[sampling]
samples = 4
turns = 2
processes = 2
min_sample = 0.0002
twin = false
"""

pytestmark = pytest.mark.slow


class Clone:
    """This working tree as it is, in a repository of its own."""

    def __init__(self, folder, target):
        self.path = folder / "clone"
        (folder / "tiny.toml").write_text(SUITE.format(target=target))
        names = self.told("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
        for name in names:
            if name and (ROOT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                (self.path / name).write_bytes((ROOT / name).read_bytes())
        self.env = os.environ | {
            "HOME": str(folder),
            "LOSSBENCH_ASV_SUITE": str(folder / "tiny.toml"),
            "LOSSBENCH_ASV_LOSSES": "mae",
        }
        self.told("git", "init", "--quiet", "--initial-branch=main")
        self.commit("base")
        assert self.asv("machine", "--yes").returncode == 0

    def told(self, *command, cwd=None):
        return subprocess.run(command, cwd=cwd or self.path, capture_output=True, text=True, check=True).stdout

    def commit(self, text):
        self.told("git", "add", "--all")
        self.told("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", text)

    def asv(self, *arguments):
        command = [sys.executable, "-m", "asv", *arguments]
        return subprocess.run(command, cwd=self.path, env=self.env, capture_output=True, text=True, check=False)


def test_a_commit_that_computes_worse_is_found_against_its_base(tmp_path):
    clone = Clone(tmp_path, "numba:compiled")
    conf = clone.path / "asv.conf.json"
    conf.write_text(conf.read_text().replace("[all]", ""))  # no framework is needed
    clone.commit("without frameworks")
    spec = clone.path / "lossbench" / "specs" / "absolute_error.toml"
    text = spec.read_text()
    assert "kernel" not in text.split("[formula]")[1].split("\n[")[0]
    spec.write_text(text.replace("[formula]\n", '[formula]\nkernel = "sqrt((y_pred - y_true)**2 + 1/1000000)"\n'))
    clone.commit("a form with an error in it")

    done = clone.asv("continuous", "--factor", "1.1", "HEAD~1", "HEAD")

    assert done.returncode == 1, done.stdout + done.stderr
    worse = [line for line in done.stdout.splitlines() if line.startswith("| +")]
    assert any("track_value_ulp" in line for line in worse), done.stdout


def test_versions_of_a_framework_have_an_environment_each(tmp_path):
    clone = Clone(tmp_path, "jax:compiled")
    conf = ".ci/asv.versions.conf.json"

    done = clone.asv("run", "--config", conf, "--show-stderr")

    assert done.returncode == 0, done.stdout + done.stderr
    found = asv.series(clone.path / ".asv" / "versions" / "results")
    versions = ["jax 0.10.2, optax 0.2.8, python 3.11", "jax 0.9.2, optax 0.2.8, python 3.11"]
    assert sorted(found["environment"].unique()) == versions
    assert found["value"].notna().all()
    assert set(found["measure"]) >= {"forward", "gradient memory", "value ulp", "verdicts: wrong"}
    assert clone.asv("publish", "--config", conf).returncode == 0
    index = json.loads((clone.path / ".asv" / "versions" / "html" / "index.json").read_text())
    assert index["params"]["jax"] == ["0.10.2", "0.9.2"]

    pythons = sorted((clone.path / ".asv" / "env").glob("*/bin/python"))
    here = [f"--environment=existing:{python}" for python in pythons]
    done = clone.asv("run", *here, "--set-commit-hash", "HEAD")

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(pythons) == 2
    assert len(list((clone.path / ".asv" / "results").glob("*/*existing*.json"))) == 2
