"""Specs that contradict themselves: the first contradiction is said with file and line."""

import re

import pytest

from lossbench import soundness, spec
from lossbench.errors import SpecError

HUBER = spec.load("huber").source


@pytest.mark.parametrize("loss", spec.load_all(), ids=lambda loss: loss.name)
def test_every_spec_is_sound(loss):
    soundness.verify(loss)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'value = "1/32"',
            'value = "1/33"',
            "the value of this required edge is '1/33'; expected 0.03125, by the formula",
        ),
        ('gradient = "1/4"', 'gradient = "[0, 1]"', "the gradient of this required edge is '[0, 1]'; expected 0.25"),
        ('value = "1/32"', 'value = ["1/32", "1/32"]', "the value of this required edge is ['1/32', '1/32']; expected"),
        ('at = { y_pred = "0.25"', 'at = { y_pred = [["0.25"]]', "y_pred has shape (1, 1); expected (n,)"),
        ('when = { y_pred = "3*2**-26"', 'when = { y_pred = [["1"]]', "y_pred has shape (1, 1); expected (n,)"),
        (
            '"F.huber_loss(y_pred, y_true, reduction=reduction, delta=delta)"',
            '"open(y_pred) + reduce(y_pred)"',
            "names 'open'",
        ),
        ('call = "reduce(optax', 'call = "reduce((optax', "is not readable ('(' was never closed)"),
        ('call = "nn.HuberLoss', 'call = "os.HuberLoss', "names 'os'; expected one of: F, "),
        (
            "[frameworks.jax]",
            '[frameworks.jax]\nrequires = "beta > 0"',
            "`beta > 0` names 'beta'; expected one of: delta",
        ),
        ('mode = "eager"', 'mode = "eagre"', "tensorflow has no mode 'eagre'; expected one of: compiled, eager, xla"),
        (
            'value = "0.08251953125"',
            'value = "0.08251953126"',
            "the reference value is '0.08251953126'; expected '0.0825",
        ),
    ],
)
def test_a_contradiction_names_file_and_line(tmp_path, old, new, said):
    path = tmp_path / "own.toml"
    path.write_text(HUBER.replace(old, new, 1))
    assert path.read_text() != HUBER
    loss = spec.load(path)

    with pytest.raises(SpecError) as caught:
        soundness.verify(loss)

    where, _, reason = str(caught.value).partition(": ")
    assert said in reason
    line = int(re.fullmatch(rf"{re.escape(str(path))}:(\d+)", where)[1])
    assert new.splitlines()[-1] in path.read_text().splitlines()[line - 1]


def test_a_call_of_an_adapter_elsewhere_is_its_own_affair(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(HUBER + '\n[frameworks.mylib]\nform = "native"\ncall = "mylib.huber(y_pred, sample_weight)"\n')

    soundness.verify(spec.load(path))
