"""PyTorch: calls in `torch`, `F` (torch.nn.functional) and `nn`, eager or through `torch.compile`."""

from __future__ import annotations

import atexit
import inspect
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name

from lossbench.adapters import Prepared, bounded, call, check_mode, namespace, state, threads, variables
from lossbench.errors import Unsupported
from lossbench.inputs import Problem
from lossbench.records import Target
from lossbench.timing import ERASED, ERASURES

MODES = ("eager", "compiled", "graph")  # graph: eager calls, captured as a CUDA graph and launched as a whole
MODULES = {"torch": torch, "F": F, "nn": torch.nn}
CAPTURED_AFTER = 3  # runs


def open(target: Target) -> _Torch:  # noqa: A001  the name that every adapter has
    """Set the threads and find the device."""
    check_mode(target, MODES)
    kind, _, index = target.device.partition(":")
    if target.mode == "graph" and kind != "cuda":
        raise Unsupported("torch captures graphs on CUDA devices only; expected a target such as torch:graph:cuda")
    here = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if int(index or 0) >= here.get(kind, 0):
        raise Unsupported(f"torch {torch.__version__} finds no {target.device} device here; expected cpu")
    if bounded(target):
        torch.set_num_threads(threads())
    if target.mode == "compiled":
        # torch 2.11 counts all functions that lie in no file as one, and beyond eight runs the others eagerly, unsaid.
        torch._dynamo.config.cache_size_limit = torch._dynamo.config.accumulated_cache_size_limit = 2**30
    if target.mode == "compiled" and "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        # In an empty cache of its own a first call compiles, in every run, as it does in the other frameworks.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder = tempfile.mkdtemp(prefix="lossbench-torch-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _Torch(target.mode, torch.device(target.device))


def losses() -> dict[str, Any]:
    """What reduces, stands in torch's module of losses, or says by its name that it is one."""
    found = {
        name: one
        for name, one in namespace.named("torch.nn.functional", F)
        if not inspect.isclass(one) and (namespace.says_so(name) or namespace.takes(one, "reduction"))
    }
    for name, one in namespace.named("torch.nn", torch.nn):
        if not (inspect.isclass(one) and issubclass(one, torch.nn.Module)):
            continue
        home = one.__module__.rpartition(".")[2]
        if home == "loss" or namespace.says_so(name) or namespace.takes(one, "reduction"):
            found[name] = one
    return found


