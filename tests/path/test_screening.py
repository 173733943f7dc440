"""A first look on a part of the data only says where to measure: it may miss a rejection, never make one up."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightstring.path import MAX_PEAKS, Objective, Samples, Segment, reject
from weightstring.problem import ModuleProblem
from weightstring.problem.module import SCREENING_EXAMPLES, SCREENING_PAYS
from weightstring.problem.surfaces import Maze, shifted

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
TS = torch.linspace(0, 1, 2001, dtype=torch.float64)
MISLEADING = {
    "the truth": lambda heights: heights,
    "too high": lambda heights: heights + 100,
    "too low": lambda heights: heights - 100,
    "constant": lambda heights: torch.full_like(heights, 0.7),
    "upside down": lambda heights: -heights,
    "not finite": lambda heights: torch.full_like(heights, math.inf),
    "not a number": lambda heights: torch.full_like(heights, math.nan),
}


@dataclass
class Counting:
    """The height, with the models counted that it was asked for."""

    asked: int = 0

    def __call__(self, thetas: torch.Tensor) -> torch.Tensor:
        self.asked += len(thetas)
        return Objective(SURFACE)(thetas)


def segments() -> list[Segment]:
    generator = torch.Generator().manual_seed(1)
    a, b = SURFACE.ends
    points = torch.lerp(a, b, torch.linspace(0, 1, 15, dtype=torch.float64)[:, None])
    points = points + 0.3 * torch.randn(15, 3, generator=generator, dtype=torch.float64)
    return [Segment(p, q) for p, q in itertools.pairwise(points)]


def with_ends(found: list[Segment]) -> list[Samples]:
    return [
        Samples(s, dict(zip([0.0, 1.0], Objective(SURFACE)(torch.stack([s.a, s.b])).tolist(), strict=False)))
        for s in found
    ]


@pytest.mark.parametrize("screening", MISLEADING)
@pytest.mark.parametrize("threshold", [0.7, 0.9, 1.4])
def test_what_is_rejected_is_over_the_threshold_whatever_the_screening_says(screening, threshold):
    found, height = segments(), Counting()
    samples = with_ends(found)
    rejected = reject(
        height, lambda thetas: MISLEADING[screening](Objective(SURFACE)(thetas)), samples, [threshold] * len(samples)
    )
    assert height.asked == sum(len(s.heights) - 2 for s in samples) <= MAX_PEAKS * len(found)
    for segment, sample, bad in zip(found, samples, rejected, strict=True):
        top = SURFACE.measure(segment.at(TS))["loss"].max().item()
        assert not (bad and top <= threshold)
        for t, value in sample.heights.items():
            theta = segment.point(t)[None]
            assert value == pytest.approx(SURFACE.measure(theta)["loss"].item(), rel=1e-12)
        if screening in ("the truth", "too high", "too low") and top > 1.001 * threshold:
            assert bad


def test_nothing_to_reject():
    height = Counting()
    assert reject(height, Objective(SURFACE), [], []) == []
    assert height.asked == 0


def classifier(count: int) -> ModuleProblem:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    targets = (inputs.sum(1) > 0.3).long()
    train = inputs[:50], targets[:50]
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    return ModuleProblem(net, functional.cross_entropy, train, (inputs, targets), engine="loop")


def test_a_problem_offers_a_fixed_part_of_its_data_where_that_pays():
    least = SCREENING_PAYS * SCREENING_EXAMPLES
    assert classifier(least - 1).screening is None
    assert Objective(classifier(least - 1)).screening is None
    problem = classifier(least)
    part = problem.screening
    assert part is problem.screening
    assert part.screening is None
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    rough, fine = part.measure(thetas)["loss"], problem.measure(thetas)["loss"]
    assert not torch.equal(rough, fine)
    torch.testing.assert_close(rough, fine, rtol=0.1, atol=0)
    assert torch.equal(rough, classifier(least).screening.measure(thetas)["loss"])
    again = part.measure(thetas, ("loss", "train_loss"))["train_loss"]
    assert torch.equal(again, problem.measure(thetas, ("train_loss",))["train_loss"])  # 50 of 50 examples
    bound = Objective(problem, "both")
    assert torch.equal(bound.screening(thetas), torch.maximum(rough, again))
    assert Objective(SURFACE).screening is None
