"""The driver: a round is run, written down and absorbed whole, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from msgspec import structs

from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.path import Connected, Objective, Unresolved
from weightstring.problem.surfaces import Maze, shifted
from weightstring.protocol import LossProblem
from weightstring.search import (
    Batched,
    Bead,
    Budget,
    Event,
    Greedy,
    JobContext,
    MaxBeads,
    MaxSteps,
    Query,
    Search,
    SearchRequest,
    StopRule,
    run,
    run_all,
)
from weightstring.search.chain import Chain, beads_of, is_string
from weightstring.store import Round, Unkept

# Whole searches, of which the fixture `whole` runs with every annotation checked.
pytestmark = pytest.mark.usefixtures("unchecked")

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
THRESHOLD = 0.9


def thetas_of(chain: Chain) -> torch.Tensor:
    return torch.stack([bead.theta for bead in beads_of(chain)])


@dataclass
class Kept:
    """A journal in memory that keeps its rounds."""

    rounds: list[Round] = field(default_factory=list)

    def replay(self) -> list[Round]:
        return list(self.rounds)

    def append(self, finished: Round) -> torch.Tensor | None:
        self.rounds.append(finished)
        return finished.thetas


@dataclass(frozen=True)
class Ticks(Budget):
    """Says that time is up at the so-and-so-manieth question that is put to it."""

    seconds: float = 1e9
    count: int = 1
    asked: list[object] = field(default_factory=list)

    def reason(self, progress):
        self.asked.append(progress)
        return "time" if len(self.asked) >= self.count else None


def search(
    problem: LossProblem = SURFACE,
    *,
    stop: StopRule | None = None,
    journal: object = None,
    strategy: Greedy | None = None,
    on_event: object = lambda event: None,
) -> Search:
    values = SURFACE.measure(torch.stack(SURFACE.ends))["loss"].tolist()
    first, last = (Bead(name, end, value) for name, end, value in zip("ab", SURFACE.ends, values, strict=True))
    executor = Batched(JobContext(Objective(problem), 0, SURFACE.recipe, 3))
    query = Query((first, last), THRESHOLD, 0)
    stop, journal = stop or MaxBeads(64), journal or Unkept()
    return run(strategy or Greedy(), query, executor, stop=stop, journal=journal, on_event=on_event)


@pytest.fixture(scope="module")
def whole() -> tuple[Search, list[Round]]:
    """A search that nothing disturbs, and its journal."""
    journal = Kept()
    return search(journal=journal), journal.rounds


def assert_same(one: Search, other: Search) -> None:
    """The same string by the same rounds, but for their seconds and for those that were given up."""
    assert torch.equal(thetas_of(one.chain), thetas_of(other.chain))
    assert one.outcome == other.outcome
    timeless = [[structs.replace(r, seconds=0.0) for r in found.rounds if r.evaluations] for found in (one, other)]
    assert timeless[0] == timeless[1]


def assert_given_up(stopped: Search, journal: Kept, whole: list[Round]) -> None:
    """Whole rounds only, and one without jobs that keeps account of the time."""
    assert len(stopped.rounds) == len(journal.rounds) <= len(whole)
    *finished, last = journal.rounds
    assert [old.jobs for old in finished] == [old.jobs for old in whole[: len(finished)]]
    assert (last.jobs, last.results, last.thetas) == ((), (), None)
    assert stopped.rounds[-1].seconds == last.seconds > 0


def test_a_search_ends_connected_with_every_round_written(whole):
    found, rounds = whole
    assert found.outcome == Connected()
    assert is_string(found.chain)
    assert len(rounds) == len(found.rounds) > 5
    for record, old in zip(found.rounds, rounds, strict=True):
        assert record.descents == (0 if old.thetas is None else len(old.thetas))
        assert record.descents + record.measured == len(old.jobs) == len(old.results)
        assert record.seconds == old.seconds >= 0
        assert record.evaluations == sum(result["evaluations"] for result in old.results)
    assert found.rounds[0].beads == 2
    assert found.rounds[-1].open == 0
    assert max(r.beads for r in found.rounds) > len(found.chain) + 1  # pruned


def test_the_history_counts_all_work(watched):
    problem = watched(SURFACE)
    found = search(problem)
    assert problem.gradients == sum(r.steps for r in found.rounds)
    assert problem.measured == sum(r.evaluations for r in found.rounds)


@pytest.mark.parametrize("kept", [0, 1, 2, 5, -1])
def test_a_search_goes_on_from_any_round_of_its_journal(watched, whole, kept):
    found, rounds = whole
    journal, problem = Kept(rounds[:kept] if kept >= 0 else list(rounds)), watched(SURFACE)
    already = len(journal.rounds)
    again = search(problem, journal=journal)
    assert_same(again, found)
    assert len(journal.rounds) == len(rounds)
    assert problem.gradients == sum(r.steps for r in found.rounds[already:])
    assert [r.seconds for r in again.rounds[:already]] == [r.seconds for r in found.rounds[:already]]


@pytest.mark.parametrize("calls", [0, 1, 40, 90])
def test_ctrl_c_ends_the_search_and_gives_up_the_round(watched, whole, calls):
    journal = Kept()
    stopped = search(watched(SURFACE, interrupt_after=calls), journal=journal)
    assert isinstance(stopped.outcome, Unresolved)
    assert stopped.outcome.reason == "interrupted"
    assert_given_up(stopped, journal, whole[1])
    assert_same(search(journal=journal), whole[0])


@pytest.mark.parametrize("calls", [0, 3, 30])
def test_ctrl_c_while_measuring(watched, whole, calls):
    journal = Kept()
    stopped = search(watched(SURFACE, interrupt_measuring_after=calls), journal=journal)
    assert stopped.outcome.reason == "interrupted"
    assert_given_up(stopped, journal, whole[1])
    assert_same(search(journal=journal), whole[0])


@pytest.mark.parametrize("count", [2, 9, 40])
def test_when_time_is_up_the_round_under_way_is_given_up(whole, count):
    journal = Kept()
    stopped = search(journal=journal, stop=Ticks(count=count))
    assert stopped.outcome.reason == "time"
    assert_given_up(stopped, journal, whole[1])
    assert_same(search(journal=journal), whole[0])


def test_a_round_is_not_begun_when_time_is_up():
    journal = Kept()
    stopped = search(journal=journal, stop=Ticks(count=1))
    assert stopped.outcome.reason == "time"
    assert journal.rounds == []
    assert len(stopped.chain) == 1


def test_a_string_that_is_closed_is_connected_though_time_runs_out_while_it_loses_beads(whole):
    found, rounds = whole
    closed = next(i for i, r in enumerate(found.rounds) if i > 0 and r.open == 0 and r.descents == 0)
    stopped = search(journal=Kept(rounds[: closed + 1]), stop=Ticks(count=2))
    assert stopped.outcome == Connected()
    assert len(stopped.chain) > len(found.chain)


def test_time_counts_over_all_sessions(whole):
    rounds = [round_._replace(seconds=1000.0) for round_ in whole[1][:3]]
    stopped = search(journal=Kept(rounds), stop=Budget(3000.0))
    assert stopped.outcome.reason == "time"
    assert len(stopped.rounds) == 3
    assert search(journal=Kept(rounds), stop=Budget(1e6)).outcome == Connected()


@pytest.mark.parametrize(("stop", "reason"), [(MaxBeads(4), "beads"), (MaxSteps(30), "steps")])
def test_limits_are_looked_at_before_a_round_and_may_be_raised(whole, stop, reason):
    journal = Kept()
    stopped = search(stop=stop, journal=journal)
    assert stopped.outcome.reason == reason
    assert len(stopped.chain) + 1 <= 4 if reason == "beads" else 0 < sum(r.steps for r in stopped.rounds) <= 30
    assert_same(search(journal=journal), whole[0])


def test_evidence_names_a_segment_of_the_string_it_comes_with(watched, whole):
    """Whenever a search is stopped, also while the finished string loses its superfluous beads."""
    _, rounds = whole
    for kept in range(len(rounds)):
        stopped = search(watched(SURFACE, 0, 0), journal=Kept(rounds[:kept]))
        left, right = stopped.outcome.evidence.segment
        assert right == left + 1 <= len(stopped.chain)
        link = stopped.chain[left]
        assert stopped.outcome.evidence.end_losses == (link.left.value, link.right.value)
        still_open = [other.height for other in stopped.chain if other.open]
        assert link.height == max(still_open) if still_open else kept == 0 or not link.open


def test_a_strategy_that_gives_up_is_asked_for_its_reason():
    stopped = search(strategy=Greedy(max_depth=1))
    assert stopped.outcome.reason == "depth"
    assert stopped.outcome.evidence.max_per_depth[0] > THRESHOLD
    assert len(stopped.outcome.evidence.open_per_depth) == 2


def test_two_jobs_of_one_name_are_refused(refused):
    class Twice(Greedy):
        def propose(self, string):
            return 2 * super().propose(string)

    with refused(InvalidSetting, r"^Twice.propose: two jobs are named 'a-b/0', and a name has one result: name each"):
        search(strategy=Twice())


def test_events_tell_how_far_a_round_is(whole):
    events: list[Event] = []
    search(on_event=events.append)
    assert sorted({event.round for event in events}) == list(range(len(whole[1])))
    for event in events:
        record = whole[0].rounds[event.round]
        assert event.jobs == record.descents + record.measured
        assert 0 <= event.done <= event.jobs
        assert (event.descents is None) == (record.descents == 0)
    assert (events[0].beads, events[0].open) == (2, 0)
    before = whole[0].rounds[events[-1].round - 1]
    assert (events[-1].beads, events[-1].open) == (before.beads, before.open)


def refuse(refused, rounds: Sequence[Round], pattern: str) -> None:
    with refused(InvalidRun, pattern):
        search(journal=Kept(list(rounds)))


def test_the_journal_of_another_search_is_refused(refused, whole):
    _, rounds = whole
    start = "is not of this search: it holds 1 jobs"
    refuse(refused, rounds[1:], rf"^round 0 of the journal {start} \(a-b/0, ...\) where 1 are due; start afresh in an")
    refuse(refused, [*rounds, rounds[0]], rf"^round {len(rounds)} of the journal {start} \(a-b, ...\) where 0 are due")
    renamed = rounds[0]._replace(jobs=("x-y",))
    refuse(refused, [renamed], r"^round 0 of the journal is not of this search: .*\(x-y, ...\)")
    refuse(refused, [rounds[0]._replace(results=())], r"^round 0 of the journal is not of this search")


def test_results_of_another_kind_are_refused(refused, whole):
    _, rounds = whole
    swapped = rounds[0]._replace(results=rounds[1].results[:1])
    refuse(refused, [swapped], r"^round 0 of the journal: not a result of a-b: Invalid value 'descended'")
    measured = rounds[0].results[0]
    swapped = rounds[1]._replace(results=(measured,) * len(rounds[1].jobs))
    refuse(refused, [rounds[0], swapped], r"^round 1 of the journal: not a result of a-b/0: Invalid value 'measured'")
    refuse(refused, [rounds[0], rounds[1]._replace(thetas=None)], r"^round 1 .* no 1 models are left")


THRESHOLDS = [0.9, 0.8, 1.3, 0.9]


def several(stops: Sequence[StopRule] | None = None, journals: Sequence[Kept] | None = None) -> list[SearchRequest]:
    """Four searches: as above, back, at another threshold, and the first once more."""
    stops, journals = stops or [MaxBeads(64)] * 4, journals or [Kept() for _ in range(4)]
    values = SURFACE.measure(torch.stack(SURFACE.ends))["loss"].tolist()
    a, b = (Bead(name, end, value) for name, end, value in zip("ab", SURFACE.ends, values, strict=True))
    asked = []
    for i, (stop, journal) in enumerate(zip(stops, journals, strict=True)):
        ends = (Bead("a", b.theta, b.value), Bead("b", a.theta, a.value)) if i == 1 else (a, b)
        asked.append(SearchRequest(Greedy(), Query(ends, THRESHOLDS[i], 0), stop, journal))
    return asked


def executor(problem: LossProblem = SURFACE, width: int = 5) -> Batched:
    return Batched(JobContext(Objective(problem), 0, SURFACE.recipe, width))


@pytest.fixture(scope="module")
def one_by_one() -> list[Search]:
    return [run_all([asked], executor())[0] for asked in several()]


@pytest.mark.slow
def test_searches_side_by_side_find_what_each_finds_alone(whole, one_by_one):
    together = run_all(several(), executor())
    for one, other in zip(together, one_by_one, strict=True):
        assert_same(one, other)
    assert_same(together[0], whole[0])
    assert_same(together[3], whole[0])
    assert len({len(found.rounds) for found in together}) > 1


def test_no_searches_no_results():
    assert run_all([], executor()) == []


@pytest.mark.slow
def test_time_ends_the_one_search_whose_time_is_up(one_by_one):
    journals = [Kept() for _ in range(4)]
    stops = [MaxBeads(64), Ticks(count=25), MaxBeads(64), MaxBeads(4)]
    found = run_all(several(stops, journals), executor())
    assert found[1].outcome.reason == "time"
    assert journals[1].rounds[-1].jobs == ()
    assert found[3].outcome.reason == "beads"
    assert_same(found[0], one_by_one[0])
    assert_same(found[2], one_by_one[2])
    again = run_all(several(journals=journals), executor())
    for one, other in zip(again, one_by_one, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("calls", [0, 20, 90])
def test_ctrl_c_ends_all_searches_each_with_its_journal(watched, one_by_one, calls):
    journals = [Kept() for _ in range(4)]
    stopped = run_all(several(journals=journals), executor(watched(SURFACE, interrupt_after=calls)))
    for found, journal in zip(stopped, journals, strict=True):
        if found.outcome != Connected():
            assert found.outcome.reason == "interrupted"
            assert_given_up(found, journal, [*journal.rounds, *journal.rounds])
    assert any(found.outcome != Connected() for found in stopped)
    again = run_all(several(journals=journals), executor())
    for one, other in zip(again, one_by_one, strict=True):
        assert_same(one, other)


def test_events_tell_how_many_searches_are_over():
    events: list[Event] = []
    run_all(several(), executor(), on_event=events.append)
    assert {event.searches for event in events} == {4}
    assert [event.finished for event in events] == sorted(event.finished for event in events)
    assert {event.finished for event in events} >= {0, 3}
    assert all(0 <= event.done <= event.jobs for event in events)
