"""What the harness says to a worker and what it hears, as frames of JSON on a private pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np

from lossbench.records import Bandwidth, Case, Environment, Job, Observed, Output, Reason, Refusal, Struct, Target
from lossbench.text import Dtype, Number, Reduction


class Open(Struct, frozen=True, kw_only=True, tag="open"):
    """Become the worker of *target* in the run's *folder*; answered by an `Environment` or `Closed`."""

    target: Target
    folder: str


class Closed(Struct, frozen=True, kw_only=True, tag="closed"):
    """Why a target cannot be measured at all."""

    reason: Reason
    detail: str


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """Do an accuracy or convention job; answered by an `Output`, an `Observed` or a `Refusal`."""

    job: Job


class Warm(Struct, frozen=True, kw_only=True, tag="warm"):
    """Get ready to time a job; answered by `Ready` or a `Refusal`.

    Attributes:
        min_sample: Seconds that a sample lasts at least.
        limit: Seconds after which the job is ready even if its times are not steady.
        calls: In each sample, where another process has found that out already.
    """

    job: Job
    min_sample: float
    limit: float
    calls: int | None = None


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """`calls` calls last `seconds` and make a sample; the very first call took `first_call`.

    The rest is as in `Timing`.
    """

    first_call: float
    calls: int
    seconds: float
    traffic: int
    steady: bool
    peak_memory: int | None = None
    compiled: int = 0


class Sample(Struct, frozen=True, kw_only=True, tag="sample"):
    """Time *calls* calls of the job that is ready, *count* times; answered by `Samples` or a `Refusal`.

    Then single calls, *cold* of them, with the processor's caches emptied before.
    """

    count: int
    calls: int
    cold: int = 0


class Samples(Struct, frozen=True, kw_only=True, tag="samples"):
    """What each took; beside each of them, where the device has a clock of its own, one call by that clock.

    The rest is as in `Timing`.
    """

    seconds: list[float]
    busy: list[float] = []
    cpu: list[float] = []
    cold: list[float] = []


class Stream(Struct, frozen=True, kw_only=True, tag="stream"):
    """Measure a device's bandwidth for arrays of each of the *sizes*, in bytes; answered by `Streamed`."""

    sizes: list[int]
    threads: int
    min_sample: float
    device: str = "cpu"


class Streamed(Struct, frozen=True, kw_only=True, tag="streamed"):
    """The bandwidth, for the store."""

    records: list[Bandwidth]


class Survey(Struct, frozen=True, kw_only=True, tag="survey"):
    """Name every public loss of the open target's framework; answered by `Surveyed`."""


class Argument(Struct, frozen=True, kw_only=True):
    """One of a function or constructor; `plain` tells the default None from one that is no number and no text."""

    name: str
    required: bool = False
    default: bool | int | float | str | None = None
    plain: bool = True
    keyword_only: bool = False


class Public(Struct, frozen=True, kw_only=True):
    """A public function or class; `called` are the arguments that an instance of a class is called with."""

    name: str
    kind: Literal["function", "class"]
    arguments: list[Argument]
    called: list[str] = []


class Surveyed(Struct, frozen=True, kw_only=True, tag="surveyed"):
    """All of them; empty where a framework does not tell."""

    callables: list[Public]


class Inspect(Struct, frozen=True, kw_only=True, tag="inspect"):
    """Import *code*, a FILE.py:NAME or package.module:NAME, and tell what it takes; answered by `Inspected`."""

    code: str


class Inspected(Struct, frozen=True, kw_only=True, tag="inspected"):
    """A function or class of one's own; of a class `arguments` are the constructor's and `called` an instance's.

    Attributes:
        frameworks: Those that it may be written for, the likeliest first.
        more: Whether it takes arguments that it does not name, or does not say what it takes.
    """

    kind: Literal["function", "class"]
    arguments: list[Argument] = []
    called: list[Argument]
    frameworks: list[str]
    more: bool = False


class Try(Struct, frozen=True, kw_only=True, tag="try"):
    """Run *call* in place of that of the spec file *path* at the inputs of *case*; answered by `Tried`."""

    path: str
    case: Case
    call: str | None


class Tried(Struct, frozen=True, kw_only=True, tag="tried"):
    """What came out, as names of arrays in the folder, or the framework's own words where nothing did."""

    arrays: dict[str, str] = {}
    failed: str = ""


class Packed(Struct, frozen=True, kw_only=True):
    """An array with every bit of it: `bits` in C order."""

    dtype: str
    shape: tuple[int, ...]
    bits: bytes


class Evaluate(Struct, frozen=True, kw_only=True, tag="evaluate"):
    """Run the spec file *path*'s call on the open target; answered by `Evaluated` or `Refused`.

    What is asked for again with other numbers, in arrays of the same shapes, is not compiled again.

    Attributes:
        arrays: Every input, and `sample_weight` where there is one; numbers that *dtype* does not have are rounded.
        parameters: Exact numbers, before they are rounded to the dtype; those left out take their defaults.
        gradient: Whether the gradients are sent back too.
        call: In place of the spec's own.
    """

    path: str
    dtype: Dtype
    arrays: dict[str, Packed]
    parameters: dict[str, Number | list[Number]] = {}
    reduction: Reduction = "none"
    gradient: bool = True
    call: str | None = None


class Evaluated(Struct, frozen=True, kw_only=True, tag="evaluated"):
    """`value` and `gradient.<input>`: float64 for dtype float64 and float32, which holds 16-bit numbers, otherwise."""

    arrays: dict[str, Packed]


class Refused(Struct, frozen=True, kw_only=True, tag="refused"):
    """Why nothing was evaluated, in the framework's own words."""

    reason: Reason
    detail: str


def packed(arrays: Mapping[str, np.ndarray]) -> dict[str, Packed]:
    """The arrays, ready to be sent."""
    return {
        name: Packed(dtype=str(array.dtype), shape=array.shape, bits=array.tobytes()) for name, array in arrays.items()
    }


def unpacked(arrays: Mapping[str, Packed]) -> dict[str, np.ndarray]:
    """What was sent, bit for bit."""
    return {name: np.frombuffer(one.bits, one.dtype).reshape(one.shape) for name, one in arrays.items()}


Request = Open | Answer | Warm | Sample | Stream | Survey | Inspect | Try | Evaluate
Reply = (
    Environment
    | Closed
    | Output
    | Observed
    | Refusal
    | Ready
    | Samples
    | Streamed
    | Surveyed
    | Inspected
    | Tried
    | Evaluated
    | Refused
)

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """One frame."""
    return _encoder.encode(message)


def request(frame: bytes) -> Request:
    """What the harness said."""
    return _requests.decode(frame)


def reply(frame: bytes) -> Reply:
    """What the worker said."""
    return _replies.decode(frame)
