"""Ports: what is asked is understood, the code is what was proved, and every public callable agrees with every cell."""

import ast
import json
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
from typer.testing import CliRunner

from lossbench import adapters, audit, callables, cli, inputs, porting, spec
from lossbench.adapters import call, namespace
from lossbench.callables import Entry
from lossbench.errors import LossbenchError, Unsupported
from lossbench.messages import Argument, Public
from lossbench.porting import asked, layout, notes, proof, reading, reductions, written
from lossbench.porting.asked import Given
from lossbench.porting.recipe import Port, Proof, Recipe
from lossbench.porting.source import Source, chosen
from lossbench.records import Case, Target

ENTRIES = callables.entries(spec.load_all())
TABLES = [entry for claims in ENTRIES.values() for entry in claims]


@cache
def opened(framework: str) -> adapters.Adapter:
    try:
        module = adapters.load(framework)
    except ImportError as error:
        pytest.skip(str(error))
    return module.open(Target(framework=framework, mode=module.MODES[0]))


@cache
def public(framework: str) -> dict[str, Public]:
    opened(framework)
    return {one.name: one for one in namespace.public(adapters.losses(framework))}


def run(framework: str, problem: inputs.Problem, text: str) -> dict[str, np.ndarray]:
    return opened(framework).prepare(replace(problem, call=text)).arrays()


def shown(entry: Entry) -> dict[str, object]:
    """The arguments that stand in a table's own call: those with which it is its loss."""
    tree = ast.parse(entry.callable.call.strip())
    made = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and callables.canonical(ast.unparse(node.func)) == entry.name
    )
    named = {one.arg: one.value for one in made.keywords}
    there = {one.name for one in public(entry.callable.framework)[entry.name].arguments}
    found: dict[str, object] = {}
    for name, value in named.items():
        if isinstance(value, ast.Name) and value.id in entry.loss.parameters:
            found[name] = float(spec.exact(entry.loss.parameters[value.id].default))
        elif name in there:
            found[name] = asked.read(f"call({name}={ast.unparse(value)})").arguments[name]
    return found


def source_of(entry: Entry) -> Source:
    found = public(entry.callable.framework).get(entry.name)
    if found is None:
        pytest.skip(f"{entry.name} is not in this version")
    return Source(entry, found, shown(entry))


def identity(entry: Entry) -> str:
    return f"{entry.loss.name}-{entry.name}"


@pytest.mark.parametrize("entry", TABLES, ids=identity)
def test_every_callable_agrees_with_every_cell_of_its_loss(entry):
    """By the code that a port prints, in float64 to 1e-8, value and gradients; a difference must be a declared one."""
    source = source_of(entry)
    assert callables.fits(entry, shown(entry))
    here = run(source.framework, source.problem, source.runs)
    exact = proof.certified(source.problem, source.reduction)

    for framework, own in entry.loss.frameworks.items():
        if own.requires and not call.requirement_holds(own.requires, source.problem):
            continue
        text = written.target(source.problem, framework, source.reduction)
        there = run(framework, source.problem, written.tabled(text, entry.loss, framework, proof.TABLE))
        both = (source.framework, framework)
        judged = proof.judged(source.problem, both, here, there, exact, entry.name)
        if source.plainer:
            plainer = run(source.framework, source.problem, source.plainer)
            judged = proof.explained(judged, source.extra, plainer, there, exact)

        assert judged.status in ("equal", "differs as declared"), f"{framework}: {judged.between}"


@pytest.mark.parametrize("entry", TABLES, ids=identity)
def test_what_a_table_says_of_its_arguments_is_so(entry):
    found = public(entry.callable.framework).get(entry.name)
    if found is None:
        pytest.skip(f"{entry.name} is not in this version")

    callables.verify(entry)
    assert audit._differences(entry, found) == []


