"""Conventions: what probes say of callables whose conventions are known, what a spec keeps of it, and what is news."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lossbench import plan, report, spec, tail
from lossbench.conventions import TOPICS, labels, observe, points, proofs, reductions, shapes, weights, words, writing
from lossbench.conventions.edit import Expression
from lossbench.conventions.subject import Subject
from lossbench.errors import CallError, SpecError
from lossbench.records import Observed, Refusal, Target
from lossbench.report import conventions as shown
from lossbench.store import Store
from lossbench.text import Callable

ATTACK = "<script>document.title='broken out'</script>"


def reduced(values, reduction, divisor=None):
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"no such reduction: {reduction}")
    if reduction == "none":
        return values
    return values.sum() / (values.size if divisor is None else divisor) if reduction == "mean" else values.sum()


def by_sum_of_weights(given, target, weight=None, reduction="mean"):
    if weight is None:
        return reduced((given - target) ** 2, reduction)
    return reduced(weight * (given - target) ** 2, reduction, weight.sum())


def by_number(given, target, weight=1.0, reduction="mean"):
    return reduced(weight * (given - target) ** 2, reduction)


def of_equal_shapes(given, target):
    if given.shape != target.shape:
        raise ValueError("shapes differ")
    return (given - target) ** 2


class LastAxis:
    def __init__(self, reduction="mean"):
        self.reduction = reduction

    def __call__(self, y_true, y_pred, sample_weight=1.0):
        return reduced(((y_pred - y_true) ** 2).mean(-1) * sample_weight, self.reduction)


def absolute(given, target):
    return np.abs(given - target)


class NumPy:
    """A framework of NumPy arrays, with these functions as its losses."""

    home = "numpy"

    def __init__(self, **functions):
        self.modules = {"F": SimpleNamespace(**functions), "nn": SimpleNamespace(**functions)}

    def array(self, numbers):
        return numbers

    def numbers(self, array):
        return np.asarray(array)

    def gradient(self, function, arrays, name):
        value, step = function(**arrays), 1e-3
        moved = [function(**{**arrays, name: arrays[name] + sign * step}).sum() for sign in (1, -1)]
        return value, np.full(arrays[name].shape, (moved[0] - moved[1]) / (2 * step))


def subject(function, call="F.loss(y_pred, y_true)", loss="squared_error", name="torch.nn.functional.loss", **more):
    public = Callable(name=name, framework="torch", call=call, gives="mean", **more)
    return Subject(spec.load(loss), public, NumPy(loss=function))


def test_a_mean_that_divides_by_the_sum_of_the_weights_is_told_from_one_that_divides_by_their_number():
    assert weights.divisor(subject(by_sum_of_weights)) == "divides by the sum of the weights"
    assert weights.divisor(subject(by_number)) == "divides by N"
    assert weights.divisor(subject(of_equal_shapes)) == "takes none"


def test_weights_on_the_last_axis_are_told_from_weights_of_samples():
    keras = subject(LastAxis, "nn.loss()(y_true, y_pred)", name="torch.nn.loss")

    assert weights.axis(keras) == "the last axis; N other than T refused: ValueError"
    assert weights.flat(keras) == "each weight multiplies the mean of all losses"
    assert weights.flat(subject(by_number)) == "each loss has its weight"


def test_weights_that_are_all_zero_show_the_divisor():
    with np.errstate(invalid="ignore"):
        assert weights.zero(subject(by_sum_of_weights)) == "nan"
    assert weights.zero(subject(by_number)) == "0"


def test_each_reduction_is_named_after_what_came_out():
    keras = subject(LastAxis, "nn.loss()(y_true, y_pred)", name="torch.nn.loss")

    assert reductions.default(subject(of_equal_shapes)) == "one number for each element"
    assert reductions.default(subject(by_number)) == "one number: the mean"
    assert reductions.default(subject(lambda a, b: ((a - b) ** 2).sum(-1))) == "the sum over the last axis"
    assert reductions.default(subject(lambda a, b: 3 * (a - b) ** 2)).startswith("shape (2, 3): neither")
    assert reductions.accepted(keras).startswith("none: the mean over the last axis; mean: one number: the mean; sum")
    assert reductions.accepted(subject(of_equal_shapes)) is None


def test_a_column_beside_a_plain_array():
    squeezing = subject(lambda a, b: (a - b.ravel()) ** 2)

    assert shapes.column(subject(by_number)) == "broadcasts to N × N"
    assert shapes.column(squeezing) == "squeezes"
    assert shapes.column(subject(of_equal_shapes)) == "refused: ValueError"


def test_an_empty_batch_is_said_for_each_shape_that_differs():
    mean = subject(lambda a, b: np.float32(0) if a.ndim > 1 else ((a - b) ** 2).sum() / np.float32(np.nan))

    assert shapes.empty(subject(of_equal_shapes)) == "empty"
    assert shapes.empty(mean) == "(0,): nan; (0, 3), (0, 2, 3): 0"


def test_memory_that_nobody_wrote_to_is_no_loss():
    assert shapes.empty(subject(lambda a, b: np.float32(2.5e38))) == "an arbitrary number, left in memory"


def test_the_gradient_at_a_kink_stands_beside_the_interval():
    symmetric = subject(absolute, loss="absolute_error")

    assert points.kinks(symmetric) == "0 at y_pred=0, y_true=0, of [-1, 1]"
    assert points.kinks(subject(of_equal_shapes)) is None


def cross_entropy(logits, labels, ignore_index=-100, wraps=False):
    if not wraps and ((labels < 0) | (labels >= 3)).any():
        raise IndexError("no such class")
    rows = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, labels[:, None] % 3, -1)[:, 0]
    kept = labels != ignore_index
    return np.where(kept, rows, 0).sum() / kept.sum()


def softmax(function):
    return subject(function, "F.loss(logits, y_true)", loss="sparse_softmax_cross_entropy")


def test_labels_that_no_class_has():
    def wraps(logits, labels):
        return cross_entropy(logits, labels, wraps=True)

    assert labels.too_large(softmax(cross_entropy)) == "refused: IndexError"
    assert labels.negative(softmax(wraps)) == "counts as the last class"
    assert labels.too_large(softmax(wraps)) == "counts as the first class"
    assert labels.hundred(softmax(wraps)) == "ignored, and not counted by the mean"


def test_an_ignored_label_is_left_out_of_the_mean_or_counted():
    def counts(logits, labels, ignore_class=None):
        kept = labels != ignore_class
        return cross_entropy(logits, labels, ignore_index=ignore_class) * kept.sum() / kept.size

    assert labels.ignored(softmax(cross_entropy)) == "ignore_index = -100; divides by the rows that are left"
    assert labels.ignored(softmax(counts)) == "ignore_class = None; divides by all rows"


def test_hinge_labels_that_depend_on_the_rest_of_the_batch():
    def keras(y_pred, y_true):
        binary = ((y_true == 0) | (y_true == 1)).all()
        return np.maximum(1 - (2 * y_true - 1 if binary else y_true) * y_pred, 0)

    found = labels.zero_one(subject(keras, loss="hinge"))

    assert found == "as -1 and 1; with a -1 in the batch as they are"


def test_an_argument_goes_to_the_constructor_or_to_the_call_that_takes_it():
    loss = spec.load("squared_error")
    public = Callable(name="torch.nn.loss", framework="torch", call="nn.loss()(y_true, y_pred)", gives="mean")
    modules = NumPy(loss=LastAxis).modules
    arrays = {"y_pred": np.array([[1.0], [2.0]]), "y_true": np.zeros((2, 1))}

    expression = Expression(loss, public, modules)

    assert expression.function({}, {"reduction": "sum"})(**arrays) == 5
    assert expression.function({}, {"reduction": "sum", "sample_weight": np.array([3, 1])})(**arrays) == 7
    assert expression.bound() == [("y_true", "y_true"), ("y_pred", "y_pred")]


def test_a_call_of_something_else_than_the_callable_is_refused():
    with pytest.raises(CallError, match=r"does not call torch\.nn\.functional\.other"):
        subject(by_number, name="torch.nn.functional.other")


def test_numbers_are_short_and_alike_on_every_machine():
    assert [words.number(one) for one in (0.0, -0.0, 1 / 3, 1e-7, -1e12, np.inf, np.nan)] == [
        *("0", "0", "0.3333", "1e-7", "-1e12", "inf", "nan"),
    ]


def test_callables_are_asked_in_their_own_framework_and_those_of_keras_on_others_too():
    loss = spec.load("absolute_error")
    jobs = plan.jobs(plan.suite("conventions"), [loss])
    asked = {(loss.callables[job.case.index].name, job.target.name.removesuffix(":cpu")) for job in jobs}

    assert asked >= {
        ("torch.nn.functional.l1_loss", "torch:eager"),
        ("torch.nn.functional.l1_loss", "torch:compiled"),
        ("keras.losses.mean_absolute_error", "tensorflow:eager"),
        ("keras.losses.mean_absolute_error", "jax:eager"),
        ("keras.losses.mean_absolute_error", "torch:eager"),
    }
    assert ("torch.nn.functional.l1_loss", "jax:eager") not in asked
    assert ("keras.losses.mean_absolute_error", "jax:compiled") not in asked


# Facts in spec files

FACTS = """
[[callables]]
name = "torch.nn.functional.huber_loss"
framework = "torch"
call = "F.huber_loss(y_pred, y_true)"
gives = "mean"

