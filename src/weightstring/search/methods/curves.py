"""Curves fitted between two models, as strategies on the same problem, engine and stopping rules.

Source: T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", 2018, arXiv:1802.10026.

The ends stay; the control points between them follow the gradient of the loss at a random point of the curve, t
uniform in [0, 1]. The polygonal chain is a string itself; the Bézier curve is inscribed with one, and it is the
string that is measured and held to the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from weightstring.arrays import Moving, Thetas
from weightstring.descent import Evolution, Evolved, Look, Motion
from weightstring.descent.stepping import Blend
from weightstring.errors import InvalidSetting
from weightstring.path import Reason, Segment
from weightstring.protocol import Gradient
from weightstring.search.chain import Bead, Link
from weightstring.search.jobs import Descend, Job, JobResult
from weightstring.search.strategy import Strategy, require_numbers
from weightstring.search.string import Query, String

MOST = 1000
"""Bends or beads of a curve: more is a mistake, and would fill the memory."""


@dataclass(frozen=True)
class Fitted:
    """How control points follow the gradients at points of their curve.

    Args:
        points: inner points of the curve that are returned, equally spaced in t; 0: the control points are the beads.
        samples: points t at which gradients are taken, each step.
        bezier: a Bézier curve through Bernstein weights; else a polygonal chain through hat functions.
    """

    points: int
    samples: int
    bezier: bool

    @property
    def phases(self) -> int:
        """All control points move at once."""
        return 1

    def beads(self, models: int) -> int:
        """The curve's points and the ends, or the control points."""
        return self.points + 2 if self.points else models

    def cost(self, moving: Sequence[int]) -> int:
        """One for each point at which they are taken."""
        return self.samples

    def look(self, thetas: Thetas, moving: Sequence[int], random: torch.Generator) -> Look:
        """At random points of the curve."""
        weights = self._drawn(len(thetas), self.samples, random).to(thetas)
        return Look(weights @ thetas, weights[:, list(moving)])

    def direct(self, thetas: Thetas, moving: Sequence[int], look: Look, gradient: Gradient) -> Moving:
        """The chain rule: each control point's share of the mean loss's gradient."""
        assert look.shares is not None
        return look.shares.T @ gradient.gradients / len(gradient.gradients)

    def step(self, before: Thetas, after: Moving, moving: Sequence[int], seen: Gradient) -> Moving:
        """Where the optimizer went."""
        return after

    def place(self, before: Thetas, after: Moving, moving: Sequence[int]) -> Moving:
        """Where they are."""
        return after

    def holds(self, thetas: Thetas, moving: Sequence[int]) -> bool:
        """Always: the points depend on chance alone."""
        return True

    def tie(self, thetas: Thetas, moving: Sequence[int], steps: int, random: torch.Generator) -> Blend:
        """The points of all steps."""
        weights = self._drawn(len(thetas), steps * self.samples, random)
        return Blend(thetas, moving, weights.view(steps, self.samples, -1))

    def _drawn(self, controls: int, points: int, random: torch.Generator) -> Tensor:
        """The weights of so many random points of the curve."""
        return self.weights(controls, torch.rand(points, generator=random, dtype=torch.float64))

    def probes(self, thetas: Thetas) -> Tensor:
        """The beads that the curve is inscribed with, the ends left out."""
        ts = torch.linspace(0, 1, self.points + 2, dtype=torch.float64)[1:-1]
        return self.weights(len(thetas), ts).to(thetas) @ thetas

    def weights(self, controls: int, ts: Tensor) -> Tensor:
        """What each control point contributes to the curve at ``ts``: (T, controls), rows of sum 1."""
        degree = controls - 1
        if not self.bezier:
            return (1 - (ts[:, None] * degree - torch.arange(controls)).abs()).clamp(min=0)
        binomials = torch.tensor([math.comb(degree, k) for k in range(controls)], dtype=ts.dtype)
        powers = torch.arange(controls)
        return binomials * ts[:, None] ** powers * (1 - ts[:, None]) ** (degree - powers)


