"""The subdifferential at a loss's kinks: the slope on both sides, every number between them, and who answers which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossbench import shown
from lossbench.answers import Answers, Certified
from lossbench.formula import oracle
from lossbench.loss import Loss
from lossbench.records import REFERENCE, Job
from lossbench.report import hard, svg, tables
from lossbench.report.evidence import Known
from lossbench.report.one import Picture
from lossbench.report.tables import Cell, Table

MOST = 4  # pictures of one loss; the table has all kinks
STEPS = 16  # points of a curve on either side
FAR = 1e6  # sizes of an input beyond which its neighbourhood shows nothing


@dataclass(frozen=True, kw_only=True)
class Kink:
    """An edge at which the gradient by one number jumps.

    Attributes:
        edge: Its place in the spec.
        name: The input.
        place: The number's flat index in the input.
        low, high: The ends of the subdifferential.
        got: What each target answered, with the key of its job.
    """

    edge: int
    dtype: str
    name: str
    place: int
    low: float
    high: float
    inputs: Mapping[str, np.ndarray]
    got: Mapping[str, tuple[float, str]]


def found(answers: Answers, loss: Loss) -> list[Kink]:
    """The kinks among the edges that were run, in the first dtype in which each was; of each the widest jump."""
    jobs: dict[int, list[Job]] = {}
    for job in answers.by_loss.get(loss.name, ()):
        if job.case.points == "edge" and loss.edges[job.case.index].reduction == "none":
            jobs.setdefault(job.case.index, []).append(job)
    return [kink for index in sorted(jobs) for kink in _kink(answers, index, jobs[index])]


def _kink(answers: Answers, index: int, jobs: Sequence[Job]) -> Iterator[Kink]:
    certified = answers.certified(jobs[0].case)
    if not isinstance(certified, Certified):
        return
    slopes = {name: of for name, of in certified.exact.items() if name != "value" and of.kink.any()}
    if not slopes:
        return
    with np.errstate(invalid="ignore"):
        widths = {name: np.nan_to_num(of.upper - of.lower, nan=0.0, posinf=0.0) for name, of in slopes.items()}
    name = max(widths, key=lambda one: float(widths[one].max()))
    place = int(widths[name].argmax())
    if widths[name].max() == 0:
        return
    dtype = jobs[0].case.dtype
    answered = {job: answers.got(job, certified) for job in jobs if job.case.dtype == dtype}
    yield Kink(
        edge=index,
        dtype=dtype,
        name=name.removeprefix("gradient."),
        place=place,
        low=float(slopes[name].lower.ravel()[place]),
        high=float(slopes[name].upper.ravel()[place]),
        inputs=certified.inputs,
        got={job.target.name: (float(got[name].ravel()[place]), job.key) for job, got in answered.items() if got},
    )


def pictures(kinks: Sequence[Kink], loss: Loss, targets: Sequence[str]) -> list[Picture]:
    """The loss and its slope along the number that jumps, for the first `MOST` kinks with numbers around them."""
    drawn: list[Picture] = []
    with svg.style():
        figure = Figure(figsize=(5.8, 2.5), layout=None)
        figure.subplots_adjust(left=0.075, right=0.72, top=0.88, bottom=0.13, wspace=0.28)
        axes = figure.subplots(1, 2)
        for kink in kinks:
            line = _along(kink, loss)
            if line is None or len(drawn) == MOST:
                continue
            marks = []
            centre = float(kink.inputs[kink.name].ravel()[kink.place])
            for one, curve, what in zip(axes, line[1:], ("loss", "slope"), strict=True):
                for side in (line[0] < centre, line[0] > centre):
                    marks += one.plot(line[0][side], curve[side], color=svg.colour("muted"), linewidth=1.3)
                one.set_title(what, loc="left", fontsize=9, pad=3)
                one.locator_params(nbins=4)
                one.grid()
                one.relim()
                one.autoscale_view()
            ends = [kink.low, kink.high]
            marks += axes[1].plot([centre] * 2, ends, color=svg.colour("limit"), linewidth=5, alpha=0.55)
            marks += _answers(axes[1], kink, centre, targets)
            at = shown.at(loss.edges[kink.edge].at)
            label = f"{loss.name} and its slope by {kink.name} around the kink at {at}, with each target's answer"
            title = f"{at}: by {_said(kink, loss)} {_interval(kink)}"
            drawn.append(Picture(svg=svg.inline(figure, f"kink-{kink.edge}", label), title=title))
            for mark in marks:
                mark.remove()
    return drawn


def _answers(axes: Axes, kink: Kink, centre: float, targets: Sequence[str]) -> list[Artist]:
    """Each target's answer beside the bar; who answers alike stands in one line, with one label."""
    marks: list[Artist] = []
    alike: dict[str, list[str]] = {}
    for target in targets:
        if target in kink.got:
            alike.setdefault(_short(kink.got[target][0]), []).append(target)
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    step, heights = 0.05 * (right - left), [low]
    for answer, who in sorted(alike.items(), key=lambda pair: kink.got[pair[1][0]][0]):
        got = kink.got[who[0]][0]
        height = float(np.clip(got, low, high)) if np.isfinite(got) else high
        for number, target in enumerate(who):
            ink, marker = svg.series(targets.index(target))
            x = centre + step * (number - (len(who) - 1) / 2)
            marks += axes.plot([x], [height], marker, color=ink, markersize=6, clip_on=False, zorder=5)
        said = "\n".join([answer, *(target.removesuffix(":cpu") for target in who)])
        beside = max(height, heights[-1])  # labels do not cover one another
        marks.append(axes.text(right + step, beside, said, fontsize=8, va="center", clip_on=False))
        heights.append(beside + (high - low) * 0.1 * (len(who) + 1))
    return marks


