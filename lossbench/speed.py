"""Speed, as tables: medians with intervals, ratios and bandwidths, derived from a store's raw samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from msgspec.structs import replace
from scipy import stats

from lossbench import shown, verdicts
from lossbench.loss import Loss
from lossbench.records import CEILING, REFERENCE, Bandwidth, Job, Refusal, Timing
from lossbench.store import Store

CONFIDENCE = 0.95
# What a measure has to move: the inputs are read, and for the gradient as much as one of them is written.
KERNELS = {"forward": "read two", "gradient": "read two, write one"}

_CASE = [
    "loss",
    "target",
    "framework",
    "mode",
    "device",
    "threads",
    "dtype",
    "measure",
    "shape",
    "elements",
    "reduction",
]


def medians(store: Store) -> pd.DataFrame:
    """One row for each planned timing job; twins are in `noise`.

    Columns:
        job, loss, target, framework, mode, device, threads, dtype, measure, shape, elements, reduction: What was
            timed; `elements` are the numbers of its largest input, and 0 `threads` all that there are.
        median, low, high: Seconds of one call, and the ends of the 95 % interval of the median (nan below 6 samples:
            there is none).
        samples, calls: How many samples, and how many calls each lasted.
        first_call: Seconds of the first call, with tracing and compilation.
        cpu: Seconds of processor time, all threads together, that one call took, in the median; nan on devices.
        cold: Seconds of one call with the caches emptied before, in the median; nan where that was not asked for.
        peak_memory: Bytes by which one call raised the memory of its process, or of its device.
        steady: Whether the times had become steady before the first sample; None in older records.
        ratio: To the fastest target of the same case, measure, device and number of threads, ceilings left out.
        busy, busy_low, busy_high: The same by the device's own clock, its caches emptied before each call; nan where
            the framework has none, as on the processor.
        busy_ratio: To the least busy target likewise.
        traffic, bytes_per_second: What one call has to move at least, and how fast it did.
        bandwidth_fraction: Of the bandwidth that this machine, or the device by its own clock, had for about as many
            bytes in the same run; nan where that was not measured.
        verdict, reason: Of a refusal; empty where seconds were measured.
    """
    answers = {one.job.key: one for one in store.records() if isinstance(one, Timing | Refusal)}
    losses = store.losses()
    rows = []
    for job in store.jobs():
        if job.timed and not job.target.twin:
            case = _case(job, losses[job.case.loss], store.suite.threads)
            rows.append({**case, "job": job.key, "case": _same(job), **_timed(answers.get(job.key))})
    measured = ["median", "low", "high", "busy", "busy_low", "busy_high"]
    measured += ["cpu", "cold", "peak_memory", "steady"]
    measured += ["samples", "calls", "first_call", "traffic", "bytes_per_second"]
    found = pd.DataFrame(rows, columns=["job", *_CASE, *measured, "verdict", "reason", "case"])
    for seconds, ratio in (("median", "ratio"), ("busy", "busy_ratio")):
        theirs = found.assign(least=found[seconds].where(found["framework"] != CEILING))
        found[ratio] = found[seconds] / theirs.groupby(["case", "device", "threads"])["least"].transform("min")
    moved = found["bytes_per_second"].where(found["device"] == "cpu", found["traffic"] / found["busy"])
    found["bandwidth_fraction"] = moved / _ceilings(found, bandwidth(store))
    return found.drop(columns="case")


def noise(store: Store) -> pd.DataFrame:
    """One row for each target that was timed twice under two names: what is called a difference must be larger.

    Columns:
        loss, target, framework, mode, device, threads, dtype, measure, shape, elements, reduction: What was timed.
        median, twin_median: Seconds of one call.
        ratio: The twin's median to the other.
        apart: Whether their 95 % intervals do not overlap, which chance alone hardly does.
    """
    timings = {one.job.key: one for one in store.records() if isinstance(one, Timing)}
    losses = store.losses()
    rows = []
    for twin in timings.values():
        job = replace(twin.job, target=replace(twin.job.target, twin=False))
        if not twin.job.target.twin or job.key not in timings:
            continue
        first, second = _interval(_calls(timings[job.key])), _interval(_calls(twin))
        rows.append(
            {
                **_case(job, losses[job.case.loss], store.suite.threads),
                "median": first[0],
                "twin_median": second[0],
                "ratio": second[0] / first[0],
                "apart": first[2] < second[1] or second[2] < first[1],
            }
        )
    return pd.DataFrame(rows, columns=[*_CASE, "median", "twin_median", "ratio", "apart"])


def bandwidth(store: Store) -> pd.DataFrame:
    """One row for each device, kernel, size and number of threads whose bandwidth was measured in the run.

    Columns:
        device, kernel, bytes, threads: What was streamed.
        bytes_per_second, low, high: By the median of all samples, and by the ends of its 95 % interval.
        samples: How many.
    """
    pooled: dict[tuple[str, str, int, int], list[float]] = {}
    for one in store.records():
        if isinstance(one, Bandwidth):
            pooled.setdefault((one.device, one.kernel, one.bytes, one.threads), []).extend(
                seconds / one.calls for seconds in one.seconds
            )
    rows = []
    for (device, kernel, size, threads), seconds in sorted(pooled.items()):
        median, low, high = _interval(seconds)
        rows.append((device, kernel, size, threads, size / median, size / high, size / low, len(seconds)))
    columns = ["device", "kernel", "bytes", "threads", "bytes_per_second", "low", "high", "samples"]
    return pd.DataFrame(rows, columns=columns)


def _case(job: Job, loss: Loss, threads: int) -> dict[str, object]:
    case = job.case
    return {
        **job.labels,
        "threads": job.target.threads or threads,
        "measure": job.measure,
        "shape": shown.shape(case.shape, loss.dimensions if loss.has_sizes else ()),
        "elements": loss.elements(case.shape),
        "reduction": case.reduction,
    }


def _same(job: Job) -> str:
    """Equal for every target's job of one case and measure."""
    return replace(job, target=REFERENCE).key


