"""The page of two runs: what differs, what became of each result and of each time, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lossbench.comparing import rule
from lossbench.comparing.whole import Comparison
from lossbench.report import ratios, sides, tables, words
from lossbench.report.tables import Cell, Row
from lossbench.report.words import Mark

MARKS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("✗", "newly failing", "bad", "it had an answer that was not wrong or inaccurate, and has none any more"),
        Mark("▲", "worse", "poor", "a larger error, more mismatches, or a worse verdict"),
        Mark("▲", "slower", "poor", "surely more time than noise explains"),
        Mark("!", "not measured", "poor", "base has an answer; nobody knows what it is now"),
        Mark("◇", "other answer", "other", "a convention that is another one"),
        Mark("?", "inconclusive", "none", "the noise is too large to say"),
        Mark("★", "newly passing", "good", "it was wrong, inaccurate or without an answer, and is not any more"),
        Mark("▼", "better", "good", "a smaller error, fewer mismatches, or a better verdict"),
        Mark("▼", "faster", "good", "surely less time than noise explains"),
        Mark("◇", "changed case", "other", "another formula, call or input; nothing got worse or better"),
        Mark("+", "new", "none", "only head was asked"),
        Mark("−", "dropped", "none", "only base was asked"),
        Mark("=", "same", "none", "the same bits, an error as large, or a time as long"),
    )
}
KINDS = ("changed", "added", "removed", "unchanged")
LONG = 160  # letters of an input that are shown at once
MOST = 1000  # lines of a table; what does not fit is counted
_KIND = {"new": "added", "dropped": "removed", "not measured": "removed", "same": "unchanged"}
_QUIET = ("new", "dropped", "same")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of either table, or several rows of which only their number is told.

    Attributes:
        sure: Whether it has changed without doubt: results have no noise, times do.
        address: Of the loss's page in head's report; empty where there is none.
        count: How many rows it stands for.
        cells: What its table has beside loss, target, dtype, change and case.
    """

    loss: str
    target: str
    dtype: str
    change: str
    case: str
    kind: str
    sure: bool
    address: str
    cells: Sequence[Cell] = ()
    script: str = ""
    count: int = 1

    @property
    def mark(self) -> Mark:
        """Of the change."""
        return MARKS[self.change]

    @property
    def search(self) -> str:
        """What a text filter looks into."""
        said = (cell.text for cell in self.cells)
        return " ".join((self.loss, self.target, self.dtype, self.case, *said)).lower()


def page(done: Comparison, *, report: str | None = None, csv: str = "") -> Mapping[str, object]:
    """The content of the template.

    Args:
        done: The comparison.
        report: The folder of head's report, as an address; None where there is none.
        csv: The folder of what `write_tables` wrote; empty where nothing was written.
    """
    losses = "" if report is None else f"{report}losses/"
    results = _results(done.results, losses)
    speeds = _speeds(done.speed, losses)
    every = [*results, *speeds]
    differing, alike = sides.machines(done)
    band = ratios.band(done.speed)
    return {
        "base": _called(done.base),
        "head": _called(done.head),
        "verdict": done.verdict,
        "counts": {mark: done.counts[mark.word] for mark in MARKS.values() if mark.word in done.counts},
        "marks_of_change": MARKS,
        "order": list(MARKS),
        "csv": csv,
        "method": "" if report is None else f"{report}method.html",
        "differing": differing,
        "alike": alike,
        "runs": sides.runs(done),
        "results": [line for line in results if line.change != "same"],
        "same_results": [line for line in results if line.change == "same"],
        "result_count": len(done.results),
        "speeds": [line for line in speeds if line.cells or line.change != "same"],
        "same_speeds": [line for line in speeds if not line.cells and line.change == "same"],
        "speed_count": len(done.speed),
        "picture": ratios.picture(done.speed),
        "band": words.percent(math.expm1(band)) if band else "",
        "least": words.percent(math.expm1(rule.BOUND)),
        "kinds": [kind for kind in KINDS if any(line.kind == kind for line in every)],
        "changes": [word for word in MARKS if any(line.change == word for line in every)],
        "names": sorted({line.loss for line in every}),
        "whom": sorted({line.target for line in every}),
        "dtypes": sorted({line.dtype for line in every}),
    }


def write_tables(done: Comparison, folder: Path) -> None:
    """Every row of both tables as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    done.results.drop(columns="script").to_csv(folder / "compared-results.csv", index=False)
    done.speed.to_csv(folder / "compared-speeds.csv", index=False)


def _called(side: str) -> str:
    """What was compared: the name of the run's folder, or a target."""
    return Path(side).resolve().name if Path(side).is_dir() else side


