"""Searches find what is wrong where nobody drew a point, prove it, and always find the same."""

import numpy as np
import pytest
from msgspec.structs import replace

from lossbench import conditioning, inputs, spec, worst
from lossbench.errors import LossbenchError
from lossbench.sweeps import search_excuses, search_moves
from lossbench.sweeps.search import CLASSES, covers, search
from lossbench.sweeps.search_space import Space, numbers, places, sizes_of, stepped, top
from lossbench.sweeps.seeds import SORTS, Seeds, random_of
from lossbench.ulp import FORMATS

EVERY = [loss for loss in spec.load_all() if covers(loss)]
FEW = 6000  # evaluations: three rounds
NEEDLE = np.float32(0.7234567)


def absolute(arrays, parameters):
    """The absolute error and its gradient, right to the last bit."""
    residual = arrays["y_pred"] - arrays["y_true"]
    return {"value": np.abs(residual), "gradient.y_pred": np.sign(residual)}


def off_between(low: float, high: float, by: float = 1 + 2.0**-12):
    """The same, but values between two numbers are off by a factor."""

    def ask(arrays, parameters):
        found = absolute(arrays, parameters)
        within = (found["value"] >= low) & (found["value"] < high)
        return found | {"value": np.where(within, found["value"] * np.float32(by), found["value"])}

    return ask


def space_of(loss, dtype: str = "float32") -> tuple[Space, Seeds]:
    sizes = sizes_of(loss, CLASSES)
    told = inputs.parameters_of(loss, {}, sizes)
    marks = tuple(int(told[name]) for name, one in loss.parameters.items() if one.kind == "label")
    space = Space(loss=loss, dtype=dtype, sizes=sizes, marks=marks)
    return space, Seeds(space, told, random_of(loss.name, 0))


@pytest.mark.parametrize("dtype", FORMATS)
def test_neighbours_are_one_place_apart(dtype):
    line = np.array([-top(dtype), -2, -1, 0, 1, 2, top(dtype) - 1, top(dtype)])

    assert np.array_equal(places(numbers(line, dtype), dtype), line)
    assert numbers(np.asarray(top(dtype)), dtype) == FORMATS[dtype].largest
    assert np.all(np.diff(numbers(line, dtype)) > 0)


@pytest.mark.parametrize("dtype", FORMATS)
def test_steps_end_at_the_largest_numbers(dtype):
    end = top(dtype)
    steps = np.array([1, -1, 2**61, -(2**61)]) if dtype == "float64" else np.array([1, -1, end, -end])

    assert stepped(np.array([end, -end, end, -end]), steps, dtype).tolist() == [end, -end, end, -end]
    assert stepped(np.array([5]), np.array([-7]), dtype).tolist() == [-2]


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.name)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_seeds_and_their_children_stay_in_the_domains(loss, dtype):
    space, seeds = space_of(loss, dtype)
    count = 2 * len(SORTS)
    points = seeds.draw(len(seeds.known) + count)
    moved = search_moves.children(space, points, random_of("moves", 0))

    for one in (points, moved):
        assert len(one) == len(seeds.known) + count
        for name, array in space.arrays(one).items():
            assert is_inside(space, loss.inputs[name], array), name


def is_inside(space: Space, one, array: np.ndarray) -> bool:
    if one.kind == "label":
        return one.domain == "id" or bool(np.isin(array, [*range(space.sizes[one.of] + 1), *space.marks]).all())
    near = 8 * 2.0 ** -FORMATS[space.dtype].precision
    rules = {
        "unit": lambda: (array >= 0) & (array <= 1),
        "positive": lambda: array > 0,
        "nonnegative": lambda: array >= 0,
        "nonzero": lambda: array != 0,
        "sign": lambda: np.abs(array) == 1,
        "binary": lambda: (array == 0) | (array == 1),
        "count": lambda: (array >= 0) & (array == np.rint(array)),
        "logarithm": lambda: array <= 10,
        "onehot": lambda: (array.sum(axis=-1) == 1) & (array.max(axis=-1) == 1),
        "simplex": lambda: np.abs(array.sum(axis=-1) - 1) <= near * array.shape[-1],
        "log_simplex": lambda: np.abs(np.exp(array).sum(axis=-1) - 1) <= 64 * near,
        "direction": lambda: np.abs((array**2).sum(axis=-1) - 1) <= near * array.shape[-1],
    }
    return bool(np.isfinite(array).all() and np.all(rules.get(one.domain, lambda: True)()))


