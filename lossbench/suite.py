"""What a run measures, as suite files say it: targets, dtypes, cases, sizes, and how often each is sampled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import Meta
from msgspec.structs import replace

from lossbench import toml
from lossbench.errors import LossbenchError
from lossbench.records import Struct
from lossbench.text import Dtype, Reduction

FOLDER = Path(__file__).parent / "suites"

Word = TypeVar("Word", bound=str)
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Accuracy(Struct, frozen=True, kw_only=True):
    """Cases drawn over the domain: dtypes x classes x reductions x weighted, at the default parameters.

    Attributes:
        targets: Those of the suite where none are given.
        points: How many elements, or rows; how many numbers where the loss is one of tables, whose sizes specs say.
            Of losses of whole batches a few batches are drawn, as large as their specs say.
        classes: Numbers of classes, for losses of rows.
        parameters: "each" adds every one of a spec's `values`, one at a time, by the first reduction and weighting.
    """

    dtypes: tuple[Dtype, ...]
    points: Count
    targets: tuple[str, ...] = ()
    classes: tuple[Count, ...] = (10,)
    reductions: tuple[Reduction, ...] = ("none",)
    weighted: tuple[bool, ...] = (False,)
    parameters: Literal["default", "each"] = "default"


class Drift(Struct, frozen=True, kw_only=True):
    """Numbers of updates of a state, for losses that are accumulated: how far their means drift."""

    dtypes: tuple[Dtype, ...]
    updates: tuple[Count, ...]
    targets: tuple[str, ...] = ()


class Length(Struct, frozen=True, kw_only=True):
    """Sums and means of many losses: how their errors grow with the length, for losses of elements and of rows.

    Attributes:
        elements: How many numbers the largest input has; losses of rows have `classes` of them in each.
        losses: Only these, whatever is asked for; all that are asked for where none are given.
    """

    dtypes: tuple[Dtype, ...]
    elements: tuple[Count, ...]
    targets: tuple[str, ...] = ()
    classes: Count = 10
    reductions: tuple[Literal["mean", "sum"], ...] = ("mean", "sum")
    losses: tuple[str, ...] = ()


class Timing(Struct, frozen=True, kw_only=True):
    """Sizes to time: `elements` for losses of elements, `rows` (rows, classes) for those of rows; specs say others.

    Attributes:
        losses: Only these, whatever is asked for; all that are asked for where none are given.
        threads: Every target once with each of these numbers of threads; 0 for as many as the suite says.
    """

    dtypes: tuple[Dtype, ...]
    targets: tuple[str, ...] = ()
    elements: tuple[Count, ...] = ()
    rows: tuple[tuple[Count, Count], ...] = ()
    measures: tuple[Literal["forward", "gradient"], ...] = ("forward", "gradient")
    reduction: Reduction = "mean"
    losses: tuple[str, ...] = ()
    threads: tuple[Annotated[int, Meta(ge=0)], ...] = (0,)


class Sampling(Struct, frozen=True, kw_only=True):
    """How timing jobs are sampled.

    Attributes:
        samples: Of each job, spread evenly over the turns.
        turns: How often every target of a case gets its turn.
        min_sample: Seconds that one sample lasts at least; a fast call is repeated within it.
        max_seconds: Beyond this much sampling, a slow job takes fewer samples, but one each turn.
        twin: Whether the first target runs twice, as an A/A control.
        processes: How many fresh worker processes of every target take part in a case; the turns are spread over them.
            The last one's turns complete the record: a run that is cut off before times again what has none.
        cold: How many calls of each job are timed with the caches emptied before, in addition.
        seed: Of the order of the targets, another one in every turn.
    """

    samples: Count = 15
    turns: Count = 5
    min_sample: Seconds = 0.002
    max_seconds: Seconds = 5.0
    twin: bool = True
    processes: Count = 1
    cold: Annotated[int, Meta(ge=0)] = 0
    seed: int = 0


class Suite(Struct, frozen=True, kw_only=True):
    """What a run measures.

    Attributes:
        targets: As `plan.target` reads them.
        losses: What is measured where no losses are asked for; all where none are given.
        conventions: Targets that are asked what the callables of their framework do, for the facts of a spec.
        keras: Targets on whose framework Keras is put, to be asked the same.
        further: Targets that are asked about divergences of their own mode and nothing else.
        hessian: Cases of elements and rows whose Hessian-vector products are compared, unreduced and unweighted.
        worst: The dtypes in which the worst inputs that searches have found are run.
        edges: The dtypes in which every edge of a spec is run.
        divergences: Whether they are re-proved: each in its own dtype, and in its own mode where that is planned.
        deadline: Seconds after which a job is given up.
        threads: For every target the same; 0 for all cores that the run may use.
    """

    name: str = ""
    summary: str
    targets: Annotated[tuple[str, ...], Meta(min_length=1)]
    losses: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()
    keras: tuple[str, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    drift: tuple[Drift, ...] = ()
    length: tuple[Length, ...] = ()
    hessian: tuple[Accuracy, ...] = ()
    worst: tuple[Dtype, ...] = ()
    edges: tuple[Dtype, ...] = ()
    divergences: bool = False
    timing: tuple[Timing, ...] = ()
    sampling: Sampling = Sampling()
    deadline: Seconds = 120.0
    threads: Annotated[int, Meta(ge=0)] = 0


def names() -> list[str]:
    """Every suite, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | Path) -> Suite:
    """The suite of that name, or of the TOML file at that path.

    Raises:
        LossbenchError: No such suite, or something in its file is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in names():
            raise LossbenchError(f"unknown suite {str(name)!r}; expected one of: {', '.join(names())}, or a .toml file")
        path = FOLDER / f"{name}.toml"
    _, found = toml.read(path, Suite, LossbenchError)
    return replace(
        found,
        name=path.stem,
        accuracy=tuple(replace(grid, targets=grid.targets or found.targets) for grid in found.accuracy),
        drift=tuple(replace(grid, targets=grid.targets or found.targets) for grid in found.drift),
        length=tuple(replace(grid, targets=grid.targets or found.targets) for grid in found.length),
        hessian=tuple(replace(grid, targets=grid.targets or found.targets) for grid in found.hessian),
        timing=tuple(replace(grid, targets=grid.targets or found.targets) for grid in found.timing),
    )


def merged(suites: Sequence[Suite]) -> Suite:
    """All that any of the suites measures, sampled as by the most thorough of them."""
    if len(suites) == 1:
        return suites[0]
    return Suite(
        name="+".join(one.name for one in suites),
        summary="; ".join(one.summary for one in suites),
        targets=_unique(text for one in suites for text in one.targets),
        losses=_unique(name for one in suites for name in one.losses) if all(one.losses for one in suites) else (),
        further=_unique(text for one in suites for text in one.further),
        conventions=_unique(text for one in suites for text in one.conventions),
        keras=_unique(text for one in suites for text in one.keras),
        accuracy=tuple(grid for one in suites for grid in one.accuracy),
        drift=tuple(grid for one in suites for grid in one.drift),
        # What one suite measures by default must not narrow the others, nor they widen it.
        length=tuple(replace(grid, losses=grid.losses or one.losses) for one in suites for grid in one.length),
        hessian=tuple(grid for one in suites for grid in one.hessian),
        worst=_unique(dtype for one in suites for dtype in one.worst),
        edges=_unique(dtype for one in suites for dtype in one.edges),
        divergences=any(one.divergences for one in suites),
        timing=tuple(replace(grid, losses=grid.losses or one.losses) for one in suites for grid in one.timing),
        sampling=max((one.sampling for one in suites), key=lambda one: (one.processes, one.samples)),
        deadline=max(one.deadline for one in suites),
        threads=max(one.threads for one in suites),
    )


def _unique(values: Iterable[Word]) -> tuple[Word, ...]:
    return tuple(dict.fromkeys(values))
