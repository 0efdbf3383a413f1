"""The audit: every public loss of every installed framework, and the specs that cover it."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lossbench import callables, plan, spec, toml, workers
from lossbench.callables import Entry
from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.messages import Public, Survey, Surveyed
from lossbench.records import Target
from lossbench.text import Table

FILE = Path(__file__).parent / "excluded.toml"
FRAMEWORKS = ("torch", "tensorflow", "jax")  # of which every loss says what its cell is
FORMS = ("native", "recipe", "absent")
OURS = "numba"  # has kernels of ours, and no losses of its own
BEGIN, END = "<!-- cells: written by `lossbench coverage --write` -->", "<!-- end of cells -->"

Status = Literal["covered", "excluded", "missing"]


class Excluded(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public name that is no loss of its own, and why."""

    name: str
    framework: str
    reason: str


class _Exclusions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    excluded: list[Excluded]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One public callable: the losses that it is, or why it needs none."""

    framework: str
    name: str
    kind: str
    losses: tuple[str, ...] = ()
    reason: str = ""

    @property
    def status(self) -> Status:
        """Covered by a spec, excluded on purpose, or missing."""
        return "covered" if self.losses else "excluded" if self.reason else "missing"

    @property
    def namespace(self) -> str:
        """Where it is public, and as what: `keras.losses classes`."""
        return f"{self.name.rpartition('.')[0]} {'classes' if self.kind == 'class' else 'functions'}"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What an audit found.

    Attributes:
        versions: Of each framework that was looked at.
        lines: Every public callable.
        wrong: What specs say of callables that is not so: an argument that is not there, another default.
        stale: Names in specs or exclusions that the installed versions do not have; other versions may.
        unmeasured: The frameworks that could not be looked at, and why.
    """

    versions: Mapping[str, Mapping[str, str]]
    lines: Sequence[Line]
    wrong: Sequence[str]
    stale: Sequence[str]
    unmeasured: Mapping[str, str]

    @property
    def missing(self) -> list[Line]:
        """Those that no spec covers and nothing excludes."""
        return [line for line in self.lines if line.status == "missing"]

    @property
    def exit_code(self) -> int:
        """1 where something is missing or wrong, 3 where a framework could not be looked at, else 0."""
        return 1 if self.missing or self.wrong else 3 if self.unmeasured else 0

    def counts(self) -> dict[str, Counter[Status]]:
        """How many are covered, excluded and missing in each namespace."""
        found: dict[str, Counter[Status]] = {}
        for line in self.lines:
            found.setdefault(line.namespace, Counter())[line.status] += 1
        return found


def coverage(frameworks: Sequence[str] | None = None) -> Coverage:
    """Look at the public losses of *frameworks*, each in a process of its own; of all that have an adapter by default.

    Raises:
        LossbenchError: A framework is unknown.
        SpecError: A spec, or the file of exclusions, is broken.
    """
    known = [name for name in plan.frameworks() if name != OURS]
    for name in frameworks or ():
        if name not in known:
            raise LossbenchError(f"unknown framework {name!r}; expected one of: {', '.join(known)}")
    losses = spec.load_all()
    entries, excluded = callables.entries(losses), exclusions()
    lines: list[Line] = []
    wrong: list[str] = []
    stale: list[str] = []
    versions: dict[str, Mapping[str, str]] = {}
    unmeasured: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder:
        for framework in frameworks or known:
            target = Target(framework=framework, mode=plan.modes(framework)[0])
            with workers.opened(target, Path(folder)) as worker:
                if isinstance(worker, str):
                    unmeasured[framework] = worker
                    continue
                found = worker.ask(Survey(), Surveyed).callables
                versions[framework] = worker.versions
            lines += [_line(framework, one, entries, excluded) for one in found]
            wrong += [said for one in found for entry in entries.get(one.name, ()) for said in _differences(entry, one)]
            stale += _stale(framework, {one.name for one in found}, entries, excluded)
    return Coverage(versions=versions, lines=lines, wrong=wrong, stale=stale, unmeasured=unmeasured)


def exclusions() -> dict[str, Excluded]:
    """What the audit leaves out on purpose, by its public name."""
    _, found = toml.read(FILE, _Exclusions, LossbenchError)
    return {callables.canonical(one.name): one for one in found.excluded}


def cells(losses: Iterable[Loss]) -> dict[str, Counter[str]]:
    """How many losses are native, a recipe or absent in each framework; `unsaid` where a spec says neither."""
    found: dict[str, Counter[str]] = {framework: Counter(dict.fromkeys(FORMS, 0)) for framework in FRAMEWORKS}
    for loss in losses:
        for framework, counted in found.items():
            call = loss.frameworks.get(framework)
            if call is not None:
                counted["native" if call.form == "native" else "recipe"] += 1
            else:
                counted["absent" if framework in loss.absent else "unsaid"] += 1
    return found


def written(text: str, losses: Iterable[Loss]) -> str:
    """A Markdown *text* with the table of cells between its two marks made anew.

    Raises:
        LossbenchError: The marks are not there.
    """
    found = cells(losses)
    rows = [
        f"| | {' | '.join(found)} |",
        f"|---|{'---:|' * len(found)}",
        *(f"| {form} | {' | '.join(str(one[form]) for one in found.values())} |" for form in FORMS),
    ]
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise LossbenchError(f"no place for the table of cells; expected the lines {BEGIN} and {END}")
    return pattern.sub(lambda _: "\n".join([BEGIN, "", *rows, "", END]), text)


def _line(framework: str, one: Public, entries: Mapping[str, list[Entry]], excluded: Mapping[str, Excluded]) -> Line:
    losses = tuple(dict.fromkeys(entry.loss.name for entry in entries.get(one.name, ())))
    reason = excluded[one.name].reason if one.name in excluded and not losses else ""
    return Line(framework=framework, name=one.name, kind=one.kind, losses=losses, reason=reason)


def _differences(entry: Entry, one: Public) -> list[str]:
    """Where the arguments of *one* are not what the spec says of them."""
    where = f"specs/{entry.loss.name}.toml: {one.name}"
    there = {argument.name: argument for argument in one.arguments}
    if not there:
        return []
    found = []
    for name in sorted(callables.arguments(entry.callable)):
        said = entry.callable.defaults.get(name)
        if name not in there:
            found.append(f"{where} has no argument {name!r}; it has: {', '.join(there)}")
        elif not there[name].required and there[name].default != said:
            found.append(f"{where} has {name}={there[name].default!r} by default; the spec says {said!r}")
    return found


def _stale(
    framework: str, found: set[str], entries: Mapping[str, list[Entry]], excluded: Mapping[str, Excluded]
) -> list[str]:
    said = [
        f"specs/{entry.loss.name}.toml names {name}"
        for name, claims in entries.items()
        for entry in claims
        if entry.callable.framework == framework and name not in found and name.rpartition(".")[0] in _spaces(found)
    ]
    said += [
        f"{FILE.name} excludes {name}"
        for name, one in excluded.items()
        if one.framework == framework and (name not in found or name in entries)
    ]
    return said


def _spaces(found: set[str]) -> set[str]:
    """The namespaces that were looked at; a spec may name callables of others too."""
    return {name.rpartition(".")[0] for name in found}
