"""Two runs compared: what changed, as tables, as one line and as an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from lossbench.card import Table, card
from lossbench.comparing import confirm as again
from lossbench.comparing import matching, results, speeds
from lossbench.comparing.matching import Match, Part
from lossbench.errors import LossbenchError
from lossbench.store import Store

if TYPE_CHECKING:
    from lossbench.runs import Run  # which writes reports, of which comparisons are a part

PASSIVE = ("new", "dropped")  # what a case is called that only one run has


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What changed from base to head.

    Attributes:
        base, head: What was compared, for people.
        differ: In what they differ beside their results: versions, processor, threads.
        results: See `results.compare`.
        speed: See `speeds.compare`.
        parts: What was compared of base's run and of head's.
    """

    base: str
    head: str
    differ: tuple[str, ...]
    results: pd.DataFrame
    speed: pd.DataFrame
    parts: tuple[Part, Part] = field(repr=False)

    @property
    def failing(self) -> int:
        """How many rows are newly failing, worse or slower."""
        slower = self.speed["verdict"].isin(speeds.FAILING)
        return int(self.results["change"].isin(results.FAILING).sum() + slower.sum())

    @property
    def unmeasured(self) -> int:
        """How many rows of base head has no measurement of."""
        return int((self.results["change"] == "not measured").sum() + (self.speed["verdict"] == "not measured").sum())

    @property
    def exit_code(self) -> int:
        """1 where something got worse or slower, else 3 where something was not measured, else 0."""
        return 1 if self.failing else 3 if self.unmeasured else 0

    @property
    def counts(self) -> dict[str, int]:
        """How many rows are called what, what is worst first; results and speed together."""
        found = [*self.results["change"], *self.speed["verdict"]]
        words = dict.fromkeys((*results.FAILING, *speeds.FAILING, *results.CHANGES, *speeds.VERDICTS))
        return {word: found.count(word) for word in words if word in found}

    @property
    def verdict(self) -> str:
        """One line: what is the matter, or that nothing is."""
        counts = self.counts
        alarming = (*results.FAILING, "slower", "not measured")
        said = [f"{counts[word]} {word}" for word in alarming if word in counts]
        others = ("newly passing", "better", "faster", "inconclusive")
        rest = [f"{counts[word]} {word}" for word in others if word in counts]
        if not said:
            return ", ".join(["nothing newly failing, worse or slower", *rest])
        return ", ".join([*said, *rest])

    def markdown(self) -> str:
        """For a pull request or a step summary: at most 60,000 bytes."""
        from lossbench.comparing import markdown

        return markdown.text(self)

    def junit(self) -> str:
        """XML for a CI server: one test case for each row."""
        from lossbench.comparing import junit

        return junit.text(self)

    def __repr__(self) -> str:
        """What was compared, and the one line that says it."""
        return f"{self.base} -> {self.head}: {self.verdict}"

    def _repr_html_(self) -> str:
        from lossbench.comparing import told

        headings = ("change", "loss", "target", "dtype", "case", "was", "now", "detail")
        changed = [row for row in told.rows(self) if told.alarming(row["change"]) or row["change"] in told.WELCOME]
        table = Table(headings=headings, rows=[[row[heading] for heading in headings] for row in changed])
        return card(f"{self.base} -> {self.head}", self.verdict, tables=[table] if changed else [])


def compare(
    base: Run | Store | str | Path,
    head: Run | Store | str | Path | None = None,
    *,
    targets: tuple[str, str] | None = None,
    history: str | Path | None = None,
    confirm: bool = False,
    progress: again.Progress | None = None,
) -> Comparison:
    """What changed from one run to another, or from one target of a run to another.

    Results are compared case by case, and need no statistics. Times are compared by `rule.decide`, each as the time of
    a fresh process, over the whole table at once; a difference counts from 1 % on, or from what the A/A controls of the
    runs and the history say chance alone may do.

    Args:
        base, head: Runs, or their folders.
        targets: Without *head*, or for other names in each: who is base and who is head, as targets are named.
        history: A folder of earlier runs: by how much a benchmark changes from run to run is no news.
        confirm: Whether suspected slowdowns are measured again, base and head side by side, before they are called so.
        progress: Told how many suspects are done, how many there are, and which is next.

    Raises:
        LossbenchError: There is nothing to compare.
        StoreError: A folder has no run.
    """
    first = _store(base)
    second = first if head is None else _store(head)
    if targets is not None:
        left, right = matching.two(first, second, *targets)
    elif head is None:
        raise LossbenchError("one run alone has nothing to be compared with; give another, or name two targets of it")
    else:
        left, right = matching.runs(first, second)
    matches = matching.matched(left, right)
    found, timed = results.compare(matches, left, right), speeds.compare(matches, left, right, history)
    if set(found["change"]) | set(timed["verdict"]) <= {*PASSIVE}:
        raise LossbenchError(f"{first.path} and {second.path} have no case in common; compare runs of one suite")
    if confirm:
        timed = again.confirmed(timed, matches, left, right, progress)
    names = targets or (str(first.path), str(second.path))
    return Comparison(
        base=names[0],
        head=names[1],
        differ=_differ(matches, left, right),
        results=found,
        speed=timed,
        parts=(left, right),
    )


def _store(run: Run | Store | str | Path) -> Store:
    if isinstance(run, str | Path):
        return Store.open(run)
    return run if isinstance(run, Store) else run.store


def _differ(matches: Sequence[Match], base: Part, head: Part) -> tuple[str, ...]:
    """Each fact in which a target's environments differ, said once."""
    one, other = base.store.commit, head.store.commit
    said = dict.fromkeys([f"commit {one or 'unknown'} -> {other or 'unknown'}"] if one != other else [])
    pairs = dict.fromkeys((one.base.target, one.head.target) for one in matches if one.base and one.head)
    for first, second in pairs:
        left, right = base.environments.get(first), head.environments.get(second)
        if left and right:
            facts = [(left.versions, right.versions, tuple(left.versions | right.versions))]
            facts.append((left.machine, right.machine, ("processor", "cores")))
            facts.append((left.settings, right.settings, ("LOSSBENCH_THREADS",)))
            for was, now, names in facts:
                changed = [name for name in names if was.get(name) != now.get(name)]
                said |= {f"{name} {was.get(name, 'none')} -> {now.get(name, 'none')}": None for name in changed}
    return tuple(said)
