"""What a budget says: of each loss, mode, dtype and case the errors of value and gradient."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, Context
from math import isnan

from msgspec.structs import replace

from lossbench.records import Struct, Target
from lossbench.text import Dtype
from lossbench.verdicts import EXACT

RIGHT = 0.5  # ulp: what a correctly rounded result is within
COUNTS = ("nan", "inf", "finite", "flushed", "missed")

_UP = Context(prec=2, rounding=ROUND_CEILING)  # two digits: what a third one says differs between processors


class Errors(Struct, frozen=True, kw_only=True):
    """How wrong a value, or all gradients together, may be in one case.

    Attributes:
        ulp: The largest error in ulps, rounded up to two digits.
        judged: The same after conditioning (see `ulp.Entries.judged`).
        nan, inf, finite, flushed, missed: Mismatches, counted as `agreement.Accuracy` does.
    """

    ulp: float = RIGHT
    judged: float = RIGHT
    nan: int = 0
    inf: int = 0
    finite: int = 0
    flushed: int = 0
    missed: int = 0

    @classmethod
    def of(cls, ulp: float, judged: float, counts: Sequence[int]) -> Errors:
        """Measured numbers, nan where nothing could be measured in ulps, as a budget keeps them."""
        return cls(ulp=rounded(ulp), judged=rounded(judged), **dict(zip(COUNTS, counts, strict=True)))


class Kept(Struct, frozen=True, kw_only=True):
    """What came of one case: of `inputs`, a digest of all that went in and how it was reduced."""

    inputs: str
    value: Errors = Errors()
    gradient: Errors = Errors()


Cell = dict[str, Kept | str]  # by what is said of a case; of one whose results are all correctly rounded the digest
Place = tuple[str, str, str, str]  # loss, mode, dtype, and the digest of what went in


class Budget(Struct, frozen=True, kw_only=True):
    """What one version of a framework stays within.

    Attributes:
        versions: Of everything that the measurement stood on.
        processor: On which it was made: another one may add and round in another order.
        cells: By loss, mode (and device, where it is not the processor), and dtype.
    """

    framework: str
    version: str
    processor: str = ""
    versions: dict[str, str] = {}
    cells: dict[str, dict[str, dict[Dtype, Cell]]] = {}

    @property
    def stem(self) -> str:
        """The name of its file, without the ending."""
        return f"{self.framework}-{self.version}"

    def of(self, losses: Iterable[str]) -> Budget:
        """The part that is about these losses."""
        kept = set(losses)
        return replace(self, cells={loss: modes for loss, modes in self.cells.items() if loss in kept})

    def merged(self, newer: Budget, gone: Container[Place] = ()) -> Budget:
        """This one with the cases of a *newer* one in the place of those of the same inputs or the same name.

        What the newer one does not have is kept, but where the framework is *gone* silent.
        """
        cells: dict[str, dict[str, dict[Dtype, Cell]]] = {}
        for of in (self, newer):
            for loss, mode, dtype, cell in of.each():
                kept = cells.setdefault(loss, {}).setdefault(mode, {})
                inputs = {whole(one).inputs for one in cell.values()}
                before = {name: one for name, one in kept.get(dtype, {}).items() if whole(one).inputs not in inputs}
                kept[dtype] = {
                    name: one
                    for name, one in (before | cell).items()
                    if (loss, mode, dtype, whole(one).inputs) not in gone
                }
        return replace(newer, cells=cells)

    def each(self) -> Iterator[tuple[str, str, Dtype, Cell]]:
        """Loss, mode and dtype of each cell, and the cell."""
        for loss, modes in self.cells.items():
            for mode, dtypes in modes.items():
                for dtype, cell in dtypes.items():
                    yield loss, mode, dtype, cell


def whole(kept: Kept | str) -> Kept:
    """What a cell says of a case; a digest alone is one without errors."""
    return Kept(inputs=kept) if isinstance(kept, str) else kept


def shortest(found: Kept) -> Kept | str:
    """The inverse of `whole`."""
    return found.inputs if found == Kept(inputs=found.inputs) else found


def rounded(error: float) -> float:
    """An error in ulps as budgets keep it: rounded up to two digits, at least that of correct rounding."""
    if isnan(error) or error <= EXACT:
        return RIGHT
    return min(float(_UP.create_decimal(repr(error))), 1.7e308)


def public(version: str) -> str:
    """A version without the name of its build: 2.13.0 for 2.13.0+cpu."""
    return version.partition("+")[0]


def mode_of(target: Target) -> str:
    """How a budget calls the mode of a target, and its device where that is not the processor."""
    return target.mode if target.device == "cpu" else f"{target.mode}:{target.device}"
