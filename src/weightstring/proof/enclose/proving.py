"""``certify``: an upper bound of the loss over a whole string, proved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from weightstring.ambient import undisturbed
from weightstring.arrays import Thetas
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.path import WeightString
from weightstring.problem.capabilities import CERTIFIABLE, Certifiable, Traceable
from weightstring.proof.certificate import Certificate, Looseness, Piece, digests_of, versions
from weightstring.proof.enclose.bisection import Budget, Partition, bisect
from weightstring.proof.enclose.bounding import Bounding, Plain
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.exponential import Exponential, raised
from weightstring.proof.enclose.faithful import Bound, held_to, require_reproduced
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.looseness import looseness_of
from weightstring.proof.enclose.native.choosing import fastest
from weightstring.proof.enclose.refining import Refining
from weightstring.proof.enclose.rounding import ELEMENTWISE
from weightstring.proof.enclose.samples import Sampled
from weightstring.protocol import Along, Enclosed, LossProblem, lacking

MAX_BYTES = 1 << 30
"""What enclosures may use, unless told otherwise."""

Progress = Callable[[int, int, float], None]


@undisturbed
def certify(
    problem: LossProblem,
    string: WeightString,
    threshold: float | None = None,
    *,
    tol: float = 1e-3,
    quantity: str = "loss",
    seconds: float = math.inf,
    max_intervals: float = math.inf,
    max_bytes: int = MAX_BYTES,
    explain: bool = False,
    on_round: Progress = lambda done, waiting, largest: None,
) -> Certificate:
    """Prove how high the loss can be at most, on every point of every segment of a string.

    Every activation of every example is enclosed over whole intervals of the path, which are cut until the mean loss's
    upper bound is at most the threshold, or within ``tol`` of the largest sample. Rounding is accounted for; what is
    bounded is the loss of the stored parameters in real arithmetic. An end exactly at the threshold cannot be
    certified: leave a margin.

    Args:
        problem: the loss; ``Traceable``, as a :class:`ModuleProblem` is, or ``Enclosed``, as analytic surfaces are.
        string: what ``connect`` found, or any other.
        threshold: L0; None: no threshold, only a bound.
        tol: how near, relative to it, to the largest sample, where no threshold can be held.
        quantity: what to bound: ``"loss"``, or another of ``problem.quantities`` such as ``"error"``, or e to a mean
            such as perplexity.
        seconds: when to stop, what comes before the first interval counted; one at least is bounded. The bound that
            was reached is valid, and says where it is loose.
        max_intervals: likewise, intervals computed.
        max_bytes: memory that enclosures may use.
        explain: say which operations make the bounds loose, as ``certificate.looseness``, after the proof.
        on_round: told now and then how many intervals are done, how many wait, and the largest bound so far.

    Raises:
        Unsupported: an operation of the module or the loss has no rule; the message names where it stands. Nothing
            was computed.
        InvalidSetting: an unknown quantity, or a number out of range.

    >>> from weightstring.problem.surfaces import Spike
    >>> spike = Spike()
    >>> chord = WeightString(spike, torch.stack(spike.ends))
    >>> certificate = certify(spike, chord, threshold=0.83)
    >>> certificate.holds, certificate.upper_bound >= spike.chord_maximum
    (True, True)
    """
    check_settings(problem, threshold, tol, quantity, seconds, max_intervals, max_bytes)
    started = time.perf_counter()
    partition = partition_of(
        problem,
        string.beads,
        threshold,
        tol,
        quantity,
        Budget(seconds, max_intervals),
        max_bytes,
        on_round,
        known=string.heights([quantity]),
    )
    spent = time.perf_counter() - started
    pieces = pieces_of(partition)
    return certificate_of(
        problem, string.beads, quantity, threshold, tol, pieces, partition.highest, spent, explain=explain
    )


def partition_of(
    problem: LossProblem,
    beads: Thetas,
    threshold: float | None,
    tol: float,
    quantity: str,
    budget: Budget,
    max_bytes: int = MAX_BYTES,
    on_round: Progress = lambda done, waiting, largest: None,
    segments: Sequence[int] | None = None,
    known: Sequence[Mapping[float, float]] = (),
) -> Partition:
    """Cut a string of beads (n, P) until the bounds reach their target; see :func:`certify`. None: all segments.

    ``known`` are values sampled of the string before, by t, for each of its segments.
    """
    started = time.perf_counter()
    segments = range(len(beads) - 1) if segments is None else segments
    bounding: Bounding
    bound: Bound
    slack: Bound
    if isinstance(problem, Traceable):
        enclosed = enclosing(problem, beads, quantity, max_bytes)
        sampled = Sampled(_sampler(problem, beads, quantity), segments, known)
        room = max(tol * abs(sampled.highest), -math.inf if threshold is None else threshold - sampled.highest)
        exponential = enclosed.program.exponential
        examining = fastest(enclosed, math.log1p(room / sampled.highest) if exponential else room, sampled.top)
        bound, slack, bounding = examining.bounds, enclosed.slack, Refining(examining)
        if exponential:
            bound, slack, bounding = _raised(bound), _raised_slack(enclosed), Exponential(bounding, sampled.near)
        require_reproduced(problem, quantity, beads, bound, slack)
    else:
        bound, slack = _bounds_of(problem, beads)
        bounding = Plain(bound)
        sampled = Sampled(_sampler(problem, beads, quantity), segments, known)
    left = budget._replace(seconds=budget.seconds - (time.perf_counter() - started))
    partition = bisect(bounding, sampled, _whole(segments, beads.device), threshold, tol, left, on_round)
    if len(sampled.places) and isinstance(problem, Certifiable):
        partition = held_to(problem, quantity, beads, sampled, partition, slack)
    return partition


def _raised(bound: Bound) -> Bound:
    """Bounds of e to what is bounded."""
    return lambda intervals: raised(bound(intervals))


def _raised_slack(enclosed: Enclosing) -> Bound:
    """How far above these a value in float64 may be printed."""
    return lambda intervals: raised(enclosed.bounds(intervals)) * enclosed.slack(intervals).expm1() * (1 + ELEMENTWISE)


def _bounds_of(problem: LossProblem, beads: Thetas) -> tuple[Bound, Bound]:
    """Upper bounds (I,) of intervals by a problem's own enclosures, above which no value in float64 is printed."""
    if not isinstance(problem, Enclosed):
        raise Unsupported(lacking(problem, *CERTIFIABLE))

    def bound(intervals: Intervals) -> Tensor:
        bounds = torch.empty(len(intervals), dtype=torch.float64, device=beads.device)
        for segment in sorted(set(intervals.segments.tolist())):
            mine = intervals.segments == segment
            ends = beads[segment], beads[segment + 1]
            bounds[mine] = problem.upper_bounds(*ends, intervals.low[mine], intervals.high[mine])
        return bounds

    return bound, lambda intervals: torch.zeros(len(intervals), dtype=torch.float64)


