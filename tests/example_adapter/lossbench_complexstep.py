"""A framework of one's own, as small as one can be: NumPy, differentiated by a step in the imaginary direction.

f(x + ih) = f(x) + ih f'(x) - ..., so f'(x) is the imaginary part over h, without cancellation.

Source:
    Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40 (1998).
"""

import numpy as np

from lossbench import Unsupported
from lossbench.adapters import Prepared, check_mode

MODES = ("eager",)
STEP = 1e-30


def open(target):  # noqa: A001  the name that every adapter has
    check_mode(target, MODES)
    return _ComplexStep()


class _ComplexStep:
    def versions(self):
        return {"complexstep": "1.0", "numpy": np.__version__}

    def settings(self):
        return {"step": str(STEP)}

    def machine(self):
        return {}

    def prepare(self, problem):
        call = problem.loss.frameworks.get("complexstep")
        if call is None:
            raise Unsupported(f"complexstep has no {problem.loss.name}; its spec gives no call")
        if problem.dtype != "float64" or problem.reduction != "none":
            raise Unsupported("complexstep computes float64 and no means or sums")
        function = eval(f"lambda {', '.join((*problem.arrays, *problem.parameters))}: {call.call}", {"np": np})

        def value():
            return function(**problem.arrays, **problem.parameters)

        def arrays():
            found = {"value": value()}
            for name, one in problem.loss.inputs.items():
                if one.grad:
                    moved = {**problem.arrays, name: problem.arrays[name] + 1j * STEP}
                    found[f"gradient.{name}"] = np.imag(function(**moved, **problem.parameters)) / STEP
            return found

        return Prepared(forward=value, gradient=arrays, arrays=arrays)
