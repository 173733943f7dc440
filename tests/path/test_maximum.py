"""Accepting a segment and locating its maximum, against dense grids of random curves that are nowhere near 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from weightstring.path import MAX_PEAKS, Maximum, Samples, Segment, accept, locate
from weightstring.path.maximum import ACCEPT_GRID, GRID, REFINEMENTS

MOST = GRID + 1 + REFINEMENTS * MAX_PEAKS * 2
START, STEP = 3.7, 2.5


@dataclass
class Curves:
    """Curves γ_i(t), each the height over a segment of its own: θ = (START + STEP·t, i)."""

    count: int
    formula: Callable[[Tensor, Tensor], Tensor]
    """(n,) numbers of curves and (n,) positions to (n,) heights."""
    lift: Tensor | float = 0.0
    asked: int = 0
    calls: int = 0

    def __call__(self, thetas: Tensor) -> Tensor:
        self.asked += len(thetas)
        self.calls += 1
        return self.at(thetas[:, 1].round().long(), (thetas[:, 0] - START) / STEP)

    def at(self, numbers: Tensor, ts: Tensor) -> Tensor:
        return self.formula(numbers, ts) - (self.lift[numbers] if isinstance(self.lift, Tensor) else self.lift)

    def samples(self) -> list[Samples]:
        ends = torch.tensor([[START, 0.0], [START + STEP, 0.0]], dtype=torch.float64)
        numbered = [ends + torch.tensor([0.0, float(i)], dtype=torch.float64) for i in range(self.count)]
        return [Samples(Segment(a, b)) for a, b in numbered]

    def scale(self, points: int) -> tuple[Tensor, Tensor]:
        """The maximum of each curve on a grid, and what an error is relative to: the larger of it and the range."""
        ts = torch.linspace(0, 1, points, dtype=torch.float64)
        dense = torch.stack([self.at(torch.full((points,), i), ts) for i in range(self.count)])
        top = dense.amax(1)
        return top, torch.maximum(top.abs(), top - dense.amin(1))


def one(formula: Callable[[Tensor], Tensor]) -> Curves:
    return Curves(1, lambda _, ts: formula(ts))


def waves(count: int, highest: int, falling: float, seed: int) -> Curves:
    """Random Fourier sums of up to ``highest`` half waves."""
    generator = torch.Generator().manual_seed(seed)
    k = torch.arange(1, highest + 1)
    amplitudes = torch.randn(count, highest, generator=generator, dtype=torch.float64) / k**falling
    phases = 2 * math.pi * torch.rand(count, highest, generator=generator, dtype=torch.float64)
    lift = 5 * torch.randn(count, generator=generator, dtype=torch.float64)
    return Curves(count, lambda i, t: (amplitudes[i] * (math.pi * k * t[:, None] + phases[i]).sin()).sum(1), lift)


def bumps(count: int, width: float, seed: int) -> Curves:
    """Four bumps each, of standard deviation ``width`` to three times that, on a slope."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(3, count, 4, generator=generator, dtype=torch.float64)
    centres, heights, widths = 1.2 * random[0] - 0.1, random[1], width * (1 + 2 * random[2])
    slopes = 0.3 * torch.randn(count, generator=generator, dtype=torch.float64)

    def formula(i: Tensor, t: Tensor) -> Tensor:
        exponents = -((t[:, None] - centres[i]) / widths[i]).square() / 2
        return (heights[i] * exponents.exp()).sum(1) + slopes[i] * t

    return Curves(count, formula, -1.5)


SMOOTH = [waves(150, 4, 1.0, 0), waves(150, 6, 0.0, 1), waves(150, 8, 1.0, 2), bumps(150, 0.1, 3), bumps(150, 0.05, 4)]


@pytest.mark.parametrize("curves", SMOOTH, ids=["4 waves", "6 waves", "8 waves", "wide bumps", "narrow bumps"])
@pytest.mark.usefixtures("unchecked")
def test_the_located_maximum_is_that_of_a_dense_grid(curves):
    curves.asked = 0
    samples = curves.samples()
    found = locate(curves, samples)
    top, scale = curves.scale(2001)
    errors = (top - torch.tensor([maximum.value for maximum in found], dtype=torch.float64)) / scale
    assert errors.max() < 1e-3
    assert errors.mean() < 1e-5
    ts = torch.tensor([maximum.t for maximum in found], dtype=torch.float64)
    again = curves.at(torch.arange(curves.count), ts)
    torch.testing.assert_close(again, torch.tensor([m.value for m in found], dtype=torch.float64), rtol=0, atol=1e-9)
    assert max(len(s.heights) for s in samples) <= MOST
    assert curves.asked == sum(len(s.heights) for s in samples) <= 27 * curves.count


