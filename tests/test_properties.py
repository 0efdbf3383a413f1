"""What a spec's `properties` claim, proved wrong or not by certified values at drawn points."""

from collections.abc import Iterator

import numpy as np
import pytest
from shapes import draws, shape

from lossbench import inputs, spec
from lossbench.loss import Loss
from lossbench.records import Case

POINTS = 60
CLASSES = 4
SLACK = 2.0**-90  # the pair of doubles of a certified value holds about 106 bits


def claiming(name: str) -> list[Loss]:
    return [loss for loss in spec.load_all() if getattr(loss.properties, name)]


def drawn(loss: Loss, index: int = 0) -> dict[str, np.ndarray]:
    """Arrays of the loss's domain, moved to a grid on which sums and halves are exact."""
    at = shape(loss, POINTS, CLASSES)
    case = Case(loss=loss.name, digest=loss.digest, dtype="float64", points="domain", shape=at, index=index)
    arrays = inputs.draw(loss, case).arrays
    return {name: _on_grid(array, loss.inputs[name].domain) for name, array in arrays.items()}


def every(loss: Loss) -> Iterator[dict[str, np.ndarray]]:
    """All draws."""
    for index in draws(loss):
        yield drawn(loss, index)


def _on_grid(array: np.ndarray, domain: str) -> np.ndarray:
    if domain not in ("real", "unit", "nonnegative", "positive", "nonzero", "log_simplex"):
        return array
    grid = np.round(np.clip(array, -64, 64) * 2**20) / 2**20
    if grid.ndim > 1:
        grid[~grid.any(axis=-1), 0] = 1  # a row of zeros has no direction
    return np.where(grid == 0, 2.0**-20, grid) if domain in ("positive", "nonzero") else grid


def values(loss: Loss, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """High and low parts of the certified losses at the default parameters."""
    certified = inputs.problem(loss, arrays, dtype="float64", reduction="none").certified(gradient=False)
    return certified.value.high, certified.value.low


def assert_equal(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> None:
    """Equal beyond doubt: to about 90 bits, infinities and nans in the same places."""
    np.testing.assert_array_equal(np.isnan(a[0]), np.isnan(b[0]))
    finite = np.isfinite(a[0]) & np.isfinite(b[0])
    np.testing.assert_array_equal(a[0][~finite], b[0][~finite])
    gap = np.abs((a[0][finite] - b[0][finite]) + (a[1][finite] - b[1][finite]))
    assert np.all(gap <= SLACK * np.abs(a[0][finite]) + 1e-300)


@pytest.mark.parametrize("loss", claiming("nonnegative"), ids=lambda loss: loss.name)
def test_nonnegative(loss):
    for arrays in every(loss):
        assert not np.any(values(loss, arrays)[0] < 0)


@pytest.mark.parametrize("loss", claiming("even"), ids=lambda loss: loss.name)
def test_even(loss):
    for arrays in every(loss):
        assert_equal(values(loss, arrays), values(loss, {name: -array for name, array in arrays.items()}))


@pytest.mark.parametrize("loss", claiming("symmetric"), ids=lambda loss: loss.name)
def test_symmetric(loss):
    first, second = [name for name, one in loss.inputs.items() if one.kind != "label"][:2]

    for arrays in every(loss):
        assert_equal(values(loss, arrays), values(loss, arrays | {first: arrays[second], second: arrays[first]}))


@pytest.mark.parametrize("loss", claiming("zero_at_fit"), ids=lambda loss: loss.name)
def test_zero_at_fit(loss):
    prediction = loss.formula.differentiated[0]
    target = next(name for name in loss.inputs if name not in loss.formula.differentiated[:1])

    for arrays in every(loss):
        high, low = values(loss, arrays | {prediction: arrays[target]})
        assert np.all(high + low == 0)


@pytest.mark.parametrize("loss", claiming("shift_invariant"), ids=lambda loss: loss.name)
def test_shift_invariant(loss):
    prediction = loss.formula.differentiated[0]

    for arrays in every(loss):
        assert_equal(values(loss, arrays), values(loss, arrays | {prediction: arrays[prediction] + 0.25}))


@pytest.mark.parametrize("loss", claiming("scale_invariant"), ids=lambda loss: loss.name)
def test_scale_invariant(loss):
    prediction = loss.formula.differentiated[0]

    for arrays in every(loss):
        assert_equal(values(loss, arrays), values(loss, arrays | {prediction: arrays[prediction] * 4}))


@pytest.mark.parametrize("loss", claiming("convex"), ids=lambda loss: loss.name)
def test_convex(loss):
    """Half way between two points the loss is at most the mean of theirs."""
    compared = 0
    for index in draws(loss):
        one, other = drawn(loss, index), drawn(loss, index + 1)
        fixed = {name: array for name, array in one.items() if name not in loss.formula.differentiated}
        ends = [values(loss, arrays | fixed) for arrays in (one, other)]
        middle = values(loss, {name: (one[name] + other[name]) / 2 for name in loss.formula.differentiated} | fixed)
        with np.errstate(invalid="ignore"):
            excess = (middle[0] - (ends[0][0] + ends[1][0]) / 2) + (middle[1] - (ends[0][1] + ends[1][1]) / 2)
        finite = np.isfinite(ends[0][0]) & np.isfinite(ends[1][0])
        scale = np.abs(ends[0][0][finite]) + np.abs(ends[1][0][finite])
        assert np.all(excess[finite] <= 2.0**-50 * scale)
        compared += finite.sum()

    assert compared


def test_every_property_is_claimed_by_some_loss_and_so_tested():
    assert all(claiming(name) for name in ("convex", "even", "nonnegative", "symmetric", "zero_at_fit"))
    assert claiming("shift_invariant")
    assert claiming("scale_invariant")
