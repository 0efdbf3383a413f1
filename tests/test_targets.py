"""Texts and files that say who is measured: labels, other interpreters, and what a suite makes of them."""

import os

import pytest

from lossbench import plan, targets
from lossbench.errors import LossbenchError
from lossbench.records import Target


def test_a_label_is_the_name_of_its_target():
    found = targets.target("torch-old=torch:compiled*2@/old/bin/python")

    assert found == Target(
        framework="torch", mode="compiled", threads=2, interpreter="/old/bin/python", label="torch-old"
    )
    assert found.name == "torch-old"


def test_the_path_of_an_interpreter_may_hold_every_sign():
    assert targets.target("jax@/a=b/c:d@e*2!plain").interpreter == "/a=b/c:d@e*2!plain"


def test_an_interpreter_is_found_from_any_folder(monkeypatch, tmp_path):
    """Workers run elsewhere. A link stays what it is: what an environment holds is known by it."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "python").symlink_to("/bin/sh")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "env"))

    assert targets.target("jax@env/python").interpreter == str(tmp_path / "env" / "python")
    assert targets.target("jax@python").interpreter == str(tmp_path / "env" / "python")
    assert targets.target("jax@python2.2").interpreter == "python2.2"
    assert targets.target("jax").interpreter is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("=torch", "'=torch' has the label ''; expected letters, digits and . _ + -"),
        ("a b=torch", "'a b=torch' has the label 'a b'; expected letters, digits and . _ + -"),
        ("a=b=torch", "'a=b=torch' is no target; expected framework:mode:device*threads!plain@interpreter"),
        ("old:new=torch", "'old:new=torch' is no target; expected framework"),
        ("torch@", "'torch@' ends with @; expected the path of a Python behind it"),
    ],
)
def test_what_is_no_target_is_said(text, told):
    with pytest.raises(LossbenchError) as error:
        targets.target(text)

    assert str(error.value).startswith(told)


def names(*wanted, own=("jax:eager", "jax:compiled", "torch:eager")):
    return [one.name for one in targets.chosen(wanted, own)]


def test_a_label_without_a_mode_means_all_that_the_suite_has_and_names_each():
    assert names("old=jax@/p", "new=jax@/q") == ["old", "old:compiled", "new", "new:compiled"]
    assert names("old=jax:compiled@/p") == ["old"]
    assert names("gpu=jax", own=("jax:eager", "jax:eager:cuda")) == ["gpu", "gpu:cuda"]
    assert names("one=jax", own=("jax*1", "jax*2")) == ["one*1", "one*2"]
    assert names("other=tensorflow:xla") == ["other"]


def test_one_framework_under_two_labels_is_measured_twice():
    assert names("a=torch", "b=torch", "torch") == ["a", "b", "torch:eager:cpu"]


def test_two_targets_have_two_names():
    with pytest.raises(LossbenchError, match=r"^x=torch and x=jax:eager are both called x; give each its own label$"):
        names("x=torch", "x=jax:eager")


def test_a_grid_of_thread_counts_keeps_labels_apart():
    labelled = targets.target("old=torch")

    assert [targets.threaded(labelled, many).name for many in (0, 1, 2)] == ["old", "old*1", "old*2"]
    assert targets.threaded(targets.target("torch"), 2).name == "torch:eager:cpu*2"


def test_a_file_names_targets_by_label_and_finds_interpreters_beside_itself(tmp_path):
    path = tmp_path / "versions.toml"
    path.write_text('[targets]\nold = "torch:eager@envs/old/bin/python"\nnow = "torch"\nhere = "jax@python3"\n')

    assert plan.listed(path) == [f"old=torch:eager@{tmp_path}/envs/old/bin/python", "now=torch", "here=jax@python3"]
    assert os.path.isabs(targets.target(plan.listed(path)[0]).interpreter)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[targets]\n", 'no targets; expected lines such as torch-old = "torch:eager@/path/to/python"'),
        ('[targets]\nold = "pytorch"\n', "unknown framework 'pytorch' in 'old=pytorch'; expected one of: "),
        ("[targets]\nold = 3\n", "versions.toml:1: expected `str`, got `int` (at targets"),
        ('[target]\nold = "torch"\n', "object contains unknown field `target`; expected one of: targets"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(tmp_path, text, told):
    path = tmp_path / "versions.toml"
    path.write_text(text)

    with pytest.raises(LossbenchError) as error:
        plan.listed(path)

    assert "versions.toml" in str(error.value)
    assert told in str(error.value)
