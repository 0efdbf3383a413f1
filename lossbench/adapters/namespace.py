"""The public losses of a framework, as it stands: found by looking at its namespaces, never from a list."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from lossbench.messages import Argument, Public

WORDS = ("loss", "entropy", "divergence")  # a name with one of them is a loss's
GIVEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def named(path: str, module: Any) -> Iterator[tuple[str, Any]]:
    """Every public function and class of *module*, by its name below *path*."""
    for name in sorted(dir(module)):
        found = getattr(module, name, None)
        if not name.startswith("_") and callable(found) and not inspect.ismodule(found):
            yield f"{path}.{name}", found


def says_so(name: str) -> bool:
    """Whether the last part of a dotted name says that it is a loss."""
    last = name.rpartition(".")[2].lower()
    return any(word in last for word in WORDS)


def takes(found: Any, *names: str) -> bool:
    """Whether a function, or the constructor of a class, has all these arguments."""
    return {*names} <= {one.name for one in arguments(found)}


def required(found: Any) -> int:
    """How many arguments cannot be left out."""
    return sum(one.required for one in arguments(found))


def arguments(found: Any) -> list[Argument]:
    """What a function, or the constructor of a class, takes; nothing where it does not say."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return []
    return [_argument(one) for one in parameters if one.kind not in GIVEN]


def public(losses: Mapping[str, Any]) -> list[Public]:
    """Each loss with its arguments; for a class also those that its instances are called with."""
    return [
        Public(
            name=name,
            kind="class" if inspect.isclass(found) else "function",
            arguments=arguments(found),
            called=_called(found) if inspect.isclass(found) else [],
        )
        for name, found in losses.items()
    ]


def _argument(one: inspect.Parameter) -> Argument:
    plain = one.default is None or type(one.default) in (bool, int, float, str)
    return Argument(
        name=one.name,
        required=one.default is inspect.Parameter.empty,
        default=one.default if plain else None,
        plain=plain,
        keyword_only=one.kind is inspect.Parameter.KEYWORD_ONLY,
    )


def _called(found: Any) -> list[str]:
    """A torch module has `forward`, a Keras loss `__call__`."""
    method = getattr(found, "forward", None) or found.__call__
    return [one.name for one in arguments(method) if one.name != "self"]
