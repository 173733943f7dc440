"""From a string whose samples are under the threshold to one that is proved to be: certify, refine, certify again.

Where the proof fails by a little, the loss comes too near to the threshold, between samples or at one; where a sample
over the threshold is met, the search had not seen its t*. Such segments are searched again (:mod:`reopening`).
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import torch

from weightstring.codec import none_as_infinity
from weightstring.errors import Unsupported
from weightstring.path import Objective
from weightstring.problem.capabilities import CERTIFIABLE, Certifiable, Traceable
from weightstring.proof.certificate import Piece
from weightstring.proof.enclose.bisection import Budget
from weightstring.proof.enclose.enclosing import enclosing
from weightstring.proof.enclose.proving import (
    MAX_BYTES,
    Progress,
    certificate_of,
    check_settings,
    partition_of,
    pieces_of,
)
from weightstring.protocol import LossProblem, lacking
from weightstring.runs.recording import CERTIFICATE, from_run, write_result
from weightstring.runs.reopening import Opened
from weightstring.runs.result import Result
from weightstring.runs.run import SearchedRun, taken_back
from weightstring.runs.verdict import judged, with_samples
from weightstring.search import Budget as Clock
from weightstring.store import Store

INTERVALS = 64
"""Intervals computed on a segment before it counts as loose; a neighbouring pair of beads takes fewer than ten."""

CERTIFY_TOL = 1e-3
"""How near a bound is brought to the largest sample where there is no threshold to hold, relative to it."""

ROUNDS = 5
"""Times that segments are searched again."""


def certify(run: SearchedRun) -> SearchedRun:
    """The run with a certificate where one was asked for; searched again where its curve took the verdict back."""
    before, after = run.result, _settled(run)
    if run.directory is not None and (after is not before or (taken_back(after) and not run.written)):
        after = _written(run.directory, after)
    return replace(run, result=after, written=run.directory is not None)


def _settled(run: SearchedRun) -> Result:
    result, request = run.result, run.settings.certify
    if (
        request
        and run.settings.command == "connect"
        and not run.pair.beside
        and (result.connected or taken_back(result))
    ):
        known = result.certificate
        if result.connected and known is not None and known.holds and known.tolerance == request.tolerance:
            return result
        return certified(run, none_as_infinity(request.seconds), request.tolerance)
    return reopened(run) if taken_back(result) and not run.read_back else result


def certified(run: SearchedRun, seconds: float, tol: float) -> Result:
    """A connected result with its certificate, its string refined where the proof asks for it.

    A sample over the threshold that is met on the way, and that no search from it could bring down, takes the verdict
    back.

    Args:
        run: a search that connected, or one whose verdict a sample took back.
        seconds: when to stop, whatever is proved by then.
        tol: see :func:`weightstring.certify`.
    """
    problem, quantity, level = run.problem, run.objective.quantity(), run.threshold
    started = time.perf_counter()
    string = Opened.of(run)
    proved: dict[int, tuple[Piece, ...]] = {}
    for attempt in range(ROUNDS + 1):
        remaining = max(seconds - (time.perf_counter() - started), 1e-3)
        new = [i for i in range(len(string)) if i not in proved]
        budget = Budget(remaining, INTERVALS * len(new))
        partition = partition_of(
            problem, string.beads, level, tol, quantity, budget, segments=new, known=string.heights
        )
        string.learn({(segment, t): value for segment, (t, value) in partition.tops.items()})
        for piece in pieces_of(partition):
            proved[piece.segment] = (*proved.get(piece.segment, ()), piece)
        loose = [i for i, pieces in proved.items() if max(piece.bound for piece in pieces) > level]
        remaining = seconds - (time.perf_counter() - started)
        if not loose or attempt == ROUNDS or remaining <= 0:
            break
        high = [i for i in loose if string.peaks(i)]
        limits = run.settings.limits
        if math.isfinite(remaining):
            limits = limits | Clock(string.spent.seconds + remaining)
        inserted = string.searched(high or loose, limits)
        if not inserted:
            break
        # Beside a sample over the threshold the others were to be proved no lower than that: once more.
        proved = {i: pieces for i, pieces in proved.items() if i not in loose or not high}
        moved = string.splice(inserted)
        proved = {moved[i]: pieces for i, pieces in proved.items() if i in moved}
    pieces = tuple(piece._replace(segment=i) for i in sorted(proved) for piece in proved[i])
    spent = time.perf_counter() - started
    explain = run.directory is not None  # which has a page
    certificate = certificate_of(
        problem, string.beads, quantity, level, tol, pieces, string.highest, spent, explain=explain
    )
    return replace(string.result(), certificate=certificate)


def reopened(run: SearchedRun) -> Result:
    """The result of a run whose verdict a sample of the finished string took back, searched again from there."""
    string, result = Opened.of(run), run.result
    for _ in range(ROUNDS):
        high = [i for i in range(len(string)) if string.peaks(i)]
        inserted = string.searched(high, run.settings.limits) if high else {}
        if not inserted:
            break
        string.splice(inserted)
        # What the new segments' curve shows is looked at too, or their search would be believed unseen.
        result = string.result()
        result.string.measure()
        string = Opened.of(replace(run, result=result))
    return judged(result)


def bounded(
    problem: LossProblem,
    result: Result,
    threshold: float | None,
    tol: float,
    quantity: str,
    seconds: float = math.inf,
    max_bytes: int = MAX_BYTES,
    explain: bool = False,
    on_round: Progress = lambda done, waiting, largest: None,
) -> Result:
    """A result with a certificate of its string as it is, and with the verdict that the samples met on the way allow.

    Args:
        problem: the loss.
        result: of a search.
        threshold: see :func:`weightstring.certify`, as for all that follows.
        tol: how near to the largest sample, where there is no threshold to hold.
        quantity: what to bound; samples of another than the run's threshold binds say nothing about its verdict.
        seconds: when to stop.
        max_bytes: memory that enclosures may use.
        explain: say which operations make the bounds loose.
        on_round: told how the proof gets on.
    """
    check_settings(problem, threshold, tol, quantity, seconds, math.inf, max_bytes)
    started, beads = time.perf_counter(), result.string.beads
    known, budget = result.string.heights([quantity]), Budget(seconds)
    partition = partition_of(problem, beads, threshold, tol, quantity, budget, max_bytes, on_round, known=known)
    spent, pieces = time.perf_counter() - started, pieces_of(partition)
    certificate = certificate_of(
        problem, beads, quantity, threshold, tol, pieces, partition.highest, spent, explain=explain
    )
    if quantity in result.names:
        result = with_samples(result, {(segment, t): value for segment, (t, value) in partition.tops.items()})
    return replace(result, certificate=certificate)


def learned(directory: Store, before: Result, after: Result, keep: bool) -> Result:
    """The result of a finished run with what was learned of its string since, written down if its verdict is another.

    Args:
        directory: of the run.
        before: as it stands there.
        after: with the samples that were met since.
        keep: write down a larger sample that leaves the verdict as it is too.
    """
    heights = [height for known in after.string.heights(after.names) for height in known.values()]
    if after.outcome == before.outcome and (not keep or max(heights) <= before.largest):
        return before
    return kept(directory, replace(after, certificate=None))


def require_certifiable(problem: LossProblem, bind: str, tol: float = CERTIFY_TOL, seconds: float = math.inf) -> None:
    """Refuse before a search what could not be certified after it.

    Raises:
        Unsupported: an operation has no rule, or the problem is of a kind without any.
        InvalidSetting: the threshold binds several quantities, or a number is out of range.
    """
    quantity = Objective(problem, bind).quantity()
    check_settings(problem, None, tol, quantity, seconds, math.inf, MAX_BYTES)
    if not isinstance(problem, Certifiable):
        raise Unsupported(lacking(problem, *CERTIFIABLE))
    ends = torch.zeros(2, problem.size, dtype=torch.float64, device=problem.device)
    if isinstance(problem, Traceable):
        enclosing(problem, ends, quantity, MAX_BYTES)
    else:
        whole = torch.tensor([0.0, 1.0], dtype=torch.float64)
        a, b = ends.to(problem.dtype)
        problem.upper_bounds(a, b, whole[:1], whole[1:])


def with_bound(problem: LossProblem, result: Result, quantity: str, directory: Store | None) -> Result:
    """A result with a proof of how high its string is, wherever that ends; written where it has a run directory."""
    explain = directory is not None  # which has a page
    result = bounded(problem, result, None, CERTIFY_TOL, quantity, explain=explain)
    return result if directory is None else kept(directory, result)


def kept(directory: Store, result: Result) -> Result:
    """The result, with its certificate where it has one, written into its run directory."""
    with directory.locked():
        return _written(directory, result)


def _written(directory: Store, result: Result) -> Result:
    # First the certificate, which is of no other string: whoever finds the old one proves again, from the start.
    if result.certificate is not None:
        directory.write(CERTIFICATE, result.certificate.to_json())
    result.string.measure()
    result = judged(result)
    write_result(directory, result)
    return from_run(directory, result.string.problem)
