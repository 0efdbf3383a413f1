import json
import os
import subprocess
import sys
import tomllib

import mpmath
import numba
import numpy as np
import pytest

from lossbench.kernels import exhaustive, primitives, remez

ROWS = tomllib.loads(exhaustive.HERE.read_text(encoding="utf-8"))
INF, NAN = np.inf, np.nan


def applied(name, *columns):
    """The primitive at each row of *columns*, arrays of one dtype."""
    function = getattr(primitives, name)
    result = np.empty_like(columns[0])
    if len(columns) == 1:

        @numba.njit(error_model="numpy")
        def apply(result, x):
            for i in range(result.size):
                result[i] = function(x[i])
    else:

        @numba.njit(error_model="numpy")
        def apply(result, x, y):
            for i in range(result.size):
                result[i] = function(x[i], y[i])

    apply(result, *columns)
    return result


def test_the_table_has_every_primitive():
    assert set(ROWS) == set(exhaustive.PRIMITIVES)


@pytest.mark.parametrize("name", ROWS)
def test_the_worst_input_is_as_bad_as_the_table_says(name):
    at = np.array([float.fromhex(ROWS[name]["at"])], np.float32)

    _, (got,) = exhaustive.compared(name, at)

    assert exhaustive.ulps_exactly(name, float(at[0]), float(got)) == pytest.approx(ROWS[name]["worst"], abs=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_no_input_of_a_random_million_is_worse(name):
    x = np.random.default_rng(0).integers(2**32, size=10**6, dtype=np.uint32).view(np.float32)

    errors, _ = exhaustive.compared(name, x)

    assert errors.max() <= ROWS[name]["worst"] + 1e-4


@pytest.mark.parametrize("name", ROWS)
def test_float64_is_right_to_three_ulps(name):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=150), rng.normal(size=100) * 100, 2.0 ** rng.uniform(-1000, 0, 50)])
    x = abs(x) if name in ("log", "log1p") else x
    exact = exhaustive._EXACT[name]

    for one, got in zip(x.tolist(), applied(name, x).tolist(), strict=True):
        with mpmath.workdps(400):
            right = exact(mpmath.mpf(one))
            assert abs(mpmath.mpf(got) - right) <= 3 * mpmath.mpf(float(np.spacing(abs(float(right)))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "ends"),
    {
        "exp": {-INF: 0, INF: INF, 0.0: 1, 1e4: INF, -1e4: 0},
        "expm1": {-INF: -1, INF: INF, 0.0: 0, -1e4: -1, 1e-30: 1e-30},
        "log": {-0.0: -INF, INF: INF, -1.0: NAN, -INF: NAN, 1.0: 0},
        "log1p": {-1.0: -INF, INF: INF, -2.0: NAN, -INF: NAN, 0.0: 0, 1e-30: 1e-30},
        "softplus": {-INF: 0, INF: INF, -1e4: 0, 1e30: 1e30},
        "sigmoid": {-INF: 0, INF: 1, 0.0: 0.5, -1e4: 0, 1e30: 1},
        "log_cosh": {-INF: INF, INF: INF, 0.0: 0, -1e30: 1e30},
        "tanh": {-INF: -1, INF: 1, 0.0: 0, 1e-30: 1e-30, 50.0: 1},
        "sinh": {-INF: -INF, INF: INF, 0.0: 0, 1e-30: 1e-30},
        "cosh": {-INF: INF, INF: INF, 0.0: 1},
        "sqrt": {0.0: 0, INF: INF, -1.0: NAN, 4.0: 2},
    }.items(),
)
def test_the_ends_are_exact_and_nan_stays(name, ends, dtype):
    x = np.array([*ends, NAN], dtype)

    np.testing.assert_array_equal(applied(name, x), np.array([*ends.values(), NAN], dtype))


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sinh"])
def test_a_negative_zero_keeps_its_sign(name):
    assert np.signbit(applied(name, np.array([-0.0], np.float32)))[0]


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sinh"])
def test_what_is_tiny_is_its_own_function(name):
    tiny = np.array([2.0**-149, -(2.0**-140), 2.0**-126], np.float32)

    np.testing.assert_array_equal(applied(name, tiny), tiny)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logarithm_of_a_small_number_s_cosine_is_half_its_square(dtype):
    x = np.array([2.0**-12, -(2.0**-30), 3 * 2.0**-40], dtype)

    exact = x * x / 2 * (1 - x * x / 6)
    np.testing.assert_allclose(applied("log_cosh", x), exact, rtol=2 * np.finfo(dtype).eps)


