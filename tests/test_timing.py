"""Sampling, against a clock that only calls move."""

import gc
from time import process_time

import pytest

from lossbench import timing


class Machine:
    """Calls that last as long as they are told, the last one for ever, and the clock that they move."""

    def __init__(self, *seconds: float) -> None:
        self.now = 0.0
        self.calls = 0
        self.seconds = seconds

    def call(self) -> None:
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1

    def clock(self) -> float:
        return self.now


def test_a_sample_is_the_duration_of_its_calls():
    machine = Machine(0.25)

    assert timing.sample(machine.call, 8, clock=machine.clock) == 2.0
    assert machine.calls == 8


def test_a_fast_call_is_repeated_until_it_fills_a_sample():
    machine = Machine(2**-20)

    calls, seconds = timing.calibrate(machine.call, 0.125, clock=machine.clock)

    assert 2**17 <= calls < 2**18
    assert seconds == [calls * 2**-20] * 3


def test_a_call_far_slower_than_a_sample_is_made_once():
    machine = Machine(64.0)

    assert timing.calibrate(machine.call, 0.125, clock=machine.clock) == (1, [64.0])
    assert machine.calls == 1


def test_one_interrupted_try_does_not_shorten_the_samples():
    machine = Machine(0.5, 2**-10)

    calls, seconds = timing.calibrate(machine.call, 0.125, clock=machine.clock)

    assert min(seconds) >= 0.125
    assert calls >= 128


def test_a_clock_too_coarse_to_see_one_call_is_no_obstacle():
    machine = Machine(2**-12)

    calls, _ = timing.calibrate(machine.call, 0.125, clock=lambda: machine.now // 0.03125 * 0.03125)

    assert calls * 2**-12 >= 0.125


def test_garbage_is_not_collected_within_a_sample_and_is_again_after_it():
    seen = []

    timing.sample(lambda: seen.append(gc.isenabled()), 2)

    assert seen == [False, False]
    assert gc.isenabled()


def test_collection_comes_back_after_a_call_that_raises():
    with pytest.raises(ZeroDivisionError):
        timing.sample(lambda: 1 // 0)

    assert gc.isenabled()


def test_processor_time_is_measured_beside_the_clock():
    spent = []

    def work():
        while process_time() < spent[0]:
            pass

    spent.append(process_time() + 0.01)
    _, cpu = timing.measure(work)

    assert cpu >= 0.005


def test_times_are_steady_when_the_fastest_of_three_is_as_fast_as_that_of_the_three_before():
    machine = Machine(1.0, 9.0, 1.0, 1.0, 1.03125, 7.0)
    seconds = []

    assert timing.warm_up(machine.call, 1, seconds, 100.0, clock=machine.clock)
    assert seconds == [1.0, 9.0, 1.0, 1.0, 1.03125, 7.0]


def test_a_call_that_gets_faster_is_called_until_it_does_not():
    machine = Machine(*(2.0**-n for n in range(10)), 2.0**-10)
    seconds = []

    assert timing.warm_up(machine.call, 1, seconds, 100.0, clock=machine.clock)
    assert len(seconds) == 14
    assert seconds[-4:] == [2.0**-10] * 4


def test_samples_of_the_calibration_count_and_a_slow_call_is_not_waited_for():
    machine = Machine(64.0)
    seconds = [64.0] * 5

    assert not timing.warm_up(machine.call, 1, seconds, 1.0, clock=machine.clock)
    assert machine.calls == 0
    assert timing.warm_up(machine.call, 1, seconds, 65.0, clock=machine.clock)
    assert machine.calls == 1
