"""Whether a spec holds what it says, beyond what reading it shows: its calls, modes, edges and reference values."""

from __future__ import annotations

import numpy as np

from lossbench import callables, declared, inputs, plan, references, worst
from lossbench.adapters import allowed, call
from lossbench.errors import CallError, LossbenchError
from lossbench.formula import oracle
from lossbench.loss import Loss


def verify(loss: Loss) -> None:
    """Check all of it; no framework is imported.

    Raises:
        SpecError: A call uses what calls may not use, a mode is unknown, a required edge or a digit of a reference
            value is not what the formula gives, or the file of worst inputs is broken; names file and line.
    """
    _verify_calls(loss)
    for found in callables.entries([loss]).values():
        for entry in found:
            callables.verify(entry)
    _verify_points(loss)
    references.verify(loss)
    worst.kept(loss)


def _verify_calls(loss: Loss) -> None:
    for framework, one in loss.frameworks.items():
        if framework in allowed.MODULES:  # the calls of other adapters are theirs to read
            for field, text in (("call", one.call), ("weighted", one.weighted)):
                _check(loss, f"frameworks.{framework}.{field}", text, call.names(loss, framework))
        settings = (*loss.parameters, "reduction", "dtype", "sample_weight")
        _check(loss, f"frameworks.{framework}.requires", one.requires, settings)
    for index, one_of in enumerate(loss.callables):
        if one_of.framework in allowed.MODULES:
            _check(loss, f"callables[{index}].call", one_of.call, call.names(loss, one_of.framework))
    for index, found in enumerate(loss.divergences):
        key = f"divergences[{index}]"
        if found.framework in allowed.MODULES:
            _check(loss, f"{key}.call", found.call, call.names(loss, found.framework))
        if found.mode and found.framework in plan.frameworks() and found.mode not in plan.modes(found.framework):
            options = ", ".join(sorted(plan.modes(found.framework)))
            reason = f"{found.framework} has no mode {found.mode!r}; expected one of: {options}"
            raise loss.wrong(f"{key}.mode", reason)


def _check(loss: Loss, key: str, text: str | None, names: tuple[str, ...]) -> None:
    try:
        if text is not None:
            allowed.check(text, names)
    except CallError as error:
        raise loss.wrong(key, str(error)) from None


def _verify_points(loss: Loss) -> None:
    for index, one in enumerate(loss.divergences):
        try:
            inputs.of_point(loss, one.when, one.dtype, one.reduction)
        except LossbenchError as error:
            raise loss.wrong(f"divergences[{index}].when", str(error)) from None
    for index, edge in enumerate(loss.edges):
        try:
            problem = inputs.of_point(loss, edge.at, "float64", edge.reduction)
        except LossbenchError as error:
            raise loss.wrong(f"edges[{index}].at", str(error)) from None
        if edge.status != "required":
            continue
        found = problem.certified()
        exact = {"value": found.value} | {f"gradient.{name}": one for name, one in found.gradient.items()}
        for name, said in declared.claims(loss, edge).items():
            if not _is_exactly(list(declared.leaves(said)), exact[name]):
                field = name.partition(".")[0]
                raise loss.wrong(
                    f"edges[{index}].{field}",
                    f"the {field} of this required edge is {said!r}; expected {_text(exact[name])}, by the formula",
                )


def _is_exactly(texts: list[str], exact: oracle.Enclosure) -> bool:
    ends = np.array([declared.interval(text) for text in texts]).reshape(-1, 2)
    given = np.stack([exact.lower.ravel(), exact.upper.ravel()], axis=-1)
    return ends.shape == given.shape and np.array_equal(ends, given, equal_nan=True)


def _text(exact: oracle.Enclosure) -> str:
    ends = zip(exact.lower.ravel().tolist(), exact.upper.ravel().tolist(), strict=True)
    texts = [f"[{low:.17g}, {up:.17g}]" if low < up else f"{low:.17g}" for low, up in ends]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
