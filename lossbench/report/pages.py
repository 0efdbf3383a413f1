"""Findings to files: the templates filled, the static files copied."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from lossbench import __version__, quiet
from lossbench.loss import Loss
from lossbench.records import Died, Observed, Output, Record, Refusal, Timing
from lossbench.report import (
    budget,
    conventions,
    coverage,
    defects,
    drift,
    hard,
    index,
    kernels,
    kernels_text,
    lengths,
    lineage,
    meaning,
    news,
    one,
    second,
    words,
    worst,
)
from lossbench.report import matrix as matrices
from lossbench.report.findings import Findings
from lossbench.report.matrix import Matrix
from lossbench.report.svg import MARKERS

STATIC = Path(__file__).parent / "static"


def write(findings: Findings) -> Path:
    """Write every page into the run's folder; what a former report left there is replaced.

    Returns:
        The index.
    """
    folder = findings.path
    for name in ("static", "losses"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(STATIC, folder / "static")
    (folder / "losses").mkdir(parents=True)
    templates = _templates(findings)
    matrix = matrices.matrix(findings)
    page = folder / "index.html"
    page.write_text(templates.get_template("index.html.j2").render(_index(findings, matrix)), encoding="utf-8")
    text = templates.get_template("defects.html.j2").render(_defects(findings))
    (folder / "defects.html").write_text(text, encoding="utf-8")
    text = templates.get_template("conventions.html.j2").render(_conventions(findings))
    (folder / "conventions.html").write_text(text, encoding="utf-8")
    if findings.kernels["ceiling"].any():
        text = templates.get_template("kernels.html.j2").render(kernels.page(findings.kernels))
        (folder / "kernels.html").write_text(text, encoding="utf-8")
        (folder / "kernels.md").write_text(kernels_text.text(findings.kernels), encoding="utf-8")
        findings.kernels.drop(columns="sizes").to_csv(folder / "kernels.csv", index=False)
    names = sorted(findings.losses)
    records = _by_loss(findings.records)
    for place, name in enumerate(names):
        around = {
            "before": names[place - 1] if place else None,
            "after": names[place + 1] if place + 1 < len(names) else None,
        }
        text = templates.get_template("loss.html.j2").render(_loss(findings, findings.losses[name]) | around)
        (folder / "losses" / f"{name}.html").write_text(text, encoding="utf-8")
        (folder / "losses" / f"{name}.json").write_bytes(_listed(records.get(name, [])))
    return page


def _templates(findings: Findings) -> Environment:
    templates = Environment(
        loader=PackageLoader("lossbench.report"),
        autoescape=select_autoescape(["html.j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(
        run=findings.path.name,
        created=findings.created,
        version=__version__,
        targets=findings.targets,
        is_web=words.is_web,
        marks=words.MARKS,
        proofs=words.PROOFS,
        length_marks=lengths.MARKS,
        glyphs=dict(zip(MARKERS, "●■◆▲▼✚✖★", strict=True)),
        markers=MARKERS,
        anchor=lambda text: text.lower().replace(" ", "-"),
    )
    return templates


def _index(findings: Findings, matrix: Matrix) -> Mapping[str, object]:
    changed = findings.divergences[findings.divergences["result"].isin(("changed", "fixed"))]
    losses = findings.losses.values()
    results = findings.divergences["result"].value_counts() if len(findings.divergences) else {}
    return {
        "suite": findings.suite,
        "matrix": matrix,
        "losses": len(findings.losses),
        "divergences": coverage.divergences(findings.divergences),
        "changed": index.divergences(changed, findings.losses, "losses/"),
        "results": {word: int(results[word]) for word in words.PROOFS if word in results},
        "cells": coverage.cells(losses),
        "absent": coverage.absent(losses),
        "callables": coverage.callables(losses),
        "facts": conventions.counts(findings.facts, conventions.NEWS),
        "budget": budget.section(findings.budgets),
        "hessians": second.matrix(findings.hessians, findings.targets),
        "lengths": lengths.worst(findings.lengths),
        "length_counts": lengths.counts(findings.lengths),
        "lineage": lineage.groups(findings.lineage, folder="losses/"),
        "unmeasured": index.unmeasured(findings),
        "kernels": kernels.missed(findings.kernels),
        "refused": len(findings.refusals),
        "unanswered": len(findings.unanswered),
        "planned": len(findings.planned),
        "died": index.died(findings),
        "past": index.past(findings.path),
        "noise": index.noise(findings.noise),
        "warnings": findings.warnings,
        "conditions": index.conditions(findings.conditions),
        "spread": index.spread(findings.noise),
        "bandwidth": index.bandwidth(findings.bandwidth),
        "environment": index.environment(findings.environments),
        "threads": index.threads(findings.environments),
        "compiled": index.compiled(findings.records),
    }


def _defects(findings: Findings) -> Mapping[str, object]:
    declared, missed, choices = defects.declared(findings), defects.missed(findings), defects.choices(findings)
    every = [*declared, *missed, *choices]
    return {
        "declared": declared,
        "missed": missed,
        "choices": choices,
        "counts": defects.counts(declared),
        "frameworks": sorted({one.framework for one in every}),
        "names": sorted(findings.losses),
        "kinds": sorted({one.kind for one in every}),
        "results": list(defects.counts(every)),
    }


def _conventions(findings: Findings) -> Mapping[str, object]:
    return {
        "groups": conventions.sections(findings.facts),
        "news": news.table(findings.facts),
        "counts": conventions.counts(findings.facts),
        "frameworks": sorted({str(name) for name in findings.facts["framework"]}),
        "facts": conventions.FACTS,
        "anchored": conventions.anchor,
    }


def _loss(findings: Findings, loss: Loss) -> dict[str, object]:
    cells = findings.about(findings.cells, loss.name)
    jobs = findings.about(findings.jobs, loss.name)
    medians = findings.about(findings.medians, loss.name)
    dtypes = list(dict.fromkeys(map(str, cells["dtype"])))
    pictures, behind = one.errors(findings, loss, dtypes)
    drifts, behind_drifts = drift.drift(findings, loss)
    return {
        "loss": loss,
        "known": set(findings.losses),
        "formula": Markup(meaning.formula(loss)),
        "symbols": meaning.symbols(loss),
        "properties": meaning.properties(loss),
        "divergences": index.divergences(findings.about(findings.divergences, loss.name), findings.losses),
        "edges": hard.edges(findings.about(findings.edges, loss.name), loss, findings.targets),
        "verdicts": one.verdicts(cells, jobs),
        "cases": one.cases(jobs),
        "hessians": second.verdicts(findings.about(findings.hessians, loss.name)),
        "dtypes": dtypes,
        "errors": pictures,
        "behind": behind,
        "lengths": lengths.pictures(findings, loss.name),
        "worst": worst.table(findings.about(findings.kept, loss.name)),
        "length_rows": lengths.every(findings.about(findings.lengths, loss.name), findings.targets),
        "lineage": lineage.groups([group for group in findings.lineage if group.loss == loss.name]),
        "drifts": drifts,
        "behind_drifts": behind_drifts,
        "conventions": conventions.of_loss(findings.about(findings.facts, loss.name)),
        "times": one.times(findings, medians, loss),
        "timings": one.timings(medians, quiet.resolution(findings.noise)),
    }


def _by_loss(records: list[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if isinstance(record, Output | Observed | Timing | Refusal | Died) and record.job is not None:
            found.setdefault(record.job.case.loss, []).append(record)
    return found


def _listed(records: list[Record]) -> bytes:
    """JSON, one record a line, as a list that a browser shows."""
    return b"[\n" + b",\n".join(msgspec.json.encode(record) for record in records) + b"\n]\n"
