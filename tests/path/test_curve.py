"""γ and t* for direct use."""

from __future__ import annotations

import math

import pytest
import torch

from weightstring import locate_maximum, loss_curve
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.problem.surfaces import Ring, Spike, TwoWells, shifted


def off_origin(surface):
    return shifted(surface, torch.linspace(2.0, -3.0, surface.size, dtype=torch.float64), lift=0.5)


def test_the_curve_is_the_loss_of_interpolated_models():
    surface = off_origin(TwoWells(size=4))
    a, b = surface.ends
    ts = [0.0, 1.0, 0.37, 0.37, 1e-9]
    curve = loss_curve(surface, a, b, ts)
    assert curve.dtype == torch.float64
    expected = [surface.measure(((1 - t) * a + t * b)[None])["loss"].item() for t in ts]
    assert curve.tolist() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(loss_curve(surface, a, b, torch.tensor(ts, dtype=torch.float64)), curve)
    assert loss_curve(surface, a, b, []).shape == (0,)


def test_a_float32_problem_has_a_float64_curve():
    ring = Ring(size=3, dtype=torch.float32)
    curve = loss_curve(ring, *ring.ends, [0.25, 0.5])
    double = Ring(size=3)
    assert curve.dtype == torch.float64
    assert curve.tolist() == pytest.approx(loss_curve(double, *double.ends, [0.25, 0.5]).tolist(), rel=1e-5)


def test_a_curve_that_is_not_a_number_is_infinite():
    ring = Ring()
    huge = torch.full((2,), 1e200, dtype=torch.float64)
    assert loss_curve(ring, huge, -huge, [0.0, 0.5, 1.0]).tolist() == [math.inf, 1.0, math.inf]


def test_the_maximum_is_that_of_a_known_chord():
    surface = off_origin(Spike(size=5, height=1.0, width=0.3, position=0.6, stiffness=2.0))
    found = locate_maximum(surface, *surface.ends)
    assert found.value == pytest.approx(0.5 + surface.surface.chord_maximum, rel=1e-4)
    assert found.t == pytest.approx(0.6, abs=2e-3)
    turned = locate_maximum(surface, *reversed(surface.ends))
    assert turned.t == pytest.approx(0.4, abs=2e-3)


def test_a_loss_that_only_rises_is_largest_at_the_end():
    surface = off_origin(TwoWells())
    a, _ = surface.ends
    assert locate_maximum(surface, a, a + torch.tensor([-1.0, 0.3], dtype=torch.float64)).t == 1.0
    assert locate_maximum(surface, a + torch.tensor([-1.0, 0.3], dtype=torch.float64), a).t == 0.0


@pytest.mark.parametrize("t", [-1e-9, 1.0000001, math.nan, math.inf])
def test_a_position_off_the_segment_is_refused(refused, t):
    ring = Ring()
    with refused(InvalidSetting, rf"^t={t} is not on the segment: positions run from 0 to 1$"):
        loss_curve(ring, *ring.ends, [0.5, t])


def test_ends_of_another_problem_are_refused_by_name(refused):
    ring = Ring()
    a, b = ring.ends
    with refused(InvalidCheckpoint, r"^the second end has shape \(3,\), the problem's θ has \(2,\)"):
        loss_curve(ring, a, torch.zeros(3, dtype=torch.float64), [0.5])
    with refused(InvalidCheckpoint, r"^the first end is torch.float32, the problem torch.float64"):
        locate_maximum(ring, a.float(), b)
