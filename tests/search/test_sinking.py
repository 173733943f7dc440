"""Searches under lower and lower thresholds, until Γ is reached as far as they can tell."""

from __future__ import annotations

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Maze, Ring, TwoWells, shifted
from weightstring.search import Relay, Sinking
from weightstring.search.strategies import from_plain, plain
from weightstring.theory.quartic import ReluQuartic

pytestmark = pytest.mark.usefixtures("unchecked")

WELLS = shifted(TwoWells(bend=0.3, saddle=2.0), torch.tensor([0.3, -0.7]).double(), lift=0.5)


def estimate(surface: ws.problem.surfaces.Surface, strategy: object, **options: object) -> ws.Minimax:
    return ws.minimax(surface, *surface.ends, strategy=strategy, progress=False, **options)


QUICK = Sinking(ws.Greedy(retries=0), tolerance=0.01)


def test_it_comes_within_its_tolerance_of_the_pass():
    found = estimate(WELLS, QUICK)
    gamma = WELLS.gamma(*WELLS.ends)
    assert gamma * (1 - 1e-3) <= found.level <= gamma * 1.011
    assert found.result.outcome.reason == "stalled"
    assert found.level == min(found.by_depth)


@pytest.mark.slow
def test_it_goes_on_from_where_a_sinking_string_stalls():
    ring = Ring(ridge=0.2)
    rough = ws.BreadthFirst()
    alone, further = estimate(ring, rough), estimate(ring, Relay(rough, QUICK))
    gamma = ring.gamma(*ring.ends)
    assert alone.level > 1.015 * gamma
    assert gamma * (1 - 1e-3) <= further.level <= 1.011 * gamma


@pytest.mark.slow
def test_a_search_that_fails_by_a_little_may_leave_a_lower_string():
    maze = Maze()
    found = estimate(maze, Relay(ws.BreadthFirst(), QUICK))
    assert found.level == min(found.by_depth)
    assert found.level <= 1.001 * maze.gamma(*maze.ends)


@pytest.mark.slow
def test_it_ends_connected_where_the_ends_level_is_reached():
    ring = shifted(Ring(size=3), torch.tensor([1.0, -2.0, 0.5]).double(), lift=0.25)
    found = estimate(ring, QUICK)
    assert found.level <= 0.25 + 0.002
    flat = TwoWells(saddle=1.0)
    a = flat.ends[0]
    assert ws.minimax(flat, a, a.clone(), strategy=Sinking(), progress=False).resolved


@pytest.mark.slow
@pytest.mark.many(quick=1)
@pytest.mark.parametrize("kept", [1, 4, 9])
def test_it_goes_on_from_any_round_in_the_same_bits(tmp_path, kept):
    whole = estimate(WELLS, QUICK, store=tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 9
    journal.write_bytes(b"".join(lines[:kept]))
    (tmp_path / "run" / "result.json").unlink()
    again = estimate(WELLS, QUICK, store=tmp_path / "run")
    assert torch.equal(again.result.string.beads, whole.result.string.beads)
    assert again.level == whole.level


def test_settings_survive_the_manifest_and_misuse_is_refused(refused):
    assert from_plain(plain(Relay(ws.BreadthFirst(), Sinking()))) == Relay(ws.BreadthFirst(), Sinking())
    with pytest.raises(InvalidSetting, match=r"give a share in \(0, 1\)"):
        Sinking(tolerance=0)


@pytest.mark.slow
def test_past_the_plateau_of_dead_units_by_default():
    relu = ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=3)  # Γ = 0, and the plateau at 1
    assert ws.minimax(relu, *relu.ends, strategy=ws.BreadthFirst(), progress=False).level > 1
    assert ws.minimax(relu, *relu.ends, progress=False).level < 0.01 * 5
