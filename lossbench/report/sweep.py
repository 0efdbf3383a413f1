"""The page of a sweep, one file: the worst errors by loss and target, where they are, how errors are spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lossbench import __version__, verdicts
from lossbench.report import jinja, tables, words
from lossbench.report.tables import Cell as Box
from lossbench.report.tables import Table
from lossbench.report.words import Mark
from lossbench.shown import decimal
from lossbench.sweeps.shard import BAD, Category, Extreme, Part
from lossbench.sweeps.table import WHAT, Cell
from lossbench.sweeps.whole import Sweep

STATIC = Path(__file__).parent / "static"
STYLE = """
.bars { width: 9rem; height: 26px; display: block; } .bars path { fill: var(--series-0); }
.bars .axis { fill: none; stroke: var(--muted); } .tiles li { padding: .35rem .8rem; border: 1px solid var(--line);
border-radius: 6px; }
"""
MOST = 16  # bins of a picture; the last has all errors beyond
BAR, GAP = 7, 1  # its units
LONG = 60  # characters of an input, beyond which it opens on a click
MEANING: Mapping[Category, str] = {
    "normal": "The exact number is in the normal range, or within half an ulp of it.",
    "subnormal": "The exact number is below the normal range, where numbers have fewer digits.",
    "zero": "The exact number is 0, and came out.",
    "kink": "At a point where every number of an interval is a right gradient.",
    "convention": "The spec says that there is more than one answer here; nothing is counted against the target.",
    "undefined": "Mathematics says nothing: infinity less infinity, or an input that is nan.",
    "pole": "The exact number is infinite, and came out.",
    "overflowed rightly": "The exact number is beyond the range of the dtype, and infinity came out.",
    "overflowed spuriously": "Amiss: an infinity came out for a number, or for the other infinity.",
    "missed overflow": "Amiss: a finite number came out for an infinity, or far below one that overflows.",
    "flushed": "Amiss: 0 came out for a subnormal number, as for all of them.",
    "missed zero": "Amiss: another number came out for an exact 0.",
    "nan": "Amiss: nan came out for a number.",
}
NAMES: tuple[Category, ...] = ("nan", "overflowed spuriously", "missed overflow")
_MARKS = {
    "right": Mark("✓", "", "good", "within 1 ulp, nothing amiss"),
    "near": Mark("≈", "", "fair", "within what rounding and conditioning explain, nothing amiss"),
    "far": Mark("▽", "", "poor", "beyond that, or flushed, or zeros missed"),
    "amiss": Mark("✗", "", "bad", "nan or an infinity for a number, a number for an infinity"),
}


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A histogram as a picture: `ends` says what its first and last bar are, `label` all of it."""

    path: str
    width: int
    ends: str
    label: str


def write(found: Sweep) -> Path:
    """Write the page of a sweep into its folder.

    Returns:
        The page.
    """
    templates = jinja.templates()
    text = templates.get_template("sweep.html.j2").render(_page(found))
    found.page.write_text(text, encoding="utf-8")
    return found.page


def _page(found: Sweep) -> dict[str, object]:
    cells = found.cells
    frame = found.table()
    targets = list(dict.fromkeys(cell.first.target.name for cell in cells))
    return {
        "run": found.path.name,
        "created": found.folder.created,
        "version": __version__,
        "style": Markup((STATIC / "report.css").read_text(encoding="utf-8") + STYLE),
        "theme": Markup(_script("theme.js")),
        "script": Markup("\n".join(_script(name) for name in ("sortable.min.js", "filtered.js"))),
        "evaluations": f"{sum(cell.evaluations for cell in cells):,}",
        "labels": {str(label): int(count) for label, count in frame["label"].value_counts().items()} if cells else {},
        "targets": targets,
        "losses": list(dict.fromkeys(cell.loss.name for cell in cells)),
        "overview": _overview(cells, targets),
        "lines": [line for cell in cells for what in WHAT if (line := _line(cell, what))],
        "unanswered": _unanswered(cells),
        "speed": _speed(found),
        "sessions": _sessions(found),
        "versions": ", ".join(f"{name} {of}" for name, of in _versions(cells).items()),
        "digest": found.digest,
        "categories": MEANING,
    }


