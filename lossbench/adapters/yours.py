"""One's own loss, named by the `code` of a spec's call as FILE.py:NAME or package.module:NAME, and what it takes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lossbench.adapters import namespace
from lossbench.errors import LossbenchError
from lossbench.messages import Inspected

NAME = "yours"  # what a call names it by
ROOTS = {"torch": "torch", "tensorflow": "tensorflow", "keras": "tensorflow", "jax": "jax", "numpy": "numpy"}


def imported(code: str) -> Any:
    """The function, class or instance of that name; its file or module is run once, and again when it was changed.

    Raises:
        LossbenchError: There is no such file, module or name in it.
        Exception: Whatever the module raises when it is run.
    """
    where, _, name = code.rpartition(":")
    if not where or not name:
        raise LossbenchError(f"{code!r} names no code; expected FILE.py:NAME or package.module:NAME")
    path = Path(where)
    if where.endswith(".py") and not path.is_file():
        raise LossbenchError(f"{where}: no such file; expected FILE.py:NAME")
    found: Any = _module(where, path.stat().st_mtime_ns if where.endswith(".py") else 0)
    for part in name.split("."):
        if not hasattr(found, part):
            public = ", ".join(sorted(one for one in vars(found) if callable(getattr(found, one)) and one[0] != "_"))
            raise LossbenchError(f"{where} has no {name!r}; expected one of: {public or 'nothing callable is there'}")
        found = getattr(found, part)
    if not callable(found):
        raise LossbenchError(f"{code} is a {type(found).__name__}; expected a function, a class or a module to call")
    return found


def inspected(code: str) -> Inspected:
    """What is there, what it takes, and the frameworks that it may be written for, the likeliest first.

    Raises:
        Exception: As `imported`.
    """
    found = imported(code)
    if inspect.isclass(found):
        method = found.forward if hasattr(found, "forward") else getattr(found, "call", found.__call__)
        called = [one for one in namespace.arguments(method) if one.name != "self"]
        return Inspected(
            kind="class", arguments=namespace.arguments(found), called=called, frameworks=_frameworks(found)
        )
    method = getattr(found, "forward", None) or getattr(found, "call", None) or found
    return Inspected(kind="function", called=namespace.arguments(method), frameworks=_frameworks(found))


@cache
def _module(where: str, changed: int) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where)
    sys.path.insert(0, str(path.parent.resolve()))  # what lies beside it can be imported, as when it is run
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _frameworks(found: Any) -> list[str]:
    """By what it inherits, then by what its module names, then by what was imported for it."""
    inherited = [one.__module__ for one in inspect.getmro(found if inspect.isclass(found) else type(found))]
    module = sys.modules.get(found.__module__)
    named = [one.__name__ for one in vars(module).values() if inspect.ismodule(one)] if module else []
    roots = [name.partition(".")[0] for name in (*inherited, *named)]
    ranked = [ROOTS[root] for root in roots if root in ROOTS and root != "numpy"]
    ranked += [ROOTS[root] for root in ("torch", "tensorflow", "jax") if root in sys.modules]
    return list(dict.fromkeys([*ranked, "numpy"]))
