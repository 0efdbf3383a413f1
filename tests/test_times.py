"""What the report says of times: columns that a run has, what is within the noise, what was not steady."""

import pandas as pd
import pytest

from lossbench.quiet import Conditions
from lossbench.report import index, times
from lossbench.report.evidence import Known

ROW = {
    "job": "0123456789abcdef01234567",
    "target": "torch:eager:cpu",
    "measure": "forward",
    "dtype": "float32",
    "shape": "1000",
    "elements": 1000,
    "median": 2e-6,
    "low": 1e-6,
    "high": 3e-6,
    "ratio": 1.0,
    "busy": float("nan"),
    "busy_low": float("nan"),
    "busy_high": float("nan"),
    "busy_ratio": float("nan"),
    "bytes_per_second": 1e9,
    "bandwidth_fraction": 0.5,
    "cpu": float("nan"),
    "cold": float("nan"),
    "peak_memory": float("nan"),
    "steady": None,
    "samples": 20,
    "first_call": 0.5,
    "verdict": "",
    "reason": "",
}


def said(*rows, resolution=1.1):
    """Of each row, what stands in each column."""
    table = times.table(pd.DataFrame([{**ROW, **row} for row in rows]), resolution, Known(loss="huber", hard={}))
    return [
        {
            column: " ".join([cell.text, *(text for text, _ in cell.links), *cell.lines]).strip()
            for column, cell in zip(table.columns, cells, strict=True)
        }
        for cells in table.rows
    ]


def test_what_was_measured_beside_the_time_has_its_column_and_what_was_not_has_none():
    (full,) = said({"cpu": 4e-6, "cold": 8e-6, "peak_memory": 4000.0})
    (bare,) = said({})

    assert (full["Processor time"], full["Caches emptied"], full["Memory taken"]) == ("4.00 µs", "8.00 µs", "4.00 kB")
    assert set(full) - set(bare) == {"Processor time", "Caches emptied", "Memory taken"}


@pytest.mark.parametrize(("ratio", "word"), [(1.0, "1.00×"), (1.05, "1.05×, within the noise"), (1.2, "1.20×")])
def test_a_ratio_that_equals_have_too_is_within_the_noise(ratio, word):
    assert said({"ratio": ratio})[0]["To the fastest"] == word


def test_without_a_control_nothing_is_called_noise():
    assert said({"ratio": 1.0001}, resolution=float("nan"))[0]["To the fastest"] == "1.00×"


def test_times_that_were_not_seen_to_be_steady_say_so_and_those_of_older_records_do_not():
    first, second, third = said({"steady": False}, {"steady": True}, {"steady": None})

    assert first["Samples"] == "20, not seen to be steady"
    assert second["Samples"] == third["Samples"] == "20"


def test_a_refused_row_is_as_wide_as_the_others():
    refused, _ = said({"verdict": "refused", "reason": "not installed"}, {"cpu": 4e-6})

    assert "not installed" in refused["Median"]


def test_what_cannot_be_seen_of_the_machine_is_not_called_nothing():
    table = index.conditions(
        Conditions(load=None, steal=0.01, others=None, throttled=0, capped=None, governor="", megahertz=(1.0, 2.0))
    )
    found = {row[0].text: row[1].text for row in table.rows}

    assert found["processor time that the host took for others"] == "1.0 %"
    assert found["times that a core was slowed because it was hot"] == "0"
    assert found["clock rates seen, in MHz"] == "1 to 2"
    assert list(found.values()).count("cannot be seen") == 4
    assert index.conditions(None).rows == []
