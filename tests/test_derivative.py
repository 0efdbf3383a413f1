"""Derivatives as graphs: small ones by hand; those of every spec are compared with mpmath elsewhere."""

import pytest

from lossbench.errors import SpecError
from lossbench.formula import gradient
from lossbench.formula.derivative import directional
from lossbench.formula.graph import Graph, Kind, Variable
from lossbench.formula.node import variable_of
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


AXES = {
    "x": Variable("number", ("batch", "feature")),
    "w": Variable("number", ("class", "feature")),
    "s": Variable("number", ("batch",)),
    "y": Variable("label", ("batch",)),
    "k": Variable("label", ("class",)),
    "a": "real",
}


@pytest.mark.parametrize(
    ("text", "by", "expected"),
    [
        ('sum(x, "feature")', "x", "1"),
        ('sum(x*w, "feature")', "x", "row_sum(w)"),
        ('sum(x*w, "feature")', "w", "row_sum(x, 'batch')"),
        ("x*a", "a", "row_sum(row_sum(x, 'batch'), 'feature')"),
        ("x + s", "s", "size('feature')"),
        ("a + 0*s + s", "a", "size('batch')"),
        ('s*other(s, "batch")', "s", "add(row_sum(other(s, 'batch'), 'other batch'), row_sum(s, 'batch'))"),
        ('sum(s*other(x, "batch"), "batch")', "x", "row_sum(s, 'batch')"),
        ('pick(w, y, "class")', "w", "row_sum(onehot(y), 'batch')"),
        ('pick(sum(w, "feature"), k, "class")', "w", "row_sum(onehot(other(k)), 'other class')"),
        ("where(a > 0, s, 0)", "s", "where(lt(0, a), 1, 0)"),
    ],
)
def test_derivative_along_axes_is_summed_where_they_were_repeated(text, by, expected):
    graph = Graph()
    found = gradient(graph, parse(text, AXES, graph), [by])[by]

    assert repr(found) == expected
    assert {*found.axes} <= {*variable_of(AXES[by]).axes}


def test_entries_of_pairs_that_labels_along_both_name_have_no_derivative_here():
    graph = Graph()
    root = parse('sum(w, "feature")[k]*other(sum(w, "feature"), "class")', AXES, graph)

    assert set(gradient(graph, root, ["w"])["w"].axes) <= {"class", "feature"}
    root = parse('pick(sum(w, "feature")*other(sum(w, "feature"), "class"), k, "class")**2', AXES, graph)
    with pytest.raises(SpecError, match='entries along "class" and "other class" are picked'):
        gradient(graph, root, ["w"])


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
