"""Where descents start, and from where they are tried again.

The paper has them start at t*. From there a descent may lead into the same dead end again and again; from another peak,
from the midpoint, at another learning rate, or from a little beside it may not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch

from weightstring.arrays import Theta
from weightstring.descent import Start
from weightstring.path import Segment
from weightstring.randomness import generator
from weightstring.search.chain import Bead, Link
from weightstring.search.jobs import Descend
from weightstring.search.string import Query

Insert = Literal["maximum", "midpoint"]

MARGIN = 1 / 32
"""A bead is inserted at least this far from the ends of its segment, or it would duplicate one."""
JITTER = 0.05
"""Length of a random displacement, as a share of the segment's."""


def aim(threshold: float, alpha: float) -> float:
    """α L0; for a negative threshold, where α L0 would lie above it, as far below.

    >>> aim(2.0, 0.75), aim(-2.0, 0.75)
    (1.5, -2.5)
    """
    return threshold - (1 - alpha) * abs(threshold)


def neighbour_name(bead: Bead) -> str:
    """The place of the descent to a bead's neighbour."""
    return f"{bead.name}/neighbour"


def descent_from_bead(bead: Bead, query: Query, alpha: float) -> Descend:
    """Find a bead that lies lower a neighbour, by descent from itself."""
    level = aim(query.threshold, alpha)
    return Descend(Start(bead.theta, level, query.threshold, neighbour_name(bead), value=bead.value))


def descent_from_link(link: Link, query: Query, alpha: float, insert: Insert) -> Descend:
    """Descend from a point on an open link: t*, and other points after failures.

    In turn: the maximum (or the midpoint, as ``insert`` says), the next peaks and the midpoint, the
    first again with a smaller and a larger learning rate, then random displacements from it.
    """
    point, rate, value = _starting_point(link, query.seed, insert)
    return Descend(Start(point, aim(query.threshold, alpha), query.threshold, link.descent_name, rate, value))


def descent_beside_midpoint(link: Link, query: Query, level: float) -> Descend:
    """Descend from the midpoint of an open link; after a failure from beside it, at different learning rates.

    For beads on the hyperplane, which every point of the segment is projected on at the same place.
    """
    rate = (1.0, 1.0, 0.3, 3.0)[min(link.attempts, 3)]
    if link.attempts == 0:
        point: Callable[[], Theta] = partial(link.segment.point, 0.5)
    else:
        point = partial(_displaced, link.segment, 0.5, query.seed, link.descent_name)
    return Descend(Start(point, level, query.threshold, link.descent_name, rate))


def _starting_point(link: Link, seed: int, insert: Insert) -> tuple[Callable[[], Theta], float, float | None]:
    """Where to start, found when it is needed; with which learning rate; and the height there, where it is known."""
    assert link.measured is not None
    # A peak at an end of the segment is no place for a bead: it would only duplicate that end.
    peaks = [peak.t for peak in link.measured.peaks if MARGIN < peak.t < 1 - MARGIN]
    t_star = inside(link.measured.top.t) if insert == "maximum" else 0.5
    others = [t for t in dict.fromkeys([*peaks, 0.5]) if t != t_star]
    plain: list[tuple[float, float]] = [(t_star, 1.0), *((t, 1.0) for t in others[:2]), (t_star, 0.3), (t_star, 3.0)]
    if link.attempts < len(plain):
        t, rate = plain[link.attempts]
        known = dict(link.measured.peaks).get(t)
        return partial(link.segment.point, t), rate, known
    return partial(_displaced, link.segment, t_star, seed, link.descent_name), 1.0, None


def _displaced(segment: Segment, t: float, seed: int, place: str) -> Theta:
    theta = segment.point(t)
    noise = torch.randn(len(theta), generator=generator(seed, "jitter", place), dtype=torch.float64)
    scale = JITTER * segment.length / float(noise.norm())
    return theta + (scale * noise).to(theta)


def inside(t: float) -> float:
    """Far enough from the ends of a segment for a bead of its own."""
    return min(max(t, MARGIN), 1 - MARGIN)
