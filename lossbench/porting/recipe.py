"""What porting finds, as data: one recipe for a callable, with one port for each framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import RenderableType

from lossbench import card

Status = Literal["equal", "differs as declared", "failed"]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far two results are apart: in ulps of the certified one, and relative to the largest certified one."""

    ulps: float
    relative: float


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Both sides run on the same inputs, in float64.

    Attributes:
        points: How many elements or rows.
        status: Whether they agree to 1e-8; where they do not, whether a divergence of a spec says so.
        between: The gap between the two sides, of the value and of each gradient.
        source: The gap between the source and what is certified.
        target: The same of the target.
        words: What a framework said instead of an answer.
    """

    points: int
    status: Status
    between: Mapping[str, Gap]
    source: Mapping[str, Gap]
    target: Mapping[str, Gap]
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Port:
    """The same loss in one framework.

    Attributes:
        framework: Which.
        form: Native or composed; absent where there is none.
        code: To copy; empty where there is none.
        weighted: The call with sample weights.
        conversions: What to do with the inputs.
        conventions: What means, sums and weights are divided by.
        unexpressed: What cannot be said there.
        notes: Where the two frameworks differ, whatever the arguments.
        proof: None where one of the two sides could not be run.
        unproved: Why not; empty where there is no code to prove.
    """

    framework: str
    form: Literal["native", "composed", "absent"]
    code: str = ""
    weighted: str = ""
    conversions: Sequence[str] = ()
    conventions: Sequence[str] = ()
    unexpressed: Sequence[str] = ()
    notes: Sequence[str] = ()
    proof: Proof | None = None
    unproved: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A callable with its arguments, and the same loss elsewhere.

    Attributes:
        asked: As it was written.
        name: The public name that this means.
        framework: Whose it is.
        loss: The spec that it is.
        title: The loss's name for people.
        parameters: The loss's parameters that the arguments set, and what those left out are.
        takes: Its own name for each input of the loss, where it has another.
        gives: What comes out, in words.
        code: The source as it was understood.
        also: Other losses that the callable is, for other inputs.
        notes: What has to be said of the name and the arguments.
        ports: One for each framework asked for.
    """

    asked: str
    name: str
    framework: str
    loss: str
    title: str
    parameters: Mapping[str, object]
    takes: Mapping[str, str]
    gives: str
    code: str
    also: Sequence[str]
    notes: Sequence[str]
    ports: Sequence[Port]

    @property
    def exit_code(self) -> int:
        """1 where a proof failed, 3 where one could not be made, else 0."""
        if any(port.proof is not None and port.proof.status == "failed" for port in self.ports):
            return 1
        return 3 if any(port.unproved for port in self.ports) else 0

    def __repr__(self) -> str:
        """As the terminal shows it, without colours."""
        return card.plain(_told(self))

    def _repr_html_(self) -> str:
        return card.html(_told(self))


def _told(one: Recipe) -> RenderableType:
    from lossbench.porting import printed  # which needs to know what a recipe is

    return printed.recipe(one)
