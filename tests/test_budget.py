"""Budgets: written by runs, in one order; beside them a run is worse, better or kept, or has other inputs."""

import pytest
from msgspec.structs import replace
from small_run import small_run
from typer.testing import CliRunner

from lossbench import accuracy, cli, report, runs, spec
from lossbench.answers import Answers
from lossbench.budget import command, comparison, file, shelf
from lossbench.budget.model import Budget, Errors, Kept, rounded
from lossbench.errors import LossbenchError
from lossbench.store import Store

CELL = ("huber", "torch:eager:cpu", "float32")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store.open(small_run(tmp_path_factory.mktemp("run")).path)


@pytest.fixture(scope="module")
def answers(store):
    return Answers(store)


@pytest.fixture(scope="module")
def jobs(answers):
    return accuracy.jobs(answers)


@pytest.fixture(scope="module")
def made(answers, jobs):
    """The budget of each framework, as the run itself makes it."""
    return {one.framework: one for one, _ in comparison.budgets(answers, jobs)}


@pytest.fixture
def compare(answers, jobs, made):
    """The rows of the run beside its own budgets, of which those named are changed."""

    def rows(**changed):
        carried = {f"{name}-1.2 <beta>": one for name, one in (made | changed).items()}
        return comparison.compare(answers, jobs, carried)

    return rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in the place of lossbench's own budgets."""
    monkeypatch.setattr(shelf, "FOLDER", tmp_path / "budgets")
    return tmp_path / "budgets"


def edited(budget, name, edit, cell=("huber", "eager", "float32")):
    """The budget with one of its cases edited."""
    loss, mode, dtype = cell
    before = budget.cells[loss][mode][dtype]
    kept = before[name] if isinstance(before[name], Kept) else Kept(inputs=before[name])
    return budget.merged(replace(budget, cells={loss: {mode: {dtype: {name: edit(kept)}}}}))


def of_cell(rows, *cell):
    loss, target, dtype = cell or CELL
    return rows[(rows["loss"] == loss) & (rows["target"] == target) & (rows["dtype"] == dtype)]


def invoke(*args):
    return CliRunner().invoke(cli.app, [str(arg) for arg in args], catch_exceptions=False)


@pytest.mark.parametrize(
    ("error", "kept"), [(0.0, 0.5), (0.5, 0.5), (0.51, 0.51), (1.231, 1.3), (1e5 + 1, 1.1e5), (float("nan"), 0.5)]
)
def test_errors_are_rounded_up_to_two_digits(error, kept):
    assert rounded(error) == kept


def test_a_budget_is_the_same_again_when_it_is_read(made, tmp_path):
    for one in made.values():
        file.write(one, tmp_path / f"{one.stem}.toml")

        assert file.load(tmp_path / f"{one.stem}.toml") == one
        assert file.text(file.load(tmp_path / f"{one.stem}.toml")) == file.text(one)


def test_the_order_of_runs_does_not_change_the_file(made):
    one = made["jax"]
    first, second = one.of(["huber"]), one.of(["softmax_cross_entropy"])

    assert file.text(first.merged(second)) == file.text(second.merged(first)) == file.text(one)


def test_what_a_run_did_not_measure_is_kept():
    old = Budget(framework="f", version="1", cells={"a": {"eager": {"float32": {"domain 9": "11", "edge 1": "22"}}}})
    new = Budget(framework="f", version="1", cells={"a": {"eager": {"float32": {"edge 1": Kept(inputs="33")}}}})

    merged = old.merged(new).cells["a"]["eager"]["float32"]

    assert merged == {"domain 9": "11", "edge 1": Kept(inputs="33")}


def test_a_case_of_another_name_gives_way_to_the_same_inputs():
    old = Budget(framework="f", version="1", cells={"a": {"eager": {"float32": {"edge 1": "11"}}}})
    new = Budget(framework="f", version="1", cells={"a": {"eager": {"float32": {"edge 2": "11"}}}})

    assert old.merged(new).cells["a"]["eager"]["float32"] == {"edge 2": "11"}


def test_what_a_framework_no_longer_answers_is_dropped():
    old = Budget(framework="f", version="1", cells={"a": {"eager": {"float32": {"edge 1": "11", "edge 2": "22"}}}})
    new = Budget(framework="f", version="1")

    assert old.merged(new, {("a", "eager", "float32", "11")}).cells["a"]["eager"]["float32"] == {"edge 2": "22"}


def test_a_run_keeps_its_own_budget(compare):
    rows = compare()

    assert set(rows["result"]) == {"kept", "no budget"}  # the hostile loss has no answer by jax
    assert set(rows.loc[rows["result"] == "no budget", "loss"]) == {"hostile"}
    assert not command.failing(rows)


