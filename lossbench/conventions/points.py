"""Probes of hard points: the ends of domains, 0 · log 0, kinks."""

from __future__ import annotations

import numpy as np

from lossbench import declared, inputs, shown
from lossbench.conventions import words
from lossbench.conventions.subject import Arrays, Subject

KINKS = 3  # as many are said; a spec has few more

Row = list[float]


def _answer(subject: Subject, arrays: Arrays) -> str:
    """Value and gradient at a single point, and the exact value where it is another."""
    got = subject.run(arrays, slope=subject.prediction)
    if got.error:
        return words.refused(got)
    exact = subject.exact(arrays)
    value = words.numbers(got.value)
    total = np.asarray(got.value.sum(), np.float64)
    right = words.same(total, np.asarray(exact.sum())) or words.reduction(got.value, exact, classes=len(got.gradient.T))
    beside = "" if right else f" (exactly {words.numbers(exact)})"
    return f"{value}{beside}, gradient {words.numbers(got.gradient)}"


def _point(subject: Subject, prediction: float | Row, target: float | Row) -> Arrays | None:
    """A batch of one; other inputs as in an ordinary one. A row as target says a label by its largest entry."""
    if not subject.is_plain or subject.target is None:
        return None
    arrays = subject.plain(1)
    kind = subject.loss.inputs[subject.target].kind
    if kind == "label":
        arrays[subject.target] = np.array([int(np.argmax(target))])
    else:
        arrays[subject.target] = np.asarray([target], np.float32)
    arrays[subject.prediction] = np.asarray([prediction], np.float32)
    return arrays


def _domains(subject: Subject) -> tuple[str, str]:
    """The kind or domain of prediction and target, as the probes tell them apart."""
    if subject.target is None:
        return "", ""
    one, other = subject.loss.inputs[subject.prediction], subject.loss.inputs[subject.target]
    target = "onehot" if other.kind == "label" and other.domain == "class" else other.domain
    return (f"{one.domain} row" if one.kind == "row" else one.domain), target


def epsilon(subject: Subject) -> str | None:
    """Where a probability is 0 or 1, a rate 0, a vector of no length."""
    match _domains(subject):
        case "unit", "unit" | "binary":
            at: dict[str, tuple[float | Row, float | Row]] = {"p = 0 for y = 1": (0, 1), "p = 1 for y = 1": (1, 1)}
        case "simplex row", "simplex" | "onehot":
            at = {"p = 0 for the true class": ([0, 0.25, 0.75], [1, 0, 0]), "p = 1": ([1, 0, 0], [1, 0, 0])}
        case "log_simplex row", "simplex" | "onehot":
            at = {"log p = -inf for the true class": ([-np.inf, 0], [1, 0])}
        case "positive" | "nonnegative", "count" | "nonnegative":
            at = {"prediction 0 for y = 1": (0, 1)}
        case "real row", "real" if "scale" in _scaled(subject):
            at = {"a prediction of zeros": ([0, 0], [4, 3])}
        case "real", "nonzero":
            at = {"y = 1e-9, prediction 2e-9": (2e-9, 1e-9)}
        case _:
            return None
    said = []
    for text, (prediction, target) in at.items():
        arrays = _point(subject, prediction, target)
        if arrays is not None:
            said.append(f"{text}: {_answer(subject, arrays)}")
    return "; ".join(said) or None


def _scaled(subject: Subject) -> str:
    return "scale" if subject.loss.properties.scale_invariant else ""


def certain_half(subject: Subject) -> str | None:
    """The loss of a certain and right prediction in float16."""
    match _domains(subject):
        case "unit", "unit" | "binary":
            arrays = _point(subject, 1, 1)
        case "simplex row", "simplex" | "onehot":
            arrays = _point(subject, [1, 0, 0], [1, 0, 0])
        case _:
            return None
    if arrays is None:
        return None
    narrow = {
        name: one if subject.loss.inputs[name].kind == "label" else one.astype(np.float16)
        for name, one in arrays.items()
    }
    return words.answer(subject.run(narrow))


def zero_log(subject: Subject) -> str | None:
    """Where a class with target 0 has probability 0, or an infinite logit."""
    inf = np.inf
    match _domains(subject):
        case "real row", "simplex" | "onehot" if subject.loss.properties.shift_invariant:
            arrays, text = _point(subject, [0, 1, -inf], [0, 1, 0]), "logit -inf for a class that is not the true one"
        case "simplex row", "simplex" | "onehot":
            arrays, text = _point(subject, [0, 0.25, 0.75], [0, 1, 0]), "p = 0 for a class that is not the true one"
        case "log_simplex row", "simplex":
            arrays, text = _point(subject, [-inf, 0], [0, 1]), "log p = -inf for a class that is not the true one"
        case "log_simplex row", "log_simplex":
            arrays, text = _point(subject, [-1, -0.5], [-inf, 0]), "log of the target -inf"
        case "positive" | "nonnegative", "count":
            arrays, text = _point(subject, 0, 0), "prediction 0 for y = 0"
        case _:
            return None
    return None if arrays is None else f"{text}: {_answer(subject, arrays)}"


def outside(subject: Subject) -> str | None:
    """A target of 2 where a probability belongs."""
    prediction, target = _domains(subject)
    if target not in ("unit", "binary") or prediction not in ("unit", "real"):
        return None
    arrays = _point(subject, 0.25, 2)
    if arrays is None:
        return None
    got = subject.run(arrays)
    return words.refused(got) if got.error else f"taken: {words.numbers(got.value)}"


def kinks(subject: Subject) -> str | None:
    """The gradient at the kinks that the spec has among its edges."""
    said: list[str] = []
    before: list[Arrays] = []
    for edge in subject.loss.edges:
        claims = {name: one for name, one in declared.claims(subject.loss, edge).items() if name != "value"}
        intervals = {
            name.partition(".")[2]: one
            for name, one in claims.items()
            if any(text.startswith("[") for text in declared.leaves(one))
        }
        if not intervals or edge.reduction != "none" or len(said) >= KINKS:
            continue
        point = inputs.of_point(subject.loss, edge.at, "float32", "none")
        if not _has_parameters(subject, point):
            continue
        if any(all(np.array_equal(point.arrays[one], two[one]) for one in two) for two in before):  # 0 and -0
            continue
        before.append(point.arrays)
        at = shown.at({name: one for name, one in edge.at.items() if name in subject.loss.inputs})
        for name, interval in intervals.items():
            got = subject.run(point.arrays, slope=name)
            answer = words.refused(got) if got.error else words.numbers(got.gradient)
            of = f" by {name}" if len(intervals) > 1 else ""
            said.append(f"{answer}{of} at {at}, of {_interval(interval)}")
    return "; ".join(said) or None


def _has_parameters(subject: Subject, point: inputs.Problem) -> bool:
    """Whether a point is one at the parameters that the plainest call has."""
    return all(
        np.array_equal(np.broadcast_to(np.asarray(subject.parameters[name], np.float32), np.shape(value)), value)
        for name, value in point.parameters.items()
    )


def _interval(claim: object) -> str:
    texts = list(declared.leaves(claim))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
