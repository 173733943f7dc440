"""The picture of a search: how low the string had come at each depth."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from weightstring.codec import finite_or_none
from weightstring.report.draw.theme import SETS, THRESHOLD, theme, wide
from weightstring.store.records import RoundRecord, by_depth


def depth_figure(rounds: Sequence[RoundRecord], threshold: float) -> go.Figure:
    """Draw Γ̃ (4), the lowest maximum of a whole string of depth at most d, against d.

    Args:
        rounds: the search's history.
        threshold: L0, drawn as a line.

    >>> [trace.name for trace in depth_figure((), threshold=0.3).data]
    ['Γ̃, sampled', 'threshold 0.3']
    """
    tops = [finite_or_none(top) for top in by_depth(tuple(rounds))]
    depths = list(range(len(tops)))
    figure = go.Figure(layout={"template": theme(dark=False)})
    figure.add_scatter(
        x=depths, y=tops, name="Γ̃, sampled", mode="lines+markers", line={"color": SETS[""][0], "width": 2},
        marker={"size": 8}, hovertemplate="depth %{x}: %{y:.6g}<extra></extra>",
    )  # fmt: skip
    last = max(len(tops) - 1, 1)
    figure.add_scatter(
        x=[-0.02 * last, 1.02 * last], y=[threshold, threshold], name=f"threshold {threshold:.6g}", mode="lines",
        line={"color": THRESHOLD, "width": 1.5}, hoverinfo="skip",
    )  # fmt: skip
    drawn = [value for value in (*tops, threshold) if value is not None]
    figure.update_layout(
        xaxis={"title": {"text": "depth d"}, "dtick": max(1, len(tops) // 10), "range": [-0.02 * last, 1.02 * last]},
        yaxis={"title": {"text": "largest value on the string"}, "type": "log" if wide(drawn) else "linear"},
    )
    return figure
