"""The topics of which every callable is asked, each with its probe: found by name, in the order of this list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from lossbench.adapters.elsewhere import BACKENDS
from lossbench.conventions import arguments, compiled, dtypes, labels, points, reductions, shapes, weights
from lossbench.conventions.subject import Subject
from lossbench.records import Target
from lossbench.text import Callable as Public

Probe = Callable[[Subject], str | None]  # what it says, or None where the topic is none of the callable's


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One question.

    Attributes:
        probe: Answers it by running the callable.
        asks: The question, for the report.
        where: Whom it is put to: targets that are "eager" or "compiled", or Keras on top of another framework.
    """

    probe: Probe
    asks: str
    where: str = "eager"


_OWN: Mapping[str, Topic] = {
    "order of arguments": Topic(
        probe=arguments.order, asks="Which of prediction and target comes first, and what are they called?"
    ),
    "names in keras.losses.get": Topic(
        probe=arguments.names, asks="Which of the loss's names does `keras.losses.get` know as this callable?"
    ),
    "default output": Topic(
        probe=reductions.default,
        asks="What comes out of the plainest call for 2 × 3 elements, or for four rows of three classes?",
    ),
    "reductions": Topic(probe=reductions.accepted, asks="Which names of reductions are taken, and what comes out?"),
    "weights": Topic(
        probe=weights.divisor, asks="With a weight for each of three losses: what does the mean divide by?"
    ),
    "weights of shape (N,)": Topic(
        probe=weights.axis, asks="On losses of shape (N, T): which axis do N weights go along?"
    ),
    "weights on 1-D inputs": Topic(
        probe=weights.flat, asks="With inputs and weights of shape (N,): is each loss weighted?"
    ),
    "weights that are all 0": Topic(probe=weights.zero, asks="What is the mean then?"),
    "nan under weight 0": Topic(probe=weights.masked, asks="Does a weight of 0 hide a prediction that is NaN?"),
    "class weights": Topic(
        probe=weights.of_classes, asks="With a weight for each class: what does the mean divide by?"
    ),
    "label smoothing": Topic(probe=labels.smoothing, asks="What do labels become?"),
    "ignored label": Topic(
        probe=labels.ignored, asks="Which label is ignored, and does the mean still count its rows?"
    ),
    "all labels ignored": Topic(probe=labels.all_ignored, asks="What is the loss then?"),
    "nan in an ignored row": Topic(
        probe=labels.ignored_nan, asks="Does NaN in a row whose label is ignored stay out of value and gradient?"
    ),
    "label C of C classes": Topic(probe=labels.too_large, asks="What does a label beyond the last class do?"),
    "label -1": Topic(probe=labels.negative, asks="What does the label -1 do?"),
    "label -100": Topic(probe=labels.hundred, asks="What does the label -100 do?"),
    "labels 0 and 1 for -1 and 1": Topic(
        probe=labels.zero_one, asks="Are labels 0 and 1 taken for -1 and 1, and does the rest of the batch decide?"
    ),
    "targets outside the domain": Topic(probe=points.outside, asks="Is a target of 2 in place of a probability taken?"),
    "epsilon": Topic(
        probe=points.epsilon, asks="What comes out at the ends of the domain, where the loss or its slope is infinite?"
    ),
    "certain in float16": Topic(
        probe=points.certain_half, asks="Is the loss of a prediction of probability 1, for the true class, 0?"
    ),
    "0 times log 0": Topic(
        probe=points.zero_log,
        asks="Where a class that is not the true one has probability 0, or the logit -inf: is its term 0?",
    ),
    "kinks": Topic(probe=points.kinks, asks="Which gradient is it where every number of an interval is right?"),
    "class axis": Topic(probe=shapes.class_axis, asks="Which axis are the classes along, if there are three axes?"),
    "shapes (N,) and (N, 1)": Topic(
        probe=shapes.column, asks="Predictions of shape (N,), or rows, with targets of shape (N, 1): what is the loss?"
    ),
    "empty batch": Topic(probe=shapes.empty, asks="What is the loss of no elements or rows?"),
    "float64 inputs": Topic(probe=dtypes.double, asks="Which dtype does the result have?"),
    "float16 inputs": Topic(probe=dtypes.half, asks="Which dtype does the result have?"),
    "mean of large float16": Topic(
        probe=dtypes.half_mean, asks="Is the mean finite where its terms are, and their sum is beyond float16?"
    ),
    "float64 targets": Topic(probe=dtypes.mixed, asks="With float32 predictions: which dtype does the result have?"),
    "integer predictions": Topic(probe=dtypes.integers, asks="Are predictions and targets of integers taken?"),
    "integer targets": Topic(probe=dtypes.integer_targets, asks="Are targets of integers taken?"),
    "int32 labels": Topic(probe=dtypes.short_labels, asks="Are labels of 32 bits taken?"),
    "probabilities of a softmax": Topic(
        probe=compiled.hidden, asks="Are probabilities that come straight from a softmax or sigmoid clipped?"
    ),
    "eager against compiled": Topic(
        probe=compiled.agreement, asks="Does the compiled call give what the eager one gives?", where="compiled"
    ),
    "softmax and loss compiled together": Topic(
        probe=compiled.hidden_compiled,
        asks="Are probabilities that come straight from a softmax or sigmoid clipped, within one compiled function?",
        where="compiled",
    ),
}


_ON_OTHERS = (  # where Keras is another loss on another backend
    *("label C of C classes", "label -1", "class axis", "epsilon", "0 times log 0", "kinks", "empty batch"),
    *("certain in float16", "probabilities of a softmax"),
)
TOPICS: Mapping[str, Topic] = {
    **_OWN,
    **{
        f"{name}: Keras on {backend}": replace(_OWN[name], where=backend) for name in _ON_OTHERS for backend in BACKENDS
    },
}


def place(public: Public, target: Target) -> str:
    """Which of the topics are put to a callable on *target*: what their `where` has to be."""
    if public.framework != target.framework:
        return target.framework
    return "eager" if target.mode == "eager" else "compiled"


def answers(subject: Subject, where: str) -> Iterator[tuple[str, str]]:
    """Each topic that concerns the callable in that place, and what it says."""
    for name, topic in TOPICS.items():
        if topic.where == where:
            said = topic.probe(subject)
            if said is not None:
                yield name, said
