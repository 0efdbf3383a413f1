"""Each float32 primitive at all 2**32 inputs: `python -m lossbench.kernels.exhaustive [NAME...]` writes `ulps.toml`.

Beside them stands the same primitive in float64, wrong by some 2**-27 ulps of float32 (`tests/test_primitives.py`
holds it against mpmath); at the worst inputs mpmath itself decides, so that what the file says of these is certain.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import mpmath
import numba
import numpy as np

from lossbench.kernels import primitives

HERE = Path(__file__).parent / "ulps.toml"
EVERY = 2**32
_CHUNK = 2**16
_DIGITS = 60
_LIMITS = (0.5, 1.0, 1.5, 2.0)  # ulps

Array = np.ndarray


PRIMITIVES = ("exp", "expm1", "log", "log1p", "softplus", "sigmoid", "log_cosh", "tanh", "sinh", "cosh")
_EXACT: dict[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    **{name: getattr(mpmath, name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sinh", "cosh")},
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "log_cosh": lambda x: mpmath.log1p(2 * mpmath.sinh(x / 2) ** 2),
}


def compared(name: str, x: Array) -> tuple[Array, Array]:
    """The ulps by which the primitive is wrong at each of *x*, float32; infinite where an infinity, a zero or nan is
    not what it should be. And what it gives."""
    got, errors = np.empty_like(x), np.empty_like(x)
    _compared(name)(x, got, errors)
    return errors, got


def ulps_exactly(name: str, x: float, got: float) -> float:
    """The same at one number where the function is finite and not zero, with no error."""
    with mpmath.workdps(_DIGITS):
        exact = _EXACT[name](mpmath.mpf(x))
        exponent = max(int(mpmath.floor(mpmath.log(abs(exact), 2))), -126)
        return float(abs(mpmath.mpf(got) - exact) * mpmath.mpf(2) ** (23 - exponent))


def measured(name: str, patterns: range = range(EVERY)) -> dict[str, object]:
    """The row of the file: the worst input and its ulps, how many inputs are how good, and how many plainly wrong."""
    worst, at = -1.0, np.float32(0)
    within = np.zeros(len(_LIMITS), np.int64)
    for start in range(patterns.start, patterns.stop, _CHUNK):
        x = np.arange(start, min(start + _CHUNK, patterns.stop), dtype=np.uint32).view(np.float32)
        errors, _ = compared(name, x)
        within += [np.count_nonzero(errors <= limit) for limit in _LIMITS]
        top = int(errors.argmax())
        most = float(errors[top])
        if most == np.inf:
            raise ArithmeticError(f"{name}({x[top]}) is of another kind than it should be")
        if most > worst:
            worst, at = most, x[top]
    _, (got,) = compared(name, np.array([at]))
    return {
        "worst": round(ulps_exactly(name, float(at), float(got)), 4),
        "at": float(at).hex(),
        **{f"beyond {limit}": len(patterns) - int(good) for limit, good in zip(_LIMITS, within, strict=True)},
    }


@cache
def _compared(name: str) -> Callable[[Array, Array, Array], None]:
    function = getattr(primitives, name)

    @numba.njit(error_model="numpy")
    def compare(x, got, errors):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            got[i] = function(x[i])
            exact = function(np.float64(x[i]))
            nearest = np.float32(exact)
            exponent = np.maximum((np.float64(exact).view(np.int64) >> 52 & 0x7FF) - 1023, -126)
            error = abs(np.float64(got[i]) - exact) * np.int64((1023 + 23 - exponent) << 52).view(np.float64)
            bits, expected = np.float32(got[i]).view(np.int32), np.float32(nearest).view(np.int32)
            usual = abs(nearest) < np.inf and nearest != 0 and abs(got[i]) < np.inf
            same = bits == expected or (got[i] != got[i] and nearest != nearest)
            errors[i] = error if usual else (0.0 if same else np.inf)

    return compare  # type: ignore[no-any-return]


def main(names: list[str]) -> None:
    """Measure these primitives, or all, and write the file."""
    rows = tomllib.loads(HERE.read_text(encoding="utf-8")) if HERE.exists() else {}
    for name in names or PRIMITIVES:
        rows[name] = measured(name)
        lines = [
            "# Written by `python -m lossbench.kernels.exhaustive`; an edit is lost. Ulps of float32, of all inputs."
        ]
        for one, row in rows.items():
            lines += ["", f"[{one}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in row.items())]
        HERE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
