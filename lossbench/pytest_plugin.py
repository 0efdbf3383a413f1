"""The pytest plugin: the fixture `lossbench`, whose `check` fails the test of a wrong loss, and a marker of that name.

    @pytest.mark.lossbench(dtypes=["float32", "float64"], modes=["eager", "compiled"])
    def test_my_focal(lossbench):
        lossbench.check(my_focal, "binary_focal", gamma=2.0)

It is loaded in every pytest run of an environment that has lossbench, so it imports nothing else of it by itself.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lossbench.checking.whole import Check

MARKER = "lossbench"


class Checker:
    """What the fixture gives.

    Attributes:
        dtype, mode: That of this test, where its marker says some; None for all.
    """

    def __init__(self, dtype: str | None = None, mode: str | None = None) -> None:
        self.dtype = dtype
        self.mode = mode

    def check(self, yours: object, loss: str | None = None, **more: Any) -> Check:
        """As `lossbench.check`, of the test's dtype and mode; a loss that is wrong or gives no answer fails the test.

        Args:
            yours, loss: As there.
            **more: Likewise: parameters of the loss, `arguments`, `reduction`, `framework`.
        """
        __tracebackhide__ = True
        from lossbench.checking.whole import check

        chosen = {"dtypes": [self.dtype]} if self.dtype else {}
        chosen |= {"modes": [self.mode]} if self.mode else {}
        found = check(yours, loss, **(chosen | more))
        if found.exit_code:
            pytest.fail(str(found), pytrace=False)
        return found


@pytest.fixture(name="lossbench")
def checker(request: pytest.FixtureRequest) -> Checker:
    """`lossbench.check(my_loss, "huber", delta=2.0)`."""
    return Checker(*getattr(request, "param", ()))


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    said = f"{MARKER}(dtypes, modes): run the test once for each dtype and mode in which the loss is to be checked"
    config.addinivalue_line("markers", said)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each dtype and mode that the marker says."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None or "lossbench" not in metafunc.fixturenames:
        return
    each = list(product(marker.kwargs.get("dtypes", (None,)), marker.kwargs.get("modes", (None,))))
    ids = ["-".join(part for part in one if part) for one in each]
    metafunc.parametrize("lossbench", each, ids=ids, indirect=True)
