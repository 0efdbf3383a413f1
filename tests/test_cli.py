"""The command line, as a person or a script meets it."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lossbench import cli, spec


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """What a shell would see."""
    code = "import sys; from lossbench.cli import main; sys.argv[0] = 'lossbench'; main()"
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


@pytest.fixture
def invoke():
    return lambda *args: CliRunner().invoke(cli.app, list(args), catch_exceptions=False)


def test_list_names_every_loss(invoke):
    shown = invoke("list").stdout

    assert all(name in shown for name in spec.names())


def test_list_as_json_is_for_scripts(invoke):
    listed = json.loads(invoke("list", "--json").stdout)

    assert [one["name"] for one in listed] == spec.names()
    assert listed[0]["frameworks"].keys() == {"torch", "tensorflow", "jax"}


def test_list_of_a_family(invoke):
    listed = json.loads(invoke("list", "--family", "regression", "--json").stdout)

    assert {one["family"] for one in listed} == {"regression"}


def test_show_prints_formula_calls_and_edges(invoke):
    shown = invoke("show", "huber").stdout

    assert "delta*(abs(r) - delta/2)" in shown
    assert "F.huber_loss" in shown
    assert "edges" in shown


def test_show_resolves_aliases(invoke):
    assert json.loads(invoke("show", "mse", "--json").stdout)["name"] == "squared_error"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("show", "hubr"), "unknown loss 'hubr'; did you mean: huber"),
        (("show", "none.toml"), "cannot be read"),
        (("list", "--family", "regresion"), "expected one of:"),
        (("run", "smoky", "--dry-run"), "unknown suite 'smoky'; expected one of:"),
        (("run", "smoke", "--loss", "hubr", "--dry-run"), "unknown loss 'hubr'"),
        (("run", "smoke", "--target", "torsh", "--dry-run"), "unknown framework 'torsh'"),
        (("run", "smoke", "--target", "torch:fast", "--dry-run"), "torch has no mode 'fast'"),
        (("run", "smoke", "--dtype", "float31", "--dry-run"), "float31"),
        (("report", "nowhere"), "nowhere"),
        (("run", "--resume", "nowhere"), "nowhere"),
        (("spec", "new", "Bad-Name"), "is no name for a loss"),
        (("nonsense",), "nonsense"),
    ],
)
def test_a_wrong_request_is_one_clear_error_and_exit_code_2(args, said, tmp_path):
    done = run(*args)

    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_dry_run_prints_jobs_and_stores_nothing(invoke, tmp_path):
    done = invoke("run", "smoke", "--loss", "huber", "--dry-run", "--out", str(tmp_path))

    assert "jobs on 1 losses" in done.stdout
    assert not list(tmp_path.iterdir())


def test_dry_run_as_json_lists_each_job(invoke):
    jobs = json.loads(invoke("run", "smoke", "--loss", "huber", "--dry-run", "--json").stdout)

    assert {job["case"]["loss"] for job in jobs} == {"huber"}
    assert {"torch", "tensorflow", "jax", "numba", "reference"} <= {job["target"]["framework"] for job in jobs}


def test_doctor_names_every_framework(invoke):
    findings = {one["what"] for one in json.loads(invoke("doctor", "--json").stdout)}

    assert {"torch", "tensorflow", "jax", "numba", "cores"} <= findings


def test_spec_new_writes_a_spec_that_passes_check(invoke, tmp_path):
    assert invoke("spec", "new", "my_loss", "--out", str(tmp_path)).exit_code == 0

    path = str(tmp_path / "my_loss.toml")
    assert invoke("spec", "refresh", path).exit_code == 0
    assert "1 specs are sound" in invoke("spec", "check", path).stdout


@pytest.mark.parametrize("command", [(), ("list",), ("show",), ("run",), ("report",), ("doctor",), ("spec",)])
def test_help_helps(invoke, command):
    shown = invoke(*command, "--help").stdout

    assert "Usage" in shown
    assert len(shown.splitlines()) > 6
