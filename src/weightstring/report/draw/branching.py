"""The tree of the recursion (Section II.B): each segment over the threshold is split in two at t*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go

from weightstring.arrays import finite_or_none
from weightstring.report.draw.theme import NOT_FINITE, SETS, THRESHOLD, theme
from weightstring.search import AsInThePaper, Greedy, Persistent, Shortened, Strategy
from weightstring.search.chain import Chain, Link, beads_of

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


class Branches:
    """Follows a string through the rounds of its search, and keeps who was split into whom.

    Args:
        strategy: the search's; one that does not split segments has no branches.
    """

    def __init__(self, strategy: Strategy[Any]) -> None:
        inner = strategy
        self._shortened, self._closed = isinstance(strategy, Shortened), False
        while isinstance(inner, Shortened | Persistent):
            inner = inner.strategy
        self._recursive = isinstance(inner, Greedy | AsInThePaper)
        self._links: dict[tuple[str, str], Link] = {}
        self._children: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def follow(self, chain: Chain) -> None:
        """The string after another round."""
        if not self._recursive or (self._shortened and self._closed):  # what shortens has beads of the same names
            return
        self._closed = all(link.measured is not None and link.measured.accepted for link in chain)
        afresh = len(chain) == 1 and chain[0].measured is None
        if afresh:  # the first round, or another attempt
            self._links, self._children = {}, {}
        if not self._links:
            self._links = {_key(link): link for link in chain}
            self._root = _key(chain[0])
        row = {bead.name: k for k, bead in enumerate(beads_of(chain))}
        now = {_key(link) for link in chain}
        for left, right in [key for key in self._links if key not in self._children and key not in now]:
            between = chain[row[left] : row[right]] if left in row and right in row else ()
            # One link between the same beads is none of its children; beads that went took their links with them.
            if len(between) > 1:
                self._children[left, right] = [_key(link) for link in between]
                self._links |= {_key(link): link for link in between}
        for link in chain:
            if _key(link) in self._links and _key(link) not in self._children:
                self._links[_key(link)] = link

    @property
    def found(self) -> tuple[Branch, ...]:
        """All segments, a parent before its children; none where nothing was split."""
        if not self._children:
            return ()
        found: list[Branch] = []
        leaves = 0
        waiting = [(self._root, 0, -1)]
        parents: list[int] = []
        while waiting:  # depth first, the left child first
            key, generation, parent = waiting.pop()
            link, children = self._links[key], self._children.get(key, [])
            waiting += [(child, generation + 1, len(found)) for child in reversed(children)]
            found.append(_branch(link, generation, (leaves, 0 if children else 1), bool(children)))
            parents.append(parent)
            leaves += not children
        for row in range(len(found) - 1, 0, -1):
            above = found[parents[row]]
            start, width = above.place
            found[parents[row]] = replace(above, place=(start, width + found[row].place[1]))
        return tuple(found)


def branching_figure(branches: Sequence[Branch], label: str = "loss") -> go.Figure:
    """Draw the recursion: a segment over the two that a bead at t* made of it.

    Args:
        branches: the segments.
        label: what the threshold binds, in words.
    """
    figure = go.Figure(layout={"template": theme(dark=False)})
    for kind, (colour, pattern) in KINDS.items():
        own = [branch for branch in branches if branch.kind == kind]
        if own:
            figure.add_bar(
                orientation="h", name=kind, base=[branch.place[0] for branch in own],
                x=[branch.place[1] for branch in own], y=[branch.generation for branch in own], width=0.9,
                marker={"color": colour, "pattern": {"shape": pattern, "solidity": 0.25}, "line": {"width": 1.5}},
                text=[_inside(branch) for branch in own], textposition="inside", insidetextanchor="middle",
                textangle=0, hovertext=[_hover(b, label) for b in own],
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


def _branch(link: Link, generation: int, place: tuple[int, int], split: bool) -> Branch:
    top = link.measured.top if link.measured is not None else None
    return Branch(
        link.left.name, link.right.name, generation, link.depth,
        None if top is None else top.t, None if top is None else finite_or_none(top.value),
        None if link.measured is None else link.measured.accepted, link.attempts, place, split,
    )  # fmt: skip


def _key(link: Link) -> tuple[str, str]:
    return link.left.name, link.right.name


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
