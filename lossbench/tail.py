"""The end of a spec file, which tools write: sections that each begin with a line saying by which command."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from lossbench.errors import SpecError

_HEADER = re.compile(r"^# Written by `lossbench spec [a-z]+`; do not edit by hand\.$", re.MULTILINE)


def header(command: str) -> str:
    """The line with which the section of `lossbench spec` *command* begins."""
    return f"# Written by `lossbench spec {command}`; do not edit by hand."


def body(source: str) -> str:
    """What people wrote of a spec: all before the first section of a tool."""
    found = _HEADER.search(source)
    return source[: found.start()].rstrip() if found else source.rstrip()


def replaced(source: str, command: str, lines: Iterable[str]) -> str:
    """The text of a spec with its section of *command* written anew, or left out without *lines*; others stay."""
    starts = [found.start() for found in _HEADER.finditer(source)]
    parts = (source[one:other].strip() for one, other in pairwise([*starts, len(source)]))
    sections = {part.splitlines()[0]: part for part in parts}
    written = "\n".join(lines).rstrip()
    sections[header(command)] = f"{header(command)}\n{written}" if written else ""
    return "\n\n".join([body(source), *filter(None, sections.values())]) + "\n"


def write(path: Path, text: str) -> None:
    """Put *text* in the place of a spec file, at once or not at all.

    Raises:
        SpecError: It cannot be written.
    """
    beside = path.with_suffix(".toml.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise SpecError(
            f"{beside}: cannot be written ({error.strerror}); refresh a copy in a folder of your own"
        ) from None
