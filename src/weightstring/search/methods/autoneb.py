"""The nudged elastic band with inserted pivots, as a strategy on the same problem, engine and stopping rules.

Source: F. Draxler et al., "Essentially No Barriers in Neural Network Energy Landscape", 2018, arXiv:1803.00885. The
pivots take the part of the optimizer's step that is across the band; along it, springs of infinite stiffness keep
them at equal distances. The tangent points to the higher neighbour (G. Henkelman and H. Jónsson, 2000,
doi:10.1063/1.1323224). After each cycle a pivot is inserted where the curve between two of them is much higher than
they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.arrays import Moving, Thetas
from weightstring.descent import Look, across
from weightstring.errors import InvalidSetting
from weightstring.protocol import Gradient
from weightstring.search.methods.curves import Curve, PolyChain
from weightstring.search.starts import inside
from weightstring.search.strategy import require_numbers


@dataclass(frozen=True)
class Band:
    """How pivots move.

    Args:
        ends: the heights of the two ends, for the tangents beside them.
    """

    ends: tuple[float, float]

    @property
    def phases(self) -> int:
        """All pivots move at once."""
        return 1

    def beads(self, models: int) -> int:
        """The pivots and the ends."""
        return models

    def cost(self, moving: Sequence[int]) -> int:
        """One each."""
        return len(moving)

    def look(self, thetas: Thetas, moving: Sequence[int], random: torch.Generator) -> Look:
        """At the pivots."""
        return Look(thetas[list(moving)])

    def direct(self, thetas: Thetas, moving: Sequence[int], look: Look, gradient: Gradient) -> Moving:
        """The gradients as they are: an optimizer that scales each number would make full steps of a projection."""
        return gradient.gradients

    def step(self, before: Thetas, after: Moving, moving: Sequence[int], seen: Gradient) -> Moving:
        """The optimizer's steps less their parts along the band."""
        losses = seen.losses.new_tensor([self.ends[0], *seen.losses.tolist(), self.ends[1]])
        were = before[list(moving)]
        return (were.double() + across(after - were, seen.gradients, _tangents(before, losses))).to(after)

    def place(self, before: Thetas, after: Moving, moving: Sequence[int]) -> Moving:
        """At equal distances along the band."""
        band = before.clone()
        band[list(moving)] = after
        lengths = (band[1:].double() - band[:-1].double()).norm(dim=1)
        walked = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        wanted = walked[-1] * torch.arange(1, len(band) - 1, device=band.device) / (len(band) - 1)
        left = (torch.searchsorted(walked, wanted, right=True) - 1).clamp(0, len(lengths) - 1)
        share = (wanted - walked[left]) / torch.where(lengths[left] > 0, lengths[left], 1)
        return torch.lerp(band[left], band[left + 1], share[:, None].to(band))

    def probes(self, thetas: Thetas) -> Tensor:
        """None: the pivots are the beads."""
        return thetas[:0]


@dataclass(frozen=True)
class AutoNEB(PolyChain):
    """The nudged elastic band, with pivots inserted where it is too coarse.

    Args:
        bends: pivots to begin with.
        excess: a pivot is inserted where a segment's maximum is over the line between its end losses by more
            than this share of the string's range of losses.

    The other settings are those of :class:`~weightstring.PolyChain`; ``steps`` are those of a cycle.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> AutoNEB().bends
    3
    """

    bends: int = 3
    patience: int = 8
    excess: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, ("excess",))
        if not 0 < self.excess < 1:
            raise InvalidSetting(f"AutoNEB(excess={self.excess}): give a share in (0, 1)")

    def _motion(self, curve: Curve) -> Band:
        first, last = curve.query.ends
        return Band((first.value, last.value))

    def _controls(self, curve: Curve) -> list[Tensor]:
        """The pivots, with new ones where the band is too coarse."""
        if not curve.controls:
            return super()._controls(curve)
        tops = [link.height for link in curve.chain]
        lowest = min(min(link.left.value, link.right.value) for link in curve.chain)
        spread = max(tops) - lowest
        pivots = [curve.chain[0].left.theta]
        for link in curve.chain:
            assert link.measured is not None
            t = inside(link.measured.top.t)
            line = (1 - t) * link.left.value + t * link.right.value
            if link.open and link.height - line > self.excess * spread and math.isfinite(spread):
                pivots.append(link.segment.point(t))
            pivots.append(link.right.theta)
        return pivots


def _tangents(thetas: Thetas, losses: Tensor) -> Tensor:
    """Unit tangents (n − 2, P) at the inner rows: towards the higher neighbour, at an extremum between the two."""
    forward, back = thetas[2:] - thetas[1:-1], thetas[1:-1] - thetas[:-2]
    up, down = losses[2:] - losses[1:-1], losses[:-2] - losses[1:-1]
    most, least = torch.maximum(up.abs(), down.abs()), torch.minimum(up.abs(), down.abs())
    higher = losses[2:] > losses[:-2]
    extremum = (up > 0) == (down > 0)
    ahead = torch.where(extremum, torch.where(higher, most, least), higher.to(losses))
    behind = torch.where(extremum, torch.where(higher, least, most), 1 - higher.to(losses))
    tangents = ahead[:, None] * forward + behind[:, None] * back
    lengths = tangents.norm(dim=1, keepdim=True)
    return tangents / torch.where(lengths > 0, lengths, 1)
