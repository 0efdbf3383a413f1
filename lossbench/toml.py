"""TOML files read as types; what is wrong in one is said with its file and line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from lossbench.errors import LossbenchError
from lossbench.lines import line_of, shown

Found = TypeVar("Found")


def read(path: Path, kind: type[Found], error: type[LossbenchError]) -> tuple[str, Found]:
    """The file's text, and what it says as a *kind*.

    Raises:
        error: The file cannot be read, is no TOML, or does not fit *kind*.
    """
    where = shown(path)
    try:
        raw = path.read_bytes()
        source = raw.decode("utf-8")
        return source, msgspec.convert(tomllib.loads(source), kind)
    except OSError as found:
        raise error(f"{where}: cannot be read ({found.strerror}); expected a TOML file") from None
    except UnicodeDecodeError as found:
        line = raw.count(b"\n", 0, found.start) + 1
        raise error(f"{where}:{line}: not UTF-8 text ({found.reason}); save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as found:
        named = re.search(r"line (\d+)", str(found))
        at = named[1] if named else max(1, len(source.splitlines()))
        raise error(f"{where}:{at}: not TOML: {found}") from None
    except RecursionError:
        raise error(f"{where}:1: brackets are nested too deeply") from None
    except msgspec.ValidationError as found:
        reason, _, key = str(found).partition(" - at `$")
        line, told = _explained(kind, source, reason, key.strip("`").lstrip("."))
        raise error(f"{where}:{line}: {told}") from None


def _explained(kind: Any, source: str, reason: str, key: str) -> tuple[int, str]:
    """The line that msgspec's *reason* is about, and the reason, with the words that would have been right."""
    line = line_of(source, key)
    at = f" (at {key})" if key else ""
    word = re.match(r"Invalid enum value '(.*)'", reason)
    if word:
        options = get_args(_type_at(kind, key))
        name = re.sub(r"\[[^\]]*\]", "", key).rpartition(".")[2]
        pattern = rf"""\b{re.escape(name)}\s*=.*["']{re.escape(word[1])}["']"""
        line = next((number for number, text in enumerate(source.splitlines(), 1) if re.search(pattern, text)), line)
        reason += f"; expected one of: {', '.join(sorted(options))}"
    unknown = re.match(r"Object contains unknown field `(.*)`", reason)
    if unknown:
        options = tuple(field.encode_name for field in msgspec.structs.fields(_type_at(kind, key)))
        line = line_of(source, f"{key}.{unknown[1]}" if key else unknown[1])
        reason += f"; expected one of: {', '.join(sorted(options))}"
    return line, f"{reason[:1].lower()}{reason[1:]}{at}"


def _type_at(kind: Any, key: str) -> Any:
    """The type of what stands at the dotted *key* of a table of type *kind*."""
    for part in re.findall(r"[^.\[\]]+|\[[^\]]*\]", key):
        if part.startswith("["):  # of a list, a tuple or a table of tables: that of its entries
            kind = next(one for one in reversed(get_args(kind)) if one is not ...)
        else:
            kind = next(field.type for field in msgspec.structs.fields(kind) if field.encode_name == part)
    return kind
