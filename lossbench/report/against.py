"""What a report compares its run with, and what is new against it in a few counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from lossbench.comparing import before, whole
from lossbench.comparing.whole import Comparison
from lossbench.errors import LossbenchError
from lossbench.report.changes import MARKS
from lossbench.report.words import Mark
from lossbench.store import Store

ALWAYS = ("newly failing", "worse", "better", "not measured")  # that nothing is failing is news as well
ORDER = (
    *("newly failing", "worse", "slower", "better", "newly passing", "faster"),
    *("not measured", "other answer", "changed case"),
)


@dataclass(frozen=True, kw_only=True)
class Against:
    """The run that another is compared with.

    Attributes:
        base: What its folder is called.
        comparison: Of it and the run; None where they cannot be compared.
        why: Why they cannot be.
    """

    base: str
    comparison: Comparison | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class News:
    """How many rows are called what; `address` leads to them, and is empty where there are none."""

    mark: Mark
    count: int
    address: str

    @property
    def word(self) -> str:
        """What they are called."""
        return self.mark.word


def of(store: Store, base: Path | str | None = None) -> Against | None:
    """The comparison with *base*, or with the run before it if none is named; None where there is none before it.

    Raises:
        LossbenchError: The named run cannot be compared with.
    """
    if base is not None:
        done = whole.compare(base, store)
        return Against(base=done.parts[0].store.path.resolve().name, comparison=done)
    path = before.run(store)
    if path is None:
        return None
    try:
        return Against(base=path.name, comparison=whole.compare(path, store))
    except LossbenchError as error:
        return Against(base=path.name, comparison=None, why=str(error))


def strip(against: Against | None, page: str = "compare.html") -> Sequence[News]:
    """What is new, in the order in which it matters; empty where nothing was compared.

    Args:
        against: As of `of`.
        page: The address of the page of the comparison.
    """
    if against is None or against.comparison is None:
        return []
    counts = against.comparison.counts
    return [
        News(
            mark=MARKS[word],
            count=counts.get(word, 0),
            address=f"{page}#{urlencode({'change': word})}" if counts.get(word) else "",
        )
        for word in ORDER
        if word in ALWAYS or counts.get(word)
    ]
