"""The page of what a run ran on: versions, settings and machine of every target, what disturbed it, its memory."""

from __future__ import annotations

from collections.abc import Mapping

from lossbench.report import index
from lossbench.report.findings import Findings


def page(findings: Findings) -> Mapping[str, object]:
    """The content of the template."""
    return {
        "environment": index.environment(findings.environments),
        "threads": index.threads(findings.environments),
        "compiled": index.compiled(findings.records),
        "warnings": findings.warnings,
        "noise": index.noise(findings.noise),
        "spread": index.spread(findings.noise),
        "conditions": index.conditions(findings.conditions),
        "bandwidth": index.bandwidth(findings.bandwidth),
        "died": index.died(findings),
    }
