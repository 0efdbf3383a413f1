"""Reports written by several processes: the same as by one, and errors come back from them."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from small_run import small_run

from lossbench import report
from lossbench.errors import LossbenchError
from lossbench.report import hands

# As users write it: no guard against being run again in each process.
SCRIPT = """
import sys
from pathlib import Path
from lossbench.report import hands, pages
from lossbench.report.findings import Findings

print("begun")
path = Path(sys.argv[1])
with hands.several(path, lambda done, total, text: print(done, "of", total, text), processes=2) as several:
    pages.write(Findings.of(several.answers.store, several), several)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run")).path


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_process_and_several_write_the_same_bytes(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    report.write(hands.Read.open(folder))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")

    done = subprocess.run([sys.executable, script, copy], capture_output=True, text=True, timeout=120)

    assert done.stderr == ""
    assert done.stdout.count("begun") == 1
    assert done.stdout.splitlines()[-1].startswith("3 of 3 writing ")
    assert files(copy) == files(folder)


def fail(answers):
    raise ValueError(f"nothing can be said of {', '.join(answers.losses)}")


def die(answers):
    os.kill(os.getpid(), signal.SIGKILL)


def test_error_in_a_process_says_where_it_was_raised(folder):
    with (
        pytest.raises(ValueError, match="nothing can be said of huber") as raised,
        hands.several(folder, processes=2) as several,
    ):
        list(several.each("failing", fail, {"huber": ()}))

    assert "in fail" in str(raised.value.__cause__)


def test_killed_process_is_said_and_nothing_hangs(folder):
    with (
        pytest.raises(LossbenchError, match="a process that wrote the report was killed"),
        hands.several(folder, processes=2) as several,
    ):
        list(several.each("dying", die, {"huber": (), "hostile": ()}))


def test_small_run_is_worked_on_by_this_process_alone(folder):
    with hands.several(folder) as several:
        (found,) = several.each("asking", lambda answers: os.getpid(), {"huber": ()})

    assert found == os.getpid()


def test_answers_about_a_loss_are_those_of_its_jobs(folder):
    with hands.several(folder) as several:
        whole = several.answers
        parts = [whole.about(name) for name in whole.losses]

    assert [list(part.losses) for part in parts] == [[name] for name in whole.losses]
    assert sorted(job.key for part in parts for job in part.jobs) == sorted(job.key for job in whole.jobs)
