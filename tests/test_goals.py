"""What the local kernels are to reach: valid goals, ratios within turns, and what counts as reached."""

import numpy as np
import pytest

from lossbench import goals, plan, spec
from lossbench.errors import LossbenchError
from lossbench.formula.elements import FAR
from lossbench.records import Case, Job, Target, Timing
from lossbench.store import Store
from lossbench.suite import Suite

NUMBA = Target(framework="numba", mode="compiled", threads=1)
REUSED = Target(framework="numba", mode="reused", threads=1)
TORCH = Target(framework="torch", threads=1)
JAX = Target(framework="jax", mode="compiled", threads=1)


def ceiling(mode="reused", threads=1):
    return Target(framework="ceiling", mode=mode, threads=threads)


def threaded(target, threads):
    return Target(framework=target.framework, mode=target.mode, threads=threads)


def timing(target, seconds, *, loss="huber", measure="forward", shape=(1_000_000,), turns=None, calls=1):
    one = spec.load(loss)
    case = Case(loss=loss, digest=one.digest, dtype="float32", points="timing", shape=shape, reduction="mean")
    return Timing(
        job=Job(case=case, target=target, measure=measure),
        first_call=0.1,
        seconds=[calls * number for number in seconds],
        calls=calls,
        turns=list(range(len(seconds))) if turns is None else turns,
        traffic=8 * shape[0],
    )


@pytest.fixture
def ratios(tmp_path):
    def ratios(*records):
        losses = [spec.load(name) for name in dict.fromkeys(one.job.case.loss for one in records)]
        store = Store.create(tmp_path / "run", [one.job for one in records], losses, Suite(summary="", targets=()))
        for record in records:
            store.append(record)
        store.close()
        return goals.ratios(store)

    return ratios


def judged(found, **fields):
    goal = goals.Goal(name="a goal", **{"losses": ("huber",), "against": "ceiling", "least": 0.5} | fields)
    return goals.judged(found, goals.Goals(groups={}, goals=(goal,)))


def test_every_loss_of_elements_or_rows_is_in_one_group():
    grouped = [loss for losses in goals.load().groups.values() for loss in losses]
    wanted = {loss.name for loss in spec.load_all() if not loss.has_sizes and not loss.accumulated}

    assert sorted(grouped) == sorted(wanted)


@pytest.mark.parametrize("name", ["kernels", "kernels-full"])
def test_the_suites_measure_every_loss_that_has_a_goal(name):
    found, suite = goals.load(), plan.suite(name)
    pairs = {"multilabel_margin"}  # of classes: seconds for one call

    assert all(found.losses(goal) for goal in found.goals)
    assert set(suite.losses) | pairs == set().union(*map(found.losses, found.goals))
    assert all({*grid.losses} <= {*suite.losses} for grid in suite.timing)


@pytest.mark.parametrize("name", ["kernels", "kernels-full"])
def test_every_kernel_takes_turns_with_a_ceiling_and_a_framework(name):
    jobs = plan.jobs(plan.suite(name), [spec.load("huber"), spec.load("sparse_softmax_cross_entropy")])
    rounds = {}
    for job in jobs:
        rounds.setdefault((job.case, job.measure), []).append(job.target)

    assert {job.case.shape for job in jobs} >= {(1000,), (1_000_000,), (10_000_000,), (30_000_000,), (64, 50257)}
    for targets in rounds.values():
        assert {"numba", "ceiling", "torch"} <= {target.framework for target in targets if target.threads == 1}


def test_a_case_of_two_grids_is_one_round():
    found = plan.jobs(plan.suite("kernels"), [spec.load("huber")])
    order = [(job.case, job.measure) for job in found]

    assert len([at for at, one in enumerate(order) if at == 0 or one != order[at - 1]]) == len(set(order))


def test_ratio_is_the_median_over_turns_of_the_quickest_samples(ratios):
    ours = timing(NUMBA, [2.0, 9.0, 4.0, 8.0], turns=[0, 0, 1, 2], calls=3)
    found = ratios(ours, timing(ceiling(), [1.0, 1.0, 6.0])).iloc[0]

    assert found["of_ceiling"] == 0.5  # of 1/2, 1/4 and 6/8
    assert found["seconds"] == 4.0


def test_median_of_ratios_has_its_interval(ratios):
    found = ratios(timing(NUMBA, [1.0] * 15), timing(ceiling(), range(1, 16))).iloc[0]

    assert (found["of_ceiling_low"], found["of_ceiling"], found["of_ceiling_high"]) == (4.0, 8.0, 12.0)


