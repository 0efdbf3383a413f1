"""How fast one's own loss is beside the framework's own and the local kernel, in one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lossbench import harness, plan, spec, speed
from lossbench.checking.finding import Finding
from lossbench.checking.questions import Examination
from lossbench.store import Store
from lossbench.suite import Sampling, Suite, Timing

OURS = "numba:compiled"
ELEMENTS, ROWS = 100_000, (1024, 100)
SAMPLING = Sampling(samples=15, turns=5, min_sample=0.001, max_seconds=0.4, twin=False)


def paced(examination: Examination, folder: Path) -> Iterator[Finding]:
    """For each mode, value with gradient of a mean over an ordinary batch: how many times as long as the others take.

    *folder* gets the run.
    """
    subject = examination.subject
    path = folder / "yours.toml"
    text = subject.loss.source.replace('call = "yours()"', f"call = {json.dumps(examination.fit.call)}")
    path.write_text(text, encoding="utf-8")
    yours, own = spec.load(path), subject.of
    modes = [mode for mode in examination.modes or plan.modes(subject.framework) if mode != "keras"]
    targets = [f"{subject.framework}:{mode}" for mode in modes]
    suite = Suite(
        name="check",
        summary="One's own loss beside the framework's own.",
        targets=tuple(targets),
        timing=(Timing(dtypes=("float32",), elements=(ELEMENTS,), rows=(ROWS,), measures=("gradient",)),),
        sampling=SAMPLING,
    )
    jobs = plan.jobs(suite, [yours, own], [*targets, OURS])
    store = Store.create(folder / "speed", jobs, [yours, own], suite)
    harness.run(store)
    found = speed.medians(store).set_index(["loss", "framework", "mode"])
    for mode in modes:
        mine = found.loc[("yours", subject.framework, mode)]
        if not mine["median"] > 0:
            continue
        others = {
            subject.framework: (own.name, subject.framework, mode),
            "the local kernel": (own.name, "numba", "compiled"),
        }
        told = []
        for name, key in others.items():
            if key in found.index and (other := found.loc[key])["median"] > 0:
                ends = f"{mine['low'] / other['high']:.2g} to {mine['high'] / other['low']:.2g}"
                told.append(f"{mine['median'] / other['median']:.2g} times as long as {name} ({ends})")
        yield Finding(question="speed, with gradient", level="right", mode=mode, words="; ".join(told))
