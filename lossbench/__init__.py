"""lossbench: what every loss function is, whether frameworks compute it right, and how fast.

Nothing heavy is imported before it is used, and never a framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossbench.adapters.numba import kernel
    from lossbench.audit import Coverage, coverage
    from lossbench.checking.whole import Check, check
    from lossbench.comparing.whole import Comparison, compare
    from lossbench.errors import CallError, LossbenchError, SpecError, StoreError, Unsupported
    from lossbench.evaluation import Evaluation, Reference, evaluate, reference
    from lossbench.loss import Loss
    from lossbench.porting import Recipe, port
    from lossbench.runs import Run, run
    from lossbench.spec import load, names
    from lossbench.sweeps.whole import Sweep, sweep

__version__ = "0.1.0"

_HOME = {
    "CallError": "errors",
    "Check": "checking.whole",
    "Comparison": "comparing.whole",
    "Coverage": "audit",
    "Evaluation": "evaluation",
    "Loss": "loss",
    "LossbenchError": "errors",
    "Reference": "evaluation",
    "Recipe": "porting",
    "Run": "runs",
    "SpecError": "errors",
    "StoreError": "errors",
    "Sweep": "sweeps.whole",
    "Unsupported": "errors",
    "compare": "comparing.whole",
    "check": "checking.whole",
    "coverage": "audit",
    "evaluate": "evaluation",
    "kernel": "adapters.numba",
    "load": "spec",
    "names": "spec",
    "port": "porting",
    "reference": "evaluation",
    "run": "runs",
    "sweep": "sweeps.whole",
}

__all__ = [
    "CallError",
    "Check",
    "Comparison",
    "Coverage",
    "Evaluation",
    "Loss",
    "LossbenchError",
    "Recipe",
    "Reference",
    "Run",
    "SpecError",
    "StoreError",
    "Sweep",
    "Unsupported",
    "check",
    "compare",
    "coverage",
    "evaluate",
    "kernel",
    "load",
    "names",
    "port",
    "reference",
    "run",
    "sweep",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'lossbench' has no attribute {name!r}")
    return getattr(import_module(f"lossbench.{_HOME[name]}"), name)
