"""Strings: lengths, places along them, and the four barriers against their definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring import WeightString
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path import BARRIERS, SearchSamples, Segment, StringCurve
from weightstring.path import segment as segment_module
from weightstring.problem import ModuleProblem
from weightstring.problem.surfaces import Ring, Spike, TwoWells, shifted

SURFACE = shifted(TwoWells(size=4), torch.tensor([3.0, -2.0, 1.0, 0.5], dtype=torch.float64), lift=0.25)


def uneven(seed: int = 0, count: int = 5) -> torch.Tensor:
    """Unevenly spaced beads (count, 4) between the wells, whose losses differ."""
    a, b = SURFACE.ends
    shares = torch.linspace(0, 1, count, dtype=torch.float64).pow(2.5)[:, None]
    noise = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.lerp(a, b, shares) + 0.2 * noise


def dense(beads: torch.Tensor, points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of the arc length and losses, segment by segment."""
    lengths = [(q - p).norm().item() for p, q in pairwise(beads)]
    ts = torch.linspace(0, 1, points, dtype=torch.float64)
    s = torch.cat([(sum(lengths[:i]) + ts * length) / sum(lengths) for i, length in enumerate(lengths)])
    thetas = torch.cat([(1 - ts[:, None]) * p + ts[:, None] * q for p, q in pairwise(beads)])
    return s, SURFACE.measure(thetas)["loss"]


def test_a_string_is_a_sequence_of_its_beads():
    beads = uneven()
    string = WeightString(SURFACE, beads)
    assert len(string) == 5
    assert torch.equal(string[2], beads[2])
    assert torch.equal(string[-1], beads[-1])
    assert torch.equal(torch.stack(list(string)), beads)
    assert string.evidence == "sampled"
    assert [torch.equal(s.a, p) and torch.equal(s.b, q) for s, (p, q) in
            zip(string.segments, pairwise(beads), strict=True)] == [True] * 4  # fmt: skip


def test_length_is_that_of_all_segments_over_all_parameters():
    beads = uneven(1)
    string = WeightString(SURFACE, beads)
    length = sum((q - p).square().sum().sqrt().item() for p, q in pairwise(beads))
    distance = (beads[-1] - beads[0]).square().sum().sqrt().item()
    assert string.length == pytest.approx(length, rel=1e-14)
    assert string.distance == pytest.approx(distance, rel=1e-14)
    assert string.normalized_length == pytest.approx(length / distance, rel=1e-14)


def test_a_straight_string_has_normalized_length_1():
    beads = uneven(2)
    assert WeightString(SURFACE, beads[[0, 3]]).normalized_length == 1.0
    straight = Segment(beads[0], beads[3]).at(torch.tensor([0.0, 0.1, 0.7, 1.0], dtype=torch.float64))
    assert WeightString(SURFACE, straight).normalized_length == pytest.approx(1.0, rel=1e-14)


def test_identical_ends_have_length_0_and_normalized_length_1():
    a = SURFACE.ends[0]
    for beads in (a.expand(2, -1), a.expand(4, -1)):
        string = WeightString(SURFACE, beads)
        assert (string.length, string.distance, string.normalized_length) == (0.0, 0.0, 1.0)
        assert torch.equal(string.at(0.3), a)
        assert string.max_loss == pytest.approx(SURFACE.measure(a[None])["loss"].item())
        assert string.curve.s[0] == 0.0
        assert string.curve.s[-1] == 1.0
        assert all(s < after for s, after in pairwise(string.curve.s))


def test_a_loop_has_no_finite_normalized_length():
    beads = uneven(3)
    assert WeightString(SURFACE, torch.cat([beads, beads[:1]])).normalized_length == math.inf


