"""The entry of a case that got worse, as a script that shows it without this package, or else with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from lossbench import script, shown
from lossbench.answers import Answers, Certified, Measured
from lossbench.errors import LossbenchError
from lossbench.records import Case, Target
from lossbench.text import Divergence, Numbers

MANY = ("drift", "length")  # points that are many inputs each


def of(answers: Answers, measured: Measured) -> str:
    """Python that prints what comes out at the worst entry of the first part, and what is exact.

    Nothing where the entry is not one of a single point: of sums, of whole batches, of states.
    """
    job, loss = measured.job, answers.losses[measured.job.case.loss]
    name, part = next(iter(measured.parts.items()))
    certified = answers.certified(job.case, job.measure)
    exact = measured.exact[name]
    single = not (loss.batchwise or loss.accumulated or job.case.weighted) and job.case.points not in MANY
    if part.worst is None or not isinstance(certified, Certified) or not single or job.measure != "accuracy":
        return ""
    if exact.high.ndim == 0 and any(len(certified.inputs[one]) != 1 for one in loss.inputs):
        return ""
    row = np.unravel_index(part.worst, exact.high.shape)[0] if exact.high.ndim else 0
    given = {name: certified.inputs[name][row : row + 1] for name in loss.inputs}
    given |= {name: certified.inputs[name] for name in loss.parameters}
    at = {name: _numbers(array[0] if name in loss.inputs else array, job.case) for name, array in given.items()}
    why = f"{name} of {job.target.name} is {measured.verdict} here"
    one = Divergence(framework=job.target.framework, when=at, kind="defect", why=why, dtype=job.case.dtype)
    try:
        return script.at(loss, one, job.target.mode)
    except LossbenchError:
        return _ours(loss.name, job.target, job.case.dtype, given)


def _ours(loss: str, target: Target, dtype: str, given: Mapping[str, np.ndarray]) -> str:
    """For frameworks of which no script can be written."""
    said = ", ".join(f"{name}={array.tolist()}" for name, array in given.items())
    where = f"{target.framework}:{target.mode}:{target.device}"
    return (
        "from math import inf, nan\n"
        "import lossbench\n"
        f"given = dict({said})\n"
        f'out = lossbench.evaluate("{loss}", target="{where}", dtype="{dtype}", **given)\n'
        f'exact = lossbench.reference("{loss}", dtype="{dtype}", **given)\n'
        "print(out.value, exact.value, out.gradient, exact.gradient)\n"
    )


def _numbers(array: np.ndarray, case: Case) -> Numbers:
    """The numbers in the digits that make them again in the dtype."""
    if array.ndim:
        return cast(Numbers, [_numbers(one, case) for one in array])
    return int(array) if array.dtype.kind == "i" else shown.decimal(float(array), case.dtype)
