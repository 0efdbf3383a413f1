"""The index of 60 losses x 12 targets in two dtypes weighs less than 2 MB, as far as a small one tells."""

import re

from small_run import small_run

from lossbench import report

CELLS = 60 * 12 * 2


def test_cells_are_light_enough_for_the_largest_matrix(tmp_path):
    text = report.write(small_run(tmp_path)).read_text(encoding="utf-8")
    (matrix,) = re.findall(r'<table id="losses".*?</table>', text, re.DOTALL)
    cells = matrix.count("data-verdict=")
    # Each with its part of the head of a line, which more of them share in a large one.
    of_cells = len(matrix.encode()) / cells * CELLS

    assert cells == 12
    assert of_cells + len(text.encode()) < 2e6
