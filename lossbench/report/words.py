"""Numbers and verdicts as a reader meets them: short, never by colour alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lossbench import verdicts


@dataclass(frozen=True)
class Mark:
    """A verdict's sign and word; `tone` names its colour in report.css."""

    glyph: str
    word: str
    tone: str
    meaning: str


MARKS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("●", "exact", "good", "every number is the float nearest to the exact one"),
        Mark("✓", "faithful", "good", f"within {verdicts.FAITHFUL:g} ulp: a float next to the exact number"),
        Mark(
            "≈",
            "accurate",
            "fair",
            f"within {verdicts.ACCURATE:g} ulp after conditioning: what rounded operations and rounded inputs explain",
        ),
        Mark("▽", "inaccurate", "poor", "beyond that, but the error stays small, or the number does"),
        Mark(
            "✗",
            "wrong",
            "bad",
            "not even half of the digits, or nan, an infinity or a finite number where none of them belongs",
        ),
        Mark("◇", "convention", "other", "differs only at points where mathematics leaves more than one answer"),
        Mark("–", "unsupported", "none", "the framework has no call for it"),
        Mark("⊘", "refused", "none", "not installed, or the framework said no, in its own words"),
        Mark("!", "failed", "bad", "no answer: crashed, timed out or out of memory"),
    )
}
PROOFS: Mapping[str, Mark] = {
    mark.word: mark
    for mark in (
        Mark("★", "fixed", "good", "the framework now gives the exact answer"),
        Mark("△", "changed", "poor", "still not the exact answer, but another one than the spec says"),
        Mark("✓", "confirmed", "other", "this run got what the spec says"),
        Mark("–", "not run", "none", "its framework, mode or dtype was not in this run"),
    )
}
UNMEASURED = ("unsupported", "refused", "failed")


def mark(word: str) -> Mark:
    """The mark of a verdict, or of what a run says of a divergence."""
    return MARKS[word] if word in MARKS else PROOFS[word]


def is_web(url: str) -> bool:
    """Whether a spec's address may become a link; a script may not."""
    return url.startswith(("https://", "http://"))


def ulps(value: object) -> str:
    """An error in ulps, with two digits; a dash where nothing was measured."""
    return number(value, digits=2)


def number(value: object, digits: int = 3) -> str:
    """A number with so many digits, or a dash where there is none."""
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -3 <= size < 5:
        return f"{value:,.{max(0, digits - 1 - size)}f}".replace(",", " ")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def seconds(value: object) -> str:
    """A duration in the unit that fits."""
    return _scaled(value, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)))


def interval(low: object, high: object, unit: Callable[[object], str]) -> str:
    """Two ends, or a dash where there are none."""
    return "–" if unit(low) == "–" else f"{unit(low)} to {unit(high)}"


def rate(value: object) -> str:
    """Bytes per second in the unit that fits."""
    return _scaled(value, (("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3), ("B/s", 1.0)))


def size(value: object) -> str:
    """Bytes in the unit that fits."""
    return _scaled(value, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)))


def percent(value: object) -> str:
    """A fraction as per cent."""
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    return f"{number(100 * value, digits=2)} %"


def ratio(value: object) -> str:
    """How many times the fastest."""
    return "–" if number(value) == "–" else f"{number(value)}×"


def _scaled(value: object, units: tuple[tuple[str, float], ...]) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    unit, scale = next((pair for pair in units if abs(value) >= pair[1]), units[-1])
    return f"{number(value / scale)} {unit}"
