"""The HTML report of a run: static pages in the run's own folder, for offline use."""

from __future__ import annotations

from pathlib import Path

from lossbench.report import against, pages
from lossbench.report.findings import Findings
from lossbench.store import Store


def write(store: Store) -> Path:
    """Write the report of the run in *store* into its folder.

    Returns:
        The index page.
    """
    findings = Findings.of(store)
    return pages.write(findings, compared=against.of(findings.answers.store))
