"""What stands in a call: which input goes where, under which name, and what is made of it before."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lossbench import callables
from lossbench.callables import Entry
from lossbench.loss import Loss
from lossbench.messages import Public

LOSSES = re.compile(r"(F|nn|keras\.losses|tf\.nn|optax\.losses)\.\w+(\(.*\))?$", re.DOTALL)
INVERSE = {  # of what a callable wants of an input, by the function's last name
    "log": {"torch": "torch.exp", "tensorflow": "tf.exp", "jax": "jnp.exp"},
    "exp": {"torch": "torch.log", "tensorflow": "tf.math.log", "jax": "jnp.log"},
    "one_hot": {"torch": "torch.argmax", "tensorflow": "tf.argmax", "jax": "jnp.argmax"},
}


def takes(entry: Entry, public: Public | None) -> dict[str, tuple[str, str]]:
    """What the source is given for each input that it does not take as it is: its own argument, and the expression."""
    return {name: pair for name, pair in given(entry, public) if pair[1] != name}


def own_names(entry: Entry, public: Public | None) -> dict[str, str]:
    """The source's own name for each input that it takes as it is, where it is another."""
    return {
        name: argument for name, (argument, said) in given(entry, public) if said == name and argument not in ("", name)
    }


def places(entry: Entry, public: Public | None) -> list[str]:
    """The source's own arguments that stand for data."""
    return [argument for _, (argument, _) in given(entry, public)]


def order(entry: Entry) -> list[str]:
    """The inputs in the order in which the source takes them."""
    return [name for name, _ in given(entry, None)]


def taken(text: str, loss: Loss) -> list[str]:
    """The inputs in the order in which the framework's own loss takes them in a call; none where it has none."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and LOSSES.match(ast.unparse(node.func)):
            parts = [*node.args, *(one.value for one in node.keywords)]
            inside = [{leaf.id for leaf in ast.walk(part) if isinstance(leaf, ast.Name)} for part in parts]
            found = [name for names in inside for name in loss.inputs if name in names]
            if len(found) > 1:
                return list(dict.fromkeys(found))
    return []


def wraps(text: str, loss: Loss) -> dict[str, str]:
    """What a call of a loss makes of an input before it takes it: its log, one-hot rows."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(attr="log" | "exp" | "one_hot" | "cast"), args=[ast.Name(id=name), *_]):
                if name in loss.inputs:
                    found[name] = ast.unparse(node)
    return found


def makes_keras_class(text: str) -> bool:
    """Whether a call makes an instance of a class of keras.losses."""
    return re.search(r"keras\.losses\.[A-Z]", text) is not None


def undone(expression: str, argument: str, name: str, framework: str) -> str | None:
    """The input *name*, in code of *framework*, from what the source takes in its place; None where no rule knows."""
    node = ast.parse(expression, mode="eval").body
    match node:
        case ast.Name(id=found) if found == name:
            return argument
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name()):
            return f"-{argument}"
        case ast.Subscript(value=ast.Name(), slice=ast.Tuple(elts=[*_, ast.Constant(value=None)])):
            return f"{argument}[..., 0]"
        case ast.Call(func=ast.Attribute(attr="to" | "astype"), args=_):
            return argument
        case ast.Call(func=ast.Attribute(attr="cast"), args=[ast.Name(), *_]):
            return argument
        case ast.Call(func=ast.Attribute(attr=last) | ast.Name(id=last), args=[ast.Name(), *_]) if last in INVERSE:
            return f"{INVERSE[last][framework]}({argument}{', -1' if last == 'one_hot' else ''})"
    return None


def given(entry: Entry, public: Public | None) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each input, the source's argument for it, and the expression that stands there."""
    tree = ast.parse(entry.callable.call.strip(), mode="eval").body
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = next(node for node in calls if callables.canonical(ast.unparse(node.func)) == entry.name)
    outer = next((node for node in calls if node.func is made), made)
    names = [] if public is None else public.called if outer is not made else [one.name for one in public.arguments]
    places: list[tuple[str, ast.expr]] = [
        (names[place] if place < len(names) else "", one) for place, one in enumerate(outer.args)
    ]
    places += [(one.arg or "", one.value) for one in outer.keywords]
    seen: set[str] = set()
    for argument, value in places:
        for node in ast.walk(value):
            if isinstance(node, ast.Name) and node.id in entry.loss.inputs and node.id not in seen:
                seen.add(node.id)
                yield node.id, (argument, ast.unparse(value))
