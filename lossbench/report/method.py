"""The page that says how to read all others: errors, verdicts, kinks, budgets, times, each with an example."""

from __future__ import annotations

from collections.abc import Mapping

from lossbench.comparing import rule
from lossbench.report import budget, changes, conventions, index, words, worked
from lossbench.report.findings import Findings


def page(findings: Findings) -> Mapping[str, object]:
    """The content of the template."""
    return {
        "ulps": worked.ulps(),
        "ulp_picture": worked.ulp_picture(),
        "conditions": worked.conditions(),
        "kinks": worked.kinks(),
        "limits": worked.thresholds(),
        "decisions": worked.decisions(),
        "facts": conventions.FACTS.values(),
        "budgets": budget.RESULTS.values(),
        "marks_of_change": changes.MARKS.values(),
        "sampling": findings.suite.sampling,
        "timed": len(findings.medians),
        "shortest": words.seconds(findings.suite.sampling.min_sample),
        "spread": index.spread(findings.noise),
        "fewest": rule.FEWEST,
        "bound": words.percent(rule.BOUND),
        "level": words.percent(rule.LEVEL),
    }
