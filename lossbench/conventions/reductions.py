"""Probes of reductions: what comes out by default, and which names of reductions are taken."""

from __future__ import annotations

from lossbench.conventions import words
from lossbench.conventions.subject import CLASSES, Arrays, Subject

NAMES = ("none", "mean", "sum", "batchmean", "sum_over_batch_size", "mean_with_sample_weight", "auto")


def several(subject: Subject) -> Arrays:
    """A batch in which every reduction is another number."""
    if not subject.is_plain or subject.has_rows:
        return subject.plain(4)
    return subject.plain(2, 3)


def default(subject: Subject) -> str | None:
    """What comes out by default."""
    arrays = several(subject)
    got = subject.run(arrays)
    if got.error:
        return words.refused(got)
    found = words.reduction(got.value, subject.exact(arrays), classes=CLASSES if subject.has_rows else 0)
    if found:
        return found
    for name, one in subject.loss.inputs.items():
        if one.kind == "row" and got.value.shape == arrays[name].shape:
            return "one number for each class of each row"
    return f"shape {got.value.shape}: neither losses nor a mean or sum of them"


def accepted(subject: Subject) -> str | None:
    """The reductions that the callable knows by name."""
    if not subject.expression.takes("reduction"):
        return None
    arrays = several(subject)
    losses = subject.exact(arrays)
    known: dict[str, list[str]] = {}
    for name in NAMES:
        got = subject.run(arrays, {"reduction": name})
        if not got.error:
            found = words.reduction(got.value, losses, classes=CLASSES if subject.has_rows else 0)
            known.setdefault(found or f"shape {got.value.shape}", []).append(name)
    return "; ".join(f"{', '.join(names)}: {found}" for found, names in known.items()) or "none of those known"
