"""An adapter of another package whose calls are slower than one another by exactly what its modes say, in percent.

A call computes Huber losses in NumPy a hundred times over, or a hundred and two times where two percent are planted:
no loop has to be calibrated, so a mode is as much slower on every machine. Ten elements are all overhead, a thousand
stay in the nearest caches, a hundred thousand need new memory each time.
"""

import numpy as np

from lossbench.adapters import Prepared

MODES = ("0", "1", "2", "5", "10", "20")
REPEATS = 100


def open(target):  # noqa: A001  the name that every adapter has
    return Planted(REPEATS * (100 + int(target.mode)) // 100)


class Planted:
    def __init__(self, repeats):
        self.repeats = repeats

    def versions(self):
        return {"planted": "1.0"}

    def settings(self):
        return {}

    def machine(self):
        return {}

    def prepare(self, problem):
        y_pred, y_true = problem.arrays["y_pred"], problem.arrays["y_true"]

        def forward():
            for _ in range(self.repeats):
                residual = np.abs(y_pred - y_true)
                value = np.where(residual <= 1, residual * residual / 2, residual - 0.5).mean()
            return value

        def gradient():
            for _ in range(self.repeats):
                slope = np.clip(y_pred - y_true, -1, 1) / y_pred.size
            return slope

        def arrays():
            return {"value": forward(), "gradient.y_pred": gradient()}

        return Prepared(forward=forward, gradient=gradient, arrays=arrays)
