"""What outcomes say of themselves."""

from __future__ import annotations

from typing import get_args

import pytest

from weightstring.path import Connected, Evidence, Reason, Unresolved
from weightstring.path.outcome import ADVICE

EVIDENCE = Evidence((1, 2), (0.1, 0.2), (0.9, None), (1, 0), 3, 0.4)


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_a_cause_and_a_remedy_and_says_so_in_one_line(reason):
    text = str(Unresolved(reason, EVIDENCE))
    cause, remedy = ADVICE[reason].cause, ADVICE[reason].words(aligned=False)
    assert "align" not in ADVICE[reason].words(aligned=True)
    assert text == f"unresolved ({reason}): {cause}"
    for sentence in (cause, remedy):
        assert "\n" not in sentence
        assert sentence.endswith(".")
        assert "connected" not in sentence  # which would say more than a search can know


def test_no_advice_is_left_without_a_reason():
    assert set(ADVICE) == set(get_args(Reason))


def test_connected_says_that_it_is_about_samples():
    assert str(Connected()) == "connected: every sample on the string is at most the threshold"


def test_outcomes_are_values():
    assert Connected() == Connected()
    assert Unresolved("depth", EVIDENCE) == Unresolved("depth", EVIDENCE) != Unresolved("time", EVIDENCE)
