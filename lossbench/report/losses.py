"""The page of one loss: everything that it says, part by part."""

from __future__ import annotations

from markupsafe import Markup

from lossbench import audit, quiet
from lossbench.loss import Loss
from lossbench.report import (
    conventions,
    drift,
    hard,
    histogram,
    index,
    kinks,
    lengths,
    lineage,
    meaning,
    one,
    pareto,
    ports,
    second,
    times,
    worst,
)
from lossbench.report.evidence import Known
from lossbench.report.findings import Findings


def page(findings: Findings, loss: Loss) -> dict[str, object]:
    """What the template of a loss is filled with."""
    cells = findings.about(findings.cells, loss.name)
    jobs = findings.about(findings.jobs, loss.name)
    medians = findings.about(findings.medians, loss.name)
    dtypes = list(dict.fromkeys(map(str, cells["dtype"])))
    known = Known.of(findings, loss)
    points = one.points(findings, loss, dtypes)
    jumps = kinks.found(findings.answers, loss)
    front = pareto.points(cells, medians)
    pictures, behind = one.errors(points, loss, dtypes)
    drifts, behind_drifts = drift.drift(findings, loss)
    return {
        "loss": loss,
        "known": set(findings.losses),
        "formula": Markup(meaning.formula(loss)),
        "symbols": meaning.symbols(loss),
        "properties": meaning.properties(loss),
        "sides": ports.sides(loss),
        "ported": audit.FRAMEWORKS,
        "divergences": index.divergences(findings.about(findings.divergences, loss.name), findings.losses, known=known),
        "edges": hard.edges(findings.about(findings.edges, loss.name), loss, findings.targets, known),
        "verdicts": one.verdicts(cells, jobs, known),
        "cases": one.cases(jobs, known),
        "hessians": second.verdicts(findings.about(findings.hessians, loss.name)),
        "dtypes": dtypes,
        "errors": pictures,
        "behind": behind,
        "lengths": lengths.pictures(findings, loss.name),
        "worst": worst.table(findings.about(findings.kept, loss.name), known),
        "length_rows": lengths.every(findings.about(findings.lengths, loss.name), findings.targets),
        "lineage": lineage.groups([group for group in findings.lineage if group.loss == loss.name]),
        "kinks": kinks.pictures(jumps, loss, findings.targets),
        "behind_kinks": kinks.table(jumps, loss, findings.targets, known),
        "histogram": histogram.picture(points, loss, dtypes),
        "pareto": pareto.picture(front, loss, findings.targets),
        "behind_pareto": pareto.table(front, known),
        "drifts": drifts,
        "behind_drifts": behind_drifts,
        "conventions": conventions.of_loss(findings.about(findings.facts, loss.name)),
        "times": times.pictures(findings, medians, loss),
        "timings": times.table(medians, quiet.resolution(findings.noise), known),
    }
