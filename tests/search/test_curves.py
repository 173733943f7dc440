"""Curves and bands as strategies: whole searches of all three, and the curves' formulas by naive references."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.descent import Motion
from weightstring.errors import InvalidSetting
from weightstring.path import Connected, Objective, Segment, Unresolved, measure_points
from weightstring.problem.surfaces import Ring, Surface, TwoWells, shifted
from weightstring.protocol import LossProblem
from weightstring.search import Batched, Bead, JobContext, MaxBeads, Query, Search, Strategy, run
from weightstring.search.chain import Chain, beads_of
from weightstring.search.methods.autoneb import AutoNEB, Band
from weightstring.search.methods.curves import Bezier, Fitted, PolyChain
from weightstring.store import Round
from weightstring.tasks import load_task

RING = shifted(Ring(size=3), torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64))
# One bend cannot follow the ring that closely.
LOW = pytest.mark.parametrize("strategy", [Bezier(), PolyChain(bends=3, samples=4), AutoNEB()], ids=repr)
SHORT = pytest.mark.parametrize(
    "strategy", [kind(steps=60, patience=1) for kind in (Bezier, PolyChain, AutoNEB)], ids=repr
)
BELOW_A_SAMPLE = 1e-3
"""By how much of Γ the largest of a segment's samples may lie under its maximum."""


@dataclass
class Kept:
    """A journal in memory that keeps its rounds."""

    rounds: list[Round] = field(default_factory=list)

    def replay(self) -> list[Round]:
        return list(self.rounds)

    def append(self, finished: Round) -> Tensor | None:
        self.rounds.append(finished)
        return finished.thetas


def query_of(surface: Surface, threshold: float, seed: int = 0) -> Query:
    values = surface.measure(torch.stack(surface.ends))["loss"].tolist()
    first, last = (Bead(name, end, value) for name, end, value in zip("ab", surface.ends, values, strict=True))
    return Query((first, last), threshold, seed)


def search(
    strategy: Strategy,
    surface: Surface,
    threshold: float,
    *,
    problem: LossProblem | None = None,
    seed: int = 0,
    journal: Kept | None = None,
) -> Search:
    executor = Batched(JobContext(Objective(problem or surface), seed, surface.recipe, 3))
    stop, task = MaxBeads(64), query_of(surface, threshold, seed)
    return run(strategy, task, executor, stop=stop, journal=journal or Kept())


def thetas_of(chain: Chain) -> Tensor:
    return torch.stack([bead.theta for bead in beads_of(chain)])


def dense_maximum(surface: Surface, chain: Chain) -> float:
    points = [(Segment(a, b), k / 400) for a, b in pairwise(thetas_of(chain)) for k in range(401)]
    return max(measure_points(Objective(surface), points))


@LOW
def test_the_ring_is_connected_just_above_its_ends(strategy, unchecked):
    found = search(strategy, RING, 0.05)
    assert found.outcome == Connected()
    assert dense_maximum(RING, found.chain) <= 0.05 * (1 + 1e-5)
    assert all(map(torch.equal, thetas_of(found.chain)[[0, -1]], RING.ends))
    assert len(found.chain) + 1 <= max(record.beads for record in found.rounds)


@SHORT
def test_a_linear_pair_asks_for_no_gradient(watched, strategy, unchecked):
    problem = watched(RING)
    found = search(strategy, RING, 1.5, problem=problem)
    assert found.outcome == Connected()
    assert (problem.gradients, len(found.chain), len(found.rounds)) == (0, 1, 1)


@SHORT
def test_below_the_pass_it_stalls_and_shows_its_best_string(strategy, unchecked):
    surface = TwoWells(size=3)
    gamma = surface.gamma(*surface.ends)
    found = search(strategy, surface, 0.9 * gamma)
    assert isinstance(found.outcome, Unresolved)
    assert found.outcome.reason == "stalled"
    evidence = found.outcome.evidence
    assert min(evidence.max_per_depth) >= gamma * (1 - BELOW_A_SAMPLE)
    assert max(link.height for link in found.chain) == min(evidence.max_per_depth) < evidence.max_per_depth[0]
    assert len(evidence.open_per_depth) == len(evidence.max_per_depth)
    link = found.chain[evidence.segment[0]]
    assert link.open
    assert evidence.end_losses == (link.left.value, link.right.value)


@SHORT
def test_rounds_at_most(strategy, unchecked):
    found = search(replace(strategy, rounds=1, patience=4), TwoWells(), 0.9)
    assert found.outcome.reason == "stalled"
    assert len(found.outcome.evidence.max_per_depth) == 2  # the straight segment's, and one round's