@pytest.mark.parametrize("curves", SMOOTH, ids=["4 waves", "6 waves", "8 waves", "wide bumps", "narrow bumps"])
@pytest.mark.usefixtures("unchecked")
def test_nothing_is_accepted_that_a_grid_of_401_points_refutes(curves):
    top, scale = curves.scale(401)
    for excess in (1e-5, 1e-3):
        over = Curves(curves.count, curves.formula, curves.lift + top - excess * scale)
        assert not any(accept(over, over.samples(), 0.0))
        over.asked = 0
    under = Curves(curves.count, curves.formula, curves.lift + curves.scale(2001)[0] + 1e-3 * scale)
    assert all(accept(under, under.samples(), 0.0))
    assert under.asked <= 42 * curves.count


def test_side_by_side_equals_one_at_a_time():
    curves = waves(12, 6, 0.5, seed=9)
    together = locate(curves, curves.samples())
    alone = [locate(curves, [s])[0] for s in curves.samples()]
    assert together == alone


def test_a_segment_is_left_at_the_first_sample_over_the_threshold():
    curves = one(lambda t: 2.0 + (math.pi * t).sin())
    (samples,) = curves.samples()
    assert accept(curves, [samples], 2.5) == [False]
    assert sorted(samples.heights) == [0.0, 0.5, 1.0]  # the first grid holds the middle, and nothing is asked after it


def test_ends_that_are_known_are_never_measured():
    for ask in (lambda c, s: accept(c, s, 9.0), lambda c, s: accept(c, s, 2.1), locate):
        asked = []
        (samples,) = one(lambda t: t).samples()
        samples.heights.update({0.0: 2.0, 1.0: 2.0})

        def height(thetas, asked=asked):
            asked.extend(thetas[:, 0].tolist())
            return 2 + (math.pi * (thetas[:, 0] - START) / STEP).sin().clamp(min=0)

        ask(height, [samples])
        assert asked
        assert not {START, START + STEP} & set(asked)
        assert len(asked) == len(set(asked)) == len(samples.heights) - 2


def test_an_end_over_the_threshold_needs_no_measurement():
    curves = one(lambda t: 0 * t)
    (samples,) = curves.samples()
    samples.heights.update({0.0: 3.0, 1.0: 1.0})
    assert accept(curves, [samples], 2.0) == [False]
    assert curves.asked == 0


def test_locating_after_accepting_reuses_its_samples():
    curves = waves(40, 6, 0.5, seed=4)
    samples = curves.samples()
    accept(curves, samples, 0.0)
    before = sum(len(s.heights) for s in samples)
    locate(curves, samples)
    assert curves.asked == sum(len(s.heights) for s in samples) > before


@pytest.mark.parametrize(
    ("formula", "t_star", "value"),
    [
        (lambda t: 5 + t, 1.0, 6.0),
        (lambda t: 5 - t, 0.0, 5.0),
        (lambda t: -5 + 0 * t, 0.5, -5.0),
        (lambda t: 5 + (t - 0.4).square(), 1.0, 5.36),
        (lambda t: 5 - (t - 0.637).square(), 0.637, 5.0),
        (lambda t: -5 - 1e3 * (t - 0.637).square(), 0.637, -5.0),
        (lambda t: 5 - 4 * (t - 0.01).square(), 0.01, 5.0),
        (lambda t: 5 + (-((t - 0.98) / 0.03).square()).exp(), 0.98, 6.0),
        (lambda t: 5 + 3 * (-((t - 0.21) / 0.04).square()).exp() + 3.01 * (-((t - 0.83) / 0.04).square()).exp(), 0.83,
         8.01),
        (lambda t: 1e-9 * (math.pi * t).sin(), 0.5, 1e-9),
        (lambda t: 1e12 + 1e9 * (math.pi * t).sin(), 0.5, 1.001e12),
    ],
    ids=["rising", "falling", "flat", "valley", "parabola", "steep parabola", "near 0", "near 1", "two peaks", "small",
         "large"],
)  # fmt: skip
def test_known_maxima(formula, t_star, value):
    curves = one(formula)
    (found,) = locate(curves, curves.samples())
    assert found.value == pytest.approx(value, rel=1e-5)
    assert found.t == pytest.approx(t_star, abs=2e-3)


