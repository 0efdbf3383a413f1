"""Rows of float32 numbers computed in float64 where a spec says that its definition keeps their digits there."""

from dataclasses import replace

import numpy as np
import pytest

from lossbench import spec
from lossbench.adapters.numba import kernel, signature_of
from lossbench.errors import SpecError
from lossbench.formula import oracle
from lossbench.formula.kernel import source
from lossbench.kernels import compile as compilation
from lossbench.kernels.call import Kernel
from lossbench.kernels.tiles import NARROW

WIDE = [loss for loss in map(spec.load, spec.names()) if loss.formula.wide is not None]
PAIRS, TRIPLETS = (
    [loss for loss in WIDE if sum(one.kind == "row" for one in loss.inputs.values()) == count] for count in (2, 3)
)
VECTORS = [*PAIRS, *TRIPLETS]
CLASSES = NARROW + 5


def defaults_of(loss):
    return {name: float(spec.exact(one.default)) for name, one in loss.parameters.items()}


def each(loss, given, **options):
    value, gradient = kernel(loss.name, gradient=True, reduction="none")(**given, **options)
    return [value, *(gradient.values() if isinstance(gradient, dict) else [gradient])]


def carefully(loss, given):
    """What the kernel form alone gives."""
    formula, signature = replace(loss.formula, wide=None), signature_of(loss)
    careful = Kernel(
        name=loss.name,
        module=compilation.load("careful", source(formula, signature, "float32")),
        dtype=np.dtype(np.float32),
        reduction="none",
        gradient=True,
        inputs=signature.inputs,
        parameters=signature.parameters,
        defaults=defaults_of(loss),
        differentiated=signature.differentiated,
        count=1.0,
    )
    value, gradient = careful(**given)
    return [value, *(gradient.values() if isinstance(gradient, dict) else [gradient])]


def given_of(loss, *vectors):
    """Arrays of rows, and 1 for every other input."""
    arrays = iter(vectors)
    one = np.ones(len(vectors[0]), np.float32)
    return {name: next(arrays).astype(np.float32) if of.kind == "row" else one for name, of in loss.inputs.items()}


def random_rows(count=8, classes=CLASSES):
    draw = np.random.default_rng(5).standard_normal((3, count, classes))
    return draw.astype(np.float32)


@pytest.mark.parametrize("classes", [7, CLASSES])
@pytest.mark.parametrize("loss", VECTORS, ids=lambda loss: loss.name)
def test_rows_are_rounded_once(loss, classes):
    given = given_of(loss, *random_rows(40, classes))
    exact = oracle.certify(loss.formula, given, defaults_of(loss))

    results = each(loss, given)

    for got, of in zip(results, [exact.value, *exact.gradient.values()], strict=True):
        ulp = np.spacing(np.abs(of.high).astype(np.float32))
        assert np.all(np.abs(got - of.high.reshape(got.shape)) <= 0.51 * ulp.reshape(got.shape))


def failing_rows(classes=CLASSES):
    """Pairs of rows for which the definition in float64 is not right, or nothing is."""
    a, b, _ = random_rows(classes=classes)
    a[0] = b[0]
    a[1] = -2 * b[1]
    a[2] = np.nextafter(b[2], np.float32(9))
    a[3, 5] = b[3, 5] = 2.0**20
    a[4] = 0
    b[5] = 0
    a[6, 0] = np.inf
    b[7, 0] = np.nan
    return a, b


def failing_triplets(classes=CLASSES):
    """The same for rows of an anchor, a positive and a negative one."""
    a, b, c = random_rows(classes=classes)
    a[0] = b[0] = c[0]
    a[1] = b[1] = c[1] = 0
    c[1, 0] = np.nextafter(np.float32(1), np.float32(2))
    a[2, 0] = np.inf
    b[3, 0] = np.nan
    a[4] = b[4] = c[4] = 0
    a[4, :2], b[4, 2], c[4, 3] = 1, 2.0**-12, 2.0**-12
    b[5], c[5] = 0, np.inf
    a[6], b[6] = 0, np.nan
    a[7], b[7], c[7] = np.nan, 0, 0
    return a, b, c


@pytest.mark.parametrize("classes", [7, CLASSES])
@pytest.mark.parametrize("loss", VECTORS, ids=lambda loss: loss.name)
def test_rows_where_float64_does_not_hold_are_what_the_kernel_form_gives(loss, classes):
    rows = failing_triplets if loss in TRIPLETS else failing_rows
    given = given_of(loss, *rows(classes))

    for got, expected in zip(each(loss, given), carefully(loss, given), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("loss", PAIRS, ids=lambda loss: loss.name)
def test_a_long_row_does_not_depend_on_those_beside_it(loss):
    failing, plain = failing_rows(), random_rows()[:2]
    mixed = [np.stack(pair, 1).reshape(-1, CLASSES) for pair in zip(failing, plain, strict=True)]

    together = each(loss, given_of(loss, *mixed))
    apart = [each(loss, given_of(loss, *rows)) for rows in (failing, plain)]

    for got, *parts in zip(together, *apart, strict=True):
        np.testing.assert_array_equal(got, np.stack(parts, 1).reshape(got.shape))


@pytest.mark.parametrize("loss", VECTORS, ids=lambda loss: loss.name)
def test_a_weight_of_zero_leaves_nothing(loss):
    given = given_of(loss, *random_rows())

    for got in each(loss, given, sample_weight=np.zeros(8)):
        assert not got.any()


def test_vectors_at_the_margin_have_no_gradient():
    a, b = np.zeros((2, 1, CLASSES))
    a[0, :9], b[0, 9:] = 1, 1

    _, gradient = kernel("cosine_embedding", gradient=True)(x1=a, x2=b, y_true=-np.ones(1), margin=0.0)

    assert not gradient["x1"].any()
    assert not gradient["x2"].any()


def test_a_condition_must_be_one(tmp_path):
    path = tmp_path / "cosine_distance.toml"
    sound = spec.load("cosine_distance").source
    path.write_text(sound.replace("abs(cosine) < nearest and", "nearest +").replace("sum(y_pred**4) <", "", 1))

    with pytest.raises(SpecError, match="expected a condition on each row"):
        spec.load(path)


@pytest.mark.parametrize("classes", [7, CLASSES])
def test_a_label_s_logarithm_is_rounded_once(classes):
    rng = np.random.default_rng(8)
    rows = rng.dirichlet(np.ones(classes), 40).astype(np.float32)
    labels = rng.integers(0, classes, 40)
    rows[0, labels[0]], labels[1] = 2**20, -100  # nearly all of the row, and none that counts
    loss = spec.load("sparse_categorical_cross_entropy")

    value, gradient = each(loss, {"y_pred": rows, "y_true": labels})

    exact = rows.astype(np.longdouble)
    at = np.arange(40), np.maximum(labels, 0)
    total, right = exact.sum(1), exact[at]
    counted = labels >= 0
    expected = np.where(counted, np.log1p((total - right) / right), 0)
    slope = 1 / total[:, None] - (np.arange(classes) == labels[:, None]) / exact
    slope[at] = -(total - right) / right / total
    slope[1] = 0
    far = np.abs(value - expected) / np.spacing(np.abs(expected).astype(np.float32))
    assert far[0] < 2
    assert far[1:].max() < 0.51
    far = np.abs(gradient - slope) / np.spacing(np.abs(slope).astype(np.float32))
    assert far[1:].max() < 0.51
    assert far[0].max() < 2
