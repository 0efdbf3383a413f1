"""From suites to jobs."""

import re
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from lossbench import plan, spec
from lossbench.errors import LossbenchError
from lossbench.records import REFERENCE, Target
from lossbench.suite import Accuracy, Sampling, Suite, Timing

FAKE = Path(__file__).parent / "fake_adapter"
EMPTY = Suite(name="empty", summary="", targets=("torch:eager", "jax:compiled"))
HUBER = spec.load("huber")
ROWS = spec.load("categorical_cross_entropy")


def domain(**fields) -> Suite:
    grid = Accuracy(**({"dtypes": ("float32",), "points": 7, "targets": EMPTY.targets} | fields))
    return replace(EMPTY, accuracy=(grid,))


def timing(**fields) -> Suite:
    grid = Timing(**({"dtypes": ("float32",), "targets": EMPTY.targets, "measures": ("forward",)} | fields))
    return replace(EMPTY, timing=(grid,), sampling=Sampling(twin=False))


@pytest.mark.parametrize("name", plan.suites())
def test_every_suite_plans_jobs_for_every_loss_and_target(name):
    suite, losses = plan.suite(name), spec.load_all()

    jobs = plan.jobs(suite, losses)

    if suite.accuracy or suite.edges or suite.timing:  # conventions are asked of those who have the loss
        assert {(job.case.loss, replace(job.target, threads=0)) for job in jobs} >= {
            (loss.name, plan.target(text)) for loss in losses for text in suite.targets
        }
    assert len({job.key for job in jobs}) == len(jobs)


def test_every_accuracy_case_has_its_reference():
    jobs = plan.jobs(plan.suite("smoke"), [HUBER, ROWS])
    cases = {job.case.points for job in jobs if job.target == REFERENCE}

    assert cases - {"divergence", "worst"} == {"domain", "edge"}  # of which not every loss has some
    for job in jobs:
        assert (job.measure != "accuracy") or any(
            other.case == job.case and other.target == REFERENCE for other in jobs
        )


def test_timing_has_no_reference():
    assert not [job for job in plan.jobs(plan.suite("timing"), [HUBER]) if job.target == REFERENCE]


def test_parameters_are_tried_one_at_a_time_by_the_first_reduction():
    parameters = HUBER.parameters["delta"]
    jobs = plan.jobs(domain(reductions=("mean", "sum"), parameters="each"), [HUBER])
    cases = list(dict.fromkeys((str(job.case.parameters), job.case.reduction) for job in jobs))

    each = [(str({"delta": value}), "mean") for value in parameters.values]
    assert parameters.values
    assert cases == [("{}", "mean"), ("{}", "sum"), *each]


def test_only_losses_of_rows_have_classes():
    suite = domain(classes=(2, 5))

    assert {job.case.shape for job in plan.jobs(suite, [HUBER])} == {(7,)}
    assert {job.case.shape for job in plan.jobs(suite, [ROWS])} == {(7, 2), (7, 5)}


def test_sizes_are_elements_or_rows_as_the_loss_takes_them():
    suite = timing(elements=(10, 20), rows=((3, 4),))

    assert [job.case.shape for job in plan.jobs(suite, [HUBER], ["torch"])] == [(10,), (20,)]
    assert [job.case.shape for job in plan.jobs(suite, [ROWS], ["torch"])] == [(3, 4)]


def test_the_first_target_runs_twice_as_a_control():
    suite = replace(timing(elements=(10,)), sampling=Sampling(twin=True))

    assert [(job.target.framework, job.target.twin) for job in plan.jobs(suite, [HUBER])] == [
        ("torch", False),
        ("jax", False),
        ("torch", True),
    ]
    assert [job.target.name for job in plan.jobs(suite, [HUBER], ["jax"])] == [
        "jax:compiled:cpu",
        "jax:compiled:cpu (twin)",
    ]


def test_all_targets_of_a_case_stand_together_so_that_they_can_take_turns():
    jobs = plan.jobs(timing(elements=(10, 20), measures=("forward", "gradient")), [HUBER])
    cases = [(job.case.shape, job.measure) for job in jobs]

    assert cases == [one for one in dict.fromkeys(cases) for _ in EMPTY.targets]


def test_a_divergence_of_one_mode_is_asked_of_that_mode_alone():
    found = replace(
        ROWS,
        divergences=[
            spec_divergence(framework="torch", mode="compiled"),
            spec_divergence(framework="torch", mode="eager"),
            spec_divergence(framework="torch", dtype="float64"),
            spec_divergence(framework="tensorflow"),
        ],
    )
    jobs = plan.jobs(replace(EMPTY, divergences=True), [found])
    asked = {(job.case.index, job.case.dtype, job.target.name) for job in jobs if job.target != REFERENCE}

    assert asked == {(1, "float32", "torch:eager:cpu"), (2, "float64", "torch:eager:cpu")}


