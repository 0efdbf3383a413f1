"""Formulas as LaTeX and MathML: in the author's order, with the spec's symbols, for every loss."""

import re
from types import SimpleNamespace
from xml.etree.ElementTree import fromstring

import pytest

from lossbench import spec
from lossbench.formula import typeset
from lossbench.formula.mathml import mathml_of
from lossbench.formula.node import Variable, variable_of
from lossbench.text import FormulaText, Input, Parameter, axes_of

SYMBOLS = {"x": "x", "y": "y", "p": r"\hat{y}", "q": "q_{t}", "k": "k", "b": r"\beta", "w": "w"}
INPUTS = {"x": "real", "y": "real", "p": "row", "q": "row", "k": "label"}
PARAMETERS = {"b": "real", "w": "row"}


class Written:
    """As much of a loss as typesetting asks for."""

    def __init__(self, definition):
        self.formula_text = FormulaText(definition=definition)
        self.inputs = {name: Input(symbol=SYMBOLS[name], kind=kind) for name, kind in INPUTS.items()}
        self.parameters = {
            name: Parameter(symbol=SYMBOLS[name], default="1", meaning="", kind=kind)
            for name, kind in PARAMETERS.items()
        }
        self.formula = SimpleNamespace(
            variables={name: variable_of(kind) for name, kind in {**INPUTS, **PARAMETERS}.items()}
        )


def right(definition):
    """The right side of the last line."""
    return typeset.equations(Written(definition))[-1][1]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("x - (y - b)", r"x - \left(y - \beta\right)"),
        ("x - y - b", r"x - y - \beta"),
        ("(x + y)*b", r"\left(x + y\right)\,\beta"),
        ("b*(x - y)", r"\beta \left(x - y\right)"),
        ("-x*y", r"-x\,y"),
        ("x*(-y)", r"x \left(-y\right)"),
        ("x + (-y)", r"x + \left(-y\right)"),
        ("-(x + y)", r"-\left(x + y\right)"),
        ("x*2", r"x \cdot 2"),
        ("2*x", r"2\,x"),
        ("2*(x/y)", r"2 \cdot \frac{x}{y}"),
        ("x**2/2", r"\frac{x^{2}}{2}"),
        ("(x/y)**2", r"\left(\frac{x}{y}\right)^{2}"),
        ("(-x)**2", r"\left(-x\right)^{2}"),
        ("x**y**b", r"x^{y^{\beta}}"),
        ("1e-7*x", r"10^{-7}\,x"),
        ("2.50e-3 + x", r"2.50 \cdot 10^{-3} + x"),
        ("abs(x)**3", r"\left|x\right|^{3}"),
        ("2*pi*x", r"2\,\pi\,x"),
        ("log(x)", r"\log x"),
        ("log(x*y)", r"\log\left(x\,y\right)"),
        ("log(cosh(x))", r"\log \cosh x"),
        ("log(x)*y", r"\left(\log x\right)\,y"),
        ("y*log(x)", r"y\,\log x"),
        ("log1p(-x)", r"\log\left(1 + \left(-x\right)\right)"),
        ("exp(-x)", r"e^{-x}"),
        ("exp(x/y)", r"\exp\left(\frac{x}{y}\right)"),
        ("sqrt(x + y)", r"\sqrt{x + y}"),
        ("softplus(-x)", r"\log\left(1 + e^{-x}\right)"),
        ("sigmoid(x)**b", r"\left(\sigma\left(x\right)\right)^{\beta}"),
        ("max(0, 1 - x)", r"\max\left(0, 1 - x\right)"),
        ("xlogy(x, y)", r"x\,\log y"),
        ("sum(p)", r"\sum_{j} \hat{y}_{j}"),
        ("sum(p*q)", r"\sum_{j} \hat{y}_{j}\,q_{t,j}"),
        ("sum(p + q)", r"\sum_{j} \left(\hat{y}_{j} + q_{t,j}\right)"),
        ("sum(p)*x", r"\left(\sum_{j} \hat{y}_{j}\right)\,x"),
        ("-sum(p)", r"-\sum_{j} \hat{y}_{j}"),
        ("sum(p/sum(p))", r"\sum_{j} \frac{\hat{y}_{j}}{\sum_{i} \hat{y}_{i}}"),
        ("mean(p)", r"\frac{1}{C} \sum_{j} \hat{y}_{j}"),
        ("x/size(p)", r"\frac{x}{C}"),
        ("max(p)", r"\max_{j} \hat{y}_{j}"),
        ("norm(p)", r"\left\lVert \hat{y} \right\rVert_{2}"),
        ("norm(p*w)", r"\left\lVert \hat{y} \odot w \right\rVert_{2}"),
        ("logsumexp(p)", r"\log \sum_{j} e^{\hat{y}_{j}}"),
        ("p[k]", r"\hat{y}_{k}"),
        ("log(p[k])", r"\log \hat{y}_{k}"),
        ("(p*w)[k]", r"\hat{y}_{k}\,w_{k}"),
        ("-log_softmax(p)[k]", r"-\log \operatorname{softmax}\left(\hat{y}\right)_{k}"),
        ("sum(onehot(k)*p)", r"\sum_{j} [j = k]\,\hat{y}_{j}"),
        ("where(x < y, x, y)", r"\begin{cases} x & \text{if } x < y \\ y & \text{otherwise} \end{cases}"),
        (
            "where(x == 0 and y != 0, 1, where(x >= b, 2, 3))",
            r"\begin{cases} 1 & \text{if } x = 0\text{ and }y \ne 0 \\ 2 & \text{if } x \ge \beta"
            r" \\ 3 & \text{otherwise} \end{cases}",
        ),
        (
            "sum(where(p > 0, p, 0))",
            r"\sum_{j} \begin{cases} \hat{y}_{j} & \text{if } \hat{y}_{j} > 0 \\ 0 & \text{otherwise} \end{cases}",
        ),
        (
            "where(x < 0, 0, x) + y",
            r"\left(\begin{cases} 0 & \text{if } x < 0 \\ x & \text{otherwise} \end{cases}\right) + y",
        ),
    ],
)
def test_formula_is_written_as_people_write_it(definition, expected):
    assert right(definition) == expected


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("r", "r"),
        ("p_t", "p_{t}"),
        ("z1", "z_{1}"),
        ("gamma", r"\gamma"),
        ("margin", r"\mathrm{margin}"),
        ("best_other", r"\text{best other}"),
        ("log_r", r"\log r"),
    ],
)
def test_intermediate_gets_a_symbol_from_its_name(name, symbol):
    first, last = typeset.equations(Written(f"{name} = x - y\n{name}**2"))

    assert first == (symbol, "x - y")
    assert last[0] == r"\ell\left(x, y, \hat{y}, q_{t}, k; \beta, w\right)"
    assert last[1].startswith((symbol, rf"\left({symbol}"))


