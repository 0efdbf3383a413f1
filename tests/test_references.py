"""Reference values: written by a tool, and every digit guarded."""

import pytest

from lossbench import references, spec
from lossbench.errors import SpecError


@pytest.fixture
def refreshed(tmp_path):
    path = spec.start("half_square", tmp_path)
    references.refresh(path)
    return path


@pytest.mark.parametrize("name", spec.names())
def test_references_of_every_spec_are_right(name):
    references.verify(spec.load(name))


def test_refresh_writes_values_that_hold(refreshed):
    loss = spec.load(refreshed)

    references.verify(loss)
    assert len(loss.references) == references.POINTS


def test_refresh_twice_changes_nothing(refreshed):
    once = refreshed.read_text()
    references.refresh(refreshed)

    assert refreshed.read_text() == once


def test_refresh_keeps_what_a_person_wrote(refreshed, tmp_path):
    (tmp_path / "other").mkdir()
    start = spec.start("half_square", tmp_path / "other").read_text()

    assert refreshed.read_text().startswith(start.rstrip())


def test_a_wrong_digit_is_found_with_its_line(refreshed):
    text = refreshed.read_text()
    value = spec.load(refreshed).references[2].value
    wrong = f'value = "{value}1"'
    at = text.index(f'value = "{value}"', text.index(references.HEADER))
    head, tail = text[:at], text[at:]
    refreshed.write_text(head + tail.replace(f'value = "{value}"', wrong, 1))
    spec.forget()

    with pytest.raises(SpecError) as caught:
        references.verify(spec.load(refreshed))

    line = int(str(caught.value).split(":")[1])
    assert refreshed.read_text().splitlines()[line - 1] == wrong
    assert f"run `lossbench spec refresh {refreshed}`" in str(caught.value)


def test_refresh_refuses_values_written_by_hand(tmp_path):
    path = spec.start("half_square", tmp_path)
    with path.open("a") as file:
        file.write('\n[[references]]\nat = { y_pred = "1", y_true = "0" }\nvalue = "1/2"\ngradient = "1"\n')

    with pytest.raises(SpecError, match="outside the part that the tool writes"):
        references.refresh(path)


def test_a_folder_that_takes_no_file_is_said(refreshed):
    refreshed.with_suffix(".toml.new").mkdir()
    before = refreshed.read_text()

    with pytest.raises(SpecError, match=r"half_square\.toml\.new: cannot be written \(Is a directory\)"):
        references.refresh(refreshed)
    assert refreshed.read_text() == before
