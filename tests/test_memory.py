"""How much memory a call takes."""

from pathlib import Path

import numpy as np
import pytest

from lossbench import memory

MIB = 2**20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell its highest mark")
def test_a_call_raises_memory_by_what_it_touches_at_once_though_it_gives_it_back():
    def one_after_the_other():
        for _ in range(4):
            np.ones(40 * MIB // 8)

    memory.rise(one_after_the_other)

    found = memory.rise(one_after_the_other)
    assert 38 * MIB <= found <= 60 * MIB
    assert memory.rise(lambda: None) < 4 * MIB


def test_a_system_that_does_not_tell_its_highest_mark_has_no_answer(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(memory, "MARKS", tmp_path / "nowhere" / "clear_refs")

    assert memory.rise(lambda: called.append(1)) is None
    assert called == []
