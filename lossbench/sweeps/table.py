"""What sweeps found as tables: a row for each loss, target and dtype."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

import pandas as pd

from lossbench.loss import Loss
from lossbench.sweeps import patterns
from lossbench.sweeps.plan import FINITE, values
from lossbench.sweeps.shard import BAD, CATEGORIES, Extreme, Part, Record, Shard, Tally, Unanswered, joined, merged

WHAT = ("value", "gradient")
BOUND = "exhaustive: a bound"
IN_PART = "exhaustive in part: a lower bound"
SEARCHED = "searched: a lower bound"
NOTHING = "no answer"


class Cell:
    """All that a sweep found of one loss, target and dtype.

    Attributes:
        records: At least one, in the order of their keys.
        planned: Every shard that belongs to it.
        parts: `value` and `gradient`, all gradients together; empty where nothing was answered.
    """

    def __init__(self, loss: Loss, planned: Sequence[Shard], records: Sequence[Record]) -> None:
        self.loss = loss
        self.planned = planned
        self.first = planned[0]
        self.tallies = [one for one in records if isinstance(one, Tally)]
        self.unanswered = [one for one in records if isinstance(one, Unanswered)]
        every = merged(self.tallies)
        gradients = [part for name, part in every.items() if name != "value"]
        self.parts: dict[str, Part] = {"value": every["value"]} if every else {}
        if gradients:
            self.parts["gradient"] = joined(gradients)

    @property
    def label(self) -> str:
        """What its worst errors are worth."""
        if not self.tallies:
            return NOTHING
        if self.first.method == "search":
            return SEARCHED
        return BOUND if self.is_whole else IN_PART

    @property
    def is_whole(self) -> bool:
        """Whether of every setting in the plan all patterns were evaluated."""
        covered: dict[str, int] = {}
        for one in self.tallies:
            key = repr((one.shard.swept, sorted(one.shard.at.items())))
            covered[key] = covered.get(key, 0) + one.shard.last - one.shard.first
        width = patterns.BITS[self.first.dtype] * len(self.first.swept)
        return not self.unanswered and all(count == 1 << width for count in covered.values())

    @property
    def scope(self) -> str:
        """Of what the label is said."""
        first = self.first
        if first.method == "search":
            seeds = sorted({str(shard.seed) for shard in self.planned})
            return f"{self.evaluations:,} evaluations, seed {', '.join(seeds)}"
        others = [name for name in self.loss.inputs if name not in first.swept]
        settings = len({repr(sorted(one.shard.at.items())) for one in self.tallies})
        if self.is_whole and all(self._has_all(name) for name in others):
            return "the whole loss" + (f", at {settings} settings" if self.loss.parameters else "")
        swept = " or ".join(dict.fromkeys(" and ".join(one.swept) for one in self.planned))
        return f"every {swept}, at {settings} setting{'s' if settings > 1 else ''} of the rest"

    def _has_all(self, name: str) -> bool:
        """Whether the domain of an input is finite, and every number of it was met."""
        met = {str(one.shard.at.get(name)) for one in self.tallies}
        return self.loss.inputs[name].domain in FINITE and met >= set(
            map(str, values(self.loss, name, self.first.dtype))
        )

    @property
    def evaluations(self) -> int:
        """At how many inputs."""
        return sum(one.evaluations for one in self.tallies)

    @property
    def reason(self) -> str:
        """Why shards have no answer, where some have none."""
        return "; ".join(dict.fromkeys(f"{one.reason}: {one.detail}" for one in self.unanswered))

    def row(self) -> dict[str, object]:
        """Its row in the table."""
        target = self.first.target
        asked = sum(one.asked for one in self.tallies)
        found: dict[str, object] = {
            "loss": self.loss.name,
            "target": target.name,
            "framework": target.framework,
            "mode": target.mode,
            "device": target.device,
            "dtype": self.first.dtype,
            "method": self.first.method,
            "label": self.label,
            "scope": self.scope,
            "evaluations": self.evaluations,
            "outside": sum(one.outside for one in self.tallies),
            "shards": len(self.planned),
            "unanswered": len(self.unanswered),
            "reason": self.reason,
            "rate": self.evaluations / asked if asked else math.nan,
        }
        for what in WHAT:
            part = self.parts.get(what)
            found |= _extreme(what, part.worst if part else None)
            found |= _extreme(f"{what}_conditioned", part.conditioned if part else None)
            found[f"{what}_amiss"] = sum(part.counts.get(name, 0) for name in BAD) if part else 0
            for name in CATEGORIES:
                found[f"{what} {name}"] = part.counts.get(name, 0) if part else 0
        return found


def _extreme(name: str, one: Extreme | None) -> dict[str, object]:
    """Columns for one worst input."""
    return {
        f"{name}_ulps": math.nan if one is None or one.ulps is None else one.ulps,
        f"{name}_judged": math.nan if one is None or one.judged is None else one.judged,
        f"{name}_condition": math.nan if one is None else one.condition,
        f"{name}_at": "" if one is None else ", ".join(f"{key}={value}" for key, value in one.at.items()),
        f"{name}_got": "" if one is None else one.got,
        f"{name}_exact": "" if one is None else one.exact,
    }


def cells(losses: dict[str, Loss], shards: Iterable[Shard], records: Iterable[Record]) -> list[Cell]:
    """Every loss, target and dtype that has a record, in this order."""

    def key(shard: Shard) -> tuple[str, str, str]:
        return shard.loss, shard.dtype, shard.target.name

    known: dict[tuple[str, str, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: record.shard.key):
        known.setdefault(key(record.shard), []).append(record)
    return [
        Cell(losses[group[0]], list(planned), known[group])
        for group, planned in groupby(sorted(shards, key=key), key=key)
        if group in known
    ]


def frame(found: Sequence[Cell]) -> pd.DataFrame:
    """One row for each cell.

    Columns:
        loss, target, framework, mode, device, dtype: The cell.
        method, label, scope: How it was swept, what its worst errors are worth, and of what that is said.
        evaluations, outside, shards, unanswered, reason: Counts, and why shards have no answer.
        rate: Evaluations per second of the target's own process, without the reference.
        value_ulps, value_judged, value_condition, value_at, value_got, value_exact: The worst input by plain ulps: its
            error, that after conditioning, and numbers in hexadecimal.
        value_conditioned_...: The same of the worst input after conditioning.
        value_amiss: How many results are flushed, infinite, finite or nan where they must not be.
        value <category>: How many inputs there are of each.
        gradient...: The same of the gradients.
    """
    return pd.DataFrame([cell.row() for cell in found])
