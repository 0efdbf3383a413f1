"""What is asked and what is answered, frozen, and the one codec of both."""

from __future__ import annotations

import hashlib
from math import prod
from typing import Literal

import msgspec

from lossbench.text import Dtype, Number, Reduction

Points = Literal["domain", "drift", "length", "worst", "edge", "divergence", "timing", "callable"]
Measure = Literal["accuracy", "hessian", "forward", "gradient", "convention"]
Reason = Literal["unsupported", "not installed", "failed", "crashed", "timed out", "out of memory"]

LARGE = 20_000_000  # numbers of an input, beyond which jobs run one at a time


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Frozen, compared by value, encoded as JSON."""


class Target(Struct, frozen=True, kw_only=True):
    """Who is measured; as text `torch:eager:cpu*2!plain@/path/to/python`, where all but the framework may be missing.

    Attributes:
        interpreter: Another Python, which has its own framework.
        twin: Tells the two halves of an A/A control apart.
        threads: As many for this target alone (`*2`); 0 for as many as the suite says.
        label: What people call it, instead of the text.
        plain: Whether it runs as its framework does by itself (`!plain`), without the settings that all others share.
    """

    framework: str
    mode: str = "eager"
    device: str = "cpu"
    interpreter: str | None = None
    twin: bool = False
    threads: int = 0
    label: str = ""
    plain: bool = False

    @property
    def name(self) -> str:
        """For people: the label, or `torch:eager:cpu`."""
        number = f"*{self.threads}" if self.threads else ""
        at = f"@{self.interpreter}" if self.interpreter else ""
        text = f"{self.framework}:{self.mode}:{self.device}{number}{'!plain' if self.plain else ''}{at}"
        return f"{self.label or text}{' (twin)' if self.twin else ''}"


REFERENCE = Target(framework="reference", mode="exact")
CEILING = "ceiling"  # in place of a framework: what moves the bytes of a case and computes nothing


class Case(Struct, frozen=True, kw_only=True):
    """Exact inputs, said in so few words that every worker draws the same arrays.

    Attributes:
        digest: The loss's; an edited formula or call makes another case.
        points: Where the inputs come from: drawn over the domain, an edge or divergence of the spec, or drawn
            quickly for timing, for as many updates of a state, or from a pool of a few points for a sum of any length;
            the worst that searches have found; or a callable of the spec, of which conventions are asked at points of
            their own.
        shape: Of the drawn inputs, along `Loss.dimensions`: `(n,)`, or `(n, classes)` where the loss takes rows; `()`
            for edges and divergences.
        index: Which edge, divergence or callable of the spec, which draw, or which batch of worst inputs, from 0.
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

    def __hash__(self) -> int:
        names = frozenset(self.parameters)  # not the dict itself, which cannot be hashed
        return hash((self.loss, self.dtype, self.points, self.shape, self.index, self.reduction, names))