def _sampler(problem: LossProblem, beads: Thetas, quantity: str) -> Callable[[int, Tensor], Tensor]:
    def measure(segment: int, ts: Tensor) -> Tensor:
        a, b = beads[segment], beads[segment + 1]
        if isinstance(problem, Along) and problem.shares_along:
            return problem.measure_along(a, b, ts, [quantity])[quantity]
        return problem.measure(torch.lerp(a, b, ts.to(a).unsqueeze(1)), [quantity])[quantity]

    return measure


def _whole(segments: Sequence[int], device: torch.device) -> Intervals:
    zeros = torch.zeros(len(segments), dtype=torch.float64, device=device)
    return Intervals(torch.tensor(segments, device=device), zeros, zeros + 1)


def pieces_of(partition: Partition) -> tuple[Piece, ...]:
    """A partition as a certificate holds it."""
    intervals = partition.intervals
    columns = (intervals.segments, intervals.low, intervals.high, partition.bounds)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(Piece(segment, low, high, bound) for segment, low, high, bound in rows)


def certificate_of(
    problem: LossProblem,
    beads: Thetas,
    quantity: str,
    threshold: float | None,
    tol: float,
    pieces: tuple[Piece, ...],
    largest_sample: float,
    seconds: float,
    *,
    explain: bool = False,
) -> Certificate:
    """What pieces that cover a string of beads (n, P) prove."""
    assert isinstance(problem, Certifiable)
    upper_bound = max(piece.bound for piece in pieces)
    if largest_sample > upper_bound:
        # It was met on a segment that was replaced since.
        largest_sample = min(float(problem.measure(beads, [quantity])[quantity].max()), upper_bound)
    return Certificate(
        quantity=quantity,
        evaluation=problem.evaluation,
        upper_bound=upper_bound,
        threshold=None if threshold is None else float(threshold),
        tolerance=float(tol),
        largest_sample=largest_sample,
        partition=pieces,
        dtype="float64",
        digests=digests_of(problem, beads, quantity),
        versions=versions(),
        seconds=seconds,
        looseness=_looseness(problem, beads, quantity, pieces) if explain else (),
        problem=problem.fingerprint(),
    ).sealed()


def _looseness(problem: LossProblem, beads: Thetas, quantity: str, pieces: Sequence[Piece]) -> tuple[Looseness, ...]:
    """Why the bounds are loose, where operations are enclosed one by one."""
    if not isinstance(problem, Traceable):
        return ()
    measure = _sampler(problem, beads, quantity)

    def largest(piece: Piece) -> float:
        ts = torch.tensor([piece.low, (piece.low + piece.high) / 2, piece.high], dtype=torch.float64)
        return float(measure(piece.segment, ts.to(beads.device)).max())

    enclosed = enclosing(problem, beads, quantity, MAX_BYTES)
    if not enclosed.program.exponential:
        return looseness_of(enclosed, pieces, largest)
    # Of the mean, whose parts are those of its exponential too, to first order.
    of_mean = [piece._replace(bound=math.log(piece.bound)) for piece in pieces]
    found = looseness_of(enclosed, of_mean, lambda piece: math.log(largest(piece)))
    tops = {(piece.segment, piece.low): piece for piece in pieces}
    whose = [tops[each.segment, each.low] for each in found]
    return tuple(each._replace(gap=piece.bound - largest(piece)) for each, piece in zip(found, whose, strict=True))


def check_settings(
    problem: LossProblem,
    threshold: float | None,
    tol: float,
    quantity: str,
    seconds: float,
    max_intervals: float,
    max_bytes: int,
) -> None:
    """Refuse settings that :func:`certify` cannot work with.

    Raises:
        InvalidSetting: an unknown quantity, or a number out of range.
    """
    if quantity not in problem.quantities:
        raise InvalidSetting(f"quantity={quantity!r}: choose one of {', '.join(problem.quantities)}")
    if threshold is not None and not math.isfinite(threshold):
        raise InvalidSetting(f"threshold={threshold}: give a number, or None for a bound alone")
    if not 0 < tol < math.inf:
        raise InvalidSetting(f"tol={tol}: give a positive number, such as 1e-3")
    for name, value in (("seconds", seconds), ("max_intervals", max_intervals), ("max_bytes", max_bytes)):
        if not value > 0:
            raise InvalidSetting(f"{name}={value}: give a positive number")