def _timed(answer: Timing | Refusal | None) -> dict[str, object]:
    if answer is None:
        return {"verdict": "failed", "reason": "no record: the run ended before this job"}
    if isinstance(answer, Refusal):
        reason = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
        return {"verdict": verdicts.of_refusal(answer.reason), "reason": reason}
    median, low, high = _interval(_calls(answer))
    busy, busy_low, busy_high = _interval(answer.busy) if answer.busy else (np.nan, np.nan, np.nan)
    return {
        "median": median,
        "low": low,
        "high": high,
        "busy": busy,
        "busy_low": busy_low,
        "busy_high": busy_high,
        "cpu": float(np.median(answer.cpu)) / answer.calls if answer.cpu else np.nan,
        "cold": float(np.median(answer.cold)) if answer.cold else np.nan,
        "peak_memory": np.nan if answer.peak_memory is None else answer.peak_memory,
        "steady": answer.steady,
        "samples": len(answer.seconds),
        "calls": answer.calls,
        "first_call": answer.first_call,
        "traffic": answer.traffic,
        "bytes_per_second": answer.traffic / median,
        "verdict": "",
        "reason": "",
    }


def _calls(timing: Timing) -> list[float]:
    """Seconds of one call, by each sample."""
    return [seconds / timing.calls for seconds in timing.seconds]


def _interval(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The median and the ends of its confidence interval: two of the samples, which is free of any assumption."""
    ordered = np.sort(seconds)
    low, high = _ranks(len(ordered))
    ends = (np.nan, np.nan) if low is None or high is None else (ordered[low], ordered[high])
    return float(np.median(ordered)), float(ends[0]), float(ends[1])


@cache
def _ranks(samples: int) -> tuple[int | None, int | None]:
    """Which of so many ordered samples are the ends of the median's interval; None where they are too few."""
    interval = stats.quantile_test(np.arange(samples), q=0, p=0.5).confidence_interval(CONFIDENCE)
    return tuple(None if np.isnan(end) else int(end) for end in interval)  # type: ignore[return-value]


def _ceilings(found: pd.DataFrame, measured: pd.DataFrame) -> np.ndarray:
    """For each timing, the best bandwidth of its device and kernel at the size nearest to its traffic."""
    ceilings = np.full(len(found), np.nan)
    timed = found["traffic"].notna().to_numpy()
    for device, (measure, kernel) in product(measured["device"].unique(), KERNELS.items()):
        streamed = measured[(measured["device"] == device) & (measured["kernel"] == kernel)]
        best = streamed.groupby("bytes")["bytes_per_second"].max()
        at = np.flatnonzero(timed & (found["device"] == device).to_numpy() & (found["measure"] == measure).to_numpy())
        if len(best) and len(at):
            traffic = found["traffic"].to_numpy(float)[at]
            distance = np.abs(np.log(traffic[:, None] / best.index.to_numpy(float)))
            ceilings[at] = best.to_numpy()[distance.argmin(axis=1)]
    return ceilings
