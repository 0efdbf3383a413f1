"""The documentation: every block of code runs, every function of the formula language stands in it, it builds."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import lossbench
from lossbench.formula.calls import CONSTANTS, FUNCTIONS

DOCS = Path(__file__).parent.parent / "lossbench" / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def blocks(page):
    return [one for one in MarkdownIt().parse(page.read_text(encoding="utf-8")) if one.type == "fence"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if block.info == "python":
            run(block.content, scope, f"{page.name}:{block.map[0] + 2}")
        elif block.info == "console":
            for line in block.content.splitlines():
                console(line)


def run(code, scope, where):
    """Each comment behind a print says what it prints."""
    said: list[str] = []
    scope["print"] = lambda *given: said.append(" ".join(map(str, given)))
    exec(compile(code, where, "exec"), scope)
    expected = re.findall(r"^print\(.*\)(?:  # (.*))?$", code, re.MULTILINE)
    for text, wanted in zip(said, expected, strict=True):
        assert not wanted or text == wanted


def console(line):
    command, _, said = line.removeprefix("$ ").partition("  # exit ")
    program, *rest = shlex.split(command)
    own = {"lossbench": [sys.executable, "-m", "lossbench"], "python": [sys.executable]}[program]
    done = subprocess.run([*own, *rest], capture_output=True, text=True, timeout=300)
    assert done.returncode == int(said or 0), f"{command}\n{done.stdout}{done.stderr}"


def test_block_of_code_that_prints_something_else_is_found():
    with pytest.raises(AssertionError):
        run("print(1 + 1)  # 3", {}, "nowhere")


def test_every_function_of_the_formula_language_is_explained():
    text = (DOCS / "formula.md").read_text(encoding="utf-8")

    assert [name for name in (*FUNCTIONS, *CONSTANTS) if f"`{name}" not in text] == []


def test_every_public_name_is_documented():
    text = (DOCS / "api.md").read_text(encoding="utf-8")

    assert [name for name in lossbench.__all__ if f":: lossbench.{name}\n" not in text] == []


def test_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "verify.html").is_file()
    shutil.rmtree(tmp_path)


def test_notebook_gives_what_it_shows(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    kept = nbformat.read(DOCS / "example.ipynb", as_version=4)
    again = nbformat.read(DOCS / "example.ipynb", as_version=4)

    NotebookClient(again, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()

    for before, after in zip(kept.cells, again.cells, strict=True):
        assert said(after) == said(before)


def said(cell):
    """The words of what came out: the last digits may be another processor's."""
    return [re.findall(r"[a-zA-Z_]+", one.data["text/plain"]) for one in cell.get("outputs", [])]
