"""How far the units of two models correlate that alignment matched, group by group (Section IV)."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

import plotly.graph_objects as go

from weightstring.report.draw.theme import NOT_FINITE, SETS, theme
from weightstring.store.alignment_record import AlignedGroup
from weightstring.text import ending_of

# Grey and blue differ in lightness too, and lie on different sides of each group's line.
GIVEN, ALIGNED = NOT_FINITE, SETS[""][0]
SHOWN = 200
"""Correlations of a group that are drawn at most: the shape is the same, and a wide layer has tens of thousands."""
MOST = 60
"""Groups that are drawn at most, the first ones: the table has all."""
FEW = 10
"""Fewer units than these have no distribution worth smoothing: each is drawn."""
NAME = 18
"""Letters of a group's name beside the figure: more leave it no room on a phone."""


def correlation_figure(groups: Sequence[AlignedGroup]) -> go.Figure | None:
    """Draw how far matched units correlate: for each group two halves of a violin, above as given, below aligned.

    Dots are the means; of a group of fewer than :data:`FEW` units each is drawn by itself.

    Args:
        groups: with the correlations of their units.

    Returns:
        The figure, whose height grows with the groups; None where no activations were observed.

    >>> group = AlignedGroup(
    ...     name="0", size=2, permutation=(1, 0), moved=2, correlation_before=(0.1, -0.3), correlation=(0.9, 1.0)
    ... )
    >>> [trace.name for trace in correlation_figure([group]).data]
    ['units', 'as given: mean', 'units', 'aligned: mean']
    """
    seen = [group for group in groups if group.correlation and group.correlation_before]
    if not seen:
        return None
    seen = seen[:MOST]
    columns = {
        "as given": (GIVEN, "negative", -0.16, [group.correlation_before for group in seen]),
        "aligned": (ALIGNED, "positive", 0.16, [group.correlation for group in seen]),
    }
    figure = go.Figure(layout={"template": theme(dark=False)})
    for name, (colour, side, offset, halves) in columns.items():
        for row, values in enumerate(halves):
            if len(values) < FEW:
                _add_points(figure, values, row + offset, colour)
            else:
                # A trace each: those of one trace share a scale, and one group of equal units flattens all others.
                _add_half(figure, values, row, colour, side)
        texts = [_text(group.name, name, values) for group, values in zip(seen, halves, strict=True)]
        figure.add_scatter(
            x=[mean(values) for values in halves], y=[row + offset for row in range(len(seen))], name=f"{name}: mean",
            mode="markers", marker={"color": colour, "size": 9, "line": {"width": 1.5}},
            text=texts, hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    lowest = min(min(values) for *_, halves in columns.values() for values in halves)
    figure.update_layout(
        height=180 + 34 * len(seen),
        hovermode="closest",
        violinmode="overlay",
        xaxis={"title": {"text": "correlation of matched units"}, "range": [min(-0.05, 1.05 * lowest), 1.03]},
        yaxis={
            "range": [len(seen) - 0.45, -0.55], "tickvals": list(range(len(seen))), "showgrid": False,
            "automargin": True,
            "ticktext": [html.escape(label, quote=False) for label in _labels([group.name for group in seen])],
        },
    )  # fmt: skip
    return figure


def mean(values: Sequence[float]) -> float | None:
    """The mean of some numbers; None of none."""
    return math.fsum(values) / len(values) if values else None


def _add_half(figure: go.Figure, values: Sequence[float], row: int, colour: str, side: str) -> None:
    drawn = _thinned(values)
    figure.add_violin(
        x=drawn, y=[row] * len(drawn), name="units", orientation="h", side=side, scalemode="width", spanmode="hard",
        scalegroup=f"{row} {side}", width=0.94, points=False, line={"color": colour, "width": 1},
        fillcolor=_pale(colour), hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def _add_points(figure: go.Figure, values: Sequence[float], y: float, colour: str) -> None:
    figure.add_scatter(
        x=values, y=[y] * len(values), name="units", mode="markers", hoverinfo="skip", showlegend=False,
        marker={"symbol": "line-ns", "size": 10, "line": {"color": colour, "width": 1.5}},
    )  # fmt: skip


def _thinned(values: Sequence[float]) -> list[float]:
    """At most :data:`SHOWN` of them, in order and at even distances, the least and the largest among them."""
    ordered = sorted(values)
    last = min(len(ordered), SHOWN) - 1
    return [ordered[round(i * (len(ordered) - 1) / max(last, 1))] for i in range(last + 1)]


def _labels(names: Sequence[str]) -> list[str]:
    """Names that fit: where one is too long, without the parts that all begin with, then cut; no two are the same.

    >>> _labels(["transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_attn#2", "transformer.h.1.mlp.c_fc"])
    ['0.attn.c_attn', '0.attn.c_attn#2', '1.mlp.c_fc']
    """
    if len(names) > 1 and max(map(len, names)) > NAME:
        parts = [name.split(".") for name in names]
        levels = zip(*(own[:-1] for own in parts), strict=False)
        shared = len(list(takewhile(lambda level: len(set(level)) == 1, levels)))
        names = [".".join(own[shared:]) for own in parts]
    labels = [_short(name) for name in names]
    counts = Counter(labels)
    return [label if counts[label] == 1 else ending_of(name, NAME) for label, name in zip(labels, names, strict=True)]


def _short(name: str) -> str:
    """A long name with each of its parts cut, so that numbers of layers and of groups (#2) stay; else its end."""
    name, mark, number = name.partition("#")
    for letters in (len(name), 6, 4, 3, 2):
        shorter = ".".join(part[:letters] for part in name.split(".")) + mark + number
        if len(shorter) <= NAME:
            return shorter
    return ending_of(shorter, NAME)


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.3)"


def _text(group: str, name: str, values: Sequence[float]) -> str:
    words = f"{name}: mean {mean(values):.4g}, {min(values):.4g} to {max(values):.4g}"
    return f"{html.escape(group, quote=False)}<br>{words}<br>{len(values)} units"  # Plotly reads tags in texts.
