"""What every strategy must keep to, checked on losses whose Γ is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import torch

from weightstring.arrays import Thetas
from weightstring.path import Connected, Objective, Segment, Unresolved, no_worse
from weightstring.problem.surfaces import Ring, Surface, TwoWells, shifted
from weightstring.search import (
    Batched,
    Bead,
    Job,
    JobContext,
    JobResult,
    MaxBeads,
    MaxSteps,
    Query,
    Search,
    Strategy,
    run,
)
from weightstring.search.chain import Chain, beads_of
from weightstring.search.rounds import absorbed, due, failure
from weightstring.search.stopping import StopRule
from weightstring.search.strategies import STRATEGIES, from_plain, plain
from weightstring.store import Round

STOP = MaxBeads(32) | MaxSteps(20_000)
HOPELESS = MaxBeads(12) | MaxSteps(6_000)
"""When a search under Γ is given up, which can only fail."""
ROUNDS = 200
"""A search that takes more of them under :data:`STOP` goes in circles."""
SURFACES: Mapping[str, Surface] = {
    "two wells": shifted(TwoWells(size=3), torch.tensor([0.4, -2.0, 1.0], dtype=torch.float64), lift=0.25),
    "ring": Ring(size=2, ridge=0.2),
}
"""Losses of which every strategy must find the pass, off the origin, of uneven sizes."""


def check_strategy(strategy: Strategy[Any], *, connects: bool = True) -> None:
    """Hold a strategy against all that the driver, the journal and a result's reader rely on.

    On surfaces with known Γ it is checked that rounds are pure and their jobs named uniquely, that a search goes on
    from its journal in the same bits, that it never claims a string under Γ, and that what it claims is
    at most the threshold on a dense grid; also that a registered strategy's settings survive a run's manifest.

    Args:
        strategy: a strategy, not its class.
        connects: whether it must find a string well above Γ.

    Raises:
        AssertionError: it does not keep to something; in one line, what.

    >>> from weightstring import Greedy
    >>> check_strategy(Greedy())
    """
    _require(isinstance(strategy, Strategy), f"{strategy!r:.80} is no Strategy: derive its class from that")
    _check_settings(strategy)
    for name, surface in SURFACES.items():
        gamma = surface.gamma(*surface.ends)
        over, under = 1.3 * gamma + 0.05, max(0.9 * gamma, *_heights(surface))
        _check_rounds(strategy, surface, over, name)
        found = _check_resuming(strategy, surface, over, name)
        _check_claim(found, surface, over, name)
        _require(
            isinstance(found.outcome, Connected) or not connects,
            f"on {name} no string was found at {over:.4g}, though Γ is {gamma:.4g}: {found.outcome}",
        )
        if under < gamma:
            below = _search(strategy, surface, under, _Kept(), HOPELESS)
            _require(
                isinstance(below.outcome, Unresolved),
                f"on {name} a string was claimed at {under:.4g}, though Γ is {gamma:.4g}",
            )


@dataclass
class _Kept:
    """A journal in memory."""

    rounds: list[Round] = field(default_factory=list)

    def replay(self) -> list[Round]:
        return list(self.rounds)

    def append(self, finished: Round) -> Thetas | None:
        self.rounds.append(finished)
        return finished.thetas


def _check_settings(strategy: Strategy[Any]) -> None:
    settings = plain(strategy)
    read = msgspec.json.decode(msgspec.json.encode(settings))
    if settings["name"] in STRATEGIES:
        again = from_plain(read)
        _require(again == strategy, f"its settings come back from a manifest as {again!r:.200}")


def _check_rounds(strategy: Strategy[Any], surface: Surface, threshold: float, name: str) -> None:
    for number, (state, jobs, results) in enumerate(_rounds(strategy, surface, threshold), 1):
        where = f"on {name}, round {number}"
        names = [job.name for job in jobs]
        before = _beads(state.string.chain).clone()
        again = [job.name for job in due(strategy, state)]
        _require(again == names, f"{where}: proposing twice gives other jobs: {names[:3]}, then {again[:3]}")
        _require(len(set(names)) == len(names), f"{where}: two jobs have the same name: {sorted(names)[:9]}")
        first, second = (absorbed(strategy, state, results).string for _ in range(2))
        _require(_same(first.chain, second.chain), f"{where}: absorbing twice gives other strings")
        _require(torch.equal(before, _beads(state.string.chain)), f"{where}: the state itself was changed")
        _require(number < ROUNDS, f"{where}: it does not come to an end")
        ends = beads_of(first.chain)[0].theta, beads_of(first.chain)[-1].theta
        held = all(map(torch.equal, ends, surface.ends))
        _require(held or strategy.frees_ends, f"{where}: an end was moved, though frees_ends is False")


def _rounds(
    strategy: Strategy[Any], surface: Surface, threshold: float
) -> Iterator[tuple[Any, tuple[Job, ...], dict[str, JobResult]]]:
    """A search by hand: the state before each round, its jobs, and their results."""
    executor = Batched(JobContext(Objective(surface), 0, surface.recipe, 4))
    state = strategy.start(_query(surface, threshold))
    while len(state.string.chain) < 32:
        if reason := failure(strategy, state):
            if (state := strategy.after(state, reason)) is None:
                return
            continue
        jobs, results = due(strategy, state), dict[str, JobResult]()
        if not jobs:
            return
        by_name = {job.name: job for job in jobs}
        for name, job in by_name.items():
            executor.submit((0, name), job)
        while len(results) < len(by_name):
            results |= {place: result for (_, place), result in executor.collect(lambda check: None)}
        yield state, jobs, results
        state = absorbed(strategy, state, results)


def _check_resuming(strategy: Strategy[Any], surface: Surface, threshold: float, name: str) -> Search[Any]:
    journal = _Kept()
    whole = _search(strategy, surface, threshold, journal)
    for kept in (2 * len(journal.rounds) // 3, len(journal.rounds)):
        again = _search(strategy, surface, threshold, _Kept(journal.rounds[:kept]))
        same = _same(again.chain, whole.chain) and again.outcome == whole.outcome
        _require(same, f"on {name}, gone on from round {kept} of its journal it finds another string")
    return whole


def _check_claim(found: Search[Any], surface: Surface, threshold: float, name: str) -> None:
    if not isinstance(found.outcome, Connected):
        left, right = found.outcome.evidence.segment  # type: ignore[union-attr]
        _require(0 <= left == right - 1 < len(found.chain), f"on {name} its evidence names a segment that is not there")
        return
    ts = torch.linspace(0, 1, 201, dtype=torch.float64)
    points = [Segment(a, b).point(float(t)) for a, b in pairwise(_beads(found.chain)) for t in ts]
    highest = float(surface.measure(torch.stack(points))["loss"].max())
    _require(
        no_worse(highest, threshold * (1 + 1e-3)), f"on {name} its string rises to {highest:.6g}, over {threshold:.6g}"
    )


def _search(
    strategy: Strategy[Any], surface: Surface, threshold: float, journal: _Kept, stop: StopRule = STOP
) -> Search[Any]:
    executor = Batched(JobContext(Objective(surface), 0, surface.recipe, 4))
    return run(strategy, _query(surface, threshold), executor, stop=stop, journal=journal)


def _query(surface: Surface, threshold: float) -> Query:
    (a, b), (low, high) = surface.ends, _heights(surface)
    return Query((Bead("a", a, low), Bead("b", b, high)), threshold, seed=0)


def _heights(surface: Surface) -> list[float]:
    heights: list[float] = surface.measure(torch.stack(surface.ends))["loss"].tolist()
    return heights


def _beads(chain: Chain) -> Thetas:
    return torch.stack([bead.theta for bead in beads_of(chain)])


def _same(one: Chain, other: Chain) -> bool:
    return torch.equal(_beads(one), _beads(other))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
