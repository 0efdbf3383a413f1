"""The numbers that exp, log and what is made of them are computed with, in either format."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lossbench.kernels.machine import Format

_LN2 = 0xB17217F7D1CF79ABC9E3B39803F2F6AF  # times 2**-128
_POLYNOMIALS = tomllib.loads((Path(__file__).parent / "polynomials.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Coefficients:
    """Numbers that depend on the format.

    Attributes:
        high, low: ln 2 in two parts, of which the first times a whole number is exact.
        magic: Added to a number it leaves a whole number in the last bits.
        more: So many powers of two above the least number all powers that are not 0 are normal.
        largest, least: Beyond these exp is infinite, and 0.
        most: Beyond it sinh and cosh are infinite.
        nothing: Below it expm1 is -1.
        none: Beyond it exp(-2*x) is nothing beside x.
        tiny: Below it x is the nearest number to expm1(x) and log1p(x).
        sinh: Coefficients; those of the others are in `polynomials`.
    """

    high: float
    low: float
    magic: float
    more: int
    largest: float
    most: float
    least: float
    nothing: float
    none: float
    tiny: float
    sinh: list[float]
    polynomials: dict[str, list[float]]


@cache
def coefficients(format_: Format) -> Coefficients:
    single = format_.name == "float32"
    kept = 128 - (15 if single else 40)
    high = _LN2 >> kept << kept
    return Coefficients(
        high=high / 2**128,
        low=(_LN2 - high) / 2**128,
        magic=1.5 * 2**format_.fraction,
        more=format_.fraction + 2,
        largest=89.0 if single else 710.0,
        most=89.6 if single else 710.6,
        least=-104.0 if single else -746.0,
        nothing=-20.0 if single else -40.0,
        none=40.0 if single else 340.0,
        tiny=2.0**-100 if single else 2.0**-1000,
        sinh=[1 / math.factorial(2 * at + 3) for at in range(5 if single else 9)],  # Taylor's, for abs(x) < 1
        polynomials={name: row["coefficients"] for name, row in _POLYNOMIALS[format_.name].items()},
    )
