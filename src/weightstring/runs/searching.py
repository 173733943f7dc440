"""The search itself: proofs that make it unnecessary, all searches side by side, and the result of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import process_time
from typing import Any

from weightstring.failures import one_line
from weightstring.path import Connected, Disconnected, Objective, Outcome, SearchSamples, Unresolved, WeightString
from weightstring.path.curvature import curvature_across
from weightstring.proof.disconnect import prove, stands
from weightstring.runs.computing import executor_of
from weightstring.runs.listening import Listeners
from weightstring.runs.passes import curve_seconds, spared
from weightstring.runs.preparing import STUCK
from weightstring.runs.recording import from_run, write_result
from weightstring.runs.result import Result
from weightstring.runs.run import Run, SearchedRun, interrupted, taken_back
from weightstring.runs.showing import Display
from weightstring.runs.straight import straight_line
from weightstring.runs.told import in_numbers
from weightstring.runs.verdict import judged
from weightstring.search import Search, SearchRequest, run_all
from weightstring.search.chain import Chain, beads_of
from weightstring.search.running.history import strings
from weightstring.store import RoundRecord, Unkept


def disprove(run: Run) -> Run:
    """The run with its result where a proof says that no path stays under the threshold; else as it is."""
    settings, objective, (first, last) = run.settings, run.objective, run.ends
    if isinstance(run, SearchedRun) or not settings.disprove:
        return run
    if "loss" not in objective.names or settings.strategy.frees_ends:
        return run
    proof = prove(run.problem, first.theta, last.theta)
    if proof is None or proof.bound <= run.threshold:
        return run
    rounds = [] if run.directory is None else run.directory.replay()
    for chain in strings(settings.strategy, run.query, rounds) if rounds else ():
        # A string of an earlier session is a path too, whatever that was asked.
        if all(link.measured is not None for link in chain):
            string = WeightString(run.problem, [bead.theta for bead in beads_of(chain)])
            if not stands(run.problem, proof, string, max(link.height for link in chain), "a string of this run"):
                return run
    line = WeightString(run.problem, [first.theta, last.theta])
    return run.with_result(_result(run, Disconnected(proof), line, line))


def search(runs: Sequence[Run], show: Display) -> list[SearchedRun]:
    """Search for the strings of all runs that have no result yet, side by side."""
    waiting = [run for run in runs if not isinstance(run, SearchedRun)]
    searches = iter(_searches(waiting, show) if waiting else ())
    return [run if isinstance(run, SearchedRun) else _over(run, next(searches)) for run in runs]


def _searches(runs: Sequence[Run], show: Display) -> list[Search[Any]]:
    executor = executor_of(runs[0].objective, runs[0].settings, runs[0].computing)
    requests = [
        SearchRequest(run.settings.strategy, run.query, run.settings.limits, run.directory or Unkept()) for run in runs
    ]
    if not isinstance(show, Listeners):
        return run_all(requests, executor, on_event=show.event)
    began, elsewhere = process_time(), runs[0].settings.elsewhere

    def on_rounds(number: int, rounds: Sequence[RoundRecord]) -> None:
        if not runs[number].pair.beside:
            show.reached(lambda: in_numbers(rounds, None if elsewhere else process_time() - began))

    return run_all(requests, executor, on_event=show.event, on_rounds=on_rounds)


def _over(run: Run, search: Search[Any]) -> SearchedRun:
    level = run.threshold if isinstance(search.outcome, Connected) else None
    string = _string(run.objective, search.chain, level)
    unpruned = string if search.unpruned is search.chain else _string(run.objective, search.unpruned, level)
    result = _result(run, search.outcome, string, unpruned, search.rounds, search.length_before)
    line = straight_line(run, string, search.lines)
    return run.with_result(replace(result, line=line), search)


def _result(
    run: Run,
    outcome: Outcome,
    string: WeightString,
    unpruned: WeightString,
    history: tuple[RoundRecord, ...] = (),
    length_before: float | None = None,
) -> Result:
    return Result(
        outcome=outcome,
        string=string,
        threshold=run.threshold,
        history=history,
        bind=run.objective.bind,
        names=run.objective.names,
        evaluation=run.problem.evaluation,
        beads_before_pruning=len(unpruned),
        unpruned=unpruned,
        length_before=length_before,
        line=string if len(string) == 2 else None,
    )


def _string(objective: Objective, chain: Chain, level: float | None) -> WeightString:
    """A chain with what its search saw of it, held to a level where it is closed."""
    adaptive = any(link.measured is not None and link.measured.told is not None for link in chain)
    told = tuple(link.told for link in chain) if adaptive else ()
    seen = SearchSamples(objective.names, tuple(link.heights for link in chain), level, told)
    return WeightString(objective.problem, [bead.theta for bead in beads_of(chain)], seen=seen)


def conclude(run: SearchedRun, show: Display) -> SearchedRun:
    """The run with its final curve measured, which may take the verdict back, and its result on disk.

    A verdict that is taken back is not written: the run is searched again first, and if that is interrupted, it starts
    over. Any other is on disk before the curvature is computed, which may fail or be interrupted.
    """
    result, directory = run.result, run.directory
    if run.read_back or interrupted(result):
        return run
    screened = run.objective.screening is not None and not run.computing.adaptive
    if directory is not None or screened or run.computing.sparing:
        without = spared(run)
        show.stage("measuring the string", curve_seconds(run, without))
        result.string.measure(show.measuring, without=without)
        if len(result.string) > 2:  # else it is the line
            line = straight_line(run, result.string, run.search.lines if run.search else ())
            line.measure(show.measuring, without=without)
            result = replace(result, line=line)
        result = judged(result)
    # Else what the curve tells of the height is what the search has sampled: nothing new.
    if directory is not None and not taken_back(result):
        write_result(directory, result)
        result = from_run(directory, run.problem)  # whose beads are on disk
        return _with_curvature(replace(run, result=result, written=True))
    return _with_curvature(replace(run, result=result))


def _with_curvature(run: SearchedRun) -> SearchedRun:
    """The run with the slope and the curvature across the string where the search is stuck."""
    result, searched, outcome = run.result, run.search, run.result.outcome
    if searched is None or not isinstance(outcome, Unresolved) or outcome.reason not in STUCK:
        return run
    link = searched.chain[outcome.evidence.segment[0]]
    if link.measured is None:
        return run
    try:
        evidence = replace(outcome.evidence, curvature=curvature_across(run.problem, link.segment, link.measured.top.t))
    except Exception as failure:  # whatever it is, such as a lack of memory: the verdict stands without it
        evidence = replace(outcome.evidence, no_curvature=one_line(failure))
    result = replace(result, outcome=Unresolved(outcome.reason, evidence))
    if run.written and run.directory is not None:
        run.directory.revise(result.outcome)
    return replace(run, result=result)
