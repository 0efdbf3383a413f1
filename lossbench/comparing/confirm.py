"""Suspected slowdowns measured again, base and head side by side, before they are called slowdowns."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from lossbench import machine, workers
from lossbench.comparing import pairs, rule, speeds
from lossbench.comparing.matching import Match, Part
from lossbench.comparing.pairs import Side
from lossbench.records import Job, Target

OWN = ("numba", "numpy")  # adapters of frameworks that compute by what lossbench generates

Progress = Callable[[int, int, str], None]


def suspects(found: pd.DataFrame) -> pd.DataFrame:
    """The rows that may be slowdowns: those called so, and those of which too little is known to say no."""
    unsure = (found["verdict"] == "inconclusive") & (found["ratio"].astype(float) > found["bound"].astype(float))
    return found[(found["verdict"] == "slower") | unsure]


def confirmed(
    found: pd.DataFrame, matches: Sequence[Match], base: Part, head: Part, progress: Progress | None = None
) -> pd.DataFrame:
    """The table of speeds with its suspects measured again; where that cannot be done, `reason` says why.

    Args:
        found: As of `speeds.compare`.
        matches: Of both runs.
        base, head: The runs, whose specs and targets are used.
        progress: Told how many suspects are done, how many there are, and which is next.
    """
    asked = suspects(found)
    by_key = {match.job.key: match for match in matches}
    rows = found.to_dict("index")
    impossible: dict[tuple[Target, Target], str] = {}
    with TemporaryDirectory(prefix="lossbench-confirm-") as folder:
        for number, at in enumerate(asked.index):
            match = by_key[str(rows[at]["job"])]
            assert match.base is not None
            assert match.head is not None
            if progress is not None:
                progress(number, len(asked), f"{match.job.case.loss} {match.target}")
            sides = _side(Path(folder), "base", base, match.base), _side(Path(folder), "head", head, match.head)
            key = match.base.target, match.head.target
            if key not in impossible:
                impossible[key] = _lost(base, head, match) or _other(base, sides[0]) or _other(head, sides[1])
            if impossible[key]:
                rows[at]["reason"] = f"cannot be confirmed: {impossible[key]}"
                continue
            # Each gets its share, so that all of them together are wrong no more often than one would be.
            level = rule.LEVEL / len(asked)
            done = pairs.measured(*sides, level=level)
            decision = done.decision()
            evidence = f"{decision.pairs} pairs side by side"
            rows[at] |= speeds.told(decision, evidence) | {"verdict": decision.verdict(level), "reason": done.why}
            if done.base:
                rows[at] |= {"base": sum(done.base) / len(done.base), "head": sum(done.head) / len(done.head)}
    return speeds.ordered(pd.DataFrame(list(rows.values()), columns=found.columns))


def _side(folder: Path, name: str, part: Part, job: Job) -> Side:
    """The job in a folder that has the run's own specs."""
    own = folder / name
    if not own.exists():
        own.mkdir()
        shutil.copytree(part.store.path / "specs", own / "specs")
    told = part.environments[job.target].settings.get("LOSSBENCH_THREADS", "")  # nothing where it runs as it likes
    return Side(job=job, folder=own, threads=int(told) if told else len(machine.cores()))


def _other(part: Part, side: Side) -> str:
    """Why the target of *side* is not here what it was in the run, if so."""
    target = side.job.target
    was = part.environments[target].versions
    with workers.opened(target, side.folder) as opened:
        if isinstance(opened, str):
            return f"{target.name} does not start here: {opened}"
        now = dict(opened.versions)
    differs = [f"{name} {was.get(name, 'none')}" for name in was | now if was.get(name) != now.get(name)]
    here = [f"{name} {now.get(name, 'none')}" for name in was | now if was.get(name) != now.get(name)]
    if differs:
        return f"{target.name} ran with {', '.join(differs)}; here is {', '.join(here)}"
    return ""


def _lost(base: Part, head: Part, match: Match) -> str:
    """Our own code is here in one state only; of a framework its versions tell whether it is the same."""
    one, other = base.store.commit, head.store.commit
    if match.job.target.framework in OWN and base.store.path != head.store.path and (not one or one != other):
        return f"it is lossbench's own code, of commit {one or 'unknown'} in base and {other or 'unknown'} in head"
    return ""
