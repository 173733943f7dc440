"""Analytic surfaces: their Γ against a flooded grid, their slopes against differences, what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Maze, Ring, Spike, Surface, TwoWells, shifted, stretched

FORMULAS = [
    TwoWells(),
    TwoWells(left=1.3, right=0.7, saddle=2.5, bend=-0.4, stiffness=1.5),
    Ring(),
    Ring(radii=(1.4, 0.8), wall=2.0, ridge=0.6, angles=(2.0, -1.3)),
    Spike(),
    Spike(height=1.5, width=0.3, position=0.55, stiffness=4.0),
    Maze(),
    Maze(gaps=(-0.7, 0.9), heights=(0.4, 0.1), spacing=1.6, steepness=1.2),
]
WIDE = [surface for surface in FORMULAS if not (isinstance(surface, Spike) and surface.width < 0.1)]
"""Surfaces that a grid of a few hundred points resolves."""


def ids(surface: Surface) -> str:
    return type(surface).__name__


def off_origin(surface: Surface, lift: float = 0.0) -> Surface:
    offset = torch.linspace(0.7, -2.3, surface.size, dtype=surface.dtype)
    return shifted(surface, offset, lift)


def losses(surface: Surface, thetas: Tensor) -> Tensor:
    return surface.measure(thetas)["loss"]


def point(surface: Surface, *first: float) -> Tensor:
    """The θ that begins with these coordinates; the others are 0."""
    return torch.tensor([*first, *[0.0] * (surface.size - len(first))], dtype=surface.dtype)


def chord(a: Tensor, b: Tensor, points: int) -> Tensor:
    return torch.lerp(a, b, torch.linspace(0, 1, points, dtype=torch.float64)[:, None].to(a))


def between(surface: Surface, count: int, seed: int = 0) -> Tensor:
    """Points (count, P) in and about the region between the ends."""
    generator = torch.Generator().manual_seed(seed)
    a, b = surface.ends
    noise = torch.randn(count, surface.size, generator=generator, dtype=torch.float64).to(surface.dtype)
    return chord(a, b, count) + 0.3 * (b - a).norm() / math.sqrt(surface.size) * noise


def flooded(surface: Surface, a: Tensor, b: Tensor, margin: float, step: float) -> float:
    """Γ on the plane of the first two coordinates, by flooding a grid: the level at which a and b join."""
    low, high = torch.minimum(a, b)[:2] - margin, torch.maximum(a, b)[:2] + margin
    axes = [torch.arange(low[i].item(), high[i].item(), step, dtype=torch.float64) for i in (0, 1)]
    plane = torch.cartesian_prod(*axes)
    thetas = torch.cat((plane, a[2:].expand(len(plane), -1)), 1)
    heights = losses(surface, thetas).reshape(len(axes[0]), len(axes[1])).numpy()
    cells = [tuple(int(np.abs(axes[i].numpy() - end[i].item()).argmin()) for i in (0, 1)) for end in (a, b)]
    levels = np.unique(heights[heights >= max(heights[cell] for cell in cells)])
    below, above = -1, len(levels) - 1
    while above - below > 1:
        level = (below + above) // 2
        lakes, _ = ndimage.label(heights <= levels[level])
        below, above = (below, level) if lakes[cells[0]] == lakes[cells[1]] else (level, above)
    return float(levels[above])


def flood_error(surface: Surface, step: float) -> float:
    """The nearest grid path is half a step away in each coordinate from one that is flat at its top."""
    return surface.curvature * step**2


@pytest.mark.parametrize("surface", WIDE, ids=ids)
def test_gamma_is_where_a_flooded_grid_joins_the_ends(surface: Surface) -> None:
    a, b = surface.ends
    step = 0.006
    assert flooded(surface, a, b, 1.6, step) == pytest.approx(surface.gamma(a, b), abs=flood_error(surface, step))


def test_gamma_of_the_narrow_spike_is_where_a_fine_grid_joins_its_two_sides() -> None:
    surface = Spike(size=3)
    a, b = (point(surface, 2 * surface.position - 1 + side * 0.02, 0.001) for side in (-1, 1))
    assert flooded(surface, a, b, 0.02, 5e-5) == pytest.approx(surface.gamma(*surface.ends), rel=0.02)


@pytest.mark.parametrize("surface", WIDE, ids=ids)
def test_gamma_of_any_two_points_is_where_a_flooded_grid_joins_them(surface: Surface) -> None:
    step = 0.02
    points = between(surface, 12, seed=1).div(step).round().mul(step)
    for a, b in zip(points[::2], points[1::2], strict=True):
        slope = max(end.norm().item() for end in surface.gradient(torch.stack((a, b))).gradients)
        error = flood_error(surface, step) + slope * step
        assert flooded(surface, a, b, 2.0, step) == pytest.approx(surface.gamma(a, b), abs=error)


@pytest.mark.parametrize("surface", WIDE, ids=ids)
def test_gamma_moves_along_with_a_shifted_lifted_stretched_surface(surface: Surface) -> None:
    scales = torch.tensor([1.25, 0.8], dtype=torch.float64)
    moved = off_origin(stretched(surface, scales), lift=0.5)
    a, b = moved.ends
    assert moved.gamma(a, b) == pytest.approx(surface.gamma(*surface.ends) + 0.5, abs=1e-12)
    step = 0.008
    assert flooded(moved, a, b, 1.6, step) == pytest.approx(moved.gamma(a, b), abs=flood_error(moved, step))


@pytest.mark.parametrize("surface", FORMULAS, ids=ids)
@pytest.mark.parametrize("size", [2, 3, 11])
def test_gamma_does_not_depend_on_the_order_of_the_ends_nor_on_p(surface: Surface, size: int) -> None:
    large = replace(surface, size=size)
    a, b = large.ends
    assert large.gamma(a, b) == large.gamma(b, a) == surface.gamma(*surface.ends)
    assert large.gamma(a, a) == losses(large, a[None]).item()


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, len(FORMULAS) - 1), seed=st.integers(0, 10_000), beads=st.integers(1, 6))
def test_no_string_stays_below_gamma(index: int, seed: int, beads: int) -> None:
    surface = off_origin(replace(FORMULAS[index], size=4), lift=0.25)
    a, b = surface.ends
    points = torch.cat((a[None], between(surface, beads, seed), b[None]))
    for width in (1.0, 0.01):
        # Nearly straight strings too: they are the ones that come near Γ.
        string = torch.lerp(chord(a, b, beads + 2), points, width)
        # Beads on both sides of the pass, samples so dense that the crossing is hardly missed.
        top = max(losses(surface, chord(p, q, 4001)).max().item() for p, q in pairwise(string))
        assert top >= surface.gamma(a, b) * (1 - 1e-3)


def greedy(surface: Surface, a: Tensor, b: Tensor, threshold: float, depth: int) -> list[Tensor] | None:
    """Steps 2 to 5 of Section II.B in their plainest form: descend from the maximum of each open segment."""
    curve = losses(surface, chord(a, b, 4001))
    if curve.max() <= threshold:
        return [a, b]
    if depth == 0:
        return None
    bead = torch.lerp(a, b, curve.argmax().item() / 4000)[None]
    for _ in range(surface.recipe.max_steps):
        height, slope = surface.gradient(bead)
        if height <= 0.95 * threshold or slope.norm() < 1e-6 * height:
            break
        bead = bead - surface.recipe.options["lr"] * slope
    if losses(surface, bead) > threshold:
        return None  # down to a saddle, and no further
    first, last = (greedy(surface, *pair, threshold, depth - 1) for pair in ((a, bead[0]), (bead[0], b)))
    return None if first is None or last is None else first + last[1:]


@pytest.mark.many(quick=5)
@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("surface", FORMULAS, ids=ids)
def test_greedy_descent_connects_above_gamma_and_not_below(surface: Surface, size: int) -> None:
    moved = off_origin(replace(surface, size=size))
    a, b = moved.ends
    gamma = moved.gamma(a, b)
    top = losses(moved, chord(a, b, 4001)).max().item()
    assert top > gamma + 0.1
    string = greedy(moved, a, b, gamma + 0.2 * (top - gamma), depth=7)
    assert string is not None
    assert len(string) > 2
    ends = losses(moved, torch.stack((a, b))).max().item()
    if gamma > ends + 1e-3:
        assert greedy(moved, a, b, (gamma + ends) / 2, depth=3) is None


@pytest.mark.parametrize("surface", FORMULAS, ids=ids)
@pytest.mark.parametrize("size", [2, 5])
def test_gradient_is_that_of_central_differences(surface: Surface, size: int) -> None:
    scales = torch.linspace(0.6, 1.7, size, dtype=torch.float64)
    moved = off_origin(stretched(replace(surface, size=size), scales), lift=0.3)
    thetas = between(moved, 40)
    measured = moved.gradient(thetas, None)
    step = 1e-6
    shifts = step * torch.eye(size, dtype=torch.float64)
    expected = torch.stack([(losses(moved, thetas + s) - losses(moved, thetas - s)) / (2 * step) for s in shifts], 1)
    torch.testing.assert_close(measured.gradients, expected, rtol=1e-5, atol=moved.curvature * 1e-6)
    torch.testing.assert_close(measured.losses, losses(moved, thetas), rtol=0, atol=0)
    assert not measured.losses.requires_grad


@pytest.mark.parametrize("surface", FORMULAS, ids=ids)
def test_curvature_bounds_the_hessian_on_the_chord_and_is_not_far_from_it(surface: Surface) -> None:
    large = replace(surface, size=3)
    thetas = chord(*large.ends, 2001)
    step = 1e-6
    shifts = step * torch.eye(3, dtype=torch.float64)
    slopes = [
        (large.gradient(thetas + s).gradients - large.gradient(thetas - s).gradients) / (2 * step) for s in shifts
    ]
    highest = torch.linalg.eigvalsh(torch.stack(slopes, 2)).abs().max().item()
    assert 0.2 * large.curvature < highest < large.curvature * (1 + 1e-6)


@pytest.mark.parametrize("surface", FORMULAS, ids=ids)
def test_descent_by_the_recipe_never_climbs(surface: Surface) -> None:
    large = replace(surface, size=3)
    thetas = chord(*large.ends, 400)
    for _ in range(200):
        before, slopes = large.gradient(thetas)
        thetas = thetas - large.recipe.options["lr"] * slopes
        assert (losses(large, thetas) <= before + 1e-15).all()


@pytest.mark.parametrize("surface", FORMULAS, ids=ids)
def test_a_model_that_is_not_a_number_has_a_loss_that_is_not_one(surface: Surface) -> None:
    assert not losses(surface, torch.full((1, 2), math.nan, dtype=torch.float64)).isfinite().any()


def test_two_wells_have_the_depths_and_the_saddle_of_their_formula() -> None:
    surface = TwoWells(size=4, left=0.8, right=1.7, saddle=3.0, bend=0.5)
    shallow, deep = losses(surface, torch.stack(surface.ends)).tolist()
    assert deep == pytest.approx(0.0, abs=1e-12)
    ratio = 0.8**3 * (0.8 + 3.4) / (1.7**3 * (1.7 + 1.6))
    assert shallow == pytest.approx(3.0 * (1 - ratio))
    saddle = point(surface, 0.0, 0.5 * 0.8 * 1.7)[None]
    stationary = surface.gradient(torch.cat((torch.stack(surface.ends), saddle)))
    assert stationary.losses[2] == 3.0
    assert stationary.gradients.abs().max() < 1e-12
    assert losses(surface, chord(*surface.ends, 401)).max() > 3.0 + 2.0 * (0.5 * 0.8 * 1.7) ** 2


def test_two_wells_nothing_separates_points_of_one_well() -> None:
    surface = TwoWells()
    points = torch.tensor([[0.1, 0.0], [2.5, 0.3]], dtype=torch.float64)
    assert surface.gamma(*points) == losses(surface, points).max()


def test_ring_joins_opposite_points_of_its_valley_at_their_own_loss() -> None:
    surface = Ring(size=6, radii=(2.0, 0.5), wall=4.0)
    opposite = torch.stack((point(surface, 2.0), point(surface, -2.0)))
    assert surface.gamma(*opposite) == 0.0
    assert losses(surface, opposite.mean(0, keepdim=True)).item() == 4.0


def test_ring_varies_along_its_valley_by_its_ridge() -> None:
    surface = Ring(radii=(1.4, 0.8), wall=2.0, ridge=0.6)
    floor = torch.stack(
        [replace(surface, angles=(angle, 0.0)).ends[0] for angle in torch.linspace(0, 2 * math.pi, 721).tolist()]
    )
    along = losses(surface, floor)
    assert along[[0, 180, 360, 540]].tolist() == pytest.approx([0.6, 0.0, 0.6, 0.0], abs=1e-12)
    assert along.max() == pytest.approx(0.6)
    outward = (surface.gradient(floor).gradients * floor).sum(1)
    assert outward.abs().max() < 1e-12


def test_spike_is_invisible_to_coarse_grids_and_found_by_a_dense_one() -> None:
    surface = off_origin(Spike(size=7))
    a, b = surface.ends
    for points in (17, 25, 33):
        assert losses(surface, chord(a, b, points)).max().item() == pytest.approx(100 / 2 * 0.0025**2, rel=1e-9)
    assert losses(surface, chord(a, b, 61)).max().item() == pytest.approx(Spike().chord_maximum, rel=1e-9)


@pytest.mark.parametrize("position", [0.2, 0.61803])
def test_spike_knows_the_maximum_of_its_chord(position: float) -> None:
    surface = Spike(size=3, height=2.0, width=0.05, position=position, stiffness=30.0)
    curve = losses(surface, chord(*surface.ends, 100_001))
    assert curve.max().item() == pytest.approx(surface.chord_maximum, rel=1e-7)
    assert curve.argmax().item() / 100_000 == pytest.approx(position, abs=1e-5)


def test_maze_has_free_rooms_passes_in_its_gaps_and_no_kinks() -> None:
    surface = Maze(size=3, gaps=(1.0, -2.0), heights=(0.2, 0.4), spacing=1.5)
    rooms = torch.tensor([[x, y, 0.0] for x in (0.0, 1.5, 3.0) for y in (-2.2, 0.4)], dtype=torch.float64)
    passes = torch.tensor([[0.75, 1.0, 0.0], [2.25, -2.0, 0.0]], dtype=torch.float64)
    assert losses(surface, rooms).max() < 1e-25
    assert losses(surface, passes).tolist() == [0.2, 0.4]
    assert surface.gradient(torch.cat((rooms, passes))).gradients.abs().max() < 1e-12
    step = torch.tensor([1e-7, 0.0, 0.0], dtype=torch.float64)
    sides = [surface.gradient(rooms + sign * step).gradients for sign in (-1, 1)]
    assert (sides[0] - sides[1]).abs().max() < 1e-5


def test_maze_counts_the_walls_between_two_points_only() -> None:
    surface = Maze(heights=(0.2, 0.5, 0.3))
    rooms = [point(surface, 2.0 * i, 1.0 - i) for i in range(4)]
    assert [surface.gamma(rooms[i], rooms[j]) for i, j in ((0, 1), (1, 2), (3, 2), (0, 3))] == [0.2, 0.5, 0.3, 0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TwoWells(saddle=0.0), r"^TwoWells: saddle = 0.0 is not positive and finite; give a number above 0$"),
        (lambda: TwoWells(left=math.nan), r"^TwoWells: left = nan is not positive and finite"),
        (lambda: TwoWells(bend=math.inf), r"^TwoWells: bend = inf is not finite; give 0 for a straight valley$"),
        (lambda: Ring(radii=(1.0, -2.0)), r"^Ring: radii = \(1.0, -2.0\) are not both positive and finite"),
        (lambda: Ring(ridge=1.0), r"^Ring: ridge = 1.0 is not in \[0, wall = 1.0\); lower it$"),
        (lambda: Spike(width=0.2, position=0.05), r"^Spike: width = 0.2 at position = 0.05 reaches an end"),
        (lambda: Spike(position=1.5), r"^Spike: width = 0.01 at position = 1.5 reaches an end"),
        (lambda: Spike(stiffness=1e6), r"^Spike: stiffness \* width\*\*2 = 100.0 is not below 6 \* height = 6.0"),
        (lambda: Maze(gaps=(1.0,)), r"^Maze: 1 gaps and 3 heights; give one gap and one height per wall$"),
        (lambda: Maze(gaps=(), heights=()), r"^Maze: 0 gaps and 0 heights; give one gap"),
        (lambda: Maze(gaps=(1.0,), heights=(-0.1,)), r"^Maze: gaps = \(1.0,\), heights = \(-0.1,\); give finite gaps"),
    ],
)
def test_misuse_is_refused_with_the_values(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidSetting, match=message):
        make()
