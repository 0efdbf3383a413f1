"""The shortest way from a call to compiled functions that look at their arguments themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from lossbench.kernels.outputs import Out
from lossbench.kernels.team import spread

Quick = Callable[[Mapping[str, Any], Out], Any]


def unusual(given: Mapping[str, Any], out: Out) -> Any:
    """No call is usual yet."""
    raise KeyError


def quick(
    turns: Callable[..., Any],
    blocks: Callable[..., Any],
    many: int,
    inputs: Sequence[str],
    parameters: Mapping[str, object],
    behind: Sequence[object],
    outputs: Sequence[str],
    dtype: np.dtype[Any],
) -> Quick:
    """A function of what is given and where results go; it refuses what a careful look should be taken at.

    Args:
        turns, blocks: Compiled functions that go through the elements one after the other, and spread over threads.
        many: How many elements are worth threads.
        inputs: The arrays' names.
        parameters: The numbers that have to be given beside them.
        behind: What the functions take after the arrays.
        outputs: The names of what they write, `gradient.<input>` or `value`, in their order.
        dtype: Of the results.

    Raises:
        KeyError, TypeError, ValueError, NumbaError: From the function, of a call that is not like this.
    """
    size, checked = len(inputs) + len(parameters), tuple(parameters.items())
    one, tail = dtype.type(1), tuple(behind)  # one times a float is of its dtype, and faster made than the dtype's own
    taken = itemgetter(*inputs) if len(inputs) > 1 else _only(inputs[0])

    def several(*arguments: Any) -> Any:
        return spread(turns, blocks, arguments, len(arguments[0]) / many)

    def fits(given: Mapping[str, Any]) -> bool:
        return all(given[name] == number for name, number in checked)

    def of_value(given: Mapping[str, Any], out: Out) -> Any:
        if out is not None or len(given) != size or (checked and not fits(given)):
            raise KeyError
        arrays = taken(given)
        function = turns if len(arrays[0]) < many else several
        return one * function(*(arrays + tail))

    def of_gradient(given: Mapping[str, Any], out: Any) -> Any:
        if len(given) != size or (checked and not fits(given)):
            raise KeyError
        arrays = taken(given)
        if out is None:
            out = np.empty(arrays[places[0]].shape, dtype)
        function = turns if len(arrays[0]) < many else several
        return one * function(*(arrays + tail + (out,))), {slopes[0]: out}

    def of_several(given: Mapping[str, Any], out: Any) -> Any:
        if len(given) != size or (checked and not fits(given)):
            raise KeyError
        arrays = taken(given)
        if out is None:
            written = tuple(np.empty(arrays[place].shape, dtype) for place in places)
            written += (np.empty(len(arrays[0]), dtype),) if valued else ()
        elif len(outputs) == 1 and isinstance(out, np.ndarray):
            written = (out,)
        elif len(out) == len(outputs):
            written = tuple(out[name] for name in outputs)
        else:
            raise KeyError
        function = turns if len(arrays[0]) < many else several
        value = function(*(arrays + tail + written))
        value = written[-1] if valued else one * value
        return (value, dict(zip(slopes, written, strict=False))) if slopes else value

    slopes = [name.removeprefix("gradient.") for name in outputs if name != "value"]
    places, valued = [inputs.index(one) for one in slopes], "value" in outputs
    if not outputs:
        return of_value
    return of_gradient if len(outputs) == len(slopes) == 1 else of_several


def _only(name: str) -> Callable[[Mapping[str, Any]], tuple[Any]]:
    return lambda given: (given[name],)
