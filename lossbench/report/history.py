"""The page of a history, one file: every step with its picture, what got worse first, then every series."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from markupsafe import Markup

from lossbench import __version__
from lossbench.errors import StoreError
from lossbench.history.whole import FEWEST, History, Series
from lossbench.report import jinja, tables, words
from lossbench.report.tables import Cell
from lossbench.report.words import Mark

NAME = "history.html"
STATIC = Path(__file__).parent / "static"
STYLE = """
.course { width: 15rem; height: auto; display: block; } .course path { fill: none; }
.course .values, .course .points { stroke: var(--muted); } .course .points { stroke-width: 3; stroke-linecap: round; }
.course .levels { stroke: var(--series-0); stroke-width: 2; }
.course .steps { stroke: var(--limit); stroke-dasharray: 3 2; }
.course text { font: 10px var(--sans); fill: var(--ink); }
td.at { min-width: 8rem; } .run { overflow-wrap: anywhere; }
.tiles li { padding: .35rem .8rem; border: 1px solid var(--line); border-radius: 6px; }
"""
MARKS = {
    mark.word: mark
    for mark in (
        Mark("▲", "worse", "bad", "slower, more memory, a larger error, or more of a bad verdict"),
        Mark("▼", "better", "good", "the contrary"),
        Mark("◇", "other", "other", "a count of verdicts that are neither good nor bad"),
    )
}
WIDTH, HEIGHT, TOP, BOTTOM, SIDE = 240, 66, 6, 48, 6  # of a picture; labels stand below its bottom
APART = 54  # what a label takes
LONG = 10  # characters of a label
NARROWEST = math.log(1.1)  # what the height stands for at least, so that noise does not look like news


def write(found: History, folder: Path) -> Path:
    """Write the page into *folder*, which is made where it is not there.

    Returns:
        The page.

    Raises:
        StoreError: It cannot be written.
    """
    templates = jinja.templates()
    page = folder / NAME
    text = templates.get_template("history.html.j2").render(_page(found, folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{page}: the page cannot be written ({error.strerror})") from None
    return page


def _page(found: History, folder: Path) -> dict[str, object]:
    steps = found.steps.to_dict("records")
    scripts = ((STATIC / name).read_text(encoding="utf-8") for name in ("sortable.min.js", "filtered.js"))
    counts = {word: sum(one["change"] == word for one in steps) for word in MARKS}
    return {
        "run": str(found.path),
        "created": datetime.now(UTC),
        "version": __version__,
        "style": Markup((STATIC / "report.css").read_text(encoding="utf-8") + STYLE),
        "theme": Markup((STATIC / "theme.js").read_text(encoding="utf-8")),
        "script": Markup("\n".join(scripts)),
        "marks": MARKS,
        "counts": {word: count for word, count in counts.items() if count},
        "steps": [_step(one, found.series[one["series"]], folder) for one in steps],
        "series": [_series(one) for one in found.series],
        "losses": sorted({one.key["loss"] for one in found.series}),
        "targets": sorted({one.key["target"] for one in found.series}),
        "measures": sorted({one.key["measure"] for one in found.series}),
        "fewest": FEWEST,
        "short": found.short,
        "searched": found.searched,
        "unread": found.unread,
        "points": max(len(one.points) for one in found.series),
    }


def _step(row: dict[str, object], of: Series, folder: Path) -> dict[str, object]:
    at, unit = str(row["at"]), of.key["unit"]
    page = Path(str(row["run"])) / "index.html"
    address = os.path.relpath(page, folder) if row["run"] and page.exists() else ""
    versions = str(row["versions"])
    lines = [f"after {row['last']}", f"{row['date']:%Y-%m-%d}", versions, "" if row["still"] else "not any more"]
    return {
        **_labels(of),
        "change": row["change"],
        "mark": MARKS[str(row["change"])],
        "at": Cell(
            text="" if address else at,
            links=[(at, address)] if address else [],
            lines=[line for line in lines if line],
        ),
        "before": tables.number(row["before"], shown(row["before"], unit)),
        "after": tables.number(row["after"], shown(row["after"], unit)),
        "size": Cell(text=size(row["ratio"]), sort=repr(_amount(row["ratio"])), lines=[interval(row)]),
        "sure": Cell(text=sureness(of, row["p"]), sort=repr(row["p"])),
    }


def _series(one: Series) -> dict[str, object]:
    values = one.values
    known = values[~np.isnan(values)]
    first, last = (float(known[at]) if len(known) else math.nan for at in (0, -1))
    changes = sorted({"worse" if step.after > step.before else "better" for step in one.steps})
    return {
        **_labels(one),
        "change": ",".join(changes),
        "count": len(known),
        "missing": len(values) - len(known),
        "first": tables.number(first, shown(first, one.key["unit"])),
        "last": tables.number(last, shown(last, one.key["unit"])),
        "steps": len(one.steps),
    }


def _labels(one: Series) -> dict[str, object]:
    key = one.key
    return {
        **{name: key[name] for name in ("loss", "target", "measure")},
        "case": case(key),
        "on": ", ".join(filter(None, (key["machine"], key["environment"]))),
        "picture": Markup(picture(one)),
        "search": " ".join(key.values()).lower(),
    }


def case(key: dict[str, str]) -> str:
    """What a series is of beside loss, target and measure, in a few words."""
    threads = key["threads"] and f"{key['threads']} thread{'s' if key['threads'] != '1' else ''}"
    points = "" if key["points"] in ("timing", "any") else f"{key['points']} points"
    parts = (key["dtype"], key["shape"], key["reduction"], points, threads)
    return ", ".join(part for part in parts if part not in ("", "any", "none"))


def shown(value: object, unit: str) -> str:
    """A value in its unit."""
    if unit.endswith("seconds"):
        return words.seconds(value)
    if unit == "bytes":
        return words.size(value)
    return f"{words.number(value)} ulp" if unit == "ulp" else words.number(value)


def size(ratio: object) -> str:
    """How far a step goes: `+12 %`, `×3.4` where it is more than double or less than half."""
    number = float(ratio)  # type: ignore[arg-type]
    if not math.isfinite(number) or number == 0:
        return "from nothing" if number else "to nothing"
    if 0.5 <= number <= 2:
        return f"{(number - 1) * 100:+.3g} %".replace("-", "−")
    return f"×{number:.3g}"


def interval(row: dict[str, object]) -> str:
    """The interval of a step's size; nothing where it has none."""
    low, high = (float(row[name]) for name in ("low", "high"))  # type: ignore[arg-type]
    return "" if math.isnan(low) else f"95 %: {size(low)} to {size(high)}"