@pytest.mark.parametrize("name", spec.names())
@pytest.mark.parametrize("parameters", ["default", "other"])
def test_all_pairs_of_cells_agree(name, parameters):
    """Each framework's call of a loss against each other's: float64, 1e-8, value and gradients, weights too."""
    loss = spec.load(name)
    if loss.accumulated:
        pytest.skip("it is kept in a state, and no call is ported to another")
    other = {key: one.values[0] for key, one in loss.parameters.items() if one.values} if parameters == "other" else {}
    if parameters == "other" and not other:
        pytest.skip("no parameters")
    case = proof.case(loss, other, proof.CLASSES, "none")
    for weighted in (False, True):
        if weighted and loss.pooled:
            continue
        problem = inputs.draw(
            loss, Case(**{key: getattr(case, key) for key in case.__struct_fields__} | {"weighted": weighted})
        )
        answers = {}
        for framework in loss.frameworks:
            try:
                answers[framework] = opened(framework).prepare(problem).arrays()
            except Unsupported:
                continue
        certified = problem.certified()
        exact = {"value": certified.value.high} | {
            f"gradient.{key}": one.high for key, one in certified.gradient.items()
        }
        for one, first in answers.items():
            for two, second in answers.items():
                judged = proof.judged(problem, (one, two), first, second, exact)

                assert judged.status != "failed", f"{one} to {two}: {judged.between}"
                if judged.status == "differs as declared":
                    assert any(found.framework in (one, two) for found in loss.divergences)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", spec.names())
def test_the_code_of_a_weighted_port_computes_the_weighted_loss(name, reduction):
    loss = spec.load(name)
    if loss.pooled or loss.accumulated:
        pytest.skip("it takes no weights")
    case = proof.case(loss, {}, proof.CLASSES, reduction)
    problem = inputs.draw(
        loss, Case(**{key: getattr(case, key) for key in case.__struct_fields__} | {"weighted": True})
    )
    wanted = reductions.Reduction(inner="none", outer=reduction)
    exact = problem.certified().value.high

    for framework, own in loss.frameworks.items():
        if own.requires and not call.requirement_holds(own.requires, problem):
            continue
        got = run(framework, problem, written.target(problem, framework, wanted))["value"]
        np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-6)


def test_a_mean_by_weight_divides_by_the_sum_of_the_weights():
    loss = spec.load("huber")
    problem = inputs.problem(
        loss, {"y_pred": [1.0, 3.0], "y_true": 0.0}, dtype="float64", reduction="mean", sample_weight=[1.0, 3.0]
    )
    by_weight = reductions.Reduction(inner="none", outer="mean", named="mean_with_sample_weight")

    for framework in loss.frameworks:
        text = written.target(problem, framework, by_weight)
        assert run(framework, problem, text)["value"] == (1 * 0.5 + 3 * 2.5) / 4


@pytest.mark.parametrize(
    ("inner", "outer", "exact"),
    [
        ("none", "mean", 3.5),
        ("none", "sum", 21.0),
        ("mean", "none", [2.0, 5.0]),
        ("mean", "sum", 7.0),
        ("mean", "mean", 3.5),
        ("sum", "none", [6.0, 15.0]),
        ("sum", "mean", 10.5),
        ("sum", "sum", 21.0),
    ],
)
def test_means_and_sums_over_the_last_axis_are_told_from_those_over_all(inner, outer, exact):
    loss = spec.load("absolute_error")
    problem = inputs.problem(loss, {"y_pred": [1, 2, 3, 4, 5, 6], "y_true": 0}, dtype="float64", reduction="none")
    wanted = reductions.Reduction(inner=inner, outer=outer)

    for framework in loss.frameworks:
        text = written.tabled(written.target(problem, framework, wanted), loss, framework, (2, 3))
        np.testing.assert_allclose(run(framework, problem, text)["value"], exact, rtol=1e-15)


