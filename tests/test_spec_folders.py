"""Specs of one's own: found in folders that an option, a variable or another package names."""

import os
import subprocess
import sys

import pytest

from lossbench import spec
from lossbench.errors import SpecError


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with the spec of `my_loss`, named by the variable."""
    spec.start("my_loss", tmp_path)
    monkeypatch.setenv(spec.VARIABLE, str(tmp_path))
    spec.forget()
    yield tmp_path
    monkeypatch.undo()
    spec.forget()


def test_folder_of_the_variable_is_part_of_the_catalogue(own):
    assert "my_loss" in spec.names()
    assert spec.load("my_loss").path.parent == own
    assert "huber" in spec.names()


def test_name_that_is_there_already_is_an_error(own):
    spec.start("huber", own)
    spec.forget()

    with pytest.raises(SpecError, match=r"huber\.toml has the same name; rename one"):
        spec.names()


def test_folder_that_is_not_there_is_an_error(own, monkeypatch):
    monkeypatch.setenv(spec.VARIABLE, str(own / "nowhere"))
    spec.forget()

    with pytest.raises(SpecError, match="no such folder"):
        spec.names()


def test_new_spec_runs_at_once_from_a_folder_of_the_option(tmp_path):
    spec.start("my_loss", tmp_path)
    code = "from lossbench.cli import main; main()"
    asked = ["--specs", str(tmp_path), "run", "smoke", "--loss", "my_loss", "--target", "numba", "--json"]

    done = subprocess.run([sys.executable, "-c", code, *asked], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert '"refusals": {}' in done.stdout


def test_package_brings_its_specs(tmp_path):
    package = tmp_path / "my_specs"
    package.mkdir()
    (package / "__init__.py").touch()
    spec.start("my_loss", package)
    told = tmp_path / "my_specs-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: my-specs\nVersion: 1.0\n", encoding="utf-8")
    (told / "entry_points.txt").write_text("[lossbench.specs]\nmine = my_specs\n", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", "import lossbench; print(lossbench.load('my_loss').path)"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == str(package / "my_loss.toml"), done.stderr
