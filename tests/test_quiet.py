"""How quiet the machine was, and what follows for the statements of a run."""

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from lossbench import quiet, spec
from lossbench.quiet import Conditions
from lossbench.records import MachineState
from lossbench.store import Store
from lossbench.suite import Suite

BEFORE = MachineState(
    when="before",
    load=0.5,
    seconds={"user": 10.0, "idle": 100.0, "steal": 1.0},
    own=4.0,
    governor="performance",
    megahertz=[2000.0, 3000.0],
    throttled=7,
)
AFTER = replace(
    BEFORE,
    when="after",
    load=2.5,
    seconds={"user": 70.0, "idle": 130.0, "steal": 11.0},
    own=54.0,
    megahertz=[1500.0, 2500.0],
    throttled=9,
)
QUIET = Conditions(
    load=(0.1, 1.0), steal=0.0, others=0.0, throttled=0, capped=None, governor="performance", megahertz=None
)
TIMED = pd.DataFrame({"median": [1.0] * 10, "steady": [True] * 10})


def equals(*ratios, apart=False):
    return pd.DataFrame({"ratio": ratios, "apart": [apart] * len(ratios)})


@pytest.fixture
def stored(tmp_path):
    def stored(*records):
        store = Store.create(tmp_path / "run", [], [spec.load("huber")], Suite(summary="", targets=()))
        for record in records:
            store.append(record)
        store.close()
        return store

    return stored


def test_conditions_are_what_happened_between_the_two_states(stored):
    # Of 100 seconds the host took 10, and 60 were spent on work, 50 of them on ours.
    assert quiet.conditions(stored(BEFORE, AFTER)) == Conditions(
        load=(0.5, 2.5),
        steal=0.1,
        others=0.1,
        throttled=2,
        capped=None,
        governor="performance",
        megahertz=(1500.0, 3000.0),
    )


def test_a_resumed_run_adds_up_what_happened_and_leaves_out_what_was_cut_off(stored):
    found = quiet.conditions(stored(BEFORE, BEFORE, AFTER, BEFORE, AFTER))

    assert found == replace_conditions(throttled=4)


def replace_conditions(**changed):
    return Conditions(
        **{
            "load": (0.5, 2.5),
            "steal": 0.1,
            "others": 0.1,
            "throttled": 2,
            "capped": None,
            "governor": "performance",
            "megahertz": (1500.0, 3000.0),
            **changed,
        }
    )


def test_a_run_that_was_cut_off_or_is_older_has_no_conditions(stored):
    assert quiet.conditions(stored(BEFORE)) is None


def test_nine_in_ten_equals_were_closer_than_the_resolution():
    noise = equals(*[1.01] * 9, 1 / 1.2, 3.0)

    assert quiet.resolution(noise) == pytest.approx(1.2)
    assert np.isnan(quiet.resolution(equals()))


def test_a_quiet_machine_whose_equals_are_equal_needs_no_warning():
    assert quiet.warnings(QUIET, equals(1.0, 1.01, 0.99), TIMED) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steal": 0.03}, "the host took 3.0% of the processor time for others"),
        ({"others": 0.25}, "other programs used 25% of the processor time"),
        ({"throttled": 2}, "cores were slowed 2 times because they were hot"),
        ({"capped": 5}, "the container was stopped 5 times because it had used up its processor time"),
    ],
)
def test_what_disturbed_the_machine_is_said(changed, said):
    found = replace_conditions(**{"steal": 0.0, "others": 0.0, "throttled": 0} | changed)

    assert quiet.warnings(found, equals(1.0), TIMED) == [said]


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (equals(1.0, 1.3), "one and the same target, timed twice, differed by up to 30%: less than that says nothing"),
        (
            equals(1.01, apart=True),
            "in 100% of the cases even the 95 % intervals of equals were apart: the machine drifted",
        ),
        (equals(), "no target ran twice: nothing says how large a difference must be to mean something"),
    ],
)
def test_what_equals_differ_by_forbids_smaller_differences(noise, said):
    assert quiet.warnings(QUIET, noise, TIMED) == [said]


def test_times_that_did_not_become_steady_are_counted_and_those_of_older_records_are_not():
    some = TIMED.assign(steady=[False, False, *[True] * 8])

    assert quiet.warnings(QUIET, equals(1.0), some) == [
        "2 of 10 timings were not seen to become steady before they were sampled"
    ]
    assert quiet.warnings(QUIET, equals(1.0), TIMED.assign(steady=None)) == []


def test_a_run_without_timings_warns_of_nothing():
    assert quiet.warnings(None, equals(), TIMED.assign(median=np.nan)) == []