"""


@pytest.fixture
def path(tmp_path):
    """A spec with a callable, and facts of two topics, one of which is asked no more."""
    text = spec.load("huber").source
    body, _, rest = tail.body(text).partition("[[edges]]")
    body = body[: body.find("[[callables]]")] if "[[callables]]" in body else body
    text = f"{body}{FACTS}[[edges]]{rest}\n"
    text = tail.replaced(text, "refresh", ["[[references]]", 'at = { y_pred = "0", y_true = "0" }', 'value = "0"'])
    text = text.rstrip() + '\ngradient = "0"\n'
    says = ["[facts.says]", '"default output" = "the sum"', '"weights" = "takes none"', '"another time" = "once"']
    text = tail.replaced(text, "facts", ["[[facts]]", 'callable = "torch.nn.functional.huber_loss"', *FRAMEWORK, *says])
    file = tmp_path / "my_huber.toml"
    file.write_text(text, encoding="utf-8")
    return file


FRAMEWORK = ('framework = "torch"',)


def stored(path, folder, says, targets=("torch:eager",)):
    loss = spec.load(path)
    suite = plan.suite("conventions")
    jobs = plan.jobs(suite, [loss], targets)
    store = Store.create(folder, jobs, [loss], suite)
    for job in jobs:
        store.append(
            Refusal(job=job, reason="crashed", detail="it died") if says is None else Observed(job=job, says=says)
        )
    store.close()
    return store


def results(frame):
    return dict(zip(frame["topic"], frame["result"], strict=True))


def test_each_fact_is_confirmed_or_changed_or_new_or_gone(path, tmp_path):
    says = {"default output": "the mean", "weights": "takes none", "empty batch": "nan"}

    found = proofs.facts(stored(path, tmp_path / "run", says))

    assert results(found) == {
        "default output": "changed",
        "weights": "confirmed",
        "empty batch": "new",
        "another time": "gone",
    }


def test_facts_of_a_target_without_an_answer_are_not_run(path, tmp_path):
    found = proofs.facts(stored(path, tmp_path / "run", None))

    assert set(found["result"]) == {"not run"}
    assert set(found["reason"]) == {"crashed: it died"}
    assert len(found) == 3


def test_facts_of_one_place_are_not_gone_in_another(path, tmp_path):
    found = proofs.facts(stored(path, tmp_path / "run", {"eager against compiled": "the same"}, ["torch:compiled"]))

    assert results(found)["eager against compiled"] == "new"
    assert results(found)["weights"] == "not run"


def test_facts_of_a_callable_that_the_spec_has_no_more_are_gone(path, tmp_path):
    path.write_text(path.read_text().replace('callable = "torch.nn.functional.huber_loss"', 'callable = "torch.old"'))
    spec.forget()

    found = proofs.facts(stored(path, tmp_path / "run", {}))

    assert set(found.loc[found["callable"] == "torch.old", "result"]) == {"gone"}


def test_what_could_not_be_asked_keeps_its_facts(path, tmp_path):
    loss = spec.load(path)
    (job,) = plan.jobs(plan.suite("conventions"), [loss], ["torch:compiled"])

    found = writing.together(loss, [Observed(job=job, says={"eager against compiled": "the same"})])

    assert found["torch.nn.functional.huber_loss"] == {
        "default output": "the sum",
        "weights": "takes none",
        "eager against compiled": "the same",
    }


def test_a_section_is_replaced_and_the_others_stay(path):
    text = path.read_text(encoding="utf-8")

    again = tail.replaced(text, "facts", ["[[facts]]", "# new"])

    assert tail.body(again) == tail.body(text)
    assert again.index("[[references]]") < again.index("[[facts]]")
    assert '"the sum"' not in again
    assert tail.replaced(again, "facts", ["[[facts]]", "# new"]) == again
    assert tail.replaced(again, "facts", []) == again[: again.index(tail.header("facts"))].rstrip() + "\n"


def test_a_spec_that_cannot_be_written_is_an_error_and_stays(tmp_path):
    with pytest.raises(SpecError, match="cannot be written"):
        tail.write(tmp_path / "no" / "such.toml", "")


def test_lines_are_toml_whatever_a_framework_says(path):
    import tomllib

    loss = spec.load(path)
    says = {"torch.nn.functional.huber_loss": {'a "quoted" one': "N × N \\ \n\x7f"}}

    (fact,) = tomllib.loads("\n".join(writing._lines(loss, says)))["facts"]

    assert fact["says"] == says["torch.nn.functional.huber_loss"]


@pytest.mark.parametrize("name", [name for name in spec.names() if spec.load(name).callables])
def test_facts_of_every_spec_are_of_its_callables_and_topics(name):
    loss = spec.load(name)
    known = {proofs.label(loss, index) for index, one in enumerate(loss.callables) if not one.keeps_weights}

    assert {fact.callable for fact in loss.facts} == known
    assert {topic for fact in loss.facts for topic in fact.says} <= set(TOPICS)


def test_torch_says_what_is_known_of_it(path):
    pytest.importorskip("torch")

    found = observe(spec.load(path), 0, Target(framework="torch"))

    assert found["default output"] == "one number: the mean"
    assert found["weights"] == "divides by N"
    assert found["shapes (N,) and (N, 1)"] == "broadcasts to N × N, with a warning"
    assert found["order of arguments"] == "prediction first: input, target"


# Pages


def test_pages_show_news_and_nothing_breaks_out(path, tmp_path):
    store = stored(path, tmp_path / "run", {"default output": ATTACK, f"topic {ATTACK}": "new"})

    report.write(store)

    page = (store.path / "conventions.html").read_text(encoding="utf-8")
    own = (store.path / "losses" / "my_huber.html").read_text(encoding="utf-8")
    index = (store.path / "index.html").read_text(encoding="utf-8")
    assert ATTACK not in page + own + index
    assert page.count("the spec says: the sum") == 2  # among the answers, and by loss
    assert "1 fact changed" in index
    assert 'href="../conventions.html#topic-default-output"' in own
    assert 'id="topic-default-output"' in page


def test_answers_are_grouped_and_the_most_frequent_comes_first():
    row = {"loss": "huber", "framework": "torch", "target": "t", "call": "", "topic": "weights", "reason": ""}
    rows = [
        {**row, "callable": f"torch.nn.{name}", "declared": said, "observed": said, "result": "confirmed"}
        for name, said in (("A", "divides by N"), ("B", "takes none"), ("C", "takes none"))
    ]

    ((section,),) = shown.sections(pd.DataFrame(rows)).values()

    assert [line.head for line in section.answers.lines] == ["takes none", "divides by N"]
    assert [name for name, _ in section.answers.lines[0].boxes[0][0].callables] == ["nn.B", "nn.C"]
    assert len(section.losses.lines) == 1


def test_every_topic_has_a_place_of_its_own_on_the_page():
    assert len({shown.anchor(topic) for topic in TOPICS}) == len(TOPICS)
