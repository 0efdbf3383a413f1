"""A store written by hand: what tests of the tables stand on. Its loss is (y_pred - y_true)**2."""

from functools import cached_property

import numpy as np

from lossbench.records import REFERENCE, Case, Job, Output, Refusal, Target
from lossbench.spec import load
from lossbench.store import Store
from lossbench.suite import Suite

SPEC = """
title = "Square"
family = "regression"
summary = "The square of the residual."
[[sources]]
title = "None"
where = "nowhere"
url = "https://example.org"
[inputs]
y_pred = { symbol = 'p', kind = "real", grad = true }
y_true = { symbol = 'y', kind = "real" }
[formula]
definition = "(y_pred - y_true)**2"
[frameworks.torch]
form = "native"
call = "reduce((y_pred - y_true)**2)"
[[edges]]
at = { y_pred = "0", y_true = "0" }
value = "0"
gradient = "0"
status = "required"
why = "a fit"
"""
TORCH = Target(framework="torch")
JAX = Target(framework="jax", mode="compiled")


class Bench:
    """A store in the making: cases with what went in, what must come out and what did."""

    def __init__(self, folder, spec=SPEC):
        self.folder = folder
        path = folder / "square.toml"
        path.write_text(spec, encoding="utf-8")
        self.loss = load(path)
        self.jobs = []
        self.answers = []

    def case(self, inputs=None, value=None, gradient=None, *, extra=None, **case):
        """A case of which the reference says this, or nothing."""
        case = Case(**{"loss": "square", "digest": self.loss.digest, "dtype": "float32", "points": "domain"} | case)
        job = Job(case=case, target=REFERENCE, measure="accuracy")
        self.jobs.append(job)
        if inputs is not None:
            arrays = {f"input.{name}": np.asarray(array, np.float32) for name, array in inputs.items()}
            arrays |= {"value": value, "gradient.y_pred": gradient} | (extra or {})
            self.answers.append((job, {name: np.asarray(array) for name, array in arrays.items()}))
        return case

    def answer(self, case, value=None, gradient=None, *, target=TORCH, refusal=None):
        """What a target says of it: numbers, a refusal, or nothing at all."""
        job = Job(case=case, target=target, measure="accuracy")
        self.jobs.append(job)
        if refusal is not None:
            self.answers.append(Refusal(job=job, reason=refusal, detail="in its own words"))
        elif value is not None:
            self.answers.append((job, {"value": np.asarray(value), "gradient.y_pred": np.asarray(gradient)}))

    @cached_property
    def store(self):
        """All that was said so far, as a run's store."""
        store = Store.create(self.folder / "run", self.jobs, [self.loss], Suite(summary="", targets=()))
        for answer in self.answers:
            if isinstance(answer, tuple):
                job, arrays = answer
                names = {name: store.put(array) for name, array in arrays.items()}
                answer = Output(job=job, arrays=names, inputs="same", seconds=0.0)
            store.append(answer)
        store.close()
        return store
