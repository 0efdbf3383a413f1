"""How quiet the machine was while a run was timed, and what its noise forbids to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lossbench import speed
from lossbench.records import MachineState
from lossbench.store import Store

EQUALS = 0.9  # of the targets that ran twice, this share differed by less than what counts as a difference
LIMITS = {"resolution": 0.05, "apart": 0.1, "steal": 0.01, "others": 0.05, "unsteady": 0.1}
WORK = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What happened to the machine while a run was timed; None where the system does not say.

    Attributes:
        load: Programs that wanted to run, in the minute before the timings and in their last one.
        steal: Share of the processor time that the host of a virtual machine took for others.
        others: Share of the processor time that other programs used.
        throttled: How often a core was slowed because it was hot.
        capped: How often a container was stopped because it had used up its share.
        governor: What decided the clock rate; empty where that cannot be seen.
        megahertz: The lowest and the highest clock rate seen.
    """

    load: tuple[float, float] | None
    steal: float | None
    others: float | None
    throttled: int | None
    capped: int | None
    governor: str
    megahertz: tuple[float, float] | None


def conditions(store: Store) -> Conditions | None:
    """Those of all timings of the run, however often it was resumed; None where nothing was timed to its end."""
    pairs: list[tuple[MachineState, MachineState]] = []
    before: MachineState | None = None
    for one in store.records():
        if isinstance(one, MachineState):
            if one.when == "after" and before is not None:
                pairs.append((before, one))
            before = one if one.when == "before" else None
    if not pairs:
        return None
    spent = [{name: after.seconds[name] - old for name, old in first.seconds.items()} for first, after in pairs]
    total = sum(sum(one.values()) for one in spent)
    own = sum(after.own - first.own for first, after in pairs)
    rates = [rate for pair in pairs for state in pair for rate in state.megahertz]
    loads = (pairs[0][0].load, pairs[-1][1].load)
    return Conditions(
        load=None if loads[0] is None or loads[1] is None else (loads[0], loads[1]),
        steal=sum(one.get("steal", 0.0) for one in spent) / total if total else None,
        others=max(0.0, sum(one.get(name, 0.0) for one in spent for name in WORK) - own) / total if total else None,
        throttled=_risen([(first.throttled, after.throttled) for first, after in pairs]),
        capped=_risen([(first.capped, after.capped) for first, after in pairs]),
        governor=", ".join(dict.fromkeys(state.governor for pair in pairs for state in pair if state.governor)),
        megahertz=(min(rates), max(rates)) if rates else None,
    )


def resolution(noise: pd.DataFrame) -> float:
    """The ratio below which two targets of the run cannot be told apart: nine in ten equals were as close.

    Args:
        noise: As `speed.noise` returns it; where it is empty, nan is returned.
    """
    if noise.empty:
        return float("nan")
    apart = np.abs(np.log(noise["ratio"].to_numpy(float)))
    return float(np.exp(np.quantile(apart, EQUALS, method="higher")))


def warnings(found: Conditions | None, noise: pd.DataFrame, medians: pd.DataFrame) -> list[str]:
    """What limits the statements that the timings of a run allow, as sentences; none where nothing does.

    Args:
        found: As `conditions` returns it.
        noise: As `speed.noise` returns it.
        medians: As `speed.medians` returns it.
    """
    timed = medians[medians["median"].notna()]
    if timed.empty:
        return []
    said = [*_of_equals(noise), *(_of_machine(found) if found else [])]
    unsteady = int((timed["steady"] == False).sum())  # noqa: E712  None where nobody looked
    if unsteady > LIMITS["unsteady"] * len(timed):
        said.append(f"{unsteady} of {len(timed)} timings were not seen to become steady before they were sampled")
    return said


def all_of(store: Store) -> list[str]:
    """The warnings of a run."""
    return warnings(conditions(store), speed.noise(store), speed.medians(store))


def _of_equals(noise: pd.DataFrame) -> list[str]:
    if noise.empty:
        return ["no target ran twice: nothing says how large a difference must be to mean something"]
    said = []
    least = resolution(noise) - 1
    if least > LIMITS["resolution"]:
        said.append(f"one and the same target, timed twice, differed by up to {least:.0%}: less than that says nothing")
    apart = float(noise["apart"].mean())
    if apart > LIMITS["apart"]:
        said.append(f"in {apart:.0%} of the cases even the 95 % intervals of equals were apart: the machine drifted")
    return said


def _of_machine(found: Conditions) -> list[str]:
    said = []
    if found.steal is not None and found.steal > LIMITS["steal"]:
        said.append(f"the host took {found.steal:.1%} of the processor time for others")
    if found.others is not None and found.others > LIMITS["others"]:
        said.append(f"other programs used {found.others:.0%} of the processor time")
    if found.throttled:
        said.append(f"cores were slowed {found.throttled} times because they were hot")
    if found.capped:
        said.append(f"the container was stopped {found.capped} times because it had used up its processor time")
    return said


def _risen(counts: Sequence[tuple[int | None, int | None]]) -> int | None:
    """By how much a count has grown, over all pairs where it is known."""
    known = [after - before for before, after in counts if before is not None and after is not None]
    return sum(known) if known else None
