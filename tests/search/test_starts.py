"""Where descents begin: at t*, after failures elsewhere, and never where a bead would duplicate an end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weightstring.path import Maximum, Segment
from weightstring.search import Bead, Measured, Query
from weightstring.search.chain import Link
from weightstring.search.starts import JITTER, MARGIN, aim, descent_from_bead, descent_from_link

A, B = (torch.tensor(numbers, dtype=torch.float64) for numbers in ([3.0, -1.0, 7.0], [5.0, 4.0, 6.0]))
ENDS = (Bead("a", A, 0.3), Bead("4", B, 0.4))
QUERY = Query(ENDS, 0.5, seed=11)


def link(*peaks: float, attempts: int = 0) -> Link:
    measured = Measured(False, tuple(Maximum(t, 2.0 - t / 10) for t in peaks), 20)
    return Link(*ENDS, measured=measured, attempts=attempts)


def position(theta: torch.Tensor) -> float:
    """t of a point on the segment; not a number off it."""
    t = ((theta - A) @ (B - A) / (B - A).square().sum()).item()
    return t if torch.allclose(theta, A + t * (B - A), rtol=1e-12, atol=1e-12) else float("nan")


def tried(one: Link, insert: str, count: int) -> list[tuple[float, float]]:
    """(t, rate) of the first descents from a link."""
    jobs = [descent_from_link(replace(one, attempts=i), QUERY, 0.8, insert) for i in range(count)]
    return [(round(position(job.descent.point()), 12), job.descent.rate) for job in jobs]


@pytest.mark.parametrize(
    ("threshold", "alpha", "level"),
    [(2.0, 1.0, 2.0), (2.0, 0.5, 1.0), (-2.0, 0.5, -3.0), (0.0, 0.5, 0.0), (-2.0, 1.0, -2.0)],
)
def test_the_aim_is_alpha_times_the_threshold_and_never_above_it(threshold, alpha, level):
    assert aim(threshold, alpha) == level <= threshold


def test_a_descent_carries_its_levels_and_its_place():
    start = descent_from_link(link(0.25, attempts=2), QUERY, 0.8, "maximum").descent
    assert (start.aim, start.limit, start.place) == (0.4, 0.5, "a-4/2")
    start = descent_from_bead(ENDS[0], QUERY, 0.8).descent
    assert (start.aim, start.limit, start.place, start.rate) == (0.4, 0.5, "a/neighbour", 1.0)
    assert torch.equal(start.theta, A)


def test_the_maximum_first_then_other_peaks_then_other_learning_rates():
    assert tried(link(0.3, 0.8, 0.6), "maximum", 5) == [(0.3, 1.0), (0.8, 1.0), (0.6, 1.0), (0.3, 0.3), (0.3, 3.0)]
    assert tried(link(0.3, 0.8), "maximum", 5) == [(0.3, 1.0), (0.8, 1.0), (0.5, 1.0), (0.3, 0.3), (0.3, 3.0)]
    assert tried(link(0.3), "maximum", 4) == [(0.3, 1.0), (0.5, 1.0), (0.3, 0.3), (0.3, 3.0)]
    assert tried(link(0.5), "maximum", 3) == [(0.5, 1.0), (0.5, 0.3), (0.5, 3.0)]


def test_the_midpoint_first_if_asked():
    assert tried(link(0.3, 0.8), "midpoint", 5) == [(0.5, 1.0), (0.3, 1.0), (0.8, 1.0), (0.5, 0.3), (0.5, 3.0)]


@pytest.mark.parametrize(("t", "clipped"), [(0.0, MARGIN), (1e-9, MARGIN), (1.0, 1 - MARGIN)])
def test_a_maximum_at_an_end_is_clipped_to_the_interior(t, clipped):
    assert tried(link(t), "maximum", 2) == [(clipped, 1.0), (0.5, 1.0)]
    assert tried(link(0.6, t), "maximum", 2) == [(0.6, 1.0), (0.5, 1.0)]  # a bead there would only duplicate the end


def test_then_random_displacements_from_t_star_that_depend_on_seed_and_place():
    def displaced(attempts: int, seed: int = 11) -> torch.Tensor:
        query = replace(QUERY, seed=seed)
        return descent_from_link(link(0.3, 0.8, attempts=attempts), query, 0.8, "maximum").descent.point()

    thetas = [displaced(5), displaced(6), displaced(5, seed=12)]
    t_star = A + 0.3 * (B - A)
    for theta in thetas:
        assert (theta - t_star).norm().item() == pytest.approx(JITTER * Segment(A, B).length, rel=1e-12)
    assert torch.equal(displaced(5), thetas[0])
    assert len({tuple(theta.tolist()) for theta in thetas}) == 3


def test_displacements_keep_the_dtype():
    ends = [Bead("a", A.float(), 0.3), Bead("b", B.float(), 0.4)]
    one = replace(link(0.3, attempts=9), left=ends[0], right=ends[1])
    assert descent_from_link(one, QUERY, 0.8, "maximum").descent.point().dtype == torch.float32
