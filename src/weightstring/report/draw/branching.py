"""The tree of the recursion (Section II.B): each segment over the threshold is split in two at t*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from weightstring.report.draw.theme import NOT_FINITE, SETS, THRESHOLD, theme

# Each kind differs in lightness and in its pattern too: colour alone does not reach every reader.
KINDS = {
    "split": (NOT_FINITE, ""),
    "at most L₀": (SETS["holdout_"][0], ""),
    "over L₀, not split": (THRESHOLD, "/"),
    "not measured": (SETS[""][0], "."),
}


@dataclass(frozen=True)
class Branch:
    """One segment of the recursion.

    Args:
        left, right: the beads it lies between.
        generation: how many splits lie between it and the first segment.
        depth: the same, an end's own neighbour not counted.
        t, height: its largest sample (t*, γ(t*)); None where it was not measured, the height also where not finite.
        accepted: whether that is at most the threshold; None where it was not measured.
        failed: descents from it that failed.
        place: where its leaves begin, and how many there are.
        split: whether it has children.
    """

    left: str
    right: str
    generation: int
    depth: int
    t: float | None
    height: float | None
    accepted: bool | None
    failed: int
    place: tuple[int, int]
    split: bool

    @property
    def kind(self) -> str:
        """Which of :data:`KINDS` it is."""
        if self.split:
            return "split"
        return "not measured" if self.accepted is None else "at most L₀" if self.accepted else "over L₀, not split"


def branching_figure(branches: Sequence[Branch], label: str = "loss") -> go.Figure:
    """Draw the recursion: a segment over the two that a bead at t* made of it.

    Args:
        branches: the segments.
        label: what the threshold binds, in words.
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    for kind, (colour, pattern) in KINDS.items():
        of_kind = [branch for branch in branches if branch.kind == kind]
        if of_kind:
            figure.add_bar(
                orientation="h", name=kind, base=[branch.place[0] for branch in of_kind],
                x=[branch.place[1] for branch in of_kind], y=[branch.generation for branch in of_kind], width=0.9,
                marker={"color": colour, "pattern": {"shape": pattern, "solidity": 0.25}, "line": {"width": 1.5}},
                text=[_inside(branch) for branch in of_kind], textposition="inside", insidetextanchor="middle",
                textangle=0, hovertext=[_hover(branch, label) for branch in of_kind],
                hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
    generations = max((branch.generation for branch in branches), default=0)
    figure.update_layout(
        barmode="overlay",
        showlegend=True,
        hovermode="closest",
        uniformtext={"mode": "hide", "minsize": 9},
        xaxis={"visible": False},
        yaxis={
            "title": {"text": "splits"}, "range": [generations + 0.55, -0.55], "showgrid": False,
            "dtick": max(1, generations // 10),
        },
    )  # fmt: skip
    return figure


def _inside(branch: Branch) -> str:
    if branch.t is None:
        return ""
    height = "∞" if branch.height is None else f"{branch.height:.3g}"
    return f"{height}<br>t* = {branch.t:.2f}" if branch.split else height


def _hover(branch: Branch, label: str) -> str:
    lines = [f"segment {branch.left} – {branch.right}: {branch.kind}", f"depth {branch.depth}"]
    if branch.t is not None:
        height = "not finite" if branch.height is None else f"{branch.height:.6g}"
        lines.append(f"largest sampled {label} {height} at t* = {branch.t:.6g}")
    lines += [f"{branch.failed} failed descents"] if branch.failed else []
    return "<br>".join(lines)
