"""The formula language: what it takes, what it refuses, and how it says so."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench.errors import SpecError
from lossbench.formula.graph import Graph, Kind, Node, Variable
from lossbench.formula.parse import FUNCTIONS, parse

NAMES: dict[str, Kind] = {"x": "real", "y": "real", "p": "row", "q": "row", "j": "label", "delta": "real"}


def graph_of(text: str, graph: Graph | None = None) -> Node:
    return parse(text, NAMES, graph or Graph(), where="specs/some.toml", line=7)


def outcome(text: str) -> str:
    """The kind of the graph, or the refusal."""
    try:
        return f"a {graph_of(text).kind}"
    except SpecError as error:
        return str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + y", "add(x, y)"),
        ("0.1", "1/10"),
        ("1e-7", "1/10000000"),
        ("2**10 - 1_000", "24"),
        ("2*pi - pi", "sub(mul(2, pi()), pi())"),
        ("-x", "neg(x)"),
        ("a = x - y\na**2", "pow(sub(x, y), 2)"),
        ("p[j]", "pick(p, j)"),
        ("sum(onehot(j)*p)", "row_sum(mul(onehot(j), p))"),
        ("mean(p)", "div(row_sum(p), size())"),
        ("log_softmax(p)[j]", "pick(sub(p, logsumexp(p)), j)"),
        ("where(j == -100, 0, x)", "where(eq(j, -100), 0, x)"),
        ("where(x > 0 and not y <= 1, x, y)", "where(and(lt(0, x), not(le(y, 1))), x, y)"),
        ("clip(x, 0, 1)", "min(max(x, 0), 1)"),
        ("max(x, y, 0)", "max(max(x, y), 0)"),
        ("size(p) * x", "mul(size(), x)"),
        ("xlogy(x, y)", "xlogy(x, y)"),
    ],
)
def test_text_becomes_this_graph(text, expected):
    assert repr(graph_of(text)) == expected


def test_equal_terms_are_one_node():
    graph = Graph()

    assert graph_of("exp(x - y)", graph) is graph_of("d = x - y\nexp(d)", graph)


@pytest.mark.parametrize(
    ("text", "kind"), [("x", "real"), ("p*x", "row"), ("p > 0", "mask"), ("x > 0", "bool"), ("max(p)", "real")]
)
def test_kind_of_a_graph(text, kind):
    assert graph_of(text).kind == kind


AXES = {"x": Variable("number", ("batch", "feature")), "w": Variable("number", ("class", "feature")), "s": "real"}
AXES |= {"y": Variable("label", ("batch",)), "t": Variable("number", ("time", "class"))}
AXES |= {"l": Variable("label", ("position",)), "n": "label"}


@pytest.mark.parametrize(
    ("text", "expected", "axes"),
    [
        ('sum(x, "batch")', "row_sum(x, 'batch')", ("feature",)),
        ('sum(w, "class")', "row_sum(w)", ("feature",)),
        ("x*w", "mul(x, w)", ("batch", "feature", "class")),
        ('x - other(x, "batch")', "sub(x, other(x, 'batch'))", ("batch", "feature", "other batch")),
        ('other(other(x, "batch"), "other batch")', "x", ("batch", "feature")),
        ('pick(w, y, "class")', "pick(w, y)", ("feature", "batch")),
        ('pick(x, y - 1, "feature")', "pick(x, sub(y, 1), 'feature')", ("batch",)),
        ("onehot(y)", "onehot(y)", ("batch", "class")),
        ('onehot(y, "feature")', "onehot(y, 'feature')", ("batch", "feature")),
        ('index("batch") < y', "lt(index('batch'), y)", ("batch",)),
        ('mean(x, "batch")', "div(row_sum(x, 'batch'), size('batch'))", ("feature",)),
        ('size(other(x, "batch"), "other batch")', "size('batch')", ()),
        ('sparsemax(w, "class")', "where(support(w, threshold(w)), sub(w, threshold(w)), 0)", ("class", "feature")),
        ("ctc(t, l, n, 2, 0)", "ctc(t, l, n, 2, 0)", ()),
        ("2 - y", "sub(2, y)", ("batch",)),
    ],
)
def test_text_with_axes_becomes_this_graph(text, expected, axes):
    node = parse(text, AXES, Graph())

    assert repr(node) == expected
    assert set(node.axes) == set(axes)


def test_a_value_along_other_axes_is_a_table():
    kinds = [parse(text, AXES, Graph()).kind for text in ("x", "y", "x > 0", 'sum(w, "feature")')]

    assert kinds == ["table", "labels", "masks", "row"]


@pytest.mark.parametrize("scale", ["1*x", "x/1", "x**1", "x + 0", "x - 0", "0 + x", "--x", "where(y > 0, x, x)"])
def test_what_changes_nothing_is_gone(scale):
    assert repr(graph_of(scale)) == "x"


def test_a_branch_not_taken_never_meets_an_infinity():
    assert repr(graph_of("where(x > 0, y, 0) * log(x)")) == "where(lt(0, x), mul(y, log(x)), 0)"


def test_substituted_zero_removes_its_term():
    graph = Graph()

    assert repr(graph.substitute(graph_of("x + delta*log(y)", graph), {"delta": Fraction(0)})) == "x"


REFUSED = [
    "",
    "   ",
    "# only a comment",
    "x +",
    "x y",
    "x; y",
    "x = 1",
    "x = y\nx",
    "sum = x\nsum",
    "pi = 3\npi*x",
    "a = 1",
    "a, b = x, y\na",
    "a = b = x\na",
    "a: x = y\na",
    "a += x\na",
    "return x",
    "import os",
    "import os\nx",
    "from os import system",
    "def f(): pass",
    "class A: pass",
    "if x > 0: y",
    "for i in p: i",
    "while x > 0: y",
    "with x: y",
    "del x",
    "global x",
    "assert x",
    "raise x",
    "try:\n    x\nexcept y:\n    x",
    "lambda: x",
    "(lambda: x)()",
    "[x]",
    "(x, y)",
    "{x}",
    "{x: y}",
    "[a for a in p]",
    "{a for a in p}",
    "(a for a in p)",
    "f'{x}'",
    "'x'",
    "b'x'",
    "None",
    "True",
    "...",
    "1j",
    "0x10z",
    "x.real",
    "x.__class__",
    "().__class__.__bases__",
    "__import__('os')",
    "__import__",
    "open('f')",
    "eval('1')",
    "exec('1')",
    "globals()",
    "getattr(x, 'y')",
    "sin(x)",
    "relu(x)",
    "log(x, y)",
    "log()",
    "log(x=1)",
    "log(*p)",
    "log(**p)",
    "where(x > 0, x)",
    "where(x, 1, 2)",
    "where(p, 1, 2)",
    "where(x > 0, x > 1, y)",
    "clip(x, 0)",
    "xlogy(x)",
    "xlogy(x, y, y)",
    "max(x)",
    "sum(x)",
    "mean(x)",
    "softmax(x)",
    "logsumexp(x)",
    "norm(x)",
    "size(x)",
    "onehot(x)",
    "onehot(p)",
    "p[0]",
    "p[x]",
    "p[0:1]",
    "p[j, j]",
    "x[j]",
    "y_pred[0]",
    "j * x",
    "j + x",
    "j + 0.5",
    "j / 2",
    "exp(j)",
    "-j",
    "j < p",
    "j == p",
    "x ** p",
    "x ** 2000",
    "2 ** 100000",
    "0 ** -1",
    "x // y",
    "x % y",
    "x @ y",
    "x << 2",
    "x & y",
    "x | y",
    "x ^ y",
    "~x",
    "not x",
    "x and y",
    "x > 0 or y",
    "(x > 0) + 1",
    "(x > 0) == (y > 0)",
    "0 < x < 1",
    "x is y",
    "x in p",
    "x := 1",
    "(x := 1)",
    "x if y else x",
    "x / 0",
    "1e999999999",
    "z",
    "a = z\na",
    "await x",
    "yield x",
    "x\ny",
    "(" * 300 + "x" + ")" * 300 + "(",
    "-" * 500 + "x",
    "x" + "+x" * 20_000,
    "x\0",
    "a = 2**1000\nb = a**20\nb",
    "a = 3**1000\nb = a*a*a*a*a*a*a\nb*x",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:30]))
def test_hostile_or_ill_typed_text_is_refused_with_file_line_and_reason(text):
    with pytest.raises(SpecError, match=r"^specs/some\.toml:\d+: .{5,}"):
        graph_of(text)


def test_at_least_a_hundred_hostile_texts():
    assert len(set(REFUSED)) >= 100


def test_error_names_the_line_within_the_file():
    with pytest.raises(SpecError, match=r"^specs/some\.toml:9: unknown name 'z'"):
        graph_of("a = x\nb = y\nz")


def test_error_says_what_is_known():
    with pytest.raises(SpecError, match=r"unknown function 'relu'; expected one of: abs, clip, cosh, ctc,"):
        graph_of("relu(x)")


@given(st.text(alphabet="xypqj delta+-*/()[]<>=.,0123456789\nelogwhrsumax_", max_size=60))
def test_any_text_is_a_graph_or_a_spec_error(text):
    assert outcome(text).startswith(("a ", "specs/some.toml:"))


LEAVES = st.sampled_from(["x", "y", "p", "j", "delta", "1", "0.5", "2"])
TERMS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**", "<", "=="]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from(FUNCTIONS), st.lists(inner, min_size=1, max_size=3)).map(
            lambda call: f"{call[0]}({', '.join(call[1])})"
        ),
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
    ),
    max_leaves=12,
)


@given(TERMS)
def test_any_term_has_a_kind_or_is_refused(text):
    assert outcome(text).startswith(("a real", "a row", "a label", "a bool", "a mask", "specs/some.toml:"))
