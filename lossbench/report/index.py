"""What the index says beside its matrix: divergences, what could not be measured, the machine, its noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from lossbench.loss import Loss
from lossbench.quiet import Conditions
from lossbench.records import Environment, Job, Output, Record, Timing
from lossbench.report import hard, tables, words
from lossbench.report.evidence import Known
from lossbench.report.findings import Findings
from lossbench.report.tables import Cell, Table

_PROOFS = list(words.PROOFS)  # fixed and changed first: that is news
_KINDS = ["defect", "limit", "convention"]


def divergences(
    frame: pd.DataFrame, losses: Mapping[str, Loss], folder: str | None = None, known: Known | None = None
) -> Table:
    """Those declared and what this run got, the ones that no longer hold first.

    Args:
        frame: Rows of `accuracy.divergences`.
        losses: By name; their specs say where each is.
        folder: Where the pages of the losses are; None leaves the loss out, on its own page.
        known: Where the records are, if what came out is to lead there.
    """
    columns = ["Result", "Loss", "Target", "At", "Exact", "Got", "Why"]
    table = Table(
        caption="Declared divergences",
        columns=columns if folder is not None else [column for column in columns if column != "Loss"],
    )
    for row in sorted(tables.rows(frame), key=_urgency):
        loss, url = str(row["loss"]), tables.said(row["url"])
        cells = [
            tables.verdict(str(row["result"]), _PROOFS, str(row["kind"])),
            tables.link(loss, f"{folder}{loss}.html"),
            tables.text(row["target"] or row["framework"], str(row["dtype"])),
            hard.point(losses[loss].divergences[int(str(row["index"]))].when),
            hard.answer(row["exact_value"], row["exact_gradient"]),
            _got(row, known),
            Cell(
                text=tables.said(row["why"]),
                lines=[f"by {row['call']}"] if row["call"] else [],
                links=[("upstream", url)] if words.is_web(url) else [],
            ),
        ]
        table.rows.append(cells if folder is not None else [cells[0], *cells[2:]])
    return table


def _got(row: tables.Row, known: Known | None) -> Cell:
    cell = hard.answer(row["got_value"] or row["reason"], row["got_gradient"])
    return known.link(cell, known.at("divergence", row["index"], row["target"], row["dtype"])) if known else cell


def _urgency(row: tables.Row) -> tuple[int, int, str]:
    return _PROOFS.index(str(row["result"])), _KINDS.index(str(row["kind"])), str(row["loss"])


def unmeasured(findings: Findings) -> Table:
    """Why jobs have no answer, each reason once, with how many jobs and of which losses."""
    groups: dict[tuple[str, str, str], list[Job]] = defaultdict(list)
    for refusal in findings.refusals:
        groups[refusal.job.target.name, refusal.reason, refusal.detail].append(refusal.job)
    for job in findings.unanswered:
        groups[job.target.name, "no answer yet", "the run was cut off; --resume goes on with it"].append(job)
    table = Table(caption="Not measured", columns=["Target", "Reason", "In its own words", "Jobs", "Losses"])
    for (target, reason, detail), jobs in sorted(groups.items(), key=lambda group: (group[0][:2], -len(group[1]))):
        names = sorted({job.case.loss for job in jobs})
        table.rows.append(
            [
                tables.text(target),
                tables.text(reason),
                tables.code(detail),
                tables.number(len(jobs), str(len(jobs))),
                tables.links((name, f"losses/{name}.html") for name in names),
            ]
        )
    return table


def died(findings: Findings) -> Table:
    """The workers that ended before their time, and what they were on."""
    table = Table(caption="Workers that died", columns=["Target", "On", "How it ended"])
    for one in findings.died:
        case = one.job.case if one.job else None
        on = f"{case.loss}, {case.dtype}, {case.points}, {one.job.measure}" if case and one.job else "no job"
        table.rows.append([tables.text(one.target.name), tables.text(on), tables.code(one.detail)])
    return table


def environment(environments: Iterable[Environment]) -> list[Table]:
    """Versions, settings and machine: what all targets share, and what each has of its own."""
    environments = list(environments)
    parts: Mapping[str, list[Mapping[str, str]]] = {
        "Versions": [one.versions for one in environments],
        "Settings": [one.settings for one in environments],
        "Machine": [one.machine for one in environments],
    }
    names = [one.target.name for one in environments]
    return [table for caption, dicts in parts.items() for table in _compared(caption, names, dicts)]


def _compared(caption: str, names: list[str], dicts: list[Mapping[str, str]]) -> list[Table]:
    keys = list(dict.fromkeys(key for one in dicts for key in one))
    shared = [key for key in keys if all(one.get(key) == dicts[0].get(key) for one in dicts)]
    own = [key for key in keys if key not in shared]
    found = []
    if shared:
        rows = [[tables.text(key), tables.code(dicts[0][key])] for key in shared]
        found.append(Table(caption=f"{caption} of all targets", columns=[caption, "Everywhere"], rows=rows))
    if own:
        rows = [[tables.text(key), *(tables.code(one.get(key)) for one in dicts)] for key in own]
        found.append(Table(caption=f"{caption} by target", columns=[caption, *names], rows=rows))
    return found


def noise(frame: pd.DataFrame) -> Table:
    """The A/A control: how far the two halves of one and the same target are apart."""
    table = Table(
        caption="A/A control",
        columns=["Loss", "Target", "Measure", "Dtype", "Shape", "Median", "Median of the twin", "Ratio", "Intervals"],
    )
    for row in tables.rows(frame):
        loss = str(row["loss"])
        table.rows.append(
            [
                tables.link(loss, f"losses/{loss}.html#time"),
                *(tables.text(row[name]) for name in ("target", "measure", "dtype")),
                tables.number(row["elements"], str(row["shape"])),
                *(tables.number(row[name], words.seconds(row[name])) for name in ("median", "twin_median")),
                tables.number(row["ratio"], words.ratio(row["ratio"])),
                tables.text("apart" if row["apart"] else "overlap"),
            ]
        )
    return table


def spread(frame: pd.DataFrame) -> str:
    """The noise in one line: what the ratio of equals was, mostly and at worst."""
    if frame.empty:
        return ""
    apart = (frame["ratio"].where(frame["ratio"] >= 1, 1 / frame["ratio"]) - 1) * 100
    median, most = (f"{words.number(float(value), digits=2)} %" for value in (apart.median(), apart.max()))
    return f"over {len(frame)} cases, equals differed by {median} in the median and {most} at most"


def conditions(found: Conditions | None) -> Table:
    """What happened to the machine while the run was timed."""
    table = Table(caption="The machine meanwhile", columns=["What", "Found"])
    if found is None:
        return table
    load, rates = found.load, found.megahertz
    said = {
        "programs that wanted to run, before and at the end": "" if load is None else f"{load[0]:.1f}, {load[1]:.1f}",
        "processor time that other programs used": "" if found.others is None else words.percent(found.others),
        "processor time that the host took for others": "" if found.steal is None else words.percent(found.steal),
        "governor of the clock rate": found.governor,
        "clock rates seen, in MHz": "" if rates is None else f"{rates[0]:.0f} to {rates[1]:.0f}",
        "times that a core was slowed because it was hot": tables.said(found.throttled),
        "times that the container was stopped because it had used up its share": tables.said(found.capped),
    }
    table.rows.extend([tables.text(what), tables.text(text or "cannot be seen")] for what, text in said.items())
    return table


def bandwidth(frame: pd.DataFrame) -> Table:
    """The memory bandwidth that the run measured, by kernel, size and threads."""
    table = Table(
        caption="Memory bandwidth", columns=["Kernel", "Bytes", "Threads", "Bandwidth", "95 % interval", "Samples"]
    )
    for row in tables.rows(frame):
        table.rows.append(
            [
                tables.text(row["kernel"] if row["device"] == "cpu" else f"{row['kernel']}, {row['device']}"),
                tables.number(row["bytes"], words.size(row["bytes"])),
                tables.number(row["threads"], str(row["threads"])),
                tables.number(row["bytes_per_second"], words.rate(row["bytes_per_second"])),
                tables.number(row["low"], words.interval(row["low"], row["high"], words.rate)),
                tables.number(row["samples"], str(row["samples"])),
            ]
        )
    return table


def compiled(records: Iterable[Record]) -> int | None:
    """How many functions Numba had to compile in the run; None where it had none to run."""
    answers = [one for one in records if isinstance(one, Output | Timing) and one.job.target.framework == "numba"]
    return sum(one.compiled for one in records if isinstance(one, Output | Timing)) if answers else None


def past(folder: Path) -> str:
    """The address of the history beside the run in *folder*, from its index; empty where there is none."""
    page = folder.parent / "history" / "history.html"
    return f"../history/{page.name}" if page.exists() else ""


def threads(environments: Iterable[Environment]) -> str:
    """How many threads every target had, or that they differed."""
    found = {one.settings["threads"] for one in environments if "threads" in one.settings}
    return found.pop() if len(found) == 1 else " and ".join(sorted(found))