class _Torch:
    def __init__(self, mode: str, device: torch.device) -> None:
        self.mode = mode
        self.device = device
        self._kept = call.Kept("torch", self._functions)

    def versions(self) -> dict[str, str]:
        found = {"torch": str(torch.__version__)}  # a subclass of str
        if self.device.type == "cuda":
            found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
        return found

    def settings(self) -> dict[str, str]:
        return {
            "threads": str(torch.get_num_threads()),
            "float32 matmul precision": torch.get_float32_matmul_precision(),
            **variables("OMP_NUM", "MKL_NUM", "KMP_", "CUDA_VISIBLE", "CUBLAS_WORKSPACE", "NVIDIA_TF32", "TORCH_ALLOW"),
        }

    def machine(self) -> dict[str, str]:
        if self.device.type != "cuda":
            return {}
        found = torch.cuda.get_device_properties(self.device)
        return {
            "device": found.name,
            "device memory": str(found.total_memory),
            "compute capability": f"{found.major}.{found.minor}",
        }

    def prepare(self, problem: Problem) -> Prepared:
        if problem.loss.accumulated:
            if self.mode == "graph":
                raise Unsupported("a graph repeats one call; an update of a state is another one every time")
            return self._folded(problem)
        forward_call, gradient_call = self._kept.of(problem)
        names = [name for name, one in problem.loss.inputs.items() if one.grad]
        tensors = {name: self._tensor(array, problem.dtype) for name, array in call.arrays(problem).items()}
        leaves = [tensors[name].requires_grad_() for name in names]
        plain = [tensor.detach() for tensor in tensors.values()]

        def value_alone() -> Any:
            with torch.no_grad():
                return forward_call(*plain)

        def value_and_gradient() -> Any:
            value = gradient_call(*tensors.values())
            # Ones as the outer derivative: the gradient of the sum, without computing the sum.
            return value, torch.autograd.grad(value, leaves, torch.ones_like(value), materialize_grads=True)

        rise = {"forward": partial(self._rise, value_alone), "gradient": partial(self._rise, value_and_gradient)}
        if self.mode == "graph":
            value_alone, value_and_gradient = self._captured(value_alone), self._captured(value_and_gradient)

        def forward() -> Any:
            return self._awaited(value_alone())

        def gradient() -> Any:
            return self._awaited(value_and_gradient())

        def arrays() -> dict[str, np.ndarray]:
            value, found = gradient() if problem.order is None else (forward(), ())
            named = {"value": value} | {f"gradient.{name}": one for name, one in zip(names, found, strict=False)}
            dtype = torch.float64 if problem.dtype == "float64" else torch.float32
            return {name: one.detach().to("cpu", dtype).numpy() for name, one in named.items()}

        def hessian() -> dict[str, np.ndarray]:
            value = gradient_call(*tensors.values())
            kept: dict[str, Any] = {"create_graph": True, "materialize_grads": True}
            slopes = torch.autograd.grad(value, leaves, torch.ones_like(value), **kept)
            ways = [self._tensor(problem.direction[name], problem.dtype) for name in names]
            # As torch.autograd.functional.hvp has it: what leaves no graph behind is a constant.
            bent = [pair for pair in zip(slopes, ways, strict=True) if pair[0].requires_grad]
            found = [torch.zeros_like(leaf) for leaf in leaves]
            if bent:
                outputs, onto = zip(*bent, strict=True)
                found = torch.autograd.grad(outputs, leaves, onto, materialize_grads=True)
            dtype = torch.float64 if problem.dtype == "float64" else torch.float32
            pairs = zip(names, self._awaited(found), strict=True)
            return {f"hessian.{name}": one.detach().to("cpu", dtype).numpy(force=True) for name, one in pairs}

        if self.device.type != "cuda":
            return Prepared(forward=forward, gradient=gradient, arrays=arrays, hessian=hessian)
        busy = {"forward": partial(self._busy, value_alone), "gradient": partial(self._busy, value_and_gradient)}
        return Prepared(forward=forward, gradient=gradient, arrays=arrays, hessian=hessian, busy=busy, rise=rise)

    def _folded(self, problem: Problem) -> Prepared:
        dtype = torch.float64 if problem.dtype == "float64" else torch.float32
        return state.prepare(
            problem,
            "torch",
            MODULES,
            array=lambda array: self._tensor(array, problem.dtype),
            compiled=self._built,
            awaited=self._awaited,
            numbers=lambda value: value.to("cpu", dtype).numpy(),
            scope=torch.no_grad,
        )

    def _functions(self, problem: Problem) -> tuple[Any, Any]:
        """The call twice, to be compiled apart: without gradients, and with them."""
        return self._function(problem), self._function(problem)

    def _function(self, problem: Problem) -> Any:
        return self._built(call.function(problem, "torch", MODULES, total=torch.sum, mean=torch.mean))

    def _built(self, eager: Any) -> Any:
        return torch.compile(eager, dynamic=False) if self.mode == "compiled" else eager

    def _tensor(self, array: np.ndarray, dtype: str) -> torch.Tensor:
        kept = torch.int64 if array.dtype == np.int64 else getattr(torch, dtype)
        return torch.tensor(array, dtype=kept, device=self.device)

    def _busy(self, queue: Callable[[], Any]) -> float:
        """Seconds between two events around what *queue* queues, behind a write that empties the caches."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        erased = torch.empty(ERASED, dtype=torch.uint8, device=self.device)
        for _ in range(ERASURES):
            erased.zero_()
        start.record()
        queue()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    def _captured(self, queue: Callable[[], Any]) -> Callable[[], Any]:
        """*queue*, run for the first time when it is first called; from then on its kernels, launched as one graph.

        Each result is in the memory of the one before.
        """

        @cache
        def graph() -> tuple[torch.cuda.CUDAGraph, Any]:
            beside = torch.cuda.Stream(self.device)
            beside.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(beside):  # as torch asks: what is set up once must not be captured
                for _ in range(CAPTURED_AFTER):
                    queue()
            torch.cuda.current_stream(self.device).wait_stream(beside)
            captured = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(captured):
                    result = queue()
            except RuntimeError as error:
                raise Unsupported(f"torch cannot capture this call: {str(error).partition(chr(10))[0]}") from error
            return captured, result

        def replay() -> Any:
            captured, result = graph()
            captured.replay()
            return result

        return replay

    def _rise(self, run: Callable[[], object]) -> int:
        """By torch's allocator. A captured graph keeps as much for itself."""
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        run()
        return int(torch.cuda.max_memory_allocated(self.device) - before)

    def _awaited(self, result: Any) -> Any:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return result