def test_a_larger_error_is_worse_and_shows_its_input(compare, made):
    name = "domain 40"
    error = made["jax"].cells["huber"]["compiled"]["float32"][name].gradient
    assert error.ulp > 2
    smaller = edited(
        made["jax"], name, lambda kept: replace(kept, gradient=Errors(ulp=1.0)), ("huber", "compiled", "float32")
    )

    row = of_cell(compare(jax=smaller), "huber", "jax:compiled:cpu", "float32").query("result == 'worse'").squeeze()

    assert (row["case"], row["what"]) == (name, "gradient")
    assert (row["before"], row["now"]) == ("1 ulp", f"{error.ulp:g} ulp")
    assert row["worst"].startswith("y_pred=")
    assert "0x" in row["worst"]
    assert "exact" in row["worst"]


def test_an_eighth_more_is_no_news(compare, made):
    error = made["jax"].cells["huber"]["compiled"]["float32"]["domain 40"].gradient
    less = replace(error, ulp=error.ulp / 1.1)
    budget = edited(
        made["jax"], "domain 40", lambda kept: replace(kept, gradient=less), ("huber", "compiled", "float32")
    )

    assert set(of_cell(compare(jax=budget), "huber", "jax:compiled:cpu", "float32")["result"]) == {"kept"}


def test_a_smaller_error_is_better(compare, made):
    larger = edited(made["torch"], "domain 40", lambda kept: replace(kept, value=Errors(ulp=7.0)))

    row = of_cell(compare(torch=larger)).query("result == 'better'").squeeze()

    assert (row["before"], row["now"], row["worst"]) == ("7 ulp", "0.5 ulp", "")


def test_a_new_nan_is_worse_whatever_the_errors():
    before, now = Errors(ulp=1e6), Errors(ulp=0.5, nan=1)

    assert comparison.decided(before, now, 0.5) == ("worse", "nan")
    assert comparison.decided(now, before, 0.5) == ("better", "nan")


def test_sums_within_an_ulp_are_no_news():
    assert comparison.decided(Errors(ulp=0.5), Errors(ulp=0.9), 1.0) == ("kept", "ulp")
    assert comparison.decided(Errors(ulp=0.5), Errors(ulp=0.9), 0.5) == ("worse", "ulp")


def test_what_has_no_right_digit_gets_neither_worse_nor_better():
    garbage, other = Errors(ulp=1e30, judged=1e30), Errors(ulp=1e36, judged=1e36)

    assert comparison.decided(garbage, other, 0.5, lost=2.0**24) == ("kept", "ulp")
    assert comparison.decided(other, garbage, 0.5, lost=2.0**24) == ("kept", "ulp")
    assert comparison.decided(Errors(ulp=3.0), garbage, 0.5, lost=2.0**24) == ("worse", "ulp")
    assert comparison.decided(garbage, Errors(ulp=3.0), 0.5, lost=2.0**24) == ("better", "ulp")


def test_on_another_processor_only_a_new_sort_of_mismatch_is_worse():
    before = Errors(ulp=3.0, inf=1)

    assert comparison.decided(before, Errors(ulp=9.0, inf=1), 0.5, here=False) == ("worse elsewhere", "ulp")
    assert comparison.decided(before, Errors(ulp=3.0, inf=2), 0.5, here=False) == ("worse elsewhere", "inf")
    assert comparison.decided(before, Errors(ulp=3.0, inf=2, nan=1), 0.5, here=False) == ("worse", "nan")


def test_other_inputs_are_not_comparable(compare, made):
    other = edited(made["torch"], "domain 40", lambda kept: Kept(inputs="elsewhere", value=Errors(ulp=0.25)))

    rows = of_cell(compare(torch=other))

    assert rows.loc[rows["case"] == "domain 40", "result"].tolist() == ["not comparable"]
    assert not command.failing(rows)


def test_what_only_the_budget_has_is_not_measured(compare, made):
    more = made["torch"].merged(
        replace(made["torch"], cells={"huber": {"eager": {"float32": {"domain 99 sum": "elsewhere"}}}})
    )

    rows = of_cell(compare(torch=more))

    assert rows.loc[rows["case"] == "domain 99 sum", "result"].tolist() == ["not measured"]


def test_no_answer_where_there_was_one_fails(compare, made, answers, jobs):
    refused = next(one for one in comparison.found(answers, jobs) if one.said_no)
    cell = {refused.name: refused.inputs}
    before = Budget(
        framework="jax", version="1.2 <beta>", cells={"hostile": {"compiled": {refused.job.case.dtype: cell}}}
    )

    rows = compare(jax=made["jax"].merged(before))

    row = rows[rows["result"] == "no answer"].squeeze()
    assert (row["loss"], row["case"]) == ("hostile", refused.name)
    assert "jax has no native hostile" in row["now"]
    assert command.failing(rows)


