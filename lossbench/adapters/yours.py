"""One's own loss, named by the `code` of a spec's call as FILE.py:NAME or package.module:NAME, and what it takes."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lossbench.adapters import namespace
from lossbench.errors import Unsupported
from lossbench.messages import Argument, Inspected

NAME = "yours"  # what a call names it by
PICKLED = ".pickle"  # how the name of a file ends in which a function without one was sent
ROOTS = {"torch": "torch", "tensorflow": "tensorflow", "keras": "tensorflow", "jax": "jax", "numpy": "numpy"}
FORMS = "expected FILE.py:NAME or package.module:NAME"
METHODS = ("forward", "call")  # of torch's modules, of Keras's losses: they name what an instance takes

running = False  # whether this process is one that runs the code of others


def imported(code: str) -> Any:
    """The function, class or instance of that name; its file or module is run once, and again when it was changed.

    Raises:
        Unsupported: There is no such file, module or name in it, or nothing that can be called.
        Exception: Whatever the module raises when it is run.
    """
    where, _, name = code.rpartition(":")
    if not where or not name:
        raise Unsupported(f"{code!r} names no code; {FORMS}")
    with _answering(where):
        found: Any = _unpickled(where) if where.endswith(PICKLED) else _named(where, name)
    if not callable(found):
        raise Unsupported(f"{code} is a {type(found).__name__}; expected a function, a class or a module to call")
    return found


def answering(found: Any, *, floats: bool) -> Any:
    """The same, but that what is no array, nor with *floats* a number, ends in words."""

    def told(value: Any) -> Any:
        if value is None or isinstance(value, (tuple, list, dict, str)):
            raise Unsupported(f"it gives {_article(value)}; expected an array of losses")
        if not floats and type(value) in (bool, int, float):
            raise Unsupported(
                f"it gives a Python {type(value).__name__}, through which no gradient can go; expected an array: "
                "does it end in .item() or float()?"
            )
        return value

    if inspect.isclass(found):
        return lambda *given, **named: answering(found(*given, **named), floats=floats)
    return lambda *given, **named: told(found(*given, **named))


def inspected(code: str) -> Inspected:
    """What is there, what it takes, and the frameworks that it may be written for, the likeliest first.

    Raises:
        Exception: As `imported`.
    """
    found = imported(code)
    if not inspect.isclass(found):
        named = next((getattr(found, one) for one in METHODS if hasattr(found, one)), found)
        called, more = _taken(named)
        return Inspected(kind="function", called=called, frameworks=_frameworks(found), more=more)
    method = next((getattr(found, one) for one in METHODS if hasattr(found, one)), found.__call__)
    called, more = _taken(method)
    return Inspected(
        kind="class",
        arguments=namespace.arguments(found),
        called=called[1:] if called and called[0].name == "self" else called,
        frameworks=_frameworks(found),
        more=more,
    )


def _taken(function: Any) -> tuple[list[Argument], bool]:
    """The arguments that it names, and whether it takes others."""
    try:
        kinds = [one.kind for one in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return [], True
    return namespace.arguments(function), any(kind in namespace.GIVEN for kind in kinds)


@contextmanager
def _answering(where: str) -> Any:
    """Code that ends the process while it is run is an error like others."""
    global running
    running = True
    try:
        yield
    except SystemExit as error:
        raise Unsupported(f"{where} calls sys.exit({error.code!r}) while it is imported") from None


def _named(where: str, name: str) -> Any:
    path = Path(where)
    if where.endswith(".py") and not path.is_file():
        raise Unsupported(f"{where}: no such file; expected FILE.py:NAME")
    found: Any = _module(where, path.stat().st_mtime_ns if where.endswith(".py") else 0)
    for part in name.split("."):
        if not hasattr(found, part):
            own = (one for one, value in vars(found).items() if callable(value) and one[0] != "_")
            here = sorted(one for one in own if _home(vars(found)[one]) in ("", getattr(found, "__name__", "")))
            raise Unsupported(f"{where} has no {name!r}; expected one of: {', '.join(here) or 'nothing callable'}")
        found = getattr(found, part)
    return found


@cache
def _module(where: str, changed: int) -> ModuleType:
    if not where.endswith(".py"):
        if "" not in sys.path:
            sys.path.insert(0, "")  # as `python -m` has it
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{where}.".startswith(f"{error.name}."):
                raise Unsupported(f"there is no module {error.name!r}; {FORMS}") from None
            raise
        except (TypeError, ValueError) as error:
            raise Unsupported(f"{where!r} names no module ({error}); {FORMS}") from None
    path = Path(where).resolve()
    folder, name = path.parent, path.stem
    while (folder / "__init__.py").is_file():  # a module of a package can import its neighbours
        folder, name = folder.parent, f"{folder.name}.{name}"
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # what lies beside it can be imported, as when it is run
    if "." in name:
        known = sys.modules.get(name)
        if known is None or getattr(known, "__file__", None) != str(path):
            return importlib.import_module(name)
        return importlib.reload(known)
    if getattr(sys.modules.get(name, None), "__file__", str(path)) != str(path):
        name = f"{name} of {folder}"  # a random.py of one's own must not become everybody's
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def _unpickled(where: str) -> Any:
    import cloudpickle  # for functions that are in no file

    with Path(where).open("rb") as file:
        for folder in cloudpickle.load(file):
            if folder not in sys.path:
                sys.path.append(folder)
        return cloudpickle.load(file)


def _frameworks(found: Any) -> list[str]:
    """By what it inherits, then by what its module names; where neither says one, by what was imported for it."""
    while isinstance(found, functools.partial):
        found = found.func
    inherited = [one.__module__ for one in inspect.getmro(found if inspect.isclass(found) else type(found))]
    plain: Callable[..., Any] = inspect.unwrap(found) if callable(found) else found
    module = sys.modules.get(_home(plain))
    there = getattr(plain, "__globals__", None) or (vars(module) if module else {})
    named = [one.__name__ for one in list(there.values()) if inspect.ismodule(one)]
    roots = [name.partition(".")[0] for name in (*inherited, _home(plain), *named)]
    ranked = [ROOTS[root] for root in roots if root in ROOTS and root != "numpy"]
    ranked = ranked or [ROOTS[root] for root in ("torch", "tensorflow", "jax") if root in sys.modules]
    return list(dict.fromkeys([*ranked, "numpy"]))


def _home(found: Any) -> str:
    """The module in which it was made; nothing where it does not say."""
    home = getattr(found, "__module__", None)
    return home if isinstance(home, str) else ""


def _article(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
