"""The disconnectivity tree: at which level which models join."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from weightstring.report.draw.heat import short_name
from weightstring.report.draw.theme import THRESHOLD, theme
from weightstring.study.components import Components

BRANCH, LEAF = "#3b82d6", "#e0861c"


def disconnectivity_tree(
    components: Components, names: Sequence[str] | None = None, threshold: float | None = None, what: str = "loss"
) -> go.Figure:
    """Each model hangs at its own loss; where two branches meet, a string of that height joins them.

    Args:
        components: bounds of Γ between all pairs.
        names: of the models; their numbers unless given.
        threshold: a level to mark.
        what: the loss in words.

    >>> import torch
    >>> heights = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    >>> figure = disconnectivity_tree(Components(torch.zeros(2, dtype=torch.float64), heights, heights, "exact"))
    >>> max(figure.data[0].y)
    1.0
    """
    labels = [str(i) for i in range(len(components.losses))] if names is None else list(names)
    order = _order(components)
    heights = components.losses.tolist()
    # Where each group's branch hangs, and at which height it ends.
    at: dict[tuple[int, ...], tuple[float, float]] = {
        (leaf,): (float(place), heights[leaf]) for place, leaf in enumerate(order)
    }
    figure = go.Figure(layout={"template": theme(dark=False)})
    for level, one, other in components.joins:
        (left, low), (right, high) = at[one], at[other]
        at[tuple(sorted(one + other))] = (left + right) / 2, level
        figure.add_scatter(
            x=[left, left, right, right], y=[low, level, level, high], mode="lines",
            line={"color": BRANCH, "width": 2}, hoverinfo="y",
        )  # fmt: skip
    figure.add_scatter(
        x=list(range(len(order))),
        y=[heights[leaf] for leaf in order],
        mode="markers",
        text=[labels[leaf] for leaf in order],
        marker={"color": LEAF, "size": 8},
        hoverinfo="text+y",
    )
    if threshold is not None:
        figure.add_hline(threshold, line={"color": THRESHOLD, "width": 1.5, "dash": "dash"})
    figure.update_layout(
        showlegend=False,
        hovermode="closest",
        xaxis={
            "tickvals": list(range(len(order))), "ticktext": [short_name(labels[leaf]) for leaf in order],
            "showgrid": False, "automargin": True, "tickangle": -40, "range": [-0.5, len(order) - 0.5],
        },
        yaxis={"title": {"text": f"{what}; joins {components.evidence}"}},
    )  # fmt: skip
    return figure


def _order(components: Components) -> list[int]:
    """The models from left to right, so that no branches cross."""
    rows: dict[tuple[int, ...], list[int]] = {(number,): [number] for number in range(len(components.losses))}
    for _, one, other in components.joins:
        rows[tuple(sorted(one + other))] = rows[one] + rows[other]
    return max(rows.values(), key=len)
