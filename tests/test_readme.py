"""The README's claims: its examples run, its table of verdicts is the code's."""

import re
from pathlib import Path

import numpy as np
import pytest

import lossbench
from lossbench import plan, references
from lossbench.report.words import MARKS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)
    indent, text = next(found for found in blocks if containing in found[1])
    return "\n".join(line.removeprefix(indent) for line in text.splitlines())


def test_python_example_prints_what_it_says(capsys):
    text = block("python", "lossbench.reference")
    exec(compile(text, "README.md", "exec"), {})

    said = re.findall(r"# (\[.*\])", text)
    assert capsys.readouterr().out.splitlines() == said


def test_small_spec_is_complete(tmp_path):
    path = tmp_path / "quartic.toml"
    path.write_text(block("toml", "Quartic error"))
    loss = references.refresh(path)

    references.verify(loss)
    exact = lossbench.reference(path, y_pred=[3.0], y_true=[1.0])
    assert exact.value == np.array([16.0])
    assert exact.gradient["y_pred"] == np.array([32.0])


@pytest.mark.parametrize("mark", MARKS.values(), ids=lambda mark: mark.word)
def test_table_of_verdicts_says_what_the_report_says(mark):
    assert f"| {mark.glyph} {mark.word} | {mark.meaning} |" in README


def test_number_of_losses_is_that_of_the_catalogue():
    assert f"lossbench answers for {len(lossbench.names())} loss functions" in README


def test_every_suite_is_in_the_table_of_commands():
    assert all(f"`{name}`" in README for name in plan.suites())
