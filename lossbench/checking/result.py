"""What a check comes to, as an object that a terminal and a notebook can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rich.console import RenderableType

from lossbench import card
from lossbench.checking.finding import Finding
from lossbench.checking.smallest import point

Verdict = Literal["right", "weak", "wrong", "no answer"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a loss of one's own is.

    Attributes:
        code: FILE.py:NAME or package.module:NAME.
        loss, title: Which of the catalogue it was held against.
        verdict: "weak" where it is right at ordinary inputs and loses its digits at extreme ones; "no answer" where it
            raised, hung, ended its process or gave no numbers of a fitting shape.
        findings: The answer to each question.
        why: What a wrong one is instead, in sentences.
        failing: The worst finding, at its smallest input.
        script: Code that shows it.
        assumed: What was taken for granted.
    """

    code: str
    loss: str
    title: str
    framework: str
    verdict: Verdict
    call: str = ""
    gives: str = ""
    parameters: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    why: tuple[str, ...] = ()
    failing: Finding | None = None
    script: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 right or weak, 1 wrong, 3 no answer."""
        return {"right": 0, "weak": 0, "wrong": 1, "no answer": 3}[self.verdict]

    @property
    def at(self) -> str:
        """The smallest failing input, to be read."""
        return point(self.failing) if self.failing is not None and self.failing.problem is not None else ""

    def __str__(self) -> str:
        """As the terminal shows it, without colours."""
        return card.plain(_told(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return card.html(_told(self))


def _told(one: Check) -> RenderableType:
    from lossbench.checking import printed  # which needs to know what a check is

    return printed.told(one)