class Job(Struct, frozen=True, kw_only=True):
    """A case for a target.

    `accuracy` wants value and gradient as arrays, `hessian` Hessian-vector products, `convention` texts, the others
    seconds.
    """

    case: Case
    target: Target
    measure: Measure

    @property
    def key(self) -> str:
        """Equal for equal jobs, in every process."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:24]

    @property
    def alone(self) -> bool:
        """Whether its batch is so large that no other worker may need memory at the same time."""
        return self.case.points == "length" and prod(self.case.shape) > LARGE

    @property
    def timed(self) -> bool:
        """Whether the clock is what it is for."""
        return self.measure in ("forward", "gradient")

    @property
    def labels(self) -> dict[str, object]:
        """The columns that every table of jobs begins with."""
        return {
            "loss": self.case.loss,
            "target": self.target.name,
            "framework": self.target.framework,
            "mode": self.target.mode,
            "device": self.target.device,
            "dtype": self.case.dtype,
        }


class Environment(Struct, frozen=True, kw_only=True, tag="environment"):
    """What a worker runs on; one record for each worker that started.

    Attributes:
        versions: Of lossbench, Python, NumPy, the framework and what it stands on.
        settings: What decides the numbers: thread counts, flags, environment variables.
        machine: Processor, cores, memory, system, device.
    """

    target: Target
    versions: dict[str, str]
    settings: dict[str, str]
    machine: dict[str, str]


class Output(Struct, frozen=True, kw_only=True, tag="output"):
    """What came out, as names of arrays in the store: `value` and `gradient.<input>`, or `hessian.<input>`.

    The reference's job has more: what went in, as `input.<name>`, `parameter.<name>`, `sample_weight` and
    `direction.<input>`; and, for each number above, `.low` (the remainder beyond the nearest double), `.radius`, and
    for derivatives `.lower` and `.upper`, the ends of the subdifferential (equal where smooth). Of a batch that a few
    points make they are those of the points, and `counts` says how often each of them is there.

    Attributes:
        arrays: For `store.array`: a digest, or the numbers themselves where they are few.
        inputs: Digest of all that went in, equal for every target of one case.
        seconds: What drawing, calling and collecting took together; no measurement, but it explains a slow run.
        compiled: How many functions Numba compiled meanwhile: those that its cache on disk did not have.
    """

    job: Job
    arrays: dict[str, str]
    inputs: str
    seconds: float
    compiled: int = 0


class Observed(Struct, frozen=True, kw_only=True, tag="observed"):
    """What a callable does where its users cannot tell by its name.

    Attributes:
        says: By topic, a short text that is the same on every machine.
    """

    job: Job
    says: dict[str, str]


class Timing(Struct, frozen=True, kw_only=True, tag="timing"):
    """Raw samples: each of `seconds` is the duration of `calls` calls, one after the other and each awaited.

    Attributes:
        first_call: Seconds of the first call of the first process, with tracing and compilation.
        turns: The turn in which each sample was taken, from 0.
        traffic: Bytes that one call has to read and write at least, the same for every target.
        busy: Seconds of one call between two events on the device, its caches emptied before, one for each sample;
            empty where the framework has no such events.
        cpu: Seconds of processor time, all threads together, that the process used in each sample; empty on devices.
        processes: Which of the fresh worker processes took each sample, from 0; empty in older records.
        peak_memory: Bytes by which one call raised the most memory in use: what the framework's allocator gave out
            where it says so, what the process had resident elsewhere; None where that cannot be seen.
        cold: Seconds of single calls, the processor's caches emptied before each; empty where that was not asked for.
        compiled: As in `Output`, up to the first sample.
        steady: Whether the times had become steady before the first sample; None in older records.
    """

    job: Job
    first_call: float
    seconds: list[float]
    calls: int
    turns: list[int]
    traffic: int
    busy: list[float] = []
    cpu: list[float] = []
    processes: list[int] = []
    peak_memory: int | None = None
    cold: list[float] = []
    steady: bool | None = None
    compiled: int = 0


class MachineState(Struct, frozen=True, kw_only=True, tag="machine state"):
    """What the machine said of itself before the timings of a run, or after them.

    Attributes:
        load: How many programs wanted to run in the last minute, on average; None where the system does not say.
        seconds: What all processors together did since the machine was started: `user`, `idle`, `steal` and so on.
        own: Processor time that lossbench and its workers, as far as they have ended, have used.
        governor: What decides the clock rate; empty where that cannot be seen.
        megahertz: The clock rate of each processor.
        throttled: How often a core was slowed because it was hot; None where that cannot be seen.
        capped: How often a container was stopped because it had used up its share; None where there is no limit.
    """

    when: Literal["before", "after"]
    load: float | None = None
    seconds: dict[str, float] = {}
    own: float = 0.0
    governor: str = ""
    megahertz: list[float] = []
    throttled: int | None = None
    capped: int | None = None


class Bandwidth(Struct, frozen=True, kw_only=True, tag="bandwidth"):
    """The memory bandwidth of this machine, measured between the timings of the same run.

    Attributes:
        kernel: "read two" or "read two, write one".
        bytes: The traffic of one call.
        seconds: Raw samples, each the duration of `calls` calls.
        threads: How many threads the kernel used; on a GPU 1 stands for all.
        device: Whose memory; of a GPU `seconds` are by its own clock.
    """

    kernel: Literal["read two", "read two, write one"]
    bytes: int
    seconds: list[float]
    calls: int
    threads: int
    device: str = "cpu"


class Refusal(Struct, frozen=True, kw_only=True, tag="refusal"):
    """Why a job has no answer, in the framework's own words."""

    job: Job
    reason: Reason
    detail: str


class Died(Struct, frozen=True, kw_only=True, tag="died"):
    """A worker that ended before its time: which job it was on, and how it ended."""

    target: Target
    job: Job | None
    detail: str


Answer = Output | Observed | Timing | Refusal  # every job gets exactly one of these
Record = Environment | Output | Observed | Timing | MachineState | Bandwidth | Refusal | Died

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """One line of JSON, without its line end."""
    return _encoder.encode(record)


def decode(line: bytes) -> Record:
    """The record of one line.

    Raises:
        msgspec.DecodeError: The line is no record.
    """
    return _decoder.decode(line)