@pytest.mark.parametrize("seed", range(4))
def test_places_are_along_the_arc_length(seed):
    beads = uneven(seed)
    string = WeightString(SURFACE, beads)
    assert torch.equal(string.at(0.0), beads[0])
    assert torch.equal(string.at(1.0), beads[-1])
    lengths = [(q - p).norm().item() for p, q in pairwise(beads)]
    for s in torch.rand(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist():
        covered, i = s * sum(lengths), 0
        while covered > lengths[i]:
            covered -= lengths[i]
            i += 1
        t = covered / lengths[i]
        torch.testing.assert_close(string.at(s), (1 - t) * beads[i] + t * beads[i + 1], rtol=1e-12, atol=1e-12)
    for i, length in enumerate(lengths):
        torch.testing.assert_close(string.at(sum(lengths[:i]) / sum(lengths)), beads[i], rtol=1e-9, atol=1e-9)
        assert length > 0


def test_places_pass_over_beads_that_coincide():
    a, b, c = uneven(count=3)
    string = WeightString(SURFACE, torch.stack([a, a, b, b, c, c]))
    plain = WeightString(SURFACE, torch.stack([a, b, c]))
    for s in (0.0, 0.2, 0.5, 0.9, 1.0):
        torch.testing.assert_close(string.at(s), plain.at(s), rtol=0, atol=1e-14)


def test_places_keep_the_dtype():
    ring = Ring(dtype=torch.float32)
    string = WeightString(ring, torch.stack([*ring.ends, ring.ends[0] + 1]))
    assert string.at(0.4).dtype == torch.float32
    assert torch.equal(string.at(1.0), ring.ends[0] + 1)


@pytest.mark.parametrize("seed", range(5))
def test_barriers_are_those_of_a_dense_curve(seed):
    beads = uneven(seed)
    string = WeightString(SURFACE, beads)
    s, losses = dense(beads, 2001)
    first, last, top = losses[0], losses[-1], losses.max()
    expected = {
        "max": top,
        "over_ends": top - torch.maximum(first, last),
        "over_mean": top - (first + last) / 2,
        "over_linear": (losses - (1 - s) * first - s * last).max(),
    }
    assert set(expected) == set(BARRIERS)
    for name, value in expected.items():
        # The peaks of the loss are searched for; that of its excess over a line is only as good as the grid.
        precision = 1e-2 if name == "over_linear" else 1e-4
        assert value * (1 - precision) <= string.barrier(name) <= value * (1 + 1e-6), name
    assert string.max_loss == string.barrier("max")


def test_barriers_by_hand():
    curve = StringCurve(
        s=(0.0, 0.25, 0.5, 1.0),
        segment=(0, 0, 1, 1),
        t=(0.0, 1.0, 0.5, 1.0),
        values={"loss": (1.0, 4.0, 5.0, 4.0), "error": (0.0, 0.5, 0.25, 0.0)},
    )
    string = WeightString(None, uneven(count=3), curve)
    assert [string.barrier(name) for name in BARRIERS] == [5.0, 1.0, 2.5, 2.5]
    assert [string.barrier(name, "error") for name in BARRIERS] == [0.5, 0.5, 0.5, 0.5]
    # A bead is an end of both its segments; over both quantities the larger counts.
    assert string.curve.segment_maximum(0) == (1.0, 4.0)
    assert string.curve.segment_maximum(1) == (0.5, 5.0)
    assert string.curve.segment_maximum(0, ("error",)) == (1.0, 0.5)
    assert string.curve.segment_maximum(1, ("error",)) == (0.0, 0.5)
    assert string.curve.segment_maximum(1, ("error", "loss")) == (0.5, 5.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_makes_the_barrier_infinite(value):
    curve = StringCurve((0.0, 0.5, 1.0), (0, 0, 0), (0.0, 0.5, 1.0), {"loss": (1.0, value, 2.0)})
    string = WeightString(None, uneven(count=2), curve)
    assert [string.barrier(name) for name in BARRIERS] == [math.inf] * 4
    assert string.max_loss == math.inf
    assert string.curve.segment_maximum(0).value == math.inf


def test_the_curve_measures_every_bead_once_and_every_quantity(watched, cloud):
    problem = watched(cloud())
    beads = problem.problem.points[:4]
    string = WeightString(
        problem, beads, seen=SearchSamples(("loss", "spread"), ({0.123: 7.0}, {}, {0.5: 7.0, 0.9: 7.0}))
    )
    curve = string.measure()
    assert problem.measured == len(curve.s) == 3 * 17 - 2 + 2  # 0.5 is on the grid already
    assert curve is string.curve
    assert problem.measured == len(curve.s)
    assert set(curve.values) == {"loss", "train_loss", "spread"}
    assert all(s < after for s, after in pairwise(curve.s))
    assert (curve.s[0], curve.s[-1]) == (0.0, 1.0)
    assert (0, 0.123) in list(zip(curve.segment, curve.t, strict=True))
    for i in (0, 7, 16, 17, 40, len(curve.s) - 1):
        theta = string.segments[curve.segment[i]].at(torch.tensor([curve.t[i]], dtype=torch.float64))
        for name, value in problem.problem.measure(theta, problem.quantities).items():
            assert curve.values[name][i] == pytest.approx(value.item(), rel=1e-12)
        torch.testing.assert_close(string.at(curve.s[i]), theta[0], rtol=1e-9, atol=1e-9)


def test_the_curve_holds_what_the_search_saw_where_the_threshold_binds_one_quantity(cloud):
    problem = cloud()
    beads = problem.points[:3]
    heights = ({0.0: 8.5, 0.123: 7.5, 1.0: 6.5}, {1.0: 5.5})
    seen = WeightString(problem, beads, seen=SearchSamples(("spread",), heights)).curve
    plain = WeightString(problem, beads, seen=SearchSamples(("spread", "loss"), heights)).curve
    assert (seen.s, seen.segment, seen.t) == (plain.s, plain.segment, plain.t)
    assert (seen.values["loss"], seen.values["train_loss"]) == (plain.values["loss"], plain.values["train_loss"])
    known = [heights[i].get(t) for i, t in zip(seen.segment, seen.t, strict=True)]
    expected = [own if old is None else old for old, own in zip(known, plain.values["spread"], strict=True)]
    assert seen.values["spread"] == tuple(expected)
    assert [old for old in known if old is not None] == [8.5, 7.5, 6.5, 5.5]


def test_measuring_calls_the_hook_after_every_batch(monkeypatch):
    string = WeightString(SURFACE, uneven(count=9), seen=SearchSamples(("loss",), ({},) * 8))
    calls: list[int] = []
    string.measure(lambda: calls.append(1))
    assert len(calls) == 1
    string.measure(lambda: calls.append(1))
    assert len(calls) == 1  # what was measured is known
    calls.clear()
    monkeypatch.setattr(segment_module, "MAX_ROWS", 64)
    string = WeightString(SURFACE, uneven(count=9), seen=SearchSamples(("loss",), ({},) * 8))
    string.measure(lambda: calls.append(1))
    assert len(calls) == 3  # 129 points, 64 at a time


def test_a_narrow_peak_of_the_loss_is_in_the_curve():
    spike = Spike(size=3, width=0.15, position=0.53, stiffness=2.0)
    string = WeightString(spike, torch.stack(spike.ends))
    assert string.max_loss == pytest.approx(spike.chord_maximum, rel=1e-3)


def test_beads_that_are_no_string_are_refused(refused):
    ring = Ring()
    a, b = ring.ends
    with refused(InvalidCheckpoint, r"^a string needs beads of shape \(n, P\) with n >= 2, not \(1, 2\)$"):
        WeightString(ring, a[None])
    with refused(InvalidCheckpoint, r"^a string needs beads of shape \(n, P\) with n >= 2, not \(2,\)$"):
        WeightString(ring, a)
    with refused(InvalidCheckpoint, r"^bead 0 has shape \(3,\), the problem's θ has \(2,\)"):
        WeightString(ring, torch.zeros(2, 3, dtype=torch.float64))
    with refused(InvalidCheckpoint, r"^bead 1 has 2 entries that are NaN or infinite$"):
        WeightString(ring, torch.stack([a, b * math.nan]))


@pytest.mark.parametrize("s", [-0.1, 1.1, math.nan])
def test_a_place_off_the_string_is_refused(refused, s):
    with refused(InvalidSetting, rf"^s={s} is not on the string: it runs from 0 to 1$"):
        WeightString(SURFACE, uneven()).at(s)


def test_an_unknown_barrier_is_refused(refused):
    string = WeightString(SURFACE, uneven())
    known = "max, over_ends, over_mean, over_linear of loss"
    with refused(InvalidSetting, rf"^no barrier 'highest' of 'loss': choose {known}$"):
        string.barrier("highest")
    with refused(InvalidSetting, rf"^no barrier 'max' of 'error': choose {known}$"):
        string.barrier("max", "error")


def test_measuring_without_a_problem_is_refused(refused):
    string = WeightString(None, uneven())
    with refused(InvalidSetting, r"^this string has no problem to measure: give one, ws.load\(run, problem=problem\)$"):
        string.measure()
    with refused(InvalidSetting, r"^this string has no problem"):
        _ = string.max_loss


@pytest.mark.parametrize(("bind", "measured"), [("evaluate", ["loss"]), ("train", ["loss", "train_loss"])])
def test_the_training_set_is_left_out_of_the_curve_where_the_problem_says_so(tmp_path, bind, measured):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    data = (x, x[:, :1])
    problem = ModuleProblem(nn.Linear(2, 1), nn.MSELoss(), data, evaluate=data, train_curves=False)
    assert problem.quantities == ("loss", "train_loss")
    result = ws.connect(problem, problem.initial(0), problem.initial(1), bind=bind, store=tmp_path / "run")
    assert sorted(result.string.curve.values) == measured
    page = ws.write_report(tmp_path / "run").read_text()
    assert "The evaluation set is the training set" not in page
