"""The public callables that specs name: how people write them, and which loss each is with which arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lossbench.adapters.allowed import check
from lossbench.errors import CallError
from lossbench.loss import Loss
from lossbench.text import Callable

SHORT = {  # how people begin a name, and the namespace that they mean
    "F.": "torch.nn.functional.",
    "functional.": "torch.nn.functional.",
    "nn.functional.": "torch.nn.functional.",
    "nn.": "torch.nn.",
    "tensorflow.": "tf.",
    "tf.keras.": "keras.",
    "tf.losses.": "keras.losses.",
    "losses.": "keras.losses.",
}
ELSEWHERE = {"optax.": "optax.losses."}  # the second names all, the first most of them too


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One `[[callables]]` table."""

    loss: Loss
    index: int

    @property
    def callable(self) -> Callable:
        """What it says."""
        return self.loss.callables[self.index]

    @property
    def name(self) -> str:
        """The public name, written in one way."""
        return canonical(self.callable.name)

    @property
    def key(self) -> str:
        """Where in the file it stands."""
        return f"callables[{self.index}]"


def canonical(name: str) -> str:
    """A public name as it is listed: `torch.nn.functional.huber_loss` for `F.huber_loss`."""
    for short, whole in SHORT.items():
        if name.startswith(short):
            return canonical(whole + name.removeprefix(short))
    for short, whole in ELSEWHERE.items():
        if name.startswith(short) and name.count(".") == 1:
            return whole + name.removeprefix(short)
    return name


def entries(losses: Iterable[Loss]) -> dict[str, list[Entry]]:
    """Every table of the *losses*, by its public name."""
    found: dict[str, list[Entry]] = {}
    for loss in losses:
        for index in range(len(loss.callables)):
            one = Entry(loss=loss, index=index)
            found.setdefault(one.name, []).append(one)
    return found


def arguments(one: Callable) -> set[str]:
    """The arguments that decide which loss it is, and with which parameters."""
    return {name for text in (one.when, *one.parameters.values()) if text.strip() for name in names(text)}


def names(text: str) -> set[str]:
    """What an expression names."""
    tree = ast.parse(text.strip(), mode="eval")
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def scope(one: Callable, given: Mapping[str, object]) -> dict[str, object]:
    """What each argument is that its table names: as *given*, else its default, which is None where none is said."""
    return {name: given.get(name, one.defaults.get(name)) for name in arguments(one)}


def fits(entry: Entry, given: Mapping[str, object]) -> bool:
    """Whether the callable with the arguments *given* is this loss."""
    one = entry.callable
    return not one.when.strip() or bool(_value(entry, "when", one.when, scope(one, given)))


def parameters(entry: Entry, given: Mapping[str, object]) -> dict[str, object]:
    """The loss's parameters that the callable with the arguments *given* sets."""
    one = entry.callable
    known = scope(one, given)
    return {name: _value(entry, f"parameters.{name}", text, known) for name, text in one.parameters.items()}


def _value(entry: Entry, field: str, text: str, known: Mapping[str, object]) -> object:
    try:
        tree = check(text, known)
        return eval(compile(tree, f"<{field}>", "eval"), {"__builtins__": {}}, dict(known))
    except (ArithmeticError, TypeError, ValueError, CallError) as error:
        told = ", ".join(f"{name}={value!r}" for name, value in sorted(known.items()))
        raise entry.loss.wrong(f"{entry.key}.{field}", f"`{text}` has no value for {told}: {error}") from None


def verify(entry: Entry) -> None:
    """Check what a table says of its own arguments.

    Raises:
        SpecError: A condition or parameter cannot be read, is of an unknown parameter, or has no value at the defaults.
    """
    one, loss = entry.callable, entry.loss
    strange = set(one.parameters) - set(loss.parameters)
    if strange:
        options = ", ".join(loss.parameters) or "none"
        raise loss.wrong(f"{entry.key}.parameters", f"unknown parameter {min(strange)!r}; expected one of: {options}")
    for field, text in (("when", one.when), *((f"parameters.{name}", text) for name, text in one.parameters.items())):
        _verify_readable(entry, field, text)
    if fits(entry, {}):
        parameters(entry, {})


def _verify_readable(entry: Entry, field: str, text: str) -> None:
    if not text.strip():
        return
    try:
        check(text, names(text))
    except (SyntaxError, ValueError) as error:
        raise entry.loss.wrong(f"{entry.key}.{field}", f"`{text}` is not readable ({error})") from None
    except CallError as error:
        raise entry.loss.wrong(f"{entry.key}.{field}", str(error)) from None
