"""Which of the inputs that sweeps have found are kept: those at which a target was at its worst."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lossbench import spec, worst
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.sweeps.shard import Category, Extreme, Part, Shard, Tally
from lossbench.sweeps.whole import Sweep
from lossbench.text import Number
from lossbench.worst import Given, Worst

AMISS: tuple[Category, ...] = ("nan", "overflowed spuriously", "missed overflow")
SMALL = 0.5  # errors up to it, in ulps, are those of correct rounding: nothing to keep


def keep(done: Sweep, losses: Sequence[str | Path] = ()) -> list[Path]:
    """Write the worst inputs of a sweep beside the specs, with those that were kept before; the files.

    Args:
        done: Of which every tally counts.
        losses: Names or spec files of its losses; the package's own need not be said.

    Raises:
        LossbenchError: A spec file is not known, has changed since, or its worst inputs cannot be read or written.
    """
    named = {loss.name: loss for loss in map(spec.load, losses)}
    tallies: dict[str, list[Tally]] = {}
    for record in done.records:
        if isinstance(record, Tally):
            tallies.setdefault(record.shard.loss, []).append(record)
    found = {name: _current(name, group[0].shard.digest, named) for name, group in sorted(tallies.items())}
    files = []
    for name, loss in found.items():
        new = [one for tally in tallies[name] for one in kept(loss, tally)]
        # A search begins where the kept inputs are, so it has found those of them that are bad still.
        old = [one for one in worst.kept(loss) if not any(_searched(one, tally, loss) for tally in tallies[name])]
        files.append(worst.write(loss, worst.merged(old, new)))
    return [path for path in files if path.exists()]


def _current(name: str, digest: str, named: dict[str, Loss]) -> Loss:
    if name not in named and name not in spec.names():
        raise LossbenchError(f"{name} is no spec of the package; expected its file, beside which to keep worst inputs")
    loss = named.get(name) or spec.load(name)
    if loss.digest != digest:
        raise LossbenchError(f"the spec of {name} has changed since the sweep; sweep again to keep its worst inputs")
    return loss


def _searched(one: Worst, tally: Tally, loss: Loss) -> bool:
    """Whether *tally* is of a search for what *one* was found for."""
    shard = tally.shard
    asked = (shard.method, shard.dtype, shard.target.name, _chosen(loss, shard))
    return asked == ("search", one.dtype, one.target, dict(one.parameters))


def _chosen(loss: Loss, shard: Shard) -> dict[str, Number | list[Number]]:
    """The parameters that are not at their defaults."""
    defaults = {name: one.default for name, one in loss.parameters.items()}
    return {name: said for name, said in shard.at.items() if defaults.get(name, said) != said}


def kept(loss: Loss, tally: Tally) -> list[Worst]:
    """Of value and gradients the largest error in ulps, the largest after conditioning, and one of kind where there is
    one; none that is within correct rounding."""
    shard = tally.shard
    version = f"{shard.target.framework} {tally.versions.get(shard.target.framework, '')}".strip()
    method = f"{shard.method}, {tally.evaluations} evaluations"
    method += f", seed {shard.seed}" if shard.method == "search" else ""
    found = []
    for name, part in tally.parts.items():
        for extreme in _extremes(part):
            amiss = extreme.ulps is None and extreme.judged is None
            found.append(
                Worst(
                    dtype=shard.dtype,
                    target=shard.target.name,
                    quantity="value" if name == "value" else "gradient",
                    at={one: _read(extreme.at[one], label=given.kind == "label") for one, given in loss.inputs.items()},
                    parameters=_chosen(loss, shard),
                    ulps=np.inf if amiss else extreme.ulps or 0.0,
                    conditioned=np.inf if amiss else extreme.judged or 0.0,
                    got=extreme.got,
                    exact=extreme.exact,
                    method=method,
                    found=version,
                )
            )
    return found


def _extremes(part: Part) -> Iterable[Extreme]:
    both = [one for one in (part.worst, part.conditioned) if one is not None]
    errors = [one for one in both if (one.ulps or one.judged or 0.0) > SMALL]
    amiss = [part.examples[name] for name in AMISS if name in part.examples]
    return [*errors[:1], *(one for one in errors[1:] if one != errors[0]), *amiss[:1]]


def _read(text: str, *, label: bool) -> Given:
    """An input as it is kept, from the text of a tally."""
    quoted = text if label else re.sub(r"[^\[\], ]+", lambda number: f'"{number[0]}"', text)
    found: Given = json.loads(quoted)
    return found
