"""The command line, as a person or a script meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossbench import cli, spec
from lossbench.store import Store

FAKE = Path(__file__).parent / "fake_adapter"
COMMAND = [sys.executable, "-c", "import sys; from lossbench.cli import main; sys.argv[0] = 'lossbench'; main()"]
SUITE = """
summary = "for tests"
targets = ["fake:MODE"]
deadline = 600
[[accuracy]]
dtypes = ["float32"]
points = 5
reductions = ["none", "sum"]
"""


def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a shell would see."""
    env = os.environ | {"PYTHONPATH": str(FAKE)} | variables
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, check=False, env=env)


@pytest.fixture
def fake_run(tmp_path):
    """Arguments of a run of two jobs of a fake framework, and two of the reference."""

    def arguments(mode: str) -> tuple[str, ...]:
        path = tmp_path / "own.toml"
        path.write_text(SUITE.replace("MODE", mode))
        return "run", str(path), "--loss", "huber", "--out", str(tmp_path / "out")

    return arguments


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


def test_show_prints_the_script_of_a_divergence(invoke):
    script = invoke("show", "huber", "--script", "1").stdout

    compile(script, "<script>", "exec")
    assert "keras.losses.Huber(" in script
    assert json.loads(invoke("show", "huber", "--script", "1", "--json").stdout)["script"] == script


def test_show_resolves_aliases(invoke):
    assert json.loads(invoke("show", "mse", "--json").stdout)["name"] == "squared_error"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("show", "hubr"), "unknown loss 'hubr'; did you mean: huber"),
        (("show", "none.toml"), "cannot be read"),
        (("show", "huber", "--script", "99"), "huber has no divergence 99; expected a number from 1 to "),
        (("list", "--family", "regresion"), "expected one of:"),
        (("run", "smoky", "--dry-run"), "unknown suite 'smoky'; expected one of:"),
        (("run", "smoke", "--loss", "hubr", "--dry-run"), "unknown loss 'hubr'"),
        (("run", "smoke", "--target", "torsh", "--dry-run"), "unknown framework 'torsh'"),
        (("run", "smoke", "--target", "torch:fast", "--dry-run"), "torch has no mode 'fast'"),
        (("run", "smoke", "--dtype", "float31", "--dry-run"), "float31"),
        (("report", "nowhere"), "nowhere"),
        (("run", "--resume", "nowhere"), "nowhere"),
        (("spec", "new", "Bad-Name"), "is no name for a loss"),
        (("coverage", "--framework", "torsh"), "unknown framework 'torsh'; expected one of:"),
        (("port", "F.hubert_loss"), "no loss is called 'F.hubert_loss'; did you mean: torch.nn.functional.huber_loss"),
        (("port", "nn.HuberLoss", "--to", "torsh"), "unknown framework 'torsh'; expected one of:"),
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


@pytest.mark.parametrize("module", ["matplotlib", "pandas", "scipy"])
def test_a_dry_run_loads_nothing_that_only_reports_need(module):
    arguments = ["run", "smoke", "--loss", "huber", "--dry-run"]
    code = f"import sys; from lossbench.cli import app; app({arguments}, standalone_mode=False); "
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print({module!r} in sys.modules)"], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "False"


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


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        ("well", 0, ""),
        ("raises", 0, ""),  # the framework's own no is an answer
        ("killed", 3, "1 job crashed: the report says which and why"),
        ("missing", 3, "fake:missing:cpu gave no answer: not installed: No module named 'fakelib'; try: pip install"),
        ("closed", 3, "fake:closed:cpu gave no answer: unsupported: fake finds no such device here"),
    ],
)
def test_what_could_not_be_measured_is_said_and_exit_code_3(fake_run, mode, code, said):
    done = run(*fake_run(mode), "--json", COLUMNS="40", FORCE_COLOR="")

    assert done.returncode == code
    assert said in done.stderr
    assert bool(said) == bool(done.stderr.strip())
    assert Path(json.loads(done.stdout)["report"]).is_file()


@pytest.fixture
def heeds_ctrl_c():
    """Whoever is started in the background ignores Ctrl-C, and so do the processes that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_repeats_nothing(fake_run, tmp_path, number, heeds_ctrl_c):
    process = subprocess.Popen(
        [*COMMAND, *fake_run("hangs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(FAKE)},
    )
    assert any(len(answered(tmp_path)) == 3 or time.sleep(0.05) for _ in range(1200))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    (folder,) = (tmp_path / "out").iterdir()
    store = Store.open(folder)
    before = store.records()
    left = json.loads(run("run", "--resume", str(folder), "--dry-run", "--json").stdout)

    assert process.returncode == 130
    assert f"interrupted; to go on: lossbench run --resume {folder}" in said
    assert "Traceback" not in said
    assert [one["case"]["reduction"] for one in left] == ["sum"]
    assert len(before) == len(Store.open(folder).records())


def answered(folder: Path) -> set[str]:
    return set().union(*(Store.open(path.parent).done() for path in folder.glob("out/*/run.json")))


def test_a_resumed_run_takes_no_other_wishes(fake_run, tmp_path):
    run(*fake_run("well"))
    (folder,) = (tmp_path / "out").iterdir()

    assert run("run", "--resume", str(folder)).returncode == 0
    done = run("run", "timing", "--resume", str(folder))
    assert done.returncode == 2
    assert "leave out suites" in done.stderr


def test_the_list_shows_every_framework_in_80_columns():
    lines = run("list", COLUMNS="80").stdout.splitlines()

    assert lines[1].split() == ["loss", "family", "torch", "tensorflow", "jax"]
    assert len(lines) == 2 + len(spec.names()) + 1
    assert all(set(line.split()[2:]) <= {"native", "composed", "-"} for line in lines[2:-1])


def test_a_wide_list_has_aliases_and_cuts_no_other_column():
    lines = run("list", COLUMNS="130").stdout.splitlines()

    assert lines[1].split() == ["loss", "family", "torch", "tensorflow", "jax", "also", "known", "as"]
    assert all(line.split()[4] in ("native", "composed") for line in lines[2:])


@pytest.mark.parametrize("width", ["40", "80"])
def test_nothing_that_is_shown_is_cut_off(width):
    shown = run("show", "softmax_cross_entropy", COLUMNS=width).stdout

    assert "…" not in shown
    assert "label_smoothing/size(logits))" in "".join(shown.split())


def test_texts_of_a_spec_are_no_markup_of_the_terminal(tmp_path):
    hostile = "[red]x[/red] [/] ]] <script> [link=http://x] & {{7*7}}"
    text = spec.load("huber").source
    text = text.replace('title   = "Huber loss"', f"title = '{hostile}'")
    text = text.replace('form = "native"', f"form = 'native'\nnote = '{hostile}'", 1)
    (tmp_path / "hostile.toml").write_text(text)

    shown = run("show", str(tmp_path / "hostile.toml"), COLUMNS="120").stdout

    assert shown.count(hostile) == 2


def test_help_shows_brackets(invoke):
    assert "framework[:mode[:device]][@python]" in run("run", "--help", COLUMNS="120").stdout


@pytest.mark.parametrize("command", [(), ("list",), ("show",), ("run",), ("report",), ("doctor",), ("spec",)])
def test_help_helps(invoke, command):
    shown = invoke(*command, "--help").stdout

    assert "Usage" in shown
    assert len(shown.splitlines()) > 6