@pytest.mark.parametrize("reduction", ["sum", "mean", "none", "mean_with_sample_weight"])
def test_weights_of_rows_do_what_they_do_in_keras(reduction):
    given = {"y_pred": [1, 2, 3, 4, 5, 6], "y_true": 0}
    weights = [1.0, 3.0, 0.0, 0.0, 0.0, 0.0]  # those of the two rows, and some that fill their array
    problem = inputs.problem(
        spec.load("absolute_error"), given, dtype="float64", reduction="none", sample_weight=weights
    )
    tables = ", ".join(f"tf.reshape({name}, (2, 3))" for name in ("y_true", "y_pred"))
    made = f"keras.losses.MeanAbsoluteError(reduction='{reduction}', dtype='float64')"
    exact = run("tensorflow", problem, f"{made}({tables}, sample_weight[:2])")["value"]
    wanted = reductions.Reduction(inner="mean", outer=reductions.NAMES[reduction], named=reduction)

    for framework in problem.loss.frameworks:
        text = written.tabled(written.target(problem, framework, wanted), problem.loss, framework, (2, 3))
        got = run(framework, problem, text.replace("sample_weight", "sample_weight[:2]"))["value"]
        np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "name", "note"),
    [
        ("F.huber_loss", "torch.nn.functional.huber_loss", ""),
        ("nn.HuberLoss()", "torch.nn.HuberLoss", ""),
        ("torch.nn.functional.huber_loss(input, target)", "torch.nn.functional.huber_loss", ""),
        ("nn.HuberLoss(delta=2.0)(x, y)", "torch.nn.HuberLoss", ""),
        ("losses.Huber", "keras.losses.Huber", ""),
        ("tf.keras.losses.Huber(delta=1 / 2)", "keras.losses.Huber", ""),
        ("tf.losses.Huber", "keras.losses.Huber", ""),
        ("optax.huber_loss", "optax.losses.huber_loss", ""),
        ("tensorflow.nn.l2_loss", "tf.nn.l2_loss", ""),
        ("HuberLoss", "torch.nn.HuberLoss", ""),
        ("'mse'", "keras.losses.MeanSquaredError", "as compile(loss=...) takes it"),
        ("MSE", "keras.losses.MeanSquaredError", "as compile(loss=...) takes it"),
        ("kullback_leibler_divergence", "keras.losses.KLDivergence", "current releases of Keras reject it"),
        ("cosine_proximity", "keras.losses.CosineSimilarity", "current releases of Keras reject it"),
        ("logcosh", "keras.losses.LogCosh", "current releases of Keras reject it"),
        ("huber_loss", "keras.losses.Huber", "current releases of Keras reject it"),
        ("tf.keras.losses.mse", "keras.losses.mean_squared_error", "in tf.keras.losses alone"),
        ("log_cosh(y_true, y_pred)", "keras.losses.log_cosh", ""),
    ],
)
def test_names_are_understood_as_people_write_them(text, name, note):
    found = asked.named(asked.read(text), ENTRIES)

    assert found.name == name
    assert note in found.note if note else found.note == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("F.hubert_loss", "no loss is called 'F.hubert_loss'; did you mean: torch.nn.functional.huber_loss"),
        ("keras.losses.Hubr", "did you mean: keras.losses.Huber"),
        ("keras.losses.Loss", "keras.losses.Loss is no loss of its own: it is the base class"),
        ("triplet_margin_loss", "'triplet_margin_loss' is several callables; expected one of: optax"),
        ("F.huber_loss(", "is not readable; expected a name or a call"),
        ("__import__('os').system('true')", "is no name of a callable"),
        ("[x for x in y]", "is no name of a callable"),
        ("F.huber_loss(*args)", "uses \\* or \\*\\*"),
    ],
)
def test_what_is_no_loss_is_refused_with_what_is_close(text, said):
    with pytest.raises(LossbenchError, match=said):
        asked.named(asked.read(text), ENTRIES)