def test_further_targets_are_asked_about_divergences_of_their_mode_alone():
    found = replace(
        ROWS,
        divergences=[
            spec_divergence(framework="torch", mode="compiled"),
            spec_divergence(framework="torch"),
            spec_divergence(framework="torch", mode="eager"),
        ],
    )
    suite = replace(EMPTY, divergences=True, edges=("float32",), further=("torch:compiled",))
    jobs = plan.jobs(suite, [found])
    asked = {(job.case.points, job.case.index) for job in jobs if job.target.name == "torch:compiled:cpu"}

    assert asked == {("divergence", 0)}


def test_suite_of_defects_asks_of_every_declared_mode():
    losses = spec.load_all()
    jobs = plan.jobs(plan.suite("defects"), losses)

    planned = {(job.case.loss, job.case.index) for job in jobs if job.case.points == "divergence"}
    assert planned == {(loss.name, index) for loss in losses for index in range(len(loss.divergences))}


def spec_divergence(**fields):
    from lossbench.text import Divergence

    return Divergence(when={"y_true": "0", "y_pred": "0"}, kind="defect", why="", **fields)


def test_edges_come_in_every_dtype_of_the_suite():
    jobs = plan.jobs(replace(EMPTY, edges=("float32", "float16")), [HUBER], ["torch"])
    edges = [(job.case.dtype, job.case.index) for job in jobs if job.target == REFERENCE]

    assert edges == [(dtype, index) for dtype in ("float32", "float16") for index in range(len(HUBER.edges))]
    assert {job.case.reduction for job in jobs} == {edge.reduction for edge in HUBER.edges}


def test_dtypes_are_those_asked_for():
    suite = domain(dtypes=("float32", "float64"))

    assert {job.case.dtype for job in plan.jobs(suite, [HUBER], dtypes=["float64"])} == {"float64"}
    with pytest.raises(LossbenchError, match="nothing to do: empty has no jobs"):
        plan.jobs(suite, [HUBER], dtypes=["bfloat16"])


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("torch", Target(framework="torch", mode="eager")),
        ("torch:compiled", Target(framework="torch", mode="compiled")),
        ("torch::cuda", Target(framework="torch", mode="eager", device="cuda")),
        ("torch*2", Target(framework="torch", mode="eager", threads=2)),
        (
            "torch:compiled:cpu*1!plain@/b*!c",
            Target(framework="torch", mode="compiled", threads=1, plain=True, interpreter="/b*!c"),
        ),
        ("jax:eager:cuda:1", None),
        ("torch*0", None),
        ("torch!plane", None),
        ("jax@/a:b/python", Target(framework="jax", mode=plan.modes("jax")[0], interpreter="/a:b/python")),
    ],
)
def test_target_texts(text, target):
    if target is None:
        with pytest.raises(LossbenchError, match=r"is no target; expected framework:mode:device\*threads!plain@interp"):
            plan.target(text)
    else:
        assert plan.target(text) == target


def test_unknown_frameworks_and_modes_are_told_what_there_is():
    with pytest.raises(LossbenchError, match=r"unknown framework 'pytorch' .*expected one of: jax, .*torch"):
        plan.target("pytorch")
    with pytest.raises(LossbenchError, match=r"torch has no mode 'compield' .*expected one of: eager, compiled"):
        plan.target("torch:compield")
    with pytest.raises(LossbenchError, match="unknown framework 'reference'"):
        plan.target("reference")


def test_a_target_without_a_mode_means_all_that_the_suite_has_of_it():
    suite = domain(targets=("torch:eager", "torch:compiled", "jax:compiled"))

    def names(*targets):
        jobs = plan.jobs(suite, [HUBER], targets)
        return [job.target.name for job in jobs if job.target != REFERENCE]

    assert names("torch") == ["torch:eager:cpu", "torch:compiled:cpu"]
    assert names("torch:compiled") == ["torch:compiled:cpu"]
    assert names("torch@/p") == ["torch:eager:cpu@/p", "torch:compiled:cpu@/p"]
    assert names("jax:eager", "jax") == ["jax:eager:cpu", "jax:compiled:cpu"]
    assert names("tensorflow") == ["tensorflow:eager:cpu"]


def test_adapters_of_other_packages_are_targets(monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE))

    assert "fake" in plan.frameworks()
    assert plan.target("fake") == Target(framework="fake", mode="well")
    assert "lossbench_fake" not in sys.modules


def test_modes_are_those_of_the_adapter():
    """They are read from its text; what they are is said by the module."""
    from lossbench.adapters import torch

    assert plan.modes("torch") == torch.MODES


