"""Where a run comes from: the commit of the checkout that it is started in."""

from __future__ import annotations

import subprocess
from pathlib import Path

PATIENCE = 10.0  # seconds


def commit(folder: Path | None = None) -> str:
    """The commit of the git checkout around *folder*, or around this one, with "-dirty" behind it where files have been
    changed since; empty outside of one, or without git."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
