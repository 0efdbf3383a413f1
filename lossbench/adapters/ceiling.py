"""The ceiling: what any implementation of a case must at least read and write, moved without arithmetic.

A target of timing suites that takes its turn beside the frameworks. Of a mean nothing is written but one number; the
modes differ in how gradients are: `reused` writes them into the same buffers again and again, `streamed` as well but
with stores that go past the caches, `fresh` into new memory for every call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from lossbench import compilations
from lossbench.adapters import Prepared, check_mode, threads, variables
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.kernels.ceiling import address, aligned, move
from lossbench.records import Target

MODES = ("reused", "streamed", "fresh")


def open(target: Target) -> _Ceiling:  # noqa: A001  the name that every adapter has
    """Set the threads."""
    compilations.watch()
    check_mode(target, MODES)
    if target.device != "cpu":
        raise Unsupported(f"the ceiling has no device {target.device!r}; expected cpu")
    numba.set_num_threads(min(threads(), numba.config.NUMBA_NUM_THREADS))
    return _Ceiling(target.mode)


class _Ceiling:
    def __init__(self, mode: str) -> None:
        self._mode = mode

    def versions(self) -> dict[str, str]:
        return {"numba": numba.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {"threads": str(numba.get_num_threads()), **variables("NUMBA_", "OMP_", "KMP_")}

    def machine(self) -> dict[str, str]:
        return {}

    def prepare(self, problem: Problem) -> Prepared:
        if problem.reduction == "none":
            raise Unsupported("the ceiling is that of sums and means; expected the reduction sum or mean")
        given = [*problem.arrays.values()] + ([] if problem.sample_weight is None else [problem.sample_weight])
        reads = [_copied(array) for array in given]
        writes = [_copied(problem.arrays[name]) for name, one in problem.loss.inputs.items() if one.grad]
        groups = [
            _Group([one for one in reads if one.size == size], [one for one in writes if one.size == size], size)
            for size in dict.fromkeys(one.size for one in reads)
        ]
        many, streamed = numba.get_num_threads(), self._mode == "streamed"

        def forward() -> None:
            for one in groups:
                move(one.sources, (), one.size, streamed=False, threads=many)

        def again() -> None:
            for one in groups:
                move(one.sources, one.sinks, one.size, streamed=streamed, threads=many)

        def fresh() -> list[np.ndarray]:
            found = []
            for one in groups:
                new = [aligned(one.size) for _ in one.writes]
                move(one.sources, tuple(address(array) for array in new), one.size, streamed=False, threads=many)
                found += new
            return found

        def none() -> dict[str, np.ndarray]:
            raise Unsupported("the ceiling computes nothing; expected a timing suite")

        return Prepared(forward=forward, gradient=fresh if self._mode == "fresh" else again, arrays=none)


@dataclass
class _Group:
    """Arrays of one length, which are moved side by side, as losses read them."""

    reads: list[np.ndarray]
    writes: list[np.ndarray]
    size: int

    def __post_init__(self) -> None:
        self.sources = tuple(address(one) for one in self.reads)
        self.sinks = tuple(address(one) for one in self.writes)


def _copied(array: np.ndarray) -> np.ndarray:
    """The bytes of *array*, from a cache line on; every one of them is written, so that all pages are there."""
    plain = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    found = aligned(plain.size)
    found[: plain.size] = plain
    found[plain.size :] = 0
    return found
