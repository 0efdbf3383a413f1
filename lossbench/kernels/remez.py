"""The polynomials of the primitives, made by Remez's exchange: `python -m lossbench.kernels.remez` writes them again.

Source:
    E. Ya. Remez, Comptes Rendus 199 (1934); as in N. Brisebarre, J.-M. Muller, ACM TOMS 32 (2006), section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mpmath import cos, expm1, linspace, log, log1p, lu_solve, matrix, mp, mpf, nstr, pi, polyval, sqrt, taylor

HERE = Path(__file__).parent / "polynomials.toml"
DEGREES = {"float32": {"exp": 5, "log": 8}, "float64": {"exp": 10, "log": 19}}
_ROUNDS = 8  # of the exchange; it converges quadratically
_WIDER = mpf("1.001")  # the reduced argument may be rounded to beyond its interval
Function = Callable[[mpf], mpf]


def minimax(function: Function, weight: Function, low: mpf, high: mpf, degree: int) -> tuple[list[mpf], mpf]:
    """The coefficients, that of the constant first, of the polynomial whose largest weighted error is least; and it."""
    count = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    grid = [middle - half * cos(pi * at) for at in linspace(0, 1, 32 * count + 2)]
    points = [middle - half * cos(pi * (at + mpf(1) / 2) / count) for at in range(count)]
    for _ in range(_ROUNDS):
        rows = [
            [((x - middle) / half) ** power for power in range(degree + 1)] + [(-1) ** at / weight(x)]
            for at, x in enumerate(points)
        ]
        *scaled, _level = lu_solve(matrix(rows), matrix([function(x) for x in points]))
        errors = [weight(x) * (polyval(scaled[::-1], (x - middle) / half) - function(x)) for x in grid]
        points = [grid[at] for at in _alternating(errors, count)]
    # From powers of (x - middle)/half to powers of x.
    coefficients = taylor(lambda x: polyval(scaled[::-1], (x - middle) / half), 0, degree)
    return coefficients, max(map(abs, errors))


def _alternating(errors: list[mpf], count: int) -> list[int]:
    """Where the largest errors of alternating sign are."""
    found: list[int] = []
    for at, error in enumerate(errors):
        if found and errors[found[-1]] * error > 0:
            if abs(error) > abs(errors[found[-1]]):
                found[-1] = at
        else:
            found.append(at)
    while len(found) > count:
        found.pop(0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1)
    return found


def wanted() -> dict[str, tuple[Function, Function, mpf, mpf]]:
    """By name: the function, the weight of its error, and the interval."""
    half = log(mpf(2)) / 2 * _WIDER
    series = taylor(expm1, 0, 40)[2:][::-1]
    return {
        # (expm1(r) - r)/r**2, so that the relative error is that of expm1, and of exp as well.
        "exp": (lambda r: polyval(series, r), lambda r: abs(r**2 / expm1(r)), -half, half),
        # (log1p(f) - f + f**2/2)/f**3
        "log": (
            lambda f: (log1p(f) - f + f * f / 2) / f**3,
            lambda f: abs(f**3 / log1p(f)),
            (sqrt(mpf(1) / 2) - 1) * _WIDER,
            (sqrt(mpf(2)) - 1) * _WIDER,
        ),
    }


def text() -> str:
    """The file: the coefficients, and what they leave of the relative error."""
    lines = ["# Written by `python -m lossbench.kernels.remez`; an edit is lost. Constants first."]
    for dtype, degrees in DEGREES.items():
        for name, degree in degrees.items():
            coefficients, error = minimax(*wanted()[name], degree)
            lines += ["", f"[{dtype}.{name}]", f'error = "2**{nstr(log(error, 2), 4)}"', "coefficients = ["]
            lines += [f"    {nstr(one, 25)}," for one in coefficients]
            lines += ["]"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with mp.workdps(60):
        HERE.write_text(text(), encoding="utf-8")
