import pytest
from formulas import formula

from lossbench.formula.graph import topological
from lossbench.formula.lower import lowered


def operations(text):
    """How often each primitive is in the lowered formula."""
    (root,) = lowered([formula(text).kernel])
    found = [node.op for node in topological(root)]
    return {op: found.count(op) for op in found}


@pytest.mark.parametrize(
    "text",
    [
        "log1p(2*sinh(x/2)**2)",
        "abs(x) + log1p(exp(-2*abs(x))) - log(2)",
        "where(abs(x) < 1, log1p(2*sinh(x/2)**2), abs(x) + log1p(exp(-2*abs(x))) - log(2))",
    ],
)
def test_every_way_to_write_the_logarithm_of_cosh_is_one_primitive(text):
    assert operations(text) == {"variable": 1, "log_cosh": 1}


@pytest.mark.parametrize(
    "text",
    [
        "log1p(2*sinh(x/3)**2)",
        "log1p(3*sinh(x/2)**2)",
        "abs(x) + log1p(exp(-2*abs(y))) - log(2)",
        "abs(x) + log1p(exp(-abs(x))) - log(2)",
        "abs(x) + log1p(exp(-2*abs(x))) - log(3)",
    ],
)
def test_what_only_resembles_it_is_not(text):
    assert "log_cosh" not in operations(text)


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        ("where(x < 0, 1, 2)", 1),
        ("where(x < 0, 1, 2) + x", 0),
        ("where(x < 0, 1, 2) + exp(-abs(x))", 0),
        ("where(x < 0, 1, 2)*y", 1),
        ("where(x < 0, 1, 2) + where(y < 0, x, 2*x)", 1),  # the doubt of y stays
        ("where(x < 0, 1, 2) + where(y < 0, x, 2)", 2),
        ("where(x < 0, 1, 2) + x**0.5", 0),
        ("where(x < 0, -x, x)", 0),
        ("where(x == 0, 0, x*y)", 0),  # nan is not equal to 0
        ("where(x != 0, 0, x*y)", 1),
        ("where(x != 0, x*y, 0)", 0),
    ],
)
def test_a_nan_is_asked_for_only_where_it_would_be_lost(text, doubts):
    assert operations(text).get("nan_of", 0) == doubts