def test_an_error_in_a_narrow_range_is_found_and_proved():
    loss = spec.load("absolute_error")
    found = search(loss, "float32", "torch", off_between(2.0**-40, 2.0**-39), evaluations=FEW)
    extreme = found.parts["value"].worst

    ulps = 2.0**-12 * 2**23
    at = {name: float.fromhex(text) for name, text in extreme.at.items()}
    exact = abs(at["y_pred"] - at["y_true"])
    assert 2.0**-40 * (1 - 2.0**-23) <= exact <= 2.0**-39
    assert ulps * 0.9 < extreme.ulps <= 2 * ulps
    assert extreme.ulps == abs(float.fromhex(extreme.got) - exact) / 2.0**-63


def test_climbing_finds_more_than_what_it_began_from():
    """An error that grows towards one number is followed to it."""

    def ask(arrays, parameters):
        found = absolute(arrays, parameters)
        away = np.abs(arrays["y_pred"].astype(np.float64) - 0.7234567) + 1e-7
        return found | {"value": found["value"] * (1 + 1e-6 / away).astype(np.float32)}

    loss = spec.load("absolute_error")
    errors = [
        search(loss, "float32", "torch", ask, evaluations=evaluations).parts["value"].conditioned.judged
        for evaluations in (1, 10 * FEW)
    ]

    assert errors[1] > 4 * errors[0]


def test_a_search_finds_the_same_from_the_same_seed_and_other_inputs_from_another():
    loss = spec.load("absolute_error")
    one, again, other = (
        search(loss, "float32", "torch", off_between(0.5, 1.0), evaluations=FEW, seed=seed) for seed in (3, 3, 4)
    )

    assert one == again
    assert one.parts["value"].histogram != other.parts["value"].histogram


def test_no_more_points_are_asked_than_a_round_beyond_what_is_allowed():
    asked = []

    def ask(arrays, parameters):
        asked.append(len(arrays["y_pred"]))
        return absolute(arrays, parameters)

    found = search(spec.load("absolute_error"), "float32", "torch", ask, evaluations=FEW)

    assert found.evaluations == sum(asked)
    assert len(set(asked)) == 1
    assert FEW <= sum(asked) < FEW + asked[0]


def test_a_search_begins_from_the_worst_inputs_that_are_kept(tmp_path):
    """A single input among 2**64 is found by nobody who does not know it."""

    def ask(arrays, parameters):
        found = absolute(arrays, parameters)
        hit = (arrays["y_pred"] == NEEDLE) & (arrays["y_true"] == 0)
        return found | {"value": np.where(hit, np.float32(2), found["value"])}

    path = tmp_path / "absolute_error.toml"
    path.write_text(spec.load("absolute_error").source, encoding="utf-8")
    loss = spec.load(path)
    before = search(loss, "float32", "torch", ask, evaluations=FEW).parts["value"].worst
    at = {"y_pred": float(NEEDLE).hex(), "y_true": "0x0p+0"}
    worst.write(loss, [replace(ENTRY, at=at)])
    after = search(loss, "float32", "torch", ask, evaluations=FEW).parts["value"].worst

    assert before.ulps <= 0.5
    assert after.ulps == (2 - float(NEEDLE)) / 2.0**-24


