"""A callable's call as a function whose arguments can be added to: `F.mse_loss(x, y)` with `weight=`, or without."""

from __future__ import annotations

import ast
import copy
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from lossbench.adapters.allowed import check
from lossbench.adapters.call import names
from lossbench.errors import CallError
from lossbench.loss import Loss
from lossbench.text import Callable as Public


class Expression:
    """The call of a public callable: what it takes, and itself with more arguments.

    Attributes:
        parameters: What the function takes, or the class and its instances together, by name.
    """

    def __init__(self, loss: Loss, public: Public, modules: Mapping[str, Any]) -> None:
        """Read the call.

        Raises:
            CallError: It uses what calls may not use, or does not call what it is said to be the call of.
        """
        self.loss = loss
        self.tree = check(public.call, names(loss, public.framework))
        self.scope: dict[str, Any] = {**modules, "math": math, "reduce": lambda values: values}
        self.made = _called(self.tree, public.name.rpartition(".")[2])
        if self.made is None:
            raise CallError(f"{loss.name}: `{public.call}` does not call {public.name}; expected its plainest call")
        made = _evaluated(self.made.func, self.scope)
        self.used: ast.Call | None = None
        self._of_class: set[str] = set()
        self.parameters = _parameters(made)
        self._of_instance: list[str] = []  # what an instance of a class is called with
        if inspect.isclass(made):
            self.used = next(
                node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and node.func is self.made
            )
            instance = _parameters(getattr(made, "forward", None) or made.__call__)
            instance.pop("self", None)
            self._of_instance = list(instance)
            self._of_class = set(self.parameters)
            self.parameters = instance | self.parameters
        self.arguments = [name for name in loss.inputs if name in _names(self.tree)]

    def takes(self, option: str) -> bool:
        """Whether the callable has an argument of that name."""
        return option in self.parameters

    def default(self, option: str) -> object:
        """What an argument is where it is left out; None where it has no default."""
        value = self.parameters[option].default
        return None if value is inspect.Parameter.empty else value

    def bound(self) -> list[tuple[str, str]]:
        """The callable's arguments that the loss's inputs go to, in its own order: (argument, input)."""
        call = self.used or self.made
        assert call is not None, "a callable without its call is refused when it is read"
        order = self._of_instance if self.used else list(self.parameters)
        pairs = list(zip(order, call.args, strict=False))
        pairs += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
        inside = [(name, [one for one in self.arguments if one in _names(node)]) for name, node in pairs]
        return [(name, found[0]) for name, found in inside if found]

    def by_keyword(self) -> bool:
        """Whether the inputs have to be given by name."""
        call = self.used or self.made
        return bool(call and not call.args)

    def function(self, constants: Mapping[str, Any], options: Mapping[str, Any]) -> Callable[..., Any]:
        """The call as a function of the loss's inputs, by name.

        Args:
            constants: The loss's parameters, for calls that name them.
            options: More arguments of the callable, or others in place of those that it has.
        """
        tree = copy.deepcopy(self.tree)
        assert self.made is not None, "a callable without its call is refused when it is read"
        made = _twin(self.tree, tree, self.made)
        used = _twin(self.tree, tree, self.used) if self.used else made
        scope = {**self.scope, **constants}
        for option, value in options.items():
            node = made if option in self._of_class or not self.used else used
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != option]
            node.keywords.append(ast.keyword(option, ast.Name(f"option_{option}", ast.Load())))
            scope[f"option_{option}"] = value
        arguments = ast.arguments(
            posonlyargs=[],
            args=[ast.arg(name) for name in self.loss.inputs],
            kwonlyargs=[],
            kw_defaults=[],
            defaults=[],
        )
        whole = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, tree.body)))
        return eval(compile(whole, f"<a call of {self.loss.name}>", "eval"), scope)  # type: ignore[no-any-return]


def mapped(public: Public, name: str) -> object:
    """What the loss's parameter of that name is where all arguments are left out."""
    text = public.parameters[name]
    tree = check(text, tuple(public.defaults))
    return eval(compile(tree, "<parameters>", "eval"), {**public.defaults, "math": math})


def _called(tree: ast.Expression, name: str) -> ast.Call | None:
    """The node that calls what is named so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            return node
    return None


def _evaluated(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<callable>", "eval"), dict(scope))


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """What *function* takes, by name, as far as it tells."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: one for name, one in found.items() if one.kind not in kinds}


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _twin(tree: ast.AST, copied: ast.AST, node: ast.Call) -> ast.Call:
    """The node of a copied tree that stands where *node* stands in *tree*."""
    place = next(at for at, one in enumerate(ast.walk(tree)) if one is node)
    found = list(ast.walk(copied))[place]
    assert isinstance(found, ast.Call), "a copy has the shape of its original"
    return found
