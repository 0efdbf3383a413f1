"""A framework of another package: installed with pip, measured like any other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "example_adapter"
SPEC = """
title = "Quartic error"
family = "regression"
summary = "The fourth power of the residual."

[[sources]]
title = "An example"
where = "this test"
url = "https://example.org/quartic"

[inputs]
y_pred = { symbol = 'p', kind = "real", grad = true }
y_true = { symbol = 't', kind = "real" }

[formula]
definition = "(y_pred - y_true)**4"

[frameworks.complexstep]
form = "composed"
call = "(y_pred - y_true)**4"
weighted = "sample_weight * (y_pred - y_true)**4"

[[edges]]
at = { y_pred = "3", y_true = "1" }
value = "16"
gradient = "32"
status = "required"
why = "the residual is 2"
"""
CODE = """
import lossbench
run = lossbench.run("smoke", losses=["quartic.toml"], targets=["complexstep"], dtypes=["float64"], out="runs")
print(*run.accuracy()[["target", "verdict"]].iloc[0])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where pip has put the package."""
    folder = tmp_path_factory.mktemp("installed")
    copy = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("package") / "here")  # building leaves files
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_framework_of_another_package_is_measured(installed, tmp_path):
    (tmp_path / "quartic.toml").write_text(SPEC, encoding="utf-8")
    variables = os.environ | {"PYTHONPATH": str(installed)}

    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, env=variables, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1:] == ["complexstep:eager:cpu accurate"], done.stderr
