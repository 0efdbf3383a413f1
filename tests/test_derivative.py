"""Derivatives as graphs: small ones by hand; those of every spec are compared with mpmath elsewhere."""

import pytest

from lossbench.errors import SpecError
from lossbench.formula import gradient
from lossbench.formula.derivative import directional
from lossbench.formula.graph import Graph, Kind
from lossbench.formula.parse import parse

NAMES: dict[str, Kind] = {"x": "real", "y": "real", "p": "row", "q": "row", "j": "label"}


def derivative(text: str, by: str) -> str:
    graph = Graph()
    return repr(gradient(graph, parse(text, NAMES, graph), [by])[by])


@pytest.mark.parametrize(
    ("text", "by", "expected"),
    [
        ("x*y", "x", "y"),
        ("y", "x", "0"),
        ("x**3", "x", "mul(3, pow(x, 2))"),
        ("exp(x)", "x", "exp(x)"),
        ("log(x)", "x", "div(1, x)"),
        ("abs(x)", "x", "sign(x)"),
        ("softplus(x)", "x", "sigmoid(x)"),
        ("x/y", "y", "neg(div(div(x, y), y))"),
        ("sum(p*q)", "p", "q"),
        ("sum(p + x)", "x", "size()"),
        ("p[j]", "p", "onehot(j)"),
        ("logsumexp(p)", "p", "exp(sub(p, logsumexp(p)))"),
        ("norm(p)", "p", "div(p, norm(p))"),
        ("where(x > y, x, 0)", "x", "where(lt(y, x), 1, 0)"),
        ("max(x, 0)", "x", "where(lt(0, x), 1, 0)"),
        ("max(0, x)", "x", "where(lt(x, 0), 0, 1)"),
        ("min(x, 0)", "x", "where(lt(x, 0), 1, 0)"),
        ("min(0, x)", "x", "where(lt(0, x), 0, 1)"),
    ],
)
def test_derivative_of(text, by, expected):
    assert derivative(text, by) == expected


def test_a_branch_not_taken_meets_no_infinity_in_its_derivative():
    assert derivative("where(x > 0, log(x), 0)", "x") == "where(lt(0, x), div(1, x), 0)"


def test_exponent_that_is_differentiated_is_refused():
    with pytest.raises(SpecError, match="exponent depends on an input that is differentiated"):
        derivative("2**x", "x")


def test_exponent_that_is_not_differentiated_is_taken():
    assert derivative("x**y", "x") == "mul(y, pow(x, sub(y, 1)))"


def test_direction_along_one_variable_is_the_partial_derivative():
    graph = Graph()
    root = parse("softplus(x*y)", NAMES, graph)

    assert repr(directional(graph, [root], {"x": graph.number(1)})[root]) == "mul(y, sigmoid(mul(x, y)))"
