"""Probes of names: the order of arguments, and what `keras.losses.get` knows."""

from __future__ import annotations

import re
from typing import Any

from lossbench.conventions.subject import Subject

SHORT = 4  # letters of a name that is spelt in capitals, too: MSE


def order(subject: Subject) -> str | None:
    """Which of prediction and target comes first, and what they are called."""
    bound = subject.expression.bound()
    if not bound:
        return None
    given = ", ".join(name for name, _ in bound)
    if subject.expression.by_keyword():
        return f"by keyword: {given}"
    differentiated = [subject.loss.inputs[name].grad for _, name in bound]
    if all(differentiated):
        return given
    return f"{'prediction' if differentiated[0] else 'target'} first: {given}"


def names(subject: Subject) -> str | None:
    """The loss's names that `keras.losses.get` takes for this callable, and those that it rejects."""
    path, _, name = subject.public.name.rpartition(".")
    if not path.endswith("keras.losses") or "keras" not in subject.hands.modules:
        return None
    losses: Any = subject.hands.modules["keras"].losses
    own = getattr(losses, name)
    aliases = [alias for alias in subject.loss.aliases if re.fullmatch(r"\w+", alias)]
    short = [alias.upper() for alias in aliases if len(alias) <= SHORT]
    asked = dict.fromkeys([name, *aliases, *short])
    known, rejected = [], []
    for one in asked:
        try:
            found = losses.get(one)
        except (ValueError, TypeError):
            rejected.append(one)
        else:
            known += [one] if found is own or type(found) is own else []
    return "; ".join(f"{word} {', '.join(found)}" for word, found in (("knows", known), ("rejects", rejected)) if found)
