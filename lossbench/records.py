"""What is asked and what is answered, frozen, and the one codec of both."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from lossbench.spec import Dtype, Number, Reduction

Points = Literal["domain", "edge", "divergence", "timing"]
Measure = Literal["accuracy", "forward", "gradient"]
Reason = Literal["unsupported", "not installed", "failed", "crashed", "timed out", "out of memory"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Frozen, compared by value, encoded as JSON."""


class Target(Struct):
    """Who is measured. `twin` tells the two halves of an A/A control apart."""

    framework: str
    mode: str = "eager"
    device: str = "cpu"
    interpreter: str | None = None
    twin: bool = False

    @property
    def name(self) -> str:
        """For people and file names: `torch:eager:cpu`."""
        at = f"@{self.interpreter}" if self.interpreter else ""
        return f"{self.framework}:{self.mode}:{self.device}{at}{' (twin)' if self.twin else ''}"


REFERENCE = Target(framework="reference", mode="exact")


class Case(Struct):
    """Exact inputs, said in so few words that every worker draws the same arrays.

    Attributes:
        points: Where the inputs come from: drawn over the domain, an edge or divergence of the spec, or drawn
            quickly for timing.
        index: Which edge or divergence.
        shape: Of a row or element input: `(n,)` or `(n, classes)`; of the batch for edges and divergences.
        parameters: Exact numbers, before they are rounded to the dtype; those left out take their defaults.
        weighted: Whether sample weights are drawn.
    """

    loss: str
    digest: str
    dtype: Dtype
    points: Points
    shape: tuple[int, ...] = ()
    index: int = 0
    reduction: Reduction = "none"
    parameters: dict[str, Number | list[Number]] = {}
    weighted: bool = False


class Job(Struct):
    """A case for a target. `accuracy` wants value and gradient as arrays, the others seconds."""

    case: Case
    target: Target
    measure: Measure

    @property
    def key(self) -> str:
        """Equal for equal jobs, in every process."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:24]


class Environment(Struct, tag="environment"):
    """What a worker runs on; one record for each worker that started.

    Attributes:
        versions: Of Python, NumPy, the framework and what it stands on.
        settings: What decides the numbers: thread counts, flags, environment variables.
        machine: Processor, cores, memory, system, device.
    """

    target: Target
    versions: dict[str, str]
    settings: dict[str, str]
    machine: dict[str, str]


class Output(Struct, tag="output"):
    """Names arrays in the store by digest: `value`, `gradient.<input>`, `input.<name>`, `parameter.<name>`.

    The reference's job adds, for `value` and each gradient, `.low` (the remainder beyond the nearest double),
    `.radius`, and for gradients `.lower` and `.upper`, the ends of the subdifferential (equal where smooth).
    """

    job: Job
    arrays: dict[str, str]
    seconds: float


class Timing(Struct, tag="timing"):
    """Raw samples: each of `seconds` is the duration of `calls` calls.

    Attributes:
        first_call: Seconds of the first call, with tracing and compilation.
        turns: The turn in which each sample was taken.
        traffic: Bytes that one call has to read and write, the same for every target.
    """

    job: Job
    first_call: float
    seconds: list[float]
    calls: int
    turns: list[int]
    traffic: int


class Bandwidth(Struct, tag="bandwidth"):
    """The memory bandwidth of this machine, measured between the timings of the same run.

    `kernel` is "read two" or "read two, write one"; `bytes` the traffic of one call, `seconds` its raw samples.
    """

    kernel: str
    bytes: int
    seconds: list[float]
    threads: int


class Refusal(Struct, tag="refusal"):
    """Why a job has no answer, in the framework's own words."""

    job: Job
    reason: Reason
    detail: str


class Died(Struct, tag="died"):
    """A worker that ended before its time: which job it was on, and how it ended."""

    target: Target
    job: Job | None
    detail: str


Record = Environment | Output | Timing | Bandwidth | Refusal | Died

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """One line of JSON, without its line end."""
    return _encoder.encode(record)


def decode(line: bytes) -> Record:
    """The record of one line.

    Raises:
        msgspec.DecodeError: The line is no record.
    """
    return _decoder.decode(line)
