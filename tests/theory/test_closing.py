"""The lemma on halves against dense curves, and against searches whose beads are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.path.segment import grid
from weightstring.problem.surfaces import Maze, Ring, Surface, TwoWells, shifted
from weightstring.search.chain import Link
from weightstring.search.string import String
from weightstring.theory.closing import highest, longest_closing, required_alpha, required_depth, sag

TS = torch.linspace(0, 1, 2001, dtype=torch.float64)
heights, sags = st.floats(-3, 5), st.floats(0, 40)


def parabola(first: float, last: float, bend: float) -> Tensor:
    """The curve with γ″ = −C."""
    return (1 - TS) * first + TS * last + bend * TS * (1 - TS) / 2


@settings(max_examples=40)
@given(heights, heights, sags)
def test_the_bound_is_the_parabolas_own_maximum(first: float, last: float, bend: float) -> None:
    """It is attained: no smaller one holds."""
    bound, top = highest(first, last, bend), float(parabola(first, last, bend).max())
    assert top <= bound + 1e-12 * (1 + abs(bound)) <= top + bend * 1e-7 + 1e-9


@settings(max_examples=40)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=12))
def test_no_samples_are_higher_than_their_ends_and_second_differences_allow(losses: list[float]) -> None:
    assert max(losses) <= highest(losses[0], losses[-1], sag(losses)) + 1e-9


@settings(max_examples=40)
@given(st.floats(0, 2), sags)
def test_a_bead_at_the_required_depth_closes_its_segment_and_a_higher_one_does_not(other: float, bend: float) -> None:
    threshold, depth = 2.0, required_depth(2.0, other, bend)
    assert highest(threshold - depth, other, bend) <= threshold + 1e-9
    if depth > 1e-6:
        assert highest(threshold - 0.9 * depth, other, bend) > threshold
        assert required_alpha(threshold, other, bend) == pytest.approx(1 - depth / 2)


@settings(max_examples=40)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 50))
def test_the_longest_segment_that_closes_just_does(first: float, last: float, curvature: float) -> None:
    length = longest_closing(1.0, first, last, curvature)
    assert highest(first, last, curvature * length**2) == pytest.approx(1.0, abs=1e-9)


def test_between_ends_of_equal_height_an_eighth_and_beside_the_threshold_a_half() -> None:
    assert highest(0.3, 0.3, 0.8) == pytest.approx(0.4)
    assert required_depth(5.0, 5.0, 0.8) == pytest.approx(0.4)
    assert longest_closing(5.0, 4.0, 5.0, 0.0) == math.inf
    assert longest_closing(2.0, 0.9 * 2, 0.9 * 2, 3.0) == pytest.approx(math.sqrt(8 * 0.1 * 2 / 3))


@pytest.mark.parametrize("alpha", [0.99, 0.9, 0.5])
def test_on_a_ring_the_beads_that_a_search_needs_are_known_and_the_lemma_asks_for_hardly_more(alpha: float) -> None:
    """On the circle inside the valley where L = α L0, a chord of angle φ closes iff r_α cos(φ/2) ≥ r_1."""
    wall, level = 2.0, 0.1
    inner, outer = (math.sqrt(1 - math.sqrt(share * level / wall)) for share in (1, alpha))
    exact = 2 * math.acos(inner / outer)  # the widest angle that closes
    ring = Ring(radii=(1.0, 1.0), wall=wall)
    start = torch.tensor([outer, 0.0], dtype=torch.float64)
    end = outer * torch.tensor([math.cos(exact), math.sin(exact)], dtype=torch.float64)
    curve = ws.loss_curve(ring, start, end, grid(256))
    assert float(curve.max()) == pytest.approx(level, rel=1e-9)
    length = float((end - start).norm())
    # The chord is symmetric and flattest at its middle: the parabola through its ends is nearly all there is to it.
    guaranteed = longest_closing(level, alpha * level, alpha * level, sag(curve) / length**2)
    assert 0.9 * length < guaranteed <= length * (1 + 1e-9)


@dataclass(frozen=True)
class Watched(ws.AsInThePaper):
    """Every segment that the search ever measured."""

    seen: dict[str, Link] = field(default_factory=dict)

    def measured(self, string: String) -> String:
        self.seen.update({link.name: link for link in string.chain})
        return string


@pytest.mark.many(quick=4)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("alpha", [1.0, 0.9, 0.5])
@pytest.mark.parametrize(
    "surface",
    [
        Ring(size=3, angles=(2.1, -0.7)),
        TwoWells(size=4),
        Maze(size=3),
        shifted(Ring(size=5, ridge=0.2), torch.linspace(-2, 3, 5, dtype=torch.float64)),
    ],
    ids=lambda surface: surface._name,
)
def test_every_half_that_the_lemma_says_closes_was_closed(surface: Surface, alpha: float) -> None:
    threshold, search = max(1.05 * surface.gamma(*surface.ends), 0.05), Watched(alpha, 5)
    ws.connect(surface, *surface.ends, threshold, strategy=search, disprove=False)
    said = 0
    for link in search.seen.values():
        curve = ws.loss_curve(surface, link.left.theta, link.right.theta, grid(32))
        bound = highest(link.left.value, link.right.value, sag(curve))
        assert link.height <= bound + 1e-12
        if bound <= threshold:
            assert not link.open
            said += 1
    assert said >= len(search.seen) / 8


def test_misuse_is_refused(refused: Callable) -> None:
    for losses in ([0.0, 1.0], [0.0, math.nan, 1.0], [[0.0, 1.0, 2.0]]):
        with refused(InvalidSetting, "at least three finite samples"):
            sag(losses)
    with refused(InvalidSetting, "last = inf is not finite"):
        highest(0.0, math.inf, 1.0)
    with refused(InvalidSetting, "curvature of -1.0 is negative"):
        highest(0.0, 1.0, -1.0)
    with refused(InvalidSetting, r"an end at 2\.0 is over the threshold 1\.0"):
        required_depth(1.0, 2.0, 1.0)
    with refused(InvalidSetting, r"L0 = 0\.0 is not positive"):
        required_alpha(0.0, 0.0, 1.0)