def test_all_of_several_equal_peaks_are_reported_highest_first():
    curves = one(lambda t: 5 + (3 * math.pi * t).sin().square() * (1 + 0.1 * t))
    (samples,) = curves.samples()
    locate(curves, [samples])
    peaks = samples.peaks()[:MAX_PEAKS]
    assert [peak.t for peak in peaks] == pytest.approx([5 / 6, 1 / 2, 1 / 6], abs=0.01)
    assert [peak.value for peak in peaks] == sorted((peak.value for peak in peaks), reverse=True)


def test_noise_costs_no_more_than_the_bound_and_its_highest_sample_wins():
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(100_001, generator=generator, dtype=torch.float64)
    curves = one(lambda t: 5 + noise[(t * 100_000).round().long()])
    (samples,) = curves.samples()
    (found,) = locate(curves, [samples])
    assert len(samples.heights) <= MOST
    assert found == samples.top == Maximum(*max(samples.heights.items(), key=lambda sample: sample[1]))


@pytest.mark.parametrize("hole", [0.0, 0.3, 0.5, 1.0])
def test_a_height_that_is_not_finite_is_the_maximum_and_accepted_under_no_threshold(hole):
    curves = one(lambda t: torch.where((t - hole).abs() < 0.1, math.inf, 5 + t))
    (found,) = locate(curves, curves.samples())
    assert found.value == math.inf
    assert abs(found.t - hole) < 0.1
    assert accept(curves, curves.samples(), math.inf) == [False]


def test_a_plateau_is_one_peak_at_its_middle():
    curves = one(lambda t: 5 - (t - 0.6).abs().clamp(min=0.2))
    (samples,) = curves.samples()
    (found,) = locate(curves, [samples])
    assert found.value == pytest.approx(4.8, rel=1e-12)
    assert len([peak for peak in samples.peaks() if peak.value == found.value]) == 1
    assert abs(samples.peaks()[0].t - 0.6) < 1 / GRID


def test_exactly_the_threshold_is_accepted_and_the_next_number_is_not():
    flat = one(lambda t: 5 + 0 * t)
    assert accept(flat, flat.samples(), 5.0) == [True]
    assert accept(flat, flat.samples(), math.nextafter(5.0, 0)) == [False]


def test_a_peak_between_the_points_of_the_grid_is_looked_for():
    curves = one(lambda t: 5 + (-((t - 15.5 / ACCEPT_GRID) / 0.1).square()).exp())
    assert accept(curves, curves.samples(), 5 + math.exp(-((0.5 / ACCEPT_GRID / 0.1) ** 2))) == [False]
    assert accept(curves, curves.samples(), 6.0) == [True]


def test_a_hook_is_called_after_every_batch_and_may_raise():
    class Enough(Exception):
        pass

    calls = []

    def hook():
        calls.append(curves.calls)
        if len(calls) == 3:
            raise Enough

    curves = waves(30, 4, 1.0, seed=6)
    with pytest.raises(Enough):
        locate(curves, curves.samples(), hook)
    assert calls == [1, 2, 3]


def test_a_step_function_is_looked_at_more_closely_where_it_is_high() -> None:
    """Ten units of 0.1, with a step to the top between two points of the first grid."""

    def height(thetas: Tensor) -> Tensor:
        t = thetas[:, 0].double()
        return torch.where((t - 0.642).abs() < 0.006, 0.6, torch.floor(10 * (0.55 - (t - 0.64).abs())) / 10)

    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    samples = Samples(Segment(*ends), {})
    assert max(float(height(torch.tensor([[k / 32]], dtype=torch.float64))) for k in range(33)) == 0.5
    assert accept(height, [samples], 0.5) == [False]
    constant = Samples(Segment(*ends), {})
    assert accept(lambda thetas: torch.full((len(thetas),), 0.5, dtype=torch.float64), [constant], 0.5) == [True]
    assert len(constant.heights) == 33  # no step, no more than the grid
