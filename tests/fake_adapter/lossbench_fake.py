"""An adapter of another package that misbehaves in every way a framework can, by its mode, for sums alone."""

import os
import signal
import subprocess
import sys
import time

import numpy as np

from lossbench.adapters import Prepared
from lossbench.errors import Unsupported

MODES = (
    "well",
    "prints",
    "raises",
    "hangs",
    "exits",
    "killed",
    "starved",
    "refuses",
    "asserts",
    "begets",
    "closed",
    "missing",
    "stillborn",
    "planted",
    "mortal",
    "parricide",
)

if sys.stdout is not None:
    print("hello from the import of a framework")


def open(target):  # noqa: A001  the name that every adapter has
    if target.mode == "closed":
        raise Unsupported("fake finds no such device here")
    if target.mode == "missing":
        raise ModuleNotFoundError("No module named 'fakelib'")
    if target.mode == "stillborn":
        print("the library is broken", flush=True)
        os._exit(7)
    return Fake(target.mode)


class Fake:
    def __init__(self, mode):
        self.mode = mode
        self.faulty = False
        self.helper = subprocess.Popen(["sleep", "600"]) if mode == "begets" else None

    def versions(self):
        return {"fake": "1.0"}

    def settings(self):
        return {"pid": str(os.getpid())} | ({"helper": self.helper.pid} if self.helper else {})

    def machine(self):
        return {}

    def prepare(self, problem):
        self.faulty |= self.mode == "asserts" and problem.reduction == "sum"
        if self.faulty:  # as CUDA: from the first fault on, every call of the process
            raise RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA")
        if problem.reduction == "sum":
            misbehave(self.mode)
        if problem.reduction == "none":
            kill(self.mode, problem)
        residual = problem.arrays["y_pred"] - problem.arrays["y_true"]
        value = np.abs(residual)
        if self.mode == "planted":
            plant(problem.arrays["y_pred"], value)

        def arrays():
            return {"value": value, "gradient.y_pred": np.sign(residual)}

        return Prepared(forward=lambda: value, gradient=arrays, arrays=arrays)


def plant(at, value):
    """Errors at single inputs, for bfloat16 and a y_true of 0."""
    value[at == 1.5] += 2.0**-7  # one ulp
    value[at == 3.0] = np.nan
    value[at == 5.0] = np.inf
    value[np.isposinf(at)] = 7.0
    value[at == 0.0] = 2.0**-20


def kill(mode, problem):
    """Die, or end the process that asked, where y_true is 1."""
    if not problem.arrays["y_true"].size or problem.arrays["y_true"][0] != 1:
        return
    if mode == "mortal":
        os.kill(os.getpid(), signal.SIGKILL)
    once = os.environ.get("LOSSBENCH_FAKE_ONCE", "")
    if mode == "parricide" and not (once and os.path.exists(once)):
        if once:
            os.close(os.open(once, os.O_CREAT))
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)  # the pipe closes, and nobody waits for an answer


def misbehave(mode):
    if mode == "prints":
        print("x" * 1_000_000)
        os.write(1, b'{"type": "output"}\n')
        os.write(2, b"warning\n")
    if mode == "raises":
        raise ValueError("\n  shapes do not match \nand more that nobody reads")
    if mode == "hangs":
        time.sleep(3600)
    if mode == "exits":
        sys.exit(3)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "starved":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
    if mode == "refuses":
        raise Unsupported("fake has no sums")
