"""Segments: exact at their ends, the formula in between, and measured in batches that change nothing."""

from __future__ import annotations

import math

import pytest
import torch

from weightstring.path import Segment, measure_points, no_worse
from weightstring.path import segment as segment_module
from weightstring.path.segment import grid


def random_theta(size: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (7 + 1e3 * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_segment_begins_and_ends_exactly_at_its_models(dtype):
    a, b = (random_theta(1001, seed, dtype) for seed in (0, 1))
    ends = Segment(a, b).at(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends.dtype == dtype
    assert torch.equal(ends[0], a)
    assert torch.equal(ends[1], b)


def test_between_equal_models_there_is_nothing_else():
    a = random_theta(501, 2, torch.float32)
    ts = torch.rand(37, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(Segment(a, a.clone()).at(ts), a.expand(37, -1))


def test_positions_interpolate_linearly():
    a, b = random_theta(13, 3), random_theta(13, 4)
    ts = torch.tensor(grid(7), dtype=torch.float64)
    expected = torch.stack([(1 - t) * a + t * b for t in ts])
    torch.testing.assert_close(Segment(a, b).at(ts), expected, rtol=1e-13, atol=1e-10)


def test_length_is_euclidean_over_all_parameters_and_keeps_its_digits_in_float32():
    a, b = torch.full((10_000,), 1000.0), torch.full((10_000,), 1000.25)
    assert Segment(a, b).length == pytest.approx(0.25 * 100, rel=1e-12)
    assert Segment(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 6.0])).length == 5.0


def test_a_grid_holds_both_ends_and_halves_into_itself():
    assert grid(5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert set(grid(16)) < set(grid(32))


def sum_of_squares(thetas):
    return thetas.double().square().sum(1)


def test_points_of_several_segments_are_measured_in_order_whatever_the_batches(monkeypatch):
    segments = [Segment(random_theta(6, i), random_theta(6, i + 50)) for i in range(5)]
    points = [(segments[i % 5], i / 170) for i in range(171)]
    expected = [sum_of_squares(s.at(torch.tensor([t], dtype=torch.float64))).item() for s, t in points]
    chunks = []
    assert measure_points(sum_of_squares, points, lambda: chunks.append(1)) == expected
    assert len(chunks) == 1
    chunks.clear()
    monkeypatch.setattr(segment_module, "MAX_ROWS", 64)
    assert measure_points(sum_of_squares, points, lambda: chunks.append(1)) == expected
    assert len(chunks) == 3  # 64 + 64 + 43
    chunks.clear()
    monkeypatch.setattr(segment_module, "ROW_BYTES", 6 * 8 * 10)
    assert measure_points(sum_of_squares, points, lambda: chunks.append(1)) == expected
    assert len(chunks) == 18
    monkeypatch.setattr(segment_module, "ROW_BYTES", 1)
    assert measure_points(sum_of_squares, points[:3]) == expected[:3]


def test_nothing_is_measured_where_nothing_is_asked():
    def never(thetas):
        raise AssertionError

    assert measure_points(never, []) == []


@pytest.mark.parametrize(
    ("value", "threshold", "good"),
    [
        (0.5, 0.5, True),
        (math.nextafter(0.5, 1), 0.5, False),
        (-1.0, -0.5, True),
        (math.inf, math.inf, False),
        (math.nan, 1.0, False),
        (-math.inf, 1.0, False),
        (1.0, math.nan, False),
    ],
)
def test_under_the_threshold_means_at_most_and_finite(value, threshold, good):
    assert no_worse(value, threshold) is good