def _along(kink: Kink, loss: Loss) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Numbers around the kink, the loss there and its slope; None where they show nothing."""
    centre = float(kink.inputs[kink.name].ravel()[kink.place])
    inputs = {name: array for name, array in kink.inputs.items() if name in loss.inputs}
    if loss.batchwise or abs(centre) > FAR or any(len(array) != 1 for array in inputs.values()):
        return None
    reach = max(1.0, abs(centre)) * np.concatenate([-np.linspace(0.75, 0, STEPS), np.linspace(0, 0.75, STEPS)])
    reach[STEPS - 1 : STEPS + 1] = -1e-9, 1e-9
    arrays = {name: np.repeat(_wide(array), 2 * STEPS, axis=0) for name, array in inputs.items()}
    arrays[kink.name].reshape(2 * STEPS, -1)[:, kink.place] = centre + reach
    given = {name: kink.inputs[name] for name in loss.parameters}
    parameters = {name: array if array.ndim else array.item() for name, array in given.items()}
    exact = oracle.certify(loss.formula, arrays, parameters)
    slope = exact.gradient[kink.name].high.reshape(2 * STEPS, -1)[:, kink.place]
    value = exact.value.high
    if not np.isfinite(value).any() or not np.isfinite(slope).any():
        return None
    return centre + reach, np.where(np.isfinite(value), value, np.nan), np.where(np.isfinite(slope), slope, np.nan)


def _interval(kink: Kink) -> str:
    return f"[{_short(kink.low)}, {_short(kink.high)}]"


def _short(value: float) -> str:
    """A slope in a few digits, without those that are 0; 0 has no sign."""
    return f"{value + 0.0:.4g}"


def _wide(array: np.ndarray) -> np.ndarray:
    """Labels as they are, numbers with the digits that steps of any size need."""
    return array if array.dtype.kind == "i" else array.astype(np.float64)


def _said(kink: Kink, loss: Loss) -> str:
    """The number that jumps, with its place in a row."""
    return kink.name if kink.inputs[kink.name].size == 1 else f"{kink.name}, entry {kink.place + 1},"


def table(kinks: Sequence[Kink], loss: Loss, targets: Sequence[str], known: Known) -> Table:
    """Every kink: its interval, and each target's answer."""
    made = Table(caption="Kinks", columns=["At", "By", "Every number of", *targets])
    for kink in kinks:
        made.rows.append(
            [
                hard.point(loss.edges[kink.edge].at, kink.dtype),
                tables.code(_said(kink, loss).rstrip(",")),
                known.link(
                    tables.code(_interval(kink)),
                    known.at("edge", kink.edge, REFERENCE.name, kink.dtype),
                ),
                *(_answer(kink.got.get(target), known) for target in targets),
            ]
        )
    return made


def _answer(got: tuple[float, str] | None, known: Known) -> Cell:
    return known.link(tables.number(got[0], _short(got[0])), got[1]) if got else Cell()
