"""From what a search found to its pair's row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from weightstring.codec import none_as_infinity
from weightstring.path import BARRIERS, Objective, Segment, Unresolved
from weightstring.path.maximum import Samples, locate
from weightstring.runs.result import Result
from weightstring.runs.settings import Pair
from weightstring.store import ResultRecord, Store
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.forms import Sweepable
from weightstring.study.sweep.plan import Plan
from weightstring.study.sweep.sampling import maximum_interval
from weightstring.study.sweep.table import Row


class Place(NamedTuple):
    """A pair's place in the table.

    Args:
        variant: the name of the problem.
        threshold: L0.
        pair: its number there.
    """

    variant: str
    threshold: float
    pair: int

    @classmethod
    def of(cls, row: Row) -> Place:
        """That of a row."""
        return cls(row.variant, row.threshold, row.pair)


@dataclass(frozen=True)
class SweepPair:
    """A pair of networks of a sweep.

    Args:
        place: in the table.
        pair: the two.
        seeds: of the two.
    """

    place: Place
    pair: Pair
    seeds: tuple[int, int]


def stands(row: Row | None, run: Store | None) -> bool:
    """Whether a row is known and its run has not gone on since; one that was removed leaves its row."""
    if row is None or run is None or not run.exists:
        return row is not None
    if not run.finished:
        return False
    return tells_of(row, run.result())


def tells_of(row: Row, result: ResultRecord) -> bool:
    """Whether a row says what its run does, which may have been resumed since by itself."""
    largest = max(none_as_infinity(segment.max) for segment in result.string.segments)
    return (row.outcome, row.beads, row.largest) == (result.outcome.kind, result.string.beads, largest)


def line_barriers(problem: Sweepable, pairs: Sequence[Pair]) -> list[float]:
    """The barrier of each pair's straight line over the mean of its ends, of the evaluation loss."""
    samples = [Samples(Segment(pair.a, pair.b)) for pair in pairs]
    tops = locate(Objective(problem), samples)
    return [top.value - (each.heights[0.0] + each.heights[1.0]) / 2 for top, each in zip(tops, samples, strict=True)]


def row_of(problem: Sweepable, plan: Plan, pair: SweepPair, result: Result, line: float) -> Row:
    """The row of a pair.

    Args:
        problem: the loss.
        plan: of the sweep.
        pair: what was connected.
        result: what the search found.
        line: the barrier of the straight line.
    """
    string, outcome = result.string, result.outcome
    barriers = {name: string.barrier(name) for name in BARRIERS}
    interval = maximum_interval(string, plan.bind, plan.seed)
    first, last = result.ends
    return Row(
        variant=pair.place.variant,
        parameters=problem.size,
        threshold=pair.place.threshold,
        bind=plan.bind,
        pair=pair.place.pair,
        seed_a=pair.seeds[0],
        seed_b=pair.seeds[1],
        outcome=outcome.kind,
        reason=outcome.reason if isinstance(outcome, Unresolved) else "",
        beads=len(string),
        beads_before_pruning=result.beads_before_pruning,
        length=string.length,
        distance=string.distance,
        normalized_length=string.normalized_length,
        normalized_length_weights=_normalized_over_weights(problem, string.beads),
        end_a=first[plan.bind],
        end_b=last[plan.bind],
        largest=result.largest,
        largest_low=interval.low,
        largest_high=interval.high,
        barrier_max=barriers["max"],
        barrier_over_ends=barriers["over_ends"],
        barrier_over_mean=barriers["over_mean"],
        barrier_over_linear=barriers["over_linear"],
        line_over_mean=line,
        gradients=result.steps,
        evaluations=result.evaluations,
        seconds=result.seconds,
        run="" if pair.pair.directory is None else SweepDirectory.run_name(*pair.place),
    )


def _normalized_over_weights(problem: Sweepable, beads: torch.Tensor) -> float:
    """The normalized length over parameters of two axes or more: the authors leave biases out."""
    kept = torch.zeros(problem.size, dtype=torch.bool)
    for entry in problem.layout.entries:
        kept[entry.offset : entry.offset + entry.size] = len(entry.shape) > 1
    weights = beads[:, kept.to(beads.device)].to(torch.float64)
    length = float((weights[1:] - weights[:-1]).norm(dim=1).sum())
    distance = float((weights[-1] - weights[0]).norm())
    return 1.0 if len(weights) == 2 or length == 0 else length / distance if distance else float("inf")
