"""A search that fails is tried in other ways: in order, written down, and without a trace where none fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.problem.surfaces import Maze, Ring, TwoWells, shifted
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.search import Greedy, JobContext, Persistent
from weightstring.search.chain import Bead, Link, afresh, held_to, maximum
from weightstring.search.jobs import Measured
from weightstring.search.methods.lowered import Lowered
from weightstring.search.methods.persistent import FIRST, usual
from weightstring.search.methods.relay import Relay
from weightstring.search.methods.reoptimized import Reoptimized
from weightstring.search.strategies import from_plain, plain
from weightstring.store import RunDirectory
from weightstring.theory.quartic import ReluQuartic

pytestmark = pytest.mark.usefixtures("unchecked")

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
HOPELESS = Greedy(max_depth=0)
RELU = ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=3)


def search(strategy: object, threshold: float = 0.9, surface: LossProblem = SURFACE, **options: object) -> ws.Result:
    return ws.connect(surface, *surface.ends, threshold, strategy=strategy, **options)


def same(one: ws.Result, other: ws.Result) -> bool:
    return torch.equal(one.string.beads, other.string.beads)


def test_what_succeeds_at_once_is_what_it_is_without_other_attempts():
    plainly, persistently = search(Greedy()), search(Persistent(Greedy()))
    assert plainly.connected
    assert same(plainly, persistently)
    assert persistently.steps == plainly.steps
    assert [one[:2] for one in persistently.attempts] == [(FIRST, None)]
    assert plainly.attempts == ()
    assert "after:" not in str(persistently)


@pytest.mark.slow
def test_the_attempt_that_worked_is_named_with_those_before_it(tmp_path):
    found = search(Persistent(HOPELESS, {"in vain": HOPELESS, "for real": Greedy()}), store=tmp_path / "run")
    assert found.connected
    assert [one[:2] for one in found.attempts] == [(FIRST, "depth"), ("in vain", "depth"), ("for real", None)]
    assert found.attempts[2].steps == found.steps > 0
    assert "found by for real" in str(found)
    assert ws.load(tmp_path / "run").attempts == found.attempts
    ws.write_report(tmp_path / "run")
    assert "found by for real" in (tmp_path / "run" / "report.html").read_text()


def test_where_all_fail_the_lowest_string_comes_with_its_own_evidence():
    attempts = {"few beads": Greedy(max_depth=3), "none": HOPELESS}
    found = search(Persistent(HOPELESS, attempts), threshold=0.85)
    alone = search(attempts["few beads"], threshold=0.85)
    assert not found.connected
    assert same(found, alone)
    assert replace(found.outcome.evidence, curvature=None) == replace(alone.outcome.evidence, curvature=None)
    assert len(found.attempts) == 3
    assert "tried in vain" in str(found)


def test_beads_that_crowd_end_an_attempt_but_not_the_last():
    found = search(Persistent(Greedy(), {"again": Greedy(), "once more": Greedy()}, beads=4))
    assert [one.ended for one in found.attempts] == ["beads", "beads", None]
    assert found.connected
    assert len(found.string) > 4


def test_the_limits_of_the_search_end_all_attempts():
    attempts = Persistent(HOPELESS, {"again": Greedy(), "once more": Greedy()})
    few, short = search(attempts, stop=ws.MaxBeads(4)), search(attempts, stop=ws.MaxSteps(20))
    assert (few.outcome.reason, short.outcome.reason) == ("beads", "steps")
    assert len(few.attempts) == len(short.attempts) == 2
    assert short.steps <= 20


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("kept", range(7))
def test_it_goes_on_from_any_round_in_the_same_bits(tmp_path, kept):
    strategy = Persistent(HOPELESS, {"a sinking string": Relay(ws.BreadthFirst(inserts=1, patience=1), Greedy())})
    whole = search(strategy, store=tmp_path / "whole")
    assert whole.connected
    search(strategy, store=tmp_path / "again")
    journal = tmp_path / "again" / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:kept]))
    (tmp_path / "again" / "result.json").unlink()
    again = search(strategy, store=tmp_path / "again")
    assert same(again, whole)
    assert again.attempts == whole.attempts


def test_an_attempt_in_the_journal_of_a_strategy_without_any_is_refused(refused, tmp_path):
    search(Persistent(HOPELESS, {"more": Greedy()}), store=tmp_path / "run")
    rounds = RunDirectory(tmp_path / "run").replay()
    assert [one.ended for one in rounds if one.ended] == ["depth"]

    class Elsewhere:
        def replay(self) -> list:
            return rounds

        def append(self, finished: object) -> None:
            raise AssertionError

    from weightstring.path import Objective
    from weightstring.search import Batched, Query, run

    values = SURFACE.measure(torch.stack(SURFACE.ends))["loss"].tolist()
    ends = tuple(Bead(name, end, value) for name, end, value in zip("ab", SURFACE.ends, values, strict=True))
    jobs = Batched(JobContext(Objective(SURFACE, "evaluate"), 0, SURFACE.recipe, 4))
    with pytest.raises(InvalidRun, match="no other attempt follows there"):
        run(HOPELESS, Query(ends, 0.9, 0), jobs, stop=ws.MaxBeads(64), journal=Elsewhere())


def test_settings_survive_the_manifest():
    for strategy in (Persistent(Greedy(alpha=0.7)), Persistent(ws.BreadthFirst()), Persistent(HOPELESS, {})):
        assert from_plain(plain(strategy)) == strategy
    assert "another optimizer" in usual(ws.Constrained())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Persistent(Greedy(), {"name": Greedy()}), "call none of them"),
        (lambda: Persistent(Greedy(), {"other": 3}), "give strategies by name"),
        (lambda: Persistent(Greedy(), beads=1), "at least its two ends"),
        (lambda: Lowered(Greedy(), share=1.0), r"give a share .* in \(0, 1\)"),
        (lambda: Relay(Greedy(), ws.Bezier()), "with a method onward"),
    ],
)
def test_misuse_is_refused(refused, make, says):
    with pytest.raises(InvalidSetting, match=says):
        make()


@pytest.mark.slow
def test_a_lower_aim_leads_off_a_plateau_that_lies_over_the_threshold():
    higher = 0.9  # dead units cost 1
    assert not search(Greedy(), higher, RELU).connected
    found = search(Lowered(Greedy(alpha=0.5)), higher, RELU)
    assert found.connected
    assert found.largest <= higher


def test_a_lowered_search_is_that_under_the_lower_threshold_less_the_beads_that_can_go():
    ring = Ring(ridge=0.1, size=3)
    lowered, lower = search(Lowered(Greedy(), 0.5), 0.6, ring), search(Greedy(), 0.3, ring)
    assert lowered.connected
    kept = {tuple(bead.tolist()) for bead in lower.string.beads}
    assert {tuple(bead.tolist()) for bead in lowered.string.beads} <= kept
    assert len(lowered.string) <= len(lower.string)


def test_a_relay_hands_on_the_best_string_of_the_first():
    first = ws.BreadthFirst(inserts=1, patience=1)
    alone = search(first)
    assert not alone.connected
    found = search(Relay(first, Greedy()))
    assert found.connected
    where = next(i for i, one in enumerate(found.history) if one.level == 0.9 and i > 0 and one.beads > 2)
    assert found.history[where].beads >= len(alone.string)


def test_a_relay_whose_first_succeeds_needs_no_second():
    assert same(search(Relay(Greedy(), Greedy())), search(Greedy()))


@pytest.mark.slow
def test_another_optimizer_takes_its_own_steps():
    wells = TwoWells(size=3)
    creeping = Recipe("sgd", {"lr": 1e-7}, check_every=5, patience=20, max_steps=300)
    assert not search(Greedy(), 1.1, wells, recipe=creeping).connected
    found = search(Reoptimized(Greedy()), 1.1, wells, recipe=creeping)
    assert found.connected
    assert found.steps <= 300 * (len(found.string) + 5)
    both = search(Persistent(Greedy(), {"adam": Reoptimized(Greedy())}), 1.1, wells, recipe=creeping)
    assert same(both, search(Reoptimized(Greedy()), 1.1, wells, recipe=creeping))


def test_chains_are_judged_by_another_level_and_begun_afresh():
    beads = [Bead(name, torch.full((2,), float(k)), 0.1 * k) for k, name in enumerate("apb")]
    links = tuple(
        Link(left, right, 3, Measured(True, (ws.path.Maximum(0.5, height),), 5), 2, (9.0,))
        for left, right, height in zip(beads, beads[1:], (0.4, 0.6), strict=False)
    )
    assert [link.open for link in held_to(links, 0.5)] == [False, True]
    assert maximum(links) == 0.6
    assert maximum((links[0], Link(*beads[1:]))) == float("inf")
    fresh = afresh(links, 0.5)
    assert [(link.name, link.depth, link.attempts, link.before) for link in fresh] == [
        ("a-first0", 3, 0, ()),
        ("first0-b", 3, 0, ()),
    ]
    assert fresh[0].left is beads[0]
    assert fresh[1].right is beads[2]
