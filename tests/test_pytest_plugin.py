"""The pytest plugin: a wrong loss fails its test like an assertion, a marker makes a test of each dtype and mode."""

import subprocess
import sys
from textwrap import dedent

pytest_plugins = ["pytester"]

LOSSES = """
    import numpy as np

    def right(y_pred, y_true):
        return np.abs(y_pred - y_true)

    def wrong(y_pred, y_true):
        return np.abs(y_pred + y_true)
"""


def test_wrong_loss_fails_with_input_got_exact_and_ulps(pytester):
    pytester.makepyfile(
        mine=LOSSES,
        test_mine="""
            from mine import right, wrong

            def test_right(lossbench):
                assert lossbench.check(right, "absolute_error").verdict == "right"

            def test_wrong(lossbench):
                lossbench.check(wrong, "absolute_error")
        """,
    )

    done = pytester.runpytest_subprocess("-q")

    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*smallest failing input: y_pred=1, y_true=1*", "*value 2, exact 0*ulp*"])


def test_marker_makes_a_test_of_each_dtype_and_mode(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lossbench(dtypes=["float32", "float64"], modes=["eager"])
        def test_mine(lossbench):
            assert lossbench.dtype in ("float32", "float64")
            assert lossbench.mode == "eager"
        """
    )

    done = pytester.runpytest_subprocess("-v", "--strict-markers")

    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*test_mine?float32-eager?*", "*test_mine?float64-eager?*"])


def test_plugin_loads_nothing_heavy():
    heavy = {"numpy", "flint", "numba", "pandas", "torch", "tensorflow", "jax", "msgspec", "hypothesis"}
    code = f"""
        import pytest, sys
        before = set(sys.modules)
        import lossbench.pytest_plugin
        print({heavy!r} & (set(sys.modules) - before))
    """

    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
