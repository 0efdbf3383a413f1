"""The ceiling moves every byte that a case has, by every way, and computes nothing."""

import numpy as np
import pytest

from lossbench import adapters, bandwidth, inputs, spec
from lossbench.errors import Unsupported
from lossbench.kernels import ceiling
from lossbench.records import Case, Target
from lossbench.timed import traffic

SIZES = [64, 256, 320, 64 * 1003, 2**20 + 64]


def arrays(size, many):
    found = [ceiling.aligned(size) for _ in range(many)]
    for seed, one in enumerate(found):
        one[:] = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    return found


def addresses(some):
    return tuple(ceiling.address(one) for one in some)


def problem(name, shape, **rest):
    case = {"dtype": "float32", "points": "timing", "shape": shape, "reduction": "mean"} | rest
    return inputs.draw(spec.load(name), Case(loss=name, digest="", **case))


def opened(mode):
    return adapters.load("ceiling").open(Target(framework="ceiling", mode=mode))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_all_that_is_read_comes_back_and_is_written(size, streamed, threads):
    left, right, one, other = arrays(size, 4)
    expected = left.view(np.int64) ^ right.view(np.int64)

    total = ceiling.move(addresses((left, right)), addresses((one, other)), size, streamed=streamed, threads=threads)

    assert np.array_equal(one.view(np.int64), expected)
    assert np.array_equal(other.view(np.int64), expected)
    if threads == 1:
        assert total == np.bitwise_xor.reduce(expected)


def test_reading_alone_reads_everything():
    for size in SIZES:
        (one,) = arrays(size, 1)

        assert ceiling.move(addresses([one]), (), size, streamed=False, threads=1) == np.bitwise_xor.reduce(
            one.view(np.int64)
        )


def test_room_begins_at_a_cache_line_and_ends_at_one():
    for size in (1, 63, 64, 65, 4000):
        one = ceiling.aligned(size)

        assert ceiling.address(one) == one.ctypes.data
        assert one.ctypes.data % ceiling.LINE == 0
        assert size <= one.size < size + ceiling.LINE
        assert one.size % ceiling.LINE == 0


@pytest.mark.parametrize("name", ["huber", "sparse_softmax_cross_entropy", "gaussian_nll", "triplet_margin"])
@pytest.mark.parametrize("mode", ["reused", "streamed", "fresh"])
def test_as_many_bytes_are_moved_as_a_case_has(monkeypatch, mode, name):
    moved = {"reads": 0, "writes": 0}

    def counted(reads, writes, size, *, streamed, threads):
        assert streamed == (mode == "streamed") or not writes
        moved["reads"] += len(reads) * size
        moved["writes"] += len(writes) * size

    monkeypatch.setattr(adapters.load("ceiling"), "move", counted)
    case = problem(name, (64, 64) if spec.load(name).axes else (4096,))
    prepared = opened(mode).prepare(case)

    prepared.forward()
    assert (moved["reads"], moved["writes"]) == (traffic(case, "forward") - 4, 0)

    moved["reads"] = 0
    prepared.gradient()
    assert moved["reads"] + moved["writes"] == traffic(case, "gradient") - 4


@pytest.mark.parametrize("mode", ["reused", "streamed", "fresh"])
def test_every_way_runs(mode):
    prepared = opened(mode).prepare(problem("sparse_softmax_cross_entropy", (32, 10)))

    prepared.forward(), prepared.gradient()


def test_ceiling_has_no_numbers_and_no_unreduced_case():
    with pytest.raises(Unsupported, match="computes nothing; expected a timing suite"):
        opened("reused").prepare(problem("huber", (10,))).arrays()
    with pytest.raises(Unsupported, match="expected the reduction sum or mean"):
        opened("reused").prepare(problem("huber", (10,), reduction="none"))


def test_bandwidth_is_of_both_kernels_on_one_thread_and_on_all():
    found = bandwidth.measure(4000, 2, 1e-5)

    assert [(one.kernel, one.bytes, one.threads) for one in found] == [
        ("read two", 2 * 4032, 1),
        ("read two, write one", 3 * 4032, 1),
        ("read two", 2 * 4032, 2),
        ("read two, write one", 3 * 4032, 2),
    ]
    assert all(seconds > 0 for one in found for seconds in one.seconds)
