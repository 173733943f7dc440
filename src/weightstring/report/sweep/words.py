"""How numbers, variants and outcomes of a sweep are put into words."""

from __future__ import annotations

import math

from weightstring.report.sweep.data import SweepData
from weightstring.study.sweep.statistics import Interval, share_of
from weightstring.study.sweep.summary import Summary


def prefix(sweep: SweepData, variant: str) -> str:
    """A variant's name before other words, where there are several.

    Its only summary is called ``all`` where the sweep has none: that would say nothing.
    """
    return f"{variant}: " if len(sweep.names) > 1 else ""


def title(sweep: SweepData, variant: str, words: str) -> str:
    """What a legend calls a variant's line: by its name where there are several; the sentence says what it is."""
    return variant if len(sweep.names) > 1 else words


def shown(interval: Interval, digits: int = 4) -> str:
    """A number with the ends of its interval, where it has summary.

    >>> shown(Interval(-1.25, -1.5, 1.125))
    '−1.25 [−1.5, 1.125]'
    """
    value, low, high = (number_words(end, digits) for end in interval)
    return f"{value} [{low}, {high}]" if math.isfinite(interval.low) else value


def number_words(value: float, digits: int = 4) -> str:
    """A number as a sentence has it."""
    return f"{value:.{digits}g}".replace("-", "−") if math.isfinite(value) else "not finite"


def percent(share: Interval) -> str:
    """A share with its interval.

    >>> percent(Interval(0.5, 0.2366, 0.7634))
    '50 %, 95 % interval 23.7 to 76.3 %'
    """
    value, low, high = (100 * end for end in share)
    return f"{value:.3g} %, 95 % interval {low:.3g} to {high:.3g} %" if math.isfinite(value) else "no share"


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "pair"), plural(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def counts(summary: Summary) -> str:
    """What became of the pairs at one threshold, in lines."""
    connected = round(summary.connected.value * summary.pairs) if summary.pairs else 0
    lines = (
        f"{summary.variant}, threshold {summary.threshold:g}\n{connected} of {plural(summary.pairs, 'pair')} connected"
    )
    lines += f", {summary.unresolved} unresolved" * bool(summary.unresolved)
    lines += f", {summary.disconnected} disconnected" * bool(summary.disconnected)
    return lines + f"\n{plural(summary.failed_ends, 'end')} failed" * bool(summary.failed_ends)


def outcome_words(sweep: SweepData) -> str:
    """What became of every pair."""
    count = {
        kind: sum(row.outcome == kind for row in sweep.rows) for kind in ("connected", "unresolved", "disconnected")
    }
    share = share_of(count["connected"], len(sweep.rows))
    return (
        f"{count['connected']:,} of {plural(len(sweep.rows), 'pair')} connected ({percent(share)}), "
        f"{count['unresolved']:,} unresolved, {count['disconnected']:,} disconnected by proof."
    )


def bound_words(sweep: SweepData) -> str:
    """What the thresholds bind."""
    return {"loss": "evaluation loss", "train_loss": "training loss"}.get(sweep.record.bind, sweep.record.bind)


def threshold_title(sweep: SweepData) -> str:
    """The axis of thresholds, by what they bind."""
    return f"threshold L₀ of the {bound_words(sweep)}"