def _results(frame: pd.DataFrame, losses: str) -> list[Line]:
    rows = tables.rows(frame)
    shown = [row for row in rows if row["change"] not in _QUIET][:MOST]
    lines = [
        _line(
            row,
            str(row["change"]),
            losses,
            case=f"{row['case']} {row['what']}".strip(),
            kind=_KIND.get(str(row["change"]), "changed"),
            sure=str(row["change"]) not in ("not measured", "changed case"),
            cells=[
                tables.text(row["before"]),
                tables.text(row["now"]),
                _where(str(row["worst"]), "the formula, call or inputs have changed" if row["changed"] is True else ""),
            ],
            script=str(row["script"]),
        )
        for row in shown
    ]
    told_already = {id(row) for row in shown}
    return [*lines, *_counted((row for row in rows if id(row) not in told_already), "change", losses)]


def _speeds(frame: pd.DataFrame, losses: str) -> list[Line]:
    rows = tables.rows(frame)
    shown = [row for row in rows if row["verdict"] not in _QUIET or row["ratio"] == row["ratio"]][:MOST]
    lines = [
        _line(
            row,
            str(row["verdict"]),
            losses,
            case=f"{row['measure']} {row['case']}",
            kind=_kind(row),
            sure=row["verdict"] in ("slower", "faster", "newly failing"),
            cells=[
                tables.number(row["base"], words.seconds(row["base"])),
                tables.number(row["head"], words.seconds(row["head"])),
                _ratio(row),
                _control(row),
                tables.text(
                    row["reason"] or row["evidence"],
                    "the formula or call has changed" if row["changed"] is True else "",
                ),
            ],
        )
        for row in shown
    ]
    told_already = {id(row) for row in shown}
    return [*lines, *_counted((row for row in rows if id(row) not in told_already), "verdict", losses)]


def _line(
    row: Row,
    change: str,
    losses: str,
    *,
    case: str,
    kind: str,
    sure: bool,
    cells: Sequence[Cell] = (),
    script: str = "",
    count: int = 1,
) -> Line:
    loss, target, dtype = (str(row[name]) for name in ("loss", "target", "dtype"))
    return Line(
        loss=loss,
        target=target,
        dtype=dtype,
        change=change,
        case=case,
        kind=kind,
        sure=sure,
        address=f"{losses}{loss}.html" if losses and change != "dropped" else "",
        cells=cells,
        script=script,
        count=count,
    )


def _counted(rows: Iterable[Row], word: str, losses: str) -> list[Line]:
    """One line for all rows of a loss, target and dtype that are called the same."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(str(row[name]) for name in (word, "loss", "target", "dtype")), []).append(row)
    order = list(MARKS)
    return [
        _line(
            group[0],
            change,
            losses,
            case=f"{len(group)} {'case' if len(group) == 1 else 'cases'}",
            kind=_KIND.get(change, "changed"),
            sure=False,
            count=len(group),
        )
        for (change, *_), group in sorted(found.items(), key=lambda one: (order.index(one[0][0]), one[0][1:]))
    ]


def _where(said: str, note: str) -> Cell:
    """The input that shows it; a long row of numbers opens on a click."""
    lines = [note] if note else []
    if len(said) <= LONG:
        return Cell(text=said, lines=lines)
    return Cell(text=f"{said[: LONG // 2]}…", folded=said, shown="code", lines=lines)


def _kind(row: Row) -> str:
    """An inconclusive ratio counts as changed where it is more than what counts as a difference at all."""
    if row["verdict"] != "inconclusive":
        return _KIND.get(str(row["verdict"]), "changed")
    return "changed" if abs(math.log(float(str(row["ratio"])))) > rule.BOUND else "unchanged"


def _ratio(row: Row) -> Cell:
    ratio = row["ratio"]
    if not isinstance(ratio, float) or math.isnan(ratio):
        return Cell(shown="number")
    interval = f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] == row["low"] else "no interval"
    return Cell(text=f"{ratio:.3f}×", sort=repr(ratio), shown="number", lines=[interval])


def _control(row: Row) -> Cell:
    """What equals showed as a ratio for the same case, in base and in head, and from which ratio on a change counts."""
    pair = [float(str(row[name])) for name in ("base_control", "head_control")]
    known = [one for one in pair if not math.isnan(one)]
    size = max((abs(math.log(one)) for one in known), default=math.nan)
    shown = " · ".join("–" if math.isnan(one) else f"{one:.3f}×" for one in pair) if known else "none"
    bound = row["bound"]
    counts = f"counts from {bound:.3f}× on" if isinstance(bound, float) and not math.isnan(bound) else ""
    return Cell(
        text=shown, sort="" if math.isnan(size) else repr(size), shown="number", lines=[counts] if counts else []
    )
