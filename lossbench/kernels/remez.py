"""The polynomials of the primitives, made by Remez's exchange: `python -m lossbench.kernels.remez` writes them again.

Source:
    E. Ya. Remez, Comptes Rendus 199 (1934); as in N. Brisebarre, J.-M. Muller, ACM TOMS 32 (2006), section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mpmath import (
    atanh,
    cos,
    cosh,
    exp,
    expm1,
    linspace,
    log,
    lu_solve,
    matrix,
    mp,
    mpf,
    nstr,
    pi,
    polyval,
    sqrt,
    tanh,
    taylor,
)

HERE = Path(__file__).parent / "polynomials.toml"
DEGREES = {
    "float32": {"expm1": 5, "exp": 4, "log": 2, "log1p": 3, "tail": 1, "log_cosh": 4, "tanh": 5},
    "float64": {"expm1": 10, "exp": 9, "log": 6, "log1p": 9, "tail": 5, "log_cosh": 11, "tanh": 12},
}
NEAR = mpf(3) / 4  # below it log(cosh(x)) and tanh(x) are polynomials
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
    half, little = log(mpf(2)) / 2 * _WIDER, mpf(10) ** -12
    rest_of_exp = _series(expm1, 2, 1)
    rest_of_tanh = _series(tanh, 3, 2)
    rest_of_log_cosh = _series(lambda x: log(cosh(x)), 4, 2)
    near = NEAR * _WIDER
    power = exp(-2 * NEAR) * _WIDER  # at most that of the tail
    return {
        # (expm1(r) - r)/r**2, so that the relative error is that of expm1, or else of exp.
        "expm1": (rest_of_exp, lambda r: abs(r**2 / expm1(r)), -half, half),
        "exp": (rest_of_exp, lambda r: r**2 / exp(r), -half * _WIDER, half),
        # (2*atanh(s) - 2*s)/s**3, a function of s**2, for log(1 + f) with s = f/(2 + f): f around 0, and from 0 to 1.
        "log": (_rest_of_atanh, _share_of_atanh, little, ((sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1)) ** 2 * _WIDER),
        "log1p": (_rest_of_atanh, _share_of_atanh, little, _WIDER / 9),
        # The same beside abs(x) - log(2), in log(cosh(x)) for large x.
        "tail": (_rest_of_atanh, lambda z: z * sqrt(z) / log(cosh(NEAR)), little, (power / (2 + power)) ** 2),
        # (log(cosh(x)) - h)/h**2, a function of h = x**2/2, and (tanh(x) - x)/x**3, one of x**2, for small x.
        "log_cosh": (
            lambda h: 4 * rest_of_log_cosh(2 * h),
            lambda h: h**2 / log(cosh(sqrt(2 * h))),
            little,
            near**2 / 2,
        ),
        "tanh": (rest_of_tanh, lambda u: u * sqrt(u) / tanh(sqrt(u)), little, near**2),
    }


def _series(function: Function, first: int, step: int) -> Function:
    """The function from its term of degree *first* on, over that power, as a function of x**step."""
    coefficients = taylor(function, 0, 60 * step)[first::step][::-1]
    return lambda x: polyval(coefficients, x)


def _rest_of_atanh(z: mpf) -> mpf:
    return polyval([mpf(2) / (2 * at + 3) for at in range(60)][::-1], z)


def _share_of_atanh(z: mpf) -> mpf:
    return z * sqrt(z) / (2 * atanh(sqrt(z)))


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