def _script(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _overview(cells: Sequence[Cell], targets: Sequence[str]) -> list[dict[str, object]]:
    """A line for each loss and dtype, a box for each target, in it one for value and one for gradient."""
    lines: dict[tuple[str, str], dict[str, list[dict[str, object]]]] = {}
    for cell in cells:
        line = lines.setdefault((cell.loss.name, cell.first.dtype), {})
        line[cell.first.target.name] = [_brief(cell.parts[what]) for what in WHAT if what in cell.parts]
    return [
        {"loss": loss, "dtype": dtype, "boxes": [line.get(target) for target in targets]}
        for (loss, dtype), line in lines.items()
    ]


def _brief(part: Part) -> dict[str, object]:
    worst, judged = _error(part.worst, "ulps"), _error(part.conditioned, "judged")
    bad = sum(part.counts.get(name, 0) for name in BAD)
    text = f"{words.ulps(worst)} ({words.ulps(judged)})" + (f", {bad:,} amiss" if bad else "")
    return {"mark": _mark(part, worst, judged, bad), "text": text}


def _mark(part: Part, worst: float, judged: float, bad: int) -> Mark:
    if any(part.counts.get(name) for name in NAMES):
        return _MARKS["amiss"]
    if bad or judged > verdicts.tolerated():
        return _MARKS["far"]
    return _MARKS["near"] if worst > verdicts.FAITHFUL else _MARKS["right"]


def _error(one: Extreme | None, by: str) -> float:
    error = None if one is None else getattr(one, by)
    return math.nan if error is None else float(error)


def _line(cell: Cell, what: str) -> dict[str, object] | None:
    part = cell.parts.get(what)
    if part is None:
        return None
    dtype, one = cell.first.dtype, part.worst
    at = "" if one is None else ", ".join(f"{name} = {_number(text, dtype)}" for name, text in one.at.items())
    judged = part.conditioned
    counts = [f"{count:,} {name}" for name, count in part.counts.items()]
    bad = sum(part.counts.get(name, 0) for name in BAD)
    condition = [] if one is None else [f"judged {words.ulps(one.judged)}", f"condition {words.number(one.condition)}"]
    elsewhere = judged is not None and one is not None and judged.at != one.at
    return {
        "loss": cell.loss.name,
        "dtype": dtype,
        "target": cell.first.target.name,
        "what": what,
        "ulps": Box(text=words.ulps(_error(one, "ulps")), sort=_sort(_error(one, "ulps")), lines=condition),
        "judged": Box(
            text=words.ulps(_error(judged, "judged")),
            sort=_sort(_error(judged, "judged")),
        ),
        "at": Box(
            text=at if len(at) <= LONG * 3 else at[:LONG] + " …",
            folded=at if len(at) > LONG * 3 else "",
            shown="code",
            lines=[f"judged worst: {_inputs(judged, dtype)}"] if elsewhere and judged is not None else [],
        ),
        "got": Box(text="" if one is None else _number(one.got, dtype), shown="code"),
        "exact": Box(text="" if one is None else one.exact, shown="code"),
        "bars": _bars(part.histogram),
        "counts": Box(
            text=", ".join(counts),
            sort=str(bad),
            lines=[f"{name}: at {_inputs(example, dtype)}" for name, example in part.examples.items()],
        ),
        "label": Box(text=cell.label, lines=[cell.scope]),
        "search": f"{cell.loss.name} {cell.first.target.name} {dtype} {what} {at}".lower(),
    }


def _sort(error: float) -> str:
    return "" if math.isnan(error) else repr(error)


def _inputs(one: Extreme, dtype: str) -> str:
    text = ", ".join(f"{name} = {_number(value, dtype)}" for name, value in one.at.items())
    return text if len(text) <= LONG * 3 else f"{text[: LONG * 3]} …"


def _number(text: str, dtype: str) -> str:
    """A hexadecimal number with its decimal digits before it; labels and rows as they are."""
    if "0x" not in text or text.startswith("["):
        return text
    short = decimal(float.fromhex(text), dtype)
    return f"{short} ({text})" if not short.lstrip("-").isdigit() else short


def _bars(histogram: Mapping[int, int]) -> Bars | None:
    """Bars that are as high as the logarithms of counts, from half an ulp on, each twice as wide as the one before."""
    if not histogram:
        return None
    last = min(max(max(histogram), 0), MOST - 2)
    counts = [histogram.get(key, 0) for key in range(-1, last)]
    counts.append(sum(count for key, count in histogram.items() if key >= last))
    top = math.log1p(max(counts))
    path = ""
    for place, count in enumerate(counts):
        if count:
            height = max(round(24 * math.log1p(count) / top, 1), 1)
            path += f"M{place * (BAR + GAP)} 25v-{height:g}h{BAR}v{height:g}z"
    beyond = max(histogram) > last
    said = [f"{counts[0]:,} within half an ulp"]
    said += [f"{count:,} within {2.0**key:g}" for key, count in enumerate(counts[1:]) if count]
    if beyond:
        said[-1] = f"{counts[-1]:,} beyond {2.0 ** (last - 1):g}"
    return Bars(
        path=path,
        width=MOST * (BAR + GAP),
        ends="≤ ½ ulp"
        + (f" … {'>' if beyond else '≤'} {2.0 ** (last - 1 if beyond else last):g}" if len(said) > 1 else ""),
        label="; ".join(said),
    )


def _unanswered(cells: Sequence[Cell]) -> Table:
    table = Table(caption="shards without an answer", columns=["Loss", "Target", "Dtype", "Shards", "Why"])
    for cell in cells:
        if cell.unanswered:
            count = len(cell.unanswered)
            row = [tables.text(cell.loss.name), tables.text(cell.first.target.name), tables.text(cell.first.dtype)]
            table.rows.append([*row, tables.number(count, str(count)), tables.text(cell.reason)])
    return table


def _speed(found: Sweep) -> Table:
    table = Table(caption="in the target's own process", columns=["Target", "Evaluations", "Per second"])
    frame = found.table()
    for target, group in frame[frame["evaluations"] > 0].groupby("target") if len(frame) else ():
        count = int(group["evaluations"].sum())
        rate = count / (group["evaluations"] / group["rate"]).sum()
        numbers = [tables.number(one, f"{one:,.0f}") for one in (float(count), float(rate))]
        table.rows.append([tables.text(str(target)), *numbers])
    return table


def _sessions(found: Sweep) -> Table:
    columns = ["Session", "Processes", "Shards", "Evaluations", "Seconds", "Per second"]
    table = Table(caption="from start to end, over all targets, each compared with the reference", columns=columns)
    for place, row in enumerate(found.rates().to_dict("records"), 1):
        names = ("processes", "shards", "evaluations", "seconds", "rate")
        numbers = [tables.number(float(row[name]), f"{row[name]:,.0f}") for name in names]
        table.rows.append([tables.text(str(place)), *numbers])
    return table


def _versions(cells: Sequence[Cell]) -> dict[str, str]:
    found: dict[str, str] = {}
    for cell in cells:
        for tally in cell.tallies[:1]:
            found |= tally.versions
    return dict(sorted(found.items()))
