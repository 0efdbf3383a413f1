"""Where a loss of one's own stands, so that another process finds it; what is in no file is pickled into one."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import cloudpickle

from lossbench.adapters.yours import PICKLED
from lossbench.errors import LossbenchError

IN_FILE = "put it at the top of a file, and say FILE.py:NAME"


def code(yours: object, folder: Path) -> str:
    """FILE.py:NAME or package.module:NAME of *yours*, a text or an object; *folder* gets what is in no file.

    Raises:
        LossbenchError: It is nothing to call, or no other process can have it.
    """
    if isinstance(yours, str):
        return _said(yours)
    if not callable(yours):
        raise LossbenchError(f"{yours!r} is a {type(yours).__name__}; expected a function, a class or where one stands")
    return _standing(yours) or _pickled(yours, folder)


def shown(code: str) -> str:
    """How people know what `code` gave."""
    where, _, name = code.rpartition(":")
    return name if where.endswith(PICKLED) else code


def _said(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LossbenchError(f"{text!r} is not UTF-8; expected another name of its file or folder") from None
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise LossbenchError(f"{text!r} names no code; expected FILE.py:NAME or package.module:NAME")
    if not where.endswith(".py"):
        return text
    if not Path(where).is_file():
        raise LossbenchError(f"{where}: no such file; expected FILE.py:NAME")
    return f"{Path(where).resolve()}:{name}"


def _standing(yours: object) -> str:
    """At the top of a module that was imported, under the same name; nothing where it is not."""
    module = sys.modules.get(str(getattr(yours, "__module__", "")))
    name = getattr(yours, "__qualname__", "") or getattr(yours, "__name__", "")
    # A script is not imported a second time, which would run all that it does; a notebook has no file.
    if module is None or module.__name__ == "__main__" or not isinstance(name, str) or not name.isidentifier():
        return ""
    file = inspect.getsourcefile(module) if hasattr(module, "__file__") else None
    if getattr(module, name, None) is not yours or not file or not Path(file).is_file():
        return ""
    return f"{Path(file).resolve()}:{name}"


def _pickled(yours: object, folder: Path) -> str:
    path = folder / f"yours{PICKLED}"
    try:
        kept = cloudpickle.dumps(yours)
    except Exception as error:  # whatever an object of others raises when it is to be pickled
        reason = str(error).partition("\n")[0]
        raise LossbenchError(f"{yours!r} cannot be sent to a process of its own ({reason}); {IN_FILE}") from None
    path.write_bytes(cloudpickle.dumps([one for one in sys.path if one]) + kept)
    name = getattr(yours, "__name__", "")
    return f"{path}:{name if isinstance(name, str) and name else type(yours).__name__}"
