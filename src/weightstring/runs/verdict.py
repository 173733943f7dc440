"""The verdict that all samples known of a string allow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from weightstring.codec import finite_or_none
from weightstring.path import Evidence, SearchSamples, Unresolved, clearly_over
from weightstring.runs.result import Result


def judged(result: Result) -> Result:
    """The result with the verdict that all samples known of its string allow; nothing is measured.

    Whatever looks at a string after its search, such as a proof or the final curve, may meet a sample over the
    threshold: then the string does not connect, whatever the search saw of it.
    """
    if not result.connected:
        return result
    heights = result.string.heights(result.names)
    tops = [max(known.items(), key=lambda at: at[1], default=(0.0, -math.inf)) for known in heights]
    worst = max(range(len(tops)), key=lambda i: tops[i][1])
    if not clearly_over(tops[worst][1], result.threshold, result.string[0].dtype):
        return result
    evidence = Evidence(
        segment=(worst, worst + 1),
        end_losses=(heights[worst][0.0], heights[worst][1.0]),
        max_per_depth=(finite_or_none(tops[worst][1]),),
        open_per_depth=(sum(clearly_over(top, result.threshold, result.string[0].dtype) for _, top in tops),),
        retries=0,
        lowest_loss=None,
    )
    return replace(result, outcome=Unresolved("higher_sample", evidence))


def with_samples(result: Result, samples: Mapping[tuple[int, float], float]) -> Result:
    """The result with more known of its string, and with the verdict that this allows.

    Args:
        result: of a search.
        samples: heights of what the threshold binds, by segment and t.
    """
    heights: list[dict[float, float]] = [{} for _ in range(len(result.string) - 1)]
    for (segment, t), value in samples.items():
        heights[segment][t] = value
    seen = SearchSamples(result.names, tuple(heights), result.threshold if result.connected else None)
    return judged(replace(result, string=result.string.also_seen(seen)))
