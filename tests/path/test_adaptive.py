"""Segments sampled adaptively: few samples where a curve is smooth, more where its bends say that they could matter."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.path.test_maximum import Curves, bumps, one, waves
from weightstring.path import accept
from weightstring.path.adaptive import accept_adaptively, between, locate_adaptively


def test_a_smooth_curve_under_the_threshold_takes_nine_samples() -> None:
    curves = one(lambda t: 0.4 + (t - 0.45).square())
    (samples,) = curves.samples()
    assert accept_adaptively(curves, [samples], samples_end(curves)) == [True]
    assert curves.asked == len(samples.heights) == 9


def test_a_line_whose_higher_end_is_the_threshold_is_accepted() -> None:
    curves = one(lambda t: 1 + t)
    (samples,) = curves.samples()
    assert accept_adaptively(curves, [samples], 2.0) == [True]
    assert curves.asked == 9


def test_it_stops_at_the_first_sample_over_the_threshold() -> None:
    curves = one(lambda t: 1 - (t - 0.5).square())
    (samples,) = curves.samples()
    assert accept_adaptively(curves, [samples], 0.9) == [False]
    assert curves.asked == 5


def test_a_kink_between_samples_is_looked_at_where_second_differences_say_that_it_could_matter() -> None:
    kink = 7 / 16  # no sample of the first nine
    curves = one(lambda t: 1 - 4 * (t - kink).abs())
    (samples,) = curves.samples()
    assert accept_adaptively(curves, [samples], 0.95) == [False]
    assert samples.top == (kink, 1.0)


def test_a_peak_that_just_stays_under_the_threshold_is_sampled_more_densely_beside_it() -> None:
    curves = one(lambda t: 1 - 4 * (t - 0.47).square())
    (samples,) = curves.samples()
    assert accept_adaptively(curves, [samples], 1.0001) == [True]
    near = [t for t in samples.heights if abs(t - 0.47) < 0.06]
    assert len(near) >= 4
    assert abs(samples.top.value - 1) < 1e-3


def test_a_step_function_is_sampled_like_the_grid() -> None:
    curves = one(lambda t: (3 * (7 * math.pi * t).sin()).round() / 10)
    adaptive, dense = curves.samples()[0], curves.samples()[0]
    assert accept_adaptively(curves, [adaptive], 0.31) == [True]
    assert accept(curves, [dense], 0.31) == [True]
    assert len(adaptive.heights) >= 0.8 * len(dense.heights) > 50


def test_where_a_loss_is_not_finite_it_is_over_every_threshold() -> None:
    curves = one(lambda t: torch.where((t > 0.1) & (t < 0.2), math.inf, 1.0))
    (samples,) = curves.samples()
    assert accept_adaptively(curves, [samples], 2.0) == [False]
    assert locate_adaptively(curves, [samples])[0].value == math.inf


def test_of_random_curves_over_the_threshold_by_a_tenth_of_their_range_none_is_accepted() -> None:
    for curves in (waves(40, 4, 1.0, 0), waves(40, 8, 1.0, 2), bumps(40, 0.1, 3)):
        top, _ = curves.scale(1001)
        lowest = lows(curves)
        levels = top - 0.1 * (top - lowest)
        assert not any(accept_adaptively(curves, curves.samples(), levels.tolist()))


def test_maxima_are_located_to_the_share_of_the_range_that_is_promised() -> None:
    curves = waves(60, 4, 1.0, 0)
    top, lowest = curves.scale(1001)[0], lows(curves)
    found = torch.tensor([top.value for top in locate_adaptively(curves, curves.samples())], dtype=torch.float64)
    assert ((top - found) <= 0.021 * (top - lowest)).all()
    assert curves.asked < 60 * 20


def test_how_densely_a_segment_is_sampled_depends_on_it_alone() -> None:
    curves = waves(20, 6, 1.0, 4)
    levels = (curves.scale(1001)[0] + 0.01).tolist()
    together, alone = curves.samples(), curves.samples()
    accepted = accept_adaptively(curves, together, levels)
    assert accepted == [accept_adaptively(curves, [s], level)[0] for s, level in zip(alone, levels, strict=True)]
    assert [s.heights.keys() for s in together] == [s.heights.keys() for s in alone]


def test_how_high_a_curve_may_be_between_samples_covers_what_it_is() -> None:
    curves = one(lambda t: (3 * t).sin())
    (samples,) = curves.samples()
    accept_adaptively(curves, [samples], 2.0)
    found = between(samples.heights)
    assert found.samples == 9
    assert 1 <= found.highest < 1.05
    assert abs(found.second_difference - 9) < 0.3


def lows(curves: Curves) -> Tensor:
    ts = torch.linspace(0, 1, 1001, dtype=torch.float64)
    return torch.stack([curves.at(torch.full((1001,), i), ts).amin() for i in range(curves.count)])


def samples_end(curves: Curves) -> float:
    return float(max(curves.at(torch.tensor([0, 0]), torch.tensor([0.0, 1.0], dtype=torch.float64))))
