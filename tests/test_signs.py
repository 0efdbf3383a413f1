import pytest
from formulas import formula

from lossbench.formula.signs import never_negative


@pytest.mark.parametrize(
    "text",
    [
        "max(0, p - 1)",
        "abs(p)*exp(q)",
        "where(p < q, p**2, 3)",
        "sum(p*p)/2",
        "y*(1 - y)",
        "sqrt(x) + onehot(j)*y",
    ],
)
def test_what_is_made_of_such_numbers_is_never_negative(text):
    assert never_negative(formula(text, ()).kernel, {"y"})


@pytest.mark.parametrize(
    "text", ["p", "y - 1", "1 - p", "0.5 - y", "-abs(p)", "max(p, q)", "where(p < 0, 1, q)", "p*q", "p**3"]
)
def test_what_may_be_negative_is_known_to_be(text):
    assert not never_negative(formula(text, ()).kernel, {"y"})
