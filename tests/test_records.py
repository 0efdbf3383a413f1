"""What is asked and answered: equality, keys, the codec."""

import msgspec
import pytest

from lossbench import records
from lossbench.records import (
    Bandwidth,
    Case,
    Died,
    Environment,
    Job,
    MachineState,
    Observed,
    Output,
    Refusal,
    Target,
    Timing,
)

CASE = Case(loss="huber", digest="d", dtype="float32", points="domain", shape=(5,), parameters={"delta": "1/3"})
TARGET = Target(framework="torch")
JOB = Job(case=CASE, target=TARGET, measure="accuracy")
RECORDS = (
    Environment(target=TARGET, versions={"torch": "2"}, settings={}, machine={"cores": "2"}),
    Output(job=JOB, arrays={"value": "float32(): nan"}, inputs="0f", seconds=0.5),
    Observed(job=JOB, says={"default output": "N × N"}),
    Timing(job=JOB, first_call=0.1, seconds=[1e-9, 0.1 + 0.2], calls=3, turns=[0, 1], traffic=8),
    Bandwidth(kernel="read two", bytes=8, seconds=[1e-6], calls=2, threads=1),
    Bandwidth(kernel="read two", bytes=8, seconds=[1e-6], calls=1, threads=1, device="cuda"),
    MachineState(when="before", load=0.5, seconds={"idle": 1.5}, own=0.1, governor="performance", throttled=0),
    Refusal(job=JOB, reason="failed", detail='ValueError: "\n'),
    Died(target=TARGET, job=None, detail="killed by SIGKILL"),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_survives_the_codec_in_one_line(record):
    line = records.encode(record)

    assert records.decode(line) == record
    assert b"\n" not in line


def test_every_kind_of_record_is_among_those_tested():
    assert {type(record) for record in RECORDS} == set(records.Record.__args__)


def test_an_unknown_field_is_no_record():
    with pytest.raises(msgspec.DecodeError):
        records.decode(b'{"type":"died","target":{"framework":"torch"},"job":null,"detail":"","more":1}')


def test_equal_jobs_have_equal_keys_in_whatever_order_parameters_were_given():
    one = msgspec.structs.replace(CASE, parameters={"a": "1", "b": "2"})
    other = msgspec.structs.replace(CASE, parameters={"b": "2", "a": "1"})

    assert msgspec.structs.replace(JOB, case=one).key == msgspec.structs.replace(JOB, case=other).key
    assert hash(one) == hash(other)
    assert one == other


@pytest.mark.parametrize(
    "changed",
    [
        {"target": Target(framework="torch", twin=True)},
        {"target": Target(framework="torch", interpreter="/usr/bin/python")},
        {"measure": "forward"},
        {"case": msgspec.structs.replace(CASE, digest="e")},
        {"case": msgspec.structs.replace(CASE, parameters={})},
        {"case": msgspec.structs.replace(CASE, weighted=True)},
    ],
)
def test_different_jobs_have_different_keys(changed):
    assert msgspec.structs.replace(JOB, **changed).key != JOB.key


def test_the_key_does_not_change_from_process_to_process():
    """Resuming a run needs this; a store written yesterday has these keys."""
    assert records.decode(records.encode(RECORDS[1])).job.key == JOB.key
    assert JOB.key == "28ab55a363a1ecb3bdd1fc1e"


def test_names_say_who_is_measured():
    assert TARGET.name == "torch:eager:cpu"
    assert Target(framework="jax", mode="compiled", interpreter="/p", twin=True).name == "jax:compiled:cpu@/p (twin)"