ENTRY = worst.Worst(
    dtype="float32",
    target="torch:eager:cpu",
    quantity="value",
    at={},
    ulps=1.0,
    conditioned=1.0,
    got="0x1p+0",
    exact="1.0",
    method="search, 1 evaluations, seed 0",
    found="torch 1.0",
)


def test_a_nan_is_shown_at_the_most_ordinary_input_that_has_it():
    def ask(arrays, parameters):
        found = absolute(arrays, parameters)
        return found | {"value": np.where(arrays["y_pred"] > 1e6, np.float32(np.nan), found["value"])}

    found = search(spec.load("absolute_error"), "float32", "torch", ask, evaluations=5 * FEW)
    example = found.parts["value"].examples["nan"]

    assert float.fromhex(example.at["y_pred"]) < 2e6
    assert found.parts["value"].worst.ulps <= 0.5  # the others are measured as if there were no nan


def test_what_a_spec_declares_is_no_error():
    """Keras clips probabilities: beyond 1e-7 its answer is declared, and only there."""
    loss = spec.load("binary_cross_entropy")

    def ask(arrays, parameters):
        p, y = np.clip(arrays["y_pred"].astype(np.float64), 1e-7, 1 - 1e-7), arrays["y_true"]
        with np.errstate(all="ignore"):
            value = -(y * np.log(p) + (1 - y) * np.log1p(-p))
            slope = (p - y) / (p * (1 - p))
        return {"value": value.astype(np.float32), "gradient.y_pred": slope.astype(np.float32)}

    excused, other = (
        search(loss, "float32", framework, ask, evaluations=FEW).parts["value"].conditioned.judged
        for framework in ("tensorflow", "jax")
    )

    assert excused < 1e3 < other


def test_a_row_of_zeros_of_any_length_stands_for_the_declared_one():
    loss = spec.load("dice")
    zeros, ones = np.zeros((1, 5), np.float32), np.ones((1, 5), np.float32)
    given = {"y_pred": zeros, "y_true": zeros, "smooth": np.zeros(())}

    assert search_excuses.conventional(loss, "torch", "float32", given).all()
    assert not search_excuses.conventional(loss, "torch", "float32", given | {"y_pred": ones}).any()


def test_the_wrong_side_of_a_kink_by_one_rounding_is_no_error():
    def ask(arrays, parameters):
        margin = np.float32(1) - arrays["y_pred"] * arrays["y_true"]
        margin = np.where(np.abs(margin) < 1e-7, np.float32(0), margin)  # of a hundred millionth nothing is left
        slope = np.where(margin > 0, -arrays["y_true"], 0)
        return {"value": np.maximum(margin, 0), "gradient.y_pred": slope}

    found = search(spec.load("hinge"), "float32", "torch", ask, evaluations=FEW)

    assert found.parts["gradient.y_pred"].worst.ulps <= 0.5


def test_means_that_are_kept_in_a_state_are_not_searched():
    with pytest.raises(LossbenchError, match="streaming_mean is kept in a state"):
        search(spec.load("streaming_mean"), "float32", "torch", absolute)


@pytest.mark.parametrize("name", ["sparse_softmax_cross_entropy", "ctc", "batch_dice"])
def test_rows_tables_and_batches_are_searched_too(name):
    """What float64 makes of the formula is right to about half an ulp of float32; a factor that spoils it is found."""
    loss = spec.load(name)

    def ask(arrays, parameters, by):
        told = inputs.parameters_of(loss, parameters, loss.lengths(arrays))
        found = conditioning.estimates(loss, {**arrays, **told})
        with np.errstate(over="ignore"):
            return {name: (one.number * by).astype(np.float32) for name, one in found.items()}

    right, wrong = (
        search(loss, "float32", "torch", lambda *given, by=by: ask(*given, by), evaluations=1).parts["value"]
        for by in (1.0, 1 + 2.0**-10)
    )

    assert right.conditioned.judged < 1
    assert wrong.worst.ulps > 2.0**12