@pytest.mark.many(quick=1)
@SHORT
def test_the_same_seed_gives_the_same_bits(strategy, unchecked):
    one, again, other = (search(strategy, TwoWells(), 0.9, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(thetas_of(one.chain), thetas_of(again.chain))
    assert one.outcome == again.outcome
    # A band draws nothing but minibatches, which a surface has not.
    assert torch.equal(thetas_of(one.chain), thetas_of(other.chain)) == isinstance(strategy, AutoNEB)


@pytest.mark.many(quick=1)
@SHORT
def test_it_goes_on_from_any_round_of_its_journal(watched, strategy, unchecked):
    journal = Kept()
    whole = search(strategy, TwoWells(), 0.9, journal=journal)
    names = [name for old in journal.rounds for name in old.jobs]
    assert len(names) == len(set(names))
    for kept in range(len(journal.rounds) + 1):
        problem, cut = watched(TwoWells()), Kept(journal.rounds[:kept])
        again = search(strategy, TwoWells(), 0.9, problem=problem, journal=cut)
        assert torch.equal(thetas_of(again.chain), thetas_of(whole.chain))
        assert again.outcome == whole.outcome
        assert problem.gradients == sum(record.steps for record in whole.rounds[kept:])


@pytest.mark.slow
def test_beads_of_an_inscribed_string_lie_on_its_curve(unchecked):
    journal = Kept()
    found = search(Bezier(bends=2, points=5, steps=60, patience=1), RING, 1e-6, journal=journal)
    assert found.outcome.reason == "stalled"
    fits = [old.thetas for old in journal.rounds if old.thetas is not None]
    for fitted in fits:
        controls = torch.stack([RING.ends[0], *fitted[:2], RING.ends[1]])
        on_curve = torch.stack([casteljau(controls, torch.tensor(k / 6).double()) for k in range(1, 6)])
        torch.testing.assert_close(fitted[2:], on_curve)
    string = thetas_of(found.chain)
    assert all(map(torch.equal, string[[0, -1]], RING.ends))
    assert any(torch.equal(string[1:-1], fitted[2:]) for fitted in fits)


def casteljau(controls: Tensor, t: Tensor) -> Tensor:
    while len(controls) > 1:
        controls = (1 - t) * controls[:-1] + t * controls[1:]
    return controls[0]


def polyline(controls: Tensor, t: Tensor) -> Tensor:
    row = min(int(t * (len(controls) - 1)), len(controls) - 2)
    share = t * (len(controls) - 1) - row
    return (1 - share) * controls[row] + share * controls[row + 1]


@pytest.mark.parametrize("bezier", [True, False])
@pytest.mark.parametrize("bends", [1, 2, 4])
def test_control_points_follow_the_gradient_of_the_mean_loss(bezier, bends):
    """Garipov et al. (2): the gradient of the loss at φ(t) by the control points, by autograd through the curve."""
    controls = torch.randn(bends + 2, 3, generator=torch.Generator().manual_seed(bends), dtype=torch.float64) + 2
    motion, moving = Fitted(0, 7, bezier=bezier), tuple(range(1, bends + 1))
    look = motion.look(controls, moving, torch.Generator().manual_seed(3))
    directed = motion.direct(controls, moving, look, RING.gradient(look.models))
    leaf = controls.clone().requires_grad_()
    ts = torch.rand(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    points = torch.stack([(casteljau if bezier else polyline)(leaf, t) for t in ts])
    torch.testing.assert_close(look.models, points.detach())
    (expected,) = torch.autograd.grad(RING.loss(points).mean(), leaf)
    torch.testing.assert_close(directed, expected[1:-1])


@pytest.mark.parametrize(("bezier", "mean"), [(True, 1 / 4), (False, 1 / 3)])
def test_points_are_uniform_in_t(bezier, mean):
    """Over t ~ U[0, 1] each Bernstein weight of degree 3 has the mean 1/4; an inner hat covers a third."""
    motion, controls = Fitted(0, 20_000, bezier=bezier), torch.zeros(4, 2, dtype=torch.float64)
    shares = motion.look(controls, (1, 2), torch.Generator().manual_seed(0)).shares
    assert shares.mean(0).tolist() == pytest.approx([mean, mean], abs=0.01)


@pytest.mark.parametrize("motion", [Fitted(3, 2, bezier=True), Fitted(0, 2, bezier=False), Band((0.1, 0.2))], ids=repr)
def test_motions_travel(motion):
    assert pickle.loads(pickle.dumps(motion)) == motion
    assert isinstance(motion, Motion)
    assert motion.phases == 1


@SHORT
def test_strategies_travel_and_are_strategies(strategy):
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert isinstance(strategy, Strategy)
    assert strategy.start(query_of(RING, 0.3)).level == 0.3


@pytest.mark.parametrize("kind", [Bezier, PolyChain, AutoNEB])
@pytest.mark.parametrize(
    "settings",
    [{"bends": 0}, {"samples": 0}, {"steps": 0}, {"patience": 0}, {"rounds": 0}, {"fall": 0.0}, {"fall": 1.0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(refused, kind, settings):
    with refused(InvalidSetting, rf"^{kind.__name__}\({next(iter(settings))}="):
        kind(**settings)


@pytest.mark.slow
def test_networks_on_digits_are_connected_by_a_curve(unchecked, digits_end):
    problem = load_task("digits")
    a, b = digits_end(0), digits_end(1)
    assert ws.locate_maximum(problem, a, b).value > 0.5
    result = ws.connect(problem, a, b, 0.5, strategy=Bezier())
    assert result.connected
    assert result.largest <= 0.5
    assert torch.equal(result.string.beads[0], a)
    assert torch.equal(result.string.beads[-1], b)


@pytest.mark.parametrize("kind", [Bezier, PolyChain, AutoNEB])
@pytest.mark.slow
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
