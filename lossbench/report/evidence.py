"""The records of one loss as a page: what each number stands on, and the script that gives it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from markupsafe import Markup

from lossbench import accuracy, shown
from lossbench.loss import Loss
from lossbench.records import Answer, Case, Job, Observed, Output, Refusal, Timing
from lossbench.report import tables, words
from lossbench.report.findings import Findings
from lossbench.report.tables import Cell
from lossbench.report.words import Mark

_PARTS = {  # which case is in which part of the page, in this order
    "domain": "Drawn points",
    "drift": "Many updates",
    "length": "Long sums",
    "worst": "Worst inputs",
    "edge": "Edges",
    "divergence": "Divergences",
    "hessian": "Second derivatives",
    "timing": "Times",
    "callable": "Conventions",
}
_FILE = re.compile(r'(?<!"inputs":")\b[0-9a-f]{32}\b')  # an array's file; of inputs only the digest is kept


@dataclass(frozen=True, kw_only=True)
class Known:
    """Where the record of each job of a loss is: the number that stands on it links there."""

    loss: str
    hard: Mapping[tuple[str, int, str, str], str]

    @classmethod
    def of(cls, findings: Findings, loss: Loss) -> Known:
        """The records of *loss*; edges, divergences and worst inputs are found by their place in the spec."""
        jobs = [one.job for one in findings.records if isinstance(one, Answer) and one.job.case.loss == loss.name]
        places: dict[tuple[str, int, str, str], str] = {
            (job.case.points, job.case.index, job.target.name, job.case.dtype): job.key
            for job in jobs
            if job.case.points in ("edge", "divergence", "worst") and job.measure == "accuracy"
        }
        return cls(loss=loss.name, hard=places)

    def link(self, cell: Cell, key: object) -> Cell:
        """*cell*, its text a link to the record of the job *key*; as it is where there is no such job."""
        return replace(cell, text="", links=[(cell.text, self.address(key))]) if key and cell.text else cell

    def address(self, key: object) -> str:
        """Of the record of the job *key*, beside the page of its loss."""
        return f"{self.loss}.records.html#{key}"

    def at(self, points: str, index: object, target: object, dtype: object) -> str:
        """The key of the job of an edge, divergence or batch of worst inputs; empty where it has no record."""
        return self.hard.get((points, int(str(index)), str(target), str(dtype)), "")


@dataclass(frozen=True, kw_only=True)
class Article:
    """One record: whose it is, of what, what came out, the record itself and its script."""

    key: str
    target: str
    case: str
    mark: Mark | None
    said: str
    json: Markup
    script: Markup


def page(findings: Findings, loss: Loss) -> dict[str, object]:
    """Every record of *loss*, by the part of the page that it is in."""
    graded = {str(row["job"]): row for row in tables.rows(findings.about(findings.jobs, loss.name))}
    timed = {str(row["job"]): row for row in tables.rows(findings.about(findings.medians, loss.name))}
    parts: dict[str, list[Article]] = {title: [] for title in _PARTS.values()}
    for one in findings.by_loss.get(loss.name, []):
        if isinstance(one, Answer):
            mark, said = _outcome(one, graded, timed)
            kind = one.job.measure if one.job.measure == "hessian" else one.job.case.points
            parts[_PARTS[kind]].append(
                Article(
                    key=one.job.key,
                    target=one.job.target.name,
                    case=_case(one.job, loss),
                    mark=mark,
                    said=said,
                    json=_linked(msgspec.json.encode(one).decode()),
                    script=_escaped(script(one.job, findings.suite.threads)),
                )
            )
    return {"loss": loss, "parts": {title: found for title, found in parts.items() if found}}


def script(job: Job, threads: int) -> str:
    """Python that does *job* again where it lies in the folder of its run, and prints what comes out."""
    asked = msgspec.json.encode(job).decode()
    many = f", threads={threads}" if threads and job.timed else ""
    return (
        "from lossbench.again import again\n\n"
        f"print(again({f'specs/{job.case.loss}.toml'!r}, {asked!r}{many}).to_string())\n"
    )


def _case(job: Job, loss: Loss) -> str:
    """What was asked, in a line."""
    case: Case = job.case
    said: list[str] = [case.dtype]
    if case.points == "edge":
        said.append(f"edge {case.index + 1}, {shown.at(loss.edges[case.index].at)}")
    elif case.points == "divergence":
        said.append(f"divergence {case.index + 1}, {shown.at(loss.divergences[case.index].when)}")
    elif case.points == "callable":
        said = [loss.callables[case.index].name]
    else:
        said.append(accuracy.shape(loss, case))
    if case.points in ("domain", "drift", "length") and case.index:
        said.append(f"draw {case.index + 1}")
    if case.reduction != "none":
        said.append(case.reduction)
    if case.weighted:
        said.append("weighted")
    if case.parameters:
        said.append(shown.at(case.parameters))
    if job.timed:
        said.append("value" if job.measure == "forward" else "value and gradient")
    return ", ".join(said)


def _outcome(one: Answer, graded: Mapping[str, tables.Row], timed: Mapping[str, tables.Row]) -> tuple[Mark | None, str]:
    """The verdict on an answer, if there is one, and what came out in a few words."""
    if isinstance(one, Refusal):
        row = graded.get(one.job.key) or timed.get(one.job.key)
        return words.mark(str(row["verdict"])) if row else None, f"{one.reason}: {one.detail}"
    if isinstance(one, Timing):
        row = timed.get(one.job.key)
        return None, f"median {words.seconds(row['median'])}" if row else f"{len(one.seconds)} samples, of the twin"
    if isinstance(one, Observed):
        return None, f"{len(one.says)} topics"
    row = graded.get(one.job.key)
    few = [f"{name} {text.partition(': ')[2]}" for name, text in _plain(one).items() if ": " in text]
    if row is None:
        return None, ", ".join(few)
    sizes = {what: words.ulps(row[f"{what}_max_ulp"]) for what in ("value", "gradient")}
    ulps = [f"{what} {size} ulp" for what, size in sizes.items() if size != "–"]
    return words.mark(str(row["verdict"])), "; ".join(part for part in (", ".join(few), ", ".join(ulps)) if part)


def _plain(one: Output) -> Mapping[str, str]:
    """The value and the gradients, without what a reference adds to them."""
    parts = {name: text for name, text in one.arrays.items() if name == "value" or name.startswith("gradient.")}
    return {name: text for name, text in parts.items() if name.count(".") == (name != "value")}


def _linked(text: str) -> Markup:
    """JSON in which the name of each array that is a file leads to it."""
    # What is around the names is escaped first; hexadecimal digits need no escaping.
    return Markup(_FILE.sub(r'<a href="../arrays/\g<0>.npy">\g<0></a>', str(_escaped(text))))


def _escaped(text: str) -> Markup:
    """For the content of an element, where quotes may stay: a record is full of them."""
    return Markup(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
