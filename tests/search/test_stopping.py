"""Stopping rules, one by one and together."""

from __future__ import annotations

import msgspec
import pytest

from weightstring.errors import InvalidSetting
from weightstring.search import Budget, MaxBeads, MaxSteps, Progress
from weightstring.search.stopping import stop_from_plain


@pytest.mark.parametrize(
    ("rule", "progress", "reason"),
    [
        (MaxBeads(5), Progress(beads=3, pending=2, adding=2), None),
        (MaxBeads(5), Progress(beads=3, pending=3, adding=3), "beads"),
        (MaxBeads(5), Progress(beads=9, pending=0, adding=0), None),  # measuring adds no bead
        (MaxBeads(2), Progress(beads=2, pending=1, adding=1), "beads"),
        (MaxSteps(100), Progress(pending=1, steps=99), None),
        (MaxSteps(100), Progress(pending=1, steps=100), "steps"),
        (MaxSteps(100), Progress(pending=0, steps=900), None),  # measuring takes no step
        (Budget(2.5), Progress(seconds=2.4), None),
        (Budget(2.5), Progress(seconds=2.5), "time"),
        (Budget(2.5), Progress(pending=3, seconds=1e9), "time"),
    ],
)
def test_a_rule_stops_at_its_limit(rule, progress, reason):
    assert rule.reason(progress) == reason


def test_the_first_of_several_rules_that_applies_gives_the_reason():
    rules = MaxBeads(5) | MaxSteps(10) | Budget(1.0)
    assert rules.reason(Progress()) is None
    assert rules.reason(Progress(beads=9, pending=1, adding=1, steps=99, seconds=9.0)) == "beads"
    assert rules.reason(Progress(beads=2, pending=1, adding=1, steps=99, seconds=9.0)) == "steps"
    assert rules.reason(Progress(beads=9, pending=0, adding=0, steps=99, seconds=9.0)) == "time"
    assert (Budget(1.0) | (MaxSteps(10) | MaxBeads(5))).reason(Progress(9, 1, 99, 9.0)) == "time"


def test_rules_survive_a_manifest():
    rules = MaxBeads(5) | MaxSteps(10) | Budget(1.5)
    plain = msgspec.json.decode(msgspec.json.encode(rules.plain()))
    assert plain == [
        {"rule": "MaxBeads", "count": 5},
        {"rule": "MaxSteps", "count": 10},
        {"rule": "Budget", "seconds": 1.5},
    ]
    again = stop_from_plain(plain)
    assert again.plain() == rules.plain()
    assert again.reason(Progress(seconds=1.5)) == "time"
    assert stop_from_plain([]).reason(Progress(9, 9, 10**9, 1e9)) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxBeads(1), r"^MaxBeads\(1\): a string has at least its two ends$"),
        (lambda: MaxSteps(0), r"^MaxSteps\(0\): must be at least 1$"),
        (lambda: Budget(0.0), r"^Budget\(seconds=0.0\): must be positive and finite$"),
        (lambda: Budget(float("nan")), r"^Budget\(seconds=nan\): must be positive and finite$"),
        (lambda: Budget(float("inf")), r"^Budget\(seconds=inf\): must be positive and finite$"),
        (lambda: stop_from_plain([{"rule": "Luck"}]), r"^unknown stopping rule \[{'rule': 'Luck'}\]: 'Luck'$"),
        (lambda: stop_from_plain([{"count": 3}]), r"^unknown stopping rule \[{'count': 3}\]: 'rule'$"),
        (lambda: stop_from_plain([{"rule": "Budget", "count": 3}]), r"^unknown stopping rule .* unexpected keyword"),
        (lambda: stop_from_plain([{"rule": "MaxBeads", "count": 0}]), r"^MaxBeads\(0\): a string has"),
    ],
)
def test_limits_that_are_none_are_refused(refused, make, message):
    with refused(InvalidSetting, message):
        make()
