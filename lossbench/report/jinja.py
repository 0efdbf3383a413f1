"""The templates of all pages: what is put into them is escaped, and what is not there is an error."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def templates() -> Environment:
    """Those of this package, without any globals."""
    return Environment(
        loader=PackageLoader("lossbench.report"),
        autoescape=select_autoescape(["html.j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
