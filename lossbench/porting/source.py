"""The callable that is to be ported: which loss it is with its arguments, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from lossbench import callables, inputs
from lossbench.callables import Entry
from lossbench.errors import LossbenchError, SpecError
from lossbench.inputs import Problem
from lossbench.loss import Loss
from lossbench.messages import Public
from lossbench.porting import proof, reading, reductions, written
from lossbench.porting.asked import Given
from lossbench.porting.reductions import Reduction
from lossbench.text import Number

REDUCING = ("reduce", "reduction", "size_average")
SILENT = ("dtype", "name")  # arguments that change no formula


class Source:
    """One table of a spec, with the arguments of a request.

    Attributes:
        entry: The table.
        public: The callable as it is installed; None where it is not.
        reduction: What it makes of single losses.
        problem: The points of the proof, with the parameters that the arguments say.
        weighted: The same with sample weights; None where the loss takes none.
        rows: The parameters that are one number for each class, or the code that stands for them.
        data: Those of them that are code.
        text: Its call.
        runs: Its call as the proof runs it.
        extra: Arguments that the spec's own call of the framework sets, and this one leaves at other defaults: an eps.
        plainer: Its call with those; empty where there are none.
        ignored: Arguments that have no meaning in the loss.
    """

    def __init__(self, entry: Entry, public: Public | None, given: Mapping[str, object]) -> None:
        self.entry, self.public = entry, public
        self.loss: Loss = entry.loss
        self.framework = entry.callable.framework
        self.reduction: Reduction = reductions.asked(entry, public, given)
        parameters = _parameters(entry, given)
        classes = max((len(value) for value in parameters.values() if isinstance(value, list)), default=proof.CLASSES)
        case = proof.case(self.loss, parameters, classes, self.reduction.whole or "none")
        self.problem: Problem = inputs.draw(self.loss, case)
        self.weighted = None if self.loss.pooled else inputs.draw(self.loss, replace(case, weighted=True))
        self.case = case
        rows = {name: one for name, one in self.problem.parameters.items() if isinstance(one, np.ndarray)}
        placed = _placed(entry, given)
        self.data = {name: one.code for argument, name in placed.items() if isinstance(one := given[argument], Given)}
        self.rows: dict[str, np.ndarray | str] = rows | self.data
        self.text = written.source(entry, public, given, placed)
        self.runs = self._run(self.text)
        self.extra = written.settings(entry, public, given)
        self.plainer = self._run(written.source(entry, public, {**given, **self.extra}, placed)) if self.extra else ""
        self.ignored = _ignored(entry, public, given)

    def _run(self, text: str) -> str:
        wide = written.wide(text, self.entry, self.public)
        return written.tabled(wide, self.loss, self.framework, proof.TABLE)


def chosen(claims: Sequence[Entry], given: Mapping[str, object], wanted: str | None) -> tuple[Entry, list[str]]:
    """The table that fits the arguments, and the names of other losses that fit too: by their inputs, not by arguments.

    Raises:
        LossbenchError: None fits, or not the one that is *wanted*.
    """
    fitting = [entry for entry in claims if callables.fits(entry, given)]
    if not fitting:
        conditions = "; ".join(
            f"{entry.loss.name} when {entry.callable.when}{f' ({entry.callable.note})' if entry.callable.note else ''}"
            for entry in claims
        )
        raise LossbenchError(f"{claims[0].name} with these arguments is no loss that is known; it is: {conditions}")
    # Where labels decide, class indices are what most people give.
    fitting.sort(key=lambda entry: all(one.kind != "label" for one in entry.loss.inputs.values()))
    names = [entry.loss.name for entry in fitting]
    if wanted is not None and wanted not in names:
        raise LossbenchError(
            f"{claims[0].name} with these arguments is not {wanted}; expected one of: {', '.join(names)}"
        )
    found = fitting[names.index(wanted) if wanted else 0]
    return found, [name for name in names if name != found.loss.name]


def _parameters(entry: Entry, given: Mapping[str, object]) -> dict[str, Number | list[Number]]:
    """Those of the loss that the arguments set, as exact numbers; for a row that is data, one that the spec tries."""
    found: dict[str, Number | list[Number]] = {}
    try:
        said = callables.parameters(entry, given)
    except SpecError:
        unknown = [
            name
            for name, one in given.items()
            if isinstance(one, Given) and name in callables.scope(entry.callable, {})
        ]
        if not unknown:
            raise
        raise LossbenchError(f"{entry.name}: {unknown[0]} is no number here; expected one, to port it") from None
    for name, value in said.items():
        parameter = entry.loss.parameters[name]
        if value is None:
            continue
        if isinstance(value, Given):
            if parameter.kind != "row":
                raise LossbenchError(f"{entry.name}: {name} is `{value.code}`; expected a number, to port it")
            value = next((one for one in parameter.values if isinstance(one, list)), parameter.default)
            found[name] = value
        elif isinstance(value, list) and parameter.kind != "row":
            if len(value) != 1:
                raise LossbenchError(f"{entry.name}: {name} has {len(value)} numbers; {entry.loss.name} takes one")
            found[name] = _exact(value[0])
        else:
            found[name] = [_exact(one) for one in value] if isinstance(value, list) else _exact(value)
    return found


def _exact(value: object) -> Number:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return repr(value)
    raise LossbenchError(f"{value!r} is no number; expected one, to port it")


def _placed(entry: Entry, given: Mapping[str, object]) -> dict[str, str]:
    """Which arguments are rows of numbers, and the parameters whose names stand for them."""
    return {
        argument: name
        for name, text in entry.callable.parameters.items()
        if entry.loss.parameters[name].kind == "row"
        for argument, value in given.items()
        if isinstance(value, list | Given) and argument in callables.names(text)
    }


def _ignored(entry: Entry, public: Public | None, given: Mapping[str, object]) -> list[str]:
    """What is said of arguments that neither the loss nor the reduction takes."""
    known = {*callables.arguments(entry.callable), *REDUCING, *SILENT}
    data = set(reading.places(entry, public))
    defaults = {one.name: one.default for one in public.arguments} if public else {}
    found = []
    for name, value in given.items():
        if name in known or name in data or (name in defaults and defaults[name] == value):
            continue
        shown = value.code if isinstance(value, Given) else repr(value)
        if name in ("sample_weight", "weight"):
            found.append(f"{name}={shown} are weights: see the call with sample_weight")
        else:
            found.append(f"{name}={shown} is left out: the loss has no such parameter")
    return found