def sureness(of: Series, p: object) -> str:
    """How sure a step is."""
    return "no noise" if of.exact else f"p {float(p):.2g}"  # type: ignore[arg-type]


def _amount(ratio: object) -> float:
    number = float(ratio)  # type: ignore[arg-type]
    return abs(math.log(number)) if 0 < number < math.inf else math.inf


def picture(one: Series) -> str:
    """The course of a series as `<svg>`: its points, the levels, and what the point behind each step is called."""
    height = _heights(one)
    step = (WIDTH - 2 * SIDE) / max(len(height) - 1, 1)
    x = [SIDE + step * place for place in range(len(height))] if len(height) > 1 else [WIDTH / 2]
    line, dots, drawing = "", "", False
    for at, y in zip(x, height, strict=True):
        if math.isnan(y):
            drawing = False
            continue
        line += f"{'L' if drawing else 'M'}{at:.1f} {y:.1f}"
        dots += f"M{at:.1f} {y:.1f}h0"
        drawing = True
    levels = ""
    for level in one.levels:
        y = float(np.nanmedian(height[level.start : level.stop]))
        levels += f"M{x[level.start] - step / 3:.1f} {y:.1f}H{x[level.stop - 1] + step / 3:.1f}"
    places = [(x[found.last] + x[found.first]) / 2 for found in one.steps]
    steps = "".join(f"M{at:.1f} {TOP}V{BOTTOM}" for at in places)
    names = [str(one.points["at"].iloc[found.first]) for found in one.steps]
    texts = "".join(_texts(places, names))
    paths = "".join(
        f'<path class="{name}" d="{path}"/>'
        for name, path in (("values", line), ("points", dots), ("levels", levels), ("steps", steps))
        if path
    )
    label = html.escape(_said(one), quote=True)
    return f'<svg class="course" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{paths}{texts}</svg>'


def _texts(places: Sequence[float], names: Sequence[str]) -> list[str]:
    """Labels below steps, from the last one back, those left out that have no room."""
    found: list[str] = []
    free = float(WIDTH)
    for at, name in reversed(list(zip(places, names, strict=True))):
        end = min(at + APART / 2, free)
        if end - APART >= 0 or not found:
            middle = max(end - APART / 2, APART / 2)
            text = html.escape(name if len(name) <= LONG else f"{name[: LONG - 1]}…")
            found.append(f'<text x="{middle:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{text}</text>')
            free = end - APART
    return found


def _heights(one: Series) -> np.ndarray:
    """Where the points of a series stand, from the top: by the logarithm; shape (n,), nan where there is none."""
    values = one.values
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log1p(values) if one.exact else np.log(np.maximum(values, np.finfo(np.float64).tiny))
    known = logs[np.isfinite(logs)]
    if not known.size:
        return np.where(np.isnan(logs), np.nan, float(TOP))
    low, high = float(known.min()), float(known.max())
    spare = max(NARROWEST - (high - low), 0.0) / 2
    low, high = low - spare, high + spare
    top = TOP + 8 if np.isinf(logs).any() else TOP  # infinity stands above all
    found = BOTTOM - (np.minimum(logs, high) - low) / (high - low) * (BOTTOM - top)
    return np.where(np.isposinf(logs), float(TOP), found)


def _said(one: Series) -> str:
    """The picture for those who do not see it."""
    unit = one.key["unit"]
    levels = [shown(level.value, unit) for level in one.levels]
    names = [str(one.points["at"].iloc[step.first]) for step in one.steps]
    course = levels[0] if levels else "nothing measured"
    course += "".join(f", {level} from {name} on" for level, name in zip(levels[1:], names, strict=True))
    return f"{one.key['measure']} of {one.key['loss']} by {one.key['target']}, {len(one.points)} points: {course}"
