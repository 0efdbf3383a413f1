"""The rows of a comparison in words, for whatever shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lossbench.comparing import results, speeds
from lossbench.comparing.whole import Comparison

Row = Mapping[str, object]

WELCOME = ("newly passing", "better", "faster")
LEAST = 1.0101  # a ratio from which everything counts that is sure need not be said
QUIET = ("same", "new", "dropped", "changed case")


def rows(done: Comparison) -> list[dict[str, str]]:
    """Every row of both tables, what is worst first.

    Keys:
        change, loss, target, dtype, case: What is called what.
        was, now: Errors, verdicts, times or reasons.
        detail: The input that shows it; the ratio with its interval and evidence; why nothing is known.
        script: Code that shows it.
        name: Of the row, the same in every comparison.
    """
    order = list(done.counts)
    found = [_result(row) for row in done.results.to_dict("records")]
    found += [_speed(row) for row in done.speed.to_dict("records")]
    return sorted(found, key=lambda row: order.index(row["change"]))


def _result(row: Row) -> dict[str, str]:
    case = f"{row['case']} {row['what']}".strip()
    found = {"change": str(row["change"]), "case": case, "was": str(row["before"]), "now": str(row["now"])}
    notes = [str(row["worst"]), "the formula, call or inputs have changed" if row["changed"] is True else ""]
    name = f"{row['measure']} {case}"
    return _named(row, name) | found | {"detail": "; ".join(filter(None, notes)), "script": str(row["script"])}


def _speed(row: Row) -> dict[str, str]:
    case = f"{row['measure']} {row['case']}"
    found = {"change": str(row["verdict"]), "case": case, "was": duration(row["base"]), "now": duration(row["head"])}
    notes = [ratio(row), str(row["reason"]), "the formula or call has changed" if row["changed"] is True else ""]
    return _named(row, case) | found | {"detail": "; ".join(filter(None, notes)), "script": ""}


def _named(row: Row, case: str) -> dict[str, str]:
    found = {name: str(row[name]) for name in ("loss", "target", "dtype")}
    return found | {"name": " ".join((*found.values(), case))}


def duration(seconds: object) -> str:
    """Seconds with three digits: `12.3 µs`."""
    number = float(seconds)  # type: ignore[arg-type]
    if math.isnan(number):
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e-9:.3g} ns"


def ratio(row: Row) -> str:
    """`1.052 times as long (1.043 to 1.061; 5 pairs side by side)`; nothing where it is not known."""
    number, low, high, bound = (float(row[name]) for name in ("ratio", "low", "high", "bound"))  # type: ignore[arg-type]
    if math.isnan(number):
        return ""
    interval = "" if math.isnan(low) else f"{low:.3f} to {high:.3f}; "
    noise = f"; counts from {bound:.3f} on" if bound > LEAST else ""
    return f"{number:.3f} times as long ({interval}{row['evidence']}{noise})"


def counted(done: Comparison) -> str:
    """How many rows are called what."""
    return ", ".join(f"{count} {word}" for word, count in done.counts.items())


def alarming(change: str) -> bool:
    """Whether a row of that name makes the exit code."""
    return change in (*results.FAILING, *speeds.FAILING, "not measured")
