"""A run in a store without any framework: what tests of the report stand on.

The reference is real; the two targets answer with its numbers rounded to their dtype, jax's gradient three ulps off.
One loss has HTML wherever a spec, or a framework in its words, has text.
"""

import math
from pathlib import Path

import numpy as np

from lossbench import adapters, plan, spec, worker
from lossbench.arrays import Arrays
from lossbench.records import REFERENCE, Bandwidth, Died, Environment, Output, Refusal, Target, Timing
from lossbench.store import Store
from lossbench.suite import Accuracy, Sampling, Suite
from lossbench.suite import Timing as Times

ATTACK = "<script>document.title='broken out'</script>"
HOSTILE = rf"""
title   = "Hostile {ATTACK}"
aliases = ["alias {ATTACK}"]
family  = "regression"
summary = "\"quoted\" & {ATTACK}"
[[sources]]
title = "Source {ATTACK}"
where = "nowhere"
url   = "https://example.org/?a=1&b=\"2\""
[[sources]]
title = "Script"
where = "nowhere"
url   = "javascript:document.title='broken out'"
[inputs]
y_pred = {{ symbol = '''\text{{{ATTACK}}}''', kind = "real", grad = true, meaning = "{ATTACK}" }}
y_true = {{ symbol = 'y', kind = "real" }}
[formula]
definition = "(y_pred - y_true)**2"
[frameworks.torch]
form = "native"
call = "reduce((y_pred - y_true)**2)  # {ATTACK}"
note = "{ATTACK}"
[[divergences]]
framework = "torch"
when = {{ y_pred = "1", y_true = "0" }}
value = "2"
kind = "defect"
why = "{ATTACK}"
url = "javascript:document.title='broken out'"
[[edges]]
at = {{ y_pred = "0", y_true = "0" }}
value = "0"
gradient = "0"
status = "required"
why = "{ATTACK}"
"""
TORCH, JAX = Target(framework="torch"), Target(framework="jax", mode="compiled")
BOTH = ("torch:eager", "jax:compiled")
SUITE = Suite(
    name="small",
    summary="A few points of three losses.",
    targets=BOTH,
    accuracy=(
        Accuracy(targets=BOTH, dtypes=("float32", "float64"), points=40, reductions=("none", "mean"), classes=(3,)),
    ),
    edges=("float32",),
    divergences=True,
    timing=(Times(targets=BOTH, dtypes=("float32",), elements=(1000, 100_000), rows=((32, 10), (1024, 100))),),
    sampling=Sampling(samples=8, turns=2),
)


def small_run(folder: Path) -> Store:
    """The store of that run, in a new folder below *folder*."""
    hostile = folder / "hostile.toml"
    hostile.write_text(HOSTILE, encoding="utf-8")
    losses = [spec.load("huber"), spec.load("softmax_cross_entropy"), spec.load(hostile)]
    jobs = plan.jobs(SUITE, losses)
    store = Store.create(folder / "2026-01-02-small", jobs, losses, SUITE)
    for target in (TORCH, JAX):
        store.append(
            Environment(
                target=target,
                versions={"python": "3.11", target.framework: "1.2 <beta>"},
                settings={"threads": "2"},
                machine={"processor": "a processor", "cores": "2"},
            )
        )
    reference = adapters.load("reference").open(REFERENCE)
    by_name = {loss.name: loss for loss in losses}
    exact = {}
    for job in jobs:
        if job.target == REFERENCE:
            exact[job.case] = worker.perform(reference, by_name[job.case.loss], job, Arrays(store.path / "arrays"))
            store.append(exact[job.case])
    for job in jobs[:-1]:  # the last one has no record: the run was cut off
        if job.target != REFERENCE:
            store.append(_answer(store, job, exact.get(job.case)))
    store.append(Died(target=JAX, job=None, detail=f"exited with status 1, saying {ATTACK}"))
    for bytes_, seconds in ((8_000, 1e-6), (800_000, 5e-5)):
        store.append(
            Bandwidth(kernel="read two", bytes=bytes_, seconds=[seconds] * 6, calls=1, threads=2),
        )
    store.close()
    return store


def _answer(store, job, exact):
    if job.measure != "accuracy":
        slowness = 1.5 if job.target.framework == "jax" else 1.0
        seconds = [slowness * 1e-9 * math.prod(job.case.shape) * (1 + 0.01 * sample) for sample in range(8)]
        traffic = 8 * math.prod(job.case.shape)
        return Timing(
            job=job, first_call=0.2, seconds=seconds, calls=1, turns=[0, 0, 0, 0, 1, 1, 1, 1], traffic=traffic
        )
    if job.case.loss == "hostile" and job.target.framework == "jax":
        return Refusal(job=job, reason="unsupported", detail=f"jax has no native hostile {ATTACK}")
    kind = np.float64 if job.case.dtype == "float64" else np.float32
    found = {}
    for name, digest in exact.arrays.items():
        if name == "value" or (name.startswith("gradient.") and name.count(".") == 1):
            array = store.array(digest)
            with np.errstate(over="ignore"):
                array = array.astype(kind)
            if name != "value" and job.target.framework == "jax":
                array = (array * (1 + 3 * np.finfo(kind).eps)).astype(kind)
            found[name] = store.put(array)
    return Output(job=job, arrays=found, inputs=exact.inputs, seconds=0.0)
