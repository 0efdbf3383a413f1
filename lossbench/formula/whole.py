"""A whole batch as one point: losses that look at several of its entries, certified together."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from lossbench.formula import Formula
from lossbench.formula.batch import rational
from lossbench.formula.enclosure import Certified, enclosure, five, hull, named
from lossbench.formula.extended import NAN, ONE, Number, div, mean
from lossbench.formula.point import Solved, solve
from lossbench.formula.tables import point, table


def certified(
    formula: Formula,
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, float | int | np.ndarray],
    reduction: str,
    sample_weight: np.ndarray | None,
    gradient: bool,
) -> Certified:
    """As `oracle.certify`."""
    variables = formula.variables
    pooled = not formula.definition.axes
    known = {
        name: Fraction(float(value))
        for name, value in parameters.items()
        if formula.names[name] == "real" and np.isfinite(value)
    }
    given = {name: np.asarray(array) for name, array in {**arrays, **parameters}.items() if name not in known}
    labels = {name: array for name, array in given.items() if variables[name].type == "label"}
    numbers = {name: array for name, array in given.items() if name not in labels}
    weight = None if pooled or sample_weight is None else np.asarray(sample_weight, np.float64)
    shapes = {name: array.shape for name, array in numbers.items()}
    whole = table(formula, labels, shapes, known, weight, summed=pooled or reduction != "none")
    at = point(numbers | ({} if weight is None else {"sample_weight": weight}))
    divisor: Number = ONE
    if reduction == "mean" and not pooled:
        divisor = rational(solve(whole.divisor, at, 0, lambda found: found, with_gradient=False).value)
    factor = NAN if divisor == 0 else div(ONE, divisor)

    def divided(found: Solved) -> Solved:
        if divisor is ONE:
            return found
        values = tuple(mean(value, divisor) for value in found.values)
        return Solved(values, found.scaled(ONE, factor).sides)

    solved = solve(whole.program, at, 0, divided, with_gradient=gradient)
    alone = pooled or reduction != "none"
    values = np.array([five([value]) for value in solved.values]).reshape(-1, 5).T
    slopes = {name: shapes[name] for name in formula.differentiated}
    vertices: dict[str, dict[int, np.ndarray]] = {name: {} for name in slopes}
    if len(solved.sides) > 1:
        vertices = {name: {0: one} for name, one in named(hull(solved.sides), slopes)}
    sides = np.array([five(each) for each in zip(*solved.sides, strict=True)]).reshape(-1, 5).T
    return Certified(
        value=enclosure(values[:, 0] if alone else values),
        gradient={name: enclosure(one) for name, one in named(sides, slopes)} if gradient else {},
        vertices=vertices,
    )
