"""What one callable of a spec says to every topic, in one framework."""

from __future__ import annotations

from lossbench.conventions.hands import hands
from lossbench.conventions.subject import Subject
from lossbench.conventions.topics import answers, place
from lossbench.loss import Loss
from lossbench.records import Target


def observe(loss: Loss, index: int, target: Target) -> dict[str, str]:
    """What the spec's callable of that *index* says, by topic; run on *target*.

    Raises:
        Unsupported: Nothing is known of the framework's arrays.
        CallError: The callable's call cannot be run.
    """
    public = loss.callables[index]
    asked = place(public, target)
    own = asked in ("eager", "compiled")
    return dict(answers(Subject(loss, public, hands(target.framework, keras=not own)), asked))
