"""The matrix of the index: losses x targets, one row for each loss and dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossbench.loss import Loss
from lossbench.report import words
from lossbench.report.findings import Findings
from lossbench.report.words import Mark
from lossbench.verdicts import WORST_FIRST


@dataclass(frozen=True, kw_only=True)
class Column:
    """One target."""

    target: str
    framework: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """One loss, target and dtype: the verdict, and the worst error in ulps of value and gradient.

    `reason` says what the verdict does not, or why there is none; `beside` counts what no ulps can say; `weighed` is
    what the errors are to be weighed by.
    """

    mark: Mark | None
    framework: str
    value: str = ""
    gradient: str = ""
    reason: str = ""
    beside: str = ""
    weighed: str = ""
    sort: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row: a loss in one dtype. `differs` says whether the targets' verdicts do."""

    loss: Loss
    dtype: str
    boxes: Sequence[Box]
    differs: bool
    search: str


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


def matrix(findings: Findings) -> Matrix:
    """The matrix of one run; every planned cell is in it."""
    cells = {
        (str(row["loss"]), str(row["dtype"]), str(row["target"])): row for row in findings.cells.to_dict("records")
    }
    dtypes = list(dict.fromkeys(dtype for _, dtype, _ in cells))
    frameworks = {job.target.name: job.target.framework for job in findings.planned}
    columns = [_column(target, frameworks[target]) for target in findings.targets]
    families: dict[str, list[Line]] = {}
    for name in sorted(findings.losses, key=lambda name: (findings.losses[name].family, name)):
        loss = findings.losses[name]
        for dtype in dtypes:
            boxes = [_box(cells.get((name, dtype, column.target)), column) for column in columns]
            if any(box.mark for box in boxes):
                families.setdefault(loss.family, []).append(_line(loss, dtype, boxes))
    found = findings.cells["verdict"].value_counts() if len(cells) else {}
    counts = {word: int(found[word]) for word in words.MARKS if word in found}
    return Matrix(columns=columns, families=families, dtypes=dtypes, counts=counts)


def _column(target: str, framework: str) -> Column:
    detail = target.removeprefix(f"{framework}:")
    if detail != target:  # else it is a label
        detail = detail.removesuffix(":cpu").replace(":", " on ")
    return Column(target=target, framework=framework, detail=detail)


def _line(loss: Loss, dtype: str, boxes: Sequence[Box]) -> Line:
    said = {box.mark.word for box in boxes if box.mark and box.mark.word not in words.UNMEASURED}
    search = " ".join([loss.name, loss.title, loss.family, loss.summary, *loss.aliases]).lower()
    return Line(loss=loss, dtype=dtype, boxes=boxes, differs=len(said) > 1, search=search)


def _box(row: Mapping[str, object] | None, column: Column) -> Box:
    if row is None:
        return Box(mark=None, framework=column.framework)
    verdict = str(row["verdict"])
    value, gradient = row["value_max_ulp"], row["gradient_max_ulp"]
    if verdict in words.UNMEASURED:
        reason = str(row["reason"])
        return Box(mark=words.mark(verdict), framework=column.framework, reason=reason, sort=_severity(verdict, 0.0))
    size = max((one for one in (value, gradient) if isinstance(one, float) and one == one), default=0.0)
    return Box(
        mark=words.mark(verdict),
        framework=column.framework,
        value=words.ulps(value),
        gradient="" if gradient != gradient and value == value else words.ulps(gradient),  # a metric has none
        reason=str(row["reason"]),
        beside=_beside(row),
        weighed=_weighed(row),
        sort=_severity(verdict, size),
    )


def _beside(row: Mapping[str, object]) -> str:
    counts = (("mismatches", "mismatch", "mismatches"), ("edges_wrong", "edge missed", "edges missed"))
    found = ((int(str(row[column])), one, more) for column, one, more in counts)
    return ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in found if count)


def _weighed(row: Mapping[str, object]) -> str:
    """Condition at the largest error, and the largest error normwise."""
    found = (
        f"{what}: condition {words.ulps(row[f'{what}_condition'])}, normwise {words.ulps(row[f'{what}_normwise'])} ulp"
        for what in ("value", "gradient")
        if row[f"{what}_max_ulp"] == row[f"{what}_max_ulp"]
    )
    return "; ".join(found)


def _severity(verdict: str, ulps: float) -> str:
    """Sorts the worst verdict first and, within one, the largest error."""
    return f"{WORST_FIRST.index(verdict) + 1 / (1 + ulps):.9f}"
