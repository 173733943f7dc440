"""The greedy search on surfaces whose Γ is known (Section II.B), and its every way out (Section II.D)."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.path import Segment, measure_points
from weightstring.path.objective import Objective
from weightstring.problem.surfaces import Maze, Ring, Surface, TwoWells, shifted, stretched
from weightstring.search import Greedy
from weightstring.search.chain import Chain, beads_of

# Whole searches: the check of every annotation would take most of their time, and tests of the parts have it on.
pytestmark = pytest.mark.usefixtures("unchecked")

DENSE = [k / 400 for k in range(401)]


def thetas_of(chain: Chain) -> Tensor:
    return torch.stack([bead.theta for bead in beads_of(chain)])


def dense_maximum(surface: Surface, beads: Tensor) -> float:
    bound = Objective(surface)
    segments = [Segment(a, b) for a, b in pairwise(beads)]
    return max(max(measure_points(bound, [(segment, t) for t in DENSE])) for segment in segments)


def moved(surface: Surface, seed: int) -> Surface:
    generator = torch.Generator().manual_seed(seed)
    offset = 3 * torch.randn(surface.size, generator=generator, dtype=torch.float64)
    scales = 0.7 + 0.6 * torch.rand(surface.size, generator=generator, dtype=torch.float64)
    return shifted(stretched(surface, scales), offset)


WITH_PASSES = [
    TwoWells(size=2),
    TwoWells(size=5, bend=0.8, left=1.3, right=0.9),
    Maze(size=2),
    Maze(size=4),
    Ring(size=3, ridge=0.25),
    *(moved(TwoWells(size=3), seed) for seed in range(4)),
    *(moved(Maze(size=3), seed) for seed in range(2)),
]


def name(surface: Surface) -> str:
    return f"{surface._name}-{surface.size}"


def test_linearly_connected_ends_get_no_bead() -> None:
    surface = TwoWells(size=4)
    a, _ = surface.ends
    b = a + torch.tensor([0.05, 0.02, -0.03, 0.01], dtype=torch.float64)
    result = ws.connect(surface, a, b, threshold=0.7)
    assert result.connected
    assert torch.equal(result.string.beads, torch.stack([a, b]))
    assert result.string.normalized_length == 1
    assert (result.steps, result.beads_before_pruning) == (0, 2)


def test_identical_ends() -> None:
    a, _ = TwoWells().ends
    result = ws.connect(TwoWells(), a, a.clone())
    assert result.connected
    assert (result.string.length, result.string.normalized_length) == (0, 1)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_ring_is_connected_though_its_chord_is_not(size: int) -> None:
    surface = Ring(size=size)
    a, b = surface.ends
    assert ws.locate_maximum(surface, a, b).value > 0.5
    result = ws.connect(surface, a, b, threshold=0.05)
    assert result.connected
    assert dense_maximum(surface, result.string.beads) <= 0.05 * (1 + 1e-5)
    assert result.string.normalized_length > 1


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("surface", WITH_PASSES, ids=name)
def test_just_above_the_pass_it_connects(surface: Surface) -> None:
    a, b = surface.ends
    threshold = 1.05 * surface.gamma(a, b)
    result = ws.connect(surface, a, b, threshold)
    assert result.connected
    assert dense_maximum(surface, result.string.beads) <= threshold * (1 + 1e-5)
    assert result.string.max_loss >= surface.gamma(a, b) * (1 - 1e-3)
    assert len(result.string) <= result.beads_before_pruning


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("surface", WITH_PASSES, ids=name)
def test_below_the_pass_it_is_unresolved_with_evidence(surface: Surface) -> None:
    a, b = surface.ends
    threshold = max(0.9 * surface.gamma(a, b), *surface.measure(torch.stack([a, b]))["loss"].tolist())
    result = ws.connect(surface, a, b, threshold, strategy=Greedy())
    assert isinstance(result.outcome, ws.Unresolved)
    assert result.outcome.reason in ("depth", "beads", "descent_failed", "stalled")
    assert "connected:" not in str(result.outcome)
    evidence = result.outcome.evidence
    left, right = evidence.segment
    assert right == left + 1 < len(result.string)
    ends = surface.measure(result.string.beads[left : right + 1])["loss"].tolist()
    assert evidence.end_losses == pytest.approx(ends)
    assert max(ends) <= threshold
    assert result.segments[left].value == max(top.value for top in result.segments) > threshold
    assert len(evidence.max_per_depth) == len(evidence.open_per_depth)
    assert all(count >= 1 for count in evidence.open_per_depth)
    assert min(evidence.max_per_depth) >= surface.gamma(a, b) * (1 - 1e-3)  # sampled


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("surface", WITH_PASSES, ids=name)
def test_swapping_the_ends_reverses_the_string(surface: Surface) -> None:
    a, b = surface.ends
    for factor in (1.05, 1.3):
        threshold = factor * surface.gamma(a, b)
        there, back = ws.connect(surface, a, b, threshold), ws.connect(surface, b, a, threshold)
        assert there.connected
        torch.testing.assert_close(there.string.beads, back.string.beads.flip(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("surface", [TwoWells(size=3), Maze(size=2), Ring(size=4, ridge=0.1)], ids=name)
def test_translating_the_surface_translates_the_string(surface: Surface) -> None:
    a, b = surface.ends
    offset = torch.linspace(-2.5, 4, surface.size, dtype=torch.float64)
    threshold = 1.1 * surface.gamma(a, b)
    here = ws.connect(surface, a, b, threshold).string.beads
    there = ws.connect(shifted(surface, offset), a + offset, b + offset, threshold).string.beads
    torch.testing.assert_close(there - offset, here, rtol=0, atol=1e-6)


def test_ends_at_the_threshold_get_a_neighbour() -> None:
    surface = Ring(size=3)
    a, b = surface.ends
    a = 1.1 * a + torch.tensor([0.0, 0.0, 0.1], dtype=torch.float64)
    # Without a threshold it is that of the higher end, which then lies exactly on it.
    result = ws.connect(surface, a, b)
    assert result.threshold == float(surface.measure(a[None])["loss"]) > 0.03
    assert result.connected
    assert result.string.max_loss <= result.threshold
    line, neighbour = result.history[:2]
    assert (line.open, neighbour.descents, neighbour.beads) == (1, 1, 3)


def test_an_end_above_the_threshold_is_refused() -> None:
    surface = TwoWells()
    a, b = surface.ends
    with pytest.raises(ws.EndAboveThreshold, match="the ends lie at") as caught:
        ws.connect(surface, a + 0.5, b, threshold=0.1)
    assert caught.value.losses[0] > caught.value.threshold == 0.1
    with pytest.raises(ws.InvalidSetting, match="threshold=nan: must be finite"):
        ws.connect(surface, a, b, threshold=math.nan)


def test_descents_that_lead_nowhere_are_retried_and_reported(plateau: Surface) -> None:
    a, b = plateau.ends
    result = ws.connect(plateau, a, b, threshold=0.5, strategy=Greedy(retries=3))
    assert isinstance(result.outcome, ws.Unresolved)
    assert result.outcome.reason == "descent_failed"
    assert result.outcome.evidence.retries == 3
    assert result.outcome.evidence.lowest_loss == 2.0
    assert sum(r.descents for r in result.history) == 4


@pytest.mark.parametrize(
    ("strategy", "stop", "reason"),
    [
        (Greedy(max_depth=0), ws.MaxBeads(64), "depth"),
        (Greedy(max_depth=3), ws.MaxBeads(64), "depth"),
        (Greedy(), ws.MaxBeads(4), "beads"),
        (Greedy(), ws.MaxSteps(20), "steps"),
        (Greedy(), ws.MaxBeads(64) | ws.Budget(seconds=1e-9), "time"),
    ],
)
def test_every_limit_has_its_reason(strategy: Greedy, stop: ws.MaxBeads, reason: str) -> None:
    surface = TwoWells()
    result = ws.connect(surface, *surface.ends, threshold=0.9, strategy=strategy, stop=stop)
    assert isinstance(result.outcome, ws.Unresolved)
    assert result.outcome.reason == reason
    assert len(result.string) <= 64


def test_beads_start_at_the_midpoint_if_asked() -> None:
    surface = TwoWells()
    a, b = surface.ends
    results = [ws.connect(surface, a, b, 1.2, strategy=Greedy(insert=insert)) for insert in ("maximum", "midpoint")]
    assert all(result.connected for result in results)
    assert not torch.equal(results[0].string.beads[1], results[1].string.beads[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, r"alpha must be in \(0, 1\]"),
        ({"alpha": 1.01}, r"Greedy\(alpha=1.01\)"),
        ({"max_depth": -1}, "neither may be negative"),
        ({"retries": -1}, "neither may be negative"),
        ({"insert": "start"}, "choose 'maximum' or 'midpoint'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str, unchecked: None) -> None:
    with pytest.raises(ws.InvalidSetting, match=message):
        Greedy(**settings)  # type: ignore[arg-type]
