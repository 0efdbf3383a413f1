"""What is installed, which devices there are, and what limits the measurement on this machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys

from lossbench import adapters, limits
from lossbench.limits import Finding
from lossbench.records import CEILING, REFERENCE

DISTRIBUTIONS = {
    "torch": ["torch"],
    "tensorflow": ["tensorflow", "keras"],
    "jax": ["jax", "optax"],
    "numba": ["numba"],
}


def examine() -> list[Finding]:
    """Everything that decides what can be measured here, and how well. Imports no framework."""
    return [*_frameworks(), *limits.examine()]


def _frameworks() -> list[Finding]:
    python = platform.python_version()
    findings = [Finding(what="python", found=f"{python} at {sys.executable}")]
    for framework in (name for name in adapters.names() if name not in (REFERENCE.framework, CEILING)):
        wanted = DISTRIBUTIONS.get(framework, [framework])
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in wanted if name not in missing)
        advice = f"{' and '.join(missing)} missing; try: pip install 'lossbench[{framework}]'" if missing else ""
        findings.append(Finding(what=framework, found=found or "not installed", advice=advice))
    return findings
