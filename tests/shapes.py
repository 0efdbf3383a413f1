"""The shape of a drawn case of any loss, and the index of each draw that a run makes of it."""

from lossbench.loss import Loss
from lossbench.points import STYLES


def shape(loss: Loss, points: int, classes: int) -> tuple[int, ...]:
    """*points* elements or rows of *classes*; tables and batches as large as their specs say."""
    if not loss.has_sizes:
        return (points, classes) if loss.axes else (points,)
    own = tuple(loss.sizes.accuracy[0][axis] for axis in loss.axes)
    return own if loss.batchwise else (points, *own)


def draws(loss: Loss) -> range:
    """One draw, but of every style a whole batch."""
    return range(len(STYLES) if loss.batchwise else 1)
