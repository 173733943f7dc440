"""Attempts are run before their turn where there is room, and change nothing but when they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

import weightstring as ws
from weightstring.path import Objective, Segment
from weightstring.problem.surfaces import Maze
from weightstring.search import Batched, Greedy, JobContext, Measure, Persistent
from weightstring.search.running.ahead import alike
from weightstring.store import RunDirectory

pytestmark = pytest.mark.usefixtures("unchecked")


class Steady(Maze):
    """A maze in which a model's numbers are the same beside any others."""

    independent = True


SURFACE = Steady(size=3)
HOPELESS = Greedy(max_depth=0)
CONTEXT = JobContext(Objective(SURFACE), 0, SURFACE.recipe, width=16, adaptive=True)
ATTEMPTS = Persistent(HOPELESS, {"in vain": Greedy(max_depth=3), "as vain": Greedy(max_depth=2), "for real": Greedy()})


@dataclass(frozen=True)
class InOrder(Persistent):
    """The same attempts, none of them ahead of its turn."""

    def ahead(self, stage: object) -> list[object]:
        return []


def search(strategy: Persistent, **options: object) -> ws.Result:
    return ws.connect(SURFACE, *SURFACE.ends, 0.35, strategy=strategy, **options)


def told(result: ws.Result) -> Sequence[object]:
    return [(r.attempt, r.steps, r.evaluations, r.values, r.max, r.ended) for r in result.history]


@pytest.fixture(scope="module")
def plain() -> ws.Result:
    return search(InOrder(HOPELESS, ATTEMPTS.others))


def test_what_is_found_and_written_is_what_it_is_in_plain_order(plain):
    seen: list[int] = []

    class Counting(Batched):
        def submit(self, key, job):
            seen.append(key[0])
            super().submit(key, job)

    found = search(ATTEMPTS, executor=Counting(CONTEXT))
    assert len(set(seen)) > 1
    assert found.connected is plain.connected
    assert torch.equal(found.string.beads, plain.string.beads)
    assert told(found) == told(plain)


def test_nothing_is_run_ahead_of_a_search_whose_steps_are_limited():
    class Alone(Batched):
        def submit(self, key, job):
            assert key[0] == 0
            super().submit(key, job)

    assert search(ATTEMPTS, stop=ws.MaxSteps(10**6), executor=Alone(CONTEXT)).steps > 0


def test_a_search_that_is_resumed_amid_what_was_run_ahead_finds_the_same(tmp_path, plain):
    class Interrupted(Batched):
        rounds = 0

        def collect(self, tick):
            Interrupted.rounds += 1
            if Interrupted.rounds == 12:
                raise KeyboardInterrupt
            return super().collect(tick)

    store = tmp_path / "run"
    assert search(ATTEMPTS, store=store, executor=Interrupted(CONTEXT)).outcome.reason == "interrupted"
    assert 0 < len(RunDirectory(store).replay()) < len(plain.history)
    found = search(ATTEMPTS, store=store)
    assert torch.equal(found.string.beads, plain.string.beads)


def test_jobs_of_one_name_are_told_apart_by_their_content():
    a, b = torch.zeros(3), torch.ones(3)
    job = Measure("a-b", Segment(a, b), (0.1, 0.2), 0.5)
    assert alike(job, Measure("a-b", Segment(a.clone(), b.clone()), (0.1, 0.2), 0.5))
    for other in (Segment(a, 2 * b), Segment(a.double(), b.double())):
        assert not alike(job, Measure("a-b", other, (0.1, 0.2), 0.5))
    assert not alike(job, Measure("a-b", Segment(a, b), (0.1, 0.2), 0.4))
