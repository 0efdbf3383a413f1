"""The page of two runs by itself: a folder, or one file, which needs neither of their reports."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from lossbench import __version__
from lossbench.comparing.whole import Comparison
from lossbench.errors import StoreError
from lossbench.report import changes, jinja

NAME = "compare.html"
STATIC = Path(__file__).parent / "static"
SCRIPTS = ("sortable.min.js", "filtered.js", "copy.js")


def write(done: Comparison, to: Path) -> Path:
    """Write the page, with links to head's report where that is.

    Args:
        done: The comparison.
        to: A folder, which also gets the tables as CSV; or where it ends in `.html`, the one file.

    Returns:
        The page.

    Raises:
        StoreError: It cannot be written.
    """
    alone = to.suffix == ".html"
    page = to if alone else to / NAME
    head = done.parts[1].store
    report = os.path.relpath(head.path, page.parent) + "/" if (head.path / "method.html").exists() else None
    content = changes.page(done, report=report, csv="" if alone else "data/")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        if not alone:
            shutil.copytree(STATIC, to / "static", dirs_exist_ok=True)
            changes.write_tables(done, to / "data")
        page.write_text(_templates(done, alone).get_template("compare.html.j2").render(content), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{page}: the page cannot be written ({error.strerror})") from None
    return page


def _templates(done: Comparison, alone: bool) -> Environment:
    templates = jinja.templates()
    head = done.parts[1].store
    inline = {
        "style": Markup((STATIC / "report.css").read_text(encoding="utf-8")),
        "theme": Markup((STATIC / "theme.js").read_text(encoding="utf-8")),
        "script": Markup("\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)),
    }
    templates.globals.update(
        run=head.path.resolve().name, created=head.created, version=__version__, inline=inline if alone else None
    )
    return templates
