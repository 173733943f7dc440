"""Γ itself (3): the lowest level at which a string is found."""

from __future__ import annotations

import pytest
import torch

import weightstring as ws
from weightstring.problem.surfaces import Maze, Ring, Spike, TwoWells, shifted
from weightstring.store.records import by_depth
from weightstring.tasks import load_task
from weightstring.theory.quartic import Quartic, ReluQuartic


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("bend", [0.0, 0.3, 0.6])
def test_between_two_wells_it_is_the_saddle(bend):
    well = shifted(TwoWells(bend=bend, saddle=2.0), torch.tensor([0.3, -0.7]).double(), lift=0.5)
    found = ws.minimax(well, *well.ends, strategy=ws.BreadthFirst())
    gamma = well.gamma(*well.ends)
    assert gamma * (1 - 1e-3) <= found.level <= 1.05 * gamma
    assert not found.resolved
    assert found.lower_bound <= gamma
    assert str(found).startswith(f"{found.lower_bound:.6g} <= Γ <= {found.level:.6g} (the lower bound proved, the ")


@pytest.mark.slow
@pytest.mark.parametrize("problem", [Ring(ridge=0.25), Maze()], ids=lambda p: type(p).__name__)
def test_it_is_never_below_gamma(problem):
    found = ws.minimax(problem, *problem.ends, strategy=ws.BreadthFirst())
    assert found.level >= problem.gamma(*problem.ends) * (1 - 1e-3)
    assert found.level < float(problem.measure(torch.lerp(*problem.ends, 0.5)[None])["loss"]) * 1.01
    assert list(found.by_depth) == sorted(found.by_depth, reverse=True)
    assert found.by_depth == by_depth(found.result.history)
    assert found.by_depth[0] == found.result.history[0].max
    assert found.by_depth[-1] >= found.level


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "surface",
    [
        TwoWells(bend=0.6, saddle=2.0),
        shifted(Ring(ridge=0.25), torch.tensor([0.7, -1.3]).double(), lift=0.5),
        Maze(),
        Spike(width=0.3, stiffness=20.0),
        Quartic(target=(1.5, -0.5), width=1),
        ReluQuartic(x=(1.0, -1.3), y=(1.0, 0.8)),
        ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2),
    ],
    ids=lambda surface: type(surface).__name__,
)
def test_by_default_it_is_within_one_percent(surface):
    found = ws.minimax(surface, *surface.ends, progress=False)
    assert found.level == pytest.approx(surface.gamma(*surface.ends), rel=0.01)


@pytest.mark.slow
def test_networks_that_are_connected_at_the_level_of_the_higher_end(tmp_path):
    problem = load_task("digits")
    a, b = problem.fit(seed=0, until=0.2), problem.fit(seed=1, until=0.19)
    found = ws.minimax(problem, a, b, store=tmp_path / "run")
    ends = problem.measure(torch.stack([a, b]))["loss"]
    assert found.resolved
    assert found.level == found.lower_bound == float(ends.max())
    assert str(found).startswith("Γ = ")
    assert ws.load(tmp_path / "run").connected


@pytest.mark.slow
def test_certified_it_is_a_bound_that_holds(tmp_path):
    well = TwoWells(bend=0.3)
    found = ws.minimax(well, *well.ends, strategy=ws.BreadthFirst(), certify=True, store=tmp_path / "run")
    assert well.gamma(*well.ends) <= found.certificate.upper_bound <= found.level * 1.002
    assert "is certified" in str(found)
    assert ws.load(tmp_path / "run", well).certificate == found.certificate


@pytest.mark.parametrize("steps", [5, 40, 100])
def test_stopped_on_its_way_it_keeps_the_lowest_string_there_was(steps):
    well = TwoWells(bend=0.6)
    found = ws.minimax(well, *well.ends, stop=ws.MaxSteps(steps))
    assert found.level == pytest.approx(min(found.by_depth))
    assert found.level < found.by_depth[0]
    assert found.result.outcome.reason in ("steps", "stalled")
