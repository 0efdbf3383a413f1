"""The two sides of a comparison: which runs they are, and on what each of them ran."""

from __future__ import annotations

from lossbench.comparing.whole import Comparison
from lossbench.report import tables
from lossbench.report.tables import Table


def runs(done: Comparison) -> Table:
    """What each of the two is: which run, when, of which commit and suite, how large."""
    base, head = (part.store for part in done.parts)
    facts = {
        "run": [one.path.resolve().name for one in (base, head)],
        "label": [one.label for one in (base, head)],
        "started": [f"{one.created:%Y-%m-%d %H:%M} UTC" for one in (base, head)],
        "commit": [one.commit for one in (base, head)],
        "suite": [one.suite.name for one in (base, head)],
        "planned jobs": [str(len(part.jobs)) for part in done.parts],
        "losses": [str(len(part.losses)) for part in done.parts],
        "targets": [", ".join(dict.fromkeys(part.who.values())) for part in done.parts],
    }
    rows = [[tables.text(name), *map(tables.text, pair)] for name, pair in facts.items() if any(pair)]
    return Table(caption="The two runs", columns=["What", "Base", "Head"], rows=rows)


def machines(done: Comparison) -> tuple[Table, Table]:
    """Versions, settings and machine of every pair of targets: what differs, and what is the same."""
    base, head = done.parts
    whom = {name: target for target, name in head.who.items()}
    pairs = [
        (name, base.environments[target], head.environments[whom[name]])
        for target, name in base.who.items()
        if target in base.environments and whom.get(name) in head.environments
    ]
    said: dict[tuple[str, str, str], list[str]] = {}
    for name, first, second in pairs:
        for was, now in ((getattr(first, part), getattr(second, part)) for part in ("versions", "settings", "machine")):
            for fact in was | now:
                said.setdefault((fact, was.get(fact, "none"), now.get(fact, "none")), []).append(name)
    differing = Table(caption="What differs", columns=["What", "Base", "Head", "Of"])
    alike = Table(caption="What is the same", columns=["What", "Both", "Of"])
    for (fact, was, now), names in said.items():
        of = tables.text("all targets" if len(names) == len(pairs) else ", ".join(names))
        if was != now:
            differing.rows.append([tables.text(fact), tables.code(was), tables.code(now), of])
        else:
            alike.rows.append([tables.text(fact), tables.code(was), of])
    return differing, alike
