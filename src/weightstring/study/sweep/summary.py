"""What a table of pairs says at each threshold: means and shares with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weightstring.study.sweep.statistics import Interval, PowerLaw, mean_of, power_law, share_of
from weightstring.study.sweep.table import Row

MEANS = (
    "normalized_length",
    "normalized_length_weights",
    "beads",
    "barrier_max",
    "barrier_over_ends",
    "barrier_over_mean",
    "barrier_over_linear",
    "gradients",
)
"""Columns averaged over the pairs that were connected."""


@dataclass(frozen=True)
class Summary:
    """One variant at one threshold.

    Args:
        variant: which form of the task.
        parameters: of its networks.
        threshold: L0.
        pairs: how many there are, connected or not.
        connected: the share of them that were, with its Wilson interval.
        unresolved: how many were not connected within the limits.
        disconnected: of how many it was proved that they cannot be.
        failed_ends: networks that never reached the threshold, and were replaced.
        means: of the pairs that were connected, with bootstrap intervals, by column.
        line_over_mean: barrier of the straight line, of all pairs.
    """

    variant: str
    parameters: int
    threshold: float
    pairs: int
    connected: Interval
    unresolved: int
    disconnected: int
    failed_ends: int
    means: Mapping[str, Interval]
    line_over_mean: Interval


def summarised(
    rows: Sequence[Row], failed: Mapping[tuple[str, float], Sequence[int]], seed: int = 0
) -> tuple[Summary, ...]:
    """A summary of each variant at each threshold, variants in the order of the rows, thresholds falling."""
    order = {name: i for i, name in enumerate(dict.fromkeys([*(row.variant for row in rows), *(v for v, _ in failed)]))}
    places = sorted(
        {(row.variant, row.threshold) for row in rows} | set(failed), key=lambda place: (order[place[0]], -place[1])
    )
    return tuple(
        _summary([row for row in rows if (row.variant, row.threshold) == place], place, failed.get(place, ()), seed)
        for place in places
    )


def _summary(rows: Sequence[Row], place: tuple[str, float], failed: Sequence[int], seed: int) -> Summary:
    connected = [row for row in rows if row.connected]
    return Summary(
        variant=place[0],
        parameters=rows[0].parameters if rows else 0,
        threshold=place[1],
        pairs=len(rows),
        connected=share_of(len(connected), len(rows)),
        unresolved=sum(row.outcome == "unresolved" for row in rows),
        disconnected=sum(row.outcome == "disconnected" for row in rows),
        failed_ends=len(failed),
        means={name: mean_of([float(getattr(row, name)) for row in connected], seed) for name in MEANS},
        line_over_mean=mean_of([row.line_over_mean for row in rows], seed),
    )


def beads_law(rows: Sequence[Row], seed: int = 0) -> PowerLaw | None:
    """Beads ~ threshold^p over the pairs that were connected; None where there is one threshold."""
    connected = [row for row in rows if row.connected]
    return power_law([row.threshold for row in connected], [float(row.beads) for row in connected], seed)
