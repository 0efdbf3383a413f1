"""Facts written into spec files: every callable is asked, in workers, and what it says replaces what stood there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from tempfile import TemporaryDirectory

from lossbench import harness, plan, spec, tail
from lossbench.conventions.proofs import declared, label
from lossbench.conventions.topics import TOPICS, place
from lossbench.loss import Loss
from lossbench.records import Observed, Refusal
from lossbench.store import Store

SUITE = "conventions"

Says = Mapping[str, Mapping[str, str]]  # by callable, by topic


def write(
    losses: Sequence[Loss], targets: Sequence[str] | None = None, *, progress: harness.Progress | None = None
) -> dict[str, str]:
    """Ask every callable of *losses* anew, on all targets or these, and write the facts into their files.

    What could not be asked, because a framework is not installed or a worker died, keeps the facts that it has.

    Returns:
        Why something could not be asked, by callable and target.

    Raises:
        SpecError: A file cannot be written.
        LossbenchError: No loss has callables.
    """
    suite, _ = plan.asked([SUITE])
    jobs = plan.jobs(suite, losses, targets)
    with TemporaryDirectory(prefix="lossbench-") as folder:
        store = Store.create(folder, jobs, losses, suite)
        harness.run(store, progress=progress)
        answers = [one for one in store.records() if isinstance(one, Observed | Refusal)]
    refused: dict[str, str] = {}
    by_loss: dict[str, list[Observed]] = {loss.name: [] for loss in losses}
    for one in answers:
        if isinstance(one, Observed):
            by_loss[one.job.case.loss].append(one)
        else:
            loss = next(loss for loss in losses if loss.name == one.job.case.loss)
            name = f"{label(loss, one.job.case.index)} on {one.job.target.name}"
            refused[name] = f"{one.reason}: {one.detail}"
    for loss in losses:
        if loss.callables:
            lines = _lines(loss, together(loss, by_loss[loss.name]))
            # Read anew: asking takes minutes, in which somebody may have edited the rest.
            tail.write(loss.path, tail.replaced(loss.path.read_text(encoding="utf-8"), "facts", lines))
    spec.forget()
    return refused


def together(loss: Loss, observed: Sequence[Observed]) -> Says:
    """What is known of each callable of the spec: what was *observed*, and elsewhere what the file said before."""
    before = declared(loss)
    found: dict[str, dict[str, str]] = {}
    for index in range(len(loss.callables)):
        name = label(loss, index)
        says = dict(before.get(name, {}))
        for one in observed:
            if one.job.case.index == index:
                where = place(loss.callables[index], one.job.target)
                kept = (topic for topic in says if topic in TOPICS and TOPICS[topic].where != where)
                says = {**{topic: says[topic] for topic in kept}, **one.says}
        found[name] = {topic: says[topic] for topic in TOPICS if topic in says}
    return found


def _lines(loss: Loss, says: Says) -> Iterator[str]:
    for index, public in enumerate(loss.callables):
        name = label(loss, index)
        if says[name]:
            yield "[[facts]]"
            yield f"callable = {_text(name)}"
            yield f"framework = {_text(public.framework)}"
            yield "[facts.says]"
            yield from (f"{_text(topic)} = {_text(text)}" for topic, text in says[name].items())
            yield ""


def _text(value: str) -> str:
    """A basic string of TOML: JSON's escapes are among its own."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
