"""A formula as the text of a module of CUDA kernels: the value, or value and gradient, in one pass.

A loss of elements becomes a function of one element, and a kernel that calls it for several at a time. A loss of rows
becomes a kernel in which a team of threads shares each row. A kernel writes losses per element or row, or one number:
their sum divided by `work[DIVISOR]`, which the kernel `divisor` writes where the mean does not divide by the number
of elements. The text needs `lossbench.kernels` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from lossbench.formula import Formula
from lossbench.formula.expression import Constants
from lossbench.formula.graph import Graph, Node, number_of
from lossbench.formula.kernel import Signature
from lossbench.formula.lower import lowered
from lossbench.formula.onehot import picked
from lossbench.formula.teams import Place, Writer

ABREAST = 4  # elements that a thread reads before it computes: a read waits long
FUNCTIONS = (
    *("maximum", "minimum", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sinh", "cosh", "tanh", "softplus"),
    *("sigmoid", "log_cosh", "xlogy", "power", "power_slope", "exp_difference", "nan_of", "weighed"),
)
SUMS = (
    *("compensated", "completed", "squares", "root", "summed", "exactly_summed", "largest", "smallest", "peak"),
    *("scale_of", "finish"),
)


def source(formula: Formula, signature: Signature, dtype: str, *, gradient: bool, each: bool, weighted: bool) -> str:
    """The text of a module with `kernel` and, where the mean needs one, `divisor`.

    Args:
        formula: Of a loss of elements or rows; one of other axes needs loops that these kernels do not have.
        signature: What the kernels take, in order: inputs, parameters, then the weights if *weighted*, the gradients
            if *gradient*, values, work and, for rows, the size of a team.
        dtype: float32 or float64.
        gradient: Whether gradients are written.
        each: Whether the loss of each element or row is written; else their sum, divided.
        weighted: Whether each element or row has a weight.
    """
    constants = Constants(dtype)
    kernel = _Kernel(signature, constants, each, weighted)
    slopes = [formula.kernel_gradients[name] for name in signature.differentiated] if gradient else []
    texts = [kernel.text("kernel", *picked(formula.graph, [formula.kernel, *slopes]))]
    if not each and number_of(formula.divisor) is None:
        texts.append(_Kernel(signature, constants, False, False).text("divisor", formula.divisor))
    used = "\n".join(texts)
    return "".join(
        [
            f'"""Written by lossbench from the formula of a loss, for {dtype} on CUDA; an edit is lost."""\n\n',
            f"from numpy import {dtype} as real, float64 as wide, uint64 as index\n\n",
            f"from lossbench.kernels.cuda import {', '.join(['compiled', 'cuda', 'device', *_used(FUNCTIONS, used)])}",
            f"\nfrom lossbench.kernels.cuda_sums import {', '.join(['STORED', *_used(SUMS, used)])}\n",
            "\n",
            constants.lines(used),
            "\n",
            used,
        ]
    )


def _used(names: Iterable[str], text: str) -> list[str]:
    return sorted(name for name in names if re.search(rf"\b{name}\(", text))


@dataclass(frozen=True)
class _Kernel:
    """What a kernel is asked for."""

    signature: Signature
    constants: Constants
    each: bool
    weighted: bool

    def text(self, name: str, value: Node, *slopes: Node) -> str:
        """The kernel *name*, and the function of one element that it calls."""
        loss, *found = lowered([value, *slopes], self.signature.parameters)
        graph = Graph()
        factor = graph.variable("gradient factor", "real")
        finished = [graph.rebuild(Node("weighed", (), one.type, one.axes), factor, one) for one in found]
        write = self._of_rows if self.signature.has_rows else self._of_elements
        return write(name, loss, finished, factor)

    def _of_elements(self, name: str, loss: Node, slopes: list[Node], factor: Node) -> str:
        inputs, parameters = ([_given(one) for one in names] for names in (self._inputs, self._parameters))
        scaled = ["scale"] if slopes else []
        writer = Writer(self.constants)
        inside = Place(1, {factor: "factor"}, {})
        if slopes:
            writer.line(inside, "factor = scale * w")
        writer.variables((loss, *slopes), {one: _given(one) for one in (*self._inputs, *self._parameters)}, inside)
        writer.compute([loss, *slopes], inside)
        results = [f"weighed(w, {writer.name(loss, inside)})", *(writer.name(one, inside) for one in slopes)]
        element = f"element_of_{name}"
        lines = [
            f"@device\ndef {element}({', '.join([*inputs, *parameters, 'w', *scaled])}):",
            *writer.lines,
            f"    return {', '.join(results)}\n\n",
            *self._head(name, slopes, f"{inputs[0]}.shape[0]", room=not self.each),
            "    i, step = index(cuda.grid(1)), index(cuda.gridsize(1))",
        ]
        outputs = self._outputs(slopes)
        found = ", ".join(["loss", *(f"slope{at}" for at in range(len(outputs)))])
        for abreast in (ABREAST, 1):
            at = ["i", *(f"i{one}" for one in range(1, abreast))]
            ahead = "; ".join(f"{one} = {before} + step" for before, one in pairwise(at))
            body = [
                *(f"{array}{one} = {array}[{here}]" for one, here in enumerate(at) for array in inputs),
                *(f"w{one} = weight[{here}]" for one, here in enumerate(at) if self.weighted),
            ]
            for one, here in enumerate(at):
                weight = f"w{one}" if self.weighted else self.constants.name(1)
                arguments = [*(f"{array}{one}" for array in inputs), *parameters, weight, *scaled]
                body.append(f"{found} = {element}({', '.join(arguments)})")
                body += [f"{array}[{here}] = slope{number}" for number, array in enumerate(outputs)]
                body.append(self._kept(here))
            body += [f"i = {at[-1]} + step", *([ahead] if ahead else [])]
            lines += [f"    {ahead}"] if ahead else []
            lines += [f"    while {at[-1]} < number:", *(f"        {line}" for line in body)]
        return "\n".join([*lines, *self._tail()])

    def _of_rows(self, name: str, loss: Node, slopes: list[Node], factor: Node) -> str:
        """The team goes through each row together; what is known of a row, every thread of the team knows."""
        kinds = self.signature.inputs
        stores, scalars = [], []
        for one, array, slope in zip(self.signature.differentiated, self._outputs(slopes), slopes, strict=False):
            if kinds[one] == "row":
                stores.append(Node("store", (slope,), "number", (), f"{array}row"))
            else:
                scalars.append((array, slope))
        targets = [loss, *stores, *(slope for _, slope in scalars)]
        rows = [_given(one) for one, kind in kinds.items() if kind == "row"]
        writer = Writer(self.constants)
        place = Place(1, {}, {})
        writer.lines += self._head(name, slopes, f"{rows[0]}.shape[0]", room=True)
        writer.line(place, f"classes = {rows[0]}.shape[1]")
        writer.line(place, "size, lane = real(classes), cuda.threadIdx.x % team")
        writer.variables(targets, {one: _given(one) for one in self._parameters}, place)
        writer.line(place, "i, step = index(cuda.grid(1) // team), index(cuda.gridsize(1) // team)")
        writer.line(place, "while i < number:")
        inside = place.inside()
        writer.line(inside, f"w = {'weight[i]' if self.weighted else self.constants.name(1)}")
        if slopes:
            inside.known[factor] = "factor"
            writer.line(inside, "factor = scale * w")
        for array in (*rows, *(str(one.value).removesuffix("row") for one in stores)):
            writer.line(inside, f"{array}row = {array}[i]")
        at = {one: f"{_given(one)}row[?]" if kind == "row" else f"{_given(one)}[i]" for one, kind in kinds.items()}
        writer.variables(targets, at, inside)
        writer.compute(targets, inside)
        writer.line(inside, "if lane == 0:")
        alone = inside.inside()
        writer.line(alone, f"loss = weighed(w, {writer.name(loss, inside)})")
        for array, slope in scalars:
            writer.line(alone, f"{array}[i] = {writer.name(slope, inside)}")
        writer.line(alone, self._kept("i"))
        writer.line(inside, "i += step")
        return "\n".join([*writer.lines, *self._tail()])

    @property
    def _inputs(self) -> list[str]:
        return [*self.signature.inputs]

    @property
    def _parameters(self) -> list[str]:
        return [*self.signature.parameters]

    def _outputs(self, slopes: list[Node]) -> list[str]:
        return [f"gradient_{_given(one)}" for one in self.signature.differentiated] if slopes else []

    def _head(self, name: str, slopes: list[Node], number: str, *, room: bool) -> list[str]:
        """The first lines of a kernel. With its types said here no call has to find them out."""
        number_type = self.constants.dtype
        types = {"real": f"{number_type}[::1]", "row": f"{number_type}[:, ::1]", "label": "int64[::1]"}
        single = {"real": number_type, "row": f"{number_type}[::1]", "label": "int64"}
        given = {_given(one): types[str(kind)] for one, kind in self.signature.inputs.items()}
        slots = {array: given[array.removeprefix("gradient_")] for array in self._outputs(slopes)}
        given |= {_given(one): single[str(kind)] for one, kind in self.signature.parameters.items()}
        given |= {"weight": types["real"]} if self.weighted else {}
        given |= slots
        given |= {"values": "float64[::1]" if name == "divisor" else types["real"], "work": "float64[::1]"}
        given |= {"team": "int64"} if self.signature.has_rows else {}
        lines = [f"number = index({number})"]
        if room:
            lines.append("room = cuda.shared.array(0, STORED)")
        if slopes:
            lines.append(f"scale = {self.constants.name(1)}" if self.each else "scale = real(scale_of(work))")
        if not self.each:
            lines.append("total, error = wide(0), wide(0)")
        head = [f'@compiled("void({", ".join(given.values())})")', f"def {name}({', '.join(given)}):"]
        return [*head, *(f"    {line}" for line in lines)]

    def _kept(self, at: str) -> str:
        """What becomes of a loss."""
        if self.each:
            return f"values[{at}] = loss"
        if self.constants.dtype == "float64":
            return "total, error = compensated(total, error, loss)"
        return "total += wide(loss)"

    def _tail(self) -> list[str]:
        return ["", ""] if self.each else ["    finish(room, total, error, work, values)", "", ""]


def _given(name: str) -> str:
    """An identifier that means nothing else in the text."""
    return f"{name}_"
