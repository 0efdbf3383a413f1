"""Where in which file something stands, so that an error can name it."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parent


def shown(path: Path) -> str:
    """The file's name in errors: specs/huber.toml for our own, all of the path for others."""
    return str(path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path)


def line_of(source: str, key: str) -> int:
    """The line at which the dotted *key*, such as edges[2].value, stands or should stand."""
    lines = source.splitlines()
    at, table = 0, ""
    for part in re.findall(r"[^.\[\]]+|\[\d+\]", key):
        if part.startswith("["):
            for _ in range(int(part[1:-1])):
                at = _find(lines, rf"\s*\[\[{re.escape(table)}\]\]", at + 1)
        else:
            table = part
            at = _find(lines, rf"\s*(\[+([\w.]+\.)?{re.escape(part)}[\].]|{re.escape(part)}\s*=)", at)
    return at + 1


def _find(lines: list[str], pattern: str, start: int) -> int:
    for at in range(start, len(lines)):
        if re.match(pattern, lines[at]) or (at == start and re.search(pattern, lines[at])):
            return at
    return start
