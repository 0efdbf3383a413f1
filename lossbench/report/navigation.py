"""The way from every page to every other: which pages a report has, in one order and with one name each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

TITLES = {
    "index.html": "Index",
    "compare.html": "Compare",
    "defects.html": "Defects",
    "conventions.html": "Conventions",
    "budgets.html": "Budgets",
    "kernels.html": "Kernels",
    "method.html": "Method",
    "environment.html": "Environment",
    "downloads.html": "Downloads",
}


def links(written: Collection[str], past: str = "") -> Sequence[tuple[str, str]]:
    """Address and title of each page, in the order of the bar.

    Args:
        written: The addresses of the report's pages; those of losses are reached from the index.
        past: The address of the history, if there is one.
    """
    found = [(address, title) for address, title in TITLES.items() if address in written]
    return [*found, (past, "History")] if past else found
