"""What stands in each column of the tables that a report offers: its unit and its meaning, said once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Column(NamedTuple):
    """What a column holds; the unit is empty where it is text, or a plain number."""

    unit: str
    meaning: str


_WHO = {
    "loss": Column("", "the loss, by its name"),
    "target": Column("", "who was measured: framework:mode:device, or a label"),
    "framework": Column("", "torch, tensorflow, jax, numba or another adapter"),
    "mode": Column("", "eager or compiled"),
    "device": Column("", "cpu or cuda"),
    "dtype": Column("", "the floating-point format of inputs and results"),
    "reason": Column("", "what the verdict or result does not say by itself; of a refusal its own words"),
}
_REDUCTION = {"reduction": Column("", "none, mean or sum")}
_CASE = {**_WHO, **_REDUCTION, "shape": Column("", "the size of the inputs: elements, or rows x classes")}
_ERRORS = {
    "max_ulp": Column("ulp", "the largest error; empty where no entry has one"),
    "p99_ulp": Column("ulp", "the error that 99 % of the entries stay within"),
    "median_ulp": Column("ulp", "the error that half of the entries stay within"),
    "condition": Column("ulp per ulp", "of the entry of max_ulp: how far one ulp of every input moves it"),
    "conditioned": Column("ulp", "the largest error divided by 1 + condition"),
    "normwise": Column("ulp", "the largest error in ulps of the largest entry of its vector"),
    "at_zero": Column("", "the largest error where the exact result is 0, as a plain number"),
    "nan": Column("entries", "that came out as nan where another kind of number belongs"),
    "inf": Column("entries", "that came out infinite where another kind of number belongs"),
    "finite": Column("entries", "that came out finite where nan or an infinity belongs"),
    "flushed": Column("entries", "subnormal results that came out as 0"),
    "missed": Column("entries", "exact zeros that came out as another number"),
    "undefined": Column("entries", "at which mathematics has no answer, so none is wrong"),
    "worst": Column("", "the worst entry: its input in decimal and hex, what came out, and what is exact"),
}

_OF_CELLS = ("max_ulp", "condition", "conditioned", "normwise", "worst")


def _both(names: Iterable[str]) -> dict[str, Column]:
    """Those errors, of the value and of the gradient."""
    return {
        f"{what}_{name}": Column(_ERRORS[name].unit, f"of the {what}: {_ERRORS[name].meaning}")
        for what in ("value", "gradient")
        for name in names
    }


_VERDICT = Column("", "exact, faithful, accurate, inaccurate, wrong, convention, unsupported, refused or failed")
_POINT = {
    "index": Column("", "its number in the spec, from 0"),
    "at": Column("", "the inputs and parameters"),
    "why": Column("", "in the words of the spec"),
    "declared_value": Column("", "what the spec says of the value, as text; empty where it says nothing"),
    "declared_gradient": Column("", "what the spec says of the gradient, likewise"),
    "exact_value": Column("", "the certified value, as text"),
    "exact_gradient": Column("", "the certified gradient, as text"),
    "got_value": Column("", "the value that came out, as text"),
    "got_gradient": Column("", "the gradient that came out, as text"),
}

TABLES: Mapping[str, Mapping[str, Column]] = {
    "results": {
        **_WHO,
        **_both(_OF_CELLS),
        "verdict": Column("", f"the worst of its cases: {_VERDICT.meaning}"),
        "mismatches": Column("entries", "of drawn points that are of another kind than the exact ones"),
        "planned": Column("cases", "without the declared divergences"),
        "measured": Column("cases", "that have an answer"),
        "refused": Column("cases", "unsupported, not installed, or refused in the framework's own words"),
        "failed": Column("cases", "without an answer: crashed, timed out or out of memory"),
        "edges": Column("cases", "hard points of the spec that were measured"),
        "edges_wrong": Column("cases", "of these edges inaccurate or wrong"),
    },
    "cases": {
        **_CASE,
        **_both(_ERRORS),
        "job": Column("", "names the job, the same in every run that plans it"),
        "points": Column("", "domain (drawn), worst (found by searches), edge, divergence, drift or length"),
        "index": Column("", "which edge, divergence or draw, from 0"),
        "weighted": Column("", "whether there were sample weights"),
        "parameters": Column("", "those that are not the default, as text"),
        "own_call": Column("", "whether the spec's own call was measured; no for a divergence that has another call"),
        "verdict": _VERDICT,
    },
    "timings": {
        **_CASE,
        "job": Column("", "names the job, the same in every run that plans it"),
        "threads": Column("threads", "for this target; 0 for all that there are"),
        "measure": Column("", "forward, or gradient (value and gradient together)"),
        "elements": Column("numbers", "of the largest input"),
        "median": Column("s", "of one call, over all samples"),
        "low": Column("s", "lower end of the median's 95 % interval; empty below 6 samples"),
        "high": Column("s", "upper end of it"),
        "busy": Column("s", "of one call by the device's own clock, its caches emptied; empty on processors"),
        "busy_low": Column("s", "lower end of the 95 % interval of busy"),
        "busy_high": Column("s", "upper end of it"),
        "cpu": Column("s", "processor time of one call, all threads together; empty on devices"),
        "cold": Column("s", "of one call with the caches emptied before; empty where that was not asked for"),
        "peak_memory": Column("bytes", "by which one call raised the memory in use"),
        "steady": Column("", "whether the times had become steady before the first sample"),
        "samples": Column("samples", "that were taken"),
        "calls": Column("calls", "that each sample lasted"),
        "first_call": Column("s", "the first call, with tracing and compilation"),
        "traffic": Column("bytes", "that one call has to read and write at least"),
        "bytes_per_second": Column("bytes/s", "traffic divided by median"),
        "ratio": Column("", "median to that of the fastest target of the same case"),
        "busy_ratio": Column("", "busy to the least of the same case"),
        "bandwidth_fraction": Column("", "of the memory bandwidth that was measured in the same run"),
        "verdict": Column("", "empty where there is a time, else unsupported, refused or failed"),
    },
    "divergences": {
        **_WHO,
        **_REDUCTION,
        **_POINT,
        "result": Column("", "confirmed, changed, fixed or not run"),
        "kind": Column("", "defect, limit or convention"),
        "url": Column("", "the issue upstream, where there is one"),
        "call": Column("", "the call that shows it, where it is not the spec's own"),
        "raises": Column("", "words of the error that the spec says is raised"),
        "verdict": Column("", f"{_VERDICT.meaning}; empty where it was not planned"),
    },
    "edges": {
        **_WHO,
        **_REDUCTION,
        **_POINT,
        "result": _VERDICT,
        "status": Column("", "required, convention or undefined"),
    },
    "facts": {
        **{name: _WHO[name] for name in ("loss", "framework", "target")},
        "callable": Column("", "the public function or class that was asked"),
        "call": Column("", "how it was called"),
        "topic": Column("", "what it was asked, such as what it does with weights"),
        "declared": Column("", "what the spec says; empty where it says nothing"),
        "observed": Column("", "what this run got; empty where it got nothing"),
        "result": Column("", "confirmed, changed, gone, new or not run"),
        "reason": Column("", "why nothing was observed"),
    },
}
