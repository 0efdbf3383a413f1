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
        residual = problem.arrays["y_pred"] - problem.arrays["y_true"]

        def arrays():
            return {"value": np.abs(residual), "gradient.y_pred": np.sign(residual)}

        return Prepared(forward=lambda: np.abs(residual), gradient=arrays, arrays=arrays)


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