def test_arguments_are_numbers_lists_texts_or_data():
    found = asked.read("f.g(-1, 1 / 4, x, a=[1, -2.5], b='sum', c=None, d=torch.tensor([1.0]), e=x + 1, f=1 / 0)")

    assert found.positional == (-1, 0.25, Given(code="x"))
    assert found.arguments == {
        **{"a": [1, -2.5], "b": "sum", "c": None, "d": [1.0]},
        **{"e": Given(code="x + 1"), "f": Given(code="1 / 0")},
    }


HUBER = Public(
    name="torch.nn.functional.huber_loss",
    kind="function",
    arguments=[
        *(Argument(name=name, required=True) for name in ("input", "target")),
        Argument(name="reduction", default="mean"),
        Argument(name="delta", default=1.0),
        Argument(name="weight", keyword_only=True),
    ],
)


def test_arguments_by_place_get_their_names():
    found = asked.bound(asked.read("F.huber_loss(x, y, 'sum', 2.0)"), HUBER)

    assert found == {"input": Given(code="x"), "target": Given(code="y"), "reduction": "sum", "delta": 2.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("F.huber_loss(x, y, 'sum', 2.0, w)", "takes 4 arguments by place; 5 were given"),
        ("F.huber_loss(detla=2.0)", "has no argument 'detla'; did you mean: delta; it has: input, target"),
        ("F.huber_loss(x, input=x)", "gets its argument 'input' twice"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(text, said):
    with pytest.raises(LossbenchError, match=said):
        asked.bound(asked.read(text), HUBER)


def test_without_the_framework_only_named_numbers_are_understood():
    assert asked.bound(asked.read("F.huber_loss(x, delta=2.0)"), None) == {"delta": 2.0}
    with pytest.raises(LossbenchError, match="is not installed here; expected its arguments by their names"):
        asked.bound(asked.read("F.huber_loss(x, y, 'sum')"), None)


def huber(name: str) -> Entry:
    return next(entry for entry in ENTRIES[name] if entry.loss.name == "huber")


@pytest.mark.parametrize(
    ("name", "given", "inner", "outer"),
    [
        ("torch.nn.functional.huber_loss", {}, "none", "mean"),
        ("torch.nn.functional.huber_loss", {"reduction": "none"}, "none", "none"),
        ("torch.nn.functional.huber_loss", {"size_average": False}, "none", "sum"),
        ("torch.nn.functional.huber_loss", {"reduce": False}, "none", "none"),
        ("keras.losses.Huber", {}, "mean", "mean"),
        ("keras.losses.Huber", {"reduction": "sum"}, "mean", "sum"),
        ("keras.losses.Huber", {"reduction": None}, "mean", "none"),
        ("keras.losses.Huber", {"reduction": "mean_with_sample_weight"}, "mean", "mean"),
        ("keras.losses.Huber", {"reduction": Given(code="tf.keras.losses.Reduction.SUM")}, "mean", "sum"),
        ("keras.losses.huber", {}, "mean", "none"),
        ("optax.losses.huber_loss", {}, "none", "none"),
    ],
)
def test_reductions_are_what_each_library_means_by_them(name, given, inner, outer):
    entry = huber(name)
    found = reductions.asked(entry, public(entry.callable.framework)[name], given)

    assert (found.inner, found.outer) == (inner, outer)


@pytest.mark.parametrize(
    ("name", "reduction"),
    [
        *((name, reduction) for name in ("torch.nn.HuberLoss", "keras.losses.Huber") for reduction in ("none", "sum")),
        *(("keras.losses.CategoricalCrossentropy", one) for one in ("none", "sum", "mean_with_sample_weight")),
        *(("torch.nn.functional.cross_entropy", one) for one in ("none", "sum", "mean")),
        *(("torch.nn.KLDivLoss", one) for one in ("batchmean", "sum", "mean")),
    ],
)
def test_each_reduction_of_a_callable_agrees_elsewhere(name, reduction):
    entry = ENTRIES[name][0]
    source = Source(entry, public(entry.callable.framework)[name], {"reduction": reduction})
    here = run(source.framework, source.problem, source.runs)
    exact = proof.certified(source.problem, source.reduction)

    assert f"reduction='{reduction}'" in source.runs
    for framework in entry.loss.frameworks:
        text = written.tabled(
            written.target(source.problem, framework, source.reduction), entry.loss, framework, proof.TABLE
        )
        judged = proof.judged(source.problem, ("", ""), here, run(framework, source.problem, text), exact)
        assert judged.status == "equal", f"{framework}: {judged.between}"


def test_the_terms_of_single_classes_are_no_loss_of_rows():
    entry = ENTRIES["torch.nn.functional.kl_div"][0]
    with pytest.raises(LossbenchError, match="reduction='none' keeps the term of each class"):
        reductions.asked(entry, public("torch")[entry.name], {"reduction": "none"})


def test_an_unknown_reduction_is_refused():
    with pytest.raises(LossbenchError, match="unknown reduction 'median'; expected one of: auto, batchmean, mean"):
        reductions.asked(huber("torch.nn.functional.huber_loss"), HUBER, {"reduction": "median"})


def test_data_in_the_place_of_a_number_is_refused():
    with pytest.raises(LossbenchError, match="delta is `d`; expected a number"):
        Source(huber("torch.nn.functional.huber_loss"), HUBER, {"delta": Given(code="d")})


def test_weights_of_classes_keep_the_name_that_they_have():
    framework = "torch"
    found = public(framework)["torch.nn.functional.cross_entropy"]
    entry, _ = chosen(ENTRIES[found.name], {}, "sparse_softmax_cross_entropy")
    source = Source(entry, found, {"weight": Given(code="w")})
    code = written.script(source.text, framework, source.rows, {})

    assert source.text == "F.cross_entropy(logits, y_true, weight=class_weight)"
    assert "class_weight = w\n" in code


def test_a_condition_decides_which_loss_a_callable_is():
    claims = ENTRIES["keras.losses.BinaryCrossentropy"]

    assert chosen(claims, {}, None)[0].loss.name == "binary_cross_entropy"
    assert chosen(claims, {"from_logits": True}, None)[0].loss.name == "sigmoid_cross_entropy"
    with pytest.raises(LossbenchError, match="is not sigmoid_cross_entropy; expected one of: binary_cross_entropy"):
        chosen(claims, {}, "sigmoid_cross_entropy")


def test_labels_come_first_where_inputs_decide():
    entry, also = chosen(ENTRIES["torch.nn.functional.cross_entropy"], {}, None)

    assert entry.loss.name == "sparse_softmax_cross_entropy"
    assert also == ["softmax_cross_entropy"]


@pytest.mark.parametrize(
    ("expression", "undone"),
    [
        ("x", "a"),
        ("torch.log(x)", "jnp.exp(a)"),
        ("jnp.exp(x)", "jnp.log(a)"),
        ("x[..., None]", "a[..., 0]"),
        ("tf.cast(x, tf.float32)", "a"),
        ("-x", "-a"),
        ("jax.nn.one_hot(x, 3)", "jnp.argmax(a, -1)"),
        ("x - y", None),
    ],
)
def test_what_a_source_makes_of_an_input_is_undone(expression, undone):
    assert reading.undone(expression, "a", "x", "jax") == undone


TEXTS = [loss.frameworks[name].call for loss in spec.load_all() for name in loss.frameworks]


@pytest.mark.parametrize("text", TEXTS)
def test_folded_code_means_the_same(text):
    flat = ast.unparse(ast.parse(text.strip(), mode="eval"))

    assert ast.dump(ast.parse(f"v = {layout.folded(flat, 4)}")) == ast.dump(ast.parse(f"v = {flat}"))


def test_short_code_stays_on_its_line_and_long_code_does_not():
    long = f"f({', '.join(['argument'] * 20)})"

    assert layout.folded("f(x)") == "f(x)"
    assert max(map(len, layout.folded(long).splitlines())) <= layout.WIDTH


def recipe(*ports: Port) -> Recipe:
    texts = dict.fromkeys(("asked", "name", "framework", "loss", "title", "gives", "code"), "")
    return Recipe(**texts, parameters={}, takes={}, also=[], notes=[], ports=ports)


def test_a_failed_proof_is_1_and_a_missing_one_3():
    bad = Proof(points=1, status="failed", between={}, source={}, target={})
    declared = replace(bad, status="differs as declared")

    def exit_code(*ports: Port) -> int:
        return recipe(*ports).exit_code

    assert exit_code(Port(framework="jax", form="absent")) == 0
    assert exit_code(Port(framework="jax", form="native", proof=declared)) == 0
    assert exit_code(Port(framework="jax", form="native", unproved="not installed")) == 3
    assert (
        exit_code(Port(framework="jax", form="native", proof=bad), Port(framework="a", form="native", unproved="b"))
        == 1
    )


def test_results_of_other_shapes_or_values_fail():
    problem = inputs.problem(
        spec.load("huber"), {"y_pred": [1.0, 2.0], "y_true": 0.0}, dtype="float64", reduction="none"
    )
    exact = {"value": np.array([0.5, 1.5])}

    def status(value: object) -> str:
        return proof.judged(problem, ("torch", "jax"), exact, {"value": np.asarray(value)}, exact).status

    assert status([0.5, 1.5]) == "equal"
    assert status([0.5, 1.5 + 1e-7]) == "failed"
    assert status([0.5, np.nan]) == "failed"
    assert status(2.0) == "failed"


def test_legacy_names_are_what_keras_says_today():
    keras = pytest.importorskip("keras")
    for name, one in asked.legacy().items():
        try:
            taken = keras.losses.get(name) is not None
        except ValueError:
            taken = False

        assert taken == one.string, name
        assert {one.of_class, one.function} <= set(public("tensorflow"))


def test_differences_at_other_parameters_are_left_out():
    loss = spec.load("binary_focal")
    at = {name: inputs.problem(loss, {"y_pred": 0.5, "y_true": 1.0, "gamma": gamma}, dtype="float64", reduction="none")
          for name, gamma in (("half", 0.5), ("two", 2.0))}  # fmt: skip
    each = reductions.Reduction(inner="none", outer="none")
    said = {name: notes.differences(one, each, "torch", "tensorflow") for name, one in at.items()}

    assert any("gamma < 1" in text for text in said["half"])
    assert not any("gamma < 1" in text for text in said["two"])


def test_a_port_is_code_with_its_proof():
    for framework in ("tensorflow", "torch"):
        opened(framework)
    found = porting.port("keras.losses.Huber(delta=2.0, reduction='sum')", "torch")
    (port,) = found.ports

    assert found.loss == "huber"
    assert found.parameters == {"delta": 2.0}
    assert port.code == (
        "import torch\nimport torch.nn.functional as F\n\n"
        "value = torch.sum(\n    torch.mean(F.huber_loss(y_pred, y_true, reduction='none', delta=2.0), -1)\n)"
    )
    assert port.proof.status == "equal"
    assert found.exit_code == 0
    assert json.loads(json.dumps(asdict(found)))["ports"][0]["framework"] == "torch"


def test_an_unknown_framework_is_refused():
    with pytest.raises(LossbenchError, match="unknown framework 'caffe'; expected one of: all, jax, keras"):
        porting.port("F.huber_loss", "caffe")


def test_a_framework_that_is_not_installed_leaves_a_port_without_proof(tmp_path, monkeypatch):
    opened("torch")
    (tmp_path / "optax.py").write_text("raise ModuleNotFoundError(\"No module named 'optax'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = CliRunner().invoke(cli.app, ["port", "F.huber_loss", "--to", "optax"])

    assert done.exit_code == 3
    assert "jnp.mean(optax.losses.huber_loss(y_pred, y_true, delta=1.0))" in done.stdout
    assert "not proved" in done.stdout
