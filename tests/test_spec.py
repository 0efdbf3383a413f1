"""Spec files: what a good one gives, and how a broken one is refused."""

import re
from fractions import Fraction
from math import isnan

import pytest

from lossbench import spec
from lossbench.errors import SpecError

LOSSES = spec.load_all()


@pytest.fixture
def broken(tmp_path):
    """Refuses a fresh spec with a text replaced; gives the error's reason and the line that it names."""

    def refuse(old: str, new: str) -> tuple[str, str]:
        path = spec.start("broken", tmp_path)
        sound = path.read_text()
        path.write_text(sound.replace(old, new, 1))
        assert path.read_text() != sound
        with pytest.raises(SpecError) as caught:
            spec.load(path)
        parts = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (.*)", str(caught.value))
        assert parts, str(caught.value)
        return parts[2], path.read_text().splitlines()[int(parts[1]) - 1]

    return refuse


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
class TestEverySpec:
    def test_has_calls_for_every_framework(self, loss):
        assert set(loss.frameworks) == {"torch", "tensorflow", "jax"}

    def test_has_at_least_eight_decided_edges(self, loss):
        assert len(loss.edges) >= 8

    def test_has_a_source_with_a_link(self, loss):
        assert loss.sources
        assert all(source.url.startswith("https://") for source in loss.sources)

    def test_names_losses_that_exist_under_related(self, loss):
        assert set(loss.related) <= set(spec.names()) - {loss.name}

    def test_has_reference_values(self, loss):
        assert len(loss.references) >= 3

    def test_is_found_by_each_of_its_aliases(self, loss):
        assert all(spec.load(alias).name == loss.name for alias in (loss.title, *loss.aliases))

    def test_gives_one_number_and_its_gradients(self, loss):
        formula = loss.formula

        assert formula.definition.type == "number"
        assert formula.definition.axes in ((), ("batch",) if loss.batchwise else ())
        assert set(formula.gradients) == {name for name, one in loss.inputs.items() if one.grad}


def test_all_26_losses_are_there():
    assert len(LOSSES) >= 26


@pytest.mark.parametrize(
    ("alias", "name"),
    [("mse", "squared_error"), ("L1", "absolute_error"), ("Mean Squared Error", "squared_error")],
)
def test_common_names_are_aliases(alias, name):
    assert spec.load(alias).name == name


def test_unknown_loss_says_what_is_near():
    with pytest.raises(SpecError, match="unknown loss 'hubr'; did you mean: huber"):
        spec.load("hubr")


