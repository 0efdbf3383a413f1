"""The frameworks' own losses are not accused by a check, whatever their arguments are called and default to."""

import ast

import pytest

import lossbench
from lossbench import callables, spec
from lossbench.errors import LossbenchError

OTHERS = {  # what a callable is by itself is not the loss of whose spec it is part, as a note there says
    "optax.losses.cosine_similarity": "the sign of the similarity, not of the loss",
    "torch.nn.functional.soft_margin_loss": "its exponential overflows at 88.7, which the spec declares a defect",
    "torch.nn.functional.triplet_margin_with_distance_loss": "another distance, unless one is given",
}
TAKEN = {"torch": "functions", "tensorflow": "classes"}  # each has both of nearly all
JAX = ("huber", "hinge", "half_squared_error", "log_cosh")  # its first call of each operation compiles it


def entries(framework):
    """One for each callable and loss of single elements or rows."""
    for name, found in callables.entries(spec.load_all()).items():
        for loss, entry in {one.loss.name: one for one in found}.items():
            own = entry.callable
            fits = own.framework == framework and not (own.keeps_weights or entry.loss.has_sizes)
            if framework in TAKEN and name.rpartition(".")[2][0].isupper() != (TAKEN[framework] == "classes"):
                continue
            if fits and not entry.loss.accumulated and (framework != "jax" or loss in JAX):
                yield name, entry


def settings(entry):
    """The constants that its call sets, where it is not the loss without them."""
    if callables.fits(entry, {}):
        return {}
    calls = [node for node in ast.walk(ast.parse(entry.callable.call.strip())) if isinstance(node, ast.Call)]
    constants = [one for call in calls for one in call.keywords if isinstance(one.value, ast.Constant | ast.UnaryOp)]
    return {one.arg: ast.literal_eval(one.value) for one in constants if one.arg not in ("reduction", "dtype")}


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_frameworks_own_losses_are_not_accused(framework):
    accused, asked = {}, 0
    for name, entry in entries(framework):
        where, _, function = name.rpartition(".")
        where = "tensorflow" + where.removeprefix("tf") if where.startswith("tf.") else where
        try:
            found = lossbench.check(
                f"{where}:{function}", entry.loss.name, modes=["eager"], dtypes=[], **settings(entry)
            )
        except LossbenchError:  # it takes what no loss of the catalogue does
            continue
        asked += 1
        if found.verdict == "wrong" and name not in OTHERS:
            accused[name, entry.loss.name] = str(found)

    assert asked >= len(JAX)
    assert not accused, "\n".join(accused.values())


def test_what_a_spec_declares_of_a_framework_makes_it_weak():
    found = lossbench.check("keras.losses:binary_crossentropy", "binary_cross_entropy", modes=["eager"], dtypes=[])

    assert found.verdict == "weak"
    assert any("as the spec declares of tensorflow" in one.words for one in found.findings)
