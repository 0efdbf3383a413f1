"""A comparison as Markdown, for a pull request or a step summary."""

from __future__ import annotations

from collections.abc import Sequence

from lossbench.comparing import told
from lossbench.comparing.whole import Comparison

MOST = 60_000  # bytes: a comment on a pull request takes 65,536 characters
SCRIPTS = 3
ROOM = 8_000  # bytes for what stands around the tables


def text(done: Comparison) -> str:
    """The verdict, what is failing, slower or not measured, what is better, and all the rest folded away."""
    rows = told.rows(done)
    alarming = [row for row in rows if told.alarming(row["change"])]
    quiet = [row for row in rows if row["change"] in told.QUIET]
    others = [row for row in rows if row not in alarming and row not in quiet]
    mark = {0: "✅", 1: "❌", 3: "⚠️"}[done.exit_code]
    parts = [f"## {mark} {done.verdict}", f"`{done.base}` → `{done.head}`: {told.counted(done)}."]
    if done.differ:
        parts.append("Different: " + "; ".join(done.differ) + ".")
    room = MOST - ROOM
    for title, some, folded in (("", alarming, False), ("Other changes", others, False), ("Unchanged", quiet, True)):
        made, room = _table(some, room)
        if some:
            above = f"### {title}\n\n" if title else ""
            parts.append(_folded(f"{title} ({len(some)})", made) if folded else above + made)
    for row in [row for row in alarming if row["script"]][:SCRIPTS]:
        script = _folded(f"Script: {row['name']}", f"```python\n{row['script']}```")
        if len(script.encode()) < ROOM // (SCRIPTS + 1):
            parts.append(script)
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[dict[str, str]], room: int) -> tuple[str, int]:
    """As many rows as fit, and the room that is left."""
    lines = ["| | loss | target | dtype | case | was | now | |", "|---|---|---|---|---|---|---|---|"]
    for number, row in enumerate(rows):
        keys = ("change", "loss", "target", "dtype", "case", "was", "now", "detail")
        line = "| " + " | ".join(_cell(row[key]) for key in keys) + " |"
        room -= len(line.encode()) + 1
        if room < 0:
            lines += ["", f"{len(rows) - number} more rows do not fit here; `lossbench compare --json` has all."]
            break
        lines.append(line)
    return "\n".join(lines), max(room, 0)


def _cell(text: str) -> str:
    """Text that breaks no table and is no markup."""
    flat = " ".join(text.split())
    for letter in "\\|*_`[]":
        flat = flat.replace(letter, f"\\{letter}")
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{_cell(title)}</summary>\n\n{text}\n\n</details>"
