"""Curves fitted between two models (Garipov et al., 2018) and elastic bands (Draxler et al., 2018)."""

from __future__ import annotations

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.path import Segment
from weightstring.problem.surfaces import Ring, TwoWells
from weightstring.search.autoneb import AutoNEB
from weightstring.search.curves import Bezier, Fitted, PolyChain
from weightstring.tasks import load_task

ALL = pytest.mark.parametrize("kind", [Bezier, PolyChain, AutoNEB])


@ALL
@pytest.mark.parametrize("bends", [1, 3])
def test_it_connects_the_ring(kind, bends):
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 0.3, strategy=kind(bends=bends, samples=4))
    assert result.connected
    assert result.largest <= 0.3
    a, b = ring.ends
    assert torch.equal(result.string[0], a)
    assert torch.equal(result.string[-1], b)


@ALL
def test_a_linear_pair_needs_no_bead_and_no_gradient(kind):
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 2.0, strategy=kind())
    assert (result.connected, len(result.string), result.steps) == (True, 2, 0)


@ALL
def test_below_the_pass_it_stalls(kind):
    well = TwoWells()
    result = ws.connect(well, *well.ends, 0.9, strategy=kind(samples=4))
    assert result.outcome.reason == "stalled"
    assert result.largest >= 0.999  # Γ = 1, less what lies between two samples
    assert result.largest == pytest.approx(min(v for v in result.outcome.evidence.max_per_depth if v is not None))


def test_weights_are_those_of_the_curves():
    controls = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]], dtype=torch.float64)
    ts = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    bezier = Fitted(0, 1, bezier=True).weights(3, ts) @ controls
    first, second = Segment(controls[0], controls[1]), Segment(controls[1], controls[2])
    for t, point in zip(ts.tolist(), bezier, strict=True):  # De Casteljau
        assert torch.allclose(point, Segment(first.point(t), second.point(t)).point(t))
    chain = Fitted(0, 1, bezier=False).weights(3, ts) @ controls
    assert torch.allclose(chain, torch.stack([first.point(0.0), first.point(0.5), first.point(1.0), second.point(1.0)]))
    assert torch.allclose(Fitted(0, 1, bezier=True).weights(5, ts).sum(1), torch.ones(4).double())


@ALL
def test_a_run_on_disk_is_resumed_bit_for_bit(kind, tmp_path):
    problem = load_task("digits")
    a, b = problem.fit(seed=0, until=0.5), problem.fit(seed=1, until=0.5)
    strategy = kind(steps=60)
    whole = ws.connect(problem, a, b, 0.51, strategy=strategy, store=tmp_path / "whole")
    ws.connect(problem, a, b, 0.51, strategy=strategy, store=tmp_path / "cut", stop=ws.MaxSteps(60))
    again = ws.connect(problem, a, b, 0.51, strategy=strategy, store=tmp_path / "cut")
    assert torch.equal(whole.string.beads, again.string.beads)
    assert again.outcome == whole.outcome
    if whole.connected:
        assert whole.largest <= 0.51


@pytest.mark.parametrize(
    "settings", [{"bends": 0}, {"samples": 0}, {"steps": 0}, {"fall": 1.0}, {"points": 0}], ids=str
)
def test_settings_out_of_range_are_refused(settings, refused):
    with refused(InvalidSetting, r"^Bezier\("):
        Bezier(**settings)
