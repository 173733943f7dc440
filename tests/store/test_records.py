"""The schema of a run's JSON files: strict about what it reads, exact about what it writes."""

from __future__ import annotations

import json
import math
from typing import get_args

import msgspec
import pytest

from weightstring.codec import Record, finite_or_none, none_as_infinity
from weightstring.path import Disconnected, Evidence, Outcome, Proof, Reason, Unresolved
from weightstring.store.flaws import flaw
from weightstring.store.journal import Line
from weightstring.store.records import (
    CurveRecord,
    Manifest,
    Parameter,
    ResultRecord,
    RoundRecord,
    SegmentRecord,
    StringRecord,
    TaskRef,
)

EVIDENCE = Evidence((1, 2), (0.1, 1 / 3), (0.9, None), (1, 0), 3, None)
CURVE = CurveRecord(s=(0.0, 1 / 3, 1.0), segment=(0, 0, 0), t=(0.0, 1 / 3, 1.0), values={"loss": (0.1, None, 0.3)})
STRING = StringRecord(
    beads=2,
    beads_before_pruning=5,
    length=1.5,
    distance=0.0,
    normalized_length=None,
    max_loss=None,
    barriers={"max": None, "over_ends": 0.1, "over_mean": 0.2, "over_linear": 0.3},
    segments=(SegmentRecord(length=1.5, max=None, t=1 / 3),),
    curve=CURVE,
)
ROUND = RoundRecord(depth=2, descents=1, measured=2, open=1, beads=4, steps=35, max=None, seconds=0.1)
RECORDS = [
    Manifest(
        format=1,
        versions={"torch": "2.6"},
        task=TaskRef(name="digits", options={"width": "8"}),
        problem="p",
        ends=("x", "y"),
        end_losses=(0.1, 1 / 3),
        threshold=0.5,
        bind="evaluate",
        seed=-3,
        strategy={"name": "greedy", "alpha": 0.95, "recipe": {"options": {"lr": 1e-3, "amsgrad": True}}},
        engine="vmap",
        threads=2,
        stop=({"rule": "MaxBeads", "count": 64},),
        size=7,
        dtype="float64",
        parameters=(Parameter(name="0.weight", shape=(2, 3), offset=0, aliases=("1.weight",)),),
    ),
    ResultRecord(
        outcome=Unresolved("depth", EVIDENCE),
        threshold=0.5,
        bind="both",
        names=("loss", "train_loss"),
        evidence="sampled",
        evaluation="evaluate",
        ends=({"loss": 0.1}, {"loss": None}),
        string=STRING,
        rounds=(ROUND,),
        steps=35,
        evaluations=28,
        seconds=0.1,
    ),
    Line(round=3, jobs=("a-b", "a-0/1"), results=(), beads="digest", seconds=0.25),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_come_back_exactly(record):
    text = msgspec.json.encode(record)
    assert b"NaN" not in text
    assert b"Infinity" not in text
    assert msgspec.json.decode(text, type=type(record)) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_missing_an_unknown_or_a_wrong_field_is_an_error(record):
    fields = json.loads(msgspec.json.encode(record))

    def read(changed: dict[str, object]) -> Record:
        return msgspec.json.decode(json.dumps(changed), type=type(record))

    assert read(fields) == record
    with pytest.raises(msgspec.ValidationError, match="unknown field `extra`"):
        read({**fields, "extra": 1})
    name = next(iter(fields))
    with pytest.raises(msgspec.ValidationError, match=f"missing required field `{name}`"):
        read({key: value for key, value in fields.items() if key != name})
    with pytest.raises(msgspec.ValidationError, match=rf"at `\$\.{name}`"):
        read({**fields, name: object.__name__})


@pytest.mark.parametrize("seconds", [-1e-9, 1e300])
def test_time_runs_forwards_and_its_sum_is_finite(seconds):
    for record in (RECORDS[2], ROUND):
        fields = json.loads(msgspec.json.encode(record))
        with pytest.raises(msgspec.ValidationError, match=r"Expected `float` [<>]= .* - at `\$.seconds`"):
            msgspec.json.decode(json.dumps({**fields, "seconds": seconds}), type=type(record))


FLAWED = {
    "its curve does not hold": {"names": ("loss", "accuracy")},
    "does not hold the loss and what": {"names": ()},
    "its ends or barriers": {"ends": ({"loss": 0.1}, {"train_loss": 0.3})},
    "barriers are not those": {"string": msgspec.structs.replace(STRING, barriers={"max": None})},
    "one over 1 segments": {"string": msgspec.structs.replace(STRING, segments=())},
    "one over 0 segments": {"string": msgspec.structs.replace(STRING, beads=1)},
    f"one over {10**15} segments": {"string": msgspec.structs.replace(STRING, beads=10**15 + 1)},
}


@pytest.mark.parametrize("says", FLAWED)
def test_what_no_search_writes_is_found(says):
    sound = msgspec.structs.replace(RECORDS[1], names=("loss",))
    assert flaw(sound) is None
    assert says in flaw(msgspec.structs.replace(sound, **FLAWED[says]))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"t": (0.0, 1.0)}, "the columns of its curve differ in length"),
        ({"values": {"loss": (0.1, 0.3)}}, "the columns of its curve differ in length"),
        ({"values": {"loss": (0.1, None, 0.3), "[/b]": (0.1, None, 0.3)}}, "by names that none can have"),
        ({"values": {"train_loss": (0.1, None, 0.3)}}, "its curve does not hold the loss"),
        ({"segment": (0, 1, 1)}, "its curve is not one over 1 segments"),
        ({"segment": (0, 10**18, 0)}, "its curve is not one over 1 segments"),
        ({"segment": (1, 1, 1)}, "its curve is not one over 1 segments"),
    ],
)
def test_curves_that_no_search_writes_are_found(columns, says):
    curve = msgspec.structs.replace(CURVE, **columns)
    string = msgspec.structs.replace(STRING, curve=curve)
    assert says in flaw(msgspec.structs.replace(RECORDS[1], names=("loss",), string=string))


