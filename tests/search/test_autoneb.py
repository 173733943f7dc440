"""The nudged elastic band, held against the formulas of its papers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weightstring.descent import Evolution
from weightstring.errors import InvalidSetting
from weightstring.path import Maximum
from weightstring.protocol import Gradient
from weightstring.search import Bead, Measured, Query
from weightstring.search.chain import Link
from weightstring.search.methods.autoneb import AutoNEB, Band
from weightstring.search.methods.curves import Curve


def towards_the_higher(left: float, here: float, right: float, back: Tensor, ahead: Tensor) -> Tensor:
    """Henkelman and Jónsson (2000), Eq. (8) to (11), for one pivot."""
    if left < here < right:
        return ahead / ahead.norm()
    if left > here > right:
        return back / back.norm()
    most, least = max(abs(right - here), abs(left - here)), min(abs(right - here), abs(left - here))
    tangent = ahead * most + back * least if right > left else ahead * least + back * most
    return tangent / tangent.norm()


@pytest.mark.parametrize("seed", range(6))
def test_pivots_take_the_steps_across_the_band(seed):
    generator = torch.Generator().manual_seed(seed)
    band = torch.randn(9, 4, generator=generator, dtype=torch.float64) + 3
    losses = torch.rand(9, generator=generator, dtype=torch.float64)
    gradients = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    motion, moving = Band((losses[0].item(), losses[-1].item())), tuple(range(1, 8))
    look = motion.look(band, moving, generator)
    assert torch.equal(look.models, band[1:-1])
    gradient = Gradient(losses[1:-1], gradients)
    assert torch.equal(motion.direct(band, moving, look, gradient), gradients)
    steps = -0.1 * gradients
    stepped = motion.step(band, band[1:-1] + steps, moving, gradient)
    for k, (left, here, right) in enumerate(zip(losses, losses[1:], losses[2:], strict=False)):
        back, ahead = band[k + 1] - band[k], band[k + 2] - band[k + 1]
        tangent = towards_the_higher(left.item(), here.item(), right.item(), back, ahead)
        torch.testing.assert_close(stepped[k], band[k + 1] + steps[k] - (steps[k] @ tangent) * tangent)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pivots_are_put_at_equal_distances_along_the_band(dtype):
    band = torch.tensor([[3.0, 1.0], [4.0, 1.0], [4.0, 3.0], [9.0, 3.0]], dtype=dtype)  # 8 long
    placed = Band((0.0, 0.0)).place(band, band[1:-1], (1, 2))
    torch.testing.assert_close(placed, torch.tensor([[4.0, 8 / 3], [4 + 7 / 3, 3.0]], dtype=dtype))
    straight = torch.lerp(band[0], band[-1], torch.linspace(0, 1, 5, dtype=dtype)[:, None])
    torch.testing.assert_close(Band((0.0, 0.0)).place(straight, straight[1:-1], (1, 2, 3)), straight[1:-1])


@pytest.mark.parametrize(("peak", "pivots"), [(1.0 + 0.19, 3), (1.0 + 0.3, 4)])
def test_a_pivot_is_inserted_where_the_band_is_a_fifth_of_its_range_above_its_pivots(peak, pivots):
    """The line between the ends' losses 0.8 and 1.2 is at 1 in the middle, and the range 0 to 1.2, or to the peak."""
    thetas = torch.tensor([[1.0, 0.0], [2.0, 5.0], [4.0, 7.0]], dtype=torch.float64)
    beads = [Bead(str(k), theta, value) for k, (theta, value) in enumerate(zip(thetas, (0.0, 0.8, 1.2), strict=True))]
    first = Link(beads[0], beads[1], measured=Measured(False, (Maximum(1.0, 0.8),), 9))
    second = Link(beads[1], beads[2], measured=Measured(False, (Maximum(0.5, peak),), 9))
    query = Query((beads[0], beads[2]), 0.5, 0)
    curve = Curve(query, (first, second), 0.5, controls=tuple(thetas))
    (job,) = AutoNEB().propose(curve)
    assert isinstance(job.descent, Evolution)
    evolution = job.descent
    assert (len(evolution.thetas), evolution.moving) == (pivots, tuple(range(1, pivots - 1)))
    if pivots == 4:
        torch.testing.assert_close(evolution.thetas[2], torch.tensor([3.0, 6.0], dtype=torch.float64))
    assert (evolution.aim, evolution.limit, evolution.steps) == (-math.inf, 0.5, AutoNEB().steps)


@pytest.mark.parametrize("excess", [0.0, 1.0, math.nan])
def test_an_excess_out_of_range_is_refused(refused, excess):
    with refused(InvalidSetting, r"^AutoNEB\(excess="):
        AutoNEB(excess=excess)
