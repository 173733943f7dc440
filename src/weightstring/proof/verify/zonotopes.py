"""Errors whose directions are known, for deep networks of layers and ReLU: zonotopes.

What layers make of an error is their product. A radius is multiplied by the product of their absolute values instead,
many times as much in each. So what a ReLU leaves open of a unit whose sign changes is a noise symbol ξ, the same number
in all layers after it, as in the zonotopes of AI² (Gehr et al. 2018) and DeepZ (Singh et al. 2018), here with weights
that move: its generator, what ξ is multiplied by, is a line in s. So is what a layer makes of s³ = ¾ s + ¼ T₃(s): T₃ is
Chebyshev's polynomial 4s³ − 3s, within [−1, 1], and a symbol that all rows and layers share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from weightstring.proof.verify.curves import LEAST, Array, Curve, gamma, norm_of
from weightstring.proof.verify.operations import Deferred, tensor

TAKEN_BY = {
    "linear.default", "relu.default", "dropout.default", "log_softmax.int", "_log_softmax.default",
    "cross_entropy_loss.default",
}  # fmt: skip
"""Operations that have a use for generators; every other takes the curve around all of them."""

MOST = 1 << 24
"""Numbers that all generators may have together."""


@dataclass(frozen=True, eq=False)
class Zonotope(Deferred):
    """p(s) + e(s) + Σⱼ ξⱼ (gⱼ + hⱼ s), of each row with its own generators; each ξⱼ depends on s, within [−1, 1].

    Args:
        rest: p and e, (N, width).
        rows: (G,) to which row each generator belongs; the first N are those of T₃, a row each.
        value: (G, width) the g.
        slope: (G, width) the h.

    >>> unit = Curve(*(np.array([[part]]) for part in (0.5, 1.0, 0.0, 0.0)))
    >>> x = Zonotope.of(unit).relu(2)
    >>> x.value.round(9).ravel(), x.rest.value.round(9), x.curve().high.round(9)
    (array([0.    , 0.1875]), array([[0.5625]]), array([[1.5]]))
    """

    rest: Curve
    rows: NDArray[np.intp]
    value: Array
    slope: Array

    @classmethod
    def of(cls, curve: Curve) -> Zonotope:
        """One whose generators are 0."""
        none = np.zeros(curve.shape)
        return cls(curve, np.arange(len(none)), none, none)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the curve."""
        return self.rest.shape

    @property
    def finite(self) -> bool:
        """Whether the curve is, which a generator that is not makes it no more as soon as it is used."""
        return self.rest.finite

    @property
    def straight(self) -> Curve:
        """The curve without what bends."""
        return self.rest._replace(bend=np.zeros(self.shape))

    @property
    def spread(self) -> Array:
        """No less than all generators together."""
        return self.total(np.abs(self.value) + np.abs(self.slope))

    def curve(self) -> Curve:
        """The curve around all of it."""
        return self.rest.wider(self.spread).rounded(self.rest.error + self.spread)

    def total(self, sizes: Array) -> Array:
        """No less than the sum of sizes (G, …) over each row's generators, (N, …)."""
        found = torch.zeros(len(self.rest.value), *sizes.shape[1:], dtype=torch.float64)
        found.index_add_(0, tensor(self.rows), tensor(sizes))
        most = int(np.bincount(self.rows, minlength=1).max())
        sums: Array = found.numpy() * (1 + gamma(most))
        return sums

    def mapped(self, weight: Curve, apply: Callable[[Array, Array], Array], image: Curve) -> Zonotope:
        """What a layer with weights W + V s + B s² + e_w makes of it, of the straight curve being ``image``.

        What bends, b s², becomes bW s² + bV s³, and a generator gW + (hW + gV) s + hV s², of which ½ hV is its middle,
        and ½ |hV| a box, as are |b| + |g| + |h| times |B| + |e_w|.
        """
        terms, bend = weight.value[0].size, self.rest.bend
        second, third = apply(self.slope, weight.slope) / 2, apply(bend, weight.slope)
        value = apply(self.value, weight.value) + second
        value[: len(third)] += third / 4
        slope = apply(self.slope, weight.value) + apply(self.value, weight.slope)
        inexact = np.abs(weight.bend) + weight.error + 3 * gamma(terms) * (weight.reach + LEAST)
        box = self.total(np.abs(second)) + apply(self.spread + np.abs(bend), inexact) + gamma(terms) * LEAST
        curve = image._replace(slope=image.slope + 0.75 * third, bend=image.bend + apply(bend, weight.value))
        curve = curve.wider(box * (1 + gamma(terms))).rounded(curve.polynomial_reach + box)
        return Zonotope(curve, self.rows, value, slope)

    def relu(self, most: int) -> Zonotope:
        """max(0, x), with ``most`` generators in all: where there would be more, the smallest new ones are a box.

        With y = p + Σ ξⱼ (gⱼ + hⱼ s) between −l and u, max(0, y) − λy is convex in y for λ = u / (u + l): between 0 and
        its larger end, all of it twice a new generator. e is carried along: max(0, y + e) − max(0, y) is within ±e, and
        of all numbers together no longer than e is.
        """
        x = self.rest
        y = x._replace(error=self.spread, norm=None)
        low, high = y.low, y.high
        crossing = (low < 0) & (high > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(crossing, high / (high - low), low >= 0)
        half = np.where(crossing, np.maximum(-share * low, (1 - share) * high) / 2, 0.0)
        rows, fresh, box = _apart(half, min(most, MOST // max(1, half[0].size)) - len(self.rows))
        carried = np.where(high + x.error <= 0, 0.0, x.error)
        norm = (x.ball() + norm_of(box, -1)) * (1 + gamma(0))
        curve = Curve(share * x.value + half, share * x.slope, share * x.bend, carried + box, norm)
        factor = share[self.rows]
        return Zonotope(
            curve.rounded(2 * crossing * (y.reach + x.error)),
            np.concatenate([self.rows, rows]),
            np.concatenate([factor * self.value, fresh]),
            np.concatenate([factor * self.slope, np.zeros_like(fresh)]),
        )

    def apart(self, shares: Array) -> Array:
        """No less than Σⱼ |g − Σ_k q_k g_k| + |h − Σ_k q_k h_k| of each row, q its shares (N, width)."""
        mine = shares[self.rows]
        value, slope = (np.abs(part - (part * mine).sum(-1, keepdims=True)) for part in (self.value, self.slope))
        lost = gamma(shares.shape[-1]) * (self.spread + (self.spread * shares).sum(-1, keepdims=True) + LEAST)
        found: Array = (self.total(value + slope) + 2 * lost) * (1 + gamma(0))
        return found


def _apart(half: Array, room: int) -> tuple[NDArray[np.intp], Array, Array]:
    """Each of the largest numbers by itself: its row, and it in an array of its width; and what is left of all."""
    places = np.flatnonzero(half)
    if len(places) > room:
        places = places[np.argsort(-half.flat[places], kind="stable")[: max(0, room)]]
    width = math.prod(half.shape[1:])
    fresh, box = np.zeros((len(places), width)), half.copy()
    fresh[np.arange(len(places)), places % width] = half.flat[places]
    box.flat[places] = 0.0
    return places // width, fresh, box
