"""The audit sees every public loss of the installed frameworks, new ones too, and fails where no spec covers one."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lossbench import adapters, audit, callables, spec
from lossbench.adapters import namespace
from lossbench.errors import LossbenchError
from lossbench.messages import Argument, Public

COMMAND = [sys.executable, "-c", "import sys; from lossbench.cli import main; sys.argv[0] = 'lossbench'; main()"]
COUNTED = {  # of the versions in which all callables were counted by hand
    ("torch", "2.13."): {
        "torch.nn.functional functions": 22,
        "torch.nn classes": 23 + 1,  # and AdaptiveLogSoftmaxWithLoss, which stands apart
    },
    ("keras", "3.15."): {"keras.losses functions": 22, "keras.losses classes": 23, "tf.nn functions": 11},
    ("optax", "0.2.8"): {"optax.losses functions": 32},
}
PLANT = """
import sys
if any(one.endswith("start.py") for one in sys.orig_argv):
    import optax.losses
    def brand_new_loss(predictions, targets): ...
    optax.losses.brand_new_loss = brand_new_loss
"""


def there(framework: str) -> dict[str, object]:
    try:
        return adapters.losses(framework)
    except ImportError as error:
        pytest.skip(str(error))


def command(path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """`lossbench coverage` with modules of *path* before all others."""
    env = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run([*COMMAND, "coverage", *args], capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize("framework", audit.FRAMEWORKS)
def test_every_public_loss_is_covered(framework):
    found = audit.coverage([framework])
    if found.unmeasured:
        pytest.skip(found.unmeasured[framework])

    assert [line.name for line in found.missing] == []
    assert found.wrong == []
    assert found.stale == []
    assert found.exit_code == 0


@pytest.mark.parametrize(("package", "version"), COUNTED)
def test_the_namespaces_have_as_many_losses_as_were_counted_by_hand(package, version):
    module = pytest.importorskip(package)
    if not str(module.__version__).startswith(version):
        pytest.skip(f"{package} {module.__version__} was not counted")
    framework = {"torch": "torch", "keras": "tensorflow", "optax": "jax"}[package]
    lines = [
        audit.Line(framework=framework, name=one.name, kind=one.kind) for one in namespace.public(there(framework))
    ]

    assert Counter(line.namespace for line in lines) == COUNTED[package, version]


@pytest.mark.parametrize(
    ("framework", "module", "name", "new"),
    [
        ("torch", "torch.nn.functional", "brand_new_loss", lambda scores, target: None),
        ("torch", "torch.nn.functional", "brand_new", lambda scores, target, reduction="mean": None),
        ("tensorflow", "keras.losses", "brand_new", lambda y_true, y_pred: None),
        ("tensorflow", "tensorflow.nn", "brand_new", lambda labels, logits: None),
        ("jax", "optax.losses", "brand_new", lambda predictions, targets: None),
        ("jax", "optax", "brand_new_loss", lambda predictions, targets: None),
        ("jax", "jax.nn", "brand_new_loss", lambda predictions, targets: None),
    ],
)
def test_a_new_function_is_seen(monkeypatch, framework, module, name, new):
    before = set(there(framework))
    monkeypatch.setattr(f"{module}.{name}", new, raising=False)

    assert set(adapters.losses(framework)) - before == {f"{module}.{name}".replace("tensorflow.", "tf.")}


def test_new_classes_are_seen(monkeypatch):
    torch, keras = pytest.importorskip("torch"), there("tensorflow") and pytest.importorskip("keras")
    monkeypatch.setattr(torch.nn, "Brand", type("Brand", (torch.nn.MSELoss,), {}), raising=False)
    monkeypatch.setattr(keras.losses, "Brand", type("Brand", (keras.losses.Loss,), {}), raising=False)

    assert "torch.nn.Brand" in adapters.losses("torch")
    assert "keras.losses.Brand" in adapters.losses("tensorflow")


def test_what_is_no_loss_is_not_seen():
    assert not {"torch.nn.functional.relu", "torch.nn.Linear", "torch.nn.PairwiseDistance"} & set(there("torch"))
    assert not {"keras.losses.get", "keras.losses.serialize", "tf.nn.relu"} & set(there("tensorflow"))


def test_the_command_fails_and_names_a_new_function(tmp_path):
    pytest.importorskip("optax")
    (tmp_path / "sitecustomize.py").write_text(PLANT)
    done = command(tmp_path, "--framework", "jax")

    assert done.returncode == 1, done.stderr
    assert "no spec covers optax.losses.brand_new_loss" in done.stdout


def test_a_framework_that_is_not_installed_is_not_measured(tmp_path):
    (tmp_path / "optax.py").write_text("raise ModuleNotFoundError(\"No module named 'optax'\")")
    done = command(tmp_path, "--framework", "jax", "--json")

    assert done.returncode == 3, done.stderr
    assert "No module named 'optax'" in json.loads(done.stdout)["unmeasured"]["jax"]


def test_an_unknown_framework_is_refused():
    with pytest.raises(LossbenchError, match=r"unknown framework 'paddle'; expected one of: .*jax"):
        audit.coverage(["paddle"])


def public(*arguments: Argument, name: str = "torch.nn.functional.huber_loss") -> Public:
    return Public(name=name, kind="function", arguments=list(arguments))


def entry(tmp_path: Path, text: str) -> callables.Entry:
    """Of huber's spec with a `[[callables]]` table of the test's own."""
    source = spec.load("huber").source
    path = tmp_path / "own.toml"
    head, _, tail = source.partition("[[divergences]]")
    head = head.partition("[[callables]]")[0]
    path.write_text(f"{head}\n[[callables]]\n{text}\n\n[[divergences]]{tail}")
    return callables.Entry(loss=spec.load(path), index=0)


TABLE = """name = "F.huber_loss"
framework = "torch"
call = "F.huber_loss(y_pred, y_true)"
gives = "mean"
parameters = { delta = "delta" }
defaults = { delta = 1.0 }
"""


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (Argument(name="delta", default=1), []),
        (Argument(name="delta", required=True), []),
        (Argument(name="delta", default=2.0), ["has delta=2.0 by default; the spec says 1.0"]),
        (Argument(name="beta", default=1.0), ["has no argument 'delta'; it has: beta"]),
    ],
)
def test_arguments_that_are_not_what_the_spec_says_are_wrong(tmp_path, argument, said):
    found = audit._differences(entry(tmp_path, TABLE), public(argument))

    assert len(found) == len(said)
    assert all(one in text for one, text in zip(said, found, strict=True))


def test_names_that_are_not_there_are_stale(tmp_path):
    one = entry(tmp_path, TABLE)
    excluded = {"torch.nn.Gone": audit.Excluded(name="torch.nn.Gone", framework="torch", reason="gone")}
    found = audit._stale("torch", {"torch.nn.functional.mse_loss"}, {one.name: [one]}, excluded)

    assert found == ["specs/own.toml names torch.nn.functional.huber_loss", "excluded.toml excludes torch.nn.Gone"]


def test_what_is_missing_or_wrong_is_1_and_what_is_not_measured_3():
    line = audit.Line(framework="torch", name="torch.nn.functional.new_loss", kind="function")
    nothing = {"versions": {}, "lines": [], "wrong": [], "stale": ["a"], "unmeasured": {}}

    assert audit.Coverage(**nothing).exit_code == 0
    assert audit.Coverage(**{**nothing, "unmeasured": {"jax": "gone"}}).exit_code == 3
    assert audit.Coverage(**{**nothing, "unmeasured": {"jax": "gone"}, "wrong": ["a"]}).exit_code == 1
    assert audit.Coverage(**{**nothing, "lines": [line]}).exit_code == 1


@pytest.mark.parametrize("name", spec.names())
def test_every_cell_of_a_loss_is_native_a_recipe_or_absent_with_its_reason(name):
    loss = spec.load(name)
    for framework in audit.FRAMEWORKS:
        assert (framework in loss.frameworks) != bool(loss.absent.get(framework))


def test_cells_count_each_loss_once():
    found = audit.cells([spec.load("huber"), spec.load("absolute_error")])

    assert {name: dict(one) for name, one in found.items()} == {
        "torch": {"native": 2, "recipe": 0, "absent": 0},
        "tensorflow": {"native": 2, "recipe": 0, "absent": 0},
        "jax": {"native": 1, "recipe": 1, "absent": 0},
    }


def test_the_readme_has_the_table_of_the_specs():
    path = Path(__file__).parent.parent / "README.md"
    text = path.read_text(encoding="utf-8")

    assert audit.written(text, spec.load_all()) == text, "run: lossbench coverage --write README.md"


def test_a_file_without_a_place_for_the_table_is_refused():
    with pytest.raises(LossbenchError, match="no place for the table of cells"):
        audit.written("# a file", [])