@pytest.mark.parametrize("field", ["threads", "size"])
def test_a_manifest_counts_from_one(field):
    fields = json.loads(msgspec.json.encode(RECORDS[0]))
    with pytest.raises(msgspec.ValidationError, match=rf"Expected `int` >= 1 - at `\$\.{field}`"):
        msgspec.json.decode(json.dumps({**fields, field: 0}), type=Manifest)


def test_every_reason_can_be_recorded_and_no_other():
    for reason in get_args(Reason):
        outcome = Unresolved(reason, EVIDENCE)
        assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'luck'"):
        msgspec.json.decode(b'{"kind":"unresolved","reason":"luck"}', type=Outcome)
    with pytest.raises(msgspec.ValidationError, match="Invalid value 'lost'"):
        msgspec.json.decode(b'{"kind":"lost"}', type=Outcome)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"kind":"disconnected"}', "missing required field `proof`"),
        ('{"kind":"unresolved","reason":"depth"}', "missing required field `evidence`"),
        ('{"kind":"connected","proof":{"bound":0.25,"argument":""}}', "unknown field `proof`"),
        ('{"kind":"connected","reason":"depth"}', "unknown field `reason`"),
    ],
)
def test_a_verdict_has_its_own_fields_and_no_others(content, says):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.json.decode(content, type=Outcome)


def test_a_disconnection_keeps_its_proof():
    outcome = Disconnected(Proof(0.25, "a determinant changes its sign"))
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


def test_records_are_immutable():
    with pytest.raises(AttributeError, match="immutable"):
        ROUND.depth = 3


@pytest.mark.parametrize(
    ("value", "stored", "read"),
    [(0.1, 0.1, 0.1), (-5.0, -5.0, -5.0), (math.inf, None, math.inf), (math.nan, None, math.inf)],
)
def test_what_json_cannot_hold_is_null_and_read_as_infinitely_high(value, stored, read):
    assert finite_or_none(value) == stored
    assert none_as_infinity(finite_or_none(value)) == read
