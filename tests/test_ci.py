"""What continuous integration runs: its workflow and scripts name only what there is."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from asv.commands import make_argparser

from lossbench import plan, spec
from lossbench.cli import app
from lossbench.comparing import rule

ROOT = Path(__file__).parent.parent
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if not path.suffix)
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
RULES = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
ASV = next(action for action in make_argparser()[0]._actions if action.dest == "command" or action.choices).choices


def commands(name):
    """Each call of the tool *name* in scripts, workflow and Makefile, as words, its variables unexpanded."""
    texts = [path.read_text(encoding="utf-8") for path in (*SCRIPTS, ROOT / "Makefile")]
    lines = "\n".join([*texts, *(step.get("run", "") for step in STEPS)]).replace("\\\n", " ").splitlines()
    found = [re.search(rf"(?:bin|\(BIN\))/{name}\"? (.*)", line) for line in lines if not line.startswith("#")]
    return [re.split(r" (?:\|\||&&|#) ", one[1])[0] for one in found if one]


def test_every_job_checks_out_has_a_limit_and_runs_something():
    assert {"test", "gate", "history", "versions"} == set(WORKFLOW["jobs"])
    for job in WORKFLOW["jobs"].values():
        assert job["steps"][0]["uses"].startswith("actions/checkout@")
        assert job["timeout-minutes"] <= 360  # GitHub's own
        assert any("run" in step for step in job["steps"])


def test_every_step_runs_a_script_or_a_rule_that_is_there():
    for command in (step["run"] for step in STEPS if "run" in step):
        program, *arguments = shlex.split(command)
        if program == "make":
            assert set(arguments) <= RULES
        else:
            assert (ROOT / program).stat().st_mode & 0o111, f"{program} is no program"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_one(script):
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_histories_are_kept_whatever_happens():
    steps = WORKFLOW["jobs"]["history"]["steps"]
    restored = next(step["with"] for step in steps if "cache/restore" in step.get("uses", ""))
    saved = next(step for step in steps if "cache/save" in step.get("uses", ""))

    assert restored["path"] == saved["with"]["path"] == ".asv/results"
    assert saved["with"]["key"].startswith(restored["restore-keys"])
    assert saved["if"] == "always()"
    assert WORKFLOW["jobs"]["history"]["concurrency"]["cancel-in-progress"] is False


def test_scripts_call_lossbench_as_it_is():
    click = typer.main.get_command(app)
    called = set()
    for words in (call.split() for call in commands("lossbench")):
        options = {option for one in click.commands[words[0].strip('"')].params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= options
        called.add(words[0])

    assert {"compare", "history", "run"} <= called


def test_scripts_call_asv_as_it_is():
    called = set()
    for words in (call.split() for call in commands("asv")):
        options = {option for action in ASV[words[0]]._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= options
        called.add(words[0])

    assert {"check", "machine", "publish", "run"} == called


def test_the_gate_compares_every_loss_and_has_pairs_enough_to_call_one_slower():
    suite = plan.suite(ROOT / ".ci" / "gate.toml")
    jobs = plan.jobs(suite, spec.load_all())

    assert {job.case.loss for job in jobs if job.measure == "accuracy"} == set(spec.names())
    assert {job.measure for job in jobs} == {"accuracy", "forward", "gradient"}
    assert suite.sampling.processes >= rule.FEWEST
    assert ".ci/gate.toml" in (ROOT / ".ci" / "gate").read_text(encoding="utf-8")


def test_both_configurations_differ_in_environments_and_folders_alone():
    def read(name):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))

    own, versions = read("asv.conf.json"), read(".ci/asv.versions.conf.json")
    apart = {name for name in own.keys() | versions.keys() if own.get(name) != versions.get(name)}

    assert apart == {
        *("matrix", "install_command", "results_dir", "html_dir"),
        *("repo", "benchmark_dir", "env_dir"),  # from another folder
        *("regressions_first_commits", "regressions_thresholds"),  # versions are no history
    }