def test_a_grid_of_threads_times_every_target_with_each_number_and_its_own_twin():
    suite = replace(timing(elements=(10,), targets=("torch", "jax"), threads=(0, 2)), sampling=Sampling(twin=True))

    found = [(job.target.framework, job.target.threads, job.target.twin) for job in plan.jobs(suite, [HUBER])]

    assert sorted(found) == sorted(
        [(one, many, False) for one in ("torch", "jax") for many in (0, 2)] + [("torch", many, True) for many in (0, 2)]
    )


def test_a_timing_grid_of_some_losses_leaves_the_others_out():
    some = timing(elements=(10,), losses=("huber",))

    assert {job.case.loss for job in plan.jobs(some, [HUBER, spec.load("mae")])} == {"huber"}


def test_what_one_suite_times_by_default_does_not_narrow_another():
    every, some = timing(elements=(10,)), replace(timing(elements=(20,)), losses=("huber",))

    jobs = plan.jobs(plan.merged([every, some]), [HUBER, spec.load("mae")])

    assert {(job.case.loss, job.case.shape) for job in jobs} == {
        ("huber", (10,)),
        ("huber", (20,)),
        ("absolute_error", (10,)),
    }


def test_merged_suites_plan_what_each_of_them_plans():
    parts = [plan.suite("smoke"), plan.suite("timing")]
    both = plan.merged(parts)

    jobs = {job.key for job in plan.jobs(replace(both, divergences=False, edges=(), worst=()), [HUBER])}
    each = {job.key for one in parts for job in plan.jobs(replace(one, divergences=False, edges=(), worst=()), [HUBER])}
    assert jobs == each
    assert both.name == "smoke+timing"
    assert both.sampling == parts[1].sampling
    assert plan.merged(parts[:1]) == parts[0]


def test_wrong_suites_are_told_what_is_wrong(tmp_path):
    (tmp_path / "own.toml").write_text(
        'summary = ""\ntargets = ["torch"]\n[[accuracy]]\ndtypes = ["float8"]\npoints = 1\n'
    )
    (tmp_path / "torn.toml").write_text("summary = ")

    with pytest.raises(LossbenchError, match="unknown suite 'smoky'; expected one of: accuracy, "):
        plan.suite("smoky")
    with pytest.raises(LossbenchError, match=r"own\.toml:4: invalid enum value 'float8'; expected one of: bfloat16, "):
        plan.suite(tmp_path / "own.toml")
    with pytest.raises(LossbenchError, match=r"torn\.toml:1: not TOML: "):
        plan.suite(tmp_path / "torn.toml")
    with pytest.raises(LossbenchError, match=r"none\.toml: cannot be read"):
        plan.suite(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("points = 5", "points = -5", "expected `int` >= 1 (at accuracy[0].points)"),
        ("elements = [100]", "elements = [0]", "expected `int` >= 1 (at timing[0].elements[0])"),
        ("turns = 2", "turns = 0", "expected `int` >= 1 (at sampling.turns)"),
        ("deadline = 1", "deadline = -1", "expected `float` > 0.0 (at deadline)"),
        ('targets = ["torch"]', "targets = []", "expected `array` of length >= 1 (at targets)"),
        ("points = 5", "point = 5", "object contains unknown field `point`; expected one of: classes, "),
        ('["torch"]', '["torsh"]', "unknown framework 'torsh' in 'torsh'; expected one of: "),
        ("deadline = 1", 'further = ["torch:xla"]', "torch has no mode 'xla'"),
    ],
)
def test_suites_that_cannot_be_run_are_refused_when_they_are_read(tmp_path, old, new, said):
    sound = """summary = "x"
targets = ["torch"]
deadline = 1
[[accuracy]]
dtypes = ["float32"]
points = 5
[[timing]]
dtypes = ["float32"]
elements = [100]
[sampling]
turns = 2
"""
    path = tmp_path / "own.toml"
    path.write_text(sound)
    assert plan.suite(path).timing
    path.write_text(sound.replace(old, new))

    with pytest.raises(LossbenchError, match=rf"own\.toml.*{re.escape(said)}"):
        plan.suite(path)


def test_names_and_aliases_of_one_loss_are_one_loss():
    suite, losses = plan.asked(["timing"], ["huber", "HuberLoss"])

    assert suite == plan.suite("timing")
    assert losses == [HUBER]


def test_two_losses_of_one_name_are_refused(tmp_path):
    (tmp_path / "huber.toml").write_text(HUBER.source)

    with pytest.raises(LossbenchError, match=r"losses of one name: .*huber\.toml, .*huber\.toml; run them apart"):
        plan.asked([], ["huber", tmp_path / "huber.toml"])