def test_best_framework_is_the_fastest_one_with_as_many_threads(ratios):
    both = threaded(NUMBA, 0)
    found = ratios(
        timing(NUMBA, [1.0]),
        timing(both, [1.0]),
        timing(TORCH, [3.0]),
        timing(JAX, [2.0]),
        timing(threaded(TORCH, 0), [4.0]),
    ).set_index("threads")

    assert (found["best"][1], found["to_best"][1]) == ("jax:compiled:cpu*1", 2.0)
    assert (found["best"][0], found["to_best"][0]) == ("torch:eager:cpu", 4.0)
    assert np.isnan(found["of_ceiling"]).all()


def test_ceiling_is_the_quickest_way_with_the_same_outputs(ratios):
    given = {"measure": "gradient", "shape": (FAR // 4,)}
    found = ratios(
        timing(NUMBA, [10.0], **given),
        timing(REUSED, [10.0], **given),
        timing(ceiling("reused"), [8.0], **given),
        timing(ceiling("streamed"), [6.0], **given),
        timing(ceiling("fresh"), [9.0], **given),
    ).set_index("outputs")

    assert dict(found["of_ceiling"]) == {"fresh": 0.9, "reused": 0.6}
    assert found["ceiling"]["reused"] == "ceiling:streamed:cpu*1"


def test_ceiling_leaves_gradients_in_the_caches_where_they_fit(ratios):
    given = {"measure": "gradient", "shape": (FAR // 4 - 1,)}
    found = ratios(
        timing(REUSED, [10.0], **given),
        timing(ceiling("reused"), [8.0], **given),
        timing(ceiling("streamed"), [6.0], **given),
    ).iloc[0]

    assert (found["ceiling"], found["of_ceiling"]) == ("ceiling:reused:cpu*1", 0.8)


def test_where_threads_do_not_pay_the_ceiling_is_that_of_one(ratios):
    both = threaded(NUMBA, 0)
    found = ratios(timing(both, [4.0]), timing(ceiling(), [2.0]), timing(ceiling(threads=0), [3.0])).iloc[0]

    assert found["of_ceiling"] == 0.5


def test_a_value_has_no_outputs_and_one_row(ratios):
    found = ratios(timing(NUMBA, [1.0]), timing(REUSED, [1.0]))

    assert list(found["outputs"]) == [""]


def test_threads_are_compared_with_one(ratios):
    found = ratios(timing(NUMBA, [3.0, 3.0, 8.0]), timing(threaded(NUMBA, 0), [2.0, 2.0, 2.0]))
    rows = judged(found, against="one thread", least=1.7)

    assert (list(rows["threads"]), list(rows["ratio"]), list(rows["reached"])) == ([0], [1.5], [False])


@pytest.mark.parametrize(
    ("fields", "reached"),
    [
        ({"least": 0.5}, [True]),
        ({"least": 0.51}, [False]),
        ({"elements": (1_000_000, 1_000_000)}, [True]),
        ({"elements": (1_000_001, 2_000_000)}, []),
        ({"shapes": ((1_000_000,),)}, [True]),
        ({"shapes": ((1000, 1000),)}, []),
        ({"measures": ("gradient",)}, []),
        ({"losses": ("hinge",)}, []),
        ({"against": "frameworks", "least": 2.0}, [True]),
        ({"against": "frameworks", "least": 2.0, "below": 0.25}, []),
        ({"against": "frameworks", "least": 2.0, "below": 0.26}, [True]),
        ({"against": "one thread"}, []),
    ],
)
def test_a_goal_is_for_its_cases_and_reached_by_the_median(ratios, fields, reached):
    found = ratios(timing(NUMBA, [2.0]), timing(ceiling(), [1.0]), timing(TORCH, [4.0]))

    assert list(judged(found, **fields)["reached"]) == reached


def test_a_group_that_does_not_exist_is_refused(tmp_path):
    path = tmp_path / "goals.toml"
    path.write_text(
        '[groups]\nsome = ["huber"]\n[[goals]]\nname = "x"\ngroups = ["other"]\nagainst = "ceiling"\nleast = 1.0'
    )

    with pytest.raises(LossbenchError, match="unknown group 'other'; expected one of: some"):
        goals.load(path)


def test_a_store_without_kernels_has_an_empty_table(ratios):
    found = ratios(timing(TORCH, [1.0]))

    assert len(found) == 0
    assert len(goals.judged(found, goals.load())) == 0
