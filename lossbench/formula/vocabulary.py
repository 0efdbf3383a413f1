"""The words of a generated module: what it may import of `lossbench.kernels`, and what no input may be called in it."""

from __future__ import annotations

import re

from lossbench.formula.node import SEQUENCES

WHOLE = ("threshold", *SEQUENCES)  # of whole rows and tables
_MODULES = {
    "primitives": (
        *("maximum", "minimum", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus"),
        *("sigmoid", "log_cosh", "log_ratio", "xlogy", "power", "power_slope", "exp_below", "exp_difference"),
        *("common_log", "common_xlogy", "uncommon", "inlined", "nan_of", "weighed"),
    ),
    "sums": (
        *("accumulated", "fused", "compensated", "completed", "squares", "root", "larger", "largest"),
        *("highest", "lowest", "rank_or_first", "rank_or_last", "ranked"),
    ),
    "sequences": WHOLE,
    "streams": (
        *("BLOCK", "LANES", "added", "address", "keep", "overlap", "put", "room"),
        *("SHORT", "STRETCH", "select", "streamed", "stretch", "taken", "together"),
    ),
    "team": ("distribute", "task"),
    "tiles": (
        *("AREA", "NARROW", "QUARTER", "REACH", "ROWS", "SEVERAL", "SPAN", "WINDOW"),
        *("clear", "entry", "fetch", "gather", "gathered", "nearby", "recalled", "remember", "short", "space"),
        *("store", "stored"),
    ),
}
_TAKEN = {
    *(name for names in _MODULES.values() for name in names),
    *("boolean", "integer", "natural", "real", "wide", "empty", "compiled", "within", "board"),
    *("weight", "weighted", "scale", "values", "write", "value", "value_and_gradient", "min", "range", "abs"),
    *("number", "classes", "size", "kept", "total", "loss", "factor", "block", "length", "sums", "first", "last"),
    *("begin", "end", "far", "part", "share", "extra", "parts", "known", "given", "divisor", "holds", "odd"),
    *("error", "terms", "count", "whole", "again", "start", "tile", "back", "new", "at", "fresh", "weights"),
    *("ahead", "line", "row"),
}


def imports(text: str) -> str:
    """The lines that import what *text* calls."""
    lines = []
    for module, names in _MODULES.items():
        used = sorted(name for name in names if re.search(rf"\b{name}\b", text))
        lines += [f"from lossbench.kernels.{module} import {', '.join(used)}\n"] if used else []
    return "".join(lines)


def identifier(name: str) -> str:
    """A name that means nothing else in the text."""
    taken = name in _TAKEN or re.fullmatch(r"[a-z]\d*|(gradient|length|row)_.*|[a-z]+_\d*", name)
    return f"{name}_" if taken else name