def test_a_version_without_budget_hears_which_there_are(answers, jobs, folder):
    file.write(Budget(framework="torch", version="1.1"), folder / "torch-1.1.toml")

    said = "\n".join(command.lines(comparison.compare(answers, jobs, {}), answers.store.path))

    assert "no budget of torch 1.2 <beta>; there are: torch-1.1; to write one: lossbench budget write" in said
    assert "no budget of jax 1.2 <beta>; there are: none" in said


def test_a_given_file_is_for_every_version_and_a_folder_for_its_own(made, tmp_path):
    for version in ("1.1", "1.3"):
        file.write(replace(made["torch"], version=version), tmp_path / f"torch-{version}.toml")
    losses = [spec.load("huber")]

    one = shelf.gathered(losses, [tmp_path / "torch-1.1.toml"])
    all_of = shelf.gathered(losses, [tmp_path])

    assert [of.version for of in shelf.chosen("torch", "7.7", one)] == ["1.1"]
    assert shelf.chosen("torch", "7.7", all_of) == []
    assert [of.version for of in shelf.chosen("torch", "1.3", all_of)] == ["1.3"]
    assert set(one["torch"].cells) == {"huber"}


def test_budgets_beside_specs_of_ones_own_are_found(made, tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text(spec.load("huber").path.read_text(encoding="utf-8"), encoding="utf-8")
    cells = {"mine": made["torch"].cells["huber"]}
    file.write(replace(made["torch"], version="1.2", cells=cells), tmp_path / "budgets" / "torch-1.2.toml")

    found = shelf.gathered([spec.load(own)], [])

    assert shelf.chosen("torch", "1.2", found)[0].cells == cells


def test_budgets_travel_with_a_run(made, tmp_path):
    shelf.keep({"torch": made["torch"]}, tmp_path)

    assert shelf.carried(tmp_path) == {"torch": made["torch"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("framework = 1", "expected `str`, got `int`"),
        ("framework = 'torch'\nversion = '1'\n[cells.huber.eager.float31]", "invalid enum value 'float31'"),
    ],
)
def test_a_broken_budget_is_named(text, said, tmp_path):
    path = tmp_path / "torch-1.toml"
    if text:
        path.write_text(text, encoding="utf-8")

    with pytest.raises(LossbenchError, match=r"torch-1\.toml"):
        file.load(path)
    with pytest.raises(LossbenchError, match=said):
        file.load(path)


def test_an_empty_folder_is_no_budget(tmp_path):
    with pytest.raises(LossbenchError, match="has no budgets; expected files such as"):
        shelf.gathered([], [tmp_path])


def test_write_needs_a_place_for_losses_of_ones_own(store, folder):
    with pytest.raises(LossbenchError, match="hostile is no loss of lossbench; say with --out"):
        runs.budgeted(store.path)


def test_the_command_writes_and_check_compares(store, folder, tmp_path):
    out = tmp_path / "out"

    assert invoke("budget", "write", store.path, "--out", out).exit_code == 0
    before = {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}
    assert invoke("budget", "write", store.path, "--out", out).exit_code == 0

    assert before == {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}
    assert before.keys() == {"torch-1.2 <beta>.toml", "jax-1.2 <beta>.toml"}
    assert invoke("budget", "check", store.path, "--budget", out).exit_code == 0
    budget = file.load(out / "jax-1.2 <beta>.toml")
    strict = edited(
        budget, "domain 40", lambda kept: replace(kept, gradient=Errors(ulp=1.0)), ("huber", "compiled", "float32")
    )
    file.write(strict, tmp_path / "strict.toml")
    done = invoke("budget", "check", store.path, "--budget", tmp_path / "strict.toml")
    assert done.exit_code == 1
    assert done.stdout.startswith("worse: huber, jax:compiled:cpu, float32, gradient (domain 40): ")
    assert "was 1 ulp: y_pred=" in done.stdout


def test_the_report_says_what_is_worse(tmp_path, made, monkeypatch):
    monkeypatch.setattr(shelf, "FOLDER", tmp_path / "budgets")
    store = small_run(tmp_path)
    strict = edited(
        made["jax"], "domain 40", lambda kept: replace(kept, gradient=Errors(ulp=1.0)), ("huber", "compiled", "float32")
    )
    shelf.keep({"jax": strict}, store.path)

    index = report.write(store)
    page = index.with_name("budgets.html").read_text(encoding="utf-8")

    assert "1 cell worse than measured" in index.read_text(encoding="utf-8")
    assert "domain 40" in page
    assert "1.2 &lt;beta&gt;" in page
    assert page.count("0x") >= 1