def test_intermediate_row_is_defined_by_its_entries():
    assert typeset.equations(Written("s = softmax(p)\n-sum(w*log(s))")) == [
        ("s_{j}", r"\operatorname{softmax}\left(\hat{y}\right)_{j}"),
        (r"\ell\left(x, y, \hat{y}, q_{t}, k; \beta, w\right)", r"-\sum_{j} w_{j}\,\log s_{j}"),
    ]


def test_index_of_a_sum_is_no_letter_of_the_formula():
    assert right("j = x + y\nsum(p*j)") == r"\sum_{i} \hat{y}_{i}\,j"


@pytest.mark.parametrize("name", spec.names())
def test_every_loss_has_latex_and_mathml(name):
    loss = spec.load(name)

    tex, shown = typeset.latex(loss), typeset.mathml(loss)

    assert tex.count("{") == tex.count("}")
    assert tex.count(r"\left") == tex.count(r"\right")
    lines = list(fromstring(f"<div>{shown}</div>"))
    assert [line.tag.rpartition("}")[2] for line in lines] == ["math"] * len(typeset.equations(loss))
    for line in lines:
        assert not re.search(r"[\\}&_$]", "".join(line.itertext())), "LaTeX that was not understood"


@pytest.mark.parametrize("name", spec.names())
def test_every_symbol_of_a_loss_is_in_its_formula(name):
    loss = spec.load(name)
    text = " ".join(right for _, right in typeset.equations(loss))

    for key, one in (loss.inputs | loss.parameters).items():
        if re.search(rf"\b{key}\b", loss.formula_text.definition):
            assert one.symbol in text, key


def test_markup_in_a_symbol_stays_text():
    shown = mathml_of(r"\text{<script>alert(1)</script>} & \text{&lt;b&gt;}")

    assert "<script" not in shown
    assert "<b>" not in shown
    fromstring(shown)


def test_latex_that_cannot_be_read_is_shown_as_text():
    assert "".join(fromstring(mathml_of(r"\begin{cases} x")).itertext()).strip()


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ('sum(sum(e*other(e, "batch"), "feature"), "other batch")', r"\sum_{k} \sum_{d} e_{i,d}\,e_{k,d}"),
        (
            'logsumexp(norm(e - other(e, "batch"), "feature"), "other batch")',
            r"\log \sum_{k} e^{\left\lVert e_{i} - e_{k} \right\rVert_{2}}",
        ),
        (
            'sum(where(c != other(c, "batch"), 1, 0), "other batch")/size(e, "batch")',
            r"\frac{\sum_{k} \begin{cases} 1 & \text{if } c_{i} \ne c_{k} \\ 0 & \text{otherwise} \end{cases}}{N}",
        ),
        (
            'sum(where(index("batch") == other(index("batch"), "batch"), 0, 1), "other batch")',
            r"\sum_{k} \begin{cases} 0 & \text{if } i = k \\ 1 & \text{otherwise} \end{cases}",
        ),
        (
            '-pick(log_softmax(sum(e*v, "feature"), "class"), c, "class")',
            r"-\log \operatorname{softmax}\left(\sum_{d} e_{i,d}\,v_{d}\right)_{c_{i}}",
        ),
        ('mean(mean(e, "feature"), "batch")', r"\frac{1}{N} \sum_{i} \frac{1}{D} \sum_{d} e_{i,d}"),
    ],
)
def test_entries_along_axes_carry_an_index_for_each(definition, expected):
    written = Written(definition)
    axes = {"e": ["batch", "feature"], "v": ["class", "feature"]}
    written.inputs = {name: Input(symbol=name, kind="real", axes=along) for name, along in axes.items()}
    written.inputs["c"] = Input(symbol="c", kind="label", axes=["batch"])
    written.parameters = {}
    written.formula.variables = {name: Variable("number", tuple(axes_of(one))) for name, one in written.inputs.items()}

    assert typeset.equations(written)[-1][1] == expected
