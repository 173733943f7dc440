"""However a process ends amid a run: what is on disk stays right, and the same call ends in the same bits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun, InvalidSetting, UserCodeFailed
from weightstring.problem.surfaces import Maze, Spike, shifted
from weightstring.search import Job, StopRule
from weightstring.search.jobs import JobResult
from weightstring.search.stopping import Progress
from weightstring.search.string import String
from weightstring.store import RunDirectory
from weightstring.tasks import load_task

pytestmark = pytest.mark.usefixtures("unchecked")

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
STUCK = ws.Greedy(max_depth=2, retries=0)


class Death(BaseException):
    """Ends a process amid its work, as SIGKILL does: nothing is written any more."""


def die(*_: object, **__: object) -> None:
    raise Death


@pytest.fixture
def after_append(monkeypatch):
    """Have something happen after the n-th time that a round was written."""

    def register(count: int, happen: Callable[[RunDirectory], None]) -> None:
        append, calls = RunDirectory.append, [0]

        def counted(self, finished):
            kept = append(self, finished)
            calls[0] += 1
            if calls[0] == count:
                monkeypatch.setattr(RunDirectory, "append", append)
                happen(self)
            return kept

        monkeypatch.setattr(RunDirectory, "append", counted)

    return register


def search(out: Path | None = None, **options: object) -> ws.Result:
    return ws.connect(SURFACE, *SURFACE.ends, **{"threshold": 0.9, "store": out, **options})


def strings(root: Path) -> dict[str, bytes]:
    return {str(own.relative_to(root)): own.read_bytes() for own in sorted(root.rglob("string.safetensors"))}


def verdict(run: Path) -> dict[str, object]:
    """What is on disk of a result, the clock apart."""
    found = json.loads((run / "result.json").read_text())
    return {**found, "seconds": 0, "rounds": [{**one, "seconds": 0} for one in found["rounds"]]}


DAMAGE = {
    "truncated": (lambda path: os.truncate(path, path.stat().st_size - 8), "its SHA-256 is not the one written down"),
    "emptied": (lambda path: os.truncate(path, 0), "its SHA-256 is not the one written down"),
    "removed": (lambda path: path.unlink(), "cannot be read: No such file"),
}


@pytest.mark.parametrize(
    ("damage", "mapped"), [*((damage, False) for damage in DAMAGE), ("truncated", True), ("removed", True)]
)
def test_a_bead_file_damaged_during_the_search_is_refused_in_one_line(
    tmp_path, monkeypatch, refused, after_append, damage, mapped
):
    if mapped:
        monkeypatch.setattr("weightstring.store.beads.SMALL", 0)
    spoil, says = DAMAGE[damage]
    first = tmp_path / "beads" / "round-0001.safetensors"
    after_append(2, lambda directory: spoil(first))
    with refused(InvalidRun, f"^{first}: {says}"):
        search(tmp_path)
    assert not RunDirectory(tmp_path).finished


def test_ends_damaged_during_the_search_are_refused(tmp_path, refused, after_append):
    ends = tmp_path / "beads" / "ends.safetensors"
    after_append(2, lambda directory: ends.write_bytes(b""))
    with refused(InvalidRun, f"^{ends}: damaged"):
        search(tmp_path)


def test_a_bead_file_written_anew_with_the_same_bytes_is_no_damage(tmp_path, after_append):
    def restore(directory: RunDirectory) -> None:
        path = directory.path / "beads" / "round-0001.safetensors"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)

    after_append(3, restore)
    assert search(tmp_path / "run").connected
    assert search(tmp_path / "whole").connected
    assert strings(tmp_path / "run") == strings(tmp_path / "whole")


@dataclass(frozen=True)
class Moody(ws.Greedy):
    """Raises where it is told to, once there is a third bead."""

    at: ClassVar[str] = ""

    def propose(self, state: String) -> tuple[Job, ...]:
        if self.at == "propose" and len(state.chain) > 1:
            raise KeyError("mine")
        return super().propose(state)

    def absorb(self, state: String, results: Mapping[str, JobResult]) -> String:
        after = super().absorb(state, results)
        if self.at == "absorb" and len(after.chain) > 1:
            raise KeyError("mine")
        return after


class Rule(StopRule):
    """Raises once there is a third bead."""

    def reason(self, progress: Progress) -> None:
        if progress.beads > 2:
            raise KeyError("mine")

    def plain(self) -> tuple[dict[str, object], ...]:
        return ({"rule": "own"},)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "where"),
    [
        ("propose", "the strategy or stop rule before round"),
        ("absorb", "the strategy after round"),
        ("stop", "the strategy or stop rule before round"),
    ],
)
def test_what_a_strategy_or_stop_rule_raises_is_told_with_its_place_and_what_was_found_is_kept(
    tmp_path, monkeypatch, refused, at, where
):
    said = rf"test_resuming\.py:\d+: KeyError: 'mine', in {where} \d; the rounds before are kept .*goes on$"
    stop = {"stop": Rule()} if at == "stop" else {}
    monkeypatch.setattr(Moody, "at", at)
    with refused(UserCodeFailed, said) as caught:
        search(tmp_path / "run", strategy=Moody(), **stop)
    assert isinstance(caught.value.__cause__, KeyError)
    if at == "absorb":  # that round is in the journal: it is absorbed again, and raises again
        with refused(UserCodeFailed, "KeyError: 'mine', in the strategy, taken through round"):
            search(tmp_path / "run", strategy=Moody())
    monkeypatch.setattr(Moody, "at", "")
    assert search(tmp_path / "run", strategy=Moody()).connected
    search(tmp_path / "whole")
    assert strings(tmp_path / "run") == strings(tmp_path / "whole")


def test_the_verdict_is_on_disk_before_the_curvature_is_computed(tmp_path, monkeypatch):
    whole = search(tmp_path / "whole", threshold=0.7, strategy=STUCK)
    assert whole.outcome.evidence.curvature is not None
    with monkeypatch.context() as patch:
        patch.setattr("weightstring.runs.searching.curvature_across", die)
        with pytest.raises(Death):
            search(tmp_path / "run", threshold=0.7, strategy=STUCK)
    kept = ws.load(tmp_path / "run")
    assert kept.outcome.reason == whole.outcome.reason
    assert kept.outcome.evidence.curvature is None
    assert search(tmp_path / "run", threshold=0.7, strategy=STUCK).outcome == whole.outcome
    assert verdict(tmp_path / "run") == verdict(tmp_path / "whole")


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (InvalidSetting("curvature needs finite numbers"), "curvature needs finite numbers"),
        (MemoryError("cannot allocate 1.6 GB"), "MemoryError: cannot allocate 1.6 GB"),
    ],
)
def test_a_verdict_stands_where_there_is_no_curvature(tmp_path, monkeypatch, failure, says):
    tried = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise failure

    monkeypatch.setattr("weightstring.runs.searching.curvature_across", fail)
    found = search(tmp_path / "run", threshold=0.7, strategy=STUCK)
    assert found.outcome.reason in ("depth", "descent_failed")
    assert found.outcome.evidence.no_curvature == says
    assert ws.load(tmp_path / "run").outcome == found.outcome
    assert search(tmp_path / "run", threshold=0.7, strategy=STUCK).outcome == found.outcome
    assert len(tried) == 1
    assert says in ws.write_report(tmp_path / "run").read_text()


@pytest.mark.parametrize("place", ["reopened", "_written"])
def test_a_search_ended_before_it_has_searched_again_from_a_verdict_taken_back(tmp_path, monkeypatch, place):
    """Where a search accepts on fewer points, the final curve may show what it has not seen."""
    spike = Spike()
    grid = sorted({*(i / 32 for i in range(33)), spike.position})
    monkeypatch.setattr("weightstring.path.string.grid", lambda intervals: grid)

    def searched(out: Path) -> ws.Result:
        return ws.connect(spike, *spike.ends, 0.1, sampling="dense", store=out)

    assert searched(tmp_path / "whole").connected
    with monkeypatch.context() as patch:
        patch.setattr(f"weightstring.runs.certify_step.{place}", die)
        with pytest.raises(Death):
            searched(tmp_path / "run")
    assert searched(tmp_path / "run").connected
    assert strings(tmp_path / "run") == strings(tmp_path / "whole")
    assert verdict(tmp_path / "run") == verdict(tmp_path / "whole")


def test_a_search_resumed_with_higher_limits_searches_again_from_a_verdict_taken_back(tmp_path, monkeypatch):
    spike = Spike()
    limited = ws.connect(spike, *spike.ends, 0.1, sampling="dense", store=tmp_path, stop=ws.Budget(seconds=1e-9))
    assert limited.outcome.reason == "time"
    grid = sorted({*(i / 32 for i in range(33)), spike.position})
    monkeypatch.setattr("weightstring.path.string.grid", lambda intervals: grid)
    assert ws.connect(spike, *spike.ends, 0.1, sampling="dense", store=tmp_path).connected
    assert ws.load(tmp_path).connected


@pytest.mark.slow
def test_a_comparison(tmp_path, after_append, refused):
    strategies = {"greedy": ws.Greedy(), "lower": ws.Greedy(alpha=0.9)}

    def compared(out: Path | None) -> list[dict[str, object]]:
        rows = ws.compare(SURFACE, *SURFACE.ends, 0.9, strategies=strategies, shorten=False, store=out)
        return [{**one.row(), "seconds": 0} for one in rows]

    whole = compared(tmp_path / "whole")
    assert compared(None) == whole
    after_append(len((tmp_path / "whole" / "greedy" / "journal.jsonl").read_bytes().splitlines()) + 2, die)
    with pytest.raises(Death):  # amid the second strategy
        compared(tmp_path / "run")
    assert compared(tmp_path / "run") == whole
    assert strings(tmp_path / "run") == strings(tmp_path / "whole")
    with refused(InvalidSetting, r"strategies: '\.\./mine' names no folder in "):
        ws.compare(SURFACE, *SURFACE.ends, 0.9, strategies={"../mine": ws.Greedy()}, store=tmp_path)


@pytest.mark.slow
def test_both_halves_of_an_aligned_search(tmp_path, after_append):
    problem = load_task("polynomial")
    a, b = problem.fit(seed=0, until=0.01), problem.fit(seed=2, until=0.01)

    def both(out: Path) -> ws.Result:
        return ws.connect(problem, a, b, 0.0125, align="both", store=out)

    both(tmp_path / "whole")
    for count in (1, 3):
        after_append(count, die)
        with pytest.raises(Death):
            both(tmp_path / str(count))
        assert both(tmp_path / str(count)).plain is not None
        assert strings(tmp_path / str(count)) == strings(tmp_path / "whole")
    assert len(strings(tmp_path / "whole")) == 2


@pytest.mark.slow
def test_a_sweep(tmp_path, after_append):
    problem = load_task("polynomial")

    def swept(out: Path) -> ws.Sweep:
        return ws.sweep(problem, [0.05, 0.02], pairs=2, store=out)

    swept(tmp_path / "whole")
    for count in (2, 9):
        after_append(count, die)
        with pytest.raises(Death):
            swept(tmp_path / str(count))
        swept(tmp_path / str(count))
        assert strings(tmp_path / str(count)) == strings(tmp_path / "whole")
    assert len(strings(tmp_path / "whole")) == 4
