"""A cheap first look at segments: on a part of the data, to know where to look on all of it.

What is found on the part decides nothing. It says where the whole is measured first, so that a segment
over the threshold is mostly rejected at once; and as it shows the fine structure of the curve, a coarser
grid is enough on the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from weightstring.path.adaptive import locate_adaptively, look_roughly
from weightstring.path.maximum import ACCEPT_GRID, MAX_PEAKS, Samples, Sampling, locate, measure_at
from weightstring.path.segment import Height

SCREENED = Sampling(8, 2)
"""What is enough on all of the data, beside the peaks that the part of it shows."""


def reject(
    height: Height,
    screening: Height,
    samples: Sequence[Samples],
    thresholds: Sequence[float],
    on_chunk: Callable[[], None] = lambda: None,
    adaptive: bool = False,
    hasty: bool = False,
) -> list[bool]:
    """Whether a segment is over its threshold at one of the peaks that its screened curve shows.

    Args:
        height: (B, P) → (B,) float64.
        screening: a cheap estimate of it.
        samples: the segments with what is known of them; filled with what ``height`` is at the peaks.
        thresholds: L0, one a segment.
        on_chunk: called after every batch of measurements; it may raise.
        adaptive: look at the part only as densely as its curve bends.
        hasty: look at it roughly, and at its highest peak alone.
    """
    sketches = [Samples(s.segment) for s in samples]
    if hasty:
        look_roughly(screening, sketches, on_chunk)
    elif adaptive:
        locate_adaptively(screening, sketches, on_chunk)
    else:
        locate(screening, sketches, on_chunk, ACCEPT_GRID)
    peaks = [[peak.t for peak in sketch.peaks()[: 1 if hasty else MAX_PEAKS]] for sketch in sketches]
    measure_at(height, list(zip(samples, peaks, strict=True)), on_chunk)
    return [not s.under(threshold) for s, threshold in zip(samples, thresholds, strict=True)]
