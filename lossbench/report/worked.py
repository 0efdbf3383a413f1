"""The worked examples of "how to read this": small enough to check by hand, computed by what judges the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from lossbench import accuracy, conditioning, evaluation, shown, spec, verdicts
from lossbench.comparing import rule
from lossbench.report import svg, tables, words
from lossbench.report.tables import Table
from lossbench.ulp import Exact, exponent

DTYPE = "bfloat16"  # few digits, so that floats stand far apart
NEAR = (1.0, 0.0)  # y_pred and y_true of the condition's example, before what is added to the first
PAIRS = (10.02, 9.97, 10.05, 9.99, 10.01, 10.00)  # milliseconds of six processes of base
LUCK = (1.001, 0.998, 1.002, 1.000, 0.999, 1.001)  # what else was different when head ran beside them


def ulps() -> Table:
    """The floats around the square root of 2, and how far each is off."""
    exact = math.sqrt(2)
    table = Table(caption=f"The floats of {DTYPE} around √2", columns=["Float", "Off by", "In ulps", "Would be called"])
    for number in _around(exact):
        found = accuracy.compare(np.array([number]), _exact(exact))
        table.rows.append(
            [
                tables.number(number, repr(number)),
                tables.number(number - exact, f"{number - exact:+.5f}".replace("-", "−")),
                tables.number(found.max_ulp, words.ulps(found.max_ulp)),
                tables.verdict(found.verdict, verdicts.VERDICTS),
            ]
        )
    return table


def ulp_picture() -> Markup:
    """The same on a line."""
    exact = math.sqrt(2)
    numbers = _around(exact)
    ulp = 2.0 ** int(exponent(np.array(exact), np.array(0.0), DTYPE))
    with svg.style():
        figure = Figure(figsize=(6.4, 1.35), layout=None)
        axes = figure.add_axes((0.02, 0.05, 0.96, 0.9))
        axes.set_axis_off()
        axes.set_xlim(numbers[0] - 0.4 * ulp, numbers[-1] + 0.4 * ulp)
        axes.set_ylim(-1.15, 1.25)
        for half, name, y in ((0.5, "exact", 0.42), (1.0, "faithful", 0.78)):
            axes.plot([exact - half * ulp, exact + half * ulp], [y, y], color=svg.colour("series-0"), lw=3, alpha=0.6)
            axes.text(exact + half * ulp + 0.05 * ulp, y, name, va="center")
        axes.axhline(0, color=svg.colour("muted"), lw=0.8)
        axes.vlines(numbers, -0.16, 0.16, color=svg.colour("ink"), lw=1.4)
        axes.plot([exact], [0], "D", color=svg.colour("limit"), ms=6)
        axes.text(exact, -0.36, "√2", ha="center", va="center", color=svg.colour("limit"))
        for number in numbers:
            axes.text(number, -0.72, f"{number:.5g}", ha="center", va="center")
            off = accuracy.compare(np.array([number]), _exact(exact)).max_ulp
            axes.text(number, -1.02, f"{words.ulps(off)} ulp", ha="center", va="center", color=svg.colour("muted"))
        said = f"{len(numbers)} floats of {DTYPE} around the square root of 2, which lies between two of them"
        return Markup(svg.inline(figure, "ulps", said))


def conditions() -> Table:
    """The squared error of two numbers that come closer to each other: what one ulp of the inputs does to it."""
    loss = spec.load("squared_error")
    table = Table(
        caption="Condition of the squared error",
        columns=["y_pred", "y_true", "Exact value", "Condition", "100 ulps count as"],
    )
    for apart in (1.0, 0.1, 0.01, 0.001):
        given = {"y_pred": np.array([NEAR[0] + apart]), "y_true": np.array([NEAR[0]])}
        value = conditioning.estimates(loss, given)["value"]
        condition = float(value.moved[0] / abs(value.number[0]))
        table.rows.append(
            [
                *(tables.number(float(given[name][0]), f"{given[name][0]:g}") for name in ("y_pred", "y_true")),
                tables.number(float(value.number[0]), f"{value.number[0]:.3g}"),
                tables.number(condition, words.number(condition)),
                tables.number(100 / (1 + condition), f"{words.number(100 / (1 + condition))} ulp"),
            ]
        )
    return table


def kinks() -> Table:
    """The absolute error left of its kink, at it, and right of it: which gradients are right."""
    at = (-1.0, 0.0, 1.0)
    found = evaluation.reference("mae", y_pred=list(at), y_true=[0.0] * len(at))
    low, high = found.subdifferential["y_pred"]
    table = Table(caption="Gradients of |y_pred − y_true|", columns=["y_pred − y_true", "Kind", "Right gradients"])
    for number, kind, first, last in zip(at, found.kind["y_pred"], low, high, strict=True):
        said = shown.decimal(float(first), "float64")
        right = said if first == last else f"every number from {said} to {shown.decimal(float(last), 'float64')}"
        table.rows.append([tables.number(number, f"{number:g}"), tables.text(kind), tables.text(right)])
    return table


def thresholds() -> Mapping[str, str]:
    """The numbers that verdicts go by, as the page quotes them."""
    return {
        "faithful": f"{verdicts.FAITHFUL:g}",
        "accurate": f"{verdicts.ACCURATE:g}",
        "million": f"{verdicts.tolerated(1_000_000):g}",
        "hopeless": words.number(verdicts.hopeless("float32")),
        "noticeable": words.number(verdicts.noticeable("float32")),
    }


def decisions() -> Table:
    """Made-up times of head, a little longer than those of base: what the rule says of each."""
    table = Table(
        caption="What the rule says",
        columns=["Head takes", "Pairs of processes", "Ratio", "95 % interval", "p of slower", "Called"],
    )
    for longer, pairs in ((1.03, 6), (1.03, 4), (1.004, 6), (1.0, 6)):
        base = PAIRS[:pairs]
        found = rule.decide(base, [time * longer * luck for time, luck in zip(base, LUCK, strict=False)])
        table.rows.append(
            [
                tables.text("as long" if longer == 1 else f"{words.percent(longer - 1)} longer"),
                tables.number(pairs, str(pairs)),
                tables.number(found.ratio, f"{found.ratio:.3f}"),
                tables.text("–" if math.isnan(found.low) else f"{found.low:.3f} to {found.high:.3f}"),
                tables.number(found.p_slower, words.number(found.p_slower, digits=2)),
                tables.text(found.verdict()),
            ]
        )
    return table


def _around(exact: float) -> list[float]:
    """Two floats below and two above."""
    ulp = 2.0 ** int(exponent(np.array(exact), np.array(0.0), DTYPE))
    below = math.floor(exact / ulp) * ulp
    return [below + step * ulp for step in (-1, 0, 1, 2)]


def _exact(number: float) -> Exact:
    return Exact.of({"value": np.array([number])}, "value", DTYPE)
