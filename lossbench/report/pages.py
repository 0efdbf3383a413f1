"""Findings to files: the templates filled, the static files copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
from jinja2 import Environment

from lossbench import __version__
from lossbench.answers import Answers
from lossbench.budget import comparison
from lossbench.records import Record
from lossbench.report import (
    against,
    budget,
    changes,
    conventions,
    coverage,
    defects,
    downloads,
    environment,
    evidence,
    index,
    jinja,
    kernels,
    kernels_text,
    lengths,
    lineage,
    losses,
    method,
    navigation,
    news,
    second,
    words,
)
from lossbench.report.against import Against
from lossbench.report.findings import Findings
from lossbench.report.hands import Hands
from lossbench.report.matrix import matrix
from lossbench.report.svg import MARKERS

STATIC = Path(__file__).parent / "static"


def write(findings: Findings, hands: Hands | None = None, compared: Against | None = None) -> Path:
    """Write every page into the run's folder; what a former report left there is replaced.

    Args:
        findings: Of the run.
        hands: Those that write the pages of the losses.
        compared: The run with another one; None where there is none.

    Returns:
        The index.
    """
    folder = findings.path
    for name in ("static", "losses", "data"):
        shutil.rmtree(folder / name, ignore_errors=True)
    pages = _pages(findings, compared)
    for address in navigation.TITLES.keys() - pages.keys():
        (folder / address).unlink(missing_ok=True)  # of a base or a budget that is not there any more
    shutil.copytree(STATIC, folder / "static")
    (folder / "losses").mkdir(parents=True)
    links = navigation.links(pages, index.past(folder))
    shared = _Shared(folder.name, findings.created, tuple(findings.targets), tuple(links))
    names = sorted(findings.losses)
    around = {name: one for name, *one in zip(names, [None, *names], [*names[1:], None], strict=False)}
    given = {name: (findings.part(name), shared, *around[name]) for name in names}
    writing = (hands or Hands(findings.answers)).each("writing", _write_loss, given)
    templates = _templates(shared)
    downloads.write(findings)  # of which a page tells the sizes
    if compared and compared.comparison:
        changes.write_tables(compared.comparison, folder / "data")
    for address, (template, content) in pages.items():
        text = templates.get_template(template).render(content(findings), here=address)
        (folder / address).write_text(text, encoding="utf-8")
    if "kernels.html" in pages:
        (folder / "kernels.md").write_text(kernels_text.text(findings.kernels), encoding="utf-8")
        findings.kernels.drop(columns="sizes").to_csv(folder / "kernels.csv", index=False)
    for _ in writing:
        pass
    return folder / "index.html"


class _Shared(NamedTuple):
    """What all pages of a run say."""

    run: str
    created: datetime
    targets: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


def _write_loss(
    answers: Answers, part: Mapping[str, object], shared: _Shared, before: str | None, after: str | None
) -> None:
    """The page of one loss and its records, from the findings about it."""
    findings = Findings.of_part(answers, part)
    (loss,) = answers.losses.values()
    content = losses.page(findings, loss) | {"before": before, "after": after}
    text = _templates(shared).get_template("loss.html.j2").render(content)
    folder = findings.path / "losses"
    (folder / f"{loss.name}.html").write_text(text, encoding="utf-8")
    text = _templates(shared).get_template("records.html.j2").render(evidence.page(findings, loss))
    (folder / f"{loss.name}.records.html").write_text(text, encoding="utf-8")
    (folder / f"{loss.name}.json").write_bytes(_listed(findings.records))


def _pages(
    findings: Findings, compared: Against | None
) -> dict[str, tuple[str, Callable[[Findings], Mapping[str, object]]]]:
    """The template and the content of each page, but those of losses, by its address."""
    pages: dict[str, tuple[str, Callable[[Findings], Mapping[str, object]]]] = {
        "index.html": ("index.html.j2", lambda findings: _index(findings, compared)),
        "defects.html": ("defects.html.j2", _defects),
        "conventions.html": ("conventions.html.j2", _conventions),
        "method.html": ("method.html.j2", method.page),
        "environment.html": ("environment.html.j2", environment.page),
        "downloads.html": ("downloads.html.j2", downloads.page),
    }
    if comparison.counts(findings.budgets):
        pages["budgets.html"] = ("budgets.html.j2", lambda findings: budget.page(findings.budgets))
    if findings.kernels["ceiling"].any():
        pages["kernels.html"] = ("kernels.html.j2", lambda findings: kernels.page(findings.kernels))
    if compared and (done := compared.comparison):
        pages["compare.html"] = ("compare.html.j2", lambda _: changes.page(done, report="", csv="data/"))
    return pages


@lru_cache(maxsize=1)
def _templates(shared: _Shared) -> Environment:
    templates = jinja.templates()
    templates.globals.update(
        run=shared.run,
        created=shared.created,
        version=__version__,
        navigation=shared.links,
        targets=shared.targets,
        is_web=words.is_web,
        marks=words.MARKS,
        proofs=words.PROOFS,
        length_marks=lengths.MARKS,
        glyphs=dict(zip(MARKERS, "●■◆▲▼✚✖★", strict=True)),
        markers=MARKERS,
        anchor=lambda text: text.lower().replace(" ", "-"),
    )
    return templates


def _index(findings: Findings, compared: Against | None) -> Mapping[str, object]:
    changed = findings.divergences[findings.divergences["result"].isin(("changed", "fixed"))]
    losses = findings.losses.values()
    results = findings.divergences["result"].value_counts() if len(findings.divergences) else {}
    return {
        "suite": findings.suite,
        "against": compared,
        "news": against.strip(compared),
        "matrix": matrix(findings),
        "losses": len(findings.losses),
        "divergences": coverage.divergences(findings.divergences),
        "changed": index.divergences(changed, findings.losses, "losses/"),
        "results": {word: int(results[word]) for word in words.PROOFS if word in results},
        "cells": coverage.cells(losses),
        "absent": coverage.absent(losses),
        "callables": coverage.callables(losses),
        "facts": conventions.counts(findings.facts, conventions.NEWS),
        "budget": comparison.counts(findings.budgets),
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
        "warnings": findings.warnings,
        "environment": index.environment(findings.environments),
        "threads": index.threads(findings.environments),
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


def _listed(records: list[Record]) -> bytes:
    """JSON, one record a line, as a list that a browser shows."""
    return b"[\n" + b",\n".join(msgspec.json.encode(record) for record in records) + b"\n]\n"
