"""Losses in odd shapes: each check ends in a verdict or in an error of the request, never in a traceback."""

from pathlib import Path
from threading import Lock

import numpy as np
import pytest

import lossbench
from lossbench.checking import questions, sent
from lossbench.cli import main
from lossbench.errors import LossbenchError

ODD = Path(__file__).parent / "own" / "odd_losses.py"
RIGHT = ("right", "weak")


def checked(name, loss="absolute_error", **more):
    return lossbench.check(f"{ODD}:{name}", loss, **({"modes": ["eager"], "dtypes": ["float64"]} | more))


@pytest.mark.parametrize(
    ("name", "loss", "more", "assumed"),
    [
        ("variadic", "huber", {}, "by its place"),
        ("variadic", "huber", {"arguments": {"delta": "delta"}, "delta": 2}, ""),
        ("partial", "huber", {}, "delta = 2, its own default"),
        ("anonymous", "absolute_error", {}, ""),
        ("instance", "absolute_error", {}, ""),
        ("scripted", "absolute_error", {}, ""),
        ("columns", "absolute_error", {}, "a row of one"),
        ("one_in_a_row", "absolute_error", {}, "is the mean over it"),
        ("optional", "absolute_error", {}, ""),
        ("onehot", "sparse_softmax_cross_entropy", {}, "rows of one 1 and zeros"),
        ("from_logits", "sigmoid_cross_entropy", {}, "`from_logits` is True"),
        ("from_logits", "binary_cross_entropy", {}, ""),
        ("Scaled", "absolute_error", {"scale": 1}, ""),
        ("Classes", "sparse_softmax_cross_entropy", {}, "logits.shape[-1]"),
    ],
)
def test_odd_but_right_loss_is_understood(name, loss, more, assumed):
    found = checked(name, loss, **more)

    assert found.verdict in RIGHT, str(found)
    assert assumed in " ".join(found.assumed)


@pytest.mark.parametrize(
    ("name", "loss", "more", "why"),
    [
        ("Scaled", "absolute_error", {"scale": 3}, "3 times the loss"),
        ("mean_over_classes", "softmax_cross_entropy", {}, "the number of classes"),
        ("noisy", "absolute_error", {}, "two calls with the same inputs differ"),
        ("weight_ignored", "absolute_error", {}, "value wrong"),
        ("in_place", "absolute_error", {}, "writes into y_true"),
        ("in_numpy_place", "absolute_error", {"framework": "numpy"}, "writes into y_true"),
    ],
)
def test_odd_and_wrong_loss_is_explained(name, loss, more, why):
    found = checked(name, loss, **more)

    assert found.verdict == "wrong"
    assert why in " ".join((*found.why, *(one.words for one in found.findings)))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("couple", "it gives a tuple; expected an array"),
        ("nothing", "it gives None; expected an array"),
        ("python_float", "does it end in .item()"),
        ("ends", "crashed"),
    ],
)
def test_what_is_no_array_is_no_answer(name, why):
    found = checked(name)

    assert found.verdict == "no answer"
    assert why in found.why[0]


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        ("mine.py:f", "import sys\nsys.exit(4)", "calls sys.exit(4) while it is imported"),
        ("mine.py:g", "f = 3", "has no 'g'"),
        ("mine.py:f", "f = 3", "is a int; expected a function"),
        ("other.py:f", "", "no such file"),
        ("no_module_of_that_name:f", "", "there is no module 'no_module_of_that_name'"),
        ("mine.py", "", "names no code"),
        (":f", "", "names no code"),
        ("\udcff.py:f", "", "is not UTF-8"),
    ],
)
def test_code_that_is_not_there_is_an_error_of_the_request(tmp_path, monkeypatch, code, text, said):
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(LossbenchError) as error:
        lossbench.check(code, "absolute_error")

    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def f(:", "SyntaxError"),
        ("import no_module_of_that_name", "No module named"),
        (
            "import lossbench\nlossbench.check(__file__ + ':f', 'absolute_error')",
            "lossbench.check is called by the code",
        ),
    ],
)
def test_file_that_cannot_be_imported_is_no_answer(tmp_path, text, why):
    (tmp_path / "mine.py").write_text(text)

    found = lossbench.check(f"{tmp_path / 'mine.py'}:f", "absolute_error")

    assert found.verdict == "no answer"
    assert why in found.why[0]


NUMPY = "import numpy as np\n\n\ndef f(y_pred, y_true):\n    return np.abs(y_pred - y_true)\n"


@pytest.mark.parametrize("name", ["prüfung", "json"])
def test_file_may_have_any_name(tmp_path, name):
    (tmp_path / f"{name}.py").write_text(NUMPY)

    assert lossbench.check(f"{tmp_path / name}.py:f", "absolute_error").verdict == "right"


def test_module_of_a_package_finds_its_neighbours(tmp_path):
    folder = tmp_path / "pack_of_losses"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "near.py").write_text(NUMPY)
    (folder / "losses.py").write_text(
        "from .near import f as g\n\n\ndef f(y_pred, y_true):\n    return g(y_pred, y_true)\n"
    )

    assert lossbench.check(f"{folder / 'losses.py'}:f", "absolute_error").verdict == "right"


def test_function_in_no_file_can_be_given():
    def scaled(by):
        return lambda y_pred, y_true: by * np.abs(y_pred - y_true)

    assert lossbench.check(lambda p, t: np.abs(p - t), "absolute_error").verdict == "right"
    assert lossbench.check(scaled(1), "absolute_error").verdict == "right"
    assert "twice it" in lossbench.check(scaled(2), "absolute_error").why[0]


def test_what_cannot_be_sent_is_an_error_of_the_request(tmp_path):
    held = Lock()  # no other process can have it
    with pytest.raises(LossbenchError, match="cannot be sent to a process of its own"):
        sent.code(lambda p, t: held, tmp_path)


def test_what_cannot_be_called_is_an_error_of_the_request():
    with pytest.raises(LossbenchError, match="3 is a int; expected a function"):
        lossbench.check(3, "absolute_error")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"loss": "ctc"}, "expected a loss of elements or rows"),
        ({"dtypes": ["f8"]}, "unknown dtype 'f8'"),
        ({"modes": ["fast"]}, "torch has no mode 'fast'"),
        ({"framework": "mxnet"}, "unknown framework 'mxnet'"),
        ({"loss": "huber", "delta": "much"}, "much"),
    ],
)
def test_request_that_makes_no_sense_is_an_error(more, said):
    with pytest.raises(LossbenchError) as error:
        checked("anonymous", **more)

    assert said in str(error.value)


def test_error_of_the_request_is_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lossbench", "check", f"{ODD}:absent", "--loss", "huber"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "has no 'absent'" in capsys.readouterr().err


def test_loss_that_takes_too_long_is_asked_no_more(monkeypatch):
    monkeypatch.setattr("lossbench.checking.whole.PATIENCE", -1.0)

    found = checked("anonymous")

    assert found.verdict == "right"
    assert found.findings[-1].level == "not asked"
    assert "too long" in found.findings[-1].words
    assert questions.PATIENCE > 0
