"""The matrix of the index: losses x targets, one row for each loss and dtype."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossbench.loss import Loss
from lossbench.records import Target
from lossbench.report import words
from lossbench.report.findings import Findings
from lossbench.report.words import Mark
from lossbench.verdicts import WORST_FIRST


@dataclass(frozen=True, kw_only=True)
class Column:
    """One target; `detail` is what tells it from others of its framework."""

    target: str
    framework: str
    mode: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """One loss, target and dtype: the verdict, and the worst error in ulps of value and gradient.

    `reason` says why there is no number; `beside` counts what no ulps can say.
    """

    mark: Mark | None
    value: str = ""
    gradient: str = ""
    reason: str = ""
    beside: str = ""
    sort: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row: a loss in one dtype.

    `differing` are the modes in which the frameworks' worst verdicts differ, and "any" if they do over all modes;
    `again` says that the row above is of the same loss.
    """

    loss: Loss
    dtype: str
    boxes: Sequence[Box]
    differing: Sequence[str]
    search: str
    again: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All rows, by family."""

    columns: Sequence[Column]
    families: Mapping[str, Sequence[Line]]
    dtypes: Sequence[str]
    counts: Mapping[str, int]

    @property
    def frameworks(self) -> list[str]:
        """Each once, in the order of the columns."""
        return list(dict.fromkeys(column.framework for column in self.columns))

    @property
    def modes(self) -> list[str]:
        """Each once, in the order of the columns."""
        return list(dict.fromkeys(column.mode for column in self.columns))


def matrix(findings: Findings) -> Matrix:
    """The matrix of one run; every planned cell is in it."""
    cells = {
        (str(row["loss"]), str(row["dtype"]), str(row["target"])): row for row in findings.cells.to_dict("records")
    }
    dtypes = list(dict.fromkeys(dtype for _, dtype, _ in cells))
    targets = {job.target.name: job.target for job in findings.planned}
    columns = [_column(targets[name]) for name in findings.targets]
    families: dict[str, list[Line]] = {}
    for name in sorted(findings.losses, key=lambda name: (findings.losses[name].family, name)):
        loss = findings.losses[name]
        lines = families.setdefault(loss.family, [])
        for dtype in dtypes:
            boxes = [_box(cells.get((name, dtype, column.target))) for column in columns]
            if any(box.mark for box in boxes):
                again = bool(lines) and lines[-1].loss is loss
                lines.append(_line(loss, dtype, boxes, columns, again))
    families = {family: lines for family, lines in families.items() if lines}
    found = findings.cells["verdict"].value_counts() if len(cells) else {}
    counts = {word: int(found[word]) for word in words.MARKS if word in found}
    return Matrix(columns=columns, families=families, dtypes=dtypes, counts=counts)


def _column(target: Target) -> Column:
    detail = target.name.removeprefix(f"{target.framework}:")
    if detail != target.name:  # else it is a label
        detail = detail.removesuffix(":cpu").replace(":", " on ")
    return Column(target=target.name, framework=target.framework, mode=target.mode, detail=detail)


def _line(loss: Loss, dtype: str, boxes: Sequence[Box], columns: Sequence[Column], again: bool) -> Line:
    views = ["any", *dict.fromkeys(column.mode for column in columns)]
    differing = [view for view in views if _differ(view, boxes, columns)]
    search = " ".join([loss.name, loss.title, loss.family, loss.summary, *loss.aliases]).lower()
    return Line(loss=loss, dtype=dtype, boxes=boxes, differing=differing, search=search, again=again)


def _differ(view: str, boxes: Sequence[Box], columns: Sequence[Column]) -> bool:
    """Whether the worst verdict of one framework is another's, in one mode or in any."""
    worst: dict[str, int] = {}
    for box, column in zip(boxes, columns, strict=True):
        if box.mark and box.mark.word not in words.UNMEASURED and view in ("any", column.mode):
            place = WORST_FIRST.index(box.mark.word)
            worst[column.framework] = min(place, worst.get(column.framework, place))
    return len(set(worst.values())) > 1


def _box(row: Mapping[str, object] | None) -> Box:
    if row is None:
        return Box(mark=None)
    verdict = str(row["verdict"])
    value, gradient = row["value_max_ulp"], row["gradient_max_ulp"]
    if verdict in words.UNMEASURED:
        return Box(mark=words.mark(verdict), reason=str(row["reason"]), sort=_severity(verdict, 0.0))
    size = max((one for one in (value, gradient) if isinstance(one, float) and one == one), default=0.0)
    return Box(
        mark=words.mark(verdict),
        value=words.ulps(value),
        gradient="" if gradient != gradient and value == value else words.ulps(gradient),  # a metric has none
        beside=_beside(row),
        sort=_severity(verdict, size),
    )


def _beside(row: Mapping[str, object]) -> str:
    counts = (("mismatches", "mismatch", "mismatches"), ("edges_wrong", "edge missed", "edges missed"))
    found = ((int(str(row[column])), one, more) for column, one, more in counts)
    return ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in found if count)


def _severity(verdict: str, ulps: float) -> str:
    """Sorts the worst verdict first and, within one, the largest error."""
    return f"{WORST_FIRST.index(verdict) + 1 / (1 + math.log2(1 + ulps)):.6f}"
