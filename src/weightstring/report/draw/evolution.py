"""The string as it was after each round of its search, in three fixed axes: the paper's animation, from the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import plotly.graph_objects as go

from weightstring.report.draw.branching import Branch
from weightstring.report.draw.colours import Colours, short
from weightstring.report.draw.theme import NOT_FINITE, THRESHOLD, theme

AXES = "xzy"
"""Which of Plotly's axes shows which component: seen from the front, the first two are those of the flat picture."""
LONGEST = 1.7
"""How long the longest axis is drawn, in Plotly's units: so that the view is filled."""
FLATTEST = 0.4
"""Share of the longest axis that the others are drawn with at least, or a flat string could not be seen from above."""

Corner = tuple[float, float, float]


class Span(NamedTuple):
    """One segment of a string at a step: its largest sample, the place of that, and whether it is over the threshold.

    All are None before it was measured; the height is also where it is not finite.
    """

    t: float | None
    height: float | None
    over: bool | None


class Step(NamedTuple):
    """The string at one step of the search."""

    name: str
    beads: tuple[str, ...]
    corners: tuple[Corner, ...]
    heights: tuple[float | None, ...]
    """What the threshold binds, at each bead; None where it is not finite, or not known yet."""
    spans: tuple[Span, ...]

    @property
    def largest(self) -> float | None:
        """The largest sample known; None where one is not finite."""
        known = [span.height for span in self.spans if span.over is not None]
        return (
            None
            if None in known
            else max((height for height in (*known, *self.heights) if height is not None), default=None)
        )

    @property
    def label(self) -> str:
        """What is to be read beside the slider."""
        words = [self.name, f"{len(self.beads)} beads"]
        if any(span.over is not None for span in self.spans):
            words.append(f"largest sampled {_text(self.largest)}")
        over, open_ends = (sum(span.over is state for span in self.spans) for state in (True, None))
        words += [f"{over} over L₀"] if over else []
        words += [f"{open_ends} not measured yet"] if open_ends else []
        return " · ".join(words)


@dataclass(frozen=True)
class Evolution:
    """A search as a sequence of strings.

    Args:
        steps: in order; the last one is the result's.
        explained: shares of the variance of the result's beads along the three axes.
        rounds: of the journal; more than steps where only some are drawn.
        branches: the segments of the recursion; empty for a method without one.
    """

    steps: tuple[Step, ...]
    explained: tuple[float, ...]
    rounds: int
    branches: tuple[Branch, ...]


def evolution_figure(evolution: Evolution, label: str = "loss") -> go.Figure:
    """Draw a search: one frame for each step, in axes and colours that stay the same.

    Args:
        evolution: the search.
        label: what the points are coloured by, in words.
    """
    steps = evolution.steps
    colours = Colours.over(value for step in steps for value in (*step.heights, *(span.height for span in step.spans)))
    frames = [go.Frame(name=step.label, data=_traces(step, colours)) for step in steps]
    figure = go.Figure(data=frames[-1].data, frames=frames, layout={"template": theme(dark=False)})
    titles = [
        f"PC {rank} ({100 * share:.2g} %)" if share else f"axis {rank}"
        for rank, share in enumerate(evolution.explained, 1)
    ]
    limits = [_limits([corner[axis] for step in steps for corner in step.corners]) for axis in range(3)]
    longest = max(high - low for low, high in limits)
    ratio = [LONGEST * max((high - low) / longest, FLATTEST) for low, high in limits]
    small = {"size": 11}
    axes = {
        f"{name}axis": {
            "title": {"text": title, "font": small}, "range": list(limit), "nticks": 4, "tickfont": small,
        }
        for name, title, limit in zip(AXES, titles, limits, strict=True)
    }  # fmt: skip
    figure.update_layout(
        showlegend=False,
        hovermode="closest",
        coloraxis=colours.axis(label),
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        uirevision="kept",  # the view stays while the steps change
        scene={
            "aspectmode": "manual", "aspectratio": dict(zip(AXES, ratio, strict=True)), "dragmode": "turntable",
            "camera": {"eye": {"x": 0.35, "y": -1.75, "z": 0.55}}, **axes,
        },
    )  # fmt: skip
    return figure


def _traces(step: Step, colours: Colours) -> list[go.Scatter3d]:
    """The traces of one step: as many for each, so that one step can take another's place."""
    lines: dict[bool | None, list[Corner | tuple[None, None, None]]] = {False: [], True: [], None: []}
    points: list[tuple[Corner, float | None, str]] = []
    for k, (span, (left, right)) in enumerate(zip(step.spans, pairwise(step.corners), strict=True)):
        lines[span.over] += [left, right, (None, None, None)]
        if span.t is not None:
            x, y, z = (short((1 - span.t) * a + span.t * b) for a, b in zip(left, right, strict=True))
            points.append(((x, y, z), span.height, f"segment {k}, largest sample, t = {span.t:.4g}"))
    straight = [step.corners[0], step.corners[-1]]
    ends = _scatter(straight, mode="text", text=["<b>A</b>", "<b>B</b>"], textposition="top center", hoverinfo="skip")
    return [
        _scatter(straight, mode="lines", line={"dash": "dot", "width": 2}, hoverinfo="skip"),
        _scatter(lines[False], mode="lines", line={"width": 4}, hoverinfo="skip"),
        _scatter(lines[None], mode="lines", line={"width": 4, "dash": "dash", "color": NOT_FINITE}, hoverinfo="skip"),
        _scatter(lines[True], mode="lines", line={"width": 4, "color": THRESHOLD}, hoverinfo="skip"),
        *_coloured(points, colours, {"size": 4, "symbol": "diamond"}),
        *_coloured(list(zip(step.corners, step.heights, step.beads, strict=True)), colours, {"size": 7}),
        ends,
    ]


def _coloured(
    points: Sequence[tuple[Corner, float | None, str]], colours: Colours, marker: dict[str, Any]
) -> list[go.Scatter3d]:
    """Points coloured by loss, and grey crosses for those without one."""
    finite = [point for point in points if point[1] is not None]
    missing = [point for point in points if point[1] is None]
    colour = {"color": [colours.place(height) for _, height, _ in finite], "coloraxis": "coloraxis"}
    return [
        _scatter(
            [corner for corner, *_ in some], mode="markers", marker=style, hovertemplate="%{text}<extra></extra>",
            text=[f"{name}<br>{_text(height)}" for _, height, name in some],
        )
        for some, style in ((finite, marker | colour), (missing, {"color": NOT_FINITE, "symbol": "x", "size": 5}))
    ]  # fmt: skip


def _scatter(corners: Sequence[Corner | tuple[None, None, None]], **style: Any) -> go.Scatter3d:
    columns = zip(*corners, strict=True) if corners else ((), (), ())
    return go.Scatter3d(dict(zip(AXES, columns, strict=True)), **style)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _text(height: float | None) -> str:
    return "not finite" if height is None else f"{height:.6g}"