@dataclass(frozen=True)
class Curve(String):
    """A curve that is being fitted, and the string that is measured for it.

    Args:
        controls: the control points, the ends included; none before the straight segment was measured.
    """

    controls: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class PolyChain(Strategy[Curve]):
    """A polygonal chain with trained bends.

    Args:
        bends: control points between the ends; where waypoints are given, these are the control points.
        samples: points of the curve at which each step takes gradients.
        steps: of one round, after which the string is measured; the optimizer starts afresh then.
        patience: rounds over which the string's maximum must fall by
        fall: this share, or the curve is stalled.
        rounds: at most; then it counts as stalled too.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> PolyChain(bends=3).steps
    100
    """

    bends: int = 1
    samples: int = 1
    steps: int = 100
    patience: int = 16
    fall: float = 0.01
    rounds: int = 200

    def __post_init__(self) -> None:
        require_numbers(self, ("bends", "samples", "steps", "patience", "rounds", "fall"))
        if self.bends > MOST:
            raise InvalidSetting(f"{type(self).__name__}(bends={self.bends}): at most {MOST}")
        for name in ("bends", "samples", "steps", "patience", "rounds"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{type(self).__name__}({name}={getattr(self, name)}): must be at least 1")
        if not 0 < self.fall < 1:
            raise InvalidSetting(f"{type(self).__name__}(fall={self.fall}): give a share in (0, 1)")

    def start(self, query: Query) -> Curve:
        """The straight segment, or the string through the waypoints."""
        return Curve.first(query)

    def propose(self, curve: Curve) -> tuple[Job, ...]:
        """Fit the curve."""
        controls = torch.stack(self._controls(curve))
        moving = tuple(range(1, len(controls) - 1))
        limit = curve.level
        fit = Evolution(_name(curve), controls, moving, self._motion(curve), -math.inf, limit, self.steps)
        return (Descend(fit, "fitted"),)

    def absorb(self, curve: Curve, results: Mapping[str, JobResult]) -> Curve:
        """The new control points, and the string through the curve's beads."""
        fitted = results[_name(curve)]
        assert isinstance(fitted, Evolved)
        first, last = curve.query.ends
        moved = len(fitted.statuses)
        controls = (first.theta, *fitted.thetas[:moved], last.theta)
        skipped = moved if len(fitted.thetas) > moved else 0  # what comes after them are the curve's own points
        depth = len(curve.account.maxima)  # rounds of fitting: each makes the string anew
        inner = [
            Bead(f"{depth}.{k}", theta, value)
            for k, (theta, value) in enumerate(zip(fitted.thetas[skipped:], fitted.values[skipped:], strict=True))
        ]
        links = tuple(Link(left, right, depth) for left, right in pairwise([first, *inner, last]))
        return replace(curve, controls=controls, chain=links)

    def measured(self, curve: Curve) -> Curve:
        """The string with the lowest maximum is the one to show."""
        if curve.closed:
            return replace(curve, best=None)
        lower = curve.best is None or curve.account.maxima[-1] < min(curve.account.maxima[:-1])
        return replace(curve, best=curve.chain) if lower else curve

    def give_up(self, curve: Curve) -> Reason | None:
        """``stalled`` once the string's maximum has stopped falling."""
        fitted = curve.account.maxima[1:]  # the straight segment says nothing about how fitting gets on
        if len(fitted) >= self.rounds:
            return "stalled"
        if len(fitted) <= self.patience:
            return None
        then, now = min(fitted[: -self.patience]), min(fitted)
        return "stalled" if now > then - self.fall * abs(then) else None

    def _motion(self, curve: Curve) -> Motion:
        return Fitted(0, self.samples, bezier=False)

    def _controls(self, curve: Curve) -> list[Tensor]:
        """The control points; at first equally spaced on the straight segment, or the waypoints."""
        if curve.controls:
            return list(curve.controls)
        if curve.query.through:
            return [bead.theta for bead in curve.query.beads]
        segment = Segment(*(end.theta for end in curve.query.ends))
        return [segment.point(k / (self.bends + 1)) for k in range(self.bends + 2)]


@dataclass(frozen=True)
class Bezier(PolyChain):
    """A Bézier curve with trained control points, inscribed with a string.

    Args:
        points: inner beads of the string, equally spaced in t.

    The other settings are those of :class:`PolyChain`; ``bends`` = 1 is a quadratic curve.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> Bezier().points
    9
    """

    points: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, ("points",))
        if not 1 <= self.points <= MOST:
            raise InvalidSetting(f"Bezier(points={self.points}): must be at least 1, and at most {MOST}")

    def _motion(self, curve: Curve) -> Motion:
        return Fitted(self.points, self.samples, bezier=True)


def _name(curve: Curve) -> str:
    return f"fit/{len(curve.account.maxima)}"
