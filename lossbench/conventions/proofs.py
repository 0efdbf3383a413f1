"""Facts of specs against a run: confirmed, changed, new, gone, or not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from lossbench.conventions.topics import TOPICS, place
from lossbench.loss import Loss
from lossbench.records import Job, Observed, Refusal
from lossbench.store import Store

RESULTS = ("changed", "gone", "new", "not run", "confirmed")
COLUMNS = ["loss", "framework", "target", "callable", "call", "topic", "declared", "observed", "result", "reason"]


def facts(store: Store) -> pd.DataFrame:
    """One row for each topic of each callable: of those that a spec has facts of, and of those that this run asked.

    Columns:
        loss, framework, target, callable, call, topic: What was asked; the target is empty where none was planned.
        declared: What the spec says; empty where it says nothing.
        observed: What this run got; empty where it got nothing.
        result: One of `RESULTS`. "gone" is a fact whose topic is none of the callable's any more.
        reason: Why nothing was observed.
    """
    losses = store.losses()
    answers = {
        one.job.key: one
        for one in store.records()
        if isinstance(one, Observed | Refusal) and one.job.measure == "convention"
    }
    asked: dict[str, list[Job]] = {name: [] for name in losses}
    for job in store.jobs():
        if job.measure == "convention":
            asked[job.case.loss].append(job)
    rows = [row for name, loss in losses.items() for row in _of_loss(loss, asked[name], answers)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_loss(loss: Loss, jobs: list[Job], answers: Mapping[str, Observed | Refusal]) -> Iterator[dict[str, str]]:
    left = {name: dict(says) for name, says in declared(loss).items()}
    for job in jobs:
        name = label(loss, job.case.index)
        public = loss.callables[job.case.index]
        where = place(public, job.target)
        row = {
            "loss": loss.name,
            "framework": public.framework,
            "target": job.target.name,
            "callable": name,
            "call": public.call,
        }
        # A topic that is no longer asked is one of the eager target's: someone has to say that it is gone.
        mine = {topic for topic in left.get(name, {}) if (TOPICS[topic].where if topic in TOPICS else "eager") == where}
        said = {topic: left[name].pop(topic) for topic in mine}
        answer = answers.get(job.key)
        if not isinstance(answer, Observed):
            reason = "the run was cut off" if answer is None else f"{answer.reason}: {answer.detail}"
            for topic in sorted(said, key=_place) or [""]:
                yield {**row, "topic": topic, **_result(said.get(topic, ""), None), "reason": reason}
            continue
        for topic in sorted({*said, *answer.says}, key=_place):
            yield {
                **row,
                "topic": topic,
                **_result(said.get(topic, ""), answer.says.get(topic, "")),
                "reason": "",
            }
    for name, says in left.items():
        known = {label(loss, index): one for index, one in enumerate(loss.callables)}
        framework = next(one.framework for one in loss.facts if one.callable == name)
        for topic, text in says.items():
            yield {
                "loss": loss.name,
                "framework": framework,
                "target": "",
                "callable": name,
                "call": known[name].call if name in known else "",
                "topic": topic,
                "declared": text,
                "observed": "",
                "result": "not run" if name in known else "gone",
                "reason": "not planned in this run" if name in known else "the spec has no such callable",
            }


def declared(loss: Loss) -> dict[str, dict[str, str]]:
    """What the spec says of each callable, by topic."""
    found: dict[str, dict[str, str]] = {}
    for fact in loss.facts:
        found.setdefault(fact.callable, {}).update(fact.says)
    return found


def label(loss: Loss, index: int) -> str:
    """How facts name the spec's callable of that *index*: by its name, with its condition where several share one."""
    public = loss.callables[index]
    alike = [one for one in loss.callables if one.name == public.name]
    return public.name if len(alike) == 1 else f"{public.name} ({public.when or public.call})"


def _result(declared: str, observed: str | None) -> dict[str, str]:
    if observed is None:
        result = "not run"
    elif not declared:
        result = "new"
    elif not observed:
        result = "gone"
    else:
        result = "confirmed" if declared == observed else "changed"
    return {"declared": declared, "observed": observed or "", "result": result}


def _place(topic: str) -> tuple[int, str]:
    names = list(TOPICS)
    return (names.index(topic) if topic in names else len(names)), topic
