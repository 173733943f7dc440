"""The disconnectivity tree: at which level which models join."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from scipy.cluster.hierarchy import dendrogram

from weightstring.report.html import write_page
from weightstring.study.components import Components


def write_tree(path: Path, components: Components, names: Sequence[str]) -> Path:
    """Write the tree as a page by itself, one HTML file that needs no network.

    Raises:
        InvalidRun: it cannot be written.
    """
    figure = disconnectivity_tree(components, names)
    return write_page(path, figure.to_html(include_plotlyjs=True, full_html=True, div_id="tree"))


def disconnectivity_tree(components: Components, names: Sequence[str] | None = None) -> go.Figure:
    """Each model hangs at its own loss; where two branches meet, a string of that height joins them.

    Args:
        components: bounds of Γ between all pairs.
        names: of the models; their numbers unless given.

    >>> import torch
    >>> heights = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    >>> figure = disconnectivity_tree(Components(torch.zeros(2, dtype=torch.float64), heights, heights, "exact"))
    >>> max(figure.data[0].y)
    1.0
    """
    labels = [str(i) for i in range(len(components.losses))] if names is None else list(names)
    drawn = dendrogram(components.tree, no_plot=True)
    order = drawn["leaves"]
    leaf_at = {10.0 * k + 5.0: float(components.losses[leaf]) for k, leaf in enumerate(order)}
    figure = go.Figure()
    for xs, ys in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        # SciPy lets leaves begin at distance 0; ours begin at their losses.
        feet = [leaf_at.get(x, y) if y == 0 else y for x, y in zip(xs, ys, strict=True)]
        figure.add_scatter(x=xs, y=feet, mode="lines", line={"color": "#3b82d6", "width": 2}, hoverinfo="y")
    figure.add_scatter(
        x=list(leaf_at),
        y=list(leaf_at.values()),
        mode="markers+text",
        text=[labels[leaf] for leaf in order],
        textposition="bottom center",
        marker={"color": "#e0861c", "size": 7},
        hoverinfo="text+y",
    )
    figure.update_layout(
        showlegend=False,
        xaxis={"visible": False},
        yaxis={"title": f"loss; joins at Γ̃, {components.evidence}"},
        template="plotly_white",
        margin={"l": 60, "r": 20, "t": 20, "b": 40},
    )
    return figure
