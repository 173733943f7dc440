"""Intervals that cover what they should, and laws that are found again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weightstring.errors import InvalidSetting
from weightstring.study.sweep.statistics import mean_of, power_law, share_of


def test_a_mean_lies_inside_its_interval_and_repeats_itself():
    values = np.random.default_rng(0).normal(3.0, 1.0, 50).tolist()
    found = mean_of(values)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(np.mean(values))
    assert found == mean_of(values)


def test_intervals_of_means_cover_the_truth_about_as_often_as_they_say():
    draw = np.random.default_rng(1)
    covered = [own.low <= 2.0 <= own.high for own in (mean_of(draw.normal(2, 1, 40).tolist()) for _ in range(200))]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_what_is_drawn_does_not_depend_on_how_much_is_in_memory_at_once(monkeypatch):
    values = np.random.default_rng(3).normal(size=37).tolist()
    whole = mean_of(values)
    monkeypatch.setattr("weightstring.study.sweep.statistics.AT_ONCE", 111)
    assert mean_of(values) == whole


def test_more_pairs_give_narrower_intervals():
    draw = np.random.default_rng(2)
    few, many = (mean_of(draw.normal(0, 1, count).tolist()) for count in (10, 1000))
    assert many.high - many.low < (few.high - few.low) / 4


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_intervals_are_those_of_the_literature(count, total, low, high):
    found = share_of(count, total)
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (count / total, low, high)


def test_a_share_of_nothing_is_not_a_number():
    assert all(math.isnan(value) for value in share_of(0, 0))


@pytest.mark.parametrize(("count", "total"), [(3, 2), (-1, 2)])
def test_impossible_shares_are_refused(count, total, refused):
    with refused(InvalidSetting, "count at most all"):
        share_of(count, total)


def test_a_power_law_is_found_again():
    draw = np.random.default_rng(3)
    x = np.repeat([0.1, 0.03, 0.01, 0.003], 10)
    y = 2.5 * x**-0.7 * np.exp(draw.normal(0, 0.05, len(x)))
    law = power_law(x.tolist(), y.tolist())
    assert law.exponent.low < -0.7 < law.exponent.high
    assert law.exponent.value == pytest.approx(-0.7, abs=0.02)
    assert law.factor == pytest.approx(2.5, rel=0.1)
    assert law.points == 40


def test_one_threshold_makes_no_law():
    assert power_law([0.1, 0.1], [3.0, 4.0]) is None
    assert power_law([], []) is None
