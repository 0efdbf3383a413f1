"""Which argument of one's own loss is which input or parameter of the catalogue's, by name, then by order."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from lossbench.errors import LossbenchError
from lossbench.loss import Loss
from lossbench.messages import Argument, Inspected

PREDICTIONS = (
    *("y_pred", "input", "inputs", "logits", "logit", "pred", "preds", "prediction", "predictions", "output"),
    *(
        "outputs",
        "y_hat",
        "yhat",
        "y_score",
        "scores",
        "score",
        "probs",
        "prob",
        "probabilities",
        "log_probs",
        "x",
        "p",
    ),
)
TARGETS = (
    *("y_true", "target", "targets", "label", "labels", "truth", "ground_truth", "gt", "true", "actual", "y", "t", "q"),
)
ALSO: Mapping[str, Sequence[str]] = {  # what people call other inputs and parameters
    "anchor": ("a",),
    "balanced": ("apply_class_balancing",),
    "class_weight": ("weight", "weights", "class_weights"),
    "eps": ("epsilon",),
    "epsilon": ("eps", "epsilon1", "poly_epsilon"),
    "full": ("log_factorial",),
    "ignore_index": ("ignore_class", "padding_idx"),
    "label_smoothing": ("smoothing", "smooth"),
    "margin": ("m",),
    "negative": ("neg", "n"),
    "positive": ("pos",),
    "pos_weight": ("positive_weight",),
    "smooth": ("smoothing",),
    "temperature": ("tau", "temp"),
    "variance": ("var",),
    "x1": ("input1", "a"),
    "x2": ("input2", "b"),
}
REDUCTION = ("reduction",)
WEIGHTS = ("sample_weight", "sample_weights", "weight", "weights")
NO_INPUT = (
    "axis",
    "dim",
    "dtype",
    "name",
    "reduce",
    "size_average",
    "where",
)  # never an input where it can be left out
LOGITS = ("from_logits", "with_logits", "is_logits")
SIZES = ("num_classes", "n_classes", "nb_classes", "num_labels", "n_labels", "classes")


@dataclass(frozen=True, kw_only=True)
class Binding:
    """How the arguments are filled.

    Attributes:
        of: What it takes.
        inputs: By the input of the loss, the argument that gets it.
        parameters: Likewise.
        settings: By argument, the text of what it gets besides: `True`, `logits.shape[-1]`.
        reduction, weight: The arguments that choose the reduction and take sample weights.
        left: Arguments that keep their defaults.
        assumed: What was taken for granted, as sentences.
    """

    of: Inspected
    inputs: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    reduction: str | None = None
    weight: str | None = None
    left: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def bindings(
    loss: Loss, found: Inspected, told: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> list[Binding]:
    """The ways in which the arguments may be meant, the likeliest first.

    Args:
        loss: What it is to be.
        found: What it takes.
        told: By input or parameter of the loss, the argument; from those who know.
        settings: By argument, what it gets besides; from those who know.

    Raises:
        LossbenchError: *told* or *settings* name what is not there, or the arguments are fewer than the inputs.
    """
    settings = settings or {}
    found = _widened(loss, found, told, settings)
    called, made = {one.name: one for one in found.called}, {one.name: one for one in found.arguments}
    own = called | made
    for name in told:
        if name not in {*loss.inputs, *loss.parameters}:
            options = ", ".join((*loss.inputs, *loss.parameters))
            raise LossbenchError(f"{loss.name} has no input or parameter {name!r}; expected one of: {options}")
    for argument in told.values():
        if argument not in own:
            raise LossbenchError(f"it has no argument {argument!r}; expected one of: {', '.join(own) or 'none'}")
    for argument in settings:
        if argument not in own:
            options = ", ".join((*loss.parameters, *own))
            raise LossbenchError(
                f"{loss.name} has no parameter {argument!r} and your loss no such argument; expected one of: {options}"
            )
    inputs = {name: told[name] for name in loss.inputs if name in told}
    parameters = {name: told[name] for name in loss.parameters if name in told}
    for name in loss.inputs:
        if name not in inputs:
            inputs |= _named(name, _words(loss, name), called, {*inputs.values(), *({*settings} - {*made})})
    free = [one for one in own if one not in inputs.values()]
    for name in loss.parameters:
        if name not in parameters:
            parameters |= _named(name, ALSO.get(name, ()), free, {*parameters.values(), *settings})
    assumed = [f"`{one}` is {name}" for name, one in (inputs | parameters).items() if one != name and name not in told]
    taken = {*inputs.values(), *parameters.values(), *settings}
    known = _known(loss, [one for name, one in own.items() if name not in taken or name in {*made} - {*settings}])
    assumed += [f"`{name}` is {text}" for name, text in known.items()]
    settings = {**settings, **known}
    taken |= known.keys()
    reduction = next((one for one in REDUCTION if one in own and one not in taken), None)
    weight = next((one for one in WEIGHTS if one in called and one not in taken), None)
    taken |= {one for one in (reduction, weight) if one}
    binding = Binding(
        of=found,
        inputs=inputs,
        parameters=parameters,
        settings=settings,
        reduction=reduction,
        weight=weight,
        assumed=tuple(assumed),
    )
    missing = [name for name in loss.inputs if name not in inputs]
    rest = [one.name for one in found.called if one.name not in taken and (one.required or one.name not in NO_INPUT)]
    needed = [one for one in rest if own[one].required]
    if len(rest) < len(missing):
        raise LossbenchError(
            f"{loss.name} has the inputs {', '.join(loss.inputs)}; expected an argument for {missing[-1]!r} beside "
            f"{', '.join(called) or 'none'}: say which with --arg {missing[-1]}=ARGUMENT"
        )
    places = needed if len(needed) >= len(missing) else rest
    orders = permutations(places, len(missing)) if missing else [()]
    return [_filled(binding, missing, order, own) for order in orders]


def _widened(loss: Loss, found: Inspected, told: Mapping[str, str], settings: Mapping[str, str]) -> Inspected:
    """With an argument for each that it takes without naming it: `*args`, `**kwargs`, or no signature at all."""
    if not found.more:
        return found
    own = {one.name for one in (*found.called, *found.arguments)}
    places = len(loss.inputs) - sum(not one.keyword_only for one in found.called)
    called = [one for one in found.called if not one.keyword_only]
    called += [Argument(name=f"argument {len(called) + at + 1}", required=True) for at in range(places)]
    called += [one for one in found.called if one.keyword_only]
    named = [one for one in (*told.values(), *settings) if one not in own and one.isidentifier()]
    called += [Argument(name=one, keyword_only=True) for one in named if not keyword.iskeyword(one)]
    return Inspected(
        kind=found.kind, arguments=found.arguments, called=called, frameworks=found.frameworks, more=found.more
    )


def _known(loss: Loss, free: Sequence[Argument]) -> dict[str, str]:
    """What the loss itself says of an argument: whether it gets logits, and how many classes there are."""
    found = {}
    row = next((name for name, one in loss.inputs.items() if one.kind == "row"), None)
    for one in free:
        if one.name in LOGITS and "logits" in loss.inputs and one.default is not True:
            found[one.name] = "True"
        if one.name in LOGITS and "logits" not in loss.inputs and one.default is True:
            found[one.name] = "False"
        if one.name == "log_target" and any(given.domain == "log_simplex" for given in loss.inputs.values()):
            found[one.name] = "True"
        if one.name in SIZES and one.required and row:
            found[one.name] = f"{row}.shape[-1]"
    return found


def _filled(binding: Binding, missing: Sequence[str], order: Sequence[str], own: Mapping[str, Argument]) -> Binding:
    inputs = {**binding.inputs, **dict(zip(missing, order, strict=True))}
    taken = {*inputs.values(), *binding.parameters.values(), *binding.settings, binding.reduction, binding.weight}
    left = tuple(name for name in own if name not in taken)
    unfilled = [name for name in left if own[name].required]
    if unfilled:
        raise LossbenchError(
            f"nothing is known of its argument {unfilled[0]!r}, which has no default; expected --param "
            f"{unfilled[0]}=VALUE, or --arg NAME={unfilled[0]} where NAME is an input or parameter of the loss"
        )
    assumed = [f"`{argument}` is {name}, by its place" for name, argument in zip(missing, order, strict=True)]
    return replace(binding, inputs=inputs, left=left, assumed=(*binding.assumed, *assumed))


def _named(
    name: str, also: Sequence[str], own: Sequence[str] | Mapping[str, Argument], taken: set[str]
) -> dict[str, str]:
    """The argument of that name, or of one of those that mean the same."""
    return next(({name: one} for one in (name, *also) if one in own and one not in taken), {})


def _words(loss: Loss, name: str) -> Sequence[str]:
    predictions = [one for one in loss.inputs if loss.inputs[one].grad]
    targets = [one for one in loss.inputs if not loss.inputs[one].grad]
    if [name] == predictions:
        return (*ALSO.get(name, ()), *PREDICTIONS)
    if [name] == targets:
        return (*ALSO.get(name, ()), *TARGETS)
    return ALSO.get(name, ()) or (PREDICTIONS if name == "y_pred" else TARGETS if name == "y_true" else ())


def call(binding: Binding, given: Mapping[str, str], *, weighted: bool = False) -> str:
    """The call's text: `yours(y_pred, y_true, gamma=gamma)`; of a class `yours(gamma=gamma)(y_pred, y_true)`.

    *given* says what becomes of an input on its way in: `{"y_pred": "{}[:, None]"}`.
    """
    own = {one.name: one for one in (*binding.of.called, *binding.of.arguments)}
    named = dict(binding.settings)
    for name, argument in binding.parameters.items():
        named[argument] = f"{name} != 0" if isinstance(own[argument].default, bool) else name
    if binding.reduction:
        named.setdefault(binding.reduction, "reduction")
    made = _arguments(binding.of.arguments, named)
    if weighted and binding.weight:
        named[binding.weight] = "sample_weight"
    named |= {argument: given.get(name, "{}").replace("{}", name) for name, argument in binding.inputs.items()}
    called = _arguments(binding.of.called, named)
    return f"yours({made})({called})" if binding.of.kind == "class" else f"yours({called})"


def _arguments(own: Sequence[Argument], named: Mapping[str, str]) -> str:
    texts, by_name = [], False
    for one in own:
        if one.name not in named:
            by_name = True
        elif by_name or one.keyword_only:
            texts.append(f"{one.name}={named[one.name]}")
        else:
            texts.append(named[one.name])
    return ", ".join(texts)
