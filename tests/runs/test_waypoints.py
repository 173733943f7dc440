"""Searches that begin with a string through given models."""

from __future__ import annotations

import math

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidRun, InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.report.run.data import read_run
from weightstring.search import Even, Sinking
from weightstring.search.methods.lower_ends import LowerEnds
from weightstring.search.methods.lowered import Lowered
from weightstring.search.methods.reoptimized import Reoptimized
from weightstring.search.strategies import compared
from weightstring.store import RunDirectory, digest

RING = Ring(radii=(1.0, 1.5), angles=(math.pi, 0.0))  # A = (−1, 0), B = (1, 0)
A, B = RING.ends


def on_the_ring(*degrees: float, radius: float = 1.0) -> list[torch.Tensor]:
    """Models on the valley's floor, or beside it; A lies at 180° and B at 0°."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return list(radius * torch.stack([angles.cos(), 1.5 * angles.sin()], dim=1))


def connect(through, threshold=0.1, **more) -> ws.Result:
    return ws.connect(RING, A, B, threshold, through=through, progress=False, **more)


@pytest.mark.parametrize("side", [1, -1])
def test_the_string_goes_round_the_side_that_the_waypoints_are_on(side):
    result = connect(on_the_ring(*(side * degrees for degrees in (150, 120, 90, 60, 30))))
    assert result.connected
    assert result.steps == 0  # what was given is a string already, but for beads that it does not need
    assert all(side * float(bead[1]) >= -1e-9 for bead in result.string)
    assert torch.equal(result.string[0], A)
    assert torch.equal(result.string[-1], B)


def test_beads_are_put_between_waypoints_where_these_do_not_suffice():
    (top,) = on_the_ring(90)
    result = connect([top], 0.01)
    assert result.connected
    assert result.steps > 0
    assert any(torch.equal(bead, top) for bead in result.unpruned)


def test_a_waypoint_over_the_threshold_is_replaced_by_what_a_descent_from_it_finds():
    high = on_the_ring(150, 120, 90, 60, 30, radius=1.4)
    assert float(RING.measure(high[2][None])["loss"]) > 0.1
    result = connect(high, strategy=ws.Greedy())
    assert result.connected
    assert result.largest <= 0.1
    assert not any(torch.equal(bead, each) for bead in result.unpruned for each in high)
    assert [record.descents for record in result.history[:2]] == [0, 5]


OF_OTHERS = {
    "lower ends": LowerEnds(),
    "lowered": Lowered(),
    "even": Even(),
    "reoptimized": Reoptimized(),
    "sinking": Sinking(),
    "persistent": ws.Persistent(),
    "shortened": ws.Shortened(),
}
STRATEGIES = {name: each for name, each in {**compared(), **OF_OTHERS}.items() if name != "as-in-the-paper"}


@pytest.mark.many(quick=5)
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_begins_with_the_waypoints(name):
    through = on_the_ring(-150, -120, -90, -60, -30)
    result = connect(through, strategy=STRATEGIES[name], stop=ws.MaxSteps(4000))
    assert result.connected
    assert all(float(bead[1]) <= 1e-9 for bead in result.string)


@pytest.mark.parametrize("strategy", [ws.AsInThePaper(), ws.Persistent(ws.AsInThePaper())])
def test_a_strategy_that_begins_with_the_segment_alone_is_refused_before_anything_is_written(strategy, tmp_path):
    with pytest.raises(InvalidSetting, match=r"through: \w+ begins with the segment between the ends; choose"):
        connect(on_the_ring(90), strategy=strategy, store=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_waypoint_of_another_model_is_refused():
    with pytest.raises(InvalidCheckpoint, match=r"waypoint 2 has shape \(3,\)"):
        connect([*on_the_ring(90), torch.zeros(3, dtype=torch.float64)])


class TestKept:
    def test_a_run_goes_on_with_its_waypoints(self, tmp_path):
        through = on_the_ring(100, 50, radius=1.2)
        whole = connect(through, 0.003)
        begun = connect(through, 0.003, store=tmp_path / "run", stop=ws.MaxSteps(max(1, whole.steps // 2)))
        assert not begun.connected
        resumed = connect(through, 0.003, store=tmp_path / "run")
        assert resumed.connected
        assert torch.equal(resumed.string.beads, whole.string.beads)

    def test_other_waypoints_are_another_run(self, tmp_path):
        connect(on_the_ring(90), store=tmp_path / "run")
        for other in ([], on_the_ring(80), on_the_ring(90, 45)):
            with pytest.raises(InvalidRun, match="the waypoints differs"):
                connect(other, store=tmp_path / "run")

    def test_the_manifest_tells_them_and_the_page_its_recursion(self, tmp_path):
        through = on_the_ring(120, 60, radius=1.3)
        connect(through, 0.003, store=tmp_path / "run", strategy=ws.Greedy())
        directory = RunDirectory(tmp_path / "run")
        manifest = directory.manifest()
        assert [waypoint.sha256 for waypoint in manifest.through] == list(map(digest, through))
        assert all(map(torch.equal, directory.through(), through))
        evolution = read_run(directory).evolution
        assert evolution.steps[0].beads == ("A", "bead given1", "bead given2", "B")
        roots = [branch for branch in evolution.branches if branch.generation == 0]
        assert [(branch.left, branch.right) for branch in roots] == [("a", "given1'"), ("given1'", "given2'"),
                                                                    ("given2'", "b")]  # fmt: skip
        assert [branch.place[0] for branch in roots] == sorted(branch.place[0] for branch in roots)
        text = ws.write_report(tmp_path / "run").read_text()
        assert "waypoint 2" in text

    def test_changed_waypoints_are_found_out(self, tmp_path):
        connect(on_the_ring(90), store=tmp_path / "run")
        directory = RunDirectory(tmp_path / "run")
        directory.keep("through", on_the_ring(91))
        with pytest.raises(InvalidRun, match="not the waypoints of the manifest"):
            directory.through()

    def test_waypoints_that_are_changed_while_a_search_computes_with_them_are_found_out(self, tmp_path):
        connect(on_the_ring(90), store=tmp_path / "run")
        directory = RunDirectory(tmp_path / "run")
        directory.replay()
        directory.check_in_use()
        RunDirectory(tmp_path / "run").keep("through", on_the_ring(91))
        with pytest.raises(InvalidRun, match="not the waypoints of the manifest"):
            directory.check_in_use()


class TestAligned:
    def test_each_is_aligned_with_the_first_end(self, tmp_path):
        generator = torch.Generator().manual_seed(5)
        x = torch.randn(24, 2, generator=generator)
        net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        problem = ws.ModuleProblem(net, torch.nn.functional.mse_loss, (x, x.prod(1, keepdim=True)), engine="loop")
        a = problem.initial(0)
        middle, b = (ws.permuted_copy(problem, a, seed=seed) for seed in (1, 2))
        level = float(problem.measure(a[None])["loss"]) * 1.0001
        for _ in range(2):  # made, and read back
            result = ws.connect(problem, a, b, level, through=[middle], align=True, store=tmp_path / "run")
            assert result.connected
            assert result.string.length < 1e-4
        record = RunDirectory(tmp_path / "run").manifest().through[0]
        assert record.original == digest(middle) != record.sha256
        both = ws.connect(problem, a, b, 10.0, through=[middle], align="both", store=tmp_path / "both")
        assert both.plain is not None
        assert RunDirectory(tmp_path / "both").plain.manifest().through[0].sha256 == digest(middle)
        with pytest.raises(InvalidRun, match="the waypoints differs"):
            ws.connect(problem, a, b, level, through=[problem.initial(7)], align=True, store=tmp_path / "run")


def test_minimax_goes_round_the_side_that_its_waypoints_are_on():
    side = on_the_ring(-120, -60)
    found = ws.minimax(RING, A, B, strategy=ws.BreadthFirst(), stop=ws.MaxBeads(8), through=side, progress=False)
    assert all(float(bead[1]) <= 1e-9 for bead in found.result.string)


def test_of_many_pairs_each_has_waypoints_of_its_own():
    sides = [on_the_ring(side * 120, side * 60) for side in (1, -1)]
    for side, result in zip(
        (1, -1), ws.connect_many(RING, [(A, B)] * 2, 0.1, through=sides, progress=False), strict=True
    ):
        assert result.connected
        assert all(side * float(bead[1]) >= -1e-9 for bead in result.string)
    with pytest.raises(InvalidSetting, match="through: waypoints of 1 for 2 pairs"):
        ws.connect_many(RING, [(A, B)] * 2, 0.1, through=sides[:1])


def test_an_estimate_counts_the_string_through_waypoints():
    straight, through = (ws.estimate(RING, A, B, 1e6, through=each) for each in ([], on_the_ring(120, 60)))
    assert through.line.evaluations == 4 + 3 * (straight.line.evaluations - 2)
    assert str(through).startswith("3 segments")
    assert through.segment == pytest.approx(through.evaluation / straight.evaluation * straight.segment)
