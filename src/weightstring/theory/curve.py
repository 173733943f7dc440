"""Continuous paths that a theorem gives: a formula for θ(s), and how high the loss on it can be."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import WeightString
from weightstring.path.curve import locate_maximum
from weightstring.protocol import LossProblem

Piece = Callable[[float], Theta]
"""θ(u) for u ∈ [0, 1], continuous."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A continuous path of models, in pieces of which each begins where the last one ended.

    Unlike a :class:`~weightstring.WeightString` it need not be straight anywhere. Its bound is a theorem's, in real
    arithmetic: nothing was sampled.

    Args:
        pieces: at least one; each takes an equal share of s.
        bound: no loss on the path is higher; ``inf`` where nothing is known.

    >>> quarter = Curve((lambda u: torch.tensor([math.cos(u), math.sin(u)], dtype=torch.float64),), bound=1.0)
    >>> quarter.at(0.0)
    tensor([1., 0.], dtype=torch.float64)
    """

    pieces: tuple[Piece, ...]
    bound: float

    def __post_init__(self) -> None:
        if not self.pieces:
            raise InvalidSetting("a curve needs at least one piece")

    def at(self, s: float) -> Theta:
        """The model (P,) at s ∈ [0, 1].

        Raises:
            InvalidSetting: s outside [0, 1].
        """
        if not 0 <= s <= 1:
            raise InvalidSetting(f"s={s} is not on the path: it runs from 0 to 1")
        place = s * len(self.pieces)
        index = min(int(place), len(self.pieces) - 1)
        return self.pieces[index](place - index)

    def reversed(self) -> Curve:
        """The same path from its last model to its first."""
        return Curve(tuple(_backwards(piece) for piece in self.pieces[::-1]), self.bound)

    def to_string(self, problem: LossProblem, tolerance: float = 1e-3, max_beads: int = 4096) -> WeightString:
        """A string inscribed in the path: its beads lie on it, between them it cuts corners.

        The segment that exceeds most is halved until the largest *sampled* loss is at most ``bound + tolerance``.
        What it still exceeds is ``string.max_loss - curve.bound``; ``certify`` proves it.

        Args:
            problem: the loss that is measured.
            tolerance: how far the string may rise over the path's bound, in units of the loss.
            max_beads: the number of beads at which to stop anyway.

        Raises:
            InvalidSetting: a tolerance that is not positive, a bound that is not finite, or fewer than two beads.
        """
        if not tolerance > 0 or not math.isfinite(self.bound) or max_beads < 2:
            raise InvalidSetting(
                f"to_string(tolerance={tolerance}, max_beads={max_beads}) of a path with bound {self.bound}: "
                "give a positive tolerance, at least two beads, and a path whose bound is finite"
            )
        places = [i / len(self.pieces) for i in range(len(self.pieces) + 1)]
        thetas = {s: self.at(s) for s in places}

        def height(low: float, high: float) -> float:
            return locate_maximum(problem, thetas[low], thetas[high]).value

        waiting = [(-height(low, high), low, high) for low, high in pairwise(places)]
        heapq.heapify(waiting)
        while -waiting[0][0] > self.bound + tolerance and len(thetas) < max_beads:
            _, low, high = heapq.heappop(waiting)
            middle = (low + high) / 2
            thetas[middle] = self.at(middle)
            for part in ((low, middle), (middle, high)):
                heapq.heappush(waiting, (-height(*part), *part))
        return WeightString(problem, torch.stack([thetas[s] for s in sorted(thetas)]))


def straight(a: Theta, b: Theta) -> Piece:
    """The segment from a (P,) to b (P,), exact at both."""
    return lambda u: torch.lerp(a, b, u)


def chain(corners: Sequence[Theta], bound: float) -> Curve:
    """The path of straight pieces through two or more models."""
    return Curve(tuple(straight(a, b) for a, b in pairwise(corners)), bound)


def _backwards(piece: Piece) -> Piece:
    return lambda u: piece(1 - u)
