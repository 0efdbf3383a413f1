"""The shortest way from a call to compiled functions that look at their arguments themselves.

A function that takes keywords by their names is called in half the time of one that takes any; so one is written for
each kernel's inputs and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from textwrap import dedent, indent
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from lossbench.kernels.team import spread

_MISSING = object()
_TEXT = """
    def called(*, {names}, sample_weight=None, out=None, **others):
        try:
            turns, several, many, {state} = usual
            if {conditions}:
    {result}
        except (AttributeError, LookupError, TypeError, ValueError, NumbaError):
            pass
        given = {{{given}}}
        given = {{name: one for name, one in given.items() if one is not MISSING}}
        return carefully(sample_weight=sample_weight, out=out, **given, **others)
"""


_CALL = """{title}

Takes inputs and parameters by their names, arrays of shape (n,) or (n, classes), or along their axes.

Args:
    sample_weight: Shape (n,), or None for ones.
    out: Takes the largest result, the gradient if there is one; or several arrays by name, `value` and
        `gradient.<input>`.

Raises:
    LossbenchError: A name is unknown or missing, a shape does not fit, something is no number or a label
        no whole one, or `out` shares memory with something else.
"""


def unusual(*arguments: object) -> Any:
    """No call is usual of a function that was not compiled yet."""
    raise LookupError


@dataclass(frozen=True)
class Quick:
    """A function of what is given by name, of `sample_weight`, and of where results go, `out`.

    Attributes:
        carefully: Does the same for the calls that are not like the one before.
        inputs: The arrays, and how many axes they have.
        parameters: The names of the numbers beside them.
        outputs: The names of what is written, `gradient.<input>` or `value`, in their order.
        dtype: Of the results.
    """

    carefully: Callable[..., Any]
    inputs: Mapping[str, int]
    parameters: Sequence[str]
    outputs: Sequence[str]
    dtype: np.dtype[Any]
    function: FunctionType = field(init=False)
    _codes: dict[int, CodeType] = field(init=False, default_factory=dict)  # by how much is behind the arrays

    def __post_init__(self) -> None:
        found: dict[str, Any] = {"carefully": self.carefully, "usual": (), "MISSING": _MISSING}
        found |= {
            "dtype": self.dtype,
            "one": self.dtype.type(1),
            "empty": np.empty,
            "ndarray": np.ndarray,
            "NumbaError": NumbaError,
        }
        object.__setattr__(self, "function", FunctionType(self._code(0), found, "called"))
        self.function.__kwdefaults__ = dict.fromkeys((*self.inputs, *self.parameters), _MISSING)
        self.function.__kwdefaults__ |= {"sample_weight": None, "out": None}

    def expect(self, turns: Any, blocks: Any, many: int, given: Mapping[str, object], behind: Sequence[object]) -> None:
        """Let the next call like this one go straight to these functions, if what is beside arrays is plain numbers.

        Args:
            turns, blocks: Compiled functions that go through the elements one after the other, and spread over threads.
            many: How many elements are worth threads.
            given: What the call has by name.
            behind: What the functions take after the arrays.
        """
        numbers = [given.get(name, _MISSING) for name in self.parameters]
        if any(one is not _MISSING and type(one) not in (int, float, self.dtype.type) for one in numbers):
            return
        turns, blocks = (one if one.signatures else unusual for one in (turns, blocks))

        def several(*arguments: Any) -> Any:
            return spread(turns, blocks, arguments, len(arguments[0]) / many)

        # Between these two another thread finds a state of another length at worst, and looks carefully.
        self.function.__code__ = self._code(len(behind))
        self.function.__globals__["usual"] = (turns, several, many, *numbers, *behind)

    def describe(self, name: str, title: str, defaults: Mapping[str, object]) -> None:
        """Say in the function's help how it is called; *title* is what it gives."""
        usual = dict.fromkeys(self.inputs, Parameter.empty) | {**defaults, "sample_weight": None, "out": None}
        taken = [Parameter(one, Parameter.KEYWORD_ONLY, default=value) for one, value in usual.items()]
        self.function.__name__ = self.function.__qualname__ = name
        self.function.__doc__ = _CALL.format(title=title)
        self.function.__dict__["__signature__"] = Signature(taken)

    def _code(self, many: int) -> CodeType:
        """That of the function with so many numbers behind the arrays."""
        if many not in self._codes:
            names = (*self.inputs, *self.parameters)
            behind = [f"behind_{place}" for place in range(many)]
            conditions = ["sample_weight is None", "not others", *([] if self.outputs else ["out is None"])]
            conditions += [f"({one} is number_{one} or {one} == number_{one})" for one in self.parameters]
            text = dedent(_TEXT).format(
                names=", ".join(f"{name}=MISSING" for name in names),
                state=", ".join([*(f"number_{name}" for name in self.parameters), *behind]),
                conditions=" and ".join(conditions),
                result=indent("\n".join(self._result(behind)), " " * 12),
                given=", ".join(f"{name!r}: {name}" for name in names),
            )
            found: dict[str, Any] = {"MISSING": _MISSING}
            exec(text, found)
            self._codes[many] = found["called"].__code__
        return self._codes[many]

    def _result(self, behind: Sequence[str]) -> list[str]:
        """The lines that return what a call gives."""
        places = {name: f"out_{place}" for place, name in enumerate(self.outputs)}
        slopes = {name.removeprefix("gradient."): place for name, place in places.items() if name != "value"}
        number = f"len({next(iter(self.inputs))})"
        # A number makes an array faster than a shape does.
        shapes = [number if self.inputs[name] == 1 else f"{name}.shape" for name in slopes]
        shapes += [number] * ("value" in places)
        targets, new = ", ".join(places.values()), ", ".join(f"empty({shape}, dtype)" for shape in shapes)
        lines: list[str] = []
        if places:
            given = "out" if len(places) == 1 else ", ".join(f"out[{name!r}]" for name in places)
            fits = "type(out) is ndarray" if len(places) == 1 else f"len(out) == {len(places)}"
            lines = ["if out is None:", f"    {targets} = {new}", f"elif {fits}:", f"    {targets} = {given}"]
            lines += ["else:", "    raise LookupError"]
        arguments = ", ".join([*self.inputs, *behind, *places.values()])
        call = f"(turns if {number} < many else several)({arguments})"
        if "value" in places:
            lines, value = [*lines, call], places["value"]
        else:
            value = f"one * {call}"  # of the dtype, and faster made than by the dtype itself
        pairs = ", ".join(f"{name!r}: {place}" for name, place in slopes.items())
        return [*lines, f"return {value}, {{{pairs}}}" if slopes else f"return {value}"]
