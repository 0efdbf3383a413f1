"""Losses x targets x a suite's grids -> jobs. Pure: nothing is measured, and no framework imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from lossbench import cases, spec
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.records import REFERENCE, Case, Job, Target
from lossbench.suite import Accuracy, Drift, Length, Suite, Timing, load, merged
from lossbench.suite import names as suites
from lossbench.targets import chosen as chosen_of
from lossbench.targets import frameworks, listed, modes, target, threaded
from lossbench.text import Dtype

__all__ = ["Suite", "asked", "frameworks", "jobs", "listed", "merged", "modes", "suite", "suites", "target"]

KERAS = ("jax", "torch")  # what Keras runs on, beside TensorFlow

Chosen = Callable[[tuple[str, ...]], list[Target]]
Some = Sequence[str | Path]


def asked(suites: Some, losses: Some | None = None) -> tuple[Suite, list[Loss]]:
    """What *suites* measure together, `smoke` where there are none, and the *losses*, where there are none the suites'
    own, or all.

    Raises:
        LossbenchError: A suite or loss is unknown or broken, or two losses have one name.
    """
    asked_for = merged([suite(name) for name in suites or ("smoke",)])
    chosen = losses or asked_for.losses
    found = [spec.load(name) for name in chosen] if chosen else spec.load_all()
    unique = list({loss.path.resolve(): loss for loss in found}.values())
    counts = Counter(loss.name for loss in unique)
    twice = [str(loss.path) for loss in unique if counts[loss.name] > 1]
    if twice:
        raise LossbenchError(f"losses of one name: {', '.join(twice)}; run them apart, or rename a file")
    return asked_for, unique


def suite(name: str | Path) -> Suite:
    """The suite of that name, or of the TOML file at that path.

    Raises:
        LossbenchError: No such suite, or something in its file is wrong.
    """
    found = load(name)
    grids: list[Accuracy | Drift | Length | Timing] = [*found.accuracy, *found.drift, *found.length]
    grids += [*found.hessian, *found.timing]
    named = [*found.targets, *found.further, *found.conventions, *found.keras]
    named += [text for grid in grids for text in grid.targets]
    for text in dict.fromkeys(named):
        try:
            target(text)
        except LossbenchError as error:
            raise LossbenchError(f"the suite {name}: {error} (at targets)") from None
    return found


def jobs(
    suite: Suite,
    losses: Sequence[Loss],
    targets: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
) -> list[Job]:
    """Every job of the suite, none twice, the reference's among them.

    Args:
        suite: What to measure.
        losses: Of these losses.
        targets: Only these. A text without a mode means all of the suite's targets that it fits or, where the suite
            has none, the framework's default mode.
        dtypes: Only those among these.

    Raises:
        LossbenchError: A target or dtype is unknown, or nothing is left to do.
    """
    for dtype in dtypes or ():
        if dtype not in get_args(Dtype):
            raise LossbenchError(f"unknown dtype {dtype!r}; expected one of: {', '.join(sorted(get_args(Dtype)))}")
    chosen = cache(partial(chosen_of, targets))
    found: dict[Job, None] = {}
    for loss in losses:
        for case, asked in _accuracy(suite, loss, chosen):
            by = (REFERENCE, *asked)
            found |= dict.fromkeys(Job(case=case, target=one, measure="accuracy") for one in by)
        for curved in suite.hessian:
            pairs = product(cases.hessian(curved, loss), (REFERENCE, *chosen(curved.targets)))
            found |= dict.fromkeys(Job(case=case, target=one, measure="hessian") for case, one in pairs)
        found |= dict.fromkeys(_conventions(suite, loss, chosen))
    for loss in losses:
        rounds: dict[tuple[Case, str], dict[Job, None]] = {}  # what several grids have of a case takes turns together
        for grid in suite.timing:
            if grid.losses and loss.name not in grid.losses:
                continue
            asked = [threaded(one, many) for many in grid.threads for one in chosen(grid.targets)]
            first = [replace(one, twin=True) for one in asked[:: len(asked) // len(grid.threads)]]
            by = (*asked, *first) if suite.sampling.twin else tuple(asked)
            measures = [one for one in grid.measures if one == "forward" or not loss.accumulated]  # no gradient
            for case, measure, one in product(cases.timing(grid, loss), measures, by):
                rounds.setdefault((case, measure), {})[Job(case=case, target=one, measure=measure)] = None
        for group in rounds.values():
            found |= group
    kept = [job for job in found if not dtypes or job.case.dtype in dtypes]
    if not kept:
        raise LossbenchError(f"nothing to do: {suite.name} has no jobs for these losses, targets and dtypes")
    return kept


def _accuracy(suite: Suite, loss: Loss, chosen: Chosen) -> Iterator[tuple[Case, list[Target]]]:
    """Each case whose numbers are compared, with who is asked beside the reference."""
    asked = chosen(suite.targets)
    for grid in suite.accuracy:
        for case in cases.domain(grid, loss):
            yield case, chosen(grid.targets)
    for many in suite.drift:
        for case in cases.drift(many, loss):
            yield case, chosen(many.targets)
    for long in suite.length:
        for case in cases.length(long, loss):
            yield case, chosen(long.targets)
    for dtype in suite.worst:
        for case in cases.worst(dtype, loss):
            yield case, asked
    for dtype, (index, edge) in product(suite.edges, enumerate(loss.edges)):
        case = Case(loss=loss.name, digest=loss.digest, dtype=dtype, points="edge", index=index)
        yield replace(case, reduction=edge.reduction), asked
    for index, one in enumerate(loss.divergences if suite.divergences else ()):
        case = Case(loss=loss.name, digest=loss.digest, dtype=one.dtype, points="divergence", index=index)
        # Said of one mode, it says nothing of another: asked there, it would come out as fixed.
        able = dict.fromkeys([*asked, *chosen(suite.further)] if one.mode else asked)
        who = [other for other in able if other.framework == one.framework and one.mode in (None, other.mode)]
        if who:
            yield replace(case, reduction=one.reduction), who


def _conventions(suite: Suite, loss: Loss, chosen: Chosen) -> Iterator[Job]:
    """Each callable of the spec, for the targets of its framework."""
    asked = chosen(suite.conventions) if suite.conventions else []
    above = chosen(suite.keras) if suite.keras else []
    for index, public in enumerate(loss.callables):
        if public.keeps_weights:  # its inputs are no arguments of its own
            continue
        case = Case(loss=loss.name, digest=loss.digest, dtype="float32", points="callable", index=index)
        for one in asked:
            if one.framework == public.framework and one.mode in ("eager", "compiled"):
                yield Job(case=case, target=one, measure="convention")
        for one in above:  # as keras.losses, and with the operations of Keras alone
            ours = public.name.startswith("keras.") and "tf." not in public.call
            if ours and one.framework in KERAS and one.mode == "eager":
                yield Job(case=case, target=one, measure="convention")