def test_missing_file_is_said(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        spec.load(tmp_path / "none.toml")


def test_broken_toml_names_the_line(broken):
    reason, line = broken("[formula]", "[formula")

    assert "not TOML" in reason
    assert line.startswith("[formula ")


def test_unknown_key_names_its_line_and_those_that_are_known(broken):
    reason, line = broken("summary =", "sumary =")

    assert reason.startswith("object contains unknown field `sumary`; expected one of: absent, aliases, callables, ")
    assert line.startswith("sumary =")


def test_unknown_key_of_a_table_names_its_line(broken):
    reason, line = broken('status = "required"', 'state = "required"')

    assert reason.startswith(
        "object contains unknown field `state`; expected one of: at, gradient, reduction, status, "
    )
    assert line.startswith("state =")


def test_text_that_is_not_utf_8_names_the_line(tmp_path):
    path = spec.start("broken", tmp_path)
    path.write_bytes(path.read_bytes().replace(b"summary = ", b"summary = \xe9"))

    with pytest.raises(SpecError, match=r"broken\.toml:5: not UTF-8 text"):
        spec.load(path)


@pytest.mark.parametrize("name", ["My Loss", "<b>", "a#b", "huber.v2", "1st"])
def test_files_are_named_as_losses_are(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text(spec.load("huber").source)

    with pytest.raises(SpecError, match="is no name for a loss; expected lower case letters, digits and _"):
        spec.load(path)


def test_brackets_beyond_all_reason_are_refused(tmp_path):
    (tmp_path / "deep.toml").write_text("title = " + "[" * 100_000)

    with pytest.raises(SpecError, match="nested too deeply"):
        spec.load(tmp_path / "deep.toml")


def test_our_own_files_are_named_from_the_package_on():
    assert str(spec.load("huber").wrong("title", "too long")) == "specs/huber.toml:1: too long"


def test_wrong_type_names_the_line_and_key(broken):
    reason, line = broken('value = "0"', "value = 0.5")

    assert reason == "expected `int | str | array`, got `float` (at edges[0].value)"
    assert line == "value = 0.5"


def test_unknown_word_says_which_are_known(broken):
    reason, line = broken('kind = "real"', 'kind = "reel"')

    assert "'reel'; expected one of: label, real, row" in reason
    assert "reel" in line


def test_unknown_name_in_the_formula_names_its_line(broken):
    reason, line = broken("scale * r**2/2", "skale * r**2/2")

    assert reason == "unknown name 'skale'; expected one of: r, scale, y_pred, y_true"
    assert line == "skale * r**2/2"


def test_row_as_loss_is_refused(broken):
    reason, line = broken('kind = "real"', 'kind = "row"')

    assert reason == "the definition is a row; expected one number per element or row"
    assert line.startswith("definition")


@pytest.mark.parametrize("name", ["pi", "reduction"])
def test_name_with_another_meaning_is_refused(tmp_path, name):
    path = spec.start("broken", tmp_path)
    path.write_text(path.read_text().replace("y_pred", name))

    with pytest.raises(SpecError, match=f"the name '{name}' is reserved or no identifier; choose another"):
        spec.load(path)


def test_edge_without_an_input_is_refused(broken):
    reason, line = broken('at = { y_pred = "1", ', "at = { ")

    assert reason == "edges[0] gives no 'y_pred'; expected every input"
    assert line.startswith("[[edges]]")


def test_number_that_is_none_is_refused(broken):
    reason, line = broken('default = "1"', 'default = "1.2.3"')

    assert "1.2.3" in reason
    assert "1.2.3" in line


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'at = { y_pred = "1"',
            'at = { y_pred = "banana"',
            "'banana' is no number: unknown name 'banana'; expected a number",
        ),
        ('at = { y_pred = "1"', 'at = { y_pred = "1/0"', "'1/0' is no number: division by zero"),
        ('at = { y_pred = "1"', 'at = { y_pred = "log(2)"', "'log(2)' is not an exact number; expected a decimal"),
        ('value = "0"', 'value = ["banana"]', "'banana' is no number: unknown name 'banana'; expected a number"),
        ('value = "0"', 'value = "1 < 2"', "'1 < 2' is a bool; expected a number"),
        ('gradient = "0"', 'gradient = "oops("', "'oops(' is no number: '(' was never closed"),
        ('gradient = "0"', 'gradient = "[-1, oops]"', "' oops' is no number: unknown name 'oops'; expected a number"),
        ('gradient = "0"', 'gradient = "[-1, 0, 1]"', "'[-1, 0, 1]' is no interval; expected two numbers"),
        ('gradient = "0"', 'gradient = { y_true = "0" }', "'y_true' has no gradient; expected one of: y_pred"),
        ('domain = "scale > 0"', 'domain = "skale > 0"', "unknown name 'skale'; expected one of: scale, "),
        ('domain = "scale > 0"', 'domain = "scale"', "'scale' is a real; expected a condition"),
        ("[formula] ", '[formula]\ndivisor = "y_pred" ', "the divisor depends on 'y_pred'; expected no gradient in it"),
    ],
)
def test_what_is_declared_is_read_with_the_file(broken, old, new, said):
    reason, line = broken(old, new)

    assert reason.startswith(said)
    assert new.splitlines()[-1].strip() in line


def test_call_without_sample_weights_is_refused(broken):
    reason, line = broken('"reduce(scale', '"(scale')

    assert "takes no sample_weight" in reason
    assert line.startswith("[frameworks.torch]")


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.1", Fraction(1, 10)), ("1/3", Fraction(1, 3)), ("-2**-20", Fraction(-1, 2**20)), ("1e-7", Fraction(1, 10**7))],
)
def test_numbers_are_exact(text, number):
    assert spec.exact(text) == number


def test_infinities_and_nan_are_floats():
    assert spec.exact("inf") == float("inf")
    assert spec.exact("-inf") == float("-inf")
    assert isnan(spec.exact("nan"))


def test_digest_keeps_when_an_edge_is_edited(tmp_path):
    huber = spec.load("huber")
    path = tmp_path / "huber.toml"
    path.write_text("# a comment\n" + huber.source.replace("equal slopes", "the same slope"))

    assert spec.load(path).digest == huber.digest


def test_digest_changes_with_the_formula(tmp_path):
    huber = spec.load("huber")
    path = tmp_path / "huber.toml"
    path.write_text(huber.source.replace("r**2/2", "r*r/2"))

    assert spec.load(path).digest != huber.digest


def test_started_spec_loads(tmp_path):
    path = spec.start("my_loss", tmp_path)

    assert spec.load(path).title == "My loss"


def test_start_overwrites_nothing(tmp_path):
    spec.start("my_loss", tmp_path)

    with pytest.raises(SpecError, match="exists; choose another name"):
        spec.start("my_loss", tmp_path)


@pytest.mark.parametrize("name", ["My", "1st", "a-b", "../up", ""])
def test_start_refuses_what_is_no_name(name, tmp_path):
    with pytest.raises(SpecError, match="is no name for a loss"):
        spec.start(name, tmp_path)
