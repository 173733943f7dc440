"""The benchmarks' rivals beside plain implementations of their papers, by autograd and torch.optim.SGD."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from pathlib import Path

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
STEPS, LR = 7, 0.05


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def height(theta: Tensor) -> Tensor:
    """A loss without symmetry."""
    weights = torch.arange(1.0, len(theta) + 1)
    return (weights * theta.sin() + (theta - 0.3).square()).sum()


@dataclass
class Smooth:
    """What the rivals ask of a setting; a look is always content."""

    gradients: int = 0

    def gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        self.gradients += 1
        theta = theta.detach().requires_grad_()
        value = height(theta)
        return value.item(), torch.autograd.grad(value, theta)[0]

    def under(self, at, threshold):
        return True


def ends() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, generator=generator), torch.randn(4, generator=generator)


def on_bezier(points: list[Tensor], t: float) -> Tensor:
    """De Casteljau's construction."""
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in pairwise(points)]
    return points[0]


def on_chain(points: list[Tensor], t: float) -> Tensor:
    place = t * (len(points) - 1)
    k = min(int(place), len(points) - 2)
    return points[k] + (place - k) * (points[k + 1] - points[k])


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize(("kind", "on"), [("bezier", on_bezier), ("chain", on_chain)])
def test_curves_follow_sgd_with_momentum_at_uniform_points(kind, on, count):
    curves = importlib.import_module("benchmarks.curves")
    a, b = ends()
    torch.manual_seed(3)
    found = curves.fitted(Smooth(), (a, b), 1.0, getattr(curves, kind)(count), count, LR, STEPS, STEPS)
    free = [torch.lerp(a, b, k / (count - 1)).clone().requires_grad_() for k in range(1, count - 1)]
    optimizer = torch.optim.SGD(free, lr=LR, momentum=0.9)
    torch.manual_seed(3)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)  # momentum carries on points that t does not see
        height(on([a, *free, b], float(torch.rand(())))).backward()
        optimizer.step()
    torch.testing.assert_close(found, torch.stack([a, *(point.detach() for point in free), b]))


def test_bernstein_weights_are_a_partition():
    curves = importlib.import_module("benchmarks.curves")
    torch.testing.assert_close(
        curves.bezier(4)(0.3), torch.tensor([comb(3, k) * 0.3**k * 0.7 ** (3 - k) for k in range(4)])
    )
    assert curves.chain(4)(0.5).sum().item() == pytest.approx(1)


def test_a_band_steps_across_itself_and_is_evenly_spaced():
    band = importlib.import_module("benchmarks.band")
    pivots = torch.stack([torch.tensor([float(k), (k * 1.7) % 1.3, 0.2 * k * k]) for k in range(5)])
    velocity = torch.zeros_like(pivots)
    values = [0.0, *(height(pivot).item() for pivot in pivots[1:-1]), 0.0]
    moved = pivots.clone()
    for k in range(1, 4):
        theta = pivots[k].clone().requires_grad_()
        height(theta).backward()
        ahead, back = pivots[k + 1] - pivots[k], pivots[k] - pivots[k - 1]
        along = ahead if values[k + 1] > values[k - 1] else back
        along = along / along.norm()
        theta.grad -= (theta.grad @ along) * along
        torch.optim.SGD([theta], lr=LR, momentum=0.9).step()
        moved[k] = theta.detach()
    found, _ = band.stepped(Smooth(), pivots, velocity, LR)
    gaps = (found[1:] - found[:-1]).norm(dim=1)
    torch.testing.assert_close(found, band.spaced(moved))
    assert torch.equal(found[0], pivots[0])
    assert torch.equal(found[-1], pivots[-1])
    assert gaps.max() < 1.1 * gaps.min()  # evenly along the old polygon, whose corners the new one cuts


def test_a_pivot_comes_where_the_curve_is_a_fifth_of_the_rise_above_its_neighbours():
    band = importlib.import_module("benchmarks.band")
    pivots = torch.zeros(4, 2)
    flat = [0.0] * 25
    bump = [1.0 if i == 12 else 0.0 for i in range(25)]
    slope = [i / 24 for i in range(25)]
    assert band.inserted(pivots, bump) == [1.5]
    assert band.inserted(pivots, flat) == band.inserted(pivots, slope) == []
