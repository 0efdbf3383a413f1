"""Losses x targets x a suite's grids -> jobs. Pure: nothing is measured, and no framework imported."""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.metadata import entry_points
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
from lossbench.text import Dtype

__all__ = ["Suite", "asked", "frameworks", "jobs", "merged", "modes", "suite", "suites", "target"]

ADAPTERS = Path(__file__).parent / "adapters"
ENTRY_POINTS = "lossbench.adapters"
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


def target(text: str) -> Target:
    """The target that *text* says: `torch`, `torch:compiled`, `torch:compiled:cuda`, each with `@/path/to/python`.

    Raises:
        LossbenchError: No such framework, or it has no such mode.
    """
    framework, mode, device, interpreter = _parts(text)
    if framework not in frameworks():
        options = ", ".join(frameworks())
        raise LossbenchError(f"unknown framework {framework!r} in {text!r}; expected one of: {options}")
    if mode and mode not in modes(framework):
        options = ", ".join(modes(framework))
        raise LossbenchError(f"{framework} has no mode {mode!r} (in {text!r}); expected one of: {options}")
    return Target(
        framework=framework,
        mode=mode or modes(framework)[0],
        device=device or "cpu",
        interpreter=interpreter or None,
    )


def frameworks() -> list[str]:
    """Every framework that can be measured, in alphabetical order: those with an adapter here, and entry points."""
    own = {path.stem for path in ADAPTERS.glob("*.py") if "\nMODES" in path.read_text(encoding="utf-8")}
    return sorted((own | {entry.name for entry in entry_points(group=ENTRY_POINTS)}) - {REFERENCE.framework})


def modes(framework: str) -> tuple[str, ...]:
    """The modes of a framework, the default first, read from its adapter's text: importing it would load the framework.

    Raises:
        LossbenchError: The adapter is not there, or names no modes.
    """
    path = ADAPTERS / f"{framework}.py"
    for entry in entry_points(group=ENTRY_POINTS, name=framework):
        found = importlib.util.find_spec(entry.module)
        if found is None or found.origin is None:
            raise LossbenchError(f"the adapter of {framework} is the module {entry.module}, which is not there")
        path = Path(found.origin)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="MODES")], value=value):
                return tuple(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="MODES"), value=ast.expr() as value):
                return tuple(ast.literal_eval(value))
    raise LossbenchError(f"{path}: no MODES; expected a tuple of names, the default first")


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
    chosen = cache(partial(_chosen, targets))
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
        for grid in suite.timing:
            asked = chosen(grid.targets)
            by = (*asked, replace(asked[0], twin=True)) if suite.sampling.twin else tuple(asked)
            measures = [one for one in grid.measures if one == "forward" or not loss.accumulated]  # no gradient
            for case, measure, one in product(cases.timing(grid, loss), measures, by):
                found[Job(case=case, target=one, measure=measure)] = None
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


def _chosen(wanted: Sequence[str] | None, own: tuple[str, ...]) -> list[Target]:
    """The targets of *own*, a grid's, that are wanted; exact wishes are served though the grid has them not."""
    planned = [target(text) for text in own]
    if not wanted:
        return planned
    found: dict[Target, None] = {}
    for text in wanted:
        framework, mode, device, interpreter = _parts(text)
        fitting = [
            replace(one, interpreter=interpreter or one.interpreter)
            for one in planned
            if one.framework == framework and mode in ("", one.mode) and device in ("", one.device)
        ]
        found |= dict.fromkeys(fitting or [target(text)])
    return list(found)


def _parts(text: str) -> tuple[str, str, str, str]:
    """Framework, mode, device and interpreter; those not said are empty."""
    name, _, interpreter = text.partition("@")
    parts = name.split(":")
    if len(parts) > 3:
        raise LossbenchError(f"{text!r} is no target; expected framework:mode:device@interpreter, all but one optional")
    framework, mode, device = (*parts, "", "")[:3]
    return framework, mode, device, interpreter
