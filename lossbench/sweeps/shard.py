"""A part of a sweep, what was found in it, and how parts are put together; frozen, with the one codec of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import reduce
from typing import Literal

import msgspec

from lossbench.records import Environment, Reason, Struct, Target
from lossbench.text import Dtype, Number

Method = Literal["exhaustive", "search"]
Category = Literal[
    "normal",  # the exact number is in the normal range, or in the last half ulp beyond it
    "subnormal",
    "zero",
    "kink",  # every number of an interval is right
    "flushed",  # 0 came out for a subnormal number, as for all of them
    "missed zero",  # another number came out for an exact 0
    "overflowed rightly",
    "overflowed spuriously",  # an infinity came out for a number, or for the other infinity
    "missed overflow",  # a finite number came out for an infinity, or far below one that overflows
    "pole",  # the exact number is infinite, and came out
    "nan",  # nan came out for a number
    "undefined",  # mathematics says nothing
    "convention",  # the spec declares that there is more than one answer
]
CATEGORIES: tuple[Category, ...] = Category.__args__  # type: ignore[attr-defined]
BAD: tuple[Category, ...] = ("flushed", "missed zero", "overflowed spuriously", "missed overflow", "nan")
RIGHT = -1  # the bin of errors up to half an ulp


class Shard(Struct, frozen=True, kw_only=True):
    """A range of inputs of one loss for one target.

    Attributes:
        digest: The loss's; an edited formula or call makes another shard.
        swept: The inputs that run over all bit patterns of the dtype: one, or two for a grid. For a search, those in
            which it searches.
        at: The other inputs, and the parameters, as exact numbers of the dtype. For a search, the parameters that are
            not at their defaults, before they are rounded.
        first, last: Which patterns, [first, last). Pattern i of one input is the number whose bits are those of the
            unsigned integer i; of two, the high half of i's digits is the first's, and the low half the second's. For
            a search, `last` is how many evaluations it may make.
        seed: Of a search.
    """

    loss: str
    digest: str
    target: Target
    dtype: Dtype
    method: Method
    swept: tuple[str, ...]
    at: dict[str, Number | list[Number]]
    first: int = 0
    last: int = 0
    seed: int = 0

    @property
    def key(self) -> str:
        """Equal for equal shards, in every process."""
        return _digest(self)

    @property
    def question(self) -> str:
        """Equal for shards that differ in their target alone: one reference serves them all."""
        return _digest(msgspec.structs.replace(self, target=Target(framework="")))

    def __hash__(self) -> int:
        return hash(self.key)


class Extreme(Struct, frozen=True, kw_only=True):
    """An input and what came out of it.

    Attributes:
        at: Every input and parameter, in hexadecimal: exact.
        got: What came out, in hexadecimal.
        exact: The nearest double of what must; at a kink its interval.
        ulps: The error in ulps of the exact number; None where it has no such error, a nan for instance.
        judged: The error in ulps after conditioning.
        condition: By how many ulps one ulp of every input moves the exact number.
    """

    at: dict[str, str]
    got: str
    exact: str
    ulps: float | None = None
    judged: float | None = None
    condition: float = 0.0


class Part(Struct, frozen=True, kw_only=True):
    """What was found of the value, or of one gradient.

    Attributes:
        counts: How many inputs there are of each category; each input has one.
        histogram: How many errors lie in (2**(k-1), 2**k] ulps, by k; -1 has all errors up to half an ulp.
        worst: With the largest error in ulps.
        conditioned: With the largest error after conditioning, of those of more than half an ulp.
        examples: The first input of each bad category.
    """

    counts: dict[Category, int]
    histogram: dict[int, int]
    worst: Extreme | None = None
    conditioned: Extreme | None = None
    examples: dict[Category, Extreme] = {}


class Tally(Struct, frozen=True, kw_only=True, tag="tally"):
    """What was found in a shard: its one record.

    Attributes:
        versions: Of the framework and what it stands on.
        evaluations: At how many inputs.
        outside: How many patterns of the shard are outside the domain of the loss, and were left out.
        parts: Of `value` and each `gradient.<input>`.
        seconds: What it took, and of that what the target took. They do not count in the digest.
        environment: What the worker runs on, in the first record that it makes.
    """

    shard: Shard
    versions: dict[str, str]
    evaluations: int
    outside: int = 0
    parts: dict[str, Part]
    seconds: float
    asked: float = 0.0
    environment: Environment | None = None

    @property
    def digest(self) -> str:
        """Equal for equal findings, whoever made them and however long it took."""
        return _digest([self.shard, self.evaluations, self.outside, self.parts])


class Unanswered(Struct, frozen=True, kw_only=True, tag="refusal"):
    """Why a shard has no tally, in the framework's own words."""

    shard: Shard
    reason: Reason
    detail: str
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """Equal for equal reasons; details may name processes and files."""
        return _digest([self.shard, self.reason])


Record = Tally | Unanswered  # every shard gets exactly one

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


def digest(found: Iterable[Record]) -> str:
    """Of a whole sweep: equal whatever the order in which its records came."""
    return _digest(sorted(record.digest for record in found))


def merged(tallies: Iterable[Tally]) -> dict[str, Part]:
    """What was found in all of them together, whatever their order."""
    found: dict[str, Part] = {}
    for tally in tallies:
        for name, part in tally.parts.items():
            found[name] = joined([found[name], part]) if name in found else part
    return found


def joined(parts: Iterable[Part]) -> Part:
    """Several as one, such as all gradients."""
    return reduce(_both, parts)


def _both(one: Part, other: Part) -> Part:
    return Part(
        counts={name: count for name in CATEGORIES if (count := one.counts.get(name, 0) + other.counts.get(name, 0))},
        histogram={
            key: one.histogram.get(key, 0) + other.histogram.get(key, 0)
            for key in sorted({*one.histogram, *other.histogram})
        },
        worst=_worse(one.worst, other.worst, "ulps"),
        conditioned=_worse(one.conditioned, other.conditioned, "judged"),
        examples={
            name: min((part.examples[name] for part in (one, other) if name in part.examples), key=_digest)
            for name in CATEGORIES
            if name in one.examples or name in other.examples
        },
    )


def _worse(one: Extreme | None, other: Extreme | None, by: Literal["ulps", "judged"]) -> Extreme | None:
    """The larger; of equals always the same."""
    found = [each for each in (one, other) if each is not None]
    return max(found, key=lambda each: (getattr(each, by), _digest(each)), default=None)


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(_plain(value), order="deterministic")).hexdigest()[:24]


def _plain(value: object) -> object:
    """With every default: an encoder leaves out those that are the same object, and after pickle they are not."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