def test_powers_in_float32_are_right_to_one_ulp():
    rng = np.random.default_rng(2)
    a, b = rng.uniform(0, 20, 300).astype(np.float32), rng.normal(size=300).astype(np.float32) * 10
    exact = np.power(a.astype(np.longdouble), b.astype(np.longdouble))

    errors = abs(applied("power", a, b) - exact) / np.spacing(exact.astype(np.float32))

    assert errors.max() <= 0.501


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        *((0, 2, 0), (0, -1, INF), (-2, 3, -8), (-2, 2, 4), (-2, 0.5, NAN), (NAN, 0, 1), (NAN, 1, NAN)),
        *((2, NAN, NAN), (INF, 2, INF), (INF, -2, 0), (-INF, 3, -INF), (5, 0, 1)),
    ],
)
def test_powers_at_their_ends(a, b, expected, dtype):
    assert np.array_equal(applied("power", *np.array([[a], [b]], dtype)), [expected], equal_nan=True)


def test_the_difference_of_an_exponential_keeps_what_its_rounding_takes():
    a, b = np.array([1.0, -INF, 3e38], np.float32), np.array([30.0000019, 0, -3e38], np.float32)

    got = applied("exp_difference", a, b)

    assert got[0] == np.float32(np.exp(np.float64(a[0]) - np.float64(b[0])))
    assert list(got[1:]) == [0, INF]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("apart", [1e-3, 0.3, 1.0, 80.0])
def test_the_logarithm_of_a_ratio_is_right_to_two_ulps_near_and_far(dtype, apart):
    rng = np.random.default_rng(4)
    a = np.exp(rng.uniform(-80, 80, 400)).astype(dtype)
    b = a * np.exp(rng.uniform(-apart, apart, 400))
    b = np.clip(b, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max).astype(dtype)
    with mpmath.workdps(50):
        exact = np.array([mpmath.log(mpmath.mpf(float(x)) / mpmath.mpf(float(y))) for x, y in zip(a, b, strict=True)])

    got = applied("log_ratio", a, b)

    errors = [abs(float(mpmath.mpf(float(x)) - y)) for x, y in zip(got, exact, strict=True)]
    assert np.all(np.array(errors) <= 2 * np.spacing(np.abs(exact.astype(dtype))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logarithm_of_a_ratio_is_that_of_its_limits_at_the_ends(dtype):
    a = np.array([0, 1, 1, INF, 0, INF, -1, -1, NAN, 1, 1], dtype)
    b = np.array([1, 0, INF, 1, 0, INF, 1, -1, 1, NAN, 1], dtype)

    got = applied("log_ratio", a, b)

    np.testing.assert_array_equal(got, np.array([-INF, INF, -INF, INF, NAN, NAN, NAN, NAN, NAN, NAN, 0], dtype))


def test_the_polynomials_are_what_remez_finds():
    stored = tomllib.loads(remez.HERE.read_text(encoding="utf-8"))["float32"]["exp"]

    with mpmath.workdps(60):
        found, error = remez.minimax(*remez.wanted()["exp"], remez.DEGREES["float32"]["exp"])

    np.testing.assert_allclose([float(one) for one in found], stored["coefficients"], rtol=1e-9)
    assert 2.0**-28.3 < error < 2.0**-28.2


def test_a_machine_without_fused_products_gets_other_instructions():
    code = """
import json, numpy as np
from lossbench.kernels import exhaustive
x = np.random.default_rng(0).integers(2**32, size=10**5, dtype=np.uint32).view(np.float32)
print(json.dumps({name: float(exhaustive.compared(name, x)[0].max()) for name in exhaustive.PRIMITIVES}))
"""
    plain = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}

    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)

    worst = json.loads(done.stdout)
    assert all(worst[name] <= 2 * ROWS[name]["worst"] for name in worst), worst
